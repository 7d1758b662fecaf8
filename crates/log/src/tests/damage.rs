//! Files that are torn, rotten, missing or left over, and what a start makes of them.

use ottla_protocol::batch::{BatchHeader, ControlType, StampedBatch};
use ottla_protocol::{LeaderEpoch, Offset};

use super::session::{Depth, compare, naive_read};
use super::support::*;
use crate::disk::{Disk, MemoryDisk};
use crate::{Cleanup, EpochEntry, Log, LogConfig, OpenHint, ReadLimit, Recovered, Stop};

/// A closed log of several segments with producers, transactions and epochs in it.
fn closed_log() -> (MemoryDisk, Vec<StampedBatch>) {
    let disk = disk();
    let mut log = open(&disk, small(), OpenHint::NOTHING);
    let mut batches = Vec::new();
    let mut base = 0;
    for i in 0..40i32 {
        let epoch = i / 9;
        let batch = match i % 8 {
            3 => Recipe { epoch, producer: Some((7, 0, i / 8)), transactional: true, ..Recipe::at(base) }
                .batch(),
            5 => marker((base, epoch), (7, 0), ControlType::Abort, 1),
            _ => Recipe { epoch, records: 1 + i % 3, ..Recipe::at(base) }.batch(),
        };
        base = batch.header().next_offset().0;
        log.append(now(), std::slice::from_ref(&batch)).unwrap();
        batches.push(batch);
    }
    log.close().unwrap();
    (disk, batches)
}

fn offsets_right(log: &mut Log, batches: &[StampedBatch]) {
    let end = log.end_offset();
    for from in (0..=end.0).step_by(3) {
        for max_bytes in [0, 300] {
            let limit = ReadLimit::bytes(max_bytes);
            let found = log.read(Offset(from), limit).unwrap().read().unwrap();
            assert_eq!(bases(&found), bases(&naive_read(batches, Offset(from), limit)), "from {from}");
        }
    }
}

fn times_right(log: &mut Log, batches: &[StampedBatch]) {
    for timestamp in 990..1000 + log.end_offset().0 {
        let found = log.offset_for_timestamp(timestamp).unwrap().map(|found| found.offset);
        let expected = batches.iter().find(|batch| batch.header().max_timestamp >= timestamp);
        assert!(found.is_some() == expected.is_some(), "{timestamp}");
        if let (Some(found), Some(expected)) = (found, expected) {
            let header = expected.header();
            assert!(found >= header.base_offset && found <= header.last_offset(), "{found} for {timestamp}");
        }
    }
}

fn unclean(recovery_point: i64) -> OpenHint {
    OpenHint { recovery_point: Offset(recovery_point), ..OpenHint::NOTHING }
}

#[test]
fn a_tail_may_be_torn_at_any_byte() {
    let (disk, batches) = closed_log();
    let last_segment = names(&disk).into_iter().rfind(|name| name.ends_with(".log")).unwrap();
    let whole = disk.read(&path(&last_segment)).unwrap().unwrap();
    let first = bases(&whole)[0];
    for length in 0..=whole.len() {
        for rest in [&[][..], &[0; 100], &[0xff; 7]] {
            let disk = disk.copy();
            let torn = [&whole[..length], rest].concat();
            disk.replace(&path(&last_segment), &torn).unwrap();
            let mut log = open(&disk, small(), unclean(first + 1));
            let mut end = Offset(first);
            // A batch may end with the very zeros that follow it here.
            let length = whole.iter().zip(&torn).take_while(|(a, b)| a == b).count();
            let mut left = length;
            for batch in batches.iter().skip_while(|batch| batch.header().base_offset.0 < first) {
                let Some(rest) = left.checked_sub(batch.size()) else { break };
                (left, end) = (rest, batch.header().next_offset());
            }
            assert_eq!(log.end_offset(), end, "{length} bytes and {} more", rest.len());
            assert_eq!(log.recovered().cut, (left + torn.len() - length) as u64);
            assert_eq!(log.recovered().lost_flushed, end.0 < first + 1);
            let kept: Vec<_> =
                batches.iter().filter(|batch| batch.header().next_offset() <= end).cloned().collect();
            compare(&mut log, &kept, Depth::Whole);
        }
    }
}

#[test]
fn a_flipped_bit_ends_the_log_before_its_batch() {
    let (disk, batches) = closed_log();
    let segments: Vec<String> = names(&disk).into_iter().filter(|name| name.ends_with(".log")).collect();
    let middle = &segments[segments.len() / 2];
    let whole = disk.read(&path(middle)).unwrap().unwrap();
    let first_base = bases(&whole)[0];
    let first_size = batches.iter().find(|batch| batch.header().base_offset.0 == first_base).unwrap().size();
    // Base offset and leader epoch, the first 16 bytes with the length, are not covered by the checksum.
    for bit in (16 * 8)..(first_size as u64 * 8) {
        let disk = disk.copy();
        assert!(disk.flip_bit(&path(middle), bit));
        assert_eq!(disk.injected().flipped_bits, 1);
        let mut log = open(&disk, small(), unclean(0));
        assert_eq!(log.end_offset(), Offset(first_base), "bit {bit}");
        assert!(log.recovered().segments_removed >= 1 && log.recovered().cut > 0);
        let kept: Vec<_> =
            batches.iter().filter(|batch| batch.header().base_offset.0 < first_base).cloned().collect();
        compare(&mut log, &kept, Depth::Whole);
    }
}

/// Ways to ruin an index file.
fn ruins(bytes: &[u8], entry: usize) -> Vec<Option<Vec<u8>>> {
    let shorter = bytes.len().saturating_sub(entry);
    vec![
        None,
        Some(Vec::new()),
        Some(bytes[..bytes.len() / 2].to_vec()),
        Some(bytes[..bytes.len().saturating_sub(1)].to_vec()),
        Some(bytes[..shorter].to_vec()),
        Some([bytes, &vec![0; entry * 100]].concat()),
        Some(vec![0; bytes.len()]),
        Some(vec![0xff; entry * 3]),
        Some([bytes, &vec![0x7f; entry]].concat()),
        Some(bytes.iter().rev().copied().collect()),
    ]
}

#[test]
fn ruined_indexes_are_made_anew() {
    let (pristine, batches) = closed_log();
    let end = batches.last().unwrap().header().next_offset();
    let mut ruined = 0;
    for name in names(&pristine) {
        let Some(entry) =
            [(".timeindex", 12), (".index", 8)].into_iter().find(|(suffix, _)| name.ends_with(suffix))
        else {
            continue;
        };
        let bytes = pristine.read(&path(&name)).unwrap().unwrap();
        for ruin in ruins(&bytes, entry.1) {
            for hint in [OpenHint { recovery_point: end, ..OpenHint::CLEAN }, unclean(0), unclean(end.0)] {
                let disk = pristine.copy();
                match &ruin {
                    None => assert!(disk.remove(&path(&name)).unwrap()),
                    Some(ruin) => disk.replace(&path(&name), ruin).unwrap(),
                }
                let mut log = open(&disk, small(), hint);
                assert_eq!(log.end_offset(), end, "{name} {ruin:?}");
                offsets_right(&mut log, &batches);
                // A time index that merely lacks its end does not show it.
                let is_short = ruin.as_ref().is_some_and(|ruin| {
                    !ruin.is_empty()
                        && ruin.len() < bytes.len()
                        && bytes.starts_with(ruin)
                        && ruin.len() % 12 == 0
                });
                if !is_short {
                    times_right(&mut log, &batches);
                }
                compare(&mut log, &batches, Depth::Whole);
                ruined += 1;
                log.close().unwrap();
                offsets_right(&mut open(&disk, small(), OpenHint::CLEAN), &batches);
            }
        }
    }
    assert!(ruined > 100);
}

#[test]
fn side_files_that_have_rotted_are_found_again_in_the_log() {
    let (pristine, batches) = closed_log();
    let side: Vec<String> = names(&pristine)
        .into_iter()
        .filter(|name| [".snapshot", ".txnindex", "checkpoint"].iter().any(|end| name.ends_with(end)))
        .collect();
    assert!(side.iter().any(|name| name.ends_with(".txnindex")), "{side:?}");
    for name in &side {
        let bytes = pristine.read(&path(name)).unwrap().unwrap();
        for ruin in [vec![b'x'; 5], bytes[..bytes.len() - 1].to_vec(), [&bytes[..], b"1"].concat()] {
            for stop in [Stop::Clean, Stop::Unclean] {
                let disk = pristine.copy();
                disk.replace(&path(name), &ruin).unwrap();
                let mut log = open(&disk, small(), OpenHint { stop, ..OpenHint::NOTHING });
                compare(&mut log, &batches, Depth::Whole);
            }
        }
    }
}

#[test]
fn no_batch_is_too_large_to_be_recovered() {
    const CHUNK: usize = 1 << 20;
    for size in [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5] {
        for before in [0, 1, 3] {
            let disk = disk();
            let mut log = open(&disk, LogConfig::default(), OpenHint::NOTHING);
            let mut batches: Vec<_> = (0..before).map(|base| Recipe::at(base).batch()).collect();
            let overhead = Recipe { body: CHUNK, ..Recipe::at(before) }.batch().size() - CHUNK;
            batches.push(Recipe { body: size - overhead, ..Recipe::at(before) }.batch());
            batches.push(Recipe::at(before + 1).batch());
            for batch in &batches {
                log.append(now(), std::slice::from_ref(batch)).unwrap();
            }
            drop(log);
            for hint in [OpenHint::NOTHING, OpenHint::CLEAN] {
                let mut log = open(&disk, LogConfig::default(), hint);
                assert_eq!(log.end_offset(), Offset(before + 2));
                let found = log.read(Offset(before), ReadLimit::bytes(1)).unwrap();
                assert_eq!(found.read().unwrap(), batches[before as usize].to_bytes());
                log.close().unwrap();
            }
        }
    }
}

#[test]
fn bytes_behind_the_end_of_a_closed_log_are_cut() {
    let (pristine, batches) = closed_log();
    let last_segment = names(&pristine).into_iter().rfind(|name| name.ends_with(".log")).unwrap();
    let whole = pristine.read(&path(&last_segment)).unwrap().unwrap();
    for rest in [&[0; 200][..], &[1], &whole[..80]] {
        let disk = pristine.copy();
        disk.replace(&path(&last_segment), &[&whole[..], rest].concat()).unwrap();
        let mut log = open(&disk, small(), OpenHint::CLEAN);
        assert_eq!(log.recovered().cut, rest.len() as u64);
        compare(&mut log, &batches, Depth::Whole);
    }
}

#[test]
fn a_hole_ends_the_log_unless_compaction_may_have_made_it() {
    let (pristine, batches) = closed_log();
    let segments: Vec<String> = names(&pristine).into_iter().filter(|name| name.ends_with(".log")).collect();
    let lost = &segments[2];
    for (cleanup, removed) in [(Cleanup::Delete, segments.len() - 3), (Cleanup::Compact, 0)] {
        let disk = pristine.copy();
        disk.remove(&path(lost)).unwrap();
        let mut log = open(&disk, LogConfig { cleanup, ..small() }, OpenHint::NOTHING);
        assert_eq!(log.recovered().segments_removed, removed);
        let end = log.end_offset();
        let lost_bytes = pristine.read(&path(lost)).unwrap().unwrap();
        let kept: Vec<i64> = batches
            .iter()
            .map(|batch| batch.header().base_offset.0)
            .filter(|base| !bases(&lost_bytes).contains(base) && *base < end.0)
            .collect();
        assert_eq!(bases(&contents(&mut log)), kept);
    }
}

#[test]
fn unfinished_compaction_is_undone_and_finished_compaction_is_completed() {
    let (pristine, batches) = closed_log();
    let segments: Vec<String> = names(&pristine).into_iter().filter(|name| name.ends_with(".log")).collect();
    let (first, second) = (segments[0].trim_end_matches(".log"), segments[1].trim_end_matches(".log"));
    let log_of = |name: &str| pristine.read(&path(&format!("{name}.log"))).unwrap().unwrap();
    let merged = [log_of(first), log_of(second)].concat();
    let config = LogConfig { cleanup: Cleanup::Compact, ..small() };

    // Finished: the merged file takes the place of both.
    let disk = pristine.copy();
    for suffix in ["log", "index", "timeindex"] {
        let content = if suffix == "log" { &merged[..] } else { &[] };
        disk.replace(&path(&format!("{first}.{suffix}.swap")), content).unwrap();
    }
    disk.replace(&path(&format!("{first}.log.deleted")), b"x").unwrap();
    let mut log = open(&disk, config, OpenHint::CLEAN);
    assert_eq!(log.segment_bases().len(), segments.len() - 1);
    assert_eq!(contents(&mut log), joined(&batches));
    assert!(names(&disk).iter().all(|name| !name.ends_with(".swap") && !name.ends_with(".deleted")));
    assert!(!names(&disk).contains(&format!("{second}.index")));

    // Unfinished: a `.cleaned` file at the same or a lower base says that the swap belongs to a split under way.
    let disk = pristine.copy();
    disk.replace(&path(&format!("{first}.log.cleaned")), b"x").unwrap();
    disk.replace(&path(&format!("{second}.log.swap")), &log_of(second)).unwrap();
    let mut log = open(&disk, config, OpenHint::CLEAN);
    assert_eq!(log.segment_bases().len(), segments.len());
    assert_eq!(contents(&mut log), joined(&batches));
    assert!(names(&disk).iter().all(|name| !name.ends_with(".swap") && !name.ends_with(".cleaned")));
}

#[test]
fn strangers_stay_and_orphans_go() {
    let (disk, batches) = closed_log();
    disk.replace(&path("00000000000000099999.index"), &[1; 8]).unwrap();
    disk.replace(&path("notes.txt"), b"mine").unwrap();
    disk.replace(&path("partition.metadata"), b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ").unwrap();
    disk.replace(&path("00000000000000000005-0000000001.checkpoint.deleted"), b"raft's").unwrap();
    let mut log = open(&disk, small(), OpenHint::CLEAN);
    compare(&mut log, &batches, Depth::Whole);
    let left = names(&disk);
    assert!(!left.contains(&"00000000000000099999.index".to_owned()));
    for name in ["notes.txt", "partition.metadata", "00000000000000000005-0000000001.checkpoint.deleted"] {
        assert!(left.contains(&name.to_owned()), "{name}");
    }
}

#[test]
fn a_log_that_ends_before_its_start_begins_anew() {
    let (disk, batches) = closed_log();
    let end = batches.last().unwrap().header().next_offset();
    for stop in [Stop::Clean, Stop::Unclean] {
        let disk = disk.copy();
        let hint = OpenHint { stop, log_start: end.plus(5), ..OpenHint::NOTHING };
        let mut log = open(&disk, small(), hint);
        assert_eq!((log.start_offset(), log.end_offset()), (end.plus(5), end.plus(5)));
        assert_eq!(log.segment_bases().collect::<Vec<_>>(), [end.plus(5)]);
        assert!(log.epochs().entries().is_empty() && log.producers().is_empty());
        log.append(now(), &[Recipe::at(end.0 + 5).batch()]).unwrap();
        assert_eq!(bases(&contents(&mut log)), [end.0 + 5]);
    }
}

#[test]
fn segments_of_old_formats_are_served() {
    let message = |offset: i64, timestamp: i64| {
        let mut message = vec![1u8, 0];
        message.extend_from_slice(&timestamp.to_be_bytes());
        message.extend_from_slice(&(-1i32).to_be_bytes());
        message.extend_from_slice(&3i32.to_be_bytes());
        message.extend_from_slice(b"old");
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &message) as u32;
        let mut bytes = offset.to_be_bytes().to_vec();
        bytes.extend_from_slice(&(message.len() as i32 + 4).to_be_bytes());
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes.extend_from_slice(&message);
        bytes
    };
    let old: Vec<u8> = (0..30).flat_map(|i| message(i, 500 + i)).collect();
    let disk = disk();
    disk.create_dir(DIR.as_ref()).unwrap();
    disk.replace(&path("00000000000000000000.log"), &old).unwrap();
    let mut log = open(&disk, small(), OpenHint::NOTHING);
    assert_eq!((log.end_offset(), log.recovered().cut), (Offset(30), 0));
    log.append(now(), &[Recipe::at(30).batch()]).unwrap();
    let found = log.read(Offset(7), ReadLimit::bytes(40)).unwrap();
    assert_eq!(found.read().unwrap(), message(7, 507));
    assert_eq!(log.offset_for_timestamp(512).unwrap().unwrap().offset, Offset(12));
    assert_eq!(log.epochs().entries(), [EpochEntry::new(0, 30)]);
}

#[test]
fn opening_an_untouched_log_changes_nothing() {
    let (disk, _) = closed_log();
    let files = |disk: &MemoryDisk| -> Vec<_> {
        names(disk).into_iter().map(|name| (disk.read(&path(&name)).unwrap(), name)).collect()
    };
    let before = files(&disk);
    let log = open(&disk, small(), OpenHint::CLEAN);
    assert_eq!(log.recovered(), Recovered::default());
    log.close().unwrap();
    assert_eq!(files(&disk), before);
}

#[test]
fn the_epoch_of_a_header_beyond_any_file_is_kept() {
    // Epochs come from batches, wherever the file has been lost.
    let (disk, batches) = closed_log();
    disk.remove(&path("leader-epoch-checkpoint")).unwrap();
    let log = open(&disk, small(), OpenHint::NOTHING);
    let latest = batches.last().map(|batch: &StampedBatch| -> BatchHeader { batch.header() }).unwrap();
    assert_eq!(log.epochs().latest().unwrap().epoch, latest.leader_epoch);
    assert_eq!(log.epochs().earliest().unwrap().epoch, LeaderEpoch(0));
}
