//! Reads a segment from front to back and believes nothing: what recovery is made of.
//!
//! The buffer grows to the largest batch there is, so none is too large to be recovered.

use std::sync::Arc;

use crate::disk::{DiskError, DiskFile};
use crate::frame::Frame;

const CHUNK: usize = 1 << 20;

/// Yields the batches of a file whose checksums are right, up to the first that is not.
pub(crate) struct Scan {
    file: Arc<dyn DiskFile>,
    length: u64,
    /// Where the next batch begins.
    position: u64,
    buffer: Vec<u8>,
    /// Where `buffer` begins in the file.
    buffer_at: u64,
}

/// What comes next in a file.
pub(crate) enum Scanned<'a> {
    Batch(Frame, &'a [u8]),
    /// The end, with nothing left over.
    End,
    /// No batch, or a torn or damaged one.
    Bad(String),
}

impl Scan {
    pub fn new(file: Arc<dyn DiskFile>, length: u64) -> Self {
        Self { file, length, position: 0, buffer: Vec::new(), buffer_at: 0 }
    }

    /// The next batch, whole and right.
    ///
    /// # Errors
    /// [`DiskError`] when the file cannot be read; bad bytes are no error but [`Scanned::Bad`].
    pub fn next(&mut self) -> Result<Scanned<'_>, DiskError> {
        let left = self.length - self.position;
        if left == 0 {
            return Ok(Scanned::End);
        }
        let frame = match Frame::parse(self.bytes(left.min(61))?) {
            Ok(frame) => frame,
            Err(what) => return Ok(Scanned::Bad(what)),
        };
        let size = u64::from(frame.size);
        if size > left {
            return Ok(Scanned::Bad(format!("a batch of {size} bytes has only {left}")));
        }
        let position = self.position;
        let whole = self.bytes(size)?;
        if whole.len() as u64 != size {
            return Ok(Scanned::Bad("the file ends before its length".to_owned()));
        }
        if !frame.checksum_holds(whole) {
            return Ok(Scanned::Bad(format!("wrong checksum at position {position}")));
        }
        self.position += size;
        let from = (position - self.buffer_at) as usize;
        Ok(Scanned::Batch(frame, &self.buffer[from..from + frame.size as usize]))
    }

    /// `count` bytes from the current position on; fewer when the file is shorter than it should be.
    fn bytes(&mut self, count: u64) -> Result<&[u8], DiskError> {
        let held = self.buffer_at + self.buffer.len() as u64;
        if self.position < self.buffer_at || self.position + count > held {
            let kept = (self.position - self.buffer_at).min(self.buffer.len() as u64) as usize;
            self.buffer.drain(..kept);
            self.buffer_at = self.position;
            let have = self.buffer.len();
            let left = self.length - self.position;
            let wanted = left.min(count.max(CHUNK as u64)) as usize;
            self.buffer.resize(wanted.max(have), 0);
            let read = self.file.read_at(&mut self.buffer[have..], self.position + have as u64)?;
            self.buffer.truncate(have + read);
        }
        let from = (self.position - self.buffer_at) as usize;
        let to = self.buffer.len().min(from + count as usize);
        Ok(&self.buffer[from..to])
    }
}
