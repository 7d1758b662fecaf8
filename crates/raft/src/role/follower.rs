//! Follower: fetches from the epoch's leader, and has to be answered to remain one.

use std::sync::Arc;

use ottla_log::DiskFile;
use ottla_protocol::NodeId;
use ottla_protocol::time::Deadline;

use crate::message::SnapshotId;
use crate::voters::Endpoint;

/// The state of a follower.
#[derive(Clone, Debug)]
pub struct Follower {
    /// The leader of the epoch.
    pub leader: NodeId,
    /// Where the leader listens.
    pub endpoints: Vec<Endpoint>,
    /// When a voter gives the leader up; `None` on observers, which only ask elsewhere.
    pub fetch: Option<Deadline>,
    /// Whether the leader has answered in this epoch: from then on pre-votes are refused (KIP-996).
    pub has_fetched: bool,
    /// The snapshot that is being fetched, if the log was too far behind.
    pub download: Option<Download>,
}

/// A snapshot on its way.
#[derive(Clone, Debug)]
pub struct Download {
    /// Which.
    pub snapshot: SnapshotId,
    /// Where it is written, under the name of an unfinished one.
    pub file: Arc<dyn DiskFile>,
    /// How many bytes of it are there.
    pub position: u64,
}

impl Follower {
    /// A follower that has not heard from its leader yet.
    #[must_use]
    pub fn new(leader: NodeId, endpoints: Vec<Endpoint>, fetch: Option<Deadline>) -> Self {
        Self { leader, endpoints, fetch, has_fetched: false, download: None }
    }
}
