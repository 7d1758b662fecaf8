//! After an unclean stop: what the redo files have and a log has lost is appended to the log again.
//!
//! Where only the process ended, the batches are where they were, and a look tells. Otherwise the log is opened, and an
//! entry that begins at its end is appended. One that begins below is there already, or something else has taken its
//! place; one of an epoch before the log's latest has been superseded. So nothing is ever cut.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::batch::{StampedBatch, split};
use ottla_protocol::{Now, Offset};

use super::REDO_BYTES;
use super::entry::{self, Entry};
use crate::checkpoint::Offsets;
use crate::config::{Cleanup, LogConfig};
use crate::directory::PartitionFolder;
use crate::disk::{Disk, DiskError, DiskFile};
use crate::log::Log;
use crate::partition_metadata;
use crate::place::{LOG, Place, parse_name};
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
        let mut bytes = vec![0; REDO_BYTES as usize];
        let read = disk.open(&path)?.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
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
        let Some(owner) = partition_metadata::owner(&*place.disk, &place.dir)? else {
            tracing::info!(folder, "a redo file speaks of a log that is not here any more");
            continue;
        };
        // The others were of an earlier topic of this name.
        entries.retain(|entry| entry.topic == owner);
        if entries.is_empty() {
            continue;
        }
        restored.logs += 1;
        let first = first_segment(&place)?;
        // The others went with their segments.
        entries.retain(|entry| first.is_none_or(|first| entry.base >= first));
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

/// The base of a log's first segment.
fn first_segment(place: &Place) -> Result<Option<Offset>, DiskError> {
    let names = place.disk.list(&place.dir)?;
    let bases = names.iter().filter_map(|entry| parse_name(&entry.name)).filter(|(_, suffix)| *suffix == LOG);
    Ok(bases.map(|(base, _)| base).min())
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
        producer_expiration_ms: i64::MAX,
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
        let mut count = 0;
        for (header, bytes) in split(batches).0 {
            // Of a log that was truncated while its end was being copied; nobody was told of these.
            if !header.checksum_holds(&bytes) {
                break;
            }
            let Ok(batch) = StampedBatch::verbatim(bytes) else { break };
            let superseded = self.epochs().latest().is_some_and(|latest| header.leader_epoch < latest.epoch);
            if superseded || header.base_offset < self.end_offset() {
                continue;
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
    use ottla_protocol::{TopicId, Uuid};

    use super::*;
    use crate::disk::{Crash, MemoryDisk};
    use crate::redo;
    use crate::tests::support::*;

    fn batch_at(base: i64, epoch: i32) -> StampedBatch {
        Recipe { epoch, ..Recipe::at(base) }.batch()
    }

    /// A directory with a log of these batches (base offset, epoch), on the disk, and a redo file with those, one entry
    /// each, of the topic with this id.
    fn directory(there: &[(i64, i32)], redone: &[(i64, i32)], topic: TopicId) -> MemoryDisk {
        let disk = disk();
        let mut log = open(&disk, LogConfig::default(), OpenHint::NOTHING);
        partition_metadata::write(&disk, DIR.as_ref(), partition().topic).unwrap();
        let there: Vec<_> = there.iter().map(|&(base, epoch)| batch_at(base, epoch)).collect();
        log.append(now(), &there).unwrap();
        log.flush().unwrap();
        let entry = |&(base, epoch): &(i64, i32)| {
            let batch = batch_at(base, epoch).to_bytes();
            (base as u32 * batch.len() as u32, batch)
        };
        write_entries(&disk, topic, redone.iter().map(entry));
        disk
    }

    /// Writes a redo file with these batches, each with its position.
    fn write_entries(disk: &MemoryDisk, topic: TopicId, batches: impl IntoIterator<Item = (u32, Bytes)>) {
        let entry = |(position, batches)| Entry {
            folder: "topic-0".to_owned(),
            topic,
            base: Offset(0),
            position,
            batches,
        };
        let entries: Vec<Entry> = batches.into_iter().map(entry).collect();
        let path = Path::new("/data").join(redo::file_name(0, 1));
        disk.replace(&path, &entry::frame(4, 0, &entries)).unwrap();
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
    fn what_stands_in_the_place_of_an_entry_stays() {
        let id = partition().topic;
        for there in [1, 2, 3] {
            let whole = [(0, 0), (1, there), (2, there)];
            assert_eq!(restored(&directory(&whole, &[(1, 2)], id)), whole);
        }
    }

    #[test]
    fn nothing_of_an_epoch_that_has_ended_is_appended() {
        let id = partition().topic;
        assert_eq!(restored(&directory(&[(0, 0), (1, 6)], &[(1, 5), (2, 5)], id)), [(0, 0), (1, 6)]);
    }

    #[test]
    fn a_batch_whose_checksum_is_wrong_is_left_alone() {
        let whole = directory(&[(0, 0)], &[(1, 0), (2, 0)], partition().topic);
        assert_eq!(restored(&whole), [(0, 0), (1, 0), (2, 0)]);
        let mut damaged = batch_at(2, 0).to_bytes().to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let disk = directory(&[(0, 0)], &[], partition().topic);
        let entries = [batch_at(1, 0).to_bytes(), damaged.into(), batch_at(3, 0).to_bytes()];
        write_entries(&disk, partition().topic, entries.map(|batches| (7, batches)));
        assert_eq!(restored(&disk), [(0, 0), (1, 0)]);
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
