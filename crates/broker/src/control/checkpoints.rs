//! The checkpoint files of the log directories: rows from all cores, merged and written.
//!
//! A row names a topic, and names are used again: a row of a topic that is gone must be out of the file before a new
//! one of that name is opened, or the new one would be cut to the old one's offsets after a crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_log::DiskError;
use ottla_log::checkpoint::{OffsetCheckpoint, Offsets};
use ottla_protocol::{Offset, PartitionId, TopicId};

use crate::control::directories::{CheckpointRow, Directories};

/// See the module.
#[derive(Debug)]
pub struct Checkpoints {
    directories: Arc<Directories>,
    /// By index of the directory.
    files: Vec<Files>,
}

#[derive(Debug, Default)]
struct Files {
    rows: BTreeMap<(String, i32), Row>,
    /// The files say something else.
    changed: bool,
    /// The files have rows that nobody must find again.
    outdated: bool,
    /// The directory has failed: nothing is written there any more.
    failed: bool,
}

#[derive(Debug)]
struct Row {
    /// Whose it is; `None` where the folder does not say.
    topic: Option<TopicId>,
    recovery_point: Offset,
    log_start: Offset,
    high_watermark: Offset,
}

impl Checkpoints {
    /// Begins with what the last life has left of partitions that are still there.
    #[must_use]
    pub fn new(directories: Arc<Directories>) -> Self {
        let mut files: Vec<Files> = directories.all().iter().map(|_| Files::default()).collect();
        for (topic, partition, found) in directories.found() {
            let recovered = &directories.all()[found.directory].recovered;
            let key = (String::from(topic), partition);
            let offset = |offsets: &Offsets| offsets.get(&key).copied();
            let offsets = [&recovered.recovery_points, &recovered.log_starts, &recovered.high_watermarks];
            let [recovery_point, log_start, high_watermark] = offsets.map(offset);
            if recovery_point.or(log_start).or(high_watermark).is_some() {
                let row = Row {
                    topic: found.topic,
                    recovery_point: recovery_point.unwrap_or(Offset::ZERO),
                    log_start: log_start.unwrap_or(Offset::ZERO),
                    high_watermark: high_watermark.unwrap_or(Offset::ZERO),
                };
                files[found.directory].rows.insert(key, row);
            }
        }
        for (files, directory) in files.iter_mut().zip(directories.all()) {
            let recovered = &directory.recovered;
            let all = [&recovered.recovery_points, &recovered.log_starts, &recovered.high_watermarks];
            files.outdated =
                all.iter().any(|offsets| offsets.keys().any(|key| !files.rows.contains_key(key)));
        }
        Self { directories, files }
    }

    /// Takes rows in.
    pub fn merge(&mut self, rows: Vec<CheckpointRow>) {
        for row in rows {
            let Some(files) = self.files.get_mut(row.directory) else { continue };
            let key = (String::from(&*row.topic), row.id.index);
            let CheckpointRow { recovery_point, log_start, high_watermark, .. } = row;
            let row = Row { topic: Some(row.id.topic), recovery_point, log_start, high_watermark };
            files.rows.insert(key, row);
            files.changed = true;
        }
    }

    /// Forgets a partition that is no longer in a directory.
    pub fn forget(&mut self, directory: usize, topic: &str, partition: i32) {
        let Some(files) = self.files.get_mut(directory) else { return };
        files.outdated |= files.rows.remove(&(String::from(topic), partition)).is_some();
    }

    /// Forgets what is said of partitions with this one's name that are others.
    pub fn make_way(&mut self, topic: &str, id: PartitionId) {
        let key = (String::from(topic), id.index);
        for files in &mut self.files {
            if files.rows.get(&key).is_some_and(|row| row.topic != Some(id.topic)) {
                files.rows.remove(&key);
                files.outdated = true;
            }
        }
    }

    /// Writes to a directory no more.
    pub fn directory_failed(&mut self, directory: usize) {
        self.files[directory].failed = true;
    }

    /// Writes what has changed, each file as a whole. Gives the directories in which that failed; without room the
    /// files stay as they are until the next time.
    pub fn write(&mut self) -> Vec<(usize, DiskError)> {
        self.write_where(|files| files.changed || files.outdated)
    }

    /// Takes the rows out of the files that nobody must find again; as [`Checkpoints::write`].
    pub fn write_outdated(&mut self) -> Vec<(usize, DiskError)> {
        self.write_where(|files| files.outdated)
    }

    fn write_where(&mut self, is_due: impl Fn(&Files) -> bool) -> Vec<(usize, DiskError)> {
        let mut failures = Vec::new();
        for (index, (directory, files)) in self.directories.all().iter().zip(&mut self.files).enumerate() {
            if files.failed || !is_due(files) {
                continue;
            }
            match files.write(&*directory.log_directory.disk, &directory.log_directory.path) {
                Ok(()) => (files.changed, files.outdated) = (false, false),
                Err(error) if error.is_passing() => {
                    tracing::warn!(%error, "the checkpoint files have to wait");
                }
                Err(error) => {
                    files.failed = true;
                    failures.push((index, error));
                }
            }
        }
        failures
    }

    /// Leaves the markers of a clean end, after the last rows have been written. Where that cannot be done the next
    /// start looks through the logs. Gives the directories that failed.
    pub fn leave_clean(&mut self, broker_epoch: i64) -> Vec<(usize, DiskError)> {
        let mut failures = self.write();
        for (index, directory) in self.directories.all().iter().enumerate() {
            let files = &self.files[index];
            if files.failed || files.changed || files.outdated {
                continue;
            }
            if let Err(error) = directory.log_directory.leave_clean_shutdown(broker_epoch) {
                failures.push((index, error));
            }
        }
        failures
    }
}

impl Files {
    fn write(&self, disk: &dyn ottla_log::Disk, path: &std::path::Path) -> Result<(), DiskError> {
        let offsets = |offset: fn(&Row) -> Offset| -> Offsets {
            self.rows.iter().map(|(key, row)| (key.clone(), offset(row))).collect()
        };
        let mut log_starts = offsets(|row| row.log_start);
        log_starts.retain(|_, start| *start > Offset::ZERO);
        // A recovery point that is too low costs time; a high one over another topic's log costs records.
        OffsetCheckpoint::RecoveryPoint.write(disk, path, &offsets(|row| row.recovery_point))?;
        OffsetCheckpoint::LogStart.write(disk, path, &log_starts)?;
        OffsetCheckpoint::Replication.write(disk, path, &offsets(|row| row.high_watermark))
    }
}
