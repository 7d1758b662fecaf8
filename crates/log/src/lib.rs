//! A partition's bytes on disk, in Apache Kafka's directory layout.

pub mod checkpoint;
pub mod clean_shutdown;
pub mod directory;
pub mod disk;
pub mod epochs;
pub mod meta_properties;
pub mod partition_metadata;

pub use disk::{Disk, DiskError, DiskFile, MemoryDisk, OsDisk};
pub use epochs::{EpochEntry, Epochs};
