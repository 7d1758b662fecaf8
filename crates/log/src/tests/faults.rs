//! Disks that refuse: full, dying, unable to sync. And what must not touch the disk at all.

use ottla_protocol::{LeaderEpoch, Offset};

use super::session::{Depth, compare};
use super::support::*;
use crate::disk::{Crash, Disk, MemoryDisk};
use crate::{LogConfig, OpenHint, Probe, ReadError, ReadLimit, Stop};

#[test]
fn a_failed_sync_is_final() {
    let disk = disk();
    let mut log = open(&disk, small(), OpenHint::NOTHING);
    log.append(now(), &[Recipe::at(0).batch()]).unwrap();
    log.flush().unwrap();
    log.append(now(), &[Recipe::at(1).batch()]).unwrap();
    disk.fail_sync(1);
    assert!(log.flush().is_err());
    assert_eq!(disk.injected().failed_syncs, 1);
    // The next sync would succeed, and lie.
    assert!(log.flush().is_err());
    assert_eq!(log.recovery_point(), Offset(1));
    assert!(log.append(now(), &[Recipe::at(2).batch()]).is_err());
    assert!(log.truncate_to(now(), Offset(0)).is_err());
    assert!(log.roll(now()).is_err());
    assert!(log.retain(now(), Offset(2)).is_err());
    assert!(log.failure().is_some());
    assert!(log.close().is_err());
    disk.reboot(Crash::Power);
    let log = open(&disk, small(), OpenHint::NOTHING);
    assert_eq!(log.end_offset(), Offset(1), "what the failed sync should have saved is lost");
}

#[test]
fn every_sync_of_a_flush_counts() {
    // Rolled segments with their indexes, the folder, the epochs: whichever sync fails, the flush has failed.
    for n in 1.. {
        let disk = disk();
        let mut log = open(&disk, small(), OpenHint::NOTHING);
        for base in 0..20 {
            log.append(now(), &[Recipe { epoch: base as i32 / 7, ..Recipe::at(base) }.batch()]).unwrap();
        }
        disk.fail_sync(n);
        let result = log.flush();
        if disk.injected().failed_syncs == 0 {
            assert!(n > 10 && result.is_ok());
            break;
        }
        assert!(result.is_err(), "sync {n}");
        assert_eq!(log.recovery_point(), Offset(0));
        assert!(log.append(now(), &[Recipe::at(20).batch()]).is_err(), "sync {n}");
    }
}

#[test]
fn a_full_disk_refuses_and_works_again_once_there_is_room() {
    let mut refusals = 0;
    for room in (0..1500).step_by(13) {
        let disk = disk();
        let mut log = open(&disk, small(), OpenHint::NOTHING);
        let mut batches = Vec::new();
        for base in 0..5 {
            let batch = Recipe::at(base).batch();
            log.append(now(), std::slice::from_ref(&batch)).unwrap();
            batches.push(batch);
        }
        disk.set_capacity(Some(total(&disk) + room));
        let mut refused = None;
        for base in 5..40 {
            let batch = Recipe::at(base).batch();
            match log.append(now(), std::slice::from_ref(&batch)) {
                Ok(_) => batches.push(batch),
                Err(error) => {
                    assert!(error.is_full(), "{error}");
                    refused = Some(base);
                    break;
                }
            }
        }
        let refused = refused.expect("there is room for some only");
        refusals += disk.injected().refused_writes;
        assert_eq!(log.end_offset(), Offset(refused));
        compare(&mut log, &batches, Depth::Whole);
        assert!(log.append(now(), &[Recipe::at(refused).batch()]).is_err_and(|error| error.is_full()));
        // Whoever looks at the files in between finds whole batches only.
        let mut aside = open(&disk.copy(), small(), OpenHint::NOTHING);
        assert_eq!((aside.end_offset(), aside.recovered().cut), (Offset(refused), 0));
        compare(&mut aside, &batches, Depth::Whole);

        disk.set_capacity(None);
        for base in refused..60 {
            let batch = Recipe::at(base).batch();
            log.append(now(), std::slice::from_ref(&batch)).unwrap();
            batches.push(batch);
        }
        log.flush().unwrap();
        log.close().unwrap();
        let mut log = open(&disk, small(), OpenHint::CLEAN);
        compare(&mut log, &batches, Depth::Whole);
    }
    assert!(refusals > 100);
}

#[test]
fn several_segments_at_once_are_appended_wholly_or_not_at_all() {
    for room in (0..3000).step_by(97) {
        let disk = disk();
        let mut log = open(&disk, small(), OpenHint::NOTHING);
        let first: Vec<_> = (0..4).map(|base| Recipe::at(base).batch()).collect();
        log.append(now(), &first).unwrap();
        disk.set_capacity(Some(total(&disk) + room));
        let many: Vec<_> = (4..24).map(|base| Recipe::at(base).batch()).collect();
        match log.append(now(), &many) {
            Ok(_) => {
                let all: Vec<_> = first.iter().chain(&many).cloned().collect();
                compare(&mut log, &all, Depth::Whole);
            }
            Err(error) => {
                assert!(error.is_full() && disk.injected().refused_writes > 0);
                compare(&mut log, &first, Depth::Whole);
                disk.set_capacity(None);
                log.append(now(), &many).unwrap();
                let all: Vec<_> = first.iter().chain(&many).cloned().collect();
                compare(&mut log, &all, Depth::Whole);
            }
        }
    }
}

#[test]
fn a_want_of_descriptors_refuses_and_passes() {
    for refused_at in 1..30 {
        let disk = disk();
        let mut log = open(&disk, small(), OpenHint::NOTHING);
        let mut batches = Vec::new();
        for base in 0..30 {
            let batch = Recipe { producer: Some((7, 0, base as i32)), ..Recipe::at(base) }.batch();
            if base == refused_at {
                disk.use_up_descriptors();
                let tried = log.append(now(), std::slice::from_ref(&batch));
                let flushed = log.flush();
                let read = log.read(Offset(0), ReadLimit::bytes(u32::MAX));
                let retained = log.retain(now(), Offset(0));
                disk.free_descriptors();
                let errors = [tried.as_ref().err(), flushed.as_ref().err(), retained.as_ref().err()];
                for error in errors.into_iter().flatten() {
                    assert!(error.is_passing(), "{error}");
                }
                assert!(!matches!(&read, Err(ReadError::Disk(error)) if !error.is_passing()));
                assert!(log.failure().is_none(), "nothing is broken");
                batches.push(batch.clone());
                if tried.is_ok() {
                    continue;
                }
                batches.pop();
                compare(&mut log, &batches, Depth::Whole);
            }
            log.append(now(), std::slice::from_ref(&batch)).unwrap();
            batches.push(batch);
        }
        assert!(disk.injected().refused_opens > 0);
        compare(&mut log, &batches, Depth::Whole);
        log.flush().unwrap();
        assert_eq!(log.recovery_point(), Offset(30), "what could not be flushed is flushed later");
        log.close().unwrap();
        let mut log = open(&disk, small(), OpenHint::CLEAN);
        compare(&mut log, &batches, Depth::Whole);
    }
}

#[test]
fn several_segments_at_once_pass_a_want_of_descriptors() {
    for held in 0..12 {
        let disk = disk();
        let mut log = open(&disk, small(), OpenHint::NOTHING);
        let first: Vec<_> = (0..held).map(|base| Recipe::at(base).batch()).collect();
        log.append(now(), &first).unwrap();
        // What is too large to stand with another goes into a segment of its own.
        let recipe = |base| Recipe { body: if base % 3 == 2 { 2_000 } else { 0 }, ..Recipe::at(base) };
        let many: Vec<_> = (held..held + 20).map(|base| recipe(base).batch()).collect();
        disk.use_up_descriptors();
        assert!(log.append(now(), &many).is_err_and(|error| error.lacks_descriptors()));
        assert!(log.failure().is_none(), "nothing is broken");
        disk.free_descriptors();
        compare(&mut log, &first, Depth::Whole);
        log.append(now(), &many).unwrap();
        let all: Vec<_> = first.iter().chain(&many).cloned().collect();
        compare(&mut log, &all, Depth::Whole);
        log.close().unwrap();
    }
}

#[test]
fn within_a_segment_a_truncation_needs_no_descriptor() {
    let disk = disk();
    let mut log = open(&disk, small(), OpenHint::NOTHING);
    let batches: Vec<_> = (0..2).map(|base| Recipe::at(base).batch()).collect();
    log.append(now(), &batches).unwrap();
    disk.use_up_descriptors();
    assert_eq!(log.truncate_to(now(), Offset(1)).unwrap(), Offset(1));
    disk.free_descriptors();
    compare(&mut log, &batches[..1], Depth::Whole);
}

#[test]
fn a_close_without_room_is_no_clean_stop() {
    let disk = disk();
    let mut log = open(&disk, small(), OpenHint::NOTHING);
    log.append(now(), &[Recipe { producer: Some((1, 0, 0)), ..Recipe::at(0) }.batch()]).unwrap();
    disk.set_capacity(Some(total(&disk)));
    assert!(log.close().unwrap_err().is_full());
}

#[test]
fn a_dying_disk_is_final_at_every_operation() {
    let mut ended = 0;
    for n in 1..120 {
        let disk = disk();
        let mut log = open(&disk, small(), OpenHint::NOTHING);
        disk.die_at(n);
        let mut failed = None;
        for base in 0..40 {
            let done = match base % 10 {
                7 => log.flush(),
                9 => log.roll(now()),
                _ => Ok(()),
            };
            let end = log.end_offset();
            if let Err(error) = done.and_then(|()| log.append(now(), &[Recipe::at(end.0).batch()]).map(drop))
            {
                assert!(!error.is_full());
                failed = Some(end);
                break;
            }
        }
        let Some(end) = failed else { break };
        assert!(disk.injected().failed_operations > 0);
        assert!(log.append(now(), &[Recipe::at(end.0).batch()]).is_err());
        assert!(log.failure().is_some());
        ended += 1;
    }
    assert!(ended > 40);
}

#[test]
fn a_slice_outlives_its_segment() {
    let disk = disk();
    let config = LogConfig { retention_bytes: Some(0), ..small() };
    let mut log = open(&disk, config, OpenHint::NOTHING);
    let batches: Vec<_> = (0..30).map(|base| Recipe::at(base).batch()).collect();
    for batch in &batches {
        log.append(now(), std::slice::from_ref(batch)).unwrap();
    }
    let found = log.read(Offset(0), ReadLimit::bytes(100_000)).unwrap();
    assert!(found.slices.len() > 3);
    let removed = log.retain(now(), log.end_offset()).unwrap();
    assert_eq!(removed.bytes, joined(&batches).len() as u64);
    removed.erase().unwrap();
    assert_eq!((log.start_offset(), log.size()), (Offset(30), 0));
    assert_eq!(found.read().unwrap(), joined(&batches));
    assert_eq!(names(&disk).iter().filter(|name| name.ends_with(".log")).count(), 1);
}

#[test]
fn an_append_is_one_write_and_a_read_at_the_tail_is_none() {
    let disk = disk();
    let config = LogConfig { index_interval_bytes: 1 << 30, ..LogConfig::default() };
    let mut log = open(&disk, config, OpenHint::NOTHING);
    log.append(now(), &[Recipe::at(0).batch()]).unwrap();
    let (changes, read) = (disk.changes(), disk.bytes_read());
    for base in (1..101).step_by(10) {
        let batches: Vec<_> = (base..base + 10).map(|base| Recipe::at(base).batch()).collect();
        log.append(now(), &batches).unwrap();
        for from in base..base + 10 {
            for (up_to, max_bytes) in
                [(i64::MAX, 1_000_000), (base + 5, 1_000_000), (i64::MAX, 150), (i64::MAX, 1)]
            {
                let limit = ReadLimit { up_to: Offset(up_to), ..ReadLimit::bytes(max_bytes) };
                log.read(Offset(from), limit).unwrap();
            }
        }
    }
    assert_eq!((disk.changes() - changes, disk.bytes_read() - read), (10, 0));
}

#[test]
fn a_clean_start_reads_next_to_nothing() {
    let disk = disk();
    let config = LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() };
    let mut log = open(&disk, config, OpenHint::NOTHING);
    for base in 0..4000 {
        log.append(now(), &[Recipe { body: 1000, ..Recipe::at(base) }.batch()]).unwrap();
    }
    log.close().unwrap();
    let before = disk.bytes_read();
    let log = open(&disk, config, OpenHint::CLEAN);
    assert_eq!((log.end_offset(), log.segment_bases().len()), (Offset(4000), 5));
    assert!(disk.bytes_read() - before < 10_000, "{} bytes", disk.bytes_read() - before);
    let before = disk.bytes_read();
    drop(log);
    let log = open(&disk, config, OpenHint { recovery_point: Offset(4000), ..OpenHint::NOTHING });
    assert!(log.recovered().checked <= 1 << 20, "only the last segment is read");
    assert!(disk.bytes_read() - before > 1000);
}

#[test]
fn flushes_may_overlap_and_a_truncation_makes_them_void() {
    let disk = disk();
    let mut log = open(&disk, small(), OpenHint::NOTHING);
    log.append(now(), &[Recipe::at(0).batch()]).unwrap();
    let first = log.prepare_flush().unwrap().unwrap();
    log.append(now(), &[Recipe::at(1).batch()]).unwrap();
    let second = log.prepare_flush().unwrap().unwrap();
    assert_eq!((first.up_to(), second.up_to()), (Offset(1), Offset(2)));
    log.finish_flush(second.run()).unwrap();
    assert_eq!(log.recovery_point(), Offset(2));
    log.finish_flush(first.run()).unwrap();
    assert_eq!(log.recovery_point(), Offset(2));
    assert!(log.prepare_flush().unwrap().is_none(), "all is on the disk");

    log.append(now(), &[Recipe::at(2).batch()]).unwrap();
    let before = log.prepare_flush().unwrap().unwrap().run();
    log.truncate_to(now(), Offset(1)).unwrap();
    log.append(now(), &[Recipe { epoch: 1, ..Recipe::at(1) }.batch()]).unwrap();
    log.append(now(), &[Recipe { epoch: 1, ..Recipe::at(2) }.batch()]).unwrap();
    log.finish_flush(before).unwrap();
    assert_eq!(log.recovery_point(), Offset(1), "other batches stand there now");
    log.flush().unwrap();
    assert_eq!(log.recovery_point(), Offset(3));
    disk.reboot(Crash::Power);
    let log = open(&disk, small(), OpenHint { recovery_point: Offset(3), ..OpenHint::NOTHING });
    assert_eq!(log.end_offset(), Offset(3));
    assert_eq!(log.epochs().latest().map(|entry| entry.epoch), Some(LeaderEpoch(1)));
}

#[test]
fn an_epoch_without_records_is_forgotten_at_a_start() {
    let disk = disk();
    let mut log = open(&disk, small(), OpenHint::NOTHING);
    log.append(now(), &[Recipe::at(0).batch()]).unwrap();
    log.begin_epoch(LeaderEpoch(9));
    assert_eq!(
        log.epochs().end_offset_for(LeaderEpoch(9), log.end_offset()),
        Some((LeaderEpoch(9), Offset(1)))
    );
    log.close().unwrap();
    let log = open(&disk, small(), OpenHint { stop: Stop::Clean, ..OpenHint::NOTHING });
    assert_eq!(log.epochs().latest().map(|entry| entry.epoch), Some(LeaderEpoch(0)));
}

fn total(disk: &MemoryDisk) -> u64 {
    disk.set_capacity(Some(1 << 40));
    let space = disk.space(DIR.as_ref()).unwrap();
    disk.set_capacity(None);
    space.total - space.usable
}

#[test]
fn a_probe_does_not_wait_for_the_disk() {
    let disk = disk();
    let config = LogConfig { segment_bytes: 20_000, index_interval_bytes: 200, ..LogConfig::default() };
    let mut log = open(&disk, config, OpenHint::NOTHING);
    let batches: Vec<_> = (0..1000).map(|base| Recipe::at(base).batch()).collect();
    for batch in &batches {
        log.append(now(), std::slice::from_ref(batch)).unwrap();
    }
    disk.drop_caches();
    let limit = ReadLimit::bytes(1000);
    assert!(matches!(log.probe(Offset(999), limit), Ok(Probe::Found(_))), "the tail is in memory");
    assert!(matches!(log.probe(Offset(1001), limit), Err(ReadError::OutOfRange { .. })));
    let mut cold = 0;
    for from in [5, 300, 950] {
        let found = loop {
            match log.probe(Offset(from), limit).unwrap() {
                Probe::Found(found) => break found,
                Probe::Cold(what) => {
                    what.fetch().unwrap();
                    cold += 1;
                }
            }
        };
        assert_eq!(bases(&found.read().unwrap())[0], from);
    }
    assert!(cold > 3, "index and batches of each segment were cold");
}

#[test]
fn what_has_not_let_go_of_its_name_stays_in_the_log() {
    for n in 1.. {
        let disk = disk();
        let config = LogConfig { retention_bytes: Some(0), ..small() };
        let mut log = open(&disk, config, OpenHint::NOTHING);
        for base in 0..30 {
            let producer = Some((7, 0, base as i32));
            log.append(now(), &[Recipe { producer, ..Recipe::at(base) }.batch()]).unwrap();
        }
        disk.refuse_rename(n);
        let removed = log.retain(now(), Offset(30)).unwrap();
        if disk.injected().refused_renames == 0 {
            assert!(n > 6);
            break;
        }
        removed.erase().unwrap();
        let bases: Vec<_> = log.segment_bases().collect();
        let there = names(&disk).into_iter().filter(|name| name.ends_with(".log")).count();
        assert_eq!(there, bases.len(), "refused at {n}");
        assert!(names(&disk).iter().all(|name| !name.ends_with(".deleted")), "refused at {n}");
        log.flush().unwrap();
        log.append(now(), &[Recipe::at(30).batch()]).unwrap();
        log.retain(now(), Offset(31)).unwrap().erase().unwrap();
        assert_eq!(log.segment_bases().len(), 1, "refused at {n}");
        assert!(log.failure().is_none());
    }
}

#[test]
fn a_full_disk_can_still_let_old_records_go() {
    let disk = disk();
    let config = LogConfig { retention_bytes: Some(0), index_interval_bytes: 0, ..small() };
    let mut log = open(&disk, config, OpenHint::NOTHING);
    for base in 0..30 {
        log.append(now(), &[Recipe::at(base).batch()]).unwrap();
    }
    disk.set_capacity(Some(total(&disk)));
    let removed = log.retain(now(), Offset(30)).unwrap();
    assert!(removed.segments > 2 && disk.injected().refused_writes > 0);
    removed.erase().unwrap();
    assert_eq!(log.segment_bases().len(), 1);
    assert!(log.size() > 0, "there was no room for a new segment");
    let removed = log.retain(now(), Offset(30)).unwrap();
    assert_eq!(removed.segments, 1, "now there is");
    removed.erase().unwrap();
    log.append(now(), &[Recipe::at(30).batch()]).unwrap();
}

/// The folder was synced before the new segment had its name in it.
#[test]
fn a_segment_made_beside_a_flush_is_still_to_be_named_for_good() {
    let disk = disk();
    let mut log = open(&disk, small(), OpenHint::NOTHING);
    log.append(now(), &[Recipe::at(0).batch()]).unwrap();
    let pending = log.prepare_flush().unwrap().expect("the folder is new");
    let flushed = pending.run();
    log.roll(now()).unwrap();
    log.finish_flush(flushed).unwrap();
    log.append(now(), &[Recipe::at(1).batch()]).unwrap();
    log.flush().unwrap();
    assert_eq!(log.recovery_point(), Offset(2));
    disk.reboot(Crash::Power);
    assert_eq!(open(&disk, small(), OpenHint::NOTHING).end_offset(), Offset(2));
}
