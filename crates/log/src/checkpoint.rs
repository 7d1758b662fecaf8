//! Kafka's text checkpoints: a version, a count, and a line per entry.
//!
//! They are written beside, synced and renamed, so one that does not parse has rotted rather than been torn. An empty
//! file is an empty checkpoint, for Kafka makes the file before it has anything to say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ottla_protocol::{LeaderEpoch, Offset};

use crate::disk::{Disk, DiskError};
use crate::epochs::EpochEntry;

const VERSION: &str = "0";

/// One of the files of a log directory that have an offset per partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffsetCheckpoint {
    /// Everything below is on the disk for good.
    RecoveryPoint,
    /// Where the log begins, if later than its first segment does.
    LogStart,
    /// The high watermark.
    Replication,
    /// Where the cleaner goes on: the first offset it has not seen.
    Cleaner,
}

/// Offsets by topic name and partition.
pub type Offsets = BTreeMap<(String, i32), Offset>;

impl OffsetCheckpoint {
    /// All four.
    pub const ALL: [Self; 4] = [Self::RecoveryPoint, Self::LogStart, Self::Replication, Self::Cleaner];

    /// The file's name.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::RecoveryPoint => "recovery-point-offset-checkpoint",
            Self::LogStart => "log-start-offset-checkpoint",
            Self::Replication => "replication-offset-checkpoint",
            Self::Cleaner => "cleaner-offset-checkpoint",
        }
    }

    /// Reads the checkpoint of a log directory; without a file it is empty.
    ///
    /// # Errors
    /// [`DiskError`]; when the file does not parse, [`DiskError::is_corrupt`]. To take such a one for empty is safe:
    /// it costs a recovery.
    pub fn read(self, disk: &dyn Disk, directory: &Path) -> Result<Offsets, DiskError> {
        let path = self.path(directory);
        let Some(bytes) = disk.read(&path)? else { return Ok(Offsets::new()) };
        parse(&path, &bytes, |line| {
            let mut words = line.split_ascii_whitespace();
            let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
            let entry = ((topic.to_owned(), partition.parse().ok()?), Offset(offset.parse().ok()?));
            (words.next().is_none() && entry.1 >= Offset::ZERO).then_some(entry)
        })
        .map(|entries| entries.into_iter().collect())
    }

    /// Replaces the checkpoint of a log directory, for good.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn write(self, disk: &dyn Disk, directory: &Path, offsets: &Offsets) -> Result<(), DiskError> {
        let lines =
            offsets.iter().map(|((topic, partition), offset)| format!("{topic} {partition} {offset}"));
        disk.replace(&self.path(directory), format(lines).as_bytes())
    }

    fn path(self, directory: &Path) -> PathBuf {
        directory.join(self.file_name())
    }
}

/// Name of the file with the leader epochs of a partition.
pub(crate) const EPOCHS_FILE: &str = "leader-epoch-checkpoint";

/// Reads the leader epochs of the partition in `dir`, as they stand in the file.
///
/// # Errors
/// [`DiskError`]; see [`DiskError::is_corrupt`].
pub(crate) fn read_epochs(disk: &dyn Disk, dir: &Path) -> Result<Vec<EpochEntry>, DiskError> {
    let path = dir.join(EPOCHS_FILE);
    let Some(bytes) = disk.read(&path)? else { return Ok(Vec::new()) };
    parse(&path, &bytes, |line| {
        let (epoch, start) = line.trim_end().split_once(' ')?;
        let entry =
            EpochEntry { epoch: LeaderEpoch(epoch.parse().ok()?), start: Offset(start.parse().ok()?) };
        (entry.epoch.0 >= 0 && entry.start.0 >= 0).then_some(entry)
    })
}

/// Replaces the file with the leader epochs of the partition in `dir`, for good.
pub(crate) fn write_epochs(disk: &dyn Disk, dir: &Path, epochs: &[EpochEntry]) -> Result<(), DiskError> {
    let lines = epochs.iter().map(|entry| format!("{} {}", entry.epoch, entry.start));
    disk.replace(&dir.join(EPOCHS_FILE), format(lines).as_bytes())
}

fn format(lines: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = format!("{VERSION}\n{}\n", lines.len());
    for line in lines {
        let _ = writeln!(text, "{line}");
    }
    text
}

fn parse<T>(path: &Path, bytes: &[u8], entry: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, DiskError> {
    let corrupt = |what: String| DiskError::corrupt(path, what);
    let text = std::str::from_utf8(bytes).map_err(|_| corrupt("not text".to_owned()))?;
    let mut lines = text.lines();
    let Some(version) = lines.next() else { return Ok(Vec::new()) };
    if version.trim() != VERSION {
        return Err(corrupt(format!("version {version:?}, and only {VERSION} is known")));
    }
    let Some(count) = lines.next() else { return Ok(Vec::new()) };
    let count: usize = count.trim().parse().map_err(|_| corrupt(format!("{count:?} is no count")))?;
    let mut entries = Vec::new();
    for line in lines {
        entries.push(entry(line).ok_or_else(|| corrupt(format!("malformed line {line:?}")))?);
    }
    if entries.len() != count {
        return Err(corrupt(format!("{count} entries were promised and {} are there", entries.len())));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    const DIR: &str = "/data";

    fn disk_with(name: &str, content: &str) -> MemoryDisk {
        let disk = MemoryDisk::new();
        disk.create_dir(Path::new(DIR)).unwrap();
        disk.replace(&Path::new(DIR).join(name), content.as_bytes()).unwrap();
        disk
    }

    #[test]
    fn offsets_are_written_as_kafka_writes_them() {
        let disk = disk_with("other", "");
        let dir = Path::new(DIR);
        let offsets =
            Offsets::from([(("a.b_c-d".to_owned(), 0), Offset(42)), (("z".to_owned(), 7), Offset(0))]);
        for checkpoint in OffsetCheckpoint::ALL {
            assert_eq!(checkpoint.read(&disk, dir).unwrap(), Offsets::new());
            checkpoint.write(&disk, dir, &offsets).unwrap();
            assert_eq!(checkpoint.read(&disk, dir).unwrap(), offsets);
        }
        let bytes = disk.read(&dir.join("cleaner-offset-checkpoint")).unwrap().unwrap();
        assert_eq!(bytes, b"0\n2\na.b_c-d 0 42\nz 7 0\n");
        assert_eq!(disk.list(dir).unwrap().len(), 5, "no draft stays behind");
    }

    #[test]
    fn a_damaged_file_is_told_from_an_empty_one() {
        let name = OffsetCheckpoint::RecoveryPoint.file_name();
        let read = |text: &str| OffsetCheckpoint::RecoveryPoint.read(&disk_with(name, text), Path::new(DIR));
        for empty in ["", "0\n", "0\n0\n"] {
            assert_eq!(read(empty).unwrap(), Offsets::new());
        }
        for damaged in
            ["1\n0\n", "0\nx\n", "0\n2\na 0 1\n", "0\n1\na 0\n", "0\n1\na 0 -1\n", "0\n1\na 0 1 2\n"]
        {
            assert!(read(damaged).unwrap_err().is_corrupt(), "{damaged:?}");
        }
    }

    #[test]
    fn epochs_come_back() {
        let disk = disk_with("other", "");
        let epochs = [(0, 0), (3, 17)].map(|(epoch, start)| EpochEntry::new(epoch, start));
        write_epochs(&disk, Path::new(DIR), &epochs).unwrap();
        assert_eq!(disk.read(&Path::new(DIR).join(EPOCHS_FILE)).unwrap().unwrap(), b"0\n2\n0 0\n3 17\n");
        assert_eq!(read_epochs(&disk, Path::new(DIR)).unwrap(), epochs);
    }
}
