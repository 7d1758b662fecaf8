//! A log directory: one entry of `log.dirs`, with the partitions in it and what they share.
//!
//! It names and finds; opening the partitions is up to their owners. Everything that Apache Kafka would stumble over
//! (a folder that is no partition's, a wrong marker) must never be made here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::Uuid;

use crate::clean_shutdown;
use crate::disk::{Disk, DiskError, DiskLock, EntryKind};
use crate::meta_properties::MetaProperties;

/// The folder of the metadata log.
pub const METADATA_DIR: &str = "__cluster_metadata-0";
const REMOTE_INDEX_CACHE: &str = "remote-log-index-cache";
const LONGEST_NAME: usize = 255;

/// A log directory that this process has locked.
#[derive(Debug)]
pub struct LogDirectory {
    /// Where it is.
    pub path: PathBuf,
    /// The disk it is on.
    pub disk: Arc<dyn Disk>,
    /// Held until this is dropped.
    _lock: DiskLock,
}

/// Why a log directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LogDirectoryError {
    /// Another process uses it.
    #[error("{0} is in use by another process: it holds the lock on {0}/.lock")]
    Locked(PathBuf),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What a folder in a log directory is, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartitionFolder {
    /// A partition's log.
    Current {
        /// The topic's name.
        topic: String,
        /// The partition's number.
        partition: i32,
    },
    /// A copy that is moving here from another log directory.
    Future {
        /// The topic's name.
        topic: String,
        /// The partition's number.
        partition: i32,
    },
    /// On its way out; the rest may be removed.
    Deleted,
    /// Not ours any more, kept for the operator.
    Stray,
    /// The metadata log, or a cache of tiered storage.
    Internal,
    /// Nothing Kafka knows. Java refuses to start with such a folder in place.
    Foreign,
}

impl LogDirectory {
    /// Makes the folder if need be, and locks it.
    ///
    /// # Errors
    /// [`LogDirectoryError`].
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, LogDirectoryError> {
        let mut missing = Vec::new();
        for above in path.ancestors().filter(|above| !above.as_os_str().is_empty()) {
            if disk.stat(above)?.is_some() {
                break;
            }
            missing.push(above);
        }
        if !missing.is_empty() {
            disk.create_dir(path)?;
        }
        for made in missing {
            let holder = made.parent().filter(|holder| !holder.as_os_str().is_empty());
            disk.sync_dir(holder.unwrap_or(Path::new(".")))?;
        }
        let Some(lock) = disk.lock(&path.join(".lock"))? else {
            return Err(LogDirectoryError::Locked(path.to_owned()));
        };
        Ok(Self { path: path.to_owned(), disk, _lock: lock })
    }

    /// Reads `meta.properties`; `None` when the directory has not been formatted.
    ///
    /// # Errors
    /// [`DiskError`]; see [`DiskError::is_corrupt`].
    pub fn meta_properties(&self) -> Result<Option<MetaProperties>, DiskError> {
        MetaProperties::read(&*self.disk, &self.path)
    }

    /// The folders in it with their meaning, by name.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn folders(&self) -> Result<Vec<(String, PartitionFolder)>, DiskError> {
        let entries = self.disk.list(&self.path)?;
        let folders = entries.into_iter().filter(|entry| entry.kind == EntryKind::Dir);
        Ok(folders.map(|entry| (entry.name.clone(), PartitionFolder::of(&entry.name))).collect())
    }

    /// Takes the marker of a clean shutdown away, and says what it was. A crash from now on counts as one.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn take_clean_shutdown(&self) -> Result<clean_shutdown::Marker, DiskError> {
        clean_shutdown::take(&*self.disk, &self.path)
    }

    /// Leaves the marker of a clean shutdown: every log in here has been closed.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn leave_clean_shutdown(&self, broker_epoch: i64) -> Result<(), DiskError> {
        clean_shutdown::leave(&*self.disk, &self.path, broker_epoch)
    }
}

impl PartitionFolder {
    /// The meaning of a name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        if name == METADATA_DIR || name == REMOTE_INDEX_CACHE {
            return Self::Internal;
        }
        let suffixed = ["-delete", "-future", "-stray"].into_iter().find_map(|suffix| {
            let rest = name.strip_suffix(suffix)?;
            let (folder, unique) = rest.rsplit_once('.')?;
            let is_unique = unique.len() == 32 && unique.bytes().all(|c| c.is_ascii_hexdigit());
            is_unique.then_some((suffix, folder))
        });
        let (suffix, folder) = suffixed.unwrap_or(("", name));
        let Some((topic, partition)) = parse_folder(folder) else { return Self::Foreign };
        match suffix {
            "" => Self::Current { topic, partition },
            "-future" => Self::Future { topic, partition },
            "-delete" => Self::Deleted,
            _ => Self::Stray,
        }
    }
}

/// The folder of a partition.
#[must_use]
pub fn folder_name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// The name a partition's folder gets when it is to be removed; `unique` keeps several of them apart.
#[must_use]
pub fn deleted_name(topic: &str, partition: i32, unique: Uuid) -> String {
    suffixed_name(topic, partition, unique, "-delete")
}

/// The name of a partition's folder while it is being copied here from another log directory.
#[must_use]
pub fn future_name(topic: &str, partition: i32, unique: Uuid) -> String {
    format!("{topic}-{partition}.{}-future", hex(unique))
}

/// The name a partition's folder gets when the cluster no longer knows it to be here.
#[must_use]
pub fn stray_name(topic: &str, partition: i32, unique: Uuid) -> String {
    suffixed_name(topic, partition, unique, "-stray")
}

fn suffixed_name(topic: &str, partition: i32, unique: Uuid, suffix: &str) -> String {
    let rest = format!("-{partition}.{}{suffix}", hex(unique));
    let room = LONGEST_NAME - rest.len();
    format!("{}{rest}", topic.get(..room).unwrap_or(topic))
}

fn hex(unique: Uuid) -> String {
    format!("{:032x}", u128::from_be_bytes(unique.0))
}

fn parse_folder(name: &str) -> Option<(String, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let partition = partition.parse::<i32>().ok().filter(|&p| p >= 0)?;
    (!topic.is_empty()).then(|| (topic.to_owned(), partition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    fn current(topic: &str, partition: i32) -> PartitionFolder {
        PartitionFolder::Current { topic: topic.to_owned(), partition }
    }

    #[test]
    fn names_are_read_as_kafka_reads_them() {
        let unique = Uuid::from_random([7; 16]);
        assert_eq!(PartitionFolder::of("orders-3"), current("orders", 3));
        assert_eq!(PartitionFolder::of("a-b.c_d-12"), current("a-b.c_d", 12));
        assert_eq!(PartitionFolder::of("x-delete-0"), current("x-delete", 0));
        assert_eq!(PartitionFolder::of(&folder_name("t", 0)), current("t", 0));
        assert_eq!(PartitionFolder::of(&deleted_name("t", 0, unique)), PartitionFolder::Deleted);
        assert_eq!(PartitionFolder::of(&stray_name("t", 0, unique)), PartitionFolder::Stray);
        let future = PartitionFolder::Future { topic: "t".to_owned(), partition: 4 };
        assert_eq!(PartitionFolder::of(&future_name("t", 4, unique)), future);
        assert_eq!(PartitionFolder::of(METADATA_DIR), PartitionFolder::Internal);
        for foreign in ["lost+found", "t", "t-", "-1", "t-0-delete", "t-0.abc-delete"] {
            assert_eq!(PartitionFolder::of(foreign), PartitionFolder::Foreign, "{foreign}");
        }
    }

    #[test]
    fn a_name_for_deletion_fits_the_file_system() {
        let name = deleted_name(&"t".repeat(249), 2_000_000, Uuid::from_random([1; 16]));
        assert_eq!(name.len(), LONGEST_NAME);
        assert_eq!(PartitionFolder::of(&name), PartitionFolder::Deleted);
    }

    #[test]
    fn two_cannot_have_one_directory() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let path = Path::new("/data/kafka");
        let first = LogDirectory::open(Arc::clone(&disk), path).unwrap();
        let second = LogDirectory::open(Arc::clone(&disk), path);
        assert!(matches!(second, Err(LogDirectoryError::Locked(_))));
        drop(first);
        assert!(LogDirectory::open(disk, path).is_ok());
    }

    #[test]
    fn a_new_directory_outlives_the_power() {
        let memory = MemoryDisk::new();
        let path = Path::new("/data/deep/kafka");
        let directory = LogDirectory::open(Arc::new(memory.clone()), path).unwrap();
        directory.leave_clean_shutdown(3).unwrap();
        memory.reboot(crate::disk::Crash::Power);
        let directory = LogDirectory::open(Arc::new(memory.clone()), path).unwrap();
        assert_eq!(directory.take_clean_shutdown().unwrap().broker_epoch(), 3);
    }
}
