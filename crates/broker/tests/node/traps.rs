//! Where other implementations fell, one test for each trap that is a node's to avoid.

use ottla_broker::core::{CoreId, SessionId};
use ottla_log::MemoryDisk;
use ottla_log::disk::Crash;
use ottla_protocol::batch::BatchFields;
use ottla_protocol::codec::Records;
use ottla_protocol::messages::{FetchRequest, ProduceRequest};

use super::requests::*;
use super::support::*;

/// Reads a partition to its end, in small bites, as a consumer does.
fn consume(world: &mut World, topic: &str, partition_max_bytes: i32) -> Vec<(i64, String)> {
    let mut all: Vec<(i64, String)> = Vec::new();
    loop {
        let next = all.last().map_or(0, |(offset, _)| offset + 1);
        let mut request = FetchRequest { max_wait_ms: 0, ..fetch(topic, 0, next) };
        request.topics[0].partitions[0].partition_max_bytes = partition_max_bytes;
        let response = world.call(&request, 12);
        let found = records(&response).into_iter().filter(|(offset, _)| *offset >= next);
        let before = all.len();
        all.extend(found);
        if all.len() == before {
            return all;
        }
    }
}

#[test]
fn a_fetch_across_many_segments_skips_nothing_whatever_its_limit() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create_with("t", 1, &[("segment.ms", "1")]);
    let mut expected = Vec::new();
    for number in 0..60 {
        world.pass(5);
        let value = format!("{number}:{}", "x".repeat(number * 7 % 90));
        let bytes = timed_batch(&BatchFields::default(), &[(world.now.wall_ms, value.as_str())]);
        let offset = base_offset(&world.call(&produce_batch("t", 0, bytes), 9));
        expected.push((offset, value));
    }
    for limit in [1, 70, 100, 150, 333, 1000, 5000, 1 << 20] {
        assert_eq!(consume(&mut world, "t", limit), expected, "with a limit of {limit}");
    }
}

#[test]
fn batches_larger_than_any_window_outlive_a_crash() {
    for size in [(1 << 16) - 70, 1 << 16, (1 << 20) - 70, 1 << 20, (1 << 20) + 1, 3 << 20] {
        let memory = MemoryDisk::new();
        let properties = [("message.max.bytes", "5000000")];
        let mut world = World::start(&memory, &properties);
        world.create("t", 1);
        let large = "x".repeat(size);
        for value in ["before", large.as_str(), "after"] {
            base_offset(&world.call(&produce("t", 0, &[value]), 9));
        }
        drop(world);
        memory.reboot(Crash::Process);
        let mut world = World::start(&memory, &properties);
        let mut length = |offset| {
            let mut request = fetch("t", 0, offset);
            request.topics[0].partitions[0].partition_max_bytes = 1;
            let response = world.call(&request, 12);
            let row = &response.responses[0].partitions[0];
            assert_eq!((row.error_code, row.high_watermark), (0, 3));
            match &row.records {
                Some(Records::Bytes(bytes)) => bytes.len(),
                other => panic!("{other:?}"),
            }
        };
        let lengths = [length(0), length(1), length(2)];
        assert!(lengths[0] < 100 && lengths[1] > size && lengths[2] < 100, "{lengths:?}");
    }
}

#[test]
fn the_nodes_own_limit_on_a_fetch_holds() {
    let mut world = World::start(&MemoryDisk::new(), &[("fetch.max.bytes", "3000")]);
    world.create("t", 1);
    for _ in 0..5 {
        base_offset(&world.call(&produce("t", 0, &["x".repeat(900).as_str()]), 9));
    }
    let request = FetchRequest { max_bytes: i32::MAX, ..fetch("t", 0, 0) };
    assert_eq!(values(&world.call(&request, 12)).len(), 3);
}

#[test]
fn no_append_is_missed_between_a_read_and_the_wait_after_it() {
    // Whoever's turn it is, the reader hears of the record without letting time pass.
    for order in 0..200 {
        let memory = MemoryDisk::new();
        let mut world = World::try_start(&memory, Start { order, ..Start::with(&[]) }).unwrap();
        world.create("t", 4);
        let writer = SessionId(2);
        world.connect(writer, CoreId(1), 0);
        for partition in 0..4 {
            // Both are on their way before anybody takes a step.
            world.post(CLIENT, CoreId(0), &fetch("t", partition, 0), 12);
            world.post(writer, CoreId(1), &produce("t", partition, &["a"]), 9);
            world.settle();
            let response = world.receive::<FetchRequest>(12);
            assert_eq!(values(&response.expect("an answer at once")), ["a"], "order {order}");
            base_offset(&world.receive_at::<ProduceRequest>(writer, 9).unwrap());
        }
    }
}

#[test]
fn a_topic_may_ask_for_more_in_sync_replicas_than_it_has() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create_with("t", 1, &[("min.insync.replicas", "3")]);
    assert_eq!(base_offset(&world.call(&produce("t", 0, &["a"]), 9)), 0);
}

#[test]
fn a_topic_that_was_just_made_can_be_written_by_everybody() {
    for order in 0..50 {
        let memory = MemoryDisk::new();
        let mut world = World::try_start(&memory, Start { order, ..Start::with(&[]) }).unwrap();
        let other = SessionId(2);
        world.connect(other, CoreId(1), 0);
        for round in 0..3 {
            world.create("t", 6);
            for partition in 0..6 {
                world.send_from(other, CoreId(1), &produce("t", partition, &["a"]), 9);
                let response = world.receive_at::<ProduceRequest>(other, 9).unwrap();
                assert_eq!(base_offset(&response), 0, "round {round}: the topic before is gone");
            }
            let response = world.call(&delete(&["t"], 6), 6);
            assert_eq!(response.responses[0].error_code, 0);
        }
    }
}
