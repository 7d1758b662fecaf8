//! Record batches, format 2: the unit that is produced, stored, replicated and fetched.
//!
//! The first 61 bytes are a [`BatchHeader`]; the records follow, compressed as one block or plain. The base offset and
//! the leader epoch lie outside the checksum, so a leader stamps them ([`StampedBatch`]) without touching the rest.

mod batches;
mod builder;
mod control;
mod header;
mod record;
mod records;
mod skim;
mod stamped;
mod validate;
mod varint;

pub use batches::{Batch, Batches, split};
pub use builder::{BatchBuilder, BatchFields, PackedBatch};
pub use control::{ControlType, TransactionMarker};
pub use header::{Attributes, BatchHeader, HEADER_LEN, LOG_OVERHEAD, TimestampType, crc32c, sequence_after};
pub use record::{Header, Headers, Record, RecordParts, RecordView};
pub use records::{RecordViews, RecordsIter};
pub use stamped::StampedBatch;
pub use validate::{Keys, Limits, MAX_RECORD_ERRORS, Timestamps, Validated, validate};

use crate::Refusal;
use crate::compression::CompressionError;

/// No timestamp, in the fields for timestamps.
pub const NO_TIMESTAMP: i64 = -1;
/// No sequence number: the batch comes from a producer that is not idempotent.
pub const NO_SEQUENCE: i32 = -1;

/// One record that made its batch unacceptable (KIP-467).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The record's place in its batch, from 0.
    pub index: i32,
    /// What is wrong, for people.
    pub message: String,
}

/// Why bytes are not an acceptable batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the batch says it has, or than a header needs.
    #[error("a batch of {needed} bytes has only {have}")]
    Incomplete {
        /// Bytes the batch needs.
        needed: usize,
        /// Bytes there are.
        have: usize,
    },
    /// A format before 2, or one that does not exist yet.
    #[error("record format {0} is not supported, only 2 is")]
    Magic(i8),
    /// The checksum, a length or a number contradicts the rest.
    #[error("corrupt record batch: {0}")]
    Corrupt(String),
    /// Well formed, but against the rules for producers.
    #[error("invalid record batch: {0}")]
    Invalid(String),
    /// Larger than `max.message.bytes`.
    #[error("a record batch of {size} bytes exceeds the maximum of {max}")]
    TooLarge {
        /// Bytes of the whole batch.
        size: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The topic does not take this codec.
    #[error("compression {0} is not supported")]
    Codec(i16),
    /// Some records are unacceptable, so none is taken.
    #[error("{message}")]
    Records {
        /// InvalidRecord or InvalidTimestamp.
        refusal: Refusal,
        /// For the whole batch, for people.
        message: String,
        /// The culprits, in order; only so many as are worth a client's attention.
        errors: Vec<RecordError>,
    },
}

impl BatchError {
    /// Kafka's code for the answer to the producer.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            // A format that there never was is damage, too.
            Self::Corrupt(_) | Self::Magic(..0 | 2..) => Refusal::CorruptMessage,
            // A cut batch is no batch to Kafka, and one of an old format is no batch that Produce carries.
            Self::Incomplete { .. } | Self::Magic(_) | Self::Invalid(_) => Refusal::InvalidRecord,
            Self::TooLarge { .. } => Refusal::MessageTooLarge,
            Self::Codec(_) => Refusal::UnsupportedCompressionType,
            Self::Records { refusal, .. } => *refusal,
        }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }
}

/// The checksum was right, so the producer wrote it like that: trying again will not help.
impl From<CompressionError> for BatchError {
    fn from(error: CompressionError) -> Self {
        Self::Invalid(error.to_string())
    }
}

#[cfg(test)]
mod tests;
