//! Transactions from end to end: a producer's requests, its coordinator, the markers in its partitions, and what readers
//! of committed records see; also when the machine stops at any step between the end and the last marker.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_log::MemoryDisk;
use ottla_log::disk::Crash;
use ottla_protocol::batch::{Attributes, BatchFields, Batches, ControlType, RecordsIter};
use ottla_protocol::codec::Records;
use ottla_protocol::compression::{Codecs, Limit};
use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::describe_transactions::TransactionState;
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest,
    EndTxnResponse, FetchRequest, FindCoordinatorRequest, InitProducerIdRequest, InitProducerIdResponse,
    ListOffsetsRequest, ListTransactionsRequest, ProduceRequest, WriteTxnMarkersRequest,
};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal};

use super::requests::*;
use super::support::*;

const ID: &str = "my-id";

/// Few partitions, so that tests are quick, and a short look for what has timed out.
const PROPERTIES: &[(&str, &str)] = &[
    ("transaction.state.log.num.partitions", "3"),
    ("offsets.topic.num.partitions", "3"),
    ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "1000"),
    // So that a node which starts knows its topics bit by bit.
    ("metadata.log.max.record.bytes.between.snapshots", "1000"),
];

/// How clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// They add partitions themselves, and keep their epoch.
    Original,
    /// Each transaction has its own epoch (KIP-890).
    Epochs,
}

type Producer = (i64, i16);

fn start(memory: &MemoryDisk) -> World {
    start_in_order(memory, 0)
}

/// A node whose cores and control take their turns in this order.
fn start_in_order(memory: &MemoryDisk, order: u64) -> World {
    let mut world = World::try_start(memory, Start { order, ..Start::with(PROPERTIES) })
        .unwrap_or_else(|why| panic!("the node does not start: {why}"));
    find_coordinator(&mut world, ID);
    world
}

fn find_coordinator(world: &mut World, id: &str) {
    let request =
        FindCoordinatorRequest { key_type: 1, coordinator_keys: vec![id.into()], ..Default::default() };
    for _ in 0..20 {
        world.send(&request, 4);
        world.pass(10);
        let response = world.receive::<FindCoordinatorRequest>(4).expect("an answer");
        if response.coordinators[0].error_code == 0 {
            return;
        }
    }
    panic!("no coordinator");
}

fn init_request(id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    }
}

fn call_init(world: &mut World, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    world.send(request, 5);
    for _ in 0..20 {
        if let Some(response) = world.receive::<InitProducerIdRequest>(5) {
            return response;
        }
        world.pass(10);
    }
    panic!("no answer");
}

/// Takes the id over, however long that takes.
fn init(world: &mut World, id: &str) -> Producer {
    for _ in 0..50 {
        let response = call_init(world, &init_request(id));
        match Refusal::from_code(response.error_code) {
            None => return (response.producer_id, response.producer_epoch),
            Some(
                Refusal::ConcurrentTransactions
                | Refusal::CoordinatorLoadInProgress
                | Refusal::NotCoordinator
                | Refusal::CoordinatorNotAvailable,
            ) => world.pass(100),
            Some(refusal) => panic!("{refusal:?}"),
        }
    }
    panic!("the id cannot be taken over");
}

fn add(world: &mut World, producer: Producer, partitions: &[(&str, i32)]) -> Vec<Option<Refusal>> {
    let topics = partitions
        .iter()
        .map(|&(name, index)| AddPartitionsToTxnTopic { name: name.into(), partitions: vec![index] });
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: ID.into(),
        v3_and_below_producer_id: producer.0,
        v3_and_below_producer_epoch: producer.1,
        v3_and_below_topics: topics.collect(),
        ..Default::default()
    };
    let response = world.call(&request, 3);
    let topics = response.results_by_topic_v3_and_below.iter().flat_map(|topic| &topic.results_by_partition);
    topics.map(|partition| Refusal::from_code(partition.partition_error_code)).collect()
}

fn write_request(producer: Producer, sequence: i32, partition: i32, values: &[&str]) -> ProduceRequest {
    let fields = BatchFields {
        producer_id: ProducerId(producer.0),
        producer_epoch: ProducerEpoch(producer.1),
        base_sequence: sequence,
        attributes: Attributes::default().transactional(),
        ..BatchFields::default()
    };
    ProduceRequest {
        transactional_id: Some(ID.into()),
        ..produce_batch("t", partition, batch_with(&fields, values))
    }
}

fn write(
    world: &mut World,
    protocol: Protocol,
    producer: Producer,
    (sequence, partition): (i32, i32),
    value: &str,
) -> Option<Refusal> {
    if protocol == Protocol::Original {
        let added = add(world, producer, &[("t", partition)]);
        if let Some(refusal) = added[0] {
            return Some(refusal);
        }
    }
    let version = if protocol == Protocol::Original { 11 } else { 12 };
    world.send(&write_request(producer, sequence, partition, &[value]), version);
    for _ in 0..20 {
        if let Some(response) = world.receive::<ProduceRequest>(version) {
            return Refusal::from_code(error(&response));
        }
        world.pass(10);
    }
    panic!("no answer to a write");
}

fn end_request(producer: Producer, committed: bool) -> EndTxnRequest {
    EndTxnRequest {
        transactional_id: ID.into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        committed,
    }
}

fn end_version(protocol: Protocol) -> i16 {
    if protocol == Protocol::Original { 4 } else { 5 }
}

fn end(world: &mut World, protocol: Protocol, producer: Producer, committed: bool) -> EndTxnResponse {
    world.call(&end_request(producer, committed), end_version(protocol))
}

/// What a reader of committed records makes of a partition: it passes over what it is told was aborted.
fn committed(world: &mut World, partition: i32) -> Vec<String> {
    let request = FetchRequest { isolation_level: 1, max_wait_ms: 0, ..fetch("t", partition, 0) };
    let response = world.call(&request, 12);
    let row = &response.responses[0].partitions[0];
    assert_eq!(row.error_code, 0, "{response:?}");
    let Some(Records::Bytes(bytes)) = &row.records else { panic!("no records: {response:?}") };
    let mut aborted = row.aborted_transactions.clone().unwrap_or_default();
    aborted.sort_by_key(|transaction| transaction.first_offset);
    let (mut out, mut values, mut codecs) = (BTreeSet::new(), Vec::new(), Codecs::new());
    for batch in Batches::new(bytes) {
        let batch = batch.unwrap();
        let header = batch.header;
        let batch = Bytes::copy_from_slice(batch.bytes);
        let records = RecordsIter::new(&batch, Limit::for_batches_of(1 << 20), &mut codecs).unwrap();
        while aborted.first().is_some_and(|first| first.first_offset <= header.base_offset.0) {
            out.insert(aborted.remove(0).producer_id);
        }
        for record in records {
            let record = record.unwrap();
            if header.is_control() {
                if ControlType::from_key(record.key.as_deref()).unwrap() == Some(ControlType::Abort) {
                    out.remove(&header.producer_id.0);
                }
            } else if !out.contains(&header.producer_id.0) {
                values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
            }
        }
    }
    values
}

/// The end for readers of everything and for those of committed records.
fn ends(world: &mut World, partition: i32) -> (i64, i64) {
    let mut end = |isolation_level| {
        let partition =
            ListOffsetsPartition { partition_index: partition, timestamp: -1, ..Default::default() };
        let topic = ListOffsetsTopic { name: "t".into(), partitions: vec![partition] };
        let request =
            ListOffsetsRequest { replica_id: -1, isolation_level, topics: vec![topic], ..Default::default() };
        world.call(&request, 7).topics[0].partitions[0].offset
    };
    (end(0), end(1))
}

fn describe(world: &mut World) -> TransactionState {
    let request = DescribeTransactionsRequest { transactional_ids: vec![ID.into()] };
    world.call(&request, 0).transaction_states.remove(0)
}

#[test]
fn a_partition_takes_part_once_however_often_it_is_named() {
    let mut world = start(&MemoryDisk::new());
    world.create("t", 2);
    let producer = init(&mut world, ID);
    let many: Vec<(&str, i32)> = (0..900).map(|row| ("t", row % 2)).collect();
    assert_eq!(add(&mut world, producer, &many), vec![None; 900]);
    assert_eq!(describe(&mut world).topics[0].partitions, [0, 1]);
    let spoiled: Vec<(&str, i32)> = (0..900).map(|row| ("t", row % 3)).collect();
    let refusals = add(&mut world, producer, &spoiled);
    assert_eq!(refusals[1], Some(Refusal::OperationNotAttempted));
    assert_eq!(refusals[2], Some(Refusal::UnknownTopicOrPartition));
    assert_eq!(refusals.len(), 900);
}

#[test]
fn a_committed_transaction_is_seen_and_an_aborted_one_is_not() {
    for protocol in [Protocol::Original, Protocol::Epochs] {
        let mut world = start(&MemoryDisk::new());
        world.create("t", 2);
        let mut producer = init(&mut world, ID);
        for (round, commits) in [true, false, true].into_iter().enumerate() {
            let first = if protocol == Protocol::Original { i32::try_from(round).unwrap() } else { 0 };
            let value = format!("{round}");
            assert_eq!(write(&mut world, protocol, producer, (first, 0), &value), None);
            assert_eq!(write(&mut world, protocol, producer, (first, 1), &value), None);
            assert_eq!(describe(&mut world).transaction_state, "Ongoing");
            let (all, stable) = ends(&mut world, 0);
            assert_eq!(all, stable + 1, "the transaction is open");
            let response = end(&mut world, protocol, producer, commits);
            assert_eq!(response.error_code, 0);
            if protocol == Protocol::Epochs {
                assert_eq!((response.producer_id, response.producer_epoch), (producer.0, producer.1 + 1));
                producer.1 = response.producer_epoch;
            }
            world.pass(1);
            let state = if commits { "CompleteCommit" } else { "CompleteAbort" };
            assert_eq!(describe(&mut world).transaction_state, state);
            let (all, stable) = ends(&mut world, 0);
            assert_eq!(all, stable);
        }
        for partition in 0..2 {
            assert_eq!(committed(&mut world, partition), ["0", "2"]);
            let request = FetchRequest { isolation_level: 1, max_wait_ms: 0, ..fetch("t", partition, 0) };
            let response = world.call(&request, 12);
            let aborted = response.responses[0].partitions[0].aborted_transactions.as_ref().unwrap();
            assert_eq!(aborted.len(), 1, "{aborted:?}");
            assert_eq!((aborted[0].producer_id, aborted[0].first_offset), (producer.0, 2));
        }
    }
}

#[test]
fn nobody_else_ends_a_transaction() {
    let mut world = start(&MemoryDisk::new());
    world.create("t", 1);
    let first = init(&mut world, ID);
    assert_eq!(write(&mut world, Protocol::Epochs, first, (0, 0), "lost"), None);
    let response = call_init(&mut world, &init_request(ID));
    assert_eq!(Refusal::from_code(response.error_code), Some(Refusal::ConcurrentTransactions));
    let second = init(&mut world, ID);
    assert_eq!(second.0, first.0);
    assert!(second.1 > first.1);
    let code = end(&mut world, Protocol::Epochs, first, true).error_code;
    assert_eq!(Refusal::from_code(code), Some(Refusal::ProducerFenced));
    // Whoever does not know that code hears of the epoch.
    let response = world.call(&end_request(first, true), 1);
    assert_eq!(Refusal::from_code(response.error_code), Some(Refusal::InvalidProducerEpoch));
    assert_eq!(add(&mut world, first, &[("t", 0)]), [Some(Refusal::ProducerFenced)]);
    assert!(write(&mut world, Protocol::Epochs, first, (1, 0), "late").is_some());
    let stranger = (second.0 + 1, 0);
    assert_eq!(add(&mut world, stranger, &[("t", 0)]), [Some(Refusal::InvalidProducerIdMapping)]);
    // One partition that is not there spoils all.
    let refusals = add(&mut world, second, &[("t", 0), ("t", 9)]);
    assert_eq!(refusals, [Some(Refusal::OperationNotAttempted), Some(Refusal::UnknownTopicOrPartition)]);
    assert_eq!(write(&mut world, Protocol::Epochs, second, (0, 0), "kept"), None);
    assert_eq!(end(&mut world, Protocol::Epochs, second, true).error_code, 0);
    world.pass(1);
    assert_eq!(ends(&mut world, 0).0, ends(&mut world, 0).1);
}

#[test]
fn requests_of_the_transaction_before_do_no_harm_to_this_one() {
    let mut world = start(&MemoryDisk::new());
    world.create("t", 2);
    let before = init(&mut world, ID);
    assert_eq!(write(&mut world, Protocol::Epochs, before, (0, 0), "kept"), None);
    let response = end(&mut world, Protocol::Epochs, before, true);
    let now = (response.producer_id, response.producer_epoch);
    assert_eq!(now, (before.0, before.1 + 1));
    world.pass(1);
    assert_eq!(write(&mut world, Protocol::Epochs, now, (0, 0), "lost"), None);
    let open = describe(&mut world);
    // What the network has held back comes now: the end, a write, partitions and offsets, a marker, a beginning.
    for commits in [true, false] {
        let code = end(&mut world, Protocol::Epochs, before, commits).error_code;
        assert_eq!(Refusal::from_code(code), Some(Refusal::ProducerFenced));
    }
    for partition in 0..2 {
        let refusal = write(&mut world, Protocol::Epochs, before, (1, partition), "late");
        assert_eq!(refusal, Some(Refusal::InvalidProducerEpoch));
    }
    assert_eq!(add(&mut world, before, &[("t", 1)]), [Some(Refusal::ProducerFenced)]);
    let offsets = AddOffsetsToTxnRequest {
        transactional_id: ID.into(),
        producer_id: before.0,
        producer_epoch: before.1,
        group_id: "readers".into(),
    };
    world.send(&offsets, 4);
    (0..10).for_each(|_| world.pass(10));
    let code = world.receive::<AddOffsetsToTxnRequest>(4).expect("an answer").error_code;
    assert_eq!(Refusal::from_code(code), Some(Refusal::ProducerFenced));
    let marker = WritableTxnMarker {
        producer_id: now.0,
        producer_epoch: now.1,
        transaction_result: true,
        topics: vec![WritableTxnMarkerTopic { name: "t".into(), partition_indexes: vec![0] }],
        coordinator_epoch: 0,
        transaction_version: 2,
    };
    let response = world.call(&WriteTxnMarkersRequest { markers: vec![marker] }, 2);
    let code = response.markers[0].topics[0].partitions[0].error_code;
    assert_eq!(Refusal::from_code(code), Some(Refusal::InvalidProducerEpoch));
    let init = InitProducerIdRequest { producer_id: before.0, producer_epoch: before.1, ..init_request(ID) };
    let code = call_init(&mut world, &init).error_code;
    assert_eq!(Refusal::from_code(code), Some(Refusal::ProducerFenced));
    // Nothing of it has touched the open transaction.
    assert_eq!(describe(&mut world), open);
    assert_eq!(end(&mut world, Protocol::Epochs, now, false).error_code, 0);
    world.pass(1);
    assert_eq!(committed(&mut world, 0), ["kept"]);
    assert!(committed(&mut world, 1).is_empty());
    let (all, stable) = ends(&mut world, 0);
    assert_eq!(all, stable);
}

#[test]
fn a_forgotten_transaction_is_aborted_after_its_timeout() {
    let mut world = start(&MemoryDisk::new());
    world.create("t", 1);
    let request = InitProducerIdRequest { transaction_timeout_ms: 5_000, ..init_request(ID) };
    let response = call_init(&mut world, &request);
    let producer = (response.producer_id, response.producer_epoch);
    assert_eq!(write(&mut world, Protocol::Epochs, producer, (0, 0), "lost"), None);
    world.pass(4_500);
    assert_eq!(describe(&mut world).transaction_state, "Ongoing");
    for _ in 0..20 {
        world.pass(100);
    }
    assert_eq!(describe(&mut world).transaction_state, "CompleteAbort");
    let (all, stable) = ends(&mut world, 0);
    assert_eq!((all, stable), (2, 2));
    let code = end(&mut world, Protocol::Epochs, producer, true).error_code;
    assert_eq!(Refusal::from_code(code), Some(Refusal::InvalidTxnState));
}

#[test]
fn transactions_can_be_listed_and_described() {
    let mut world = World::start(&MemoryDisk::new(), PROPERTIES);
    let list = |world: &mut World, request: &ListTransactionsRequest, version| {
        let response = world.call(request, version);
        let ids = response.transaction_states.iter().map(|state| state.transactional_id.clone());
        let mut ids: Vec<String> = ids.collect();
        ids.sort();
        (Refusal::from_code(response.error_code), ids, response.unknown_state_filters)
    };
    let all = ListTransactionsRequest::default();
    assert_eq!(list(&mut world, &all, 2), (None, vec![], vec![]), "there is no coordinator yet");
    find_coordinator(&mut world, ID);
    world.create("t", 1);
    for id in ["one", "two", ID] {
        init(&mut world, id);
    }
    let producer = init(&mut world, ID);
    assert_eq!(write(&mut world, Protocol::Original, producer, (0, 0), "a"), None);
    for version in 0..=2 {
        assert_eq!(list(&mut world, &all, version).1, [ID, "one", "two"]);
        let open =
            ListTransactionsRequest { state_filters: vec!["Ongoing".into(), "No".into()], ..all.clone() };
        assert_eq!(list(&mut world, &open, version), (None, vec![ID.into()], vec!["No".into()]));
    }
    let like = |pattern: &str| ListTransactionsRequest {
        transactional_id_pattern: Some(pattern.into()),
        ..Default::default()
    };
    assert_eq!(list(&mut world, &like("t?.+[eo]"), 2).1, ["one", "two"]);
    assert_eq!(list(&mut world, &like("["), 2).0, Some(Refusal::InvalidRegularExpression));
    let ids = vec![ID.into(), "nobody".into(), String::new()];
    let response = world.call(&DescribeTransactionsRequest { transactional_ids: ids }, 0);
    let codes = response.transaction_states.iter().map(|state| Refusal::from_code(state.error_code));
    let refusals = [None, Some(Refusal::TransactionalIdNotFound), Some(Refusal::InvalidRequest)];
    assert_eq!(codes.collect::<Vec<_>>(), refusals);
    let described = &response.transaction_states[0];
    assert_eq!((described.producer_id, described.producer_epoch), producer);
    assert_eq!(described.transaction_timeout_ms, 60_000);
    assert_eq!((described.topics[0].topic.as_str(), &described.topics[0].partitions[..]), ("t", &[0][..]));
}

#[test]
fn groups_take_part_in_transactions_before_anybody_looked_for_one() {
    let mut world = start(&MemoryDisk::new());
    let producer = init(&mut world, ID);
    let request = AddOffsetsToTxnRequest {
        transactional_id: ID.into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        group_id: "readers".into(),
    };
    for version in 0..=4 {
        world.send(&request, version);
        for _ in 0..10 {
            world.pass(10);
        }
        let response = world.receive::<AddOffsetsToTxnRequest>(version).expect("an answer");
        assert_eq!(response.error_code, 0, "version {version}");
    }
    assert_eq!(describe(&mut world).topics[0].topic, "__consumer_offsets");
    let fenced = AddOffsetsToTxnRequest { producer_epoch: 9, ..request };
    let code = world.call(&fenced, 1).error_code;
    assert_eq!(Refusal::from_code(code), Some(Refusal::InvalidProducerEpoch));
    assert_eq!(end(&mut world, Protocol::Original, producer, true).error_code, 0);
    world.pass(1);
    assert_eq!(describe(&mut world).transaction_state, "CompleteCommit");
}

#[test]
fn brokers_ask_for_several_transactions_at_once() {
    let mut world = start(&MemoryDisk::new());
    world.create("t", 2);
    let (one, two) = (init(&mut world, "one"), init(&mut world, "two"));
    let transaction = |id: &str, producer: Producer, partition, verify_only| AddPartitionsToTxnTransaction {
        transactional_id: id.into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        verify_only,
        topics: vec![AddPartitionsToTxnTopic { name: "t".into(), partitions: vec![partition] }],
    };
    let ask = |world: &mut World, transactions: Vec<AddPartitionsToTxnTransaction>, version| {
        let request = AddPartitionsToTxnRequest { transactions, ..Default::default() };
        let response = world.call(&request, version);
        let rows = response.results_by_transaction.iter().map(|row| {
            let code = row.topic_results[0].results_by_partition[0].partition_error_code;
            (row.transactional_id.clone(), Refusal::from_code(code))
        });
        rows.collect::<Vec<_>>()
    };
    for version in 4..=5 {
        let rows = ask(
            &mut world,
            vec![
                transaction("one", one, 0, false),
                transaction("two", two, 0, true),
                transaction("one", two, 0, true),
                transaction("nobody", two, 0, true),
            ],
            version,
        );
        let row = |id: &str, refusal| (String::from(id), refusal);
        assert_eq!(
            rows,
            [
                row("one", None),
                row("two", Some(Refusal::TransactionAbortable)),
                row("one", Some(Refusal::InvalidProducerIdMapping)),
                row("nobody", Some(Refusal::InvalidProducerIdMapping)),
            ]
        );
    }
    assert_eq!(ask(&mut world, vec![transaction("one", one, 0, true)], 5)[0].1, None);
    let refusal = ask(&mut world, vec![transaction("one", one, 1, true)], 5)[0].1;
    assert_eq!(refusal, Some(Refusal::TransactionAbortable));
}

#[test]
fn a_deleted_topic_holds_no_transaction_up() {
    let mut world = start(&MemoryDisk::new());
    world.create("t", 2);
    world.create("gone", 1);
    let producer = init(&mut world, ID);
    assert_eq!(add(&mut world, producer, &[("gone", 0)]), [None]);
    assert_eq!(write(&mut world, Protocol::Original, producer, (0, 0), "kept"), None);
    let response = world.call(&delete(&["gone"], 6), 6);
    assert_eq!(response.responses[0].error_code, 0);
    assert_eq!(end(&mut world, Protocol::Original, producer, true).error_code, 0);
    world.pass(1);
    assert_eq!(describe(&mut world).transaction_state, "CompleteCommit");
    assert_eq!(committed(&mut world, 0), ["kept"]);
}

/// What a client knows when the machine stops.
struct Crashed {
    /// The end was acknowledged.
    acknowledged: bool,
    /// The machine did stop.
    stopped: bool,
}

/// Ends a transaction over three partitions and lets the machine stop at its `n`th change of the disk from there on.
fn crash_at(memory: &MemoryDisk, protocol: Protocol, commits: bool, (n, order): (u64, u64)) -> Crashed {
    let mut world = start_in_order(memory, order);
    world.create_with("t", 3, &[("flush.messages", "1")]);
    let producer = init(&mut world, ID);
    for partition in 0..3 {
        assert_eq!(write(&mut world, protocol, producer, (0, partition), "value"), None);
    }
    memory.crash_at(n);
    let response = world.try_call(&end_request(producer, commits), end_version(protocol));
    for _ in 0..5 {
        world.pass(200);
    }
    let acknowledged = response.is_some_and(|response| response.error_code == 0);
    Crashed { acknowledged, stopped: memory.has_crashed() }
}

#[test]
fn a_crash_at_any_step_of_the_end_leaves_all_or_nothing() {
    for protocol in [Protocol::Original, Protocol::Epochs] {
        for commits in [true, false] {
            for seed in 0..3_u64 {
                let mut n = 1;
                loop {
                    let memory = MemoryDisk::new();
                    let crashed = crash_at(&memory, protocol, commits, (n, seed * n));
                    let crash = match seed {
                        0 => Crash::Process,
                        1 => Crash::Power,
                        _ => Crash::Scattered { seed: n },
                    };
                    memory.reboot(crash);
                    let what = format!("{protocol:?} commits={commits} {crash:?} at {n}");
                    recovered(&memory, &crashed, commits, &what);
                    if !crashed.stopped {
                        assert!(n > 5, "{what}: the end has several steps");
                        break;
                    }
                    n += 1;
                }
            }
        }
    }
}

/// The node starts again: the transaction ends by itself or by its timeout, as a whole and as was said.
fn recovered(memory: &MemoryDisk, crashed: &Crashed, commits: bool, what: &str) {
    let mut world = World::try_start(memory, Start { after_ms: 10_000, ..Start::with(PROPERTIES) })
        .unwrap_or_else(|why| panic!("{what}: {why}"));
    for _ in 0..5 {
        world.pass(200);
    }
    let producer = init(&mut world, ID);
    let state = describe(&mut world);
    assert_eq!(state.transaction_state, "Empty", "{what}");
    let mut outcomes = Vec::new();
    for partition in 0..3 {
        let (all, stable) = ends(&mut world, partition);
        assert_eq!(all, stable, "{what}: a transaction hangs in partition {partition}");
        let seen = committed(&mut world, partition);
        assert!(seen.is_empty() || seen == ["value"], "{what}: {seen:?}");
        outcomes.push(!seen.is_empty());
    }
    assert!(outcomes.iter().all(|is| *is == outcomes[0]), "{what}: the transaction is torn: {outcomes:?}");
    if crashed.acknowledged {
        assert_eq!(outcomes[0], commits, "{what}: not what was acknowledged");
    }
    if !commits {
        assert!(!outcomes[0], "{what}: nobody wanted to commit");
    }
    assert_eq!(write(&mut world, Protocol::Epochs, producer, (0, 0), "next"), None, "{what}");
    assert_eq!(end(&mut world, Protocol::Epochs, producer, true).error_code, 0, "{what}");
}
