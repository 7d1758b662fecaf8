//! Everything that can happen to a partition.

use std::sync::Arc;

use ottla_log::Flushed;
use ottla_protocol::batch::Validated;
use ottla_protocol::time::Deadline;
use ottla_protocol::{LeaderEpoch, NodeId, Offset, Ticket};

use crate::settings::TopicSettings;

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
}

/// A request to append.
#[derive(Debug)]
pub struct Append {
    /// A batch that has passed validation.
    pub batch: Validated,
    /// When to reply.
    pub acks: Acks,
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
    /// At most this many bytes, but always one whole batch where there is one.
    pub max_bytes: u32,
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
