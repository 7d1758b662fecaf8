//! What a replica is in the present epoch: one of six roles, each a value with only what that role needs.
//!
//! Epoch, known leader and vote are not here: they belong to the epoch, are durable, and stay when the role changes
//! within it (`store::ElectionState`). Deadlines of a role die with it.

mod candidate;
mod follower;
mod leader;
mod prospective;
mod resigned;
mod unattached;

pub use candidate::Candidate;
pub use follower::{Download, Follower};
pub use leader::{Leader, Progress};
pub use prospective::Prospective;
pub use resigned::Resigned;
pub use unattached::Unattached;

use ottla_protocol::time::Deadline;

use crate::message::Ballot;
use crate::store::ElectionState;
use crate::voters::ReplicaKey;

/// The six roles.
#[derive(Clone, Debug)]
pub enum Role {
    /// Knows the epoch, follows nobody.
    Unattached(Unattached),
    /// Fetches from the leader of the epoch.
    Follower(Follower),
    /// Asks whether an election would be won (KIP-996).
    Prospective(Prospective),
    /// Has begun an epoch and asks for votes.
    Candidate(Candidate),
    /// Has won the epoch.
    Leader(Leader),
    /// Had won the epoch and has let go of it.
    Resigned(Resigned),
}

impl Role {
    /// The role's name, in lower case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unattached(_) => "unattached",
            Self::Follower(_) => "follower",
            Self::Prospective(_) => "prospective",
            Self::Candidate(_) => "candidate",
            Self::Leader(_) => "leader",
            Self::Resigned(_) => "resigned",
        }
    }

    /// When the role ends by itself, if it does.
    #[must_use]
    pub fn ends_at(&self) -> Option<Deadline> {
        match self {
            Self::Unattached(role) => role.election,
            Self::Follower(role) => role.fetch,
            Self::Prospective(role) => Some(role.election),
            Self::Candidate(role) => Some(role.election),
            Self::Resigned(role) => role.election,
            Self::Leader(_) => None,
        }
    }

    /// Whether `candidate` gets a yes.
    ///
    /// `up_to_date` says that the candidate's log ends no earlier than ours. A pre-vote may be granted by whoever has
    /// no working leader; a vote only by those who have neither voted nor a leader in this epoch, or again by those
    /// who voted for the same candidate.
    #[must_use]
    pub fn grants(
        &self,
        ballot: Ballot,
        candidate: ReplicaKey,
        election: &ElectionState,
        up_to_date: bool,
    ) -> bool {
        match (ballot, self) {
            (_, Self::Leader(_)) => false,
            (Ballot::PreVote, Self::Follower(follower)) => up_to_date && !follower.has_fetched,
            (Ballot::PreVote, _) => up_to_date,
            (Ballot::Vote, Self::Unattached(_) | Self::Prospective(_)) => match election.voted {
                Some(voted) => voted.means(candidate),
                None => election.leader.is_none() && up_to_date,
            },
            (Ballot::Vote, Self::Follower(_) | Self::Candidate(_) | Self::Resigned(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ottla_protocol::{LeaderEpoch, NodeId, Offset, Uuid};

    use super::*;
    use crate::quorum::Votes;

    fn key(id: i32) -> ReplicaKey {
        ReplicaKey { id: NodeId(id), directory: Uuid::ZERO }
    }

    fn roles() -> Vec<Role> {
        let follower = Follower::new(NodeId(3), Vec::new(), Some(Deadline(1)));
        let fetched = Follower { has_fetched: true, ..follower.clone() };
        let votes = Votes::among([NodeId(1), NodeId(2)]);
        vec![
            Role::Unattached(Unattached { election: None }),
            Role::Follower(follower),
            Role::Follower(fetched),
            Role::Prospective(Prospective {
                election: Deadline(1),
                votes: votes.clone(),
                endpoints: Vec::new(),
            }),
            Role::Candidate(Candidate { election: Deadline(1), votes }),
            Role::Leader(Leader::new(Offset(0), BTreeSet::new(), [], 0)),
            Role::Resigned(Resigned {
                election: None,
                unacknowledged: BTreeSet::new(),
                successors: Vec::new(),
            }),
        ]
    }

    fn granted(ballot: Ballot, voted: Option<i32>, leader: Option<i32>, up_to_date: bool) -> Vec<bool> {
        let election =
            ElectionState { epoch: LeaderEpoch(4), leader: leader.map(NodeId), voted: voted.map(key) };
        roles().iter().map(|role| role.grants(ballot, key(1), &election, up_to_date)).collect()
    }

    #[test]
    fn a_pre_vote_is_granted_by_all_without_a_working_leader() {
        let yes = [true, true, false, true, true, false, true];
        assert_eq!(granted(Ballot::PreVote, None, None, true), yes);
        assert_eq!(
            granted(Ballot::PreVote, Some(2), Some(3), true),
            yes,
            "votes and leaders do not matter here"
        );
        assert_eq!(granted(Ballot::PreVote, None, None, false), [false; 7], "but the log always does");
    }

    #[test]
    fn a_vote_is_granted_once_per_epoch_and_again_to_the_same() {
        let unattached_and_prospective = [true, false, false, true, false, false, false];
        assert_eq!(granted(Ballot::Vote, None, None, true), unattached_and_prospective);
        assert_eq!(
            granted(Ballot::Vote, Some(1), None, false),
            unattached_and_prospective,
            "it was judged before"
        );
        assert_eq!(granted(Ballot::Vote, Some(2), None, true), [false; 7]);
        assert_eq!(granted(Ballot::Vote, None, Some(3), true), [false; 7], "the epoch has a leader");
        assert_eq!(granted(Ballot::Vote, None, None, false), [false; 7]);
    }
}
