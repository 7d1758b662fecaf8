//! What a replica is told when it opens: who it is, who votes, and how long it waits.

use std::path::PathBuf;

use crate::mutant::Mutant;
use crate::voters::{Endpoint, ReplicaKey, Voters};

/// The configuration of one replica of the metadata log.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// The folder `__cluster_metadata-0`.
    pub dir: PathBuf,
    /// The cluster; requests that name another are refused. `None` accepts all.
    pub cluster_id: Option<String>,
    /// This node and the directory id of its metadata directory.
    pub me: ReplicaKey,
    /// Where this node's controller listens, its default listener first; empty on a node that is no controller.
    pub listeners: Vec<Endpoint>,
    /// `controller.quorum.voters`: the voters with kraft.version 0. Empty when the log itself names them.
    pub configured_voters: Voters,
    /// How many `controller.quorum.bootstrap.servers` there are to ask for the leader. With none, voters are asked.
    pub bootstrap_servers: usize,
    /// Whether this node has the controller role: it flushes what it fetches, since it may have to vote one day.
    pub may_vote: bool,
    /// How long things take.
    pub timing: Timing,
    /// How much of the past is kept.
    pub retention: Retention,
    /// A bug planted by a test; see [`Mutant`].
    pub mutant: Option<Mutant>,
}

/// The timeouts of the quorum, with Kafka's names and defaults.
#[derive(Clone, Debug)]
pub struct Timing {
    /// `controller.quorum.election.timeout.ms`; each wait is drawn from one to two times this.
    pub election_timeout_ms: u32,
    /// `controller.quorum.fetch.timeout.ms`.
    pub fetch_timeout_ms: u32,
    /// `controller.quorum.election.backoff.max.ms`.
    pub election_backoff_max_ms: u32,
    /// `controller.quorum.request.timeout.ms`.
    pub request_timeout_ms: u32,
    /// `controller.quorum.retry.backoff.ms`.
    pub retry_backoff_ms: u32,
    /// How long a leader may hold a fetch that finds nothing.
    pub fetch_max_wait_ms: i32,
    /// `controller.quorum.fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `controller.quorum.fetch.snapshot.max.bytes`.
    pub fetch_snapshot_max_bytes: i32,
}

/// How many snapshots are kept, by age and size.
#[derive(Clone, Debug)]
pub struct Retention {
    /// `metadata.max.retention.bytes`, of snapshots and log together; negative: no limit.
    pub max_bytes: i64,
    /// `metadata.max.retention.ms`, of a snapshot's last contained record; negative: no limit.
    pub max_ms: i64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            election_timeout_ms: 1_000,
            fetch_timeout_ms: 2_000,
            election_backoff_max_ms: 1_000,
            request_timeout_ms: 2_000,
            retry_backoff_ms: 20,
            fetch_max_wait_ms: 500,
            fetch_max_bytes: 1 << 20,
            fetch_snapshot_max_bytes: 1 << 20,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { max_bytes: 100 << 20, max_ms: 7 * 24 * 3_600_000 }
    }
}

impl RaftConfig {
    /// A controller `me` with its log in `dir`, at kraft.version 0 among `configured_voters`, or at kraft.version 1
    /// when there are none; everything else as Kafka has it by default.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, me: ReplicaKey, configured_voters: Voters) -> Self {
        Self {
            dir: dir.into(),
            cluster_id: None,
            me,
            listeners: Vec::new(),
            configured_voters,
            bootstrap_servers: 0,
            may_vote: true,
            timing: Timing::default(),
            retention: Retention::default(),
            mutant: None,
        }
    }

    /// Whether the bug is planted; always no without the feature `mutants`.
    pub(crate) fn has(&self, mutant: Mutant) -> bool {
        cfg!(feature = "mutants") && self.mutant == Some(mutant)
    }
}
