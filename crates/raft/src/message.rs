//! What voters and observers say to each other: our own small types, one partition per message.
//!
//! The shell translates them from and to Kafka's nested Vote, BeginQuorumEpoch, EndQuorumEpoch, Fetch and
//! FetchSnapshot messages. Numbers from the wire arrive unchecked: the machine judges them.

use bytes::Bytes;
use ottla_protocol::{LeaderEpoch, NodeId, Offset, Refusal};

use crate::voters::{Endpoint, ReplicaKey};

/// Identifies a request that waits for a reply; chosen by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Whom a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// A node whose endpoint is known (`Raft::endpoints`).
    Node(NodeId),
    /// The n-th bootstrap server; who listens there is not known.
    Bootstrap(usize),
}

/// A place in a log: how much there is, and the epoch of the last of it. Ordered by epoch first, which is how
/// voters compare logs; also the name of a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetAndEpoch {
    /// The epoch of the record before `offset`; 0 in an empty log.
    pub epoch: LeaderEpoch,
    /// The offset just behind the last record.
    pub offset: Offset,
}

/// Names a snapshot by the end of what it holds.
pub type SnapshotId = OffsetAndEpoch;

impl OffsetAndEpoch {
    /// The snapshot that formatting leaves behind; it is never sent to another replica.
    pub const BOOTSTRAP: SnapshotId = Self { epoch: LeaderEpoch(0), offset: Offset::ZERO };
}

/// Pre-vote (KIP-996) or the vote itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ballot {
    /// Would you vote for me? Changes nobody's epoch upwards but to the asker's present one.
    PreVote,
    /// I have begun this epoch: vote for me.
    Vote,
}

/// A request from one replica to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The cluster the sender belongs to, when it says so.
    pub cluster_id: Option<String>,
    /// The sender.
    pub from: ReplicaKey,
    /// The sender's epoch.
    pub epoch: LeaderEpoch,
    /// What is asked.
    pub ask: Ask,
}

/// What a request asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Vote (52).
    Vote {
        /// For whom the request is meant; `None` where the version has no such field.
        voter: Option<ReplicaKey>,
        /// How far the candidate's log goes.
        log_end: OffsetAndEpoch,
        /// Pre-vote or vote.
        ballot: Ballot,
    },
    /// BeginQuorumEpoch (53): the sender leads the epoch.
    BeginQuorumEpoch {
        /// For whom the request is meant; `None` where the version has no such field.
        voter: Option<ReplicaKey>,
        /// Where the leader listens; empty where the version has no such field.
        endpoints: Vec<Endpoint>,
    },
    /// EndQuorumEpoch (54): the sender led the epoch and lets go.
    EndQuorumEpoch {
        /// Who should try to follow it, the most up to date first.
        successors: Vec<ReplicaKey>,
        /// Where the leader listens; empty where the version has no such field.
        endpoints: Vec<Endpoint>,
    },
    /// Fetch (1) of the metadata log; it also acknowledges everything before `offset`.
    Fetch(Fetch),
    /// FetchSnapshot (59).
    FetchSnapshot {
        /// Which snapshot.
        snapshot: SnapshotId,
        /// How many bytes of it are there already.
        position: i64,
        /// How many more may come.
        max_bytes: i32,
    },
}

/// What a follower says of itself when it fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Its log end.
    pub offset: Offset,
    /// The epoch of its last record; 0 when it has none.
    pub last_epoch: LeaderEpoch,
    /// The high watermark it knows; the greatest offset when the version has no such field.
    pub high_watermark: Offset,
    /// How long the leader may wait for something to send, in milliseconds.
    pub max_wait_ms: i32,
    /// How much may come; a first batch comes whole in any case.
    pub max_bytes: i32,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The error, if it is one.
    pub refusal: Option<Refusal>,
    /// The leader the answering node knows of in its epoch.
    pub leader: Option<NodeId>,
    /// The answering node's epoch.
    pub epoch: LeaderEpoch,
    /// Where that leader listens; empty where the version has no such field.
    pub endpoints: Vec<Endpoint>,
    /// The answer itself.
    pub answer: Answer,
}

/// What a response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a Vote.
    Vote {
        /// Yes or no.
        granted: bool,
    },
    /// To a BeginQuorumEpoch.
    BeginQuorumEpoch,
    /// To an EndQuorumEpoch.
    EndQuorumEpoch,
    /// To a Fetch.
    Fetch {
        /// The leader's high watermark; `None` until the first record of its epoch is committed.
        high_watermark: Option<Offset>,
        /// The leader's log start.
        log_start: Offset,
        /// What was fetched.
        found: Found,
    },
    /// To a FetchSnapshot.
    FetchSnapshot {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Its size in bytes.
        size: i64,
        /// Where in it `bytes` lie.
        position: i64,
        /// A piece of it, not aligned to batches.
        bytes: Bytes,
    },
}

/// What a fetch found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Whole batches from the fetch offset on; none when there is nothing new.
    Records(Bytes),
    /// The logs differ: this is where the leader's log ends for the largest epoch not above the follower's.
    Diverging(OffsetAndEpoch),
    /// The follower is too far behind for the log: it should load this snapshot first.
    Snapshot(SnapshotId),
}

impl Answer {
    /// The kind of answer that `ask` expects, saying nothing; it goes out with refusals.
    #[must_use]
    pub fn empty_for(ask: &Ask) -> Self {
        match ask {
            Ask::Vote { .. } => Self::Vote { granted: false },
            Ask::BeginQuorumEpoch { .. } => Self::BeginQuorumEpoch,
            Ask::EndQuorumEpoch { .. } => Self::EndQuorumEpoch,
            Ask::Fetch(_) => Self::Fetch {
                high_watermark: None,
                log_start: Offset(-1),
                found: Found::Records(Bytes::new()),
            },
            Ask::FetchSnapshot { snapshot, .. } => {
                Self::FetchSnapshot { snapshot: *snapshot, size: 0, position: 0, bytes: Bytes::new() }
            }
        }
    }
}
