//! A node votes at most once per epoch, crashes or not.

use std::collections::BTreeMap;

use ottla_protocol::{LeaderEpoch, NodeId};
use ottla_raft::Role;

use super::{Violation, violation};
use crate::replica::Replica;

/// Remembers every vote.
#[derive(Debug, Default)]
pub struct VotesGiven {
    votes: BTreeMap<(NodeId, LeaderEpoch), NodeId>,
}

impl VotesGiven {
    /// A node said yes.
    ///
    /// # Errors
    /// If it said yes to another before.
    pub fn granted(&mut self, voter: NodeId, epoch: LeaderEpoch, candidate: NodeId) -> Result<(), Violation> {
        let first = *self.votes.entry((voter, epoch)).or_insert(candidate);
        if first == candidate {
            return Ok(());
        }
        violation(
            "one vote per epoch",
            format!("node {voter} voted for {first} and {candidate} in epoch {epoch}"),
        )
    }

    /// A candidate has voted for itself.
    ///
    /// # Errors
    /// If it had voted for another.
    pub fn see(&mut self, replica: &Replica) -> Result<(), Violation> {
        match &replica.raft {
            Some(raft) if matches!(raft.role(), Role::Candidate(_) | Role::Leader(_)) => {
                self.granted(replica.id, raft.election().epoch, replica.id)
            }
            _ => Ok(()),
        }
    }
}
