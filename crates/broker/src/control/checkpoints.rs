//! The checkpoint files of the log directories: rows from all cores, merged and written.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use ottla_log::DiskError;
use ottla_log::checkpoint::{OffsetCheckpoint, Offsets};
use ottla_protocol::Offset;

use crate::control::directories::{CheckpointRow, Directories};

/// See the module.
#[derive(Debug)]
pub struct Checkpoints {
    directories: Arc<Directories>,
    /// By index of the directory.
    files: Vec<Files>,
    /// Directories that have failed, by index: nothing is written there any more.
    failed: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct Files {
    recovery_points: Offsets,
    log_starts: Offsets,
    high_watermarks: Offsets,
    changed: bool,
}

impl Checkpoints {
    /// Begins with nothing: every hosted partition reports itself.
    #[must_use]
    pub fn new(directories: Arc<Directories>) -> Self {
        let files = directories.all().iter().map(|_| Files::default()).collect();
        Self { directories, files, failed: BTreeSet::new() }
    }

    /// Takes rows in.
    pub fn merge(&mut self, rows: Vec<CheckpointRow>) {
        for row in rows {
            let Some(files) = self.files.get_mut(row.directory) else { continue };
            let key = (String::from(&*row.topic), row.partition);
            files.recovery_points.insert(key.clone(), row.recovery_point);
            if row.log_start > Offset::ZERO {
                files.log_starts.insert(key.clone(), row.log_start);
            }
            files.high_watermarks.insert(key, row.high_watermark);
            files.changed = true;
        }
    }

    /// Forgets a partition that has been deleted.
    pub fn forget(&mut self, directory: usize, topic: &str, partition: i32) {
        let Some(files) = self.files.get_mut(directory) else { return };
        let key = (String::from(topic), partition);
        files.recovery_points.remove(&key);
        files.log_starts.remove(&key);
        files.high_watermarks.remove(&key);
        files.changed = true;
    }

    /// Writes to a directory no more. Gives how many are left.
    pub fn directory_failed(&mut self, path: &Path) -> usize {
        let index = (0..self.files.len()).find(|&index| self.directories.path(index) == path);
        self.failed.extend(index);
        self.files.len() - self.failed.len()
    }

    /// Writes what has changed, each file as a whole.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&mut self) -> Result<(), DiskError> {
        for (index, (directory, files)) in self.directories.all().iter().zip(&mut self.files).enumerate() {
            if !std::mem::take(&mut files.changed) || self.failed.contains(&index) {
                continue;
            }
            let (disk, path) = (&*directory.log_directory.disk, &directory.log_directory.path);
            OffsetCheckpoint::RecoveryPoint.write(disk, path, &files.recovery_points)?;
            OffsetCheckpoint::LogStart.write(disk, path, &files.log_starts)?;
            OffsetCheckpoint::Replication.write(disk, path, &files.high_watermarks)?;
        }
        Ok(())
    }

    /// Leaves the markers of a clean end, after the last rows have been written.
    ///
    /// # Errors
    /// The disk's.
    pub fn leave_clean(&mut self, broker_epoch: i64) -> Result<(), DiskError> {
        self.write()?;
        for (index, directory) in self.directories.all().iter().enumerate() {
            if self.failed.contains(&index) {
                continue;
            }
            directory.log_directory.leave_clean_shutdown(broker_epoch)?;
        }
        Ok(())
    }
}
