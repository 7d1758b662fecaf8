//! A partition's bytes on disk, in Apache Kafka's directory layout, to the byte.
//!
//! [`Log`] is one partition; [`Disk`] is all it knows of the world. What several logs share (a log directory's lock,
//! marker and checkpoints) is in [`directory`] and its neighbours. Nothing here decides who may read or write.

#[cfg(test)]
mod tests;

pub mod checkpoint;
pub mod clean_shutdown;
pub mod config;
pub mod directory;
pub mod disk;
pub mod epochs;
mod flush;
mod frame;
mod index;
pub mod log;
mod marks;
pub mod meta_properties;
pub mod partition_metadata;
mod place;
pub mod producers;
mod recovery;
pub mod redo;
mod retention;
mod scan;
mod segment;
mod slice;
mod snapshots;
mod timestamps;
mod truncation;

pub use checkpoint::{OffsetCheckpoint, Offsets};
pub use config::{Cleanup, LogConfig};
pub use directory::LogDirectory;
pub use disk::{Disk, DiskError, DiskFile, MemoryDisk, OsDisk};
pub use epochs::{EpochEntry, Epochs};
pub use flush::{Flushed, PendingFlush};
pub use index::AbortedTransaction;
pub use log::{Appended, Log};
pub use producers::Producers;
pub use recovery::{OpenHint, Recovered, Stop};
pub use redo::{RedoFile, RedoTarget, RedoWrite, Redone};
pub use retention::Removed;
pub use slice::{ColdRead, FirstBatch, Found, Probe, ReadError, ReadLimit, Slice};
pub use timestamps::TimestampOffset;
