//! The 61 bytes before the records of a batch.
//!
//! Layout, all big-endian: base offset i64, length i32, leader epoch i32, magic i8, crc u32, attributes i16,
//! last offset delta i32, base timestamp i64, max timestamp i64, producer id i64, producer epoch i16,
//! base sequence i32, record count i32. The length counts what follows it, the checksum (CRC-32C) covers all from
//! the attributes on.

use crate::batch::BatchError;
use crate::compression::Compression;
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Bytes of a header.
pub const HEADER_LEN: usize = 61;
/// Bytes before those that the length field counts: the base offset and the length itself.
pub const LOG_OVERHEAD: usize = 12;
/// The format this page describes.
pub(crate) const MAGIC: i8 = 2;
/// Where the checksum stands.
pub(crate) const CRC_AT: usize = 17;
/// Where the checksummed part begins.
pub(crate) const ATTRIBUTES_AT: usize = 21;
/// Where the format stands.
pub(crate) const MAGIC_AT: usize = 16;

/// What the timestamps of a batch mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// Set by the producer, record by record.
    #[default]
    CreateTime,
    /// Set by the leader: the batch's maximum timestamp holds for all its records.
    LogAppendTime,
}

/// The flags of a batch; always names a codec that exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// Out of the two bytes of the wire.
    ///
    /// # Errors
    /// [`BatchError::Codec`] when the codec does not exist.
    pub fn from_bits(bits: i16) -> Result<Self, BatchError> {
        match Compression::from_id(bits & Self::CODEC) {
            Some(_) => Ok(Self(bits)),
            None => Err(BatchError::Codec(bits & Self::CODEC)),
        }
    }

    /// The two bytes of the wire.
    #[must_use]
    pub fn bits(self) -> i16 {
        self.0
    }

    /// The codec of the records.
    #[must_use]
    pub fn compression(self) -> Compression {
        Compression::from_id(self.0 & Self::CODEC).unwrap_or(Compression::None)
    }

    /// The same flags with another codec.
    #[must_use]
    pub fn with_compression(self, compression: Compression) -> Self {
        Self((self.0 & !Self::CODEC) | compression.id())
    }

    /// What the timestamps mean.
    #[must_use]
    pub fn timestamp_type(self) -> TimestampType {
        if self.has(Self::LOG_APPEND_TIME) { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    /// The same flags with another meaning of the timestamps.
    #[must_use]
    pub fn with_timestamp_type(self, kind: TimestampType) -> Self {
        match kind {
            TimestampType::CreateTime => Self(self.0 & !Self::LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Self(self.0 | Self::LOG_APPEND_TIME),
        }
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(self) -> bool {
        self.has(Self::TRANSACTIONAL)
    }

    /// The same flags, as part of a transaction.
    #[must_use]
    pub fn transactional(self) -> Self {
        Self(self.0 | Self::TRANSACTIONAL)
    }

    /// Whether the batch holds control records, which no consumer is shown.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.has(Self::CONTROL)
    }

    /// The same flags, as a batch of control records.
    #[must_use]
    pub fn control(self) -> Self {
        Self(self.0 | Self::CONTROL)
    }

    /// Whether compaction has set a delete horizon, which then stands in the base timestamp (KIP-534).
    #[must_use]
    pub fn has_delete_horizon(self) -> bool {
        self.has(Self::DELETE_HORIZON)
    }

    /// The same flags, with a delete horizon.
    #[must_use]
    pub fn with_delete_horizon(self) -> Self {
        Self(self.0 | Self::DELETE_HORIZON)
    }

    fn has(self, flag: i16) -> bool {
        self.0 & flag != 0
    }
}

/// All fields of a header but the magic, which is always 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, also when compaction has removed that record.
    pub base_offset: Offset,
    /// Bytes after this field: the rest of the header and the records; at least 49.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch; −1 when none has.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C from the attributes to the end.
    pub crc: u32,
    /// The flags.
    pub attributes: Attributes,
    /// Offset of the last record, counted from the base offset; kept by compaction.
    pub last_offset_delta: i32,
    /// What the records' timestamps are counted from, in ms; or the delete horizon.
    pub base_timestamp: i64,
    /// The latest timestamp, in ms; −1 when no record has one.
    pub max_timestamp: i64,
    /// The idempotent producer, or −1.
    pub producer_id: ProducerId,
    /// The producer's epoch, or −1.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, or −1.
    pub base_sequence: i32,
    /// How many records there are.
    pub record_count: i32,
}

impl Default for BatchHeader {
    fn default() -> Self {
        Self {
            base_offset: Offset::ZERO,
            batch_length: (HEADER_LEN - LOG_OVERHEAD) as i32,
            leader_epoch: LeaderEpoch(-1),
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: 0,
            base_timestamp: crate::batch::NO_TIMESTAMP,
            max_timestamp: crate::batch::NO_TIMESTAMP,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: crate::batch::NO_SEQUENCE,
            record_count: 0,
        }
    }
}

impl BatchHeader {
    /// Reads a header from the beginning of `bytes`; the records need not be there.
    ///
    /// # Errors
    /// [`BatchError`] when there are fewer than 61 bytes, or the magic is not 2, or the codec does not exist, or the
    /// length or an offset cannot be. Neither the checksum nor the record count is looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(short(bytes));
        };
        let magic = i8::from_be_bytes(field(header, MAGIC_AT));
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        let parsed = Self {
            base_offset: Offset(i64::from_be_bytes(field(header, 0))),
            batch_length: i32::from_be_bytes(field(header, 8)),
            leader_epoch: LeaderEpoch(i32::from_be_bytes(field(header, 12))),
            crc: u32::from_be_bytes(field(header, CRC_AT)),
            attributes: Attributes::from_bits(i16::from_be_bytes(field(header, ATTRIBUTES_AT)))?,
            last_offset_delta: i32::from_be_bytes(field(header, 23)),
            base_timestamp: i64::from_be_bytes(field(header, 27)),
            max_timestamp: i64::from_be_bytes(field(header, 35)),
            producer_id: ProducerId(i64::from_be_bytes(field(header, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(header, 51))),
            base_sequence: i32::from_be_bytes(field(header, 53)),
            record_count: i32::from_be_bytes(field(header, 57)),
        };
        if parsed.batch_length < (HEADER_LEN - LOG_OVERHEAD) as i32 {
            return Err(BatchError::corrupt(format!("length {} is less than a header", parsed.batch_length)));
        }
        let next = parsed.base_offset.0.checked_add(i64::from(parsed.last_offset_delta) + 1);
        if parsed.base_offset.0 < 0 || parsed.last_offset_delta < 0 || next.is_none() {
            return Err(BatchError::corrupt(format!(
                "offsets from {} with a last delta of {}",
                parsed.base_offset, parsed.last_offset_delta
            )));
        }
        Ok(parsed)
    }

    /// The header as it stands in files and frames.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &self.base_offset.0.to_be_bytes());
        put(8, &self.batch_length.to_be_bytes());
        put(12, &self.leader_epoch.0.to_be_bytes());
        put(MAGIC_AT, &MAGIC.to_be_bytes());
        put(CRC_AT, &self.crc.to_be_bytes());
        put(ATTRIBUTES_AT, &self.attributes.bits().to_be_bytes());
        put(23, &self.last_offset_delta.to_be_bytes());
        put(27, &self.base_timestamp.to_be_bytes());
        put(35, &self.max_timestamp.to_be_bytes());
        put(43, &self.producer_id.0.to_be_bytes());
        put(51, &self.producer_epoch.0.to_be_bytes());
        put(53, &self.base_sequence.to_be_bytes());
        put(57, &self.record_count.to_be_bytes());
        bytes
    }

    /// Bytes of the whole batch, header and records.
    #[must_use]
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// Bytes of the records as they are stored.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.size().saturating_sub(HEADER_LEN)
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// The codec of the records.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.attributes.compression()
    }

    /// What the timestamps mean.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// Whether the batch holds control records.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// When the tombstones and markers of the batch may go, in ms, where compaction has decided it.
    #[must_use]
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// Whether an idempotent producer wrote the batch.
    #[must_use]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id.0 > ProducerId::NONE.0
    }

    /// Sequence number of the last record; numbers begin again at 0 after 2³¹−1. −1 without a sequence.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return crate::batch::NO_SEQUENCE;
        }
        sequence_after(self.base_sequence, self.last_offset_delta)
    }

    /// The checksum of this header with these records; the field [`crc`](Self::crc) is not looked at.
    #[must_use]
    pub fn checksum(&self, body: &[u8]) -> u32 {
        checksum(&self.to_bytes(), body)
    }

    /// Whether `batch`, which begins with this header, is whole and its checksum right.
    #[must_use]
    pub fn checksum_holds(&self, batch: &[u8]) -> bool {
        batch.get(ATTRIBUTES_AT..self.size()).is_some_and(|covered| crc32c(covered) == self.crc)
    }
}

/// The sequence number `count` after `sequence`, beginning again at 0 after 2³¹−1. Both must not be negative.
#[must_use]
pub fn sequence_after(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) & i64::from(i32::MAX)) as i32
}

/// CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

pub(crate) fn checksum(header: &[u8; HEADER_LEN], body: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&header[ATTRIBUTES_AT..]);
    digest.update(body);
    digest.finalize() as u32
}

/// Too short for format 2; where the magic is there already, an older format is called by its name.
fn short(bytes: &[u8]) -> BatchError {
    match bytes.get(MAGIC_AT) {
        Some(&magic) if i8::from_be_bytes([magic]) != MAGIC => BatchError::Magic(i8::from_be_bytes([magic])),
        _ => BatchError::Incomplete { needed: HEADER_LEN, have: bytes.len() },
    }
}

fn field<const N: usize>(header: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(1 << 40),
            batch_length: 1234,
            leader_epoch: LeaderEpoch(7),
            crc: 0xdead_beef,
            attributes: Attributes::default().with_compression(Compression::Zstd).transactional(),
            last_offset_delta: 9,
            base_timestamp: 1_700_000_000_000,
            max_timestamp: 1_700_000_000_500,
            producer_id: ProducerId(42),
            producer_epoch: ProducerEpoch(3),
            base_sequence: i32::MAX - 4,
            record_count: 10,
        }
    }

    #[test]
    fn a_header_survives_its_bytes() {
        let header = sample();
        assert_eq!(BatchHeader::parse(&header.to_bytes()), Ok(header));
        assert_eq!(header.size(), 1246);
        assert_eq!(header.next_offset(), Offset((1 << 40) + 10));
    }

    #[test]
    fn sequences_begin_again_after_the_largest() {
        assert_eq!(sample().last_sequence(), 4);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(BatchHeader::default().last_sequence(), -1);
    }

    #[test]
    fn impossible_headers_are_refused() {
        let with = |change: fn(&mut BatchHeader)| {
            let mut header = sample();
            change(&mut header);
            BatchHeader::parse(&header.to_bytes())
        };
        assert!(matches!(with(|h| h.batch_length = 48), Err(BatchError::Corrupt(_))));
        assert!(matches!(with(|h| h.batch_length = -1), Err(BatchError::Corrupt(_))));
        assert!(matches!(with(|h| h.base_offset = Offset(-1)), Err(BatchError::Corrupt(_))));
        assert!(matches!(with(|h| h.base_offset = Offset(i64::MAX - 9)), Err(BatchError::Corrupt(_))));
        assert!(matches!(with(|h| h.last_offset_delta = -1), Err(BatchError::Corrupt(_))));
        assert!(matches!(with(|h| h.attributes = Attributes(5)), Err(BatchError::Codec(5))));
        let mut old = sample().to_bytes();
        old[MAGIC_AT] = 1;
        assert_eq!(BatchHeader::parse(&old), Err(BatchError::Magic(1)));
        assert_eq!(BatchHeader::parse(&old[..30]), Err(BatchError::Magic(1)));
        assert!(matches!(BatchHeader::parse(&[]), Err(BatchError::Incomplete { have: 0, .. })));
    }

    #[test]
    fn crc32c_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
