//! Walking over the records of one batch.

use bytes::Bytes;

use crate::Offset;
use crate::batch::record::{self, Header, Record, RecordView};
use crate::batch::{BatchError, BatchHeader, HEADER_LEN, TimestampType};
use crate::compression::{Codecs, Compression, Limit};

/// The borrowed records in the plain bytes of a batch, exactly as many as its header says, or an error.
#[derive(Clone, Debug)]
pub struct RecordViews<'a> {
    plain: &'a [u8],
    at: usize,
    left: i32,
}

impl<'a> RecordViews<'a> {
    /// Over `count` records in `plain`.
    #[must_use]
    pub fn new(plain: &'a [u8], count: i32) -> Self {
        Self { plain, at: 0, left: count }
    }

    fn read(&mut self) -> Result<RecordView<'a>, record::Fault> {
        let record = record::view(record::take(self.plain, &mut self.at)?)?;
        if self.left == 1 && self.at != self.plain.len() {
            return Err(MORE);
        }
        Ok(record)
    }
}

pub(super) const MORE: record::Fault = "bytes follow the last record";

impl<'a> Iterator for RecordViews<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        let record = self.read();
        self.left = if record.is_ok() { self.left - 1 } else { 0 };
        Some(record.map_err(|fault| BatchError::Invalid(fault.into())))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A record takes 7 bytes at least, so a false count reserves no more than the bytes justify.
        let most = usize::try_from(self.left).unwrap_or(0).min((self.plain.len() - self.at) / 7 + 1);
        (0, Some(most))
    }
}

/// The records of a batch, decompressed where need be, with their offsets and timestamps.
///
/// Keys and values are slices of the batch's memory (or of its decompressed copy) and keep it alive.
#[derive(Clone, Debug)]
pub struct RecordsIter {
    header: BatchHeader,
    plain: Bytes,
    at: usize,
    left: i32,
}

impl RecordsIter {
    /// Over the records of `batch`, which begins with its header and is whole. The checksum is not looked at.
    ///
    /// # Errors
    /// When the header is none, the batch is cut, or the records cannot be decompressed within the limit. An empty
    /// compressed batch, as compaction leaves them, is no error.
    pub fn new(batch: &Bytes, limit: Limit, codecs: &mut Codecs) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(batch)?;
        if batch.len() < header.size() {
            return Err(BatchError::Incomplete { needed: header.size(), have: batch.len() });
        }
        Self::of_body(header, batch.slice(HEADER_LEN..header.size()), limit, codecs)
    }

    /// The same where header and records are apart.
    ///
    /// # Errors
    /// When the records cannot be decompressed within the limit.
    pub fn of_body(
        header: BatchHeader,
        body: Bytes,
        limit: Limit,
        codecs: &mut Codecs,
    ) -> Result<Self, BatchError> {
        let plain = match header.compression() {
            Compression::None => body,
            _ if header.record_count == 0 => Bytes::new(),
            codec => codecs.decompress(codec, &body, limit)?.into(),
        };
        Ok(Self { header, plain, at: 0, left: header.record_count })
    }

    /// The batch's header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records that are left, borrowed.
    #[must_use]
    pub fn views(&self) -> RecordViews<'_> {
        RecordViews { plain: &self.plain, at: self.at, left: self.left }
    }

    /// The offset of a borrowed record.
    #[must_use]
    pub fn offset_of(&self, record: &RecordView<'_>) -> Offset {
        Offset(self.header.base_offset.0.saturating_add(i64::from(record.offset_delta)))
    }

    /// The timestamp of a borrowed record, in ms.
    #[must_use]
    pub fn timestamp_of(&self, record: &RecordView<'_>) -> i64 {
        match self.header.timestamp_type() {
            TimestampType::CreateTime => self.header.base_timestamp.wrapping_add(record.timestamp_delta),
            TimestampType::LogAppendTime => self.header.max_timestamp,
        }
    }
}

impl Iterator for RecordsIter {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut views = RecordViews { plain: &self.plain, at: self.at, left: self.left };
        let view = views.next()?;
        let (at, left) = (views.at, views.left);
        let record = view.map(|view| {
            let share = |bytes: &[u8]| self.plain.slice_ref(bytes);
            Record {
                offset: self.offset_of(&view),
                timestamp: self.timestamp_of(&view),
                key: view.key.map(share),
                value: view.value.map(share),
                headers: view
                    .headers
                    .iter()
                    .map(|(key, value)| Header { key: share(key), value: value.map(share) })
                    .collect(),
            }
        });
        (self.at, self.left) = (at, left);
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.views().size_hint()
    }
}
