//! What must hold after every event, whatever goes wrong: one file for each invariant.
//!
//! The names in brackets are those of the published TLA+ models. A checker sees what nodes say and do; none changes
//! anything.

mod committed;
mod epochs;
mod high_watermark;
mod logs;
mod one_leader;
mod votes;

use ottla_protocol::{LeaderEpoch, NodeId};
use ottla_raft::{CommittedBatch, ReplicaKey};

pub use committed::Committed;
pub use epochs::Epochs;
pub use high_watermark::HighWatermarks;
pub use logs::Logs;
pub use one_leader::OneLeader;
pub use votes::VotesGiven;

use crate::replica::Replica;

/// An invariant that did not hold: what, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// All invariants.
#[derive(Debug, Default)]
pub struct Checks {
    /// One leader per epoch.
    pub one_leader: OneLeader,
    /// What is committed stays.
    pub committed: Committed,
    /// High watermarks do not go back.
    pub high_watermarks: HighWatermarks,
    /// One vote per node and epoch.
    pub votes: VotesGiven,
    /// Epochs do not go back, not even in a crash.
    pub epochs: Epochs,
    /// Logs are equal below the high watermark.
    pub logs: Logs,
}

impl Checks {
    /// After every event: what is cheap, on the node that did something.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn after_event(&mut self, replica: &Replica) -> Result<(), Violation> {
        self.one_leader.see(replica)?;
        self.high_watermarks.see(replica)?;
        self.epochs.see(replica)?;
        self.votes.see(replica)
    }

    /// A node applied a batch.
    ///
    /// # Errors
    /// If another batch was committed there before.
    pub fn applied(&mut self, replica: &Replica, batch: &CommittedBatch) -> Result<(), Violation> {
        self.committed.see(replica.id, batch)?;
        self.committed.see_state(replica.id, &replica.state)
    }

    /// A node said yes to a candidate.
    ///
    /// # Errors
    /// If it said yes to another one in this epoch.
    pub fn granted(
        &mut self,
        voter: NodeId,
        epoch: LeaderEpoch,
        candidate: ReplicaKey,
    ) -> Result<(), Violation> {
        self.votes.granted(voter, epoch, candidate.id)
    }

    /// Now and then: what is expensive, on all nodes.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn deeply(&self, replicas: &mut [Replica]) -> Result<(), Violation> {
        self.committed.leader_has_all(replicas)?;
        self.logs.equal(replicas, &self.committed)
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

fn violation(invariant: &'static str, what: String) -> Result<(), Violation> {
    Err(Violation { invariant, what })
}
