//! Everything that a partition can do to the world.

use ottla_log::{DiskError, PendingFlush, Slice};
use ottla_protocol::batch::RecordError;
use ottla_protocol::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Refusal, Ticket};

use crate::transactions::VerificationGuard;

/// One output of [`crate::Partition::step`].
#[derive(Debug)]
pub enum Output {
    /// The reply to a question.
    Reply(Ticket, Reply),
    /// Run this on a thread that may wait for the disk, alone or in a redo file with those of other partitions, and come
    /// back with [`crate::Input::Flushed`]. One at a time.
    Flush(PendingFlush),
    /// The log is closed, and everything in it on the disk for good.
    Closed,
    /// The disk failed under the log: its directory must go offline.
    Failed(DiskError),
}

/// A partition's reply.
#[derive(Debug)]
pub enum Reply {
    /// To Append.
    Appended(Appended),
    /// To Append: single records are to blame (KIP-467).
    RecordErrors(Refusal, Vec<RecordError>),
    /// To Read.
    Read(Read),
    /// To AwaitGrowth.
    Grown,
    /// To ListOffset; `None` where no record matches.
    Listed(Option<ListedOffset>),
    /// To EpochEnd; `None` where the epoch is unknown.
    EpochEnd(Option<EpochEnd>),
    /// To DeleteRecords: the new low watermark.
    LowWatermark(Offset),
    /// To Verify: what the append needs once the coordinator has agreed; `None` where nobody has to be asked.
    Verification(Option<VerificationGuard>),
    /// To DescribeProducers.
    Producers(Vec<ProducerState>),
    /// No.
    Refused(Refusal),
}

/// Records were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first of them.
    pub base_offset: Offset,
    /// The broker's timestamp, where it stamped the records itself.
    pub log_append_time_ms: Option<i64>,
    /// The log's first offset.
    pub log_start: Offset,
}

/// Where the records are, and what else a reader is told.
#[derive(Debug)]
pub struct Read {
    /// The bytes, in order; whole batches.
    pub slices: Vec<Slice>,
    /// The end of what all in-sync replicas have.
    pub high_watermark: Offset,
    /// The end of what no open transaction may still change.
    pub last_stable: Offset,
    /// The log's first offset.
    pub log_start: Offset,
    /// How far this reader may see: what to wait beyond.
    pub readable_end: Offset,
    /// For read_committed: the aborted transactions among the records.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// The reader's log has taken another way: truncate to here first.
    pub diverging: Option<EpochEnd>,
}

impl Read {
    /// How many bytes the slices hold.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.slices.iter().map(|slice| u64::from(slice.length)).sum()
    }
}

/// A transaction whose records are to be skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Who wrote it.
    pub producer: ProducerId,
    /// Its first offset.
    pub first_offset: Offset,
}

/// An offset that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset.
    pub offset: Offset,
    /// The timestamp of the record there; −1 for marks.
    pub timestamp_ms: i64,
    /// The epoch of the leader that wrote it.
    pub epoch: Option<LeaderEpoch>,
}

/// A leader epoch and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The greatest known epoch not above the one asked for.
    pub epoch: LeaderEpoch,
    /// The first offset of the next epoch, or the log end.
    pub end: Offset,
}

/// What a partition knows of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// Who it is.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// Sequence number of its last record; −1 where none of its epoch is remembered.
    pub last_sequence: i32,
    /// Timestamp of its last batch or marker, in ms.
    pub last_timestamp_ms: i64,
    /// Epoch of the coordinator that wrote its last marker; −1 where there was none.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins.
    pub transaction_start: Option<Offset>,
}
