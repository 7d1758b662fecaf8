//! One log kept alike on a quorum: KRaft (KIP-595, 630, 853, 996), in Kafka's messages and files.
//!
//! [`Raft`] is one replica as a value: [`Raft::step`] takes in what happens and puts out what is to be done. It needs
//! neither thread nor clock nor network; it calls the disk, and says nothing that is not on it.
//!
//! Not here yet: changing the voter set. `voters` already follows `KRaftVoters` records wherever they come from.

pub mod batch;
pub mod config;
pub mod control_record;
mod delivery;
mod election;
pub mod format;
mod journal;
mod links;
pub mod message;
pub mod mutant;
mod opening;
mod output;
pub mod quorum;
mod raft;
pub mod random;
mod replication;
pub mod role;
mod shortage;
pub mod snapshot;
pub mod store;
mod transfer;
pub mod voters;

pub use config::RaftConfig;
pub use control_record::ControlRecord;
pub use message::{OffsetAndEpoch, Peer, SnapshotId, Ticket};
pub use opening::{log_config, open_log};
pub use output::{AppendError, CommittedBatch, Content, Fatal, Input, LeaderAndEpoch, Output};
pub use raft::{Raft, ReplicaProgress};
pub use role::Role;
pub use snapshot::{Snapshot, SnapshotError, SnapshotWriter};
pub use voters::{Endpoint, ReplicaKey, Voter, Voters};
