//! Which leader epoch each stretch of the log was written in (KIP-101, KIP-279).
//!
//! Both epochs and their first offsets rise strictly. The file may lag behind memory: entries whose batches are not
//! flushed are found again by recovery, so it needs to be written only before the recovery point moves past them.

use ottla_protocol::{LeaderEpoch, Offset};

/// An epoch and the offset of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its first offset.
    pub start: Offset,
}

impl EpochEntry {
    /// Out of bare numbers.
    #[must_use]
    pub fn new(epoch: i32, start: i64) -> Self {
        Self { epoch: LeaderEpoch(epoch), start: Offset(start) }
    }
}

/// The epochs of one log.
#[derive(Clone, Debug, Default)]
pub struct Epochs {
    entries: Vec<EpochEntry>,
    unsaved: bool,
}

impl Epochs {
    /// Takes entries as a file has them; those that contradict a later one go.
    #[must_use]
    pub fn new(entries: Vec<EpochEntry>) -> Self {
        let mut epochs = Self::default();
        for entry in entries {
            epochs.assign(entry.epoch, entry.start);
        }
        epochs.unsaved = false;
        epochs
    }

    /// All entries, rising.
    #[must_use]
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The latest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The earliest epoch.
    #[must_use]
    pub fn earliest(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// The epoch that the record at `offset` was, or would be, written in.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start <= offset);
        Some(self.entries.get(after.checked_sub(1)?)?.epoch)
    }

    /// The latest epoch at or below `epoch` with the offset after its last record: the answer to
    /// OffsetForLeaderEpoch. `None` when the epoch is not known: later than all, or there are none.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        if epoch.0 < 0 {
            return None;
        }
        if self.latest().is_some_and(|latest| latest.epoch == epoch) {
            return Some((epoch, log_end));
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end = self.entries.get(higher)?.start;
        // An epoch before the first known one ends where that begins.
        let found = higher.checked_sub(1).map_or(epoch, |floor| self.entries[floor].epoch);
        Some((found, end))
    }

    /// Begins `epoch` at `start`, dropping entries that contradict it. Whether anything changed is the answer.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        let new = EpochEntry { epoch, start };
        if self.latest().is_some_and(|latest| latest.epoch == epoch && start >= latest.start) {
            return false;
        }
        while self.entries.pop_if(|entry| entry.epoch >= epoch || entry.start >= start).is_some() {}
        self.entries.push(new);
        self.unsaved = true;
        true
    }

    /// Drops what begins at or after `end`.
    pub fn truncate_from_end(&mut self, end: Offset) {
        while self.entries.pop_if(|entry| entry.start >= end).is_some() {
            self.unsaved = true;
        }
    }

    /// Drops what ends before `start`; the epoch that `start` lies in begins there from now on.
    pub fn truncate_from_start(&mut self, start: Offset) {
        let after = self.entries.partition_point(|entry| entry.start <= start);
        let Some(current) = after.checked_sub(1) else { return };
        if current > 0 || self.entries[current].start != start {
            self.entries[current].start = start;
            self.entries.drain(..current);
            self.unsaved = true;
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.unsaved |= !self.entries.is_empty();
        self.entries.clear();
    }

    /// Whether the file lags behind.
    pub(crate) fn unsaved(&self) -> bool {
        self.unsaved
    }

    pub(crate) fn mark_saved(&mut self) {
        self.unsaved = false;
    }

    pub(crate) fn mark_unsaved(&mut self) {
        self.unsaved = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        Epochs::new(entries.iter().map(|&(epoch, start)| EpochEntry::new(epoch, start)).collect())
    }

    fn pairs(epochs: &Epochs) -> Vec<(i32, i64)> {
        epochs.entries().iter().map(|entry| (entry.epoch.0, entry.start.0)).collect()
    }

    fn end(epochs: &Epochs, epoch: i32) -> Option<(i32, i64)> {
        epochs.end_offset_for(LeaderEpoch(epoch), Offset(100)).map(|(epoch, end)| (epoch.0, end.0))
    }

    #[test]
    fn end_offsets_are_those_of_the_epoch_or_the_one_before() {
        let some = epochs(&[(2, 10), (4, 20), (5, 30)]);
        assert_eq!(end(&some, 5), Some((5, 100)));
        assert_eq!(end(&some, 4), Some((4, 30)));
        assert_eq!(end(&some, 3), Some((2, 20)));
        assert_eq!(end(&some, 2), Some((2, 20)));
        assert_eq!(end(&some, 0), Some((0, 10)), "an epoch before the first ends where that begins");
        assert_eq!(end(&some, 6), None);
        assert_eq!(end(&some, -1), None);
        assert_eq!(end(&epochs(&[]), 0), None);
    }

    #[test]
    fn assigning_drops_what_contradicts() {
        let mut some = epochs(&[(1, 0), (2, 10), (4, 20)]);
        assert!(!some.assign(LeaderEpoch(4), Offset(25)), "the epoch has begun already");
        assert!(some.assign(LeaderEpoch(5), Offset(20)));
        assert_eq!(pairs(&some), [(1, 0), (2, 10), (5, 20)]);
        assert!(some.assign(LeaderEpoch(6), Offset(5)));
        assert_eq!(pairs(&some), [(1, 0), (6, 5)]);
        assert!(some.assign(LeaderEpoch(3), Offset(50)));
        assert_eq!(pairs(&some), [(1, 0), (3, 50)]);
        assert!(some.assign(LeaderEpoch(3), Offset(40)));
        assert_eq!(pairs(&some), [(1, 0), (3, 40)]);
    }

    #[test]
    fn truncation_cuts_both_ends() {
        let mut some = epochs(&[(1, 0), (2, 10), (4, 20)]);
        some.truncate_from_start(Offset(15));
        assert_eq!(pairs(&some), [(2, 15), (4, 20)]);
        some.truncate_from_start(Offset(3));
        assert_eq!(pairs(&some), [(2, 15), (4, 20)]);
        some.truncate_from_end(Offset(20));
        assert_eq!(pairs(&some), [(2, 15)]);
        some.truncate_from_start(Offset(90));
        assert_eq!(pairs(&some), [(2, 90)]);
        assert_eq!(some.epoch_at(Offset(89)), None);
        assert_eq!(some.epoch_at(Offset(91)), Some(LeaderEpoch(2)));
    }
}
