//! A partition's bytes on disk, in Apache Kafka's directory layout.

pub mod checkpoint;
pub mod clean_shutdown;
pub mod directory;
pub mod disk;
pub mod epochs;
mod index;
pub mod meta_properties;
pub mod partition_metadata;
mod place;
pub mod producers;

pub use disk::{Disk, DiskError, DiskFile, MemoryDisk, OsDisk};
pub use epochs::{EpochEntry, Epochs};
pub use index::AbortedTransaction;
