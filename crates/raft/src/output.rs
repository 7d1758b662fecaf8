//! What goes into the machine and what comes out of it, on one page.

use bytes::Bytes;
use ottla_log::DiskError;
use ottla_protocol::{LeaderEpoch, NodeId, Offset};

use crate::control_record::ControlRecord;
use crate::message::{Peer, Request, Response, SnapshotId, Ticket};

/// Something that happens to a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A replica asks; the answer leaves as [`Output::Reply`] with the same ticket, perhaps later.
    Request {
        /// To find the asker again.
        ticket: Ticket,
        /// What it asks.
        request: Request,
    },
    /// A request that went out as [`Output::Send`] was answered.
    Response {
        /// Whom it went to.
        from: Peer,
        /// The number it went out with.
        correlation: u64,
        /// The answer.
        response: Response,
    },
    /// A request that went out as [`Output::Send`] will not be answered: no connection, or it broke.
    Failed {
        /// Whom it went to.
        to: Peer,
        /// The number it went out with.
        correlation: u64,
    },
    /// The state machine gives up the leadership of this epoch; if it is an older one, nothing happens.
    Resign {
        /// The epoch it leads.
        epoch: LeaderEpoch,
    },
    /// The node stops: a leader resigns, and nobody here begins another election.
    ShutDown,
}

/// Something the shell has to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a request; answer with [`Input::Response`] or [`Input::Failed`] and the same number.
    Send {
        /// To whom.
        to: Peer,
        /// The number that the response must come back with.
        correlation: u64,
        /// What.
        request: Request,
    },
    /// Answer a request.
    Reply {
        /// Whose.
        ticket: Ticket,
        /// What.
        response: Response,
    },
    /// Forget the state and load this snapshot ([`Raft::read_snapshot`](crate::Raft::read_snapshot)).
    LoadSnapshot(SnapshotId),
    /// Apply a committed batch. They come in order and without gaps, each once.
    Committed(CommittedBatch),
    /// Somebody leads, or nobody known does. That this node leads is said only once it has applied all that was
    /// committed before its epoch; that it no longer leads, before anything of another leader is committed.
    LeaderChanged(LeaderAndEpoch),
    /// The replica is dead: it will answer nothing any more, and the process must stop.
    Fatal(Fatal),
}

/// Who leads in which epoch, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaderAndEpoch {
    /// The leader.
    pub leader: Option<NodeId>,
    /// The epoch.
    pub epoch: LeaderEpoch,
}

/// One committed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedBatch {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// The epoch in which it was written.
    pub epoch: LeaderEpoch,
    /// When the leader wrote it, on its wall clock.
    pub append_ms: i64,
    /// Its size in the log, in bytes.
    pub size: u32,
    /// What it holds.
    pub content: Content,
}

/// What a committed batch holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The values of data records, one per offset.
    Records(Vec<Bytes>),
    /// Control records, one per offset. They are the quorum's own; they are shown so that offsets have no gaps.
    Control(Vec<ControlRecord>),
}

/// Why a replica is dead.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fatal {
    /// The disk failed, and nobody knows what is on it.
    #[error("the metadata log's disk failed: {0}")]
    Disk(#[from] DiskError),
    /// The same, for want of a descriptor or of room where something had been done by half.
    #[error("the metadata log's disk failed halfway: {0}")]
    Halfway(DiskError),
    /// What a peer said and what this replica knows cannot both be true.
    #[error("the quorum is in a state that cannot be: {0}")]
    Impossible(String),
}

/// Why an append was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// This node does not lead that epoch.
    #[error("not the leader of the epoch; epoch {current} is in force")]
    NotLeader {
        /// The present epoch.
        current: LeaderEpoch,
    },
    /// One append is one batch, and a batch has a limit.
    #[error("an append of {size} bytes does not fit into a batch of {max}")]
    TooLarge {
        /// Bytes it would take.
        size: usize,
        /// Bytes there may be.
        max: usize,
    },
    /// There is no room on the disk, or no descriptor; later there may be. The cause is in it.
    #[error("the metadata log takes nothing just now: {0}")]
    Passing(String),
    /// There is nothing to append.
    #[error("an append without records")]
    Empty,
    /// The replica is dead; [`Output::Fatal`] says why.
    #[error("the metadata log is offline")]
    Dead,
}
