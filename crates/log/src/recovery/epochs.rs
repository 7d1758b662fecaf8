//! The leader epochs of a log whose file may lag behind: what the batches say, and of the file what they allow.
//!
//! Entries below the point where reading begins are believed. Of the others, which may be left over from before a
//! truncation, only those survive that fit between two runs of batches: compaction may have removed all of an epoch.

use ottla_protocol::{LeaderEpoch, Offset};

use crate::epochs::{EpochEntry, Epochs};

/// Stretches of one epoch, as they are read.
pub(super) struct Runs {
    runs: Vec<Run>,
    doubtful: Vec<EpochEntry>,
    before: LeaderEpoch,
}

struct Run {
    epoch: LeaderEpoch,
    first: Offset,
    last: Offset,
}

impl Runs {
    /// Sets the entries from `from` on aside.
    pub fn new(epochs: &mut Epochs, from: Offset) -> Self {
        let doubtful = epochs.entries().iter().filter(|entry| entry.start >= from).copied().collect();
        epochs.truncate_from_end(from);
        let before = epochs.latest().map_or(LeaderEpoch(-1), |entry| entry.epoch);
        Self { runs: Vec::new(), doubtful, before }
    }

    /// A batch of `epoch` begins at `base`.
    pub fn saw(&mut self, epoch: LeaderEpoch, base: Offset) {
        let latest = self.runs.last().map_or(LeaderEpoch(-1), |run| run.epoch);
        if epoch > latest {
            self.runs.push(Run { epoch, first: base, last: base });
        } else if let Some(run) = self.runs.last_mut() {
            run.last = base;
        }
    }

    /// Puts together what was seen and what fits.
    pub fn settle(mut self, epochs: &mut Epochs) {
        for entry in std::mem::take(&mut self.doubtful) {
            self.fit(entry);
        }
        for run in self.runs {
            if epochs.latest().is_none_or(|latest| run.epoch > latest.epoch) {
                epochs.assign(run.epoch, run.first);
            }
        }
        // Whether or not anything changed, the file may say otherwise.
        epochs.mark_unsaved();
    }

    fn fit(&mut self, entry: EpochEntry) {
        let at = self.runs.partition_point(|run| run.first < entry.start);
        let before = at.checked_sub(1).map(|i| &self.runs[i]);
        let is_inside = before.is_some_and(|run| run.last >= entry.start);
        let is_older = entry.epoch <= before.map_or(self.before, |run| run.epoch);
        let Some(next) = self.runs.get_mut(at) else { return };
        if is_inside || is_older || entry.epoch > next.epoch {
            return;
        }
        if entry.epoch == next.epoch {
            next.first = entry.start;
        } else {
            self.runs.insert(at, Run { epoch: entry.epoch, first: entry.start, last: entry.start });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(file: &[(i32, i64)], from: i64, batches: &[(i32, i64)]) -> Vec<(i32, i64)> {
        let mut epochs = Epochs::new(file.iter().map(|&(e, s)| EpochEntry::new(e, s)).collect());
        let mut runs = Runs::new(&mut epochs, Offset(from));
        for &(epoch, base) in batches {
            runs.saw(LeaderEpoch(epoch), Offset(base));
        }
        runs.settle(&mut epochs);
        epochs.entries().iter().map(|entry| (entry.epoch.0, entry.start.0)).collect()
    }

    #[test]
    fn batches_win_over_a_stale_file() {
        assert_eq!(settled(&[(1, 0), (5, 50)], 0, &[(1, 0), (1, 30), (3, 40), (3, 60)]), [(1, 0), (3, 40)]);
        assert_eq!(settled(&[(1, 0), (2, 50)], 0, &[(1, 0), (2, 45), (2, 55)]), [(1, 0), (2, 45)]);
        assert_eq!(settled(&[], 0, &[(0, 0), (4, 9)]), [(0, 0), (4, 9)]);
        assert_eq!(settled(&[(1, 0), (7, 5)], 5, &[]), [(1, 0)]);
    }

    #[test]
    fn what_compaction_removed_stays_known() {
        assert_eq!(settled(&[(1, 0), (2, 10), (3, 20)], 0, &[(1, 0), (3, 25)]), [(1, 0), (2, 10), (3, 20)]);
        assert_eq!(settled(&[(1, 0), (2, 10)], 10, &[(1, 12), (2, 15)]), [(1, 0), (2, 15)]);
    }

    #[test]
    fn entries_before_the_beginning_are_believed() {
        assert_eq!(settled(&[(1, 0), (2, 10)], 20, &[(2, 20), (3, 30)]), [(1, 0), (2, 10), (3, 30)]);
    }
}
