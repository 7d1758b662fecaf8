//! Candidate: has raised the epoch, voted for itself, and asks the others.
//!
//! A candidate that has lost stays one until its time is up, lest two losers chase each other (KAFKA-18345).

use ottla_protocol::time::Deadline;

use crate::quorum::Votes;

/// The state of a candidate.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// When the epoch is given up for lost.
    pub election: Deadline,
    /// What the voters have said.
    pub votes: Votes,
}
