//! The ends of transactions in partitions, told by requests: markers, producers, and readers of committed records.
//!
//! Without a coordinator: verification is off, so that a partition takes whatever transaction comes.

use bytes::Bytes;
use ottla_log::MemoryDisk;
use ottla_protocol::batch::{Attributes, BatchFields};
use ottla_protocol::codec::Records;
use ottla_protocol::messages::describe_producers::{PartitionResponse, TopicRequest};
use ottla_protocol::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic};
use ottla_protocol::messages::{
    DescribeProducersRequest, FetchRequest, IncrementalAlterConfigsRequest, ListOffsetsRequest,
    ProduceRequest, WriteTxnMarkersRequest,
};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal};

use super::requests::*;
use super::support::*;

const UNVERIFIED: &[(&str, &str)] = &[("transaction.partition.verification.enable", "false")];

fn start() -> World {
    let mut world = World::start(&MemoryDisk::new(), UNVERIFIED);
    world.create("t", 2);
    world
}

fn in_transaction(producer: i64, epoch: i16, sequence: i32, value: &str) -> Bytes {
    let fields = BatchFields {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        attributes: Attributes::default().transactional(),
        ..BatchFields::default()
    };
    batch_with(&fields, &[value])
}

fn produce_in(partition: i32, batch: Bytes) -> ProduceRequest {
    ProduceRequest { transactional_id: Some("id".into()), ..produce_batch("t", partition, batch) }
}

fn marker(producer_id: i64, producer_epoch: i16, commits: bool) -> WritableTxnMarker {
    WritableTxnMarker {
        producer_id,
        producer_epoch,
        transaction_result: commits,
        topics: vec![WritableTxnMarkerTopic { name: "t".into(), partition_indexes: vec![0] }],
        coordinator_epoch: 5,
        transaction_version: 0,
    }
}

/// Writes a marker and gives its error.
fn mark(world: &mut World, marker: WritableTxnMarker, version: i16) -> i16 {
    let request = WriteTxnMarkersRequest { markers: vec![marker.clone()] };
    let response = world.call(&request, version);
    assert_eq!(response.markers[0].producer_id, marker.producer_id);
    let row = &response.markers[0].topics[0].partitions[0];
    assert_eq!(row.partition_index, 0);
    row.error_code
}

fn producers(world: &mut World, topic: &str, partition: i32) -> PartitionResponse {
    let topic = TopicRequest { name: topic.into(), partition_indexes: vec![partition] };
    let request = DescribeProducersRequest { topics: vec![topic] };
    world.call(&request, 0).topics[0].partitions[0].clone()
}

fn committed(offset: i64) -> FetchRequest {
    FetchRequest { isolation_level: 1, max_wait_ms: 0, ..fetch("t", 0, offset) }
}

fn latest(world: &mut World, isolation_level: i8) -> (i16, i64) {
    let partition = ListOffsetsPartition { timestamp: -1, current_leader_epoch: -1, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: "t".into(), partitions: vec![partition] }];
    let request = ListOffsetsRequest { replica_id: -1, isolation_level, topics, ..Default::default() };
    let row = world.call(&request, 9).topics[0].partitions[0].clone();
    (row.error_code, row.offset)
}

#[test]
fn an_end_makes_records_stable_and_an_abort_is_listed() {
    let mut world = start();
    assert_eq!(base_offset(&world.call(&produce("t", 0, &["before"]), 9)), 0);
    assert_eq!(base_offset(&world.call(&produce_in(0, in_transaction(7, 0, 0, "lost")), 9)), 1);
    assert_eq!(base_offset(&world.call(&produce("t", 0, &["behind"]), 9)), 2);
    let response = world.call(&committed(0), 12);
    assert_eq!(values(&response), ["before"]);
    let row = &response.responses[0].partitions[0];
    assert_eq!((row.high_watermark, row.last_stable_offset), (3, 1));
    assert_eq!((latest(&mut world, 0), latest(&mut world, 1)), ((0, 3), (0, 1)));
    let known = producers(&mut world, "t", 0).active_producers;
    assert_eq!((known[0].producer_id, known[0].last_sequence, known[0].current_txn_start_offset), (7, 0, 1));
    assert_eq!(known[0].coordinator_epoch, -1);

    // Who waits for committed records hears of the end.
    world.send(&FetchRequest { max_wait_ms: 5000, ..committed(1) }, 12);
    assert!(world.receive::<FetchRequest>(12).is_none());
    let (session, core) = (ottla_broker::core::SessionId(2), ottla_broker::core::CoreId(1));
    world.connect(session, core, 0);
    let request = WriteTxnMarkersRequest { markers: vec![marker(7, 0, false)] };
    world.send_from(session, core, &request, 1);
    let answer = world.receive_at::<WriteTxnMarkersRequest>(session, 1).expect("an answer");
    assert_eq!(answer.markers[0].topics[0].partitions[0].error_code, 0);
    let response = world.receive::<FetchRequest>(12).expect("there is more");
    let row = &response.responses[0].partitions[0];
    assert_eq!((row.last_stable_offset, row.high_watermark), (4, 4));
    let aborted = row.aborted_transactions.as_deref().unwrap();
    assert_eq!((aborted.len(), aborted[0].producer_id, aborted[0].first_offset), (1, 7, 1));
    let known = producers(&mut world, "t", 0).active_producers;
    assert_eq!((known[0].coordinator_epoch, known[0].current_txn_start_offset), (5, -1));
    assert_eq!(latest(&mut world, 1), (0, 4));
    // Where none of its records is, an abort is not listed.
    let response = world.call(&committed(4), 12);
    assert_eq!(response.responses[0].partitions[0].aborted_transactions, Some(Vec::new()));
}

#[test]
fn markers_are_fenced_and_go_to_partitions_that_are_here() {
    let mut world = start();
    base_offset(&world.call(&produce_in(0, in_transaction(7, 3, 0, "a")), 9));
    assert_eq!(mark(&mut world, marker(7, 2, true), 1), Refusal::InvalidProducerEpoch.code());
    // With version 2 of transactions the end has an epoch of its own (KIP-1228).
    let second = WritableTxnMarker { transaction_version: 2, ..marker(7, 3, true) };
    assert_eq!(mark(&mut world, second.clone(), 2), Refusal::InvalidProducerEpoch.code());
    assert_eq!(mark(&mut world, second, 1), 0, "version 1 cannot tell");
    let old = WritableTxnMarker { coordinator_epoch: 4, ..marker(7, 3, true) };
    assert_eq!(mark(&mut world, old, 1), Refusal::TransactionCoordinatorFenced.code());
    let mut scattered = marker(8, 0, true);
    scattered.topics[0].partition_indexes = vec![0, 1, 9];
    scattered.topics.push(WritableTxnMarkerTopic { name: "absent".into(), partition_indexes: vec![0] });
    let request =
        WriteTxnMarkersRequest { markers: vec![scattered, marker(9, 0, false), marker(8, 0, true)] };
    let response = world.call(&request, 2);
    let errors = |index: usize| {
        let rows = response.markers[index].topics.iter();
        let rows = rows.flat_map(|topic| topic.partitions.iter().map(|row| (topic.name.as_str(), row)));
        rows.map(|(name, row)| (name, row.partition_index, row.error_code)).collect::<Vec<_>>()
    };
    let unknown = Refusal::UnknownTopicOrPartition.code();
    assert_eq!(response.markers.len(), 2, "one row for each producer");
    assert_eq!(errors(0), [("absent", 0, unknown), ("t", 0, 0), ("t", 1, 0), ("t", 9, unknown)]);
    assert_eq!(errors(1), [("t", 0, 0)]);
}

#[test]
fn a_marker_of_no_producer_is_refused_and_not_written() {
    let mut world = start();
    for (id, epoch) in [(-1, -1), (-1, 0), (-2, 0), (i64::MIN, i16::MIN), (7, -1)] {
        let refused = mark(&mut world, marker(id, epoch, true), 1);
        assert_eq!(refused, Refusal::UnknownServerError.code(), "producer {id}, epoch {epoch}");
    }
    let refused = mark(&mut world, marker(7, -2, true), 1);
    assert_eq!(refused, Refusal::InvalidProducerEpoch.code(), "it is below that of an unknown producer");
    assert_eq!(latest(&mut world, 0), (0, 0), "nothing was written");
    assert!(producers(&mut world, "t", 0).active_producers.is_empty());
}

#[test]
fn a_marker_is_written_once_in_each_partition_however_often_it_is_named() {
    let mut world = start();
    let mut often = marker(7, 0, true);
    often.topics[0].partition_indexes = [vec![0; 10_000], vec![9; 10]].concat();
    often.topics.push(WritableTxnMarkerTopic { name: "t".into(), partition_indexes: vec![1, 0] });
    let response = world.call(&WriteTxnMarkersRequest { markers: vec![often] }, 1);
    assert_eq!(response.markers[0].topics.len(), 1);
    let rows = response.markers[0].topics[0].partitions.iter();
    let rows: Vec<_> = rows.map(|row| (row.partition_index, row.error_code)).collect();
    assert_eq!(rows, [(0, 0), (1, 0), (9, Refusal::UnknownTopicOrPartition.code())]);
    assert_eq!(latest(&mut world, 0), (0, 1));
}

#[test]
fn producers_are_described_or_it_is_said_why_not() {
    let mut world = start();
    base_offset(&world.call(&produce_batch("t", 1, idempotent(5, 2, 0, &["a", "b"])), 9));
    let rows = producers(&mut world, "t", 1);
    assert_eq!((rows.error_code, rows.active_producers.len()), (0, 1));
    let row = &rows.active_producers[0];
    assert_eq!((row.producer_id, row.producer_epoch, row.last_sequence), (5, 2, 1));
    assert_eq!((row.last_timestamp, row.current_txn_start_offset), (START_MS, -1));
    assert!(producers(&mut world, "t", 0).active_producers.is_empty());
    let unknown = Refusal::UnknownTopicOrPartition.code();
    assert_eq!(producers(&mut world, "t", 2).error_code, unknown);
    assert_eq!(producers(&mut world, "absent", 0).error_code, unknown);
    let invalid = producers(&mut world, "no good name", 0);
    assert_eq!(invalid.error_code, Refusal::InvalidTopicException.code());
    assert!(invalid.error_message.is_some());
}

#[test]
fn a_transactional_batch_needs_an_id_and_one_producer() {
    let mut world = start();
    let batch = in_transaction(7, 0, 0, "a");
    let mut request = produce_batch("t", 0, batch.clone());
    request.topic_data[0].partition_data.push(PartitionProduceData {
        index: 1,
        records: Some(Records::Bytes(super::requests::batch(&["plain"]))),
    });
    let response = world.call(&request, 9);
    let rows = &response.responses[0].partition_responses;
    let refused = Refusal::TransactionalIdAuthorizationFailed.code();
    assert_eq!(rows.iter().map(|row| row.error_code).collect::<Vec<_>>(), [refused, refused]);
    let mut request = produce_in(0, batch);
    request.topic_data.push(TopicProduceData {
        name: "t".into(),
        partition_data: vec![PartitionProduceData {
            index: 1,
            records: Some(Records::Bytes(in_transaction(8, 0, 0, "b"))),
        }],
        ..Default::default()
    });
    let response = world.call(&request, 9);
    for topic in &response.responses {
        assert_eq!(topic.partition_responses[0].error_code, Refusal::InvalidProducerIdMapping.code());
    }
    assert_eq!(latest(&mut world, 0), (0, 0), "nothing was written");
}

#[test]
fn without_a_coordinator_a_transaction_cannot_be_verified() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    for version in 9..=12 {
        let response = world.call(&produce_in(0, in_transaction(7, 0, 0, "a")), version);
        let row = &response.responses[0].partition_responses[0];
        assert_eq!(row.error_code, Refusal::NotEnoughReplicas.code(), "a reason to try again");
        let message = row.error_message.as_deref().unwrap();
        assert!(message.starts_with("Unable to verify the partition has been added to the transaction."));
    }
}

#[test]
fn an_isolation_level_that_there_is_not_is_refused() {
    let mut world = start();
    let unknown = Refusal::UnknownServerError.code();
    let request = FetchRequest { isolation_level: 2, ..fetch("t", 0, 0) };
    let response = world.call(&request, 12);
    assert_eq!((response.error_code, response.responses[0].partitions[0].error_code), (unknown, unknown));
    let response = world.call(&request, 13);
    assert_eq!((response.error_code, response.responses.len()), (unknown, 0));
    assert_eq!(latest(&mut world, 2), (unknown, -1));
    assert_eq!(latest(&mut world, -1), (unknown, -1));
}

#[test]
fn verification_is_turned_off_and_on_while_the_node_runs() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    let set = |world: &mut World, value: &str| {
        let config = AlterableConfig {
            name: "transaction.partition.verification.enable".into(),
            config_operation: 0,
            value: Some(value.into()),
        };
        let resource =
            AlterConfigsResource { resource_type: 4, resource_name: String::new(), configs: vec![config] };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        assert_eq!(world.call(&request, 1).responses[0].error_code, 0);
    };
    set(&mut world, "false");
    assert_eq!(base_offset(&world.call(&produce_in(0, in_transaction(7, 0, 0, "a")), 9)), 0);
    assert_eq!(mark(&mut world, marker(7, 0, true), 1), 0);
    set(&mut world, "true");
    let refused = world.call(&produce_in(0, in_transaction(7, 0, 1, "b")), 9);
    assert_eq!(error(&refused), Refusal::NotEnoughReplicas.code(), "there is nobody to verify it");
}
