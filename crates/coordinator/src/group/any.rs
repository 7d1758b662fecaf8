//! A group of any protocol. Each kind answers for itself; here is only who is asked.
//!
//! Share and streams groups are not among them: their records are passed over.

use std::collections::BTreeMap;

use ottla_protocol::time::Deadline;
use ottla_protocol::{Refusal, Ticket, TopicId};

use super::classic::ClassicGroup;
use super::consumer::ConsumerGroup;
use super::offsets::{Claim, CommittingGroup, Expiry, Permission};
use super::record::Record;
use super::scene::{Decided, Scene};
use super::unsettled::Ledger;

/// All groups of one partition, by name.
pub(crate) type GroupMap = BTreeMap<String, Group>;

/// See the module.
#[derive(Debug)]
pub(crate) enum Group {
    /// Of the classic protocol, or known by its offsets only.
    Classic(ClassicGroup),
    /// Of KIP-848.
    Consumer(ConsumerGroup),
}

impl Group {
    /// The kind, as ListGroups has it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Classic(_) => "classic",
            Self::Consumer(_) => "consumer",
        }
    }

    /// The state, as ListGroups has it.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match self {
            Self::Classic(group) => group.state().name(),
            Self::Consumer(group) => group.state_name(),
        }
    }

    /// The protocol's type, as ListGroups has it.
    #[must_use]
    pub fn protocol_type(&self) -> &str {
        match self {
            Self::Classic(group) => group.protocol_type().unwrap_or_default(),
            Self::Consumer(_) => "consumer",
        }
    }

    /// Whether it has no members. A classic group in the middle of a rebalance is not empty, whoever is left in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_empty(),
            Self::Consumer(group) => group.is_empty(),
        }
    }

    /// What makes the group forgotten; not its offsets.
    #[must_use]
    pub fn tombstones(&self) -> Vec<Record> {
        match self {
            Self::Classic(group) => vec![group.tombstone()],
            Self::Consumer(group) => group.tombstones(),
        }
    }

    /// When it wants to be asked again. It may be asked too early, never too late.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Classic(group) => group.deadline(),
            Self::Consumer(group) => group.deadline(),
        }
    }

    /// What is known of its members that is in no record; what members of consumer groups say is written at once.
    #[must_use]
    pub(in crate::group) fn ledger(&mut self) -> Option<&mut Ledger> {
        match self {
            Self::Classic(group) => Some(group.ledger()),
            Self::Consumer(_) => None,
        }
    }

    /// Decides what time has brought; afterwards its deadline lies ahead.
    pub fn tick(&mut self, scene: &mut Scene<'_>) -> Decided {
        match self {
            Self::Classic(group) => group.tick(scene),
            Self::Consumer(group) => group.tick(scene),
        }
    }

    /// The log has been read: sessions begin.
    pub fn loaded(&mut self, scene: &mut Scene<'_>) {
        match self {
            Self::Classic(group) => group.loaded(scene),
            Self::Consumer(group) => group.loaded(scene),
        }
    }

    /// Everybody who waits for a reply of this group.
    pub fn take_tickets(&mut self) -> Vec<Ticket> {
        match self {
            Self::Classic(group) => group.take_tickets(),
            Self::Consumer(_) => Vec::new(),
        }
    }

    fn committing(&self) -> &dyn CommittingGroup {
        match self {
            Self::Classic(group) => group,
            Self::Consumer(group) => group,
        }
    }
}

impl CommittingGroup for Group {
    fn may_commit(&self, claim: &Claim<'_>) -> Result<Permission, Refusal> {
        self.committing().may_commit(claim)
    }

    fn may_commit_partition(&self, claim: &Claim<'_>, topic: TopicId, partition: i32) -> Result<(), Refusal> {
        self.committing().may_commit_partition(claim, topic, partition)
    }

    fn may_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), Refusal> {
        self.committing().may_fetch(member_id, epoch)
    }

    fn may_delete_offsets(&self) -> Result<(), Refusal> {
        self.committing().may_delete_offsets()
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        self.committing().is_subscribed_to(topic)
    }

    fn expiry(&self) -> Expiry {
        self.committing().expiry()
    }
}
