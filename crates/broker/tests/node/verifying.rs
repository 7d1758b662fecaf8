//! Records of a transaction and its coordinator's word (KIP-890): what is refused without it, that requests in flight
//! keep their order meanwhile, and what becomes of those that come while the transaction before is being ended.

use bytes::Bytes;
use ottla_broker::core::{CoreId, SessionId};
use ottla_log::MemoryDisk;
use ottla_protocol::batch::{Attributes, BatchFields};
use ottla_protocol::codec::Records;
use ottla_protocol::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use ottla_protocol::messages::produce::PartitionProduceData;
use ottla_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, ProduceRequest,
};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal};

use super::requests::*;
use super::support::*;

const ID: &str = "my-id";

const PROPERTIES: &[(&str, &str)] = &[("transaction.state.log.num.partitions", "3")];

const OTHER: SessionId = SessionId(2);

type Producer = (i64, i16);

fn start() -> (World, Producer) {
    let mut world = World::start(&MemoryDisk::new(), PROPERTIES);
    world.create("t", 8);
    let find =
        FindCoordinatorRequest { key_type: 1, coordinator_keys: vec![ID.into()], ..Default::default() };
    let init = InitProducerIdRequest {
        transactional_id: Some(ID.into()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    for _ in 0..50 {
        world.send(&find, 4);
        world.pass(20);
        assert!(world.receive::<FindCoordinatorRequest>(4).is_some());
        world.send(&init, 5);
        world.pass(20);
        let response = world.receive::<InitProducerIdRequest>(5).expect("an answer");
        if response.error_code == 0 {
            return (world, (response.producer_id, response.producer_epoch));
        }
    }
    panic!("no coordinator");
}

fn in_transaction(producer: Producer, sequence: i32) -> Bytes {
    let fields = BatchFields {
        producer_id: ProducerId(producer.0),
        producer_epoch: ProducerEpoch(producer.1),
        base_sequence: sequence,
        attributes: Attributes::default().transactional(),
        ..BatchFields::default()
    };
    batch_with(&fields, &["a"])
}

/// A request that writes one record to each of these partitions, with these sequence numbers.
fn write(producer: Producer, places: &[(i32, i32)]) -> ProduceRequest {
    let mut request = ProduceRequest {
        transactional_id: Some(ID.into()),
        ..produce_batch("t", 0, in_transaction(producer, 0))
    };
    request.topic_data[0].partition_data = places
        .iter()
        .map(|&(index, sequence)| PartitionProduceData {
            index,
            records: Some(Records::Bytes(in_transaction(producer, sequence))),
        })
        .collect();
    request
}

/// The errors of the next answer.
fn errors(world: &mut World, session: SessionId, version: i16) -> Option<Vec<Option<Refusal>>> {
    let response = world.receive_at::<ProduceRequest>(session, version)?;
    let rows = response.responses[0].partition_responses.iter();
    Some(rows.map(|row| Refusal::from_code(row.error_code)).collect())
}

fn written(world: &mut World, producer: Producer, sequence: i32, version: i16) -> Option<Refusal> {
    world.send(&write(producer, &[(0, sequence)]), version);
    errors(world, CLIENT, version).expect("an answer")[0]
}

fn add(world: &mut World, producer: Producer, partition: i32) {
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: ID.into(),
        v3_and_below_producer_id: producer.0,
        v3_and_below_producer_epoch: producer.1,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic { name: "t".into(), partitions: vec![partition] }],
        ..Default::default()
    };
    let response = world.call(&request, 3);
    assert_eq!(response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code, 0);
}

#[test]
fn up_to_version_11_the_client_has_to_add_the_partition_first() {
    let (mut world, producer) = start();
    assert_eq!(written(&mut world, producer, 0, 9), Some(Refusal::InvalidTxnState));
    assert_eq!(written(&mut world, producer, 0, 10), Some(Refusal::InvalidTxnState));
    assert_eq!(written(&mut world, producer, 0, 11), Some(Refusal::TransactionAbortable));
    add(&mut world, producer, 1);
    assert_eq!(written(&mut world, producer, 0, 9), Some(Refusal::InvalidTxnState), "another one was added");
    add(&mut world, producer, 0);
    assert_eq!(written(&mut world, producer, 1, 9), Some(Refusal::OutOfOrderSequenceNumber));
    assert_eq!(written(&mut world, producer, 0, 9), None);
    assert_eq!(written(&mut world, producer, 1, 9), None);
    let plain = idempotent(producer.0, producer.1, 2, &["plain"]);
    let response = world.call(&produce_batch("t", 0, plain), 9);
    assert_eq!(error(&response), Refusal::InvalidTxnState.code());
    // Some of a request's partitions may be in the transaction, and some not.
    world.send(&write(producer, &[(2, 0), (0, 2), (1, 0)]), 11);
    let refused = Some(Refusal::TransactionAbortable);
    assert_eq!(errors(&mut world, CLIENT, 11).unwrap(), [refused, None, None]);
}

#[test]
fn from_version_12_on_the_leader_adds_the_partition() {
    let (mut world, producer) = start();
    assert_eq!(
        written(&mut world, producer, 1, 12),
        Some(Refusal::OutOfOrderSequenceNumber),
        "it begins at 0"
    );
    assert_eq!(written(&mut world, producer, 0, 12), None);
    assert_eq!(written(&mut world, producer, 1, 12), None);
    let fenced = (producer.0, producer.1 + 1);
    assert_eq!(written(&mut world, fenced, 0, 12), Some(Refusal::InvalidProducerEpoch));
}

#[test]
fn requests_in_flight_keep_their_order() {
    for order in 0..30 {
        let (mut world, producer) = start();
        world.order = order;
        let all: Vec<(i32, i32)> = (0..8).map(|partition| (partition, 0)).collect();
        let mut requests = vec![write(producer, &all)];
        // Who owns few of the partitions could have its answers first.
        requests.extend((0..8).map(|partition| write(producer, &[(partition, 1)])));
        requests.push(write(producer, &[(7, 2), (0, 2)]));
        for request in &requests {
            world.post(CLIENT, CoreId(0), request, 12);
        }
        world.settle();
        for (number, _) in requests.iter().enumerate() {
            let errors = errors(&mut world, CLIENT, 12).expect("an answer");
            assert!(errors.iter().all(Option::is_none), "order {order}, request {number}: {errors:?}");
        }
    }
}

#[test]
fn who_comes_while_the_transaction_before_is_being_ended_need_not_come_again() {
    let (mut world, producer) = start();
    assert_eq!(written(&mut world, producer, 0, 12), None);
    // The decision to commit is not on the disk yet.
    world.held = Some(Vec::new());
    let end = EndTxnRequest {
        transactional_id: ID.into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        committed: true,
    };
    world.send(&end, 5);
    world.connect(OTHER, CoreId(1), 0);
    let next = (producer.0, producer.1 + 1);
    world.send_from(OTHER, CoreId(1), &write(next, &[(0, 0)]), 12);
    assert!(errors(&mut world, OTHER, 12).is_none(), "it waits");
    while world.run_held() > 0 {}
    let ended = world.receive::<EndTxnRequest>(5).expect("an answer");
    assert_eq!((ended.error_code, ended.producer_epoch), (0, next.1));
    world.pass(20);
    while world.run_held() > 0 {}
    assert_eq!(errors(&mut world, OTHER, 12), Some(vec![None]));

    // Patience has an end: a coordinator whose disk does not come back cannot say anything.
    let end = EndTxnRequest { producer_epoch: next.1, committed: false, ..end };
    world.send(&end, 5);
    let next = (next.0, next.1 + 1);
    world.send_from(OTHER, CoreId(1), &write(next, &[(0, 0)]), 12);
    world.pass(29_999);
    assert!(errors(&mut world, OTHER, 12).is_none());
    world.pass(1);
    assert_eq!(errors(&mut world, OTHER, 12), Some(vec![Some(Refusal::NotEnoughReplicas)]));
}
