//! The disk stops at every single change, loses what was not synced, and the log is opened again.
//!
//! Whatever is there then must be what was appended, in order and without gaps; everything that was flushed must be
//! there; producers, transactions and epochs must be what the batches that are left say; and the log must go on.

use std::sync::Arc;

use ottla_protocol::Offset;

use super::session::*;
use super::support::*;
use crate::disk::{Crash, Injected, MemoryDisk};
use crate::redo::{self, Restored};
use crate::{Disk, LogConfig, Offsets, OpenHint, Stop};

fn script(seed: u64, length: usize, menu: &[fn(u64) -> Op]) -> Vec<Op> {
    let mut dice = Dice(seed);
    (0..length).map(|_| menu[dice.roll(menu.len() as u64) as usize](dice.roll(1 << 30))).collect()
}

const APPENDING: &[fn(u64) -> Op] = &[
    Op::Append,
    Op::Append,
    Op::Append,
    Op::Transact,
    Op::Transact,
    Op::Transact,
    |_| Op::NewEpoch,
    |_| Op::Flush,
    Op::FlushBeside,
    |_| Op::Roll,
    |_| Op::Reopen,
];

const CUTTING: &[fn(u64) -> Op] = &[
    Op::Append,
    Op::Append,
    Op::Append,
    Op::Transact,
    Op::Transact,
    Op::Truncate,
    |_| Op::NewEpoch,
    |_| Op::Flush,
];

const SHARING: &[fn(u64) -> Op] = &[
    Op::Append,
    |_| Op::Redo,
    Op::Append,
    Op::RedoBeside,
    Op::Transact,
    |_| Op::Redo,
    Op::Append,
    |_| Op::Redo,
    Op::RedoBeside,
    |_| Op::Redo,
    |_| Op::Settle,
    |_| Op::NewEpoch,
];

const STARTING_OVER: &[fn(u64) -> Op] =
    &[Op::Append, Op::Append, Op::Transact, Op::TruncateFully, |_| Op::Flush, |_| Op::Reopen];

const RETAINING: &[fn(u64) -> Op] =
    &[Op::Append, Op::Append, Op::Append, Op::DeleteRecords, |_| Op::Retain, |_| Op::Flush, |_| Op::Reopen];

/// Runs the script until the disk stops at its `n`-th change; `None` when the script ends before.
fn run_until(n: u64, config: LogConfig, seed: u64, ops: &[Op]) -> Option<(Session, Vec<Possible>)> {
    let disk = disk();
    disk.crash_at(n);
    let mut session = match Session::new(disk.clone(), config, seed) {
        Ok(session) => session,
        Err((session, _)) => {
            let possible = session.as_it_is();
            return Some((*session, vec![possible]));
        }
    };
    for op in ops {
        if let Err((error, possible)) = session.step(*op) {
            assert!(disk.has_crashed(), "{op:?}: {error}");
            return Some((session, possible));
        }
        if disk.has_crashed() {
            // A failure that the log could do without.
            let possible = session.as_it_is();
            return Some((session, vec![possible]));
        }
    }
    None
}

fn check(session: &Session, possible: &[Possible], crash: Crash, depth: Depth) -> (Injected, Restored) {
    let recovery_point = session.recovery_point;
    let disk: MemoryDisk = session.disk.fork();
    disk.reboot(crash);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let recovery_points = Offsets::from([(("topic".to_owned(), 0), recovery_point)]);
    let restored = redo::restore(&shared, "/data".as_ref(), &recovery_points, now()).unwrap();
    let hint =
        OpenHint { stop: Stop::Unclean, recovery_point, log_start: possible[0].starts.0.min(session.start) };
    let mut log = open(&disk, session.config, hint);
    let (start, end) = (log.start_offset(), log.end_offset());
    let fits = |possible: &&Possible| {
        let holds = possible.batches.iter().any(|batch| batch.header().next_offset() == end)
            || possible.batches.first().is_none_or(|batch| batch.header().base_offset == end)
            || end == possible.least_end
            || end == start;
        holds
            && end >= possible.least_end
            && start >= possible.starts.0
            && start <= possible.starts.1.max(end)
    };
    let found = possible.iter().find(fits);
    let found = found.unwrap_or_else(|| panic!("{start}..{end} after {crash:?} is none of {possible:#?}"));
    let batches: Vec<_> =
        found.batches.iter().filter(|batch| batch.header().next_offset() <= end).cloned().collect();
    compare(&mut log, &batches, depth);
    // It goes on, and a clean stop leaves it as it is.
    let epoch = batches.last().map_or(0, |batch| batch.header().leader_epoch.0) + 1;
    let next = Recipe { epoch, ..Recipe::at(end.0) }.batch();
    log.append(now(), std::slice::from_ref(&next)).unwrap();
    let all: Vec<_> = batches.into_iter().chain([next]).collect();
    log.close().unwrap();
    disk.reboot(Crash::Power);
    let hint = OpenHint { log_start: start, ..OpenHint::CLEAN };
    let mut log = open(&disk, session.config, hint);
    assert_eq!(log.recovered().checked, 0);
    assert_eq!(log.end_offset(), Offset(end.0 + 1));
    compare(&mut log, &all, depth);
    (disk.injected(), restored)
}

fn crashes(seed: u64) -> [Crash; 6] {
    [
        Crash::Process,
        Crash::Power,
        Crash::Torn { seed },
        Crash::Torn { seed: seed + 1000 },
        Crash::Scattered { seed },
        Crash::Scattered { seed: seed + 1000 },
    ]
}

/// Every change of every script, every way to crash.
fn everywhere(config: LogConfig, menu: &[fn(u64) -> Op], depth: Depth) -> Restored {
    let mut total = Injected::default();
    let mut redone = Restored::default();
    let mut stops = 0;
    for seed in 0..3 {
        let ops = script(seed, 30, menu);
        for n in 1.. {
            let Some((session, possible)) = run_until(n, config, seed, &ops) else { break };
            stops += 1;
            for crash in crashes(seed * 10_000 + n) {
                let (injected, restored) = check(&session, &possible, crash, depth);
                redone.logs += restored.logs;
                redone.batches += restored.batches;
                total.crashes += injected.crashes;
                total.torn_writes += injected.torn_writes;
                total.lost_changes += injected.lost_changes;
            }
        }
    }
    assert!(stops > 150, "only {stops} places to stop at");
    assert!(
        total.crashes >= stops * 6 && total.torn_writes > stops && total.lost_changes > stops,
        "{total:?}"
    );
    redone
}

#[test]
fn a_log_that_grows_survives_a_crash_anywhere() {
    let _ = everywhere(small(), APPENDING, Depth::Whole);
}

#[test]
fn a_log_gets_back_from_a_redo_file_what_a_crash_has_taken() {
    let config = LogConfig { segment_bytes: 2000, ..small() };
    let restored = everywhere(config, SHARING, Depth::Whole);
    assert!(restored.logs > 500 && restored.batches > 50, "{restored:?}");
}

/// Nearly each flush finds another active segment when it comes back.
#[test]
fn a_segment_that_ends_while_its_flush_is_under_way_survives_a_crash_anywhere() {
    let menu: &[fn(u64) -> Op] =
        &[Op::Append, |_| Op::Redo, Op::RedoBeside, |_| Op::Settle, Op::RedoBeside, Op::FlushBeside];
    let restored = everywhere(LogConfig { segment_bytes: 1000, ..small() }, menu, Depth::Whole);
    assert!(restored.logs > 100, "{restored:?}");
}

#[test]
fn a_preallocated_log_survives_a_crash_anywhere() {
    let _ = everywhere(LogConfig { preallocate_bytes: 300, ..small() }, APPENDING, Depth::Whole);
}

#[test]
fn a_log_that_is_cut_survives_a_crash_anywhere() {
    let _ = everywhere(small(), CUTTING, Depth::Whole);
}

#[test]
fn a_log_that_starts_over_survives_a_crash_anywhere() {
    let _ = everywhere(small(), STARTING_OVER, Depth::AfterRetention);
}

#[test]
fn a_log_that_lets_old_records_go_survives_a_crash_anywhere() {
    let _ = everywhere(LogConfig { retention_bytes: Some(900), ..small() }, RETAINING, Depth::AfterRetention);
}
