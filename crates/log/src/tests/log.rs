//! What a log promises on a disk that behaves.

use super::support::*;
use crate::disk::{Crash, Disk};
use crate::{LogConfig, OpenHint, ReadLimit};
use ottla_protocol::Offset;

#[test]
fn what_is_appended_is_read_and_survives_a_close() {
    let disk = disk();
    let mut log = open(&disk, LogConfig::default(), OpenHint::NOTHING);
    for base in 0..100 {
        let appended = log.append(now(), &[Recipe::at(base).batch()]).unwrap();
        assert_eq!((appended.first_offset, appended.last_offset), (Offset(base), Offset(base)));
    }
    let before = contents(&mut log);
    assert_eq!(bases(&before), (0..100).collect::<Vec<_>>());
    assert_eq!(log.close().unwrap(), Offset(100));
    disk.reboot(Crash::Power);
    let mut log = open(&disk, LogConfig::default(), OpenHint::CLEAN);
    assert_eq!((log.end_offset(), log.recovered().checked), (Offset(100), 0));
    assert_eq!(contents(&mut log), before);
    let names: Vec<String> = disk.list(DIR.as_ref()).unwrap().into_iter().map(|entry| entry.name).collect();
    let expected = [
        "00000000000000000000.index",
        "00000000000000000000.log",
        "00000000000000000000.timeindex",
        "00000000000000000100.snapshot",
        "leader-epoch-checkpoint",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_log_goes_on_under_another_name() {
    let disk = disk();
    let mut log = open(&disk, small(), OpenHint::NOTHING);
    for base in 0..20 {
        log.append(now(), &[Recipe::at(base).batch()]).unwrap();
    }
    log.rename_to("topic-0.00000000000000000000000000000001-delete").unwrap();
    for base in 20..40 {
        log.append(now(), &[Recipe::at(base).batch()]).unwrap();
    }
    assert_eq!(bases(&contents(&mut log)), (0..40).collect::<Vec<_>>());
    log.close().unwrap();
    assert!(disk.stat(DIR.as_ref()).unwrap().is_none());
}

#[test]
fn a_hundred_segments_are_read_under_a_limit_of_one_batch() {
    let disk = disk();
    let config = LogConfig { segment_bytes: 250, ..LogConfig::default() };
    let mut log = open(&disk, config, OpenHint::NOTHING);
    for base in 0..200 {
        log.append(now(), &[Recipe { body: 27, ..Recipe::at(base * 3) }.batch()]).unwrap();
    }
    assert_eq!(log.segment_bases().len(), 100);
    for limit in [0, 1, 100, 101, 102, 202, 303, 404, 1000, 1_000_000] {
        let mut from = Offset(0);
        let mut seen = Vec::new();
        while from < log.end_offset() {
            let found = log.read(from, ReadLimit::bytes(limit)).unwrap();
            assert!(found.bytes() <= u64::from(limit.max(101)), "limit {limit}");
            seen.extend(bases(&found.read().unwrap()));
            assert!(found.next > from);
            from = found.next;
        }
        assert_eq!(seen, (0..200).map(|base| base * 3).collect::<Vec<_>>(), "limit {limit}");
    }
}
