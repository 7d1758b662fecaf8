//! A high watermark never goes back while its node lives, and never lies beyond the node's log.

use std::collections::BTreeMap;

use ottla_protocol::{NodeId, Offset};

use super::{Violation, violation};
use crate::replica::Replica;

/// Remembers the high watermark of each life of each node.
#[derive(Debug, Default)]
pub struct HighWatermarks {
    latest: BTreeMap<NodeId, (u64, Offset)>,
}

impl HighWatermarks {
    /// Looks at a node's high watermark.
    ///
    /// # Errors
    /// If it is less than it was in this life, or beyond the log's end.
    pub fn see(&mut self, replica: &Replica) -> Result<(), Violation> {
        let Some(raft) = &replica.raft else { return Ok(()) };
        let Some(now) = raft.high_watermark() else { return Ok(()) };
        let node = replica.id;
        let end = raft.log_end().offset;
        if now > end {
            return violation("high watermark within the log", format!("node {node}: {now}, log end {end}"));
        }
        match self.latest.insert(node, (replica.life, now)) {
            Some((life, before)) if life == replica.life && before > now => {
                violation("high watermark does not go back", format!("node {node}: {before}, then {now}"))
            }
            _ => Ok(()),
        }
    }
}
