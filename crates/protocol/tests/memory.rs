//! Nothing a peer sends makes a decoder take more heap than its bound, or panic, or take long.

use std::alloc::System;

use bytes::Bytes;
use ottla_protocol::catalogue::{ENTRIES, Entry};
use ottla_protocol::codec::{Reader, Writer, memory_bound};
use ottla_protocol::header::RequestHeader;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// All the heap that a call asked for, given back or not: never less than what it had in use at once.
fn heap(work: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    region.change().bytes_allocated
}

/// The allocator counts for the whole process, so nothing else may run beside.
#[test]
fn no_frame_costs_more_than_it_may() {
    one_byte_over_and_over();
    counts_at_every_place();
    flipped_bits();
    a_flood_of_tags();
}

fn check(entry: &Entry, version: i16, frame: &Bytes, what: &str) {
    let bound = memory_bound(frame.len());
    assert!(bound <= 16 * frame.len() + 64 * 1024 && bound <= 4 * frame.len() + 64 * 1024 + 1024 * 1024);
    let mut reader = Reader::new(frame.clone());
    let used = heap(|| {
        let _ = (entry.decode)(&mut reader, version);
    });
    assert!(
        used <= bound,
        "{} v{version}, {what}: {used} bytes of heap for a frame of {}",
        entry.name,
        frame.len()
    );
}

fn random(entry: &Entry, version: i16, seed: u64) -> Vec<u8> {
    let mut writer = Writer::new();
    (entry.copy)(&mut Reader::random(seed), version, &mut writer, version).unwrap();
    writer.into_bytes().to_vec()
}

fn one_byte_over_and_over() {
    for entry in ENTRIES {
        for version in [entry.min, entry.max] {
            for byte in [0x00, 0x01, 0x02, 0x03, 0x10, 0x7f, 0x80, 0xff] {
                for size in [12, 1000, 150_000] {
                    check(entry, version, &vec![byte; size].into(), &format!("{size} × {byte:#x}"));
                }
            }
        }
    }
}

/// A count as large as may pass the first check, at every place of a message, before a flood of small values.
fn counts_at_every_place() {
    for entry in ENTRIES {
        let version = entry.max;
        let bytes = random(entry, version, 7);
        for place in 0..bytes.len().min(120) {
            for count in [
                &[0xff, 0xff, 0xff, 0xff, 0x0f][..],
                &[0xff, 0xff, 0x03],
                &[0x7f, 0xff, 0xff, 0xff],
                &[0, 0, 0xff, 0xff],
            ] {
                let mut frame = bytes[..place].to_vec();
                frame.extend_from_slice(count);
                frame.resize(frame.len() + 70_000, 1);
                check(entry, version, &frame.into(), &format!("{count:x?} at {place}"));
            }
        }
    }
}

fn flipped_bits() {
    for entry in ENTRIES {
        for version in entry.min..=entry.max {
            let bytes = random(entry, version, 3);
            for place in 0..bytes.len().min(120) {
                for bit in [0x01, 0x80, 0xff] {
                    let mut frame = bytes.clone();
                    frame[place] ^= bit;
                    check(entry, version, &frame.into(), &format!("bit {bit:#x} at {place}"));
                }
            }
        }
    }
}

fn a_flood_of_tags() {
    // 2³² − 1 tags are announced; each that comes costs two bytes.
    let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
    for tag in 0u8..100 {
        frame.extend_from_slice(&[tag, 0]);
    }
    let mut header = vec![0, 18, 0, 3, 0, 0, 0, 1, 0xff, 0xff];
    header.extend_from_slice(&frame);
    let used = heap(|| assert!(RequestHeader::decode(&mut Reader::new(header.into()), 2).is_err()));
    assert!(used < 64 * 1024, "{used}");
}
