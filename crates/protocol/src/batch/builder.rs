//! Writing batches record by record.
//!
//! Records are encoded plain as they come, so sizes are exact to the byte; compression happens once, in `finish`, when
//! the producer's sequence is known as well.

use bytes::{Bytes, BytesMut};

use crate::batch::header::sequence_after;
use crate::batch::record::RecordParts;
use crate::batch::stamped::batch_length;
use crate::batch::{
    Attributes, BatchError, BatchHeader, HEADER_LEN, NO_TIMESTAMP, StampedBatch, TimestampType,
};
use crate::compression::{Codecs, Compression, Effort};
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Everything of a batch that is not in its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFields {
    /// Offset of the first record; 0 in what a producer sends.
    pub base_offset: Offset,
    /// Epoch of the leader; −1 in what a producer sends.
    pub leader_epoch: LeaderEpoch,
    /// The codec.
    pub effort: Effort,
    /// The idempotent producer, or −1.
    pub producer_id: ProducerId,
    /// Its epoch, or −1.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, or −1.
    pub base_sequence: i32,
    /// Transactional, control or neither; the codec and the timestamp type in it are overwritten.
    pub attributes: Attributes,
    /// The append time that holds for all records, in ms, where the leader sets it.
    pub log_append_time: Option<i64>,
}

impl Default for BatchFields {
    fn default() -> Self {
        Self {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch(-1),
            effort: Effort::default(),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: crate::batch::NO_SEQUENCE,
            attributes: Attributes::default(),
            log_append_time: None,
        }
    }
}

/// Collects records into one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the plain records.
    bytes: Vec<u8>,
    count: i32,
    next_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// Without records.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// With memory for `plain_bytes` of records.
    #[must_use]
    pub fn with_capacity(plain_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_LEN + plain_bytes);
        bytes.resize(HEADER_LEN, 0);
        Self { bytes, count: 0, next_delta: 0, base_timestamp: NO_TIMESTAMP, max_timestamp: NO_TIMESTAMP }
    }

    /// Adds a record behind the last; gives its place in the batch.
    ///
    /// # Errors
    /// [`BatchError::TooLarge`] when record or batch would pass 2 GiB; nothing has been added then.
    pub fn append(&mut self, record: &RecordParts<'_>) -> Result<i32, BatchError> {
        let index = self.count;
        self.append_at(self.next_delta, record)?;
        Ok(index)
    }

    /// Adds a record at an offset, counted from the batch's first, that compaction must keep.
    ///
    /// # Errors
    /// [`BatchError::TooLarge`] as with [`append`](Self::append).
    ///
    /// # Panics
    /// When the offset is not behind the last record's.
    pub fn append_at(&mut self, offset_delta: i32, record: &RecordParts<'_>) -> Result<(), BatchError> {
        assert!(offset_delta >= self.next_delta, "offsets of a batch rise");
        let base_timestamp = if self.count == 0 { record.timestamp } else { self.base_timestamp };
        let size = self.bytes.len().saturating_add(record.size_at_most());
        if size > MAX_PLAIN || offset_delta == i32::MAX {
            return Err(BatchError::TooLarge { size, max: MAX_PLAIN });
        }
        let delta = record.timestamp.wrapping_sub(base_timestamp);
        self.bytes.reserve(record.size_at_most());
        if !record.write(offset_delta, delta, &mut self.bytes) {
            return Err(BatchError::TooLarge { size, max: MAX_PLAIN });
        }
        self.base_timestamp = base_timestamp;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        self.count += 1;
        self.next_delta = offset_delta + 1;
        Ok(())
    }

    /// Bytes by which the batch would grow, before compression.
    #[must_use]
    pub fn cost_of(&self, record: &RecordParts<'_>) -> usize {
        let base_timestamp = if self.count == 0 { record.timestamp } else { self.base_timestamp };
        let delta = record.timestamp.wrapping_sub(base_timestamp);
        record.size(self.next_delta, delta).unwrap_or(usize::MAX)
    }

    /// Bytes of the whole batch, if it were not compressed.
    #[must_use]
    pub fn plain_size(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the whole batch if compression shrinks the records to `ratio` of their size, with 5 % to spare.
    #[must_use]
    pub fn estimated_size(&self, compression: Compression, ratio: f64) -> usize {
        match compression {
            Compression::None => self.plain_size(),
            _ => HEADER_LEN + ((self.bytes.len() - HEADER_LEN) as f64 * ratio * 1.05) as usize,
        }
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The latest timestamp so far, in ms; −1 without.
    #[must_use]
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// The batch. Its length, checksum and last offset follow from the records.
    #[must_use]
    pub fn finish(self, fields: &BatchFields, codecs: &mut Codecs) -> StampedBatch {
        let packed = self.pack(fields, codecs);
        StampedBatch::sealed(packed.header, packed.bytes.slice(HEADER_LEN..))
    }

    /// Compresses the records now, and leaves the checksum to when the producer's sequence is known.
    #[must_use]
    pub fn pack(self, fields: &BatchFields, codecs: &mut Codecs) -> PackedBatch {
        let header = self.header(fields);
        let bytes = match header.compression() {
            Compression::None => self.bytes,
            _ => {
                let mut packed = Vec::with_capacity(HEADER_LEN + self.bytes.len() / 2);
                packed.resize(HEADER_LEN, 0);
                codecs.compress(fields.effort, &self.bytes[HEADER_LEN..], &mut packed);
                packed
            }
        };
        PackedBatch { header, bytes: bytes.into(), sealed: false }
    }

    fn header(&self, fields: &BatchFields) -> BatchHeader {
        let (kind, max_timestamp) = match fields.log_append_time {
            Some(now_ms) => (TimestampType::LogAppendTime, now_ms),
            None => (TimestampType::CreateTime, self.max_timestamp),
        };
        // A batch without records is never compressed, for there is nothing to be read from it.
        let codec = if self.count == 0 { Compression::None } else { fields.effort.compression };
        BatchHeader {
            base_offset: fields.base_offset,
            leader_epoch: fields.leader_epoch,
            attributes: fields.attributes.with_compression(codec).with_timestamp_type(kind),
            last_offset_delta: (self.next_delta - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp,
            producer_id: fields.producer_id,
            producer_epoch: fields.producer_epoch,
            base_sequence: fields.base_sequence,
            record_count: self.count,
            ..BatchHeader::default()
        }
    }

    /// The sequence number that follows the batch's last record.
    #[must_use]
    pub fn sequence_after(&self, base_sequence: i32) -> i32 {
        sequence_after(base_sequence, self.count)
    }
}

/// Plain bytes of the records of one batch at most: far above any limit, below what a length can say.
const MAX_PLAIN: usize = (i32::MAX as usize) - (1 << 20);

/// A batch whose records are done, in one piece; what a producer sends and, after a refusal, sends again.
#[derive(Clone, Debug)]
pub struct PackedBatch {
    header: BatchHeader,
    /// The header's bytes, right only once sealed, and the records as they are stored.
    bytes: Bytes,
    sealed: bool,
}

impl PackedBatch {
    /// The header, but for length and checksum.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Bytes of the whole batch.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Sets who wrote it, and the sequence number of its first record.
    pub fn sequence(&mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) {
        let header = BatchHeader { producer_id: id, producer_epoch: epoch, base_sequence, ..self.header };
        self.sealed &= header == self.header;
        self.header = header;
    }

    /// The whole batch with length and checksum right. Copied only if an earlier one is still held by somebody and the
    /// sequence has changed since.
    pub fn seal(&mut self) -> Bytes {
        if !self.sealed {
            let bytes = std::mem::take(&mut self.bytes).try_into_mut();
            let mut bytes = bytes.unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            self.header.batch_length = batch_length(bytes.len() - HEADER_LEN);
            self.header.crc = self.header.checksum(&bytes[HEADER_LEN..]);
            bytes[..HEADER_LEN].copy_from_slice(&self.header.to_bytes());
            self.bytes = bytes.freeze();
            self.sealed = true;
        }
        self.bytes.clone()
    }
}
