//! Which flushes of a core go into a redo file together.
//!
//! One write at a time for each directory: what comes meanwhile goes with the next. Two files: when one is full, the
//! other is begun anew, and the partitions that have something in the full one are told to bring it into their logs.
//! Invariant: a file is made or begun anew only when no partition relies on what is in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ottla_log::{PendingFlush, RedoFile, RedoTarget, RedoWrite, Redone, redo};
use ottla_partition::Input;
use ottla_protocol::{Now, PartitionId};

use super::Shard;
use crate::control::Directories;
use crate::core::CoreId;
use crate::disk_work::{DiskDone, DiskWork};

/// The redo files of a core, by directory.
#[derive(Debug, Default)]
pub(super) struct Redo {
    directories: BTreeMap<usize, Pair>,
}

/// The two files of a directory.
#[derive(Debug)]
struct Pair {
    waiting: VecDeque<(PartitionId, PendingFlush)>,
    /// A write is under way, and has the file that is being filled.
    is_writing: bool,
    /// The last write found no room or no descriptor; flushes go without until somebody looks again.
    is_off: bool,
    filling: Half,
    other: Half,
    /// Who of those that rely on the other file has been told to bring what is in it into its log.
    settling: BTreeSet<PartitionId>,
    /// Of the file that was begun last.
    sequence: u64,
}

/// One file.
#[derive(Debug, Default)]
struct Half {
    number: usize,
    /// Absent while it is written to, and until it is made.
    file: Option<RedoFile>,
    /// Who has something in it that is not in the log's own files.
    relying: BTreeSet<PartitionId>,
}

/// What comes next.
enum Next {
    Together(RedoWrite),
    /// There is no file for them.
    Alone(VecDeque<(PartitionId, PendingFlush)>),
    /// This one is to bring what it has in the full file into its log.
    Settle(PartitionId),
}

/// So many partitions of a directory bring what they have in a full file into their logs at once: the next writes to redo
/// files want a thread, too.
const SETTLING_MAX: usize = 4;

impl Shard {
    /// How much there is to be done by somebody who may wait for the disk.
    #[must_use]
    pub fn disk_work_waiting(&self) -> usize {
        self.disk_work.len() + self.redo.directories.values().map(Pair::waiting).sum::<usize>()
    }

    /// Takes something to be done by somebody who may wait for the disk. The later it is asked for, the more flushes go
    /// together.
    pub fn next_disk_work(&mut self, now: Now) -> Option<DiskWork> {
        // Many wait for what goes together.
        while let Some((directory, next)) = self.redo.next(self.core, &self.directories) {
            match next {
                Next::Together(write) => return Some(DiskWork::Redo(directory, write)),
                Next::Alone(flushes) => {
                    self.disk_work.extend(flushes.into_iter().map(|(id, flush)| DiskWork::Flush(id, flush)));
                }
                Next::Settle(id) => self.step(now, id, Input::Settle),
            }
        }
        self.disk_work.pop_front()
    }

    /// Takes in the end of what was to be done.
    pub fn disk_done(&mut self, now: Now, done: DiskDone) {
        let ended = match done {
            DiskDone::Flush(id, flushed) => vec![(id, flushed)],
            DiskDone::Redo(directory, Redone { file, flushed }) => {
                self.redo.written(directory, file);
                flushed
            }
        };
        for (id, flushed) in ended {
            if flushed.is_in_log() {
                self.redo.settled(id);
            }
            self.step(now, id, Input::Flushed(flushed));
        }
        self.close_more(now);
    }
}

impl Redo {
    /// Keeps a flush that may go with others; one that goes alone is the answer.
    pub(super) fn route(
        &mut self,
        directory: usize,
        id: PartitionId,
        pending: PendingFlush,
    ) -> Option<DiskWork> {
        if pending.redo_bytes().is_none() {
            return Some(DiskWork::Flush(id, pending));
        }
        self.directories.entry(directory).or_default().waiting.push_back((id, pending));
        None
    }

    /// What comes next, and for which directory; `None` where nobody waits.
    fn next(&mut self, core: CoreId, directories: &Directories) -> Option<(usize, Next)> {
        let (&directory, pair) = self.directories.iter_mut().find(|(_, pair)| pair.waiting() > 0)?;
        let target = |number, sequence| {
            let at = &directories.all()[directory].log_directory;
            let path = at.path.join(redo::file_name(core.0.into(), number));
            RedoTarget::New { disk: Arc::clone(&at.disk), path, sequence }
        };
        Some((directory, pair.next(target)))
    }

    fn written(&mut self, directory: usize, file: Option<RedoFile>) {
        let Some(pair) = self.directories.get_mut(&directory) else { return };
        pair.is_writing = false;
        pair.is_off = file.is_none();
        pair.filling.file = file;
    }

    /// Everything of this partition is in its log.
    fn settled(&mut self, id: PartitionId) {
        for pair in self.directories.values_mut() {
            pair.filling.relying.remove(&id);
            pair.other.relying.remove(&id);
            pair.settling.remove(&id);
        }
    }

    /// There is no such log any more.
    pub(super) fn removed(&mut self, id: PartitionId) {
        for pair in self.directories.values_mut() {
            pair.waiting.retain(|(waiting, _)| *waiting != id);
        }
        self.settled(id);
    }

    /// There may be room or descriptors again.
    pub(super) fn look_again(&mut self) {
        for pair in self.directories.values_mut() {
            pair.is_off = false;
        }
    }

    /// Nothing more is written to a directory; what is in its files is for the next start.
    pub(super) fn directory_failed(&mut self, directory: usize) {
        self.directories.remove(&directory);
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            is_writing: false,
            is_off: false,
            filling: Half::default(),
            other: Half { number: 1, ..Half::default() },
            settling: BTreeSet::new(),
            sequence: 0,
        }
    }
}

impl Pair {
    /// How much could be done at once.
    fn waiting(&self) -> usize {
        let flushes = if self.is_writing { 0 } else { self.waiting.len() };
        flushes + usize::from(self.to_settle().is_some())
    }

    /// Who is to be told next to bring what it has in the full file into its log.
    fn to_settle(&self) -> Option<PartitionId> {
        if self.settling.len() >= SETTLING_MAX {
            return None;
        }
        self.other.relying.iter().find(|id| !self.settling.contains(id)).copied()
    }

    /// `new` stands for a file to be made, by number and sequence.
    fn next(&mut self, new: impl FnOnce(usize, u64) -> RedoTarget) -> Next {
        if self.is_writing || self.waiting.is_empty() {
            let id = self.to_settle().expect("there is something to be done");
            self.settling.insert(id);
            return Next::Settle(id);
        }
        if self.is_off {
            return Next::Alone(std::mem::take(&mut self.waiting));
        }
        let mut flushes = self.fitting();
        if flushes.is_empty() {
            if !self.other.relying.is_empty() {
                return Next::Alone(std::mem::take(&mut self.waiting));
            }
            self.turn_over();
            flushes = self.fitting();
        }
        self.is_writing = true;
        self.filling.relying.extend(flushes.iter().map(|(id, _)| *id));
        let target = match self.filling.file.take() {
            Some(file) => RedoTarget::Open(file),
            None => {
                self.sequence += 1;
                new(self.filling.number, self.sequence)
            }
        };
        Next::Together(RedoWrite::new(target, flushes))
    }

    /// Begins the file anew on which nobody relies; the full one is for those who do.
    fn turn_over(&mut self) {
        std::mem::swap(&mut self.filling, &mut self.other);
        if let Some(file) = &mut self.filling.file {
            self.sequence += 1;
            file.renew(self.sequence);
        }
    }

    /// Takes those of the waiting that find room in the file that is being filled.
    fn fitting(&mut self) -> Vec<(PartitionId, PendingFlush)> {
        let mut room = match &self.filling.file {
            Some(file) => file.room(),
            None if self.filling.relying.is_empty() => redo::NEW_ROOM,
            // It has been given up, but what is in it still counts.
            None => 0,
        };
        let mut flushes = Vec::new();
        while let Some((_, flush)) = self.waiting.front() {
            let Some(left) = flush.redo_bytes().and_then(|bytes| room.checked_sub(bytes)) else { break };
            room = left;
            flushes.extend(self.waiting.pop_front());
        }
        flushes
    }
}
