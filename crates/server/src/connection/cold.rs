//! Reading what is not in the page cache, on a thread that may wait for it.

use bytes::{Bytes, BytesMut};
use ottla_log::{DiskError, Slice};
use rustix::fs::Advice;

use super::outgoing::SendError;

/// Between two looks whether a part of a file is in the page cache: as much as Linux reads at least ahead by default. A
/// hole that is missed costs one short wait.
const PROBE_STEP: u32 = 128 * 1024;

/// How far ahead of a cold read the kernel is asked to read on.
const AHEAD: u32 = 4 * 1024 * 1024;

const PAGE: u32 = 4096;

/// Work for a thread that may wait.
#[derive(Debug)]
pub enum ColdRead {
    /// Read this into memory.
    Load(Slice),
    /// Bring this into the page cache. As many bytes as the number says will be wanted soon.
    Warm(Slice, u32),
}

/// What has come of a [`ColdRead`].
#[derive(Debug)]
pub enum Warmed {
    /// The bytes of a [`ColdRead::Load`].
    Loaded(Result<Bytes, SendError>),
    /// This many bytes of a [`ColdRead::Warm`] are in the page cache, or cannot be brought there.
    InCache(u32),
}

impl ColdRead {
    /// Does the work.
    #[must_use]
    pub fn run(self) -> Warmed {
        match self {
            Self::Load(slice) => Warmed::Loaded(load(&slice)),
            Self::Warm(slice, wanted) => {
                warm(&slice, wanted);
                Warmed::InCache(slice.length)
            }
        }
    }
}

fn load(slice: &Slice) -> Result<Bytes, SendError> {
    let mut bytes = BytesMut::zeroed(slice.length as usize);
    if slice.file.read_at(&mut bytes, slice.position)? < bytes.len() {
        return Err(SendError::Truncated);
    }
    Ok(bytes.freeze())
}

/// Errors are left to whoever sends the bytes: it meets them again.
fn warm(slice: &Slice, wanted: u32) {
    if let Some(fd) = slice.file.as_fd() {
        let ahead = std::num::NonZeroU64::new(u64::from(wanted.min(AHEAD)));
        let _ = rustix::fs::fadvise(fd, slice.position, ahead, Advice::WillNeed);
    }
    for at in (0..slice.length).step_by(PAGE as usize) {
        let read = slice.file.read_at(&mut [0], slice.position + u64::from(at));
        if !matches!(read, Ok(1)) {
            return;
        }
    }
}

/// Whether a part of a file seems to be in the page cache. The end of the file counts as being there.
///
/// # Errors
/// [`DiskError`].
pub fn is_warm(part: &Slice) -> Result<bool, DiskError> {
    let last = part.length.saturating_sub(1);
    for at in (0..last).step_by(PROBE_STEP as usize).chain([last]) {
        if part.file.read_cached_at(&mut [0], part.position + u64::from(at))?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
