//! When a segment ends, and when it goes.

use ottla_protocol::{Now, Offset};

use super::support::*;
use crate::disk::Disk;
use crate::{Cleanup, Log, LogConfig, OpenHint, ReadLimit};

fn at(wall_ms: i64) -> Now {
    Now { monotonic_us: 0, wall_ms }
}

fn append(log: &mut Log, now: Now, recipe: Recipe) -> Offset {
    let base = log.end_offset().0;
    log.append(now, &[Recipe { base, ..recipe }.batch()]).unwrap();
    log.end_offset()
}

fn segments(log: &Log) -> Vec<i64> {
    log.segment_bases().map(|base| base.0).collect()
}

#[test]
fn a_segment_ends_before_it_grows_too_large() {
    let size = Recipe::at(0).batch().size() as u32;
    for (segment_bytes, per_segment) in [(size * 3, 3), (size * 3 - 1, 2), (size * 3 + 1, 3), (size - 1, 1)] {
        let mut log = open(&disk(), LogConfig { segment_bytes, ..LogConfig::default() }, OpenHint::NOTHING);
        for _ in 0..7 {
            append(&mut log, now(), Recipe::at(0));
        }
        let expected: Vec<i64> = (0..7).step_by(per_segment).collect();
        assert_eq!(segments(&log), expected, "{segment_bytes} bytes");
    }
}

#[test]
fn a_segment_ends_when_its_records_are_far_apart_in_time() {
    let config = LogConfig { segment_ms: 1000, ..LogConfig::default() };
    let mut log = open(&disk(), config, OpenHint::NOTHING);
    for timestamp in [5000, 5500, 6000, 4000, 6001, 6002] {
        // The wall clock does not matter where records have timestamps.
        append(&mut log, at(timestamp * 100), Recipe { timestamp, ..Recipe::at(0) });
    }
    assert_eq!(segments(&log), [0, 4]);
    let mut log = open(&disk(), config, OpenHint::NOTHING);
    for wall_ms in [0, 500, 1000, 1001, 2000] {
        append(&mut log, at(1_000_000 + wall_ms), Recipe { timestamp: -1, ..Recipe::at(0) });
    }
    assert_eq!(segments(&log), [0, 3], "without timestamps the segment's own age counts");
}

#[test]
fn jitter_spreads_the_ends() {
    let mut ends = std::collections::BTreeSet::new();
    for jitter_seed in 0..20 {
        let config =
            LogConfig { segment_ms: 1000, segment_jitter_ms: 500, jitter_seed, ..LogConfig::default() };
        let mut log = open(&disk(), config, OpenHint::NOTHING);
        let mut timestamp = 5000;
        while log.segment_bases().len() == 1 {
            append(&mut log, now(), Recipe { timestamp, ..Recipe::at(0) });
            timestamp += 1;
        }
        assert!((501..=1002).contains(&(timestamp - 5000)), "{timestamp}");
        ends.insert(timestamp);
    }
    assert!(ends.len() > 10, "{ends:?}");
}

#[test]
fn a_segment_ends_when_an_index_is_full() {
    let config = LogConfig { index_bytes: 60, index_interval_bytes: 0, ..LogConfig::default() };
    let disk = disk();
    let mut log = open(&disk, config, OpenHint::NOTHING);
    for base in 0..20 {
        append(&mut log, now(), Recipe::at(base));
    }
    // Five time entries, of which one is kept free for the end; none is for the first batch.
    assert_eq!(segments(&log), [0, 5, 10, 15]);
    assert_eq!(disk.read(&path("00000000000000000000.timeindex")).unwrap().unwrap().len(), 60 - 12);
    assert_eq!(disk.read(&path("00000000000000000000.index")).unwrap().unwrap().len(), 4 * 8);
}

#[test]
fn a_segment_ends_before_offsets_overflow() {
    let disk = disk();
    let mut log = open(&disk, LogConfig::default(), OpenHint::NOTHING);
    let offsets = [0, i64::from(i32::MAX), i64::from(i32::MAX) + 1, 1 << 40];
    let batches: Vec<_> = offsets.map(|base| Recipe::at(base).batch()).to_vec();
    log.append(now(), &batches).unwrap();
    assert_eq!(segments(&log), [0, i64::from(i32::MAX) + 1, 1 << 40]);
    assert_eq!(bases(&contents(&mut log)), offsets);
    let found = log.read(Offset(5), ReadLimit::bytes(1)).unwrap();
    assert_eq!(bases(&found.read().unwrap()), [i64::from(i32::MAX)], "the next there is");
    drop(log);
    let mut log =
        open(&disk, LogConfig { cleanup: Cleanup::Compact, ..LogConfig::default() }, OpenHint::NOTHING);
    assert_eq!(bases(&contents(&mut log)), offsets);
}

#[test]
fn room_is_reserved_ahead_and_given_back() {
    let disk = disk();
    let config = LogConfig { segment_bytes: 5000, preallocate_bytes: 1000, ..LogConfig::default() };
    let mut log = open(&disk, config, OpenHint::NOTHING);
    let length = || disk.stat(&path("00000000000000000000.log")).unwrap().unwrap().length;
    assert_eq!(length(), 1000);
    while log.segment_bases().len() == 1 {
        append(&mut log, now(), Recipe::at(0));
        if log.segment_bases().len() == 1 {
            assert!(length() > log.size().min(4999) && length() <= 5000, "{} for {}", length(), log.size());
        }
    }
    let first_size = disk.read(&path("00000000000000000000.log")).unwrap().unwrap();
    assert_eq!(bases(&first_size).len() as i64, segments(&log)[1], "sealed, it is trimmed");
    log.close().unwrap();
    let active = names(&disk).into_iter().rfind(|name| name.ends_with(".log")).unwrap();
    assert_eq!(bases(&disk.read(&path(&active)).unwrap().unwrap()).len(), 1);
}

fn grown(config: LogConfig) -> Log {
    let mut log = open(&disk(), config, OpenHint::NOTHING);
    for timestamp in (1000..2000).step_by(50) {
        append(&mut log, now(), Recipe { timestamp, ..Recipe::at(0) });
    }
    log
}

fn retain(log: &mut Log, wall_ms: i64, high_watermark: i64) -> usize {
    let removed = log.retain(at(wall_ms), Offset(high_watermark)).unwrap();
    let segments = removed.segments;
    removed.erase().unwrap();
    segments
}

#[test]
fn segments_go_when_their_latest_record_is_too_old() {
    let size = Recipe::at(0).batch().size() as u32;
    let config = LogConfig { segment_bytes: size * 4, retention_ms: Some(1000), ..LogConfig::default() };
    let mut log = grown(config);
    assert_eq!(segments(&log), [0, 4, 8, 12, 16]);
    // The latest of the first segment is 1150.
    assert_eq!(retain(&mut log, 2150, 20), 0);
    assert_eq!(retain(&mut log, 2151, 20), 1);
    assert_eq!((log.start_offset(), segments(&log)), (Offset(4), vec![4, 8, 12, 16]));
    assert_eq!(retain(&mut log, 9999, 11), 1, "the high watermark has not passed the others");
    assert_eq!(retain(&mut log, 9999, 20), 3);
    assert_eq!((log.start_offset(), segments(&log), log.size()), (Offset(20), vec![20], 0));
    assert_eq!(retain(&mut log, i64::MAX, 20), 0, "an empty log stays");
    append(&mut log, now(), Recipe::at(0));
    assert_eq!(bases(&contents(&mut log)), [20]);
}

#[test]
fn segments_go_when_there_is_too_much() {
    let size = Recipe::at(0).batch().size();
    let config = LogConfig { segment_bytes: size as u32 * 4, retention_ms: None, ..LogConfig::default() };
    for (limit, left) in [(0, 0), (1, 4), (size * 4, 4), (size * 4 + 1, 8), (size * 8, 8), (size * 99, 20)] {
        let mut log = grown(LogConfig { retention_bytes: Some(limit as u64), ..config });
        retain(&mut log, 0, 20);
        assert_eq!(log.size(), (left * size) as u64, "limit {limit}");
    }
}

#[test]
fn what_is_not_to_be_deleted_goes_only_when_told() {
    let config = LogConfig { retention_ms: Some(0), retention_bytes: Some(0), ..small() };
    for cleanup in [Cleanup::Keep, Cleanup::Compact] {
        let mut log = grown(LogConfig { cleanup, ..config });
        let bases = segments(&log);
        assert_eq!(retain(&mut log, i64::MAX, 20), 0);
        assert!(log.delete_records_before(Offset(bases[2])) && !log.delete_records_before(Offset(1)));
        assert_eq!(retain(&mut log, 0, 20), 2);
        assert_eq!(segments(&log), bases[2..]);
        assert!(log.delete_records_before(Offset(bases[2] + 1)));
        assert_eq!((retain(&mut log, 0, 20), log.start_offset()), (0, Offset(bases[2] + 1)));
        assert!(log.read(Offset(bases[2]), ReadLimit::bytes(1)).is_err());
        assert!(log.delete_records_before(Offset(20)));
        retain(&mut log, 0, 20);
        assert_eq!((log.start_offset(), segments(&log)), (Offset(20), vec![*bases.last().unwrap()]));
    }
}

#[test]
fn a_segment_without_timestamps_is_as_old_as_its_file() {
    let disk = disk();
    disk.set_time(5000);
    let config = LogConfig { retention_ms: Some(1000), ..small() };
    let mut log = open(&disk, config, OpenHint::NOTHING);
    while log.segment_bases().len() < 3 {
        append(&mut log, now(), Recipe { timestamp: -1, ..Recipe::at(0) });
    }
    let end = log.end_offset().0;
    assert_eq!(retain(&mut log, 6000, end), 0);
    assert_eq!(retain(&mut log, 6001, end), 3);
}

#[test]
#[should_panic(expected = "cannot follow")]
fn a_batch_out_of_order_is_a_broken_invariant() {
    let mut log = open(&disk(), small(), OpenHint::NOTHING);
    log.append(now(), &[Recipe::at(5).batch(), Recipe::at(5).batch()]).unwrap();
}
