//! A batch as the leader writes it: its own header bytes, and the producer's records untouched.
//!
//! Header and body go to the disk as two slices of one write, so stamping copies 61 bytes and no more.

use bytes::Bytes;

use crate::batch::header::checksum;
use crate::batch::{BatchError, BatchHeader, HEADER_LEN, TimestampType};
use crate::{LeaderEpoch, Offset};

/// A batch ready to be appended: base offset and leader epoch are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StampedBatch {
    /// The header as it will stand in the file.
    pub header: [u8; HEADER_LEN],
    /// The records, compressed or plain; never empty of meaning but possibly of bytes (a compacted batch).
    pub body: Bytes,
}

impl StampedBatch {
    /// Takes a whole batch as it is: what a follower appends, and what comes out of a builder.
    ///
    /// # Errors
    /// [`BatchError`] when the header is not one, or `batch` is not exactly one batch long.
    pub fn verbatim(batch: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&batch)?;
        if header.size() > batch.len() {
            return Err(BatchError::Incomplete { needed: header.size(), have: batch.len() });
        }
        if header.size() < batch.len() {
            return Err(BatchError::corrupt(format!(
                "{} bytes follow the batch",
                batch.len() - header.size()
            )));
        }
        Ok(Self { header: header.to_bytes(), body: batch.slice(HEADER_LEN..) })
    }

    /// Puts a header and records together; the length is taken from `body`, the checksum from `header`.
    #[must_use]
    pub fn new(mut header: BatchHeader, body: Bytes) -> Self {
        header.batch_length = batch_length(body.len());
        Self { header: header.to_bytes(), body }
    }

    /// Puts a header and records together and sets length and checksum.
    #[must_use]
    pub fn sealed(header: BatchHeader, body: Bytes) -> Self {
        Self { header: [0; HEADER_LEN], body }.rewritten(header)
    }

    /// Sets what the leader decides and the checksum does not cover.
    #[must_use]
    pub fn at(mut self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        self.header[..8].copy_from_slice(&base_offset.0.to_be_bytes());
        self.header[12..16].copy_from_slice(&leader_epoch.0.to_be_bytes());
        self
    }

    /// Sets the append time, in ms, for all records (`message.timestamp.type=LogAppendTime`), and the checksum anew.
    #[must_use]
    pub fn with_log_append_time(self, wall_ms: i64) -> Self {
        let mut header = self.header();
        header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        header.max_timestamp = wall_ms;
        self.rewritten(header)
    }

    /// Sets the latest of the records' timestamps, in ms, where the producer had it wrong, and the checksum anew.
    #[must_use]
    pub fn with_max_timestamp(self, max_timestamp: i64) -> Self {
        let header = BatchHeader { max_timestamp, ..self.header() };
        self.rewritten(header)
    }

    /// The header, parsed.
    ///
    /// # Panics
    /// When [`header`](Self::header) has been overwritten with something that is none.
    #[must_use]
    pub fn header(&self) -> BatchHeader {
        BatchHeader::parse(&self.header).expect("a stamped batch has a right header")
    }

    /// Bytes of the whole batch.
    #[must_use]
    pub fn size(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// The batch in one piece, copied.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut whole = Vec::with_capacity(self.size());
        whole.extend_from_slice(&self.header);
        whole.extend_from_slice(&self.body);
        whole.into()
    }

    fn rewritten(mut self, header: BatchHeader) -> Self {
        let header = BatchHeader { batch_length: batch_length(self.body.len()), ..header };
        self.header = header.to_bytes();
        let crc = checksum(&self.header, &self.body);
        self.header = BatchHeader { crc, ..header }.to_bytes();
        self
    }
}

/// The length field of a batch with a body of `body` bytes.
///
/// # Panics
/// When the body is beyond 2 GiB, which no frame and no limit lets through.
pub(crate) fn batch_length(body: usize) -> i32 {
    i32::try_from(body + HEADER_LEN - crate::batch::LOG_OVERHEAD).expect("a batch is smaller than 2 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> StampedBatch {
        let body = Bytes::from_static(b"these are no records, but the checksum does not mind");
        let header = BatchHeader { last_offset_delta: 4, record_count: 5, ..BatchHeader::default() };
        let mut header = StampedBatch::new(header, body.clone()).header();
        header.crc = header.checksum(&body);
        StampedBatch::new(header, body)
    }

    #[test]
    fn stamping_leaves_the_checksum_right() {
        let batch = sample().at(Offset(1000), LeaderEpoch(9));
        let bytes = batch.to_bytes();
        let header = BatchHeader::parse(&bytes).unwrap();
        assert!(header.checksum_holds(&bytes));
        assert_eq!((header.base_offset, header.leader_epoch), (Offset(1000), LeaderEpoch(9)));
        assert_eq!(header.last_offset(), Offset(1004));
        assert_eq!(StampedBatch::verbatim(bytes).unwrap(), batch);
    }

    #[test]
    fn append_time_renews_the_checksum_and_shares_the_body() {
        let before = sample();
        let after = before.clone().with_log_append_time(1234);
        assert_eq!(after.body.as_ptr(), before.body.as_ptr());
        let bytes = after.to_bytes();
        assert!(after.header().checksum_holds(&bytes));
        assert_eq!(after.header().max_timestamp, 1234);
        assert_eq!(after.header().timestamp_type(), TimestampType::LogAppendTime);
        assert_ne!(after.header().crc, before.header().crc);
    }

    #[test]
    fn exactly_one_batch_is_taken() {
        let bytes = sample().to_bytes();
        let longer = Bytes::from([&bytes[..], b"x"].concat());
        assert!(matches!(StampedBatch::verbatim(longer), Err(BatchError::Corrupt(_))));
        assert!(matches!(StampedBatch::verbatim(bytes.slice(..70)), Err(BatchError::Incomplete { .. })));
    }
}
