//! Leader: knows how far each replica has come, and that a majority still listens.
//!
//! Invariant: an end offset in here was acknowledged by a fetch of this epoch.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::time::{Deadline, Now};
use ottla_protocol::{NodeId, Offset};

use crate::quorum;
use crate::voters::{ReplicaKey, Voters};

/// Observers not heard from for so long are forgotten.
const OBSERVER_MEMORY_US: u64 = 300_000_000;
/// More observers than this are served but not remembered.
const OBSERVERS_MAX: usize = 10_000;

/// The state of a leader.
#[derive(Clone, Debug)]
pub struct Leader {
    /// The offset of the epoch's first record, its LeaderChange.
    pub epoch_start: Offset,
    /// Who voted for it.
    pub granting: BTreeSet<NodeId>,
    followers: BTreeMap<NodeId, Progress>,
    observers: BTreeMap<ReplicaKey, Progress>,
    began_us: u64,
}

/// How far a replica has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Its log end, once it has fetched in this epoch.
    pub end: Option<Offset>,
    /// When it last fetched, on both clocks.
    pub fetched: Option<Now>,
    /// When it last had everything the leader had then, on the wall clock.
    pub caught_up_ms: Option<i64>,
    leader_end_then: Offset,
    begin_due_us: u64,
}

impl Leader {
    /// A leader whose epoch begins at `epoch_start`, at `now_us`; everybody in `others` is told at once.
    #[must_use]
    pub fn new(
        epoch_start: Offset,
        granting: BTreeSet<NodeId>,
        others: impl IntoIterator<Item = NodeId>,
        now_us: u64,
    ) -> Self {
        let fresh = Progress { begin_due_us: now_us, ..Progress::default() };
        Self {
            epoch_start,
            granting,
            followers: others.into_iter().map(|id| (id, fresh)).collect(),
            observers: BTreeMap::new(),
            began_us: now_us,
        }
    }

    /// Notes a valid fetch from `offset` by `replica`, at a time when the leader's log ended at `leader_end`.
    pub fn fetched(
        &mut self,
        now: Now,
        replica: ReplicaKey,
        position: (Offset, Offset),
        voters: &Voters,
        begin_every_us: u64,
    ) {
        let (offset, leader_end) = position;
        let progress = if voters.contains(replica) {
            self.followers.entry(replica.id).or_default()
        } else {
            self.observers.retain(|_, p| {
                p.fetched
                    .is_some_and(|at| now.monotonic_us.saturating_sub(at.monotonic_us) < OBSERVER_MEMORY_US)
            });
            if self.observers.len() >= OBSERVERS_MAX && !self.observers.contains_key(&replica) {
                return;
            }
            self.observers.entry(replica).or_default()
        };
        if offset >= leader_end {
            progress.caught_up_ms = Some(now.wall_ms);
        } else if progress.fetched.is_some() && offset >= progress.leader_end_then {
            progress.caught_up_ms = progress.caught_up_ms.max(progress.fetched.map(|at| at.wall_ms));
        }
        // A fetch that was overtaken by a later one sets this back, which only delays the high watermark.
        progress.end = Some(offset);
        progress.leader_end_then = leader_end;
        progress.fetched = Some(now);
        progress.begin_due_us = now.monotonic_us.saturating_add(begin_every_us);
    }

    /// Notes that `replica` was heard from without acknowledging anything, as with FetchSnapshot.
    pub fn heard(&mut self, now: Now, replica: ReplicaKey, voters: &Voters) {
        if voters.contains(replica) {
            self.followers.entry(replica.id).or_default().fetched = Some(now);
        }
    }

    /// The end offset of each voter, `own_end` being that of `me` if it votes.
    #[must_use]
    pub fn ends(&self, me: NodeId, own_end: Offset, voters: &Voters) -> Vec<Option<Offset>> {
        voters
            .ids()
            .map(|id| if id == me { Some(own_end) } else { self.followers.get(&id).and_then(|p| p.end) })
            .collect()
    }

    /// When this leader must resign unless more voters fetch: `patience_us` after a majority was last in touch.
    /// A voter that never fetched counts as in touch when the epoch began; `None` means never (KAFKA-16144).
    #[must_use]
    pub fn must_resign_at(&self, me: ReplicaKey, voters: &Voters, patience_us: u64) -> Option<Deadline> {
        if voters.is_only(me) {
            return None;
        }
        let heard: Vec<Option<u64>> = voters
            .ids()
            .map(|id| match self.followers.get(&id).and_then(|p| p.fetched) {
                _ if id == me.id && voters.contains(me) => Some(u64::MAX),
                Some(at) => Some(at.monotonic_us),
                None => Some(self.began_us),
            })
            .collect();
        let contact = quorum::reached_by_majority(&heard).unwrap_or(self.began_us);
        Some(Deadline(contact.saturating_add(patience_us)))
    }

    /// The voters to be told that this epoch has begun, with the time from which on they should be.
    pub fn to_be_told(&self, me: NodeId, voters: &Voters) -> Vec<(NodeId, Deadline)> {
        voters
            .ids()
            .filter(|id| *id != me)
            .map(|id| (id, Deadline(self.followers.get(&id).map_or(self.began_us, |p| p.begin_due_us))))
            .collect()
    }

    /// Notes that `voter` is being told; it will be told again at `again_us` unless it fetches.
    pub fn told(&mut self, voter: NodeId, again_us: u64) {
        self.followers.entry(voter).or_default().begin_due_us = again_us;
    }

    /// The other voters, the most up to date first, as successors.
    #[must_use]
    pub fn successors(&self, me: NodeId, voters: &Voters) -> Vec<ReplicaKey> {
        let mut others: Vec<ReplicaKey> =
            voters.ids().filter(|id| *id != me).filter_map(|id| voters.key(id)).collect();
        others.sort_by_key(|key| std::cmp::Reverse(self.followers.get(&key.id).and_then(|p| p.end)));
        others
    }

    /// How far the voter `id` has come.
    #[must_use]
    pub fn follower(&self, id: NodeId) -> Progress {
        self.followers.get(&id).copied().unwrap_or_default()
    }

    /// The observers that fetched lately.
    pub fn observers(&self) -> impl Iterator<Item = (ReplicaKey, &Progress)> {
        self.observers.iter().map(|(key, progress)| (*key, progress))
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Uuid;

    use super::*;
    use crate::voters::Voter;

    fn three() -> Voters {
        Voters::new((1..=3).map(|id| {
            (NodeId(id), Voter { directory: Uuid::ZERO, endpoints: Vec::new(), kraft_versions: (0, 1) })
        }))
    }

    fn key(id: i32) -> ReplicaKey {
        ReplicaKey { id: NodeId(id), directory: Uuid::ZERO }
    }

    fn at(us: u64) -> Now {
        Now { monotonic_us: us, wall_ms: i64::try_from(us).unwrap_or(0) }
    }

    #[test]
    fn a_majority_out_of_touch_ends_the_leadership() {
        let mut leader = Leader::new(Offset(0), BTreeSet::new(), [NodeId(2), NodeId(3)], 100);
        assert_eq!(leader.must_resign_at(key(1), &three(), 3_000), Some(Deadline(3_100)));
        leader.fetched(at(700), key(3), (Offset(1), Offset(1)), &three(), 50);
        assert_eq!(
            leader.must_resign_at(key(1), &three(), 3_000),
            Some(Deadline(3_700)),
            "one of two is enough"
        );
        leader.fetched(at(900), key(9), (Offset(1), Offset(1)), &three(), 50);
        assert_eq!(
            leader.must_resign_at(key(1), &three(), 3_000),
            Some(Deadline(3_700)),
            "observers do not count"
        );
    }

    #[test]
    fn successors_are_sorted_by_how_far_they_are() {
        let mut leader = Leader::new(Offset(0), BTreeSet::new(), [NodeId(2), NodeId(3)], 0);
        assert_eq!(leader.successors(NodeId(1), &three()), [key(2), key(3)]);
        leader.fetched(at(1), key(3), (Offset(4), Offset(9)), &three(), 50);
        assert_eq!(leader.successors(NodeId(1), &three()), [key(3), key(2)]);
    }

    #[test]
    fn only_voters_that_do_not_fetch_are_told_again() {
        let mut leader = Leader::new(Offset(0), BTreeSet::new(), [NodeId(2), NodeId(3)], 0);
        leader.told(NodeId(2), 1_000);
        leader.fetched(at(200), key(3), (Offset(0), Offset(1)), &three(), 1_000);
        assert_eq!(
            leader.to_be_told(NodeId(1), &three()),
            [(NodeId(2), Deadline(1_000)), (NodeId(3), Deadline(1_200))]
        );
    }

    #[test]
    fn caught_up_means_having_had_all_there_was() {
        let mut leader = Leader::new(Offset(0), BTreeSet::new(), [NodeId(2), NodeId(3)], 0);
        leader.fetched(at(10), key(2), (Offset(0), Offset(5)), &three(), 1);
        assert_eq!(leader.follower(NodeId(2)).caught_up_ms, None);
        leader.fetched(at(20), key(2), (Offset(5), Offset(8)), &three(), 1);
        assert_eq!(leader.follower(NodeId(2)).caught_up_ms, Some(10), "what there was at 10 it has now");
        leader.fetched(at(30), key(2), (Offset(8), Offset(8)), &three(), 1);
        assert_eq!(leader.follower(NodeId(2)).caught_up_ms, Some(30));
    }
}
