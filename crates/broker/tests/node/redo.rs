//! Flushes that share a redo file: how many there are, what happens when it is full, and what is left after a crash.

use std::path::Path;

use ottla_broker::core::{CoreId, Input, SessionId};
use ottla_broker::disk_work::DiskWork;
use ottla_log::MemoryDisk;
use ottla_log::disk::{Crash, Disk};
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::produce::PartitionProduceData;
use ottla_protocol::messages::{DeleteTopicsRequest, ListOffsetsRequest, ProduceRequest};

use super::requests::*;
use super::support::*;

const SYNCED: &[(&str, &str)] = &[("log.flush.interval.messages", "1")];
const PARTITIONS: i32 = 8;

/// One batch for each partition.
fn produce_everywhere(value: &str) -> ProduceRequest {
    let mut request = produce("t", 0, &[value]);
    let first = request.topic_data[0].partition_data[0].clone();
    request.topic_data[0].partition_data =
        (0..PARTITIONS).map(|index| PartitionProduceData { index, ..first.clone() }).collect();
    request
}

fn end_offset(world: &mut World, partition_index: i32) -> i64 {
    let partition = ListOffsetsPartition { partition_index, timestamp: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: "t".into(), partitions: vec![partition] };
    let request = ListOffsetsRequest { topics: vec![topic], replica_id: -1, ..Default::default() };
    world.call(&request, 7).topics[0].partitions[0].offset
}

fn redo_files(memory: &MemoryDisk) -> usize {
    let names = memory.list(Path::new("./data")).unwrap_or_default();
    names.iter().filter(|entry| entry.name.starts_with("ottla-redo-")).count()
}

#[test]
fn flushes_of_a_core_go_together_once_their_folders_are_on_the_disk() {
    let memory = MemoryDisk::new();
    let mut world = World::start(&memory, SYNCED);
    world.create("t", PARTITIONS);
    world.held = Some(Vec::new());
    world.send(&produce_everywhere("a"), 9);
    assert_eq!(world.run_held(), PARTITIONS as usize, "the first flush of each takes its folder along");
    assert!(world.receive::<ProduceRequest>(9).is_some());
    assert_eq!(redo_files(&memory), 0);
    world.send(&produce_everywhere("b"), 9);
    assert!(world.receive::<ProduceRequest>(9).is_none(), "not before it is on the disk");
    let syncs = memory.syncs();
    assert_eq!(world.run_held(), usize::from(CORES), "one write for each core");
    assert!(world.receive::<ProduceRequest>(9).is_some());
    assert_eq!(redo_files(&memory), usize::from(CORES));
    // Made, named and written.
    assert_eq!(memory.syncs() - syncs, 3 * u64::from(CORES));
    world.held = None;
    let syncs = memory.syncs();
    world.call(&produce_everywhere("c"), 9);
    assert_eq!(memory.syncs() - syncs, u64::from(CORES), "one sync for each core");
    world.stop();
    drop(world);
    assert_eq!(redo_files(&memory), 0, "a clean stop leaves none");
}

/// Runs the writes to redo files that are held, and nothing else.
fn run_redo(world: &mut World) {
    loop {
        let held = world.held.replace(Vec::new()).unwrap();
        let is_redo = |(_, work): &(_, DiskWork)| matches!(work, DiskWork::Redo(..));
        let (redo, others): (Vec<_>, Vec<_>) = held.into_iter().partition(is_redo);
        world.held.as_mut().unwrap().extend(others);
        if redo.is_empty() {
            return;
        }
        for (core, work) in redo {
            world.tell(core, Input::DiskDone(work.run()));
        }
        world.settle();
    }
}

/// The logs' own flushes take long: what stands in the redo files is all there is.
#[test]
fn a_redo_file_is_not_begun_anew_while_a_log_relies_on_it() {
    let memory = MemoryDisk::new();
    let mut world = World::start(&memory, SYNCED);
    world.create("t", PARTITIONS);
    world.call(&produce_everywhere("a"), 9);
    world.held = Some(Vec::new());
    let large = "v".repeat(40_000);
    let mut acknowledged = [1; PARTITIONS as usize];
    // One partition after the other, each until it waits for its log's own flush.
    for (index, count) in acknowledged.iter_mut().enumerate() {
        // Answers to one connection come in order, so each has its own.
        let session = SessionId(10 + index as u32);
        world.connect(session, CoreId(0), 0);
        loop {
            world.send_from(session, CoreId(0), &produce("t", index as i32, &[&large]), 9);
            run_redo(&mut world);
            if world.receive_at::<ProduceRequest>(session, 9).is_none() {
                break;
            }
            *count += 1;
            assert!(*count < 1000, "there must be an end to what two files take");
        }
    }
    assert!(acknowledged.iter().sum::<i64>() > 150, "all files are full after {acknowledged:?}");
    drop(world);
    memory.reboot(Crash::Power);
    let mut world = World::start(&memory, SYNCED);
    let ends: Vec<i64> = (0..PARTITIONS).map(|partition| end_offset(&mut world, partition)).collect();
    assert_eq!(ends, acknowledged);
}

#[test]
fn a_topic_that_is_deleted_while_its_flush_waits_is_relied_on_by_nobody() {
    let memory = MemoryDisk::new();
    let mut world = World::start(&memory, SYNCED);
    world.create("t", PARTITIONS);
    world.create("gone", 2);
    world.call(&produce_everywhere("a"), 9);
    for partition in [0, 1] {
        world.call(&produce("gone", partition, &["a"]), 9);
    }
    world.held = Some(Vec::new());
    for request in [produce_everywhere("b"), produce("gone", 0, &["b"]), produce("gone", 1, &["b"])] {
        world.send(&request, 9);
    }
    let delete = DeleteTopicsRequest { topic_names: vec!["gone".into()], ..Default::default() };
    world.connect(SessionId(9), CoreId(0), 0);
    world.send_from(SessionId(9), CoreId(0), &delete, 5);
    let deleted = world.receive_at::<DeleteTopicsRequest>(SessionId(9), 5).expect("it is deleted");
    assert_eq!(deleted.responses[0].error_code, 0);
    while world.run_held() > 0 {}
    world.held = None;
    for _ in 0..3 {
        assert!(world.receive::<ProduceRequest>(9).is_some());
    }
    // Each file is filled, begun anew and filled again.
    let mut together = 0;
    for _ in 0..100 {
        let syncs = memory.syncs();
        world.call(&produce_everywhere(&"v".repeat(40_000)), 9);
        together += usize::from(memory.syncs() - syncs == u64::from(CORES));
    }
    assert!(together > 70, "flushes went together only {together} times");
}

/// Appends of 40 KB fill a redo file in a few rounds, so the two take turns all the time.
#[test]
fn nothing_acknowledged_is_lost_while_redo_files_take_turns() {
    let memory = MemoryDisk::new();
    let (mut acknowledged, mut crashes, mut both) = (0, 0, 0);
    for life in 0..24_u64 {
        let mut world = World::start(&memory, SYNCED);
        if life == 0 {
            world.create("t", PARTITIONS);
        }
        for partition in 0..PARTITIONS {
            let end = end_offset(&mut world, partition);
            assert!(
                end >= acknowledged,
                "life {life}: partition {partition} ends at {end}, not {acknowledged}"
            );
        }
        let least = (0..PARTITIONS).map(|partition| end_offset(&mut world, partition)).min();
        acknowledged = least.unwrap();
        memory.crash_at(20 + life * 37 % 900);
        while !memory.has_crashed() {
            let value = "v".repeat(40_000 + acknowledged as usize % 7);
            let Some(answer) = world.try_call(&produce_everywhere(&value), 9) else { break };
            let rows = &answer.responses[0].partition_responses;
            if rows.iter().any(|row| row.error_code != 0) {
                break;
            }
            acknowledged += 1;
            both += usize::from(redo_files(&memory) == 2 * usize::from(CORES));
        }
        assert!(memory.has_crashed(), "the disk was to stop");
        drop(world);
        crashes += 1;
        let seed = life;
        memory.reboot(match life % 4 {
            0 => Crash::Process,
            1 => Crash::Power,
            2 => Crash::Torn { seed },
            _ => Crash::Scattered { seed },
        });
    }
    assert!(crashes == 24 && both > 100, "{both} rounds with both files");
}
