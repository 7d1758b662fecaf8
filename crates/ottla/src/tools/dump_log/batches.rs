//! The batches of a file, one by one, whatever is in them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ottla_protocol::batch::{HEADER_LEN, LOG_OVERHEAD, crc32c};

use super::at;
use crate::tools::failure::Failure;

/// Bytes up to and with the format.
const UP_TO_MAGIC: u64 = 17;
/// The least that follows offset and length in any format.
const LEAST: i32 = 14;
const MAGIC_AT: usize = 16;

/// A stretch of a file, batch by batch.
pub struct BatchesInFile<'a> {
    file: &'a File,
    path: PathBuf,
    position: u64,
    end: u64,
}

/// A batch as it lies there; nothing in it need be right.
pub struct RawBatch {
    /// All of it.
    pub bytes: Bytes,
}

impl<'a> BatchesInFile<'a> {
    /// From `position` on, at most `max` bytes of the file.
    pub fn new(file: &'a File, path: &Path, position: u64, max: u64) -> Result<Self, Failure> {
        let size = file.metadata().map_err(|error| at(path, &error))?.len();
        let end = size.min(position.saturating_add(max));
        Ok(Self { file, path: path.to_owned(), position, end })
    }

    /// Bytes from the beginning to the end of the stretch.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The next whole batch.
    pub fn next(&mut self) -> Result<Option<RawBatch>, Failure> {
        if self.position.saturating_add(UP_TO_MAGIC) >= self.end {
            return Ok(None);
        }
        let mut head = [0; UP_TO_MAGIC as usize];
        self.file.read_exact_at(&mut head, self.position).map_err(|error| at(&self.path, &error))?;
        let length = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        if length < LEAST {
            return Err(Failure::Error(format!(
                "org.apache.kafka.common.errors.CorruptRecordException: Found record size {length} smaller than \
                 minimum record overhead ({LEAST}) in file {}.",
                self.path.display()
            )));
        }
        let size = LOG_OVERHEAD + length as usize;
        if self.position + size as u64 > self.end {
            return Ok(None);
        }
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, self.position).map_err(|error| at(&self.path, &error))?;
        self.position += size as u64;
        Ok(Some(RawBatch { bytes: bytes.into() }))
    }
}

impl RawBatch {
    pub fn magic(&self) -> i8 {
        self.bytes.get(MAGIC_AT).map_or(0, |byte| *byte as i8)
    }

    /// Whether it is of a format in which records have no batches but for compression.
    pub fn is_legacy(&self) -> bool {
        self.magic() < 2
    }

    pub fn base_offset(&self) -> i64 {
        self.i64(0)
    }

    pub fn leader_epoch(&self) -> i32 {
        self.i32(12)
    }

    pub fn attributes(&self) -> i16 {
        if self.is_legacy() { self.bytes.get(17).map_or(0, |byte| i16::from(*byte)) } else { self.i16(21) }
    }

    pub fn last_offset(&self) -> i64 {
        // What stands in front of a compressed message set of old is the offset of its last record.
        if self.is_legacy() { self.base_offset() } else { self.base_offset() + i64::from(self.i32(23)) }
    }

    pub fn base_timestamp(&self) -> i64 {
        self.i64(27)
    }

    pub fn max_timestamp(&self) -> i64 {
        match self.magic() {
            0 => -1,
            1 => self.i64(18),
            _ => self.i64(35),
        }
    }

    pub fn producer_id(&self) -> i64 {
        self.i64(43)
    }

    pub fn producer_epoch(&self) -> i16 {
        self.i16(51)
    }

    pub fn base_sequence(&self) -> i32 {
        self.i32(53)
    }

    /// The sequence number of the record this far from the first.
    pub fn sequence_at(&self, delta: i32) -> i32 {
        match self.base_sequence() {
            -1 => -1,
            base => ottla_protocol::batch::sequence_after(base, delta),
        }
    }

    pub fn last_offset_delta(&self) -> i32 {
        self.i32(23)
    }

    pub fn count(&self) -> i32 {
        self.i32(57)
    }

    pub fn crc(&self) -> u32 {
        if self.is_legacy() { self.i32(12) as u32 } else { self.i32(17) as u32 }
    }

    pub fn is_control(&self) -> bool {
        !self.is_legacy() && self.attributes() & 0x20 != 0
    }

    pub fn is_valid(&self) -> bool {
        if self.is_legacy() {
            return self.bytes.get(MAGIC_AT..).is_some_and(|covered| crc32(covered) == self.crc());
        }
        self.bytes.len() >= HEADER_LEN && crc32c(&self.bytes[21..]) == self.crc()
    }

    fn i16(&self, at: usize) -> i16 {
        self.bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |field| i16::from_be_bytes(*field))
    }

    fn i32(&self, at: usize) -> i32 {
        self.bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |field| i32::from_be_bytes(*field))
    }

    fn i64(&self, at: usize) -> i64 {
        self.bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |field| i64::from_be_bytes(*field))
    }
}

/// The checksum of the formats before 2.
pub fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1)))
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn the_old_checksum_is_that_of_zip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
