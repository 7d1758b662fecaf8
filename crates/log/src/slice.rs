//! A stretch of a file that holds whole batches: what a read yields instead of bytes.
//!
//! It keeps its file open, so neither retention nor deletion of the topic hurts it. After a truncation it may yield
//! fewer bytes than it promised: only replicas may read what can still be truncated, and there the answer just ends.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_protocol::Offset;

use crate::disk::{Disk, DiskError, DiskFile};

/// Bytes of a segment.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The segment's file.
    pub file: Arc<dyn DiskFile>,
    /// Where the first batch begins.
    pub position: u64,
    /// Bytes up to the end of the last batch; never 0.
    pub length: u32,
}

impl Slice {
    /// Reads the bytes; fewer than promised when the file has been truncated since.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn read(&self) -> Result<Bytes, DiskError> {
        let mut bytes = BytesMut::zeroed(self.length as usize);
        let read = self.file.read_at(&mut bytes, self.position)?;
        bytes.truncate(read);
        Ok(bytes.freeze())
    }
}

/// How much to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// Batches that reach to this offset or beyond are left out.
    pub up_to: Offset,
    /// Bytes at most.
    pub max_bytes: u32,
    /// What if the first batch alone is larger.
    pub first_batch: FirstBatch,
}

/// What becomes of a first batch that is larger than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstBatch {
    /// It is read all the same: a consumer must get on (KIP-74).
    AnySize,
    /// It is left out.
    WithinLimit,
}

impl ReadLimit {
    /// All of `max_bytes`, up to wherever the log ends, with a first batch of any size.
    #[must_use]
    pub fn bytes(max_bytes: u32) -> Self {
        Self { up_to: Offset(i64::MAX), max_bytes, first_batch: FirstBatch::AnySize }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Whole batches, in order, across segments; the first holds the offset asked for or the next there is.
    pub slices: Vec<Slice>,
    /// Every record in `slices` lies below this offset, and the next read goes on here.
    pub next: Offset,
}

impl Found {
    /// Bytes of all slices.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.slices.iter().map(|slice| u64::from(slice.length)).sum()
    }

    /// Reads all slices into one piece.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn read(&self) -> Result<Bytes, DiskError> {
        if let [slice] = &self.slices[..] {
            return slice.read();
        }
        let mut all = BytesMut::new();
        for slice in &self.slices {
            all.extend_from_slice(&slice.read()?);
        }
        Ok(all.freeze())
    }
}

/// What a read found without waiting for the disk.
#[derive(Debug)]
pub enum Probe {
    /// Batches. Whether their bytes are in the page cache is another question.
    Found(Found),
    /// Where they are cannot be told without reading this first.
    Cold(ColdRead),
}

/// Bytes that a search needs and that are not in the page cache: to be fetched on a thread that may wait, before the
/// search is tried again.
#[derive(Debug)]
pub struct ColdRead {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    position: u64,
}

/// Bytes fetched at once: the search will want what comes next, too.
const FETCHED: usize = 64 * 1024;

impl ColdRead {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf, position: u64) -> Self {
        Self { disk, path, position }
    }

    /// Brings the bytes into the page cache. A file that is gone meanwhile is no error.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn fetch(self) -> Result<(), DiskError> {
        let file = match self.disk.open(&self.path) {
            Err(error) if error.is_missing() => return Ok(()),
            result => result?,
        };
        file.read_at(&mut vec![0; FETCHED], self.position).map(drop)
    }
}

/// Why nothing could be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is before the log's start or after its end.
    #[error("offset {offset} is outside of {start}..={end}")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// Where the log starts.
        start: Offset,
        /// Where it ends.
        end: Offset,
    },
    /// The disk failed, or what is on it is no batch.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
