//! A clean stop: every log of a shard is closed, and what their ends need from the disk is done beside the core, many at
//! a time.
//!
//! Control hears of it once, with the last rows for the checkpoint files, when the last log is closed or has failed.

use std::collections::BTreeSet;

use ottla_partition::Input;
use ottla_protocol::{Now, PartitionId};

use super::Shard;
use crate::control::{self, CheckpointRow};

/// After so many logs it is said how far it has come.
const SAID_EVERY: usize = 1_000;

/// What is left to be closed.
pub(super) struct Closing {
    left: BTreeSet<PartitionId>,
    rows: Vec<CheckpointRow>,
}

impl Shard {
    /// Begins to close every log.
    pub fn close(&mut self, now: Now) {
        self.give_up_all();
        tracing::info!(core = self.core.0, partitions = self.hosted.len(), "closing the logs");
        let is_online = |id: &PartitionId| !self.offline.contains(id);
        let left: BTreeSet<PartitionId> = self.hosted.keys().copied().filter(is_online).collect();
        let ids: Vec<PartitionId> = left.iter().copied().collect();
        self.closing = Some(Closing { left, rows: Vec::with_capacity(ids.len()) });
        if ids.is_empty() {
            self.report_closed();
        }
        for id in ids {
            self.step(now, id, Input::Close);
        }
    }

    /// A log is closed, or there is nothing more that can be done for it.
    pub(super) fn ended(&mut self, id: PartitionId) {
        let Some(closing) = &mut self.closing else { return };
        if closing.left.remove(&id) {
            closing.rows.extend(self.hosted.get(&id).map(super::Hosted::row));
            if closing.left.len().is_multiple_of(SAID_EVERY) && !closing.left.is_empty() {
                tracing::info!(
                    core = self.core.0,
                    partitions = closing.left.len(),
                    "logs are still to be closed"
                );
            }
            self.report_closed();
        }
    }

    fn report_closed(&mut self) {
        if let Some(closing) = &mut self.closing
            && closing.left.is_empty()
        {
            let rows = std::mem::take(&mut closing.rows);
            self.reports.push_back(control::Input::Stopped { core: self.core, rows });
        }
    }
}
