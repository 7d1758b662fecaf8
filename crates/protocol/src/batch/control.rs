//! Control records: what transactions and the quorum write between the records of users. No consumer is shown them.
//!
//! A control record's key is a version i16 and a type i16; the end of a transaction has as its value a version i16 and
//! the epoch of the coordinator, i32.

use crate::batch::builder::{BatchBuilder, BatchFields};
use crate::batch::{Attributes, BatchError, RecordParts, StampedBatch};
use crate::compression::Codecs;
use crate::{ProducerEpoch, ProducerId};

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum ControlType {
    /// The producer's transaction is undone.
    Abort = 0,
    /// The producer's transaction holds.
    Commit = 1,
    /// A new leader of a quorum (KIP-595).
    LeaderChange = 2,
    /// The first record of a snapshot (KIP-630).
    SnapshotHeader = 3,
    /// The last record of a snapshot.
    SnapshotFooter = 4,
    /// The version of the quorum's own rules (KIP-853).
    KraftVersion = 5,
    /// The voters of the quorum.
    KraftVoters = 6,
}

impl ControlType {
    const ALL: [Self; 7] = [
        Self::Abort,
        Self::Commit,
        Self::LeaderChange,
        Self::SnapshotHeader,
        Self::SnapshotFooter,
        Self::KraftVersion,
        Self::KraftVoters,
    ];

    /// The type that stands in a control record's key; `None` for types that are not known, which are to be ignored.
    ///
    /// # Errors
    /// When the key is no control key.
    pub fn from_key(key: Option<&[u8]>) -> Result<Option<Self>, BatchError> {
        let Some([v0, v1, t0, t1, ..]) = key else {
            return Err(BatchError::Invalid("a control record without version and type".into()));
        };
        if i16::from_be_bytes([*v0, *v1]) < 0 {
            return Err(BatchError::Invalid("a control record of negative version".into()));
        }
        let code = i16::from_be_bytes([*t0, *t1]);
        Ok(usize::try_from(code).ok().and_then(|code| Self::ALL.get(code)).copied())
    }

    /// The key of a control record of this type.
    #[must_use]
    pub fn key(self) -> [u8; 4] {
        let [t0, t1] = (self as i16).to_be_bytes();
        [0, 0, t0, t1]
    }
}

/// How a transaction ended, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionMarker {
    /// The transactional producer.
    pub producer_id: ProducerId,
    /// Its epoch at the end.
    pub producer_epoch: ProducerEpoch,
    /// [`ControlType::Commit`] or [`ControlType::Abort`].
    pub end: ControlType,
    /// Fences older coordinators.
    pub coordinator_epoch: i32,
}

impl TransactionMarker {
    /// The batch with the one marker, still without offset and leader epoch.
    ///
    /// # Panics
    /// When the type is not the end of a transaction.
    #[must_use]
    pub fn batch(&self, wall_ms: i64) -> StampedBatch {
        assert!(
            matches!(self.end, ControlType::Commit | ControlType::Abort),
            "a transaction commits or aborts"
        );
        let mut value = [0; 6];
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        let key = self.end.key();
        let mut builder = BatchBuilder::with_capacity(32);
        let record = RecordParts {
            timestamp: wall_ms,
            key: Some(&key),
            value: Some(&value),
            ..RecordParts::default()
        };
        builder.append(&record).expect("a marker is small");
        let fields = BatchFields {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            attributes: Attributes::default().transactional().control(),
            ..BatchFields::default()
        };
        builder.finish(&fields, &mut Codecs::new())
    }

    /// The coordinator's epoch out of a marker's value.
    ///
    /// # Errors
    /// When the value is no marker's.
    pub fn coordinator_epoch_of(value: Option<&[u8]>) -> Result<i32, BatchError> {
        match value {
            Some([_, _, e0, e1, e2, e3, ..]) => Ok(i32::from_be_bytes([*e0, *e1, *e2, *e3])),
            _ => Err(BatchError::Invalid("a transaction marker without the coordinator's epoch".into())),
        }
    }
}
