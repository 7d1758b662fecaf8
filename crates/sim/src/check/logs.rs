//! Logs are equal below the high watermark (LogMatching), byte for byte as far as a reader can see.

use super::{Committed, Violation};
use crate::replica::Replica;

/// Compares logs with what was committed.
#[derive(Debug, Default)]
pub struct Logs;

impl Logs {
    /// Reads every log up to its high watermark.
    ///
    /// # Errors
    /// If one differs from what was committed.
    pub fn equal(&self, replicas: &mut [Replica], committed: &Committed) -> Result<(), Violation> {
        for replica in replicas {
            if let Some(raft) = &mut replica.raft
                && let Some(end) = raft.high_watermark()
            {
                committed.matches(replica.id, raft, end)?;
            }
        }
        Ok(())
    }
}
