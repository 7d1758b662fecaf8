//! A clean stop: every log of a shard is closed, and what their ends need from the disk is done beside the core, many at
//! a time.
//!
//! Control hears of it once, with the last rows for the checkpoint files, when the last log is closed or has failed.

use std::collections::{BTreeSet, VecDeque};

use ottla_partition::Input;
use ottla_protocol::{Now, PartitionId};

use super::Shard;
use crate::control::{self, CheckpointRow};

/// Logs of one core that are being closed at once: each holds a few files open until it is on the disk.
const AT_ONCE: usize = 32;

/// After so many logs it is said how far it has come.
const SAID_EVERY: usize = 1_000;

/// What is left to be closed.
#[derive(Default)]
pub(super) struct Closing {
    waiting: VecDeque<PartitionId>,
    running: BTreeSet<PartitionId>,
    rows: Vec<CheckpointRow>,
    is_reported: bool,
}

impl Shard {
    /// Begins to close every log.
    pub fn close(&mut self, now: Now) {
        self.give_up_all();
        tracing::info!(core = self.core.0, partitions = self.hosted.len(), "closing the logs");
        let waiting = self.hosted.keys().copied().collect();
        self.closing = Some(Closing { waiting, ..Closing::default() });
        self.close_more(now);
    }

    /// Closes as many logs as may be closed at once, and reports when none is left.
    pub(super) fn close_more(&mut self, now: Now) {
        while let Some(closing) = &mut self.closing {
            if closing.running.len() < AT_ONCE
                && let Some(id) = closing.waiting.pop_front()
            {
                if self.hosted.contains_key(&id) && !self.offline.contains(&id) {
                    closing.running.insert(id);
                    self.step(now, id, Input::Close);
                }
                continue;
            }
            if closing.running.is_empty() && !closing.is_reported {
                closing.is_reported = true;
                let rows = std::mem::take(&mut closing.rows);
                self.reports.push_back(control::Input::Stopped { core: self.core, rows });
            }
            return;
        }
    }

    /// A log is closed, or there is nothing more that can be done for it.
    pub(super) fn ended(&mut self, id: PartitionId) {
        let Some(closing) = &mut self.closing else { return };
        if closing.running.remove(&id) {
            closing.rows.extend(self.hosted.get(&id).map(super::Hosted::row));
            let left = closing.waiting.len();
            if left > 0 && left.is_multiple_of(SAID_EVERY) {
                tracing::info!(core = self.core.0, logs = left, "so many are still to be closed");
            }
        }
    }
}
