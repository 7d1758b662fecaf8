//! What a leader checks before it takes a producer's batch, and what it changes.
//!
//! One pass for the checksum, one over the records' lengths; nothing is allocated per record, and compressed records are
//! decompressed chunk by chunk and thrown away. Only two things force the batch to be written anew: a topic that wants
//! another codec, and offsets that are not 0, 1, 2 …; all other corrections are made in the header alone.

use bytes::Bytes;

use crate::Refusal;
use crate::batch::builder::{BatchBuilder, BatchFields};
use crate::batch::header::{ATTRIBUTES_AT, CRC_AT, MAGIC_AT};
use crate::batch::record::{self, RecordParts, Skimmed};
use crate::batch::records::{MORE, RecordViews};
use crate::batch::skim::SkimStream;
use crate::batch::{
    BatchError, BatchHeader, HEADER_LEN, LOG_OVERHEAD, NO_TIMESTAMP, RecordError, StampedBatch,
    TimestampType, crc32c,
};
use crate::compression::{Codecs, Compression, Effort, Limit};

/// How many unacceptable records of a batch are reported one by one.
pub const MAX_RECORD_ERRORS: usize = 1000;

/// Whether records may do without a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// They may.
    #[default]
    Optional,
    /// They may not: the topic is compacted.
    Required,
}

/// What the topic makes of timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// The producer's are kept, if they are near enough to now.
    CreateTime {
        /// The wall clock, in ms.
        now_ms: i64,
        /// `message.timestamp.before.max.ms`.
        before_max_ms: i64,
        /// `message.timestamp.after.max.ms`.
        after_max_ms: i64,
    },
    /// All records get this time, in ms.
    LogAppendTime {
        /// The wall clock, in ms.
        now_ms: i64,
    },
}

impl Default for Timestamps {
    fn default() -> Self {
        Self::CreateTime { now_ms: 0, before_max_ms: i64::MAX, after_max_ms: i64::MAX }
    }
}

/// What a topic demands of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `max.message.bytes`: bytes of the whole batch as it is stored.
    pub max_bytes: usize,
    /// Whether records may do without a key.
    pub keys: Keys,
    /// What becomes of timestamps.
    pub timestamps: Timestamps,
    /// `compression.type`, where it is not `producer`.
    pub compression: Option<Effort>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 1_048_588,
            keys: Keys::default(),
            timestamps: Timestamps::default(),
            compression: None,
        }
    }
}

/// A batch that may be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The batch, corrected, with base offset 0 and leader epoch −1; the leader sets both with [`StampedBatch::at`].
    pub batch: StampedBatch,
    /// Its header, parsed.
    pub header: BatchHeader,
    /// Whether the records had to be written anew.
    pub rewritten: bool,
}

/// Checks what a producer sent for one partition: exactly one batch.
///
/// # Errors
/// The first thing that is wrong with the batch; or, when the batch is well formed, all records (at most
/// [`MAX_RECORD_ERRORS`]) that the topic does not take. See [`BatchError::refusal`].
pub fn validate(records: &Bytes, limits: &Limits, codecs: &mut Codecs) -> Result<Validated, BatchError> {
    let header = BatchHeader::parse(records).map_err(|error| judged(error, records))?;
    match records.len() {
        have if have < header.size() => {
            return Err(BatchError::Incomplete { needed: header.size(), have });
        }
        have if have > header.size() => {
            return Err(BatchError::Invalid("more than one batch for a partition".into()));
        }
        size if size > limits.max_bytes => return Err(BatchError::TooLarge { size, max: limits.max_bytes }),
        _ => {}
    }
    if !header.checksum_holds(records) {
        return Err(BatchError::corrupt("the checksum does not match"));
    }
    check_header(&header)?;
    let body = records.slice(HEADER_LEN..);
    let mut check = Check::new(&header, limits);
    match header.compression() {
        Compression::None => check.plain(&body)?,
        codec => {
            let limit = Limit::for_batches_of(limits.max_bytes);
            check.stream(SkimStream::new(codecs.stream(codec, &body, limit)?))?;
        }
    }
    let findings = check.finish()?;
    correct(header, body, findings, limits, codecs)
}

/// Why there is no header, as Kafka sees it: a length that no batch has is damage; so is a checksum that does not match,
/// and the producer will send the batch again. An impossible number under a right checksum is the producer's own.
fn judged(error: BatchError, records: &[u8]) -> BatchError {
    let field = |at: usize| records.get(at..)?.first_chunk().copied().map(u32::from_be_bytes);
    let length = field(LOG_OVERHEAD - 4).map(|length| length as i32);
    if let (BatchError::Incomplete { .. }, Some(length)) = (&error, length)
        && records.len() > MAGIC_AT
        && length < (HEADER_LEN - LOG_OVERHEAD) as i32
    {
        return BatchError::corrupt(format!("length {length} is less than a header"));
    }
    let size = length.and_then(|length| usize::try_from(length).ok()).map(|length| length + LOG_OVERHEAD);
    let covered = size.and_then(|size| records.get(ATTRIBUTES_AT..size)).filter(|_| size >= Some(HEADER_LEN));
    match (error, covered) {
        (error @ (BatchError::Corrupt(_) | BatchError::Codec(_)), Some(covered))
            if field(CRC_AT) != Some(crc32c(covered)) =>
        {
            BatchError::corrupt(format!("the checksum does not match; {error}"))
        }
        (BatchError::Corrupt(what), Some(_)) => BatchError::Invalid(what),
        (error, _) => error,
    }
}

fn check_header(header: &BatchHeader) -> Result<(), BatchError> {
    let wrong = |what: String| Err(BatchError::Invalid(what));
    if header.base_offset.0 != 0 {
        return wrong(format!("the base offset is {}, not 0", header.base_offset));
    }
    if header.record_count <= 0 || i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
        let (count, last) = (header.record_count, header.last_offset_delta);
        return wrong(format!("{count} records do not fit a last offset delta of {last}"));
    }
    if header.is_control() {
        return wrong("control records are not for clients to write".into());
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        let (sequence, id) = (header.base_sequence, header.producer_id);
        return wrong(format!("the sequence number {sequence} of producer {id} is negative"));
    }
    if header.has_producer_id() && header.producer_epoch.0 < 0 {
        return wrong(format!("producer {} has no epoch", header.producer_id));
    }
    if header.is_transactional() && !header.has_producer_id() {
        return wrong("a transactional batch without a producer id".into());
    }
    Ok(())
}

/// What the pass over the records found out.
struct Findings {
    max_timestamp: i64,
    consecutive: bool,
}

struct Check<'a> {
    header: &'a BatchHeader,
    keys_required: bool,
    /// Whether the producer says that it is the leader who has set the time.
    claims_append_time: bool,
    /// The timestamps that are taken; −1 always is.
    earliest: i64,
    latest: i64,
    max_timestamp: i64,
    consecutive: bool,
    errors: Vec<RecordError>,
    refused: usize,
    refusal: Refusal,
}

impl<'a> Check<'a> {
    fn new(header: &'a BatchHeader, limits: &Limits) -> Self {
        let (earliest, latest) = match limits.timestamps {
            Timestamps::CreateTime { now_ms, before_max_ms, after_max_ms } => {
                (now_ms.saturating_sub(before_max_ms), now_ms.saturating_add(after_max_ms))
            }
            Timestamps::LogAppendTime { .. } => (i64::MIN, i64::MAX),
        };
        Self {
            header,
            keys_required: limits.keys == Keys::Required,
            claims_append_time: claims_append_time(header, limits.timestamps),
            earliest,
            latest,
            max_timestamp: NO_TIMESTAMP,
            consecutive: true,
            errors: Vec::new(),
            refused: 0,
            refusal: Refusal::InvalidRecord,
        }
    }

    /// The hottest loop of a broker.
    fn plain(&mut self, plain: &[u8]) -> Result<(), BatchError> {
        let mut at = 0;
        for index in 0..self.header.record_count {
            let skimmed = record::take(plain, &mut at).and_then(record::skim).map_err(invalid)?;
            self.record(index, skimmed);
        }
        if at != plain.len() {
            return Err(invalid(MORE));
        }
        Ok(())
    }

    fn stream(&mut self, mut records: SkimStream<'_>) -> Result<(), BatchError> {
        for index in 0..self.header.record_count {
            let skimmed = records.next()?;
            self.record(index, skimmed);
        }
        records.end()
    }

    #[inline]
    fn record(&mut self, index: i32, record: Skimmed) {
        let timestamp = match self.header.timestamp_type() {
            TimestampType::CreateTime => self.header.base_timestamp.wrapping_add(record.timestamp_delta),
            TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.consecutive &= record.offset_delta == index;
        let keyless = self.keys_required && !record.has_key;
        let untimely = (timestamp < self.earliest || timestamp > self.latest) && timestamp != NO_TIMESTAMP;
        if keyless || untimely || self.claims_append_time {
            self.refuse_record(index, timestamp, keyless);
        }
    }

    #[cold]
    fn refuse_record(&mut self, index: i32, timestamp: i64, keyless: bool) {
        if keyless {
            let what = "a compacted topic takes no record without a key";
            self.refuse(index, Refusal::InvalidRecord, what.into());
        } else if self.claims_append_time {
            self.refuse(index, Refusal::InvalidTimestamp, "a producer must not set the append time".into());
        } else {
            let (earliest, latest) = (self.earliest, self.latest);
            let what = format!("the timestamp {timestamp} is not within [{earliest}, {latest}]");
            self.refuse(index, Refusal::InvalidTimestamp, what);
        }
    }

    fn refuse(&mut self, index: i32, refusal: Refusal, message: String) {
        self.refused += 1;
        // One wrong timestamp makes it the batch's refusal, as in Kafka.
        if refusal == Refusal::InvalidTimestamp {
            self.refusal = refusal;
        }
        if self.errors.len() < MAX_RECORD_ERRORS {
            self.errors.push(RecordError { index, message });
        }
    }

    fn finish(self) -> Result<Findings, BatchError> {
        let Some(first) = self.errors.first() else {
            return Ok(Findings { max_timestamp: self.max_timestamp, consecutive: self.consecutive });
        };
        let message = match self.refused {
            1 => format!("record {} is refused: {}", first.index, first.message),
            n => format!("{n} records are refused, the first at {}: {}", first.index, first.message),
        };
        Err(BatchError::Records { refusal: self.refusal, message, errors: self.errors })
    }
}

/// The leader alone may set an append time. But where the topic keeps the producer's times, Kafka takes the one time of
/// such a batch for all its records.
fn claims_append_time(header: &BatchHeader, timestamps: Timestamps) -> bool {
    let is_kept = matches!(timestamps, Timestamps::CreateTime { .. }) && header.max_timestamp != NO_TIMESTAMP;
    header.timestamp_type() == TimestampType::LogAppendTime && !is_kept
}

fn invalid(fault: record::Fault) -> BatchError {
    BatchError::Invalid(fault.into())
}

/// Makes of a good batch the one that is appended.
fn correct(
    header: BatchHeader,
    body: Bytes,
    findings: Findings,
    limits: &Limits,
    codecs: &mut Codecs,
) -> Result<Validated, BatchError> {
    let (kind, max_timestamp) = match limits.timestamps {
        Timestamps::CreateTime { .. } => (TimestampType::CreateTime, findings.max_timestamp),
        Timestamps::LogAppendTime { now_ms } => (TimestampType::LogAppendTime, now_ms),
    };
    let source = header.compression();
    let effort = limits.compression.unwrap_or(source.into());
    let corrected = BatchHeader {
        attributes: header.attributes.with_timestamp_type(kind).with_compression(effort.compression),
        max_timestamp,
        leader_epoch: crate::LeaderEpoch(-1),
        ..header
    };
    let rewritten = effort.compression != source || !findings.consecutive;
    let batch = if !findings.consecutive {
        renumbered(header, corrected, &body, effort, limits, codecs)?
    } else if effort.compression != source {
        let plain = plain_of(source, &body, limits, codecs)?;
        let mut packed = Vec::with_capacity(plain.len() / 2 + 64);
        codecs.compress(effort, &plain, &mut packed);
        StampedBatch::sealed(corrected, packed.into())
    } else if corrected.attributes != header.attributes || corrected.max_timestamp != header.max_timestamp {
        StampedBatch::sealed(corrected, body)
    } else {
        StampedBatch::new(corrected, body)
    };
    if batch.size() > limits.max_bytes {
        return Err(BatchError::TooLarge { size: batch.size(), max: limits.max_bytes });
    }
    let header = batch.header();
    Ok(Validated { batch, header, rewritten })
}

/// Some old clients count the offsets within a batch wrongly; their records are numbered anew rather than refused.
fn renumbered(
    header: BatchHeader,
    corrected: BatchHeader,
    body: &Bytes,
    effort: Effort,
    limits: &Limits,
    codecs: &mut Codecs,
) -> Result<StampedBatch, BatchError> {
    let plain = plain_of(header.compression(), body, limits, codecs)?;
    let mut builder = BatchBuilder::with_capacity(plain.len());
    for view in RecordViews::new(&plain, header.record_count) {
        let view = view?;
        let timestamp = header.base_timestamp.wrapping_add(view.timestamp_delta);
        let (key, value, headers) = (view.key, view.value, view.headers);
        builder.append(&RecordParts { timestamp, key, value, headers })?;
    }
    let log_append_time = match corrected.attributes.timestamp_type() {
        TimestampType::CreateTime => None,
        TimestampType::LogAppendTime => Some(corrected.max_timestamp),
    };
    let fields = BatchFields {
        effort,
        producer_id: corrected.producer_id,
        producer_epoch: corrected.producer_epoch,
        base_sequence: corrected.base_sequence,
        attributes: corrected.attributes,
        log_append_time,
        ..BatchFields::default()
    };
    Ok(builder.finish(&fields, codecs))
}

fn plain_of(
    codec: Compression,
    body: &Bytes,
    limits: &Limits,
    codecs: &mut Codecs,
) -> Result<Bytes, BatchError> {
    match codec {
        Compression::None => Ok(body.clone()),
        _ => Ok(codecs.decompress(codec, body, Limit::for_batches_of(limits.max_bytes))?.into()),
    }
}
