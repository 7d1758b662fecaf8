//! ListOffsets, OffsetForLeaderEpoch and DeleteRecords: where things are in a partition, and where it begins.

use ottla_log::MemoryDisk;
use ottla_protocol::Refusal;
use ottla_protocol::batch::BatchFields;
use ottla_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsTopic,
};
use ottla_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopic,
};
use ottla_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_protocol::messages::{DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest};

use super::requests::*;
use super::support::*;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

fn list(partitions: &[(&str, i32, i64)]) -> ListOffsetsRequest {
    let topic = |&(name, partition_index, timestamp): &(&str, i32, i64)| ListOffsetsTopic {
        name: name.into(),
        partitions: vec![ListOffsetsPartition {
            partition_index,
            timestamp,
            current_leader_epoch: -1,
            max_num_offsets: 1,
        }],
    };
    ListOffsetsRequest {
        replica_id: -1,
        topics: partitions.iter().map(topic).collect(),
        ..Default::default()
    }
}

fn listed(world: &mut World, timestamp: i64, version: i16) -> ListOffsetsPartitionResponse {
    let response = world.call(&list(&[("t", 0, timestamp)]), version);
    response.topics.into_iter().next().unwrap().partitions.into_iter().next().unwrap()
}

/// Offset, timestamp and error.
fn found(world: &mut World, timestamp: i64, version: i16) -> (i64, i64, i16) {
    let row = listed(world, timestamp, version);
    (row.offset, row.timestamp, row.error_code)
}

/// Records at START, START+10, START+30, START+20.
fn timed() -> World {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    for after in [0, 10, 30, 20] {
        let bytes = timed_batch(&BatchFields::default(), &[(START_MS + after, "a")]);
        base_offset(&world.call(&produce_batch("t", 0, bytes), 9));
    }
    world
}

#[test]
fn marks_and_times_are_found() {
    let mut world = timed();
    for version in 7..=11 {
        assert_eq!(found(&mut world, LATEST, version), (4, -1, 0));
        assert_eq!(found(&mut world, EARLIEST, version), (0, -1, 0));
        assert_eq!(found(&mut world, MAX_TIMESTAMP, version), (2, START_MS + 30, 0));
        assert_eq!(found(&mut world, 0, version), (0, START_MS, 0));
        assert_eq!(found(&mut world, START_MS + 11, version), (2, START_MS + 30, 0));
        assert_eq!(found(&mut world, START_MS + 30, version), (2, START_MS + 30, 0));
        assert_eq!(found(&mut world, START_MS + 31, version), (-1, -1, 0), "no record is that late");
    }
    assert_eq!(found(&mut world, EARLIEST_LOCAL, 8), (0, -1, 0));
    // Without tiered storage there is nothing in it, and nothing on its way there.
    assert_eq!(found(&mut world, LATEST_TIERED, 9), (-1, -1, 0));
    assert_eq!(found(&mut world, EARLIEST_PENDING_UPLOAD, 11), (-1, -1, 0));
    let row = listed(&mut world, LATEST, 0);
    assert_eq!(row.old_style_offsets, [4]);
    assert_eq!(listed(&mut world, START_MS + 31, 0).old_style_offsets, Vec::<i64>::new());
}

#[test]
fn each_mark_has_its_first_version() {
    let mut world = timed();
    let unsupported = Refusal::UnsupportedVersion.code();
    let marks = [(MAX_TIMESTAMP, 7), (EARLIEST_LOCAL, 8), (LATEST_TIERED, 9), (EARLIEST_PENDING_UPLOAD, 11)];
    for (mark, since) in marks {
        for version in 1..since {
            assert_eq!(found(&mut world, mark, version), (-1, -1, unsupported), "{mark} in {version}");
        }
        assert_eq!(listed(&mut world, mark, since).error_code, 0);
    }
    assert_eq!(found(&mut world, -7, 11), (-1, -1, unsupported));
}

#[test]
fn leader_epochs_are_told_from_version_4_on() {
    let mut world = timed();
    assert_eq!(listed(&mut world, LATEST, 3).leader_epoch, -1);
    for timestamp in [LATEST, EARLIEST, START_MS] {
        assert_eq!(listed(&mut world, timestamp, 4).leader_epoch, 0);
    }
    let mut request = list(&[("t", 0, LATEST)]);
    request.topics[0].partitions[0].current_leader_epoch = 3;
    let response = world.call(&request, 4);
    assert_eq!(response.topics[0].partitions[0].error_code, Refusal::UnknownLeaderEpoch.code());
}

#[test]
fn what_cannot_be_listed_is_refused_row_by_row() {
    let mut world = timed();
    let request = list(&[("t", 0, LATEST), ("u", 0, LATEST), ("t", 7, LATEST)]);
    let response = world.call(&request, 6);
    let codes: Vec<i16> = response.topics.iter().map(|topic| topic.partitions[0].error_code).collect();
    assert_eq!(codes, [0, 3, 3]);
    // A partition that is asked for twice is not answered at all.
    let response = world.call(&list(&[("t", 0, LATEST), ("t", 0, EARLIEST)]), 6);
    let codes: Vec<i16> = response.topics.iter().map(|topic| topic.partitions[0].error_code).collect();
    assert_eq!(codes, [42, 42]);
}

#[test]
fn an_empty_partition_has_marks_too() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    assert_eq!(found(&mut world, LATEST, 7), (0, -1, 0));
    assert_eq!(found(&mut world, EARLIEST, 7), (0, -1, 0));
    assert_eq!(found(&mut world, MAX_TIMESTAMP, 7), (-1, -1, 0));
    assert_eq!(found(&mut world, 0, 7), (-1, -1, 0));
}

fn epoch_end(world: &mut World, current: i32, epoch: i32, version: i16) -> EpochEndOffset {
    let partition =
        OffsetForLeaderPartition { partition: 0, current_leader_epoch: current, leader_epoch: epoch };
    let request = OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![OffsetForLeaderTopic { topic: "t".into(), partitions: vec![partition] }],
    };
    world.call(&request, version).topics.into_iter().next().unwrap().partitions.into_iter().next().unwrap()
}

#[test]
fn epochs_end_where_the_next_one_begins() {
    let memory = MemoryDisk::new();
    let mut world = World::start(&memory, &[]);
    world.create("t", 1);
    base_offset(&world.call(&produce("t", 0, &["a", "b"]), 9));
    world.stop();
    drop(world);
    let mut world = World::start(&memory, &[]);
    base_offset(&world.call(&produce("t", 0, &["c"]), 9));
    let latest = listed(&mut world, LATEST, 4).leader_epoch;
    assert!(latest > 0, "the broker was fenced in between");
    for version in 0..=4 {
        let end = epoch_end(&mut world, -1, 0, version);
        let epoch = if version == 0 { -1 } else { 0 };
        assert_eq!((end.error_code, end.leader_epoch, end.end_offset), (0, epoch, 2), "version {version}");
        assert_eq!(epoch_end(&mut world, -1, latest, version).end_offset, 3);
        let unknown = epoch_end(&mut world, -1, latest + 1, version);
        assert_eq!((unknown.error_code, unknown.leader_epoch, unknown.end_offset), (0, -1, -1));
    }
    assert_eq!(epoch_end(&mut world, 0, 0, 4).error_code, Refusal::FencedLeaderEpoch.code());
    assert_eq!(epoch_end(&mut world, latest + 1, 0, 4).error_code, Refusal::UnknownLeaderEpoch.code());
    let none = epoch_end(&mut world, -1, -1, 4);
    assert_eq!((none.error_code, none.leader_epoch, none.end_offset), (0, -1, -1));
}

fn delete_records(world: &mut World, topic: &str, index: i32, offset: i64) -> DeleteRecordsPartitionResult {
    let partitions = vec![DeleteRecordsPartition { partition_index: index, offset }];
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic { name: topic.into(), partitions }],
        timeout_ms: 1000,
    };
    world.call(&request, 2).topics.into_iter().next().unwrap().partitions.into_iter().next().unwrap()
}

#[test]
fn records_are_deleted_up_to_the_high_watermark() {
    let mut world = timed();
    world.create_with("compacted", 1, &[("cleanup.policy", "compact")]);
    world.create_with("both", 1, &[("cleanup.policy", "compact,delete")]);
    let mut deleted = |topic: &str, index, offset| {
        let row = delete_records(&mut world, topic, index, offset);
        (row.low_watermark, Refusal::from_code(row.error_code))
    };
    assert_eq!(deleted("t", 0, 2), (2, None));
    assert_eq!(deleted("t", 0, 1), (2, None), "it does not go back");
    assert_eq!(deleted("t", 0, 5), (-1, Some(Refusal::OffsetOutOfRange)));
    assert_eq!(deleted("t", 0, -2), (-1, Some(Refusal::OffsetOutOfRange)));
    assert_eq!(deleted("t", 7, 0), (-1, Some(Refusal::UnknownTopicOrPartition)));
    assert_eq!(deleted("u", 0, 0), (-1, Some(Refusal::UnknownTopicOrPartition)));
    assert_eq!(deleted("compacted", 0, 0), (-1, Some(Refusal::PolicyViolation)));
    assert_eq!(deleted("both", 0, 0), (0, None));
    assert_eq!(found(&mut world, EARLIEST, 7), (2, -1, 0));
    assert_eq!(found(&mut world, 0, 7), (2, START_MS + 30, 0));
    let response = world.call(&fetch("t", 0, 1), 12);
    assert_eq!(response.responses[0].partitions[0].error_code, Refusal::OffsetOutOfRange.code());
    assert_eq!(delete_records(&mut world, "t", 0, -1).low_watermark, 4);
    assert_eq!(found(&mut world, EARLIEST, 7), (4, -1, 0));
}

#[test]
fn records_of_internal_topics_are_not_deleted() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create_with("__consumer_offsets", 1, &[("cleanup.policy", "delete")]);
    let row = delete_records(&mut world, "__consumer_offsets", 0, 0);
    assert_eq!(row.error_code, Refusal::InvalidTopicException.code());
}
