//! A node of the simulated quorum: a raft on a disk of its own, and a state machine that applies what is committed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::disk::Crash;
use ottla_log::{Disk, DiskError, MemoryDisk, OpenHint};
use ottla_protocol::time::Now;
use ottla_protocol::{LeaderEpoch, NodeId, Offset, Uuid};
use ottla_raft::{
    CommittedBatch, Content, Endpoint, Raft, RaftConfig, ReplicaKey, SnapshotId, Voter, Voters,
};

use crate::clock::Clock;

/// The log directory of every node.
const DATA: &str = "/data";
/// Where every node keeps its metadata log.
pub const DIR: &str = "/data/__cluster_metadata-0";

/// A node.
#[derive(Debug)]
pub struct Replica {
    /// Which.
    pub id: NodeId,
    /// Its clock.
    pub clock: Clock,
    /// Its disk.
    pub disk: MemoryDisk,
    /// What runs on it; `None` while it is down.
    pub raft: Option<Raft>,
    /// Counts its starts: what was sent to an earlier life does not arrive.
    pub life: u64,
    /// What has been applied.
    pub state: Applied,
    /// Whether its disk is going to crash.
    pub doomed: bool,
    /// The epoch in which its state machine believes that it leads.
    pub leads: Option<LeaderEpoch>,
}

/// A state machine that can tell any two histories apart: a count and a chained hash of all values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The offset up to which (exclusive) everything is in here.
    pub end: Offset,
    /// How many values.
    pub count: u64,
    /// The hash of all values in order.
    pub hash: u64,
    /// When the last batch was appended, in ms.
    pub last_append_ms: i64,
}

impl Replica {
    /// A node with an empty disk, down.
    #[must_use]
    pub fn new(id: NodeId, clock: Clock) -> Self {
        Self {
            id,
            clock,
            disk: MemoryDisk::new(),
            raft: None,
            life: 0,
            state: Applied::default(),
            doomed: false,
            leads: None,
        }
    }

    /// Starts the node on what its disk holds.
    ///
    /// # Errors
    /// [`DiskError`] when it does not start.
    pub fn start(&mut self, config: RaftConfig, seed: u64, now: Now) -> Result<(), DiskError> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        disk.create_dir(Path::new(DATA))?;
        disk.sync_dir(Path::new("/"))?;
        // Small segments, so that there are many to roll, to cross and to remove.
        let settings = ottla_raft::log_config(2_000, 3_600_000);
        let log = ottla_raft::open_log(&disk, Path::new(DIR), settings, OpenHint::NOTHING, now)?;
        self.raft = Some(Raft::open(config, log, disk, seed, now)?);
        self.state = Applied::default();
        self.leads = None;
        Ok(())
    }

    /// Stops the node at once; `crash` says what is left on its disk.
    pub fn crash(&mut self, crash: Crash) {
        self.raft = None;
        self.leads = None;
        self.life += 1;
        self.doomed = false;
        self.disk.reboot(crash);
    }

    /// Applies a committed batch; whether it followed on the last one is the answer.
    pub fn apply(&mut self, batch: &CommittedBatch) -> bool {
        let follows = batch.base_offset == self.state.end;
        if let Content::Records(values) = &batch.content {
            for value in values {
                self.state.take(value);
            }
        }
        self.state.end = batch.last_offset.plus(1);
        self.state.last_append_ms = batch.append_ms;
        follows
    }

    /// Replaces the state by a snapshot's.
    ///
    /// # Errors
    /// [`DiskError`] when the snapshot cannot be read.
    pub fn load(&mut self, id: SnapshotId) -> Result<(), DiskError> {
        let Some(raft) = &self.raft else { return Ok(()) };
        let snapshot = raft.read_snapshot(id)?;
        let state = snapshot.records.first().and_then(Applied::from_bytes);
        let state =
            state.ok_or_else(|| DiskError::corrupt(&PathBuf::from(DIR), "a snapshot without state"))?;
        self.state = Applied { end: id.offset, last_append_ms: snapshot.last_append_ms, ..state };
        Ok(())
    }
}

impl Applied {
    fn take(&mut self, value: &[u8]) {
        self.count += 1;
        for byte in value {
            self.hash = (self.hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    /// As the one record of a snapshot.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        [self.count.to_be_bytes(), self.hash.to_be_bytes()].concat().into()
    }

    fn from_bytes(bytes: &Bytes) -> Option<Self> {
        let count = u64::from_be_bytes(*bytes.first_chunk()?);
        let hash = u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
        Some(Self { count, hash, ..Self::default() })
    }
}

/// The key of a node at kraft.version 0.
#[must_use]
pub fn key(id: NodeId) -> ReplicaKey {
    ReplicaKey { id, directory: directory_of(id) }
}

/// A voter set of these nodes, as `controller.quorum.voters` names it.
#[must_use]
pub fn voters(ids: &[NodeId]) -> Voters {
    Voters::new(ids.iter().map(|id| {
        let endpoint = Endpoint { listener: "CONTROLLER".to_owned(), host: format!("node-{id}"), port: 9093 };
        (*id, Voter { directory: Uuid::ZERO, endpoints: vec![endpoint], kraft_versions: (0, 1) })
    }))
}

fn directory_of(id: NodeId) -> Uuid {
    let mut bytes = [0x40; 16];
    bytes[15] = u8::try_from(id.0).unwrap_or(u8::MAX);
    Uuid(bytes)
}
