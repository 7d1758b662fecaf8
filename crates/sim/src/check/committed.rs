//! What is committed stays (LeaderCompleteness, Durability): the same batch at the same offset on every node for ever,
//! the same state after it, and all of it in the log of the newest leader.

use std::collections::BTreeMap;

use ottla_protocol::{LeaderEpoch, NodeId, Offset};
use ottla_raft::{CommittedBatch, Raft, Role};

use super::{Violation, violation};
use crate::replica::{Applied, Replica};

/// Remembers every committed batch and the state after it.
#[derive(Debug, Default)]
pub struct Committed {
    batches: BTreeMap<Offset, CommittedBatch>,
    states: BTreeMap<Offset, (u64, u64)>,
}

impl Committed {
    /// A node said that a batch is committed.
    ///
    /// # Errors
    /// If another one was.
    pub fn see(&mut self, node: NodeId, batch: &CommittedBatch) -> Result<(), Violation> {
        let first = self.batches.entry(batch.base_offset).or_insert_with(|| batch.clone());
        if first == batch {
            return Ok(());
        }
        violation("committed stays", format!("node {node} applies {batch:?}, but committed was {first:?}"))
    }

    /// A node's state up to an offset.
    ///
    /// # Errors
    /// If another node had another state there.
    pub fn see_state(&mut self, node: NodeId, state: &Applied) -> Result<(), Violation> {
        let now = (state.count, state.hash);
        let first = *self.states.entry(state.end).or_insert(now);
        if first == now {
            return Ok(());
        }
        violation(
            "same log, same state",
            format!("node {node} at {}: {now:?}, elsewhere {first:?}", state.end),
        )
    }

    /// The end of all that was ever committed.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.batches.values().next_back().map_or(Offset::ZERO, |batch| batch.last_offset.plus(1))
    }

    /// The committed batches from `from` on, before `end`.
    pub fn between(&self, from: Offset, end: Offset) -> impl Iterator<Item = &CommittedBatch> {
        self.batches.range(from..).map(|(_, batch)| batch).take_while(move |batch| batch.last_offset < end)
    }

    /// The leader of the newest epoch has everything.
    ///
    /// # Errors
    /// If something is missing in its log, or something else is there.
    pub fn leader_has_all(&self, replicas: &mut [Replica]) -> Result<(), Violation> {
        let mut running: Vec<(NodeId, &mut Raft)> = replicas
            .iter_mut()
            .filter_map(|replica| replica.raft.as_mut().map(|raft| (replica.id, raft)))
            .collect();
        let newest: Option<LeaderEpoch> = running.iter().map(|(_, raft)| raft.election().epoch).max();
        let leader = running.iter_mut().find(|(_, raft)| {
            matches!(raft.role(), Role::Leader(_)) && Some(raft.election().epoch) == newest
        });
        let Some((node, raft)) = leader else { return Ok(()) };
        if raft.log_end().offset < self.end() {
            let (has, all) = (raft.log_end().offset, self.end());
            return violation(
                "leader completeness",
                format!("node {node} leads with {has} of {all} committed"),
            );
        }
        self.matches(*node, raft, self.end())
    }

    /// Whether a node's log is what was committed, up to `end`.
    ///
    /// # Errors
    /// If it is not.
    pub fn matches(&self, node: NodeId, raft: &mut Raft, end: Offset) -> Result<(), Violation> {
        let mut from = raft.log_start();
        while from < end {
            let batches = match raft.read_log(from, 1 << 20) {
                Ok(batches) if !batches.is_empty() => batches,
                other => return violation("logs can be read", format!("node {node} at {from}: {other:?}")),
            };
            for batch in batches {
                if from < end
                    && let Some(committed) =
                        self.batches.get(&batch.base_offset).or_else(|| self.covering(from))
                    && committed != &batch
                {
                    return violation(
                        "equal below the high watermark",
                        format!("node {node} has {batch:?}, committed is {committed:?}"),
                    );
                }
                from = batch.last_offset.plus(1);
            }
        }
        Ok(())
    }

    fn covering(&self, offset: Offset) -> Option<&CommittedBatch> {
        self.batches
            .range(..=offset)
            .next_back()
            .map(|(_, batch)| batch)
            .filter(|batch| batch.last_offset >= offset)
    }
}
