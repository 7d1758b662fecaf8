//! Everything that can happen to a partition.

use std::sync::Arc;

use ottla_log::producers::{MarkerRule, Origin};
use ottla_log::{FirstBatch, Flushed};
use ottla_protocol::batch::{TransactionMarker, Validated};
use ottla_protocol::time::Deadline;
use ottla_protocol::{LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, Ticket};

use crate::settings::TopicSettings;
use crate::transactions::VerificationGuard;

/// One input of [`crate::Partition::step`].
#[derive(Debug)]
pub enum Input {
    /// Somebody wants to know or to write something; the reply goes to the ticket.
    Question(Ticket, Question),
    /// The metadata says that this node leads.
    Lead(Lead),
    /// The metadata says that this node no longer leads.
    StepDown,
    /// The topic's configuration has changed.
    Configure(Arc<TopicSettings>),
    /// Time to look after retention.
    Retain,
    /// Time to look whether something has been in memory only for too long (`flush.ms`), and who waits no more.
    Look,
    /// A flush that was put out has ended.
    Flushed(Flushed),
    /// What a redo file has of the log is to come into the log's own files, so that the redo file can be used again.
    Settle,
    /// Close the log in good order. Whoever waits is refused, and [`crate::Output::Closed`] ends it.
    Close,
}

/// What a partition can be asked.
#[derive(Debug)]
pub enum Question {
    /// Write this batch.
    Append(Append),
    /// Where are the records from this offset on?
    Read(ReadRequest),
    /// Tell me when records beyond this offset can be read, at once if there are some already. One wait per asker.
    AwaitGrowth {
        /// The readable end as the asker knows it.
        beyond: Offset,
        /// Which end counts.
        isolation: Isolation,
        /// When the asker goes on without a reply.
        until: Deadline,
    },
    /// Which offset belongs to this time or mark?
    ListOffset {
        /// What is looked for.
        spec: OffsetSpec,
        /// Bounds what "latest" means.
        isolation: Isolation,
        /// The leader epoch as the asker knows it.
        current_leader_epoch: Option<LeaderEpoch>,
    },
    /// Where does this leader epoch end? (KIP-101)
    EpochEnd {
        /// The leader epoch as the asker knows it.
        current_leader_epoch: Option<LeaderEpoch>,
        /// The epoch whose end is looked for.
        epoch: LeaderEpoch,
    },
    /// Forget the records before this offset; `None` means before the high watermark.
    DeleteRecords {
        /// The new log start offset.
        before: Option<Offset>,
    },
    /// Has the transaction coordinator to be asked before a batch like this is appended? (KIP-890)
    Verify(Verify),
    /// Write the end of a transaction; the reply is that to an append for which all in-sync replicas count.
    Mark(Mark),
    /// Which producers are known? (KIP-664) Whoever has a replica answers.
    DescribeProducers,
}

/// A request to append.
#[derive(Debug)]
pub struct Append {
    /// A batch that has passed validation.
    pub batch: Validated,
    /// When to reply.
    pub acks: Acks,
    /// Who wrote it.
    pub origin: Origin,
    /// Says that the coordinator knows of this partition: what the first batch of a transaction needs.
    pub guard: Option<VerificationGuard>,
}

impl Append {
    /// A batch of a client's.
    #[must_use]
    pub fn by_client(batch: Validated, acks: Acks, guard: Option<VerificationGuard>) -> Self {
        Self { batch, acks, origin: Origin::Client, guard }
    }

    /// A batch of the coordinator that stands on this partition, for which all in-sync replicas count.
    #[must_use]
    pub fn by_coordinator(batch: Validated, guard: Option<VerificationGuard>) -> Self {
        Self { batch, acks: Acks::All, origin: Origin::Coordinator, guard }
    }
}

/// The first thing a partition hears of a transactional batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verify {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the batch's first record; −1 where a coordinator writes for the producer.
    pub base_sequence: i32,
    /// Which protocol the producer speaks.
    pub protocol: TransactionProtocol,
}

/// What producer and coordinator make of a transaction's end (`transaction.version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionProtocol {
    /// Versions 0 and 1: one epoch for many transactions; the client adds partitions itself.
    SharedEpoch,
    /// Version 2 (KIP-890): every transaction has an epoch of its own; the partition's leader adds it.
    OwnEpoch,
}

impl TransactionProtocol {
    /// The protocol of a `transaction.version`.
    #[must_use]
    pub fn of_version(version: i8) -> Self {
        if version >= 2 { Self::OwnEpoch } else { Self::SharedEpoch }
    }

    /// Which epochs the end of such a transaction may have.
    #[must_use]
    pub fn marker_rule(self) -> MarkerRule {
        match self {
            Self::SharedEpoch => MarkerRule::SameOrLater,
            Self::OwnEpoch => MarkerRule::Later,
        }
    }
}

/// The end of a transaction, to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What is written.
    pub marker: TransactionMarker,
    /// Decides which epochs it may have.
    pub protocol: TransactionProtocol,
}

/// When an append is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// When the leader has written it.
    Leader,
    /// When all in-sync replicas have it.
    All,
}

/// A request to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// The first offset wanted.
    pub from: Offset,
    /// At most this many bytes.
    pub max_bytes: u32,
    /// What if the first batch alone is larger.
    pub first_batch: FirstBatch,
    /// What may be seen.
    pub isolation: Isolation,
    /// The leader epoch as the reader knows it.
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// The epoch of the last record that the reader has; a divergence is reported (KIP-595).
    pub last_fetched_epoch: Option<LeaderEpoch>,
}

/// How far a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

/// What ListOffsets can look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The log start (−2).
    Earliest,
    /// The end, as far as the isolation allows (−1).
    Latest,
    /// The record with the greatest timestamp (−3, KIP-734).
    MaxTimestamp,
    /// The log start on this node's own disk (−4, KIP-405); without tiered storage the log start.
    EarliestLocal,
    /// The last offset in tiered storage (−5, KIP-1005); without it, none.
    LatestTiered,
    /// The earliest offset not yet in tiered storage (−6, KIP-1023); without it, none.
    EarliestPendingUpload,
    /// The first record at or after this time, in milliseconds.
    Timestamp(i64),
}

/// The metadata's word that this node leads the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The leader epoch.
    pub epoch: LeaderEpoch,
    /// Counts the changes of the partition's metadata; older orders are ignored.
    pub partition_epoch: i32,
    /// All replicas.
    pub replicas: Vec<NodeId>,
    /// The in-sync replicas, this node among them.
    pub isr: Vec<NodeId>,
}
