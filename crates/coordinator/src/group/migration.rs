//! Groups that change their protocol while they live (KIP-848): a classic group of consumers becomes a consumer group
//! when the first member of the consumer protocol joins, and a classic one again when the last of them has gone.
//!
//! Either way one batch takes the old group's records away and brings the new one's, and nobody loses what he has.

use std::collections::BTreeMap;

use ottla_protocol::Refusal;
use ottla_protocol::messages::join_group::JoinGroupRequestProtocol;

pub(crate) use super::classic::CONSUMER;
use super::classic::ClassicGroup;
use super::consumer::{ConsumerGroup, Denied};
use super::record::Record;
use super::scene::Scene;

pub(crate) mod embedded;

/// What `group.consumer.migration.policy` allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Bidirectional,
    Upgrade,
    Downgrade,
    /// Not even members of the classic protocol in a consumer group.
    Disabled,
}

/// What a classic group that comes out of a consumer group's records has to know besides them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Downgrade {
    /// Why it has to rebalance at once; `None` if everybody has what he shall have. The record then names no leader, for
    /// those who take the group over before it did: else nobody would read what was left behind until somebody joins or
    /// leaves. (Kafka 4.4 does not write it down.)
    pub rebalance: Option<&'static str>,
    /// All protocols of its members; the record has only the one they agree upon.
    pub protocols: BTreeMap<String, Vec<JoinGroupRequestProtocol>>,
}

impl Policy {
    pub fn of(scene: &Scene<'_>) -> Self {
        match &*scene.settings.consumer.migration_policy {
            "bidirectional" => Self::Bidirectional,
            "upgrade" => Self::Upgrade,
            "downgrade" => Self::Downgrade,
            _ => Self::Disabled,
        }
    }

    fn allows_upgrades(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Upgrade)
    }

    fn allows_downgrades(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Downgrade)
    }
}

/// A consumer group out of a classic one that is not empty, and the records that make it; nothing is changed yet.
///
/// # Errors
/// If the group may not become one.
pub(crate) fn upgrade(
    scene: &Scene<'_>,
    classic: &ClassicGroup,
) -> Result<(ConsumerGroup, Vec<Record>), Denied> {
    let denied = |why: &str| {
        let message =
            format!("Cannot upgrade classic group {} to consumer group because {why}.", classic.id());
        tracing::info!(message);
        Denied::new(Refusal::GroupIdNotFound, message)
    };
    if !Policy::of(scene).allows_upgrades() {
        return Err(denied("online upgrade is disabled"));
    }
    if !classic.is_of_consumers() {
        return Err(denied("the group does not use the consumer embedded protocol"));
    }
    if classic.members().len() > scene.settings.consumer.members_max {
        return Err(denied("the group size exceeds the consumer group maximum size"));
    }
    let group = ConsumerGroup::from_classic(scene, classic).map_err(denied)?;
    let mut records = vec![classic.tombstone()];
    group.begin(&mut records);
    tracing::info!(group = classic.id(), "a classic group is about to become a consumer group");
    Ok((group, records))
}

/// Whether a group with so many members may become a classic one.
pub(crate) fn allows_downgrade(scene: &Scene<'_>, group: &str, members: usize) -> bool {
    if members == 0 {
        // It has merely become empty.
        return false;
    }
    let why = if !Policy::of(scene).allows_downgrades() {
        "online downgrade is disabled"
    } else if members > scene.settings.classic.members_max {
        "its size is greater than the classic group's maximum size"
    } else {
        return true;
    };
    tracing::info!(group, why, "a consumer group stays one, though all its members are classic");
    false
}
