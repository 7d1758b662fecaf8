//! The log directories of a node: what was found in them at the start, and where each partition lies.
//!
//! Fixed once the node has started, so every core may look without a lock. What changes, the checkpoint files, is
//! written by control alone ([`super::checkpoints`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::checkpoint::{OffsetCheckpoint, Offsets};
use ottla_log::directory::{LogDirectory, PartitionFolder, deleted_name, folder_name, stray_name};
use ottla_log::{DiskError, Log, LogConfig, OpenHint, Stop, partition_metadata, redo};
use ottla_protocol::{Now, Offset, PartitionId, TopicId, Uuid};

/// See the module.
#[derive(Debug)]
pub struct Directories {
    directories: Vec<Directory>,
    /// Where the folders of partitions were found at the start.
    found: BTreeMap<(String, i32), FoundFolder>,
    /// Directories that could not be opened at the start.
    lost: Vec<PathBuf>,
}

/// The folder of a partition that was found at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundFolder {
    /// Index of its directory.
    pub directory: usize,
    /// Whose partition it is; `None` where the folder does not say.
    pub topic: Option<TopicId>,
}

/// One directory.
#[derive(Debug)]
pub struct Directory {
    /// The locked folder.
    pub log_directory: LogDirectory,
    /// Its `directory.id`.
    pub id: Uuid,
    /// What it remembered of the life before.
    pub recovered: Recovered,
}

/// What a log directory says of the node's last life.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The last life ended in good order: no log needs to be scanned.
    pub clean: bool,
    /// The broker epoch of that life, −1 if it did not end in good order.
    pub broker_epoch: i64,
    /// Everything below these offsets was on the disk.
    pub recovery_points: Offsets,
    /// Log starts above the first segment's.
    pub log_starts: Offsets,
    /// High watermarks.
    pub high_watermarks: Offsets,
}

/// What the checkpoint files say of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRow {
    /// Index of the directory.
    pub directory: usize,
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub id: PartitionId,
    /// Everything below is on the disk.
    pub recovery_point: Offset,
    /// The log's first offset.
    pub log_start: Offset,
    /// The high watermark.
    pub high_watermark: Offset,
}

impl Directory {
    /// Reads the markers and checkpoints of a locked directory. The marker of a clean end is taken away, so that a
    /// crash from now on counts as one (KAFKA-10471). Without one, logs get back from the redo files what they have lost.
    ///
    /// # Errors
    /// The disk's.
    pub fn open(log_directory: LogDirectory, id: Uuid, now: Now) -> Result<Self, DiskError> {
        let marker = log_directory.take_clean_shutdown()?;
        let read = |checkpoint: OffsetCheckpoint| {
            // A torn checkpoint is as good as none: everything is recovered.
            checkpoint.read(&*log_directory.disk, &log_directory.path).or_else(|error| {
                if !error.is_corrupt() {
                    return Err(error);
                }
                tracing::warn!(%error, "a checkpoint file cannot be read and is treated as empty");
                Ok(Offsets::default())
            })
        };
        let recovered = Recovered {
            clean: marker.is_clean(),
            broker_epoch: marker.broker_epoch(),
            recovery_points: read(OffsetCheckpoint::RecoveryPoint)?,
            log_starts: read(OffsetCheckpoint::LogStart)?,
            high_watermarks: read(OffsetCheckpoint::Replication)?,
        };
        let LogDirectory { disk, path, .. } = &log_directory;
        if !recovered.clean {
            redo::restore(disk, path, &recovered.recovery_points, now).inspect_err(|error| {
                tracing::error!(
                    %error,
                    "acknowledged records wait in {}/ottla-redo-*: mend what is said here, and start again",
                    path.display()
                );
            })?;
        }
        Ok(Self { log_directory, id, recovered })
    }
}

impl Directories {
    /// Looks through the directories; `lost` are those of `log.dirs` that could not be opened.
    ///
    /// # Errors
    /// The disk's; two directories that hold the same partition.
    pub fn new(directories: Vec<Directory>, lost: Vec<PathBuf>) -> Result<Self, DiskError> {
        let mut found = BTreeMap::new();
        for (index, directory) in directories.iter().enumerate() {
            for (name, folder) in directory.log_directory.folders()? {
                match folder {
                    PartitionFolder::Current { topic, partition } => {
                        let path = directory.log_directory.path.join(&name);
                        let owner = partition_metadata::owner(&*directory.log_directory.disk, &path)?;
                        let folder = FoundFolder { directory: index, topic: owner };
                        if let Some(other) = found.insert((topic, partition), folder) {
                            let other = &directories[other.directory].log_directory.path;
                            let other = other.display().to_string();
                            return Err(DiskError::corrupt(
                                &path,
                                format!("{other} holds the same partition"),
                            ));
                        }
                    }
                    PartitionFolder::Deleted => {
                        directory.log_directory.disk.remove_dir(&directory.log_directory.path.join(&name))?;
                    }
                    PartitionFolder::Future { .. } | PartitionFolder::Stray | PartitionFolder::Internal => {}
                    PartitionFolder::Foreign => tracing::warn!(
                        folder = %directory.log_directory.path.join(&name).display(),
                        "a folder that is no partition's lies in a log directory; Apache Kafka would not start here"
                    ),
                }
            }
        }
        Ok(Self { directories, found, lost })
    }

    /// Every directory, in the order of `log.dirs`.
    #[must_use]
    pub fn all(&self) -> &[Directory] {
        &self.directories
    }

    /// The folders of partitions that were found at the start.
    pub fn found(&self) -> impl Iterator<Item = (&str, i32, FoundFolder)> {
        self.found.iter().map(|((topic, partition), &folder)| (topic.as_str(), *partition, folder))
    }

    /// The directory in which a partition's own folder was found at the start.
    #[must_use]
    pub fn found_at(&self, topic: &str, id: PartitionId) -> Option<usize> {
        let folder = self.found.get(&(String::from(topic), id.index))?;
        (folder.topic == Some(id.topic)).then_some(folder.directory)
    }

    /// The directories of `log.dirs` that could not be opened at the start.
    #[must_use]
    pub fn lost(&self) -> &[PathBuf] {
        &self.lost
    }

    /// The broker epoch of the last life, if every directory says that it ended in good order.
    #[must_use]
    pub fn previous_broker_epoch(&self) -> i64 {
        let mut epochs = self.directories.iter().map(|directory| directory.recovered.broker_epoch);
        let first = epochs.next().unwrap_or(-1);
        if epochs.all(|epoch| epoch == first) { first } else { -1 }
    }

    /// The index of a directory by its id.
    #[must_use]
    pub fn by_id(&self, id: Uuid) -> Option<usize> {
        self.directories.iter().position(|directory| directory.id == id)
    }

    /// Where a directory is.
    #[must_use]
    pub fn path(&self, directory: usize) -> PathBuf {
        self.directories[directory].log_directory.path.clone()
    }

    /// The id of a directory.
    #[must_use]
    pub fn id(&self, directory: usize) -> Uuid {
        self.directories[directory].id
    }

    /// Opens, or makes, the log of a partition, and says what its high watermark was.
    ///
    /// # Errors
    /// The disk's; a folder that belongs to another topic of the same name is moved out of the way first.
    pub fn open_log(
        &self,
        directory: usize,
        topic: &str,
        id: PartitionId,
        config: &LogConfig,
        now: Now,
    ) -> Result<(Log, Offset), DiskError> {
        let Directory { log_directory, recovered, .. } = &self.directories[directory];
        let disk = &log_directory.disk;
        let dir = log_directory.path.join(folder_name(topic, id.index));
        let known = match disk.stat(&dir)? {
            Some(_) => match partition_metadata::owner(&**disk, &dir)? {
                Some(owner) if owner == id.topic => true,
                Some(owner) => {
                    set_aside(log_directory, &dir, topic, PartitionId { topic: owner, index: id.index })?;
                    false
                }
                // The power went before the first flush: nothing here was ever promised to anybody, and it may be what
                // is left of an earlier topic of this name.
                None => {
                    disown(log_directory, &dir, topic, id)?;
                    false
                }
            },
            None => false,
        };
        let key = (String::from(topic), id.index);
        let offset = |offsets: &Offsets| if known { offsets.get(&key).copied() } else { None };
        // An attempt to make it may have failed half-way.
        let is_old = self.found_at(topic, id) == Some(directory);
        let hint = OpenHint {
            // Of a folder that is only now made, nothing is on the disk yet, not even its name.
            stop: if recovered.clean && known && is_old { Stop::Clean } else { Stop::Unclean },
            recovery_point: offset(&recovered.recovery_points).unwrap_or(Offset::ZERO),
            log_start: offset(&recovered.log_starts).unwrap_or(Offset::ZERO),
        };
        if !known {
            disk.create_dir(&dir)?;
            partition_metadata::write_unsynced(&**disk, &dir, id.topic)?;
        }
        let jitter_seed =
            u64::from_be_bytes(*id.topic.0.last_chunk().unwrap_or(&[0; 8])) ^ id.index.unsigned_abs() as u64;
        let config = LogConfig { jitter_seed, ..*config };
        // What would be opened next is asked for before a log is recovered that could not stay open.
        if disk.open(&dir.join(partition_metadata::FILE_NAME))?.is_among_last() {
            return Err(DiskError::without_descriptor("keep open", &dir));
        }
        let log = Log::open(Arc::clone(disk), dir, config, hint, now)?;
        let high_watermark = offset(&recovered.high_watermarks).unwrap_or(Offset::ZERO);
        Ok((log, high_watermark))
    }

    /// Sets the folders aside that were found at the start and that the cluster does not want here: `wanted` says of
    /// each, by topic name, partition and topic id. They get Kafka's name for strays and are left to the operator.
    ///
    /// # Errors
    /// The disk's.
    pub fn set_strays_aside(&self, wanted: impl Fn(&str, i32, Uuid) -> bool) -> Result<(), DiskError> {
        for ((topic, partition), &FoundFolder { directory, .. }) in &self.found {
            let LogDirectory { disk, path, .. } = &self.directories[directory].log_directory;
            let dir = path.join(folder_name(topic, *partition));
            // It may have been deleted, or set aside, since.
            if disk.stat(&dir)?.is_none() {
                continue;
            }
            let owner = partition_metadata::owner(&**disk, &dir)?;
            if owner.is_some_and(|owner| wanted(topic, *partition, owner)) {
                continue;
            }
            let aside = path.join(stray_name(topic, *partition, owner.unwrap_or(Uuid::ZERO)));
            tracing::warn!(from = %dir.display(), to = %aside.display(), "the cluster does not know this partition here");
            disk.rename(&dir, &aside)?;
        }
        Ok(())
    }

    /// Renames the folder of a deleted partition, so that its name is free, and removes it; whoever wants the name is told
    /// to wait until that is done. Nothing is synced: what a power failure brings back is found to be a stray.
    ///
    /// # Errors
    /// The disk's.
    pub fn delete_log(
        &self,
        directory: usize,
        log: Log,
        topic: &str,
        id: PartitionId,
    ) -> Result<(), DiskError> {
        drop(log);
        let log_directory = &self.directories[directory].log_directory;
        let dir = log_directory.path.join(folder_name(topic, id.index));
        let gone = set_aside(log_directory, &dir, topic, id)?;
        match log_directory.disk.remove_dir(&gone) {
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "the folder of a deleted partition stays until the next start");
                Ok(())
            }
            outcome => outcome,
        }
    }
}

/// Takes a folder out of the way that does not say whose it is: with records in it, it is left to the operator.
fn disown(directory: &LogDirectory, dir: &Path, topic: &str, id: PartitionId) -> Result<(), DiskError> {
    let disk = &directory.disk;
    let mut empty = true;
    for entry in disk.list(dir)? {
        let is_log = entry.name.ends_with(".log");
        empty &= !is_log || disk.stat(&dir.join(&entry.name))?.is_none_or(|file| file.length == 0);
    }
    if empty {
        return disk.remove_dir(dir);
    }
    for number in 0.. {
        // Any name that is free will do.
        let unique = u128::from_be_bytes(id.topic.0).wrapping_add(number);
        let unique = Uuid(unique.to_be_bytes());
        let aside = directory.path.join(stray_name(topic, id.index, unique));
        if disk.stat(&aside)?.is_none() {
            tracing::warn!(from = %dir.display(), to = %aside.display(), "a folder that does not say whose it is");
            return disk.rename(dir, &aside);
        }
    }
    Ok(())
}

/// Gives a partition's folder the name of a deleted one.
fn set_aside(
    directory: &LogDirectory,
    dir: &Path,
    topic: &str,
    id: PartitionId,
) -> Result<PathBuf, DiskError> {
    let gone = directory.path.join(deleted_name(topic, id.index, id.topic));
    directory.disk.rename(dir, &gone)?;
    Ok(gone)
}
