//! What the state machine is told: snapshots to load, batches to apply, leaders to know of. In order, each once.
//!
//! Invariant: what is delivered is committed, and a leader is told that it leads only when it has been delivered
//! everything that was committed before its epoch (KAFKA-15345).

use ottla_protocol::Offset;

use crate::journal::Journal;
use crate::message::SnapshotId;
use crate::output::{Fatal, LeaderAndEpoch, Output};
use crate::raft::Raft;
use crate::role::Role;

/// About so much is delivered per step; the next step is then due at once.
const STEP_BYTES: usize = 8 << 20;

/// How far the state machine has come.
#[derive(Clone, Debug)]
pub struct Delivery {
    next: Offset,
    snapshot: Option<SnapshotId>,
    announced: LeaderAndEpoch,
}

impl Delivery {
    /// From the newest snapshot of the log on, if there is one.
    #[must_use]
    pub fn from(journal: &Journal) -> Self {
        let snapshot = journal.latest_snapshot();
        let next = snapshot.map_or(Offset::ZERO, |snapshot| snapshot.offset);
        Self { next, snapshot, announced: LeaderAndEpoch::default() }
    }
}

impl Raft {
    /// The offset up to which (exclusive) everything has been delivered.
    #[must_use]
    pub fn delivered(&self) -> Offset {
        self.delivery.next
    }

    pub(crate) fn has_undelivered(&self) -> bool {
        self.delivery.snapshot.is_some()
            || self.high_watermark.is_some_and(|end| self.delivery.next < end)
            || self.delivery.announced != self.to_announce()
    }

    /// Delivers what can be, within bounds.
    pub(crate) fn deliver(&mut self, out: &mut Vec<Output>) -> Result<(), Fatal> {
        let present = self.to_announce();
        // Losing the lead is told first: what was applied ahead of its commit has to go before anything else comes.
        if present.leader != Some(self.config.me.id) {
            self.announce(present, out);
        }
        if self.delivery.next < self.journal.start() {
            self.delivery.snapshot = self.journal.latest_snapshot();
        }
        if let Some(snapshot) = self.delivery.snapshot.take() {
            self.delivery.next = snapshot.offset;
            out.push(Output::LoadSnapshot(snapshot));
        }
        if let Some(end) = self.high_watermark {
            let mut size = 0;
            while self.delivery.next < end && size < STEP_BYTES {
                let batches = self.journal.read_batches(self.delivery.next, end, STEP_BYTES)?;
                if batches.is_empty() {
                    return Err(Fatal::Impossible(format!("the high watermark {end} lies within a batch")));
                }
                for batch in batches {
                    size += batch.size as usize;
                    self.delivery.next = batch.last_offset.plus(1);
                    out.push(Output::Committed(batch));
                }
            }
        }
        let present = self.to_announce();
        self.announce(present, out);
        Ok(())
    }

    fn announce(&mut self, present: LeaderAndEpoch, out: &mut Vec<Output>) {
        if self.delivery.announced != present {
            self.delivery.announced = present;
            out.push(Output::LeaderChanged(present));
        }
    }

    /// Who leads, as the state machine should see it now.
    fn to_announce(&self) -> LeaderAndEpoch {
        let leader = match &self.role {
            Role::Leader(leader) => (self.delivery.next > leader.epoch_start).then_some(self.config.me.id),
            Role::Resigned(_) => None,
            _ => self.election.leader.filter(|leader| *leader != self.config.me.id),
        };
        LeaderAndEpoch { leader, epoch: self.election.epoch }
    }
}
