//! Who votes: replica keys, voter sets, and the history of voter sets that the log holds.
//!
//! A voter is a node *with its disk* (KIP-853): a node that comes back with an empty disk is another voter.
//! Invariant: a voter set in the log takes effect when it is appended, not when it is committed, and a truncation
//! takes it back. With kraft.version 0 the set is the configured one and directory ids are zero.
//!
//! Changing the set (AddRaftVoter, RemoveRaftVoter, UpdateRaftVoter) comes later; it will append a `KRaftVoters`
//! record, and everything here already follows such records.

use std::collections::BTreeMap;

use ottla_protocol::{NodeId, Offset, Uuid};

/// A node with the directory that holds its metadata log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaKey {
    /// The node; a negative id is nobody.
    pub id: NodeId,
    /// Its directory id; zero when it is not known.
    pub directory: Uuid,
}

impl ReplicaKey {
    /// Whether this key, in which the directory may be missing, means `replica`.
    #[must_use]
    pub fn means(self, replica: ReplicaKey) -> bool {
        self.id == replica.id && (self.directory.is_zero() || self.directory == replica.directory)
    }
}

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The listener's name, such as `CONTROLLER`.
    pub listener: String,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// One voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its directory id; zero with kraft.version 0.
    pub directory: Uuid,
    /// Where it listens, its default listener first.
    pub endpoints: Vec<Endpoint>,
    /// The kraft.version levels it can work with, both ends included.
    pub kraft_versions: (i16, i16),
}

/// A voter set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voters(BTreeMap<NodeId, Voter>);

/// The voter sets and kraft.version levels of a log, each with the offset of the record that set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    configured: Voters,
    sets: Vec<(Offset, Voters)>,
    versions: Vec<(Offset, i16)>,
}

/// The offset under which what a snapshot holds is filed when that snapshot is the bootstrap one: before any record.
const BEFORE_THE_LOG: Offset = Offset(-1);

impl Voters {
    /// A set of `voters`.
    #[must_use]
    pub fn new(voters: impl IntoIterator<Item = (NodeId, Voter)>) -> Self {
        Self(voters.into_iter().collect())
    }

    /// The voters in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Voter)> {
        self.0.iter().map(|(id, voter)| (*id, voter))
    }

    /// The voters' ids, ascending.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.keys().copied()
    }

    /// The voter with this id.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Voter> {
        self.0.get(&id)
    }

    /// The key of the voter with this id.
    #[must_use]
    pub fn key(&self, id: NodeId) -> Option<ReplicaKey> {
        self.0.get(&id).map(|voter| ReplicaKey { id, directory: voter.directory })
    }

    /// Whether this replica votes: the id is in the set, and the directory is the one named there (if one is).
    #[must_use]
    pub fn contains(&self, replica: ReplicaKey) -> bool {
        self.key(replica.id).is_some_and(|key| key.means(replica))
    }

    /// Whether `replica` votes and nobody else does.
    #[must_use]
    pub fn is_only(&self, replica: ReplicaKey) -> bool {
        self.0.len() == 1 && self.contains(replica)
    }

    /// Sets where a voter listens; whether that is news is the answer. Without endpoints nothing is set.
    pub fn set_endpoints(&mut self, replica: ReplicaKey, endpoints: &[Endpoint]) -> bool {
        let known = self.contains(replica) && !endpoints.is_empty();
        match self.0.get_mut(&replica.id) {
            Some(voter) if known && voter.endpoints != endpoints => {
                voter.endpoints = endpoints.to_vec();
                true
            }
            _ => false,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Membership {
    /// A history without records: `configured` votes, at kraft.version 0.
    #[must_use]
    pub fn new(configured: Voters) -> Self {
        Self { configured, sets: Vec::new(), versions: Vec::new() }
    }

    /// The voter set in force: the newest in the log, or else the configured one.
    #[must_use]
    pub fn voters(&self) -> &Voters {
        self.sets.last().map_or(&self.configured, |(_, voters)| voters)
    }

    /// The kraft.version level in force.
    #[must_use]
    pub fn kraft_version(&self) -> i16 {
        self.versions.last().map_or(0, |(_, version)| *version)
    }

    /// Whether the log itself (a snapshot after the bootstrap one counts) has a voters record.
    ///
    /// Where only the bootstrap checkpoint has one, the first leader must write it into the log: that checkpoint is
    /// never sent to anyone.
    #[must_use]
    pub fn is_in_the_log(&self) -> bool {
        self.sets.last().is_some_and(|(offset, _)| *offset > BEFORE_THE_LOG)
    }

    /// Takes up a voter set found at `offset`.
    pub fn voters_at(&mut self, offset: Offset, voters: Voters) {
        self.sets.push((offset, voters));
    }

    /// Takes up a kraft.version level found at `offset`.
    pub fn version_at(&mut self, offset: Offset, version: i16) {
        self.versions.push((offset, version));
    }

    /// Starts again from what a snapshot that ends at `end` (exclusive) holds.
    pub fn restart_from_snapshot(&mut self, end: Offset, version: Option<i16>, voters: Option<Voters>) {
        let at = if end == Offset::ZERO { BEFORE_THE_LOG } else { Offset(end.0 - 1) };
        self.sets.clear();
        self.versions.clear();
        self.versions.extend(version.map(|version| (at, version)));
        self.sets.extend(voters.map(|voters| (at, voters)));
    }

    /// Takes back everything at `end` and beyond: those records are no longer in the log.
    pub fn truncate_to(&mut self, end: Offset) {
        self.sets.retain(|(offset, _)| *offset < end);
        self.versions.retain(|(offset, _)| *offset < end);
    }

    /// Forgets what lies before `start`, except what is in force there.
    pub fn forget_before(&mut self, start: Offset) {
        let in_force = |offsets: Vec<Offset>| offsets.iter().rposition(|offset| *offset < start).unwrap_or(0);
        self.sets.drain(..in_force(self.sets.iter().map(|(offset, _)| *offset).collect()));
        self.versions.drain(..in_force(self.versions.iter().map(|(offset, _)| *offset).collect()));
    }

    /// Voter set and kraft.version in force just before `end`, as a snapshot that ends there must record them.
    #[must_use]
    pub fn at(&self, end: Offset) -> (i16, Option<&Voters>) {
        let version =
            self.versions.iter().rev().find(|(offset, _)| *offset < end).map_or(0, |(_, version)| *version);
        (version, self.sets.iter().rev().find(|(offset, _)| *offset < end).map(|(_, voters)| voters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(ids: &[i32]) -> Voters {
        Voters::new(ids.iter().map(|id| {
            (NodeId(*id), Voter { directory: Uuid::ZERO, endpoints: Vec::new(), kraft_versions: (0, 1) })
        }))
    }

    #[test]
    fn a_set_counts_from_its_append_and_a_truncation_takes_it_back() {
        let mut membership = Membership::new(Voters::default());
        membership.restart_from_snapshot(Offset::ZERO, Some(1), Some(voters(&[1])));
        assert!(!membership.is_in_the_log(), "only the bootstrap checkpoint has it");
        membership.voters_at(Offset(0), voters(&[1]));
        membership.voters_at(Offset(7), voters(&[1, 2]));
        assert_eq!(membership.voters().len(), 2);
        assert_eq!(membership.at(Offset(7)), (1, Some(&voters(&[1]))));
        membership.truncate_to(Offset(7));
        assert_eq!(membership.voters(), &voters(&[1]));
        assert!(membership.is_in_the_log());
    }

    #[test]
    fn what_is_in_force_survives_the_cleaning_of_the_log() {
        let mut membership = Membership::new(Voters::default());
        for (offset, ids) in [(0, vec![1]), (5, vec![1, 2]), (9, vec![1, 2, 3])] {
            membership.voters_at(Offset(offset), voters(&ids));
        }
        membership.forget_before(Offset(8));
        assert_eq!(membership.at(Offset(8)).1, Some(&voters(&[1, 2])));
        assert_eq!(membership.at(Offset(5)).1, None);
    }

    #[test]
    fn a_voter_that_has_moved_is_news_once() {
        let mut set = voters(&[1, 2]);
        let me = ReplicaKey { id: NodeId(2), directory: Uuid::ZERO };
        let there = [Endpoint { listener: "C".into(), host: "there".into(), port: 1 }];
        assert!(set.set_endpoints(me, &there));
        assert!(!set.set_endpoints(me, &there));
        assert!(!set.set_endpoints(me, &[]), "who does not say where it is has not moved");
        assert!(!set.set_endpoints(ReplicaKey { id: NodeId(3), ..me }, &there));
    }

    #[test]
    fn a_voter_with_another_disk_is_another_voter() {
        let directory = Uuid::from_random([7; 16]);
        let set =
            Voters::new([(NodeId(1), Voter { directory, endpoints: Vec::new(), kraft_versions: (0, 1) })]);
        assert!(set.contains(ReplicaKey { id: NodeId(1), directory }));
        assert!(!set.contains(ReplicaKey { id: NodeId(1), directory: Uuid::from_random([8; 16]) }));
        assert!(
            voters(&[1]).contains(ReplicaKey { id: NodeId(1), directory }),
            "kraft.version 0 names no directory"
        );
    }
}
