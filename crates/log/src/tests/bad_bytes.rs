//! Files that say impossible things where a start believes them.

use super::support::*;
use crate::disk::Disk;
use crate::{OpenHint, Stop};
use ottla_protocol::Offset;

/// A closed log of several segments whose first has lost an index and holds a batch at an impossible offset: the base
/// offset lies outside of the checksum, so nothing else shows it.
fn displaced(by: i64) -> crate::disk::MemoryDisk {
    let disk = disk();
    let mut log = open(&disk, small(), OpenHint::NOTHING);
    for base in 0..40 {
        log.append(now(), &[Recipe::at(base).batch()]).unwrap();
    }
    log.close().unwrap();
    let first = path("00000000000000000000.log");
    let mut bytes = disk.read(&first).unwrap().unwrap();
    let third = 2 * Recipe::at(0).batch().size();
    bytes[third..third + 8].copy_from_slice(&by.to_be_bytes());
    disk.replace(&first, &bytes).unwrap();
    disk.remove(&path("00000000000000000000.index")).unwrap();
    disk
}

#[test]
fn a_segment_without_an_index_is_cut_at_an_impossible_offset() {
    for hint in [
        OpenHint::CLEAN,
        OpenHint { stop: Stop::Unclean, recovery_point: Offset(40), log_start: Offset::ZERO },
    ] {
        for by in [1 << 31, 1 << 40, i64::MAX - 10] {
            let log = open(&displaced(by), small(), hint);
            assert_eq!(
                (log.start_offset(), log.end_offset()),
                (Offset(0), Offset(40)),
                "{by} {:?}",
                hint.stop
            );
            assert!(log.recovered().cut > 0);
        }
    }
}
