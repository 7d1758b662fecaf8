//! Fetch: what is read, when the answer comes, and what a session leaves out.

use ottla_log::MemoryDisk;
use ottla_protocol::codec::Records;
use ottla_protocol::messages::fetch::{ForgottenTopic, PartitionData};
use ottla_protocol::messages::{FetchRequest, FetchResponse};
use ottla_protocol::{Refusal, Uuid};

use super::requests::*;
use super::support::*;

fn rows(response: &FetchResponse) -> Vec<(&str, &PartitionData)> {
    let rows = response.responses.iter();
    rows.flat_map(|topic| topic.partitions.iter().map(|row| (topic.topic.as_str(), row))).collect()
}

fn length(row: &PartitionData) -> usize {
    match &row.records {
        Some(Records::Bytes(bytes)) => bytes.len(),
        other => panic!("records are never null: {other:?}"),
    }
}

/// Partitions with 10 batches of about 1 KiB each.
fn filled(partitions: i32) -> World {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", partitions);
    for partition in 0..partitions {
        for _ in 0..10 {
            base_offset(&world.call(&produce("t", partition, &["x".repeat(950).as_str()]), 9));
        }
    }
    world
}

#[test]
fn an_empty_partition_has_empty_records_in_every_version() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    let topic_id = world.topic_id("t");
    for version in 4..=18 {
        let mut request = FetchRequest { max_wait_ms: 0, ..fetch("t", 0, 0) };
        request.topics[0].topic_id = topic_id;
        let response = world.call(&request, version);
        let (_, row) = rows(&response)[0];
        assert_eq!((row.error_code, row.high_watermark, row.preferred_read_replica), (0, 0, -1));
        assert_eq!(length(row), 0);
        assert_eq!(row.aborted_transactions, None, "nobody asked for committed ones");
        let response = world.call(&FetchRequest { isolation_level: 1, ..request }, version);
        assert_eq!(rows(&response)[0].1.aborted_transactions, Some(Vec::new()));
    }
}

#[test]
fn limits_hold_but_for_one_batch() {
    let mut world = filled(3);
    let everything = [("t", 0, 0), ("t", 1, 0), ("t", 2, 0)];
    let lengths = |world: &mut World, max_bytes, partition_max_bytes| {
        let mut request = FetchRequest { max_bytes, ..fetch_all(&everything) };
        for topic in &mut request.topics {
            topic.partitions[0].partition_max_bytes = partition_max_bytes;
        }
        let response = world.call(&request, 12);
        rows(&response).into_iter().map(|(_, row)| length(row)).collect::<Vec<usize>>()
    };
    let whole = lengths(&mut world, 1 << 20, 1 << 20);
    let batch = whole[0] / 10;
    assert_eq!(whole, [batch * 10; 3]);
    assert_eq!(lengths(&mut world, 1 << 20, 2 * batch as i32 + 5), [batch * 2; 3], "whole batches");
    assert_eq!(lengths(&mut world, 1 << 20, 1), [batch; 3], "one batch where there is one");
    assert_eq!(lengths(&mut world, 1, 1 << 20), [batch, 0, 0], "the first may exceed the limit");
    assert_eq!(lengths(&mut world, 0, 0), [batch, 0, 0]);
    assert_eq!(lengths(&mut world, -1, -1), [batch, 0, 0]);
    let half = lengths(&mut world, batch as i32 * 15, 1 << 20);
    assert_eq!(half, [batch * 10, batch * 5, 0], "the limit is filled with whole batches");
    let little = lengths(&mut world, batch as i32 * 10 + 5, 1 << 20);
    assert_eq!(little, [batch * 10, 0, 0], "what is left is too little for a batch");
}

#[test]
fn an_answer_waits_for_enough_bytes_and_no_longer_than_it_may() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    let request = FetchRequest { min_bytes: 2500, max_wait_ms: 1000, ..fetch("t", 0, 0) };
    let large = "x".repeat(950);
    world.connect(ottla_broker::core::SessionId(2), ottla_broker::core::CoreId(1), 0);
    world.send(&request, 12);
    for number in 0..3 {
        assert!(world.receive::<FetchRequest>(12).is_none(), "{number} batches are not enough");
        let (session, core) = (ottla_broker::core::SessionId(2), ottla_broker::core::CoreId(1));
        world.send_from(session, core, &produce("t", 0, &[large.as_str()]), 9);
        world.pass(10);
    }
    assert_eq!(values(&world.receive::<FetchRequest>(12).unwrap()).len(), 3);
    // What is there is given when the time is up.
    let request = FetchRequest { min_bytes: 1 << 20, max_wait_ms: 1000, ..fetch("t", 0, 0) };
    world.send(&request, 12);
    world.pass(999);
    assert!(world.receive::<FetchRequest>(12).is_none());
    world.pass(1);
    assert_eq!(values(&world.receive::<FetchRequest>(12).unwrap()).len(), 3);
    // Nobody waits for more than there may be in the answer.
    let request = FetchRequest { min_bytes: 1 << 20, max_bytes: 500, ..fetch("t", 0, 0) };
    assert_eq!(values(&world.call(&request, 12)).len(), 1);
}

#[test]
fn offsets_out_of_range_and_wrong_epochs_are_refused_at_once() {
    let mut world = filled(1);
    let epochs = |offset, current, last| {
        let mut request = fetch("t", 0, offset);
        request.topics[0].partitions[0].current_leader_epoch = current;
        request.topics[0].partitions[0].last_fetched_epoch = last;
        request
    };
    let cases = [
        (epochs(11, -1, -1), Refusal::OffsetOutOfRange),
        (epochs(-1, -1, -1), Refusal::OffsetOutOfRange),
        (epochs(0, 9, -1), Refusal::UnknownLeaderEpoch),
        (epochs(0, 0, 9), Refusal::OffsetOutOfRange),
    ];
    for (request, expected) in cases {
        let response = world.call(&request, 12);
        let (_, row) = rows(&response)[0];
        assert_eq!(Refusal::from_code(row.error_code), Some(expected));
        assert_eq!((row.high_watermark, row.last_stable_offset, row.log_start_offset), (-1, -1, -1));
        assert_eq!(length(row), 0);
    }
    let response = world.call(&epochs(3, 0, 0), 12);
    assert_eq!(records(&response).len(), 7);
    assert_eq!(rows(&response)[0].1.diverging_epoch, Default::default());
}

#[test]
fn partitions_that_are_not_there_do_not_hurry_the_others() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    let response = world.call(&fetch_all(&[("u", 0, 0), ("t", 5, 0)]), 12);
    let codes: Vec<_> = rows(&response).iter().map(|(topic, row)| (*topic, row.error_code)).collect();
    assert_eq!(codes, [("u", 3), ("t", 3)], "with nothing to wait for the answer comes at once");
    world.send(&fetch_all(&[("u", 0, 0), ("t", 0, 0)]), 12);
    assert!(world.receive::<FetchRequest>(12).is_none());
    world.pass(500);
    let response = world.receive::<FetchRequest>(12).unwrap();
    let codes: Vec<_> = rows(&response).iter().map(|(topic, row)| (*topic, row.error_code)).collect();
    assert_eq!(codes, [("u", 3), ("t", 0)]);
}

#[test]
fn from_version_13_topics_go_by_their_ids() {
    let mut world = filled(1);
    let topic_id = world.topic_id("t");
    let by_id = |topic_id| {
        let mut request = FetchRequest { max_wait_ms: 0, ..fetch("", 0, 0) };
        request.topics[0].topic_id = topic_id;
        request
    };
    for version in 13..=18 {
        let response = world.call(&by_id(topic_id), version);
        assert_eq!(response.responses[0].topic_id, topic_id);
        assert_eq!(records(&response).len(), 10);
        let response = world.call(&by_id(Uuid::from_random([3; 16])), version);
        assert_eq!(rows(&response)[0].1.error_code, Refusal::UnknownTopicId.code());
    }
}

#[test]
fn a_topic_that_goes_wakes_who_waits_for_it() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    world.send(&FetchRequest { max_wait_ms: 60_000, ..fetch("t", 0, 0) }, 12);
    let (session, core) = (ottla_broker::core::SessionId(2), ottla_broker::core::CoreId(1));
    world.connect(session, core, 0);
    world.send_from(session, core, &delete(&["t"], 6), 6);
    let response = world.receive::<FetchRequest>(12).expect("an answer without a minute's wait");
    assert_ne!(rows(&response)[0].1.error_code, 0);
}

#[test]
fn a_session_tells_only_what_is_new() {
    let mut world = filled(3);
    let mut first =
        FetchRequest { session_epoch: 0, ..fetch_all(&[("t", 0, 10), ("t", 1, 10), ("u", 0, 0)]) };
    first.max_wait_ms = 0;
    let response = world.call(&first, 12);
    let id = response.session_id;
    assert!(id > 0);
    assert_eq!(rows(&response).len(), 3, "the first answer is complete");
    let next = |epoch, partitions: &[(&str, i32, i64)]| FetchRequest {
        session_id: id,
        session_epoch: epoch,
        max_wait_ms: 0,
        ..fetch_all(partitions)
    };
    let told = |response: &FetchResponse| -> Vec<(String, i32, i16)> {
        let rows = rows(response).into_iter();
        rows.map(|(topic, row)| (topic.to_owned(), row.partition_index, row.error_code)).collect()
    };
    assert_eq!(told(&world.call(&next(1, &[]), 12)), [("u".to_owned(), 0, 3)], "errors are always news");
    base_offset(&world.call(&produce("t", 1, &["new"]), 9));
    let response = world.call(&next(2, &[("t", 2, 10)]), 12);
    let mut news = told(&response);
    news.sort();
    assert_eq!(news, [("t".to_owned(), 1, 0), ("t".to_owned(), 2, 0), ("u".to_owned(), 0, 3)]);
    let mut forgets = next(3, &[("t", 1, 11)]);
    forgets.forgotten_topics_data =
        vec![ForgottenTopic { topic: "u".into(), partitions: vec![0], ..Default::default() }];
    assert_eq!(told(&world.call(&forgets, 12)), []);
    let wrong = world.call(&next(3, &[]), 12);
    assert_eq!(wrong.error_code, Refusal::InvalidFetchSessionEpoch.code());
    assert_eq!((wrong.session_id, wrong.responses.len()), (0, 0));
    let other = world.call(&FetchRequest { session_id: id + 1, ..next(4, &[]) }, 12);
    assert_eq!(other.error_code, Refusal::FetchSessionIdNotFound.code());
    let by_id = world.call(&next(4, &[]), 13);
    assert_eq!(by_id.error_code, Refusal::FetchSessionTopicIdError.code());
    let over = world.call(&FetchRequest { session_epoch: -1, ..next(4, &[("t", 0, 0)]) }, 12);
    assert_eq!((over.session_id, records(&over).len()), (0, 10));
}

#[test]
fn a_follower_that_is_none_is_refused() {
    let mut world = filled(1);
    let response = world.call(&FetchRequest { replica_id: 7, ..fetch("t", 0, 0) }, 12);
    assert_eq!(rows(&response)[0].1.error_code, Refusal::NotLeaderOrFollower.code());
}
