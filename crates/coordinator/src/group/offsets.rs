//! The committed offsets of all groups of one partition of `__consumer_offsets`, and those that open transactions hold
//! back until they end.
//!
//! It knows groups by name only; what a group allows is asked of it as a [`CommittingGroup`]. Groups of any kind keep
//! their offsets, also when one kind becomes another. There may be hundreds of thousands, so names are kept once and
//! everything else stands in one flat map.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ProducerId;
use ottla_protocol::records::coordinator::{OffsetCommitKey, OffsetCommitValue};

use super::record::Record;
use crate::decider::{Outcome, Written};
use crate::mutant::{Mutant, Planted};

mod commit;
mod committed;
mod delete;
mod expiry;
mod fetch;
mod group;
mod names;

pub use commit::CommitsAs;
pub use committed::Committed;
pub use expiry::{Expiry, Rest, Sweep, TOMBSTONES_AT_ONCE};
pub use group::{Claim, CommittingGroup, Permission};

use names::Names;

/// See the module.
#[derive(Debug, Default)]
pub struct Offsets {
    groups: Names,
    topics: Names,
    committed: BTreeMap<Place, Committed>,
    /// What each open transaction would commit.
    pending: BTreeMap<ProducerId, BTreeMap<Place, Committed>>,
    /// The same turned around: who holds something back for a place. Always as `pending` says.
    open: BTreeSet<(Place, ProducerId)>,
    planted: Planted,
}

/// A group's partition, in numbers that [`Names`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    group: u32,
    topic: u32,
    partition: i32,
}

impl Offsets {
    /// None at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn plant(&mut self, planted: Planted) {
        self.planted = planted;
    }

    /// Takes in a record. When it commits something, the group has to exist: one that does not comes into being as a
    /// simple group, which the caller sees to.
    pub fn apply(&mut self, written: Written, key: &OffsetCommitKey, value: Option<OffsetCommitValue>) {
        match value {
            None => {
                if let Some(place) = self.find(&key.group, &key.topic, key.partition) {
                    self.forget(place);
                }
            }
            Some(value) => {
                let place = Place {
                    group: self.groups.take(&key.group),
                    topic: self.topics.take(&key.topic),
                    partition: key.partition,
                };
                let committed = Committed::new(written.offset, value);
                let counts_at_once = self.planted.has(Mutant::OpenOffsetsCount);
                let replaced = match written.transaction.filter(|_| !counts_at_once) {
                    None => self.committed.insert(place, committed),
                    Some(producer) => {
                        self.open.insert((place, producer.id));
                        self.pending.entry(producer.id).or_default().insert(place, committed)
                    }
                };
                if replaced.is_some() {
                    self.release(place);
                }
            }
        }
    }

    /// Takes in the end of a producer's transaction. Of a commit inside and one outside of it the one counts that was
    /// written last, for that is the one which compaction leaves.
    pub fn apply_marker(&mut self, producer: ProducerId, outcome: Outcome) {
        for (place, held_back) in self.pending.remove(&producer).unwrap_or_default() {
            self.open.remove(&(place, producer));
            let ended_well = outcome == Outcome::Committed || self.planted.has(Mutant::AbortedOffsetsCount);
            let counts = ended_well
                && (self.planted.has(Mutant::OrderOfCommitsIgnored)
                    || self
                        .committed
                        .get(&place)
                        .is_none_or(|existing| existing.record_offset < held_back.record_offset));
            if !counts || self.committed.insert(place, held_back).is_some() {
                self.release(place);
            }
        }
    }

    /// What a group has committed for a partition; nothing of open transactions.
    #[must_use]
    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.committed.get(&self.find(group, topic, partition)?)
    }

    /// Whether an open transaction may still change what a group has committed for a partition.
    #[must_use]
    pub fn is_unstable(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.find(group, topic, partition).is_some_and(|place| self.is_open(place))
    }

    /// Whether a group has no offsets, neither committed nor held back.
    #[must_use]
    pub fn has_none_of(&self, group: &str) -> bool {
        self.groups.find(group).is_none()
    }

    /// Whether nothing is committed, and nothing held back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// How many offsets are committed, of all groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.committed.len()
    }

    /// The producers that hold something back.
    pub fn open_transactions(&self) -> impl Iterator<Item = ProducerId> {
        self.pending.keys().copied()
    }

    fn find(&self, group: &str, topic: &str, partition: i32) -> Option<Place> {
        Some(Place { group: self.groups.find(group)?, topic: self.topics.find(topic)?, partition })
    }

    fn is_open(&self, place: Place) -> bool {
        self.open.range((place, ProducerId(i64::MIN))..).next().is_some_and(|(open, _)| *open == place)
    }

    /// A tombstone: nothing is committed for this place any more, and nothing held back.
    fn forget(&mut self, place: Place) {
        let spares = self.planted.has(Mutant::TombstoneSparesTransactions);
        let producers: Vec<ProducerId> = self
            .open
            .range((place, ProducerId(i64::MIN))..)
            .take_while(|(open, _)| *open == place)
            .map(|(_, producer)| *producer)
            .filter(|_| !spares)
            .collect();
        for producer in producers {
            self.open.remove(&(place, producer));
            if let Some(held_back) = self.pending.get_mut(&producer)
                && held_back.remove(&place).is_some()
            {
                if held_back.is_empty() {
                    self.pending.remove(&producer);
                }
                self.release(place);
            }
        }
        if self.committed.remove(&place).is_some() {
            self.release(place);
        }
    }

    fn release(&mut self, place: Place) {
        self.groups.release(place.group);
        self.topics.release(place.topic);
    }

    /// All that a group has committed, topic by topic.
    fn of_group(&self, group: u32) -> impl Iterator<Item = (&Place, &Committed)> {
        self.committed.range(Place::first_of(group)..).take_while(move |(place, _)| place.group == group)
    }

    /// All places of a group that open transactions may still change, once for each transaction.
    fn open_of_group(&self, group: u32) -> impl Iterator<Item = Place> {
        self.open
            .range((Place::first_of(group), ProducerId(i64::MIN))..)
            .map(|(place, _)| *place)
            .take_while(move |place| place.group == group)
    }

    fn tombstone(&self, place: Place) -> Record {
        let key = OffsetCommitKey {
            group: self.groups.name(place.group).to_owned(),
            topic: self.topics.name(place.topic).to_owned(),
            partition: place.partition,
        };
        Record::OffsetCommit(key, None)
    }
}

impl Place {
    fn first_of(group: u32) -> Self {
        Self { group, topic: 0, partition: i32::MIN }
    }
}

#[cfg(test)]
mod tests;
