//! Redo files: one sync for the flushes of many partitions.
//!
//! A flush with only a few batches to put on the disk may put a copy of them into a redo file instead, next to those of
//! other partitions: one write and one sync for all. The log's own file is synced when the redo file is to be used
//! again, and [`restore`] gives a log back what it has lost with the power. The file has its full length from the
//! beginning, so a sync has no length and no block to make known.

mod entry;
mod restore;

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::{Offset, PartitionId};

use crate::disk::{Disk, DiskError, DiskFile, EntryKind};
use crate::flush::{Flushed, PendingFlush};
use entry::Entry;

pub use restore::{Restored, restore};

/// Bytes of a redo file. A log loses no more than a few of these to a recovery that reads them again.
pub const REDO_BYTES: u64 = 2 << 20;

/// A flush of more bytes than this goes to the log's own file: there a sync is as good, and nothing is written twice.
pub const TAIL_BYTES_MAX: u32 = 64 << 10;

/// See [`RedoFile::room`]: that of a new file.
pub const NEW_ROOM: u64 = REDO_BYTES - entry::FRAME_OVERHEAD as u64;

const PREFIX: &str = "ottla-redo-";

/// The name of a redo file. A core has two: while one is being filled, what is in the other gets into the logs.
#[must_use]
pub fn file_name(core: usize, number: usize) -> String {
    format!("{PREFIX}{core}-{number}")
}

/// A file that flushes share.
#[derive(Debug)]
pub struct RedoFile {
    file: Arc<dyn DiskFile>,
    /// Rises each time that the file is begun anew, so that what is left of an earlier life does not count.
    sequence: u64,
    frames: u32,
    position: u64,
}

/// A file that is not there yet, or one that is.
#[derive(Debug)]
pub enum RedoTarget {
    /// Make it.
    New {
        /// The disk of the log directory.
        disk: Arc<dyn Disk>,
        /// Its path.
        path: PathBuf,
        /// See [`RedoFile::renew`].
        sequence: u64,
    },
    /// Write behind what is there.
    Open(RedoFile),
}

/// Flushes of several partitions that have not begun. [`run`](Self::run) them, on any thread.
#[derive(Debug)]
pub struct RedoWrite {
    target: RedoTarget,
    flushes: Vec<(PartitionId, PendingFlush)>,
}

/// The end of a [`RedoWrite`].
#[derive(Debug)]
pub struct Redone {
    /// The file, for the next write; `None` where it could not be made or took nothing: then it is gone.
    pub file: Option<RedoFile>,
    /// The flushes, each for its log.
    pub flushed: Vec<(PartitionId, Flushed)>,
}

/// The batches at the end of a log that are not on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    pub file: Arc<dyn DiskFile>,
    /// The segment's base.
    pub base: Offset,
    pub position: u32,
    pub length: u32,
}

impl RedoFile {
    /// Makes a file, empty and of full length, for good.
    fn create(disk: &dyn Disk, path: &Path, sequence: u64) -> Result<Self, DiskError> {
        let file = disk.create(path)?;
        let made = fill(&*file).and_then(|()| disk.sync_dir(path.parent().unwrap_or(Path::new("."))));
        if let Err(error) = made {
            disk.remove(path)?;
            return Err(error);
        }
        Ok(Self { file, sequence, frames: 0, position: 0 })
    }

    /// Begins the file anew. Everything in it must have come into the logs' own files for good.
    pub fn renew(&mut self, sequence: u64) {
        (self.sequence, self.frames, self.position) = (sequence, 0, 0);
    }

    /// How many bytes of flushes the next write may have; see [`PendingFlush::redo_bytes`].
    #[must_use]
    pub fn room(&self) -> u64 {
        (REDO_BYTES - self.position).saturating_sub(entry::FRAME_OVERHEAD as u64)
    }

    /// Writes and syncs a frame. What stood behind it in an earlier life of the file, for clients a place to plant
    /// something, does not follow it.
    fn append(&mut self, frame: &[u8]) -> Result<(), DiskError> {
        let end = self.position + frame.len() as u64;
        assert!(end <= REDO_BYTES, "the file is full");
        let stop = [0; entry::HEAD];
        let stop = &stop[..stop.len().min((REDO_BYTES - end) as usize)];
        self.file.write_at(&[IoSlice::new(frame), IoSlice::new(stop)], self.position)?;
        // Where a sync fails nobody knows what is on the disk.
        self.file.sync().map_err(DiskError::hardened)?;
        self.position += frame.len() as u64;
        self.frames += 1;
        Ok(())
    }
}

impl RedoWrite {
    /// Flushes to be put into a file together. Each must be [fit](PendingFlush::redo_bytes) for it, and all of them
    /// must find [room](RedoFile::room).
    #[must_use]
    pub fn new(target: RedoTarget, flushes: Vec<(PartitionId, PendingFlush)>) -> Self {
        Self { target, flushes }
    }

    /// Writes and syncs. Where the file cannot be made or written just now, each flush is run for itself.
    #[must_use]
    pub fn run(self) -> Redone {
        let Self { target, flushes } = self;
        let (file, outcome) = match Self::write(target, &flushes) {
            Ok(file) => (Some(file), Ok(())),
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "flushes go without a redo file for a while");
                let alone = flushes.into_iter().map(|(id, flush)| (id, flush.run()));
                return Redone { file: None, flushed: alone.collect() };
            }
            Err(error) => (None, Err(error)),
        };
        let flushed = flushes.into_iter().map(|(id, flush)| (id, flush.redone(outcome.clone())));
        Redone { file, flushed: flushed.collect() }
    }

    fn write(target: RedoTarget, flushes: &[(PartitionId, PendingFlush)]) -> Result<RedoFile, DiskError> {
        let mut redo = match target {
            RedoTarget::New { disk, path, sequence } => RedoFile::create(&*disk, &path, sequence)?,
            RedoTarget::Open(file) => file,
        };
        let mut entries = Vec::with_capacity(flushes.len());
        for (id, flush) in flushes {
            entries.extend(Entry::of(*id, flush)?);
        }
        redo.append(&entry::frame(redo.sequence, redo.frames, &entries))?;
        Ok(redo)
    }
}

impl PendingFlush {
    /// Bytes that the flush would take in a redo file; `None` where it has more to do than a file could stand for.
    #[must_use]
    pub fn redo_bytes(&self) -> Option<u64> {
        let tail = self.tail.as_ref().filter(|tail| (1..=TAIL_BYTES_MAX).contains(&tail.length))?;
        Some(u64::from(tail.length) + entry::OVERHEAD_MAX as u64)
    }

    /// The folder's name and what there is to be written.
    pub(crate) fn tail(&self) -> (&str, &Tail) {
        let folder = self.place.dir.file_name().and_then(|name| name.to_str());
        let tail = self.tail.as_ref().expect("a flush that is fit for a redo file");
        (folder.expect("a partition's folder has Kafka's name"), tail)
    }
}

impl Tail {
    /// The batches; `None` where the log has been truncated meanwhile, which the flush will be told.
    fn read(&self) -> Result<Option<Bytes>, DiskError> {
        let mut bytes = vec![0; self.length as usize];
        let read = self.file.read_at(&mut bytes, u64::from(self.position))?;
        Ok((read == bytes.len()).then(|| bytes.into()))
    }
}

/// Removes the redo files of a log directory for good, when every log in it is on the disk.
///
/// # Errors
/// [`DiskError`].
pub fn remove(disk: &dyn Disk, directory: &Path) -> Result<(), DiskError> {
    let paths = paths(disk, directory)?;
    for path in &paths {
        disk.remove(path)?;
    }
    if paths.is_empty() { Ok(()) } else { disk.sync_dir(directory) }
}

fn is_ours(name: &str) -> bool {
    let numbers = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    numbers.is_some_and(|(core, number)| [core, number].iter().all(|text| text.parse::<u32>().is_ok()))
}

fn paths(disk: &dyn Disk, directory: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let entries = disk.list(directory)?.into_iter();
    let ours = entries.filter(|entry| entry.kind == EntryKind::File && is_ours(&entry.name));
    Ok(ours.map(|entry| directory.join(entry.name)).collect())
}

/// Gives a new file its length, in blocks that have been written once: to write them again tells the file system nothing
/// new.
fn fill(file: &dyn DiskFile) -> Result<(), DiskError> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    file.write_at(&[IoSlice::new(&ZEROS); REDO_BYTES as usize / ZEROS.len()], 0)?;
    file.sync()
}
