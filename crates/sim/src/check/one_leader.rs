//! One leader per epoch (ElectionSafety): nobody leads, or believes in, another leader of the same epoch.

use std::collections::BTreeMap;

use ottla_protocol::{LeaderEpoch, NodeId};

use super::{Violation, violation};
use crate::replica::Replica;

/// Remembers who led each epoch.
#[derive(Debug, Default)]
pub struct OneLeader {
    leaders: BTreeMap<LeaderEpoch, NodeId>,
}

impl OneLeader {
    /// Looks at whom a node believes in.
    ///
    /// # Errors
    /// If another node was believed in before.
    pub fn see(&mut self, replica: &Replica) -> Result<(), Violation> {
        let Some(raft) = &replica.raft else { return Ok(()) };
        let known = raft.leader_and_epoch();
        let Some(leader) = known.leader else { return Ok(()) };
        let first = *self.leaders.entry(known.epoch).or_insert(leader);
        if first == leader {
            return Ok(());
        }
        let (node, epoch) = (replica.id, known.epoch);
        violation(
            "one leader per epoch",
            format!("in epoch {epoch} node {first} led; node {node} follows {leader}"),
        )
    }
}
