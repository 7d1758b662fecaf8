//! A node's epoch never goes back, not even when it crashes.

use std::collections::BTreeMap;

use ottla_protocol::{LeaderEpoch, NodeId};

use super::{Violation, violation};
use crate::replica::Replica;

/// Remembers the latest epoch of each node.
#[derive(Debug, Default)]
pub struct Epochs {
    latest: BTreeMap<NodeId, LeaderEpoch>,
}

impl Epochs {
    /// Looks at a node's epoch.
    ///
    /// # Errors
    /// If it was later before.
    pub fn see(&mut self, replica: &Replica) -> Result<(), Violation> {
        let Some(raft) = &replica.raft else { return Ok(()) };
        let now = raft.election().epoch;
        match self.latest.insert(replica.id, now) {
            Some(before) if before > now => violation(
                "epochs do not go back",
                format!("node {} was in epoch {before}, now {now}", replica.id),
            ),
            _ => Ok(()),
        }
    }
}
