//! After an unclean stop: what the redo files have and a log has lost is appended to the log again.
//!
//! Where only the process ended, the batches are where they were, and a look tells. Otherwise the log is opened: an
//! entry that begins at its end is appended, one below is there already or has been replaced by a later leader epoch.
//! An entry of a later epoch than what stands in its place wins. What lay in a redo file and was truncated since may
//! come back, as batches of an epoch that has ended; whoever follows a leader compares epochs before anything else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::batch::{BatchError, StampedBatch, split};
use ottla_protocol::{Now, Offset, TopicId};

use super::entry::{self, Entry};
use crate::checkpoint::Offsets;
use crate::config::{Cleanup, LogConfig};
use crate::directory::PartitionFolder;
use crate::disk::{Disk, DiskError, DiskFile};
use crate::log::Log;
use crate::partition_metadata;
use crate::place::{LOG, Place};
use crate::recovery::{OpenHint, Stop};

/// What [`restore`] has found and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Logs of which there was something in redo files.
    pub logs: usize,
    /// Batches that were appended again.
    pub batches: usize,
}

/// Gives the logs of a directory back what they have lost, puts them on the disk and removes the redo files. The logs must
/// not be open. `recovery_points` are those of the checkpoint.
///
/// # Errors
/// [`DiskError`]; the redo files are then still there.
pub fn restore(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    recovery_points: &Offsets,
    now: Now,
) -> Result<Restored, DiskError> {
    let mut files = Vec::new();
    for path in super::paths(&**disk, directory)? {
        let bytes = disk.read(&path)?.unwrap_or_default();
        files.extend(entry::read(Bytes::from(bytes)));
    }
    // A log is in the files of one core only, so the order of two cores' files does not matter.
    files.sort_by_key(|(sequence, _)| *sequence);
    let mut by_folder: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in files.into_iter().flat_map(|(_, entries)| entries) {
        by_folder.entry(entry.folder.clone()).or_default().push(entry);
    }
    let mut restored = Restored::default();
    for (folder, mut entries) in by_folder {
        let place = Place::new(Arc::clone(disk), directory.join(&folder));
        let PartitionFolder::Current { topic, partition } = PartitionFolder::of(&folder) else { continue };
        let Some(owner) = owner(&place)? else { continue };
        // The others were of an earlier topic of this name.
        entries.retain(|entry| entry.topic == owner);
        if entries.is_empty() {
            continue;
        }
        restored.logs += 1;
        if !are_there(&place, &entries)? {
            let recovery_point = recovery_points.get(&(topic, partition)).copied().unwrap_or(Offset::ZERO);
            restored.batches += redo(&place, &entries, recovery_point, now)?;
        }
    }
    if restored.batches > 0 {
        tracing::warn!(
            logs = restored.logs,
            batches = restored.batches,
            "logs have got back what they had lost"
        );
    }
    super::remove(&**disk, directory)?;
    Ok(restored)
}

/// Whose folder it is; `None` where there is none any more, or it does not say.
fn owner(place: &Place) -> Result<Option<TopicId>, DiskError> {
    match partition_metadata::read(&*place.disk, &place.dir) {
        Err(error) if error.is_corrupt() => Ok(None),
        result => result,
    }
}

/// Whether all entries stand where they were written. Then they are put on the disk.
fn are_there(place: &Place, entries: &[Entry]) -> Result<bool, DiskError> {
    let mut files: BTreeMap<Offset, Arc<dyn DiskFile>> = BTreeMap::new();
    for entry in entries {
        let file = match files.get(&entry.base) {
            Some(file) => Arc::clone(file),
            None => match place.open(entry.base, LOG) {
                Err(error) if error.is_missing() => return Ok(false),
                result => result?,
            },
        };
        let mut found = vec![0; entry.batches.len()];
        let read = file.read_at(&mut found, u64::from(entry.position))?;
        if found[..read] != entry.batches[..] {
            return Ok(false);
        }
        files.insert(entry.base, file);
    }
    files.values().try_for_each(|file| file.sync().map_err(DiskError::hardened))?;
    Ok(true)
}

/// Appends what is missing, and flushes the log. How many batches that were is the answer.
fn redo(place: &Place, entries: &[Entry], recovery_point: Offset, now: Now) -> Result<usize, DiskError> {
    // Where the log starts does not matter, and must not make it start over.
    let hint = OpenHint { stop: Stop::Unclean, recovery_point, log_start: Offset::ZERO };
    // Nothing is rolled, and nothing is taken for a hole, whatever the topic's settings are.
    let config = LogConfig {
        segment_bytes: i32::MAX as u32,
        segment_ms: i64::MAX,
        segment_jitter_ms: 0,
        index_bytes: i32::MAX as u32,
        cleanup: Cleanup::Compact,
        ..LogConfig::default()
    };
    let mut log = Log::open(Arc::clone(&place.disk), place.dir.clone(), config, hint, now)?;
    let mut count = 0;
    for entry in entries {
        count += log.redo(now, &entry.batches)?;
    }
    log.flush()?;
    Ok(count)
}

impl Log {
    /// Appends those of some batches that are missing at the end. How many they were is the answer.
    fn redo(&mut self, now: Now, batches: &Bytes) -> Result<usize, DiskError> {
        let path = self.dir().to_owned();
        let corrupt = |error: BatchError| DiskError::corrupt(&path, format!("redo: {error}"));
        let (parts, rest) = split(batches);
        if let Some(error) = rest {
            return Err(corrupt(error));
        }
        let mut count = 0;
        for (header, batch) in parts {
            let batch = StampedBatch::verbatim(batch).map_err(corrupt)?;
            if header.base_offset < self.end_offset() {
                let there = self.epochs().epoch_at(header.base_offset);
                if there.is_none_or(|epoch| epoch >= header.leader_epoch) {
                    continue;
                }
                self.truncate_to(now, header.base_offset)?;
            }
            if header.base_offset != self.end_offset() {
                tracing::error!(
                    dir = %self.dir().display(),
                    end = %self.end_offset(),
                    base_offset = %header.base_offset,
                    "records that were on the disk are missing below those of a redo file"
                );
                break;
            }
            self.append(now, &[batch])?;
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Uuid;

    use super::*;
    use crate::disk::{Crash, MemoryDisk};
    use crate::redo;
    use crate::tests::support::*;

    /// A directory with a log of these batches (base offset, epoch), on the disk, and a redo file with those, one entry
    /// each, of the topic with this id.
    fn directory(there: &[(i64, i32)], redone: &[(i64, i32)], topic: TopicId) -> MemoryDisk {
        let disk = disk();
        let mut log = open(&disk, LogConfig::default(), OpenHint::NOTHING);
        partition_metadata::write(&disk, DIR.as_ref(), partition().topic).unwrap();
        let batch = |&(base, epoch): &(i64, i32)| Recipe { epoch, ..Recipe::at(base) }.batch();
        log.append(now(), &there.iter().map(batch).collect::<Vec<_>>()).unwrap();
        log.flush().unwrap();
        let entry = |at: &(i64, i32)| Entry {
            folder: "topic-0".to_owned(),
            topic,
            base: Offset(0),
            position: at.0 as u32 * batch(at).size() as u32,
            batches: batch(at).to_bytes(),
        };
        let entries: Vec<Entry> = redone.iter().map(entry).collect();
        let path = Path::new("/data").join(redo::file_name(0, 1));
        disk.replace(&path, &entry::frame(4, 0, &entries)).unwrap();
        disk
    }

    /// What is there afterwards, by base offset and epoch.
    fn restored(disk: &MemoryDisk) -> Vec<(i64, i32)> {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        restore(&shared, "/data".as_ref(), &Offsets::new(), now()).unwrap();
        let left = disk.list("/data".as_ref()).unwrap();
        assert!(left.iter().all(|entry| entry.name == "topic-0"), "{left:?}");
        disk.reboot(Crash::Power);
        let mut log = open(disk, LogConfig::default(), OpenHint::NOTHING);
        let all = contents(&mut log).into();
        let headers = split(&all).0.into_iter().map(|(header, _)| header);
        headers.map(|header| (header.base_offset.0, header.leader_epoch.0)).collect()
    }

    #[test]
    fn what_is_missing_at_the_end_is_appended() {
        let id = partition().topic;
        assert_eq!(restored(&directory(&[(0, 0)], &[(0, 0), (1, 0), (2, 3)], id)), [(0, 0), (1, 0), (2, 3)]);
        assert_eq!(restored(&directory(&[(0, 0), (1, 0)], &[(0, 0), (1, 0)], id)), [(0, 0), (1, 0)]);
    }

    #[test]
    fn nothing_is_put_behind_a_hole() {
        assert_eq!(restored(&directory(&[(0, 0)], &[(2, 0)], partition().topic)), [(0, 0)]);
    }

    #[test]
    fn the_later_leader_epoch_wins() {
        let id = partition().topic;
        assert_eq!(restored(&directory(&[(0, 0), (1, 2)], &[(1, 1)], id)), [(0, 0), (1, 2)]);
        assert_eq!(restored(&directory(&[(0, 0), (1, 1), (2, 1)], &[(1, 2)], id)), [(0, 0), (1, 2)]);
    }

    #[test]
    fn another_topic_of_the_same_name_gets_nothing() {
        let other = Uuid::from_random([9; 16]);
        assert_eq!(restored(&directory(&[(0, 0)], &[(1, 0)], other)), [(0, 0)]);
    }

    #[test]
    fn what_was_never_a_redo_file_does_no_harm() {
        let disk = directory(&[(0, 0)], &[], partition().topic);
        for (number, bytes) in [&b""[..], b"OTR1", &[0xff; 5000]].into_iter().enumerate() {
            disk.replace(&Path::new("/data").join(redo::file_name(7, number)), bytes).unwrap();
        }
        assert_eq!(restored(&disk), [(0, 0)]);
    }
}
