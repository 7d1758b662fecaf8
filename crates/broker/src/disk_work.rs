//! What a core hands to threads that may wait for the disk, and what comes back.

use ottla_log::{Flushed, PendingFlush, RedoWrite, Redone};
use ottla_protocol::PartitionId;

/// Something that waits for the disk.
#[derive(Debug)]
pub enum DiskWork {
    /// The flush of one partition.
    Flush(PartitionId, PendingFlush),
    /// Flushes of several, together, for the redo files of a directory, which is named by its index.
    Redo(usize, RedoWrite),
}

/// The end of it.
#[derive(Debug)]
pub enum DiskDone {
    /// Of [`DiskWork::Flush`].
    Flush(PartitionId, Flushed),
    /// Of [`DiskWork::Redo`].
    Redo(usize, Redone),
}

impl DiskWork {
    /// Does it. This takes as long as the disk takes.
    #[must_use]
    pub fn run(self) -> DiskDone {
        match self {
            Self::Flush(partition, pending) => DiskDone::Flush(partition, pending.run()),
            Self::Redo(directory, write) => DiskDone::Redo(directory, write.run()),
        }
    }
}
