//! The life of a node: what is written is read again, also after a restart; requests wait, wake and keep their order.

use bytes::BytesMut;
use ottla_broker::core::{CoreId, Input, SessionId};
use ottla_log::{Disk, MemoryDisk};
use ottla_protocol::codec::{Reader, Writer};
use ottla_protocol::header::RequestHeader;
use ottla_protocol::messages::{
    ApiVersionsRequest, DescribeClusterRequest, FetchRequest, InitProducerIdRequest, MetadataRequest,
    ProduceRequest,
};
use ottla_protocol::{Message, Uuid};

use super::requests::*;
use super::support::*;

#[test]
fn records_come_back_as_they_were_written_also_after_a_restart() {
    let disk = MemoryDisk::new();
    let mut world = World::start(&disk, &[]);
    world.create("t", 4);
    for partition in 0..4 {
        assert_eq!(base_offset(&world.call(&produce("t", partition, &["a", "b"]), 9)), 0);
        assert_eq!(base_offset(&world.call(&produce("t", partition, &["c"]), 9)), 2);
        assert_eq!(values(&world.call(&fetch("t", partition, 0), 12)), ["a", "b", "c"]);
    }
    world.stop();
    drop(world);
    let mut world = World::start(&disk, &[]);
    for partition in 0..4 {
        assert_eq!(values(&world.call(&fetch("t", partition, 0), 12)), ["a", "b", "c"]);
        assert_eq!(base_offset(&world.call(&produce("t", partition, &["d"]), 9)), 3);
    }
}

#[test]
fn a_clean_stop_closes_some_logs_at_a_time_and_all_of_them() {
    let disk = MemoryDisk::new();
    let mut world = World::start(&disk, &[]);
    world.create("t", 200);
    assert_eq!(base_offset(&world.call(&produce("t", 7, &["a"]), 9)), 0);
    world.held = Some(Vec::new());
    world.begin_stop();
    let (mut closed, mut most) = (0, 0);
    for _ in 0..100 {
        world.settle();
        world.pass(50);
        let count = world.run_held();
        (closed, most) = (closed + count, most.max(count));
        if world.finished {
            break;
        }
    }
    assert!(world.finished, "the node does not stop");
    assert!(closed >= 200, "{closed} logs were closed");
    assert!(most <= 2 * 32, "{most} at once");
    drop(world);
    let mut world = World::start(&disk, &[]);
    assert_eq!(values(&world.call(&fetch("t", 7, 0), 12)), ["a"]);
}

/// librdkafka forgets every broker that an answer does not name, and has nobody left to ask.
#[test]
fn a_node_that_stops_still_says_where_it_is() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    base_offset(&world.call(&produce("t", 0, &["a"]), 9));
    world.held = Some(Vec::new());
    world.begin_stop();
    for _ in 0..20 {
        world.settle();
        world.pass(50);
    }
    let answer = world.call(&MetadataRequest { topics: None, ..Default::default() }, 12);
    let partition = &answer.topics[0].partitions[0];
    assert_eq!(partition.leader_id, -1, "it leads no more: {partition:?}");
    assert_eq!(answer.brokers.iter().map(|broker| broker.node_id).collect::<Vec<_>>(), [1]);
    assert_eq!(answer.controller_id, 1);
    let answer = world.call(&DescribeClusterRequest::default(), 0);
    assert_eq!(answer.brokers.iter().map(|broker| broker.broker_id).collect::<Vec<_>>(), [1]);
    assert_eq!(answer.controller_id, 1);
    while world.run_held() > 0 {}
    world.held = None;
    world.stop();
}

#[test]
fn a_fetch_waits_for_records_and_answers_empty_when_time_is_up() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    world.send(&fetch("t", 0, 0), 12);
    assert!(world.receive::<FetchRequest>(12).is_none(), "nothing to read yet");
    world.pass(400);
    assert!(world.receive::<FetchRequest>(12).is_none(), "the wait is not over");
    world.pass(101);
    assert!(values(&world.receive::<FetchRequest>(12).unwrap()).is_empty());
}

#[test]
fn a_waiting_fetch_is_woken_by_an_append_through_another_connection() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    world.send(&fetch("t", 0, 0), 12);
    let other = SessionId(2);
    let opened = Input::Opened { session: other, listener: 0, host: "127.0.0.1".into() };
    world.tell(CoreId(1), opened);
    let mut writer = Writer::new();
    let header = RequestHeader { api_key: 0, api_version: 9, correlation_id: 77, client_id: None };
    header.encode(&mut writer, 2).unwrap();
    produce("t", 0, &["x"]).encode(&mut writer, 9).unwrap();
    let frame = writer.into_bytes().freeze();
    world.tell(CoreId(1), Input::Frame { session: other, frame });
    world.settle();
    assert_eq!(values(&world.receive::<FetchRequest>(12).unwrap()), ["x"]);
    assert!(!world.sent[&other].is_empty(), "the producer was answered too");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 4);
    for partition in [3, 1, 0, 2, 3] {
        world.send(&produce("t", partition, &["v"]), 9);
    }
    world.send(&MetadataRequest::default(), 9);
    let offsets: Vec<i64> =
        (0..5).map(|_| base_offset(&world.receive::<ProduceRequest>(9).unwrap())).collect();
    assert_eq!(offsets, [0, 0, 0, 0, 1]);
    assert_eq!(world.receive::<MetadataRequest>(9).unwrap().brokers.len(), 1);
}

#[test]
fn an_unknown_version_of_api_versions_gets_version_0_and_others_close() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    let mut frame = BytesMut::new();
    frame.extend_from_slice(&[0, 18, 0, 99, 0, 0, 0, 5, 255, 255, 0]);
    world.tell(CoreId(0), Input::Frame { session: CLIENT, frame: frame.freeze() });
    world.settle();
    let response = world.receive::<ApiVersionsRequest>(0).unwrap();
    assert_eq!(response.error_code, 35);
    assert_eq!(response.api_keys.len(), 1);
    let mut frame = BytesMut::new();
    frame.extend_from_slice(&[0, 3, 0, 99, 0, 0, 0, 5, 255, 255]);
    world.tell(CoreId(0), Input::Frame { session: CLIENT, frame: frame.freeze() });
    world.settle();
    assert_eq!(world.closed, [CLIENT]);
}

#[test]
fn producer_ids_are_never_given_twice() {
    let disk = MemoryDisk::new();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut world = World::start(&disk, &[]);
        for _ in 0..3 {
            let response =
                world.call(&InitProducerIdRequest { transactional_id: None, ..Default::default() }, 4);
            assert_eq!(response.error_code, 0);
            ids.push(response.producer_id);
        }
    }
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");
}

#[test]
fn every_api_answers_in_every_version_that_is_advertised() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 2);
    let mut asked = 0;
    for row in ottla_broker::api::rows() {
        let entry = ottla_protocol::catalogue::ENTRIES
            .iter()
            .find(|entry| entry.name == format!("{}Request", row.key.name()))
            .expect("every API has a request");
        for version in row.min..=row.max {
            for seed in 0..20 {
                let header = RequestHeader {
                    api_key: row.key.code(),
                    api_version: version,
                    correlation_id: 1,
                    client_id: None,
                };
                let mut writer = Writer::new();
                header.encode(&mut writer, row.key.request_header_version(version)).unwrap();
                if seed == 0 {
                    (entry.write_default)(&mut writer, version).unwrap();
                } else {
                    (entry.copy)(&mut Reader::random(seed), version, &mut writer, version).unwrap();
                }
                let frame = writer.into_bytes();
                let session = SessionId(1000 + asked);
                asked += 1;
                let opened = Input::Opened { session, listener: 0, host: "127.0.0.1".into() };
                world.tell(CoreId(0), opened);
                world.tell(CoreId(0), Input::Frame { session, frame: frame.freeze() });
                world.settle();
                world.tell(CoreId(0), Input::Closed { session });
                world.settle();
            }
        }
    }
    assert!(asked > 1000);
    let unwritable: Vec<_> = world.reasons.iter().filter(|why| why.contains("cannot be written")).collect();
    assert!(unwritable.is_empty(), "{} responses could not be written", unwritable.len());
    assert!(!world.reasons.contains(&"malformed request"), "{:?}", world.reasons);
}

#[test]
fn with_flush_messages_1_nothing_is_acknowledged_before_it_is_on_the_disk() {
    let mut world = World::start(&MemoryDisk::new(), &[("log.flush.interval.messages", "1")]);
    world.create("t", 1);
    world.held = Some(Vec::new());
    for acks in [-1, 1] {
        world.send(&ProduceRequest { acks, ..produce("t", 0, &["a"]) }, 9);
        assert!(world.receive::<ProduceRequest>(9).is_none(), "acks={acks}: it is not on the disk yet");
        // What comes while a flush runs shares the next one.
        for _ in 0..3 {
            world.send(&ProduceRequest { acks, ..produce("t", 0, &["b"]) }, 9);
        }
        assert_eq!(world.run_held(), 1, "one flush at a time");
        base_offset(&world.receive::<ProduceRequest>(9).expect("the first is on the disk"));
        assert!(world.receive::<ProduceRequest>(9).is_none(), "the others are not");
        assert_eq!(world.run_held(), 1, "one flush for all three");
        for _ in 0..3 {
            base_offset(&world.receive::<ProduceRequest>(9).unwrap());
        }
        assert_eq!(world.run_held(), 0);
    }
    world.send(&fetch("t", 0, 0), 12);
    assert_eq!(values(&world.receive::<FetchRequest>(12).unwrap()).len(), 8);
}

#[test]
fn a_folder_that_the_cluster_does_not_know_is_set_aside() {
    let disk = MemoryDisk::new();
    let mut world = World::start(&disk, &[]);
    world.create("t", 1);
    base_offset(&world.call(&produce("t", 0, &["a"]), 9));
    world.stop();
    drop(world);
    let data = std::path::Path::new("./data");
    disk.create_dir(&data.join("gone-3")).unwrap();
    let id = Uuid::from_random([5; 16]);
    ottla_log::partition_metadata::write(&disk, &data.join("gone-3"), id).unwrap();
    let mut world = World::start(&disk, &[]);
    let names: Vec<String> = disk.list(data).unwrap().into_iter().map(|entry| entry.name).collect();
    assert!(!names.contains(&"gone-3".into()), "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("gone-3.") && name.ends_with("-stray")), "{names:?}");
    assert_eq!(values(&world.call(&fetch("t", 0, 0), 12)), ["a"]);
}
