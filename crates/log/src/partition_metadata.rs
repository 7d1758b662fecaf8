//! `partition.metadata`: the topic id of a partition's folder, written before the first append.

use std::io::IoSlice;
use std::path::Path;

use ottla_protocol::{TopicId, Uuid};

use crate::disk::{Disk, DiskError};

/// The file's name.
pub const FILE_NAME: &str = "partition.metadata";

/// Reads the topic id of the partition in `dir`; `None` where there is no file.
///
/// # Errors
/// [`DiskError`]; see [`DiskError::is_corrupt`].
pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<TopicId>, DiskError> {
    let path = dir.join(FILE_NAME);
    let Some(bytes) = disk.read(&path)? else { return Ok(None) };
    let corrupt = |what: &str| DiskError::corrupt(&path, what);
    let text = std::str::from_utf8(&bytes).map_err(|_| corrupt("not text"))?;
    let mut lines = text.lines().map(|line| line.split_once(':').map(|(_, value)| value.trim()));
    // A later version must be readable by this one: that is what Kafka promises for downgrades.
    let version = lines.next().flatten().and_then(|version| version.parse::<i32>().ok());
    version.filter(|&version| version >= 0).ok_or_else(|| corrupt("no version"))?;
    let id = lines.next().flatten().and_then(|id| id.parse::<Uuid>().ok());
    id.filter(|id| !id.is_zero()).map(Some).ok_or_else(|| corrupt("no topic id"))
}

/// Whose folder `dir` is; `None` where there is no file, or it cannot be read any more.
///
/// # Errors
/// [`DiskError`], never [`DiskError::is_corrupt`].
pub fn owner(disk: &dyn Disk, dir: &Path) -> Result<Option<TopicId>, DiskError> {
    read(disk, dir).or_else(|error| {
        if !error.is_corrupt() {
            return Err(error);
        }
        tracing::warn!(%error, "a folder does not say whose it is");
        Ok(None)
    })
}

/// Writes the topic id of the partition in `dir`. It goes to the disk with the log's first flush, so that making a
/// thousand partitions does not cost thousands of syncs; before that flush nothing in the folder is there for good.
///
/// # Errors
/// [`DiskError`].
pub fn write_unsynced(disk: &dyn Disk, dir: &Path, id: TopicId) -> Result<(), DiskError> {
    let file = disk.create(&dir.join(FILE_NAME))?;
    file.write_at(&[IoSlice::new(text(id).as_bytes())], 0)
}

fn text(id: TopicId) -> String {
    format!("version: 0\ntopic_id: {id}")
}

/// Writes the topic id of the partition in `dir`, for good.
///
/// # Errors
/// [`DiskError`].
pub fn write(disk: &dyn Disk, dir: &Path, id: TopicId) -> Result<(), DiskError> {
    disk.replace(&dir.join(FILE_NAME), text(id).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn the_id_comes_back_in_kafkas_form() {
        let disk = MemoryDisk::new();
        let dir = Path::new("/t-0");
        disk.create_dir(dir).unwrap();
        assert_eq!(read(&disk, dir).unwrap(), None);
        write(&disk, dir, Uuid::METADATA_TOPIC).unwrap();
        let bytes = disk.read(&dir.join(FILE_NAME)).unwrap().unwrap();
        assert_eq!(bytes, b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(read(&disk, dir).unwrap(), Some(Uuid::METADATA_TOPIC));
    }

    #[test]
    fn damage_is_told() {
        let disk = MemoryDisk::new();
        let dir = Path::new("/t-0");
        disk.create_dir(dir).unwrap();
        let zero = format!("version: 0\ntopic_id: {}", Uuid::ZERO);
        for text in [
            "",
            "version: 0",
            "version: x\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ",
            "version: 0\ntopic_id: A",
            &zero,
        ] {
            disk.replace(&dir.join(FILE_NAME), text.as_bytes()).unwrap();
            assert!(read(&disk, dir).unwrap_err().is_corrupt(), "{text:?}");
        }
    }
}
