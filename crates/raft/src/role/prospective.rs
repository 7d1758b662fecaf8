//! Prospective: would win an election? Asks before it raises the epoch, so that a voter with a bad link cannot
//! depose a leader that works for everybody else (KIP-996).

use ottla_protocol::time::Deadline;

use crate::quorum::Votes;
use crate::voters::Endpoint;

/// The state of a prospective candidate.
#[derive(Clone, Debug)]
pub struct Prospective {
    /// When it gives up asking.
    pub election: Deadline,
    /// What the voters have said.
    pub votes: Votes,
    /// Where the last known leader listens: it goes back there if the election would be lost.
    pub endpoints: Vec<Endpoint>,
}
