//! The outside of a stored batch, whatever its format: where it ends and which offsets it has.
//!
//! Directories older than Kafka 0.11 may hold messages of formats 0 and 1. They are served and recovered as they are,
//! and never written.

use ottla_protocol::Offset;
use ottla_protocol::batch::{BatchHeader, HEADER_LEN, LOG_OVERHEAD, NO_TIMESTAMP};

use crate::disk::{DiskError, DiskFile};
use crate::place::{LOG, Place};

const MAGIC_AT: usize = 16;
/// Where the old formats' checksum begins to cover.
const OLD_COVERED_FROM: usize = 16;

/// A batch of format 2, or a message or wrapper of an older one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// Bytes in the file.
    pub size: u32,
    pub max_timestamp: i64,
    /// All there is to know, in format 2.
    pub header: Option<BatchHeader>,
}

impl Frame {
    /// Understands the first bytes of a batch; all 61 of a header where there are so many.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if matches!(bytes.get(MAGIC_AT), Some(0 | 1)) {
            return Self::parse_old(bytes).ok_or_else(|| "an impossible old message".to_owned());
        }
        let header = BatchHeader::parse(bytes).map_err(|error| error.to_string())?;
        Ok(Self {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            size: u32::try_from(header.size()).map_err(|error| error.to_string())?,
            max_timestamp: header.max_timestamp,
            header: Some(header),
        })
    }

    fn parse_old(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| bytes.get(at..)?.first_chunk().copied().map(i64::from_be_bytes);
        let offset = Offset(number(0)?);
        let length = i32::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
        let (least, timestamp) = match bytes.get(MAGIC_AT)? {
            0 => (14, NO_TIMESTAMP),
            _ => (22, number(18)?),
        };
        if length < least || offset < Offset::ZERO || offset.0 == i64::MAX {
            return None;
        }
        let size = u32::try_from(length).ok()? + LOG_OVERHEAD as u32;
        Some(Self { base_offset: offset, last_offset: offset, size, max_timestamp: timestamp, header: None })
    }

    pub fn next_offset(&self) -> Offset {
        self.last_offset.plus(1)
    }

    /// Whether the checksum of `whole`, the batch's bytes, is right.
    pub fn checksum_holds(&self, whole: &[u8]) -> bool {
        if let Some(header) = &self.header {
            return header.checksum_holds(whole);
        }
        let stored = whole.get(12..).and_then(|rest| rest.first_chunk()).map(|crc| u32::from_be_bytes(*crc));
        let covered = whole.get(OLD_COVERED_FROM..self.size as usize);
        let sum = |covered| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, covered) as u32;
        covered.is_some_and(|covered| stored == Some(sum(covered)))
    }
}

const WINDOW: usize = 4096;

/// Walks over the batches of a file by their headers, reading little.
pub(crate) struct Walk<'a> {
    place: &'a Place,
    base: Offset,
    file: &'a dyn DiskFile,
    position: u32,
    end: u32,
    window: [u8; WINDOW],
    window_at: u32,
    window_len: usize,
}

impl<'a> Walk<'a> {
    /// Over the whole batches in `position..end` of the segment at `base`; both must be boundaries of batches.
    pub fn new(place: &'a Place, base: Offset, file: &'a dyn DiskFile, (position, end): (u32, u32)) -> Self {
        Self { place, base, file, position, end, window: [0; WINDOW], window_at: 0, window_len: 0 }
    }

    /// The next batch and where it begins.
    ///
    /// # Errors
    /// [`DiskError`]; where there is no batch, [`DiskError::is_corrupt`].
    pub fn next(&mut self) -> Result<Option<(u32, Frame)>, DiskError> {
        let position = self.position;
        if position >= self.end {
            return Ok(None);
        }
        let needed = HEADER_LEN.min((self.end - position) as usize);
        let inside = (position.wrapping_sub(self.window_at)) as usize;
        if position < self.window_at || inside + needed > self.window_len {
            let wanted = WINDOW.min((self.end - position) as usize);
            self.window_len = self.place.read(
                self.file,
                (self.base, LOG),
                &mut self.window[..wanted],
                u64::from(position),
            )?;
            self.window_at = position;
        }
        let inside = (position - self.window_at) as usize;
        let path = || self.place.path(self.base, LOG);
        let corrupt = |what: String| DiskError::corrupt(&path(), format!("at position {position}: {what}"));
        let frame = Frame::parse(&self.window[inside..self.window_len]).map_err(corrupt)?;
        let next = position.checked_add(frame.size).filter(|next| *next <= self.end);
        self.position =
            next.ok_or_else(|| corrupt(format!("a batch of {} bytes goes beyond the end", frame.size)))?;
        Ok(Some((position, frame)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_message_is_framed_and_checked() {
        // Format 1: offset 5, timestamp 1000, no key, value "x".
        let mut message = vec![1u8, 0];
        message.extend_from_slice(&1000i64.to_be_bytes());
        message.extend_from_slice(&(-1i32).to_be_bytes());
        message.extend_from_slice(&1i32.to_be_bytes());
        message.push(b'x');
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &message) as u32;
        let mut bytes = 5i64.to_be_bytes().to_vec();
        bytes.extend_from_slice(&(message.len() as i32 + 4).to_be_bytes());
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes.extend_from_slice(&message);
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!(
            (frame.base_offset, frame.max_timestamp, frame.size as usize),
            (Offset(5), 1000, bytes.len())
        );
        assert!(frame.checksum_holds(&bytes));
        *bytes.last_mut().unwrap() ^= 1;
        assert!(!frame.checksum_holds(&bytes));
        bytes[8..12].copy_from_slice(&3i32.to_be_bytes());
        assert!(Frame::parse(&bytes).is_err());
    }
}
