//! Produce and InitProducerId: what is taken, what is refused and how, and what repeated batches get.

use bytes::Bytes;
use ottla_log::MemoryDisk;
use ottla_log::disk::Crash;
use ottla_protocol::batch::{Attributes, BatchFields};
use ottla_protocol::codec::Records;
use ottla_protocol::messages::produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData};
use ottla_protocol::messages::{InitProducerIdRequest, ProduceRequest};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal, Uuid};

use super::requests::*;
use super::support::*;

fn row(world: &mut World, request: &ProduceRequest, version: i16) -> PartitionProduceResponse {
    let response = world.call(request, version);
    assert_eq!(response.throttle_time_ms, 0);
    response.responses.into_iter().next().unwrap().partition_responses.into_iter().next().unwrap()
}

fn refusal(world: &mut World, request: &ProduceRequest, version: i16) -> Option<Refusal> {
    let row = row(world, request, version);
    if row.error_code != 0 {
        assert_eq!((row.base_offset, row.log_append_time_ms), (-1, -1), "{row:?}");
    }
    Refusal::from_code(row.error_code)
}

fn with_attributes(bits: i16) -> Bytes {
    let fields = BatchFields {
        producer_id: ProducerId(5),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        attributes: Attributes::from_bits(bits).unwrap(),
        ..BatchFields::default()
    };
    batch_with(&fields, &["a"])
}

#[test]
fn a_response_has_a_row_for_each_row_of_the_request() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 3);
    let data =
        |index, records: Option<Bytes>| PartitionProduceData { index, records: records.map(Records::Bytes) };
    let topic = |name: &str, partition_data| TopicProduceData {
        name: name.into(),
        partition_data,
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: 1,
        timeout_ms: 1000,
        topic_data: vec![
            topic("t", vec![data(2, Some(batch(&["a"]))), data(7, Some(batch(&["a"]))), data(0, None)]),
            topic("unknown", vec![data(0, Some(batch(&["a"])))]),
            topic("t", vec![data(1, Some(Bytes::from_static(b"rubbish")))]),
        ],
        ..Default::default()
    };
    for version in 3..=12 {
        let response = world.call(&request, version);
        let rows = response.responses.iter().flat_map(|topic| {
            topic.partition_responses.iter().map(|row| (topic.name.as_str(), row.index, row.error_code))
        });
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows[..4], [("t", 2, 0), ("t", 7, 3), ("t", 0, 87), ("unknown", 0, 3)]);
        assert_eq!((rows[4].0, rows[4].1), ("t", 1));
        assert_ne!(rows[4].2, 0);
        assert_eq!(rows.len(), 5);
    }
}

#[test]
fn acks_are_all_one_or_none() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    for acks in [-1, 1] {
        let answer = row(&mut world, &ProduceRequest { acks, ..produce("t", 0, &["a"]) }, 9);
        assert_eq!(answer.error_code, 0);
    }
    for acks in [2, -2] {
        let refused = refusal(&mut world, &ProduceRequest { acks, ..produce("t", 0, &["a"]) }, 9);
        assert_eq!(refused, Some(Refusal::InvalidRequiredAcks));
        // That there is no such topic is said first.
        let refused = refusal(&mut world, &ProduceRequest { acks, ..produce("u", 0, &["a"]) }, 9);
        assert_eq!(refused, Some(Refusal::UnknownTopicOrPartition));
    }
    world.send(&ProduceRequest { acks: 0, ..produce("t", 0, &["silent"]) }, 9);
    assert!(world.receive::<ProduceRequest>(9).is_none());
    assert_eq!(values(&world.call(&fetch("t", 0, 0), 12)), ["a", "a", "silent"]);
    assert!(world.closed.is_empty());
    // Who waits for no answer hears of a failure by the end of the connection.
    world.send(&ProduceRequest { acks: 0, ..produce("u", 0, &["a"]) }, 9);
    assert_eq!(world.closed, [CLIENT]);
}

#[test]
fn a_time_out_of_nothing_is_enough_for_a_leader_alone() {
    for order in 0..20 {
        let memory = MemoryDisk::new();
        let mut world = World::try_start(&memory, Start { order, ..Start::with(&[]) }).unwrap();
        world.create("t", 8);
        for partition in 0..8 {
            for acks in [1, -1] {
                let request = ProduceRequest { acks, timeout_ms: 0, ..produce("t", partition, &["a"]) };
                world.send(&request, 9);
                world.pass(1);
                base_offset(&world.receive::<ProduceRequest>(9).unwrap());
            }
        }
    }
}

#[test]
fn from_version_13_topics_go_by_their_ids() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    let topic_id = world.topic_id("t");
    let by_id = |topic_id, index| {
        let mut request = produce("", index, &["a"]);
        request.topic_data[0].topic_id = topic_id;
        request
    };
    let response = world.call(&by_id(topic_id, 0), 13);
    assert_eq!(response.responses[0].topic_id, topic_id);
    assert_eq!(base_offset(&response), 0);
    assert_eq!(refusal(&mut world, &by_id(topic_id, 1), 13), Some(Refusal::UnknownTopicOrPartition));
    let stranger = Uuid::from_random([3; 16]);
    assert_eq!(refusal(&mut world, &by_id(stranger, 0), 13), Some(Refusal::UnknownTopicId));
    assert_eq!(refusal(&mut world, &by_id(Uuid::ZERO, 0), 13), Some(Refusal::UnknownTopicId));
}

#[test]
fn message_sets_of_old_are_refused() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    for version in 0..3 {
        let refused = refusal(&mut world, &produce("t", 0, &["a"]), version);
        assert_eq!(refused, Some(Refusal::UnsupportedVersion), "version {version}");
    }
}

#[test]
fn a_batch_that_lies_is_refused() {
    let mut world = World::start(&MemoryDisk::new(), &[("message.max.bytes", "1000")]);
    world.create("t", 1);
    world.create_with("compacted", 1, &[("cleanup.policy", "compact")]);
    let damaged = |position: usize, bits: u8| {
        let mut bytes = batch(&["a", "b"]).to_vec();
        bytes[position] ^= bits;
        Bytes::from(bytes)
    };
    let fields = BatchFields { base_offset: ottla_protocol::Offset(5), ..BatchFields::default() };
    let two = [batch(&["a"]), batch(&["b"])].concat();
    let cases: [(&str, Bytes, Refusal); 8] = [
        ("a bit is wrong", damaged(65, 1), Refusal::CorruptMessage),
        ("a format to come", damaged(16, 1), Refusal::CorruptMessage),
        ("a format of old", damaged(16, 3), Refusal::InvalidRecord),
        ("not from 0 on", batch_with(&fields, &["a"]), Refusal::InvalidRecord),
        ("two batches", two.into(), Refusal::InvalidRecord),
        ("too large", batch(&["x".repeat(1000).as_str()]), Refusal::MessageTooLarge),
        ("a control batch", with_attributes(0x20), Refusal::InvalidRecord),
        ("transactional without an id", with_attributes(0x10), Refusal::TransactionalIdAuthorizationFailed),
    ];
    for (what, bytes, expected) in cases {
        let refused = refusal(&mut world, &produce_batch("t", 0, bytes), 9);
        assert_eq!(refused, Some(expected), "{what}");
    }
    let answer = row(&mut world, &produce("compacted", 0, &["no", "keys"]), 9);
    assert_eq!(answer.error_code, Refusal::InvalidRecord.code());
    let blamed: Vec<i32> = answer.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!(blamed, [0, 1]);
    assert_eq!(base_offset(&world.call(&produce("t", 0, &["fine"]), 9)), 0, "nothing of it was written");
}

#[test]
fn records_of_the_far_future_are_refused_one_by_one() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    let far = START_MS + 2 * 60 * 60 * 1000;
    let bytes = timed_batch(&BatchFields::default(), &[(START_MS, "now"), (far, "then")]);
    let answer = row(&mut world, &produce_batch("t", 0, bytes), 9);
    assert_eq!(answer.error_code, Refusal::InvalidTimestamp.code());
    assert_eq!(answer.record_errors.len(), 1);
    assert_eq!(answer.record_errors[0].batch_index, 1);
}

#[test]
fn the_broker_stamps_where_the_topic_says_so() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create_with("t", 1, &[("message.timestamp.type", "LogAppendTime")]);
    world.pass(77);
    let now = world.now.wall_ms;
    let first = row(&mut world, &produce_batch("t", 0, idempotent(5, 0, 0, &["a"])), 9);
    assert_eq!(first.log_append_time_ms, now);
    world.pass(5);
    let again = row(&mut world, &produce_batch("t", 0, idempotent(5, 0, 0, &["a"])), 9);
    assert_eq!((again.base_offset, again.log_append_time_ms), (0, now), "as the first time");
}

#[test]
fn internal_topics_are_written_by_coordinators_alone() {
    let mut world = World::start(&MemoryDisk::new(), &[("offsets.topic.num.partitions", "2")]);
    world.create("__consumer_offsets", 2);
    let refused = refusal(&mut world, &produce("__consumer_offsets", 0, &["a"]), 9);
    assert_eq!(refused, Some(Refusal::InvalidTopicException));
}

#[test]
fn a_producer_may_repeat_any_of_its_last_five_batches() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    for sequence in 0..8 {
        let request = produce_batch("t", 0, idempotent(5, 0, sequence, &["a"]));
        assert_eq!(base_offset(&world.call(&request, 9)), i64::from(sequence));
    }
    for sequence in [3, 5, 4, 7, 6] {
        let request = produce_batch("t", 0, idempotent(5, 0, sequence, &["a"]));
        assert_eq!(base_offset(&world.call(&request, 9)), i64::from(sequence), "the same answer");
    }
    let mut refused = |epoch, sequence| {
        refusal(&mut world, &produce_batch("t", 0, idempotent(5, epoch, sequence, &["a"])), 9)
    };
    assert_eq!(refused(0, 9), Some(Refusal::OutOfOrderSequenceNumber));
    assert_eq!(refused(0, 2), Some(Refusal::OutOfOrderSequenceNumber), "the sixth is forgotten");
    assert_eq!(refused(1, 8), Some(Refusal::OutOfOrderSequenceNumber), "an epoch begins at 0");
    assert_eq!(refused(1, 0), None);
    assert_eq!(refused(0, 8), Some(Refusal::InvalidProducerEpoch));
    assert_eq!(values(&world.call(&fetch("t", 0, 0), 12)).len(), 9);
}

#[test]
fn a_batch_that_is_repeated_before_it_is_on_the_disk_waits_for_the_disk_too() {
    let mut world = World::start(&MemoryDisk::new(), &[("log.flush.interval.messages", "1")]);
    world.create("t", 1);
    world.held = Some(Vec::new());
    let first = produce_batch("t", 0, idempotent(5, 0, 0, &["a"]));
    world.send(&first, 9);
    world.send(&produce_batch("t", 0, idempotent(5, 0, 1, &["b"])), 9);
    world.send(&first, 9);
    assert!(world.receive::<ProduceRequest>(9).is_none());
    assert_eq!(world.run_held(), 1);
    assert_eq!(base_offset(&world.receive::<ProduceRequest>(9).unwrap()), 0);
    assert!(world.receive::<ProduceRequest>(9).is_none(), "the second is not on the disk yet");
    assert_eq!(world.run_held(), 1);
    assert_eq!(base_offset(&world.receive::<ProduceRequest>(9).unwrap()), 1);
    assert_eq!(base_offset(&world.receive::<ProduceRequest>(9).unwrap()), 0);
}

#[test]
fn a_silent_producer_is_forgotten_in_time() {
    let properties = [
        ("producer.id.expiration.ms", "60000"),
        ("log.retention.check.interval.ms", "10000"),
        ("log.initial.task.delay.ms", "10000"),
    ];
    let mut world = World::start(&MemoryDisk::new(), &properties);
    world.create("t", 1);
    assert_eq!(base_offset(&world.call(&produce_batch("t", 0, idempotent(5, 0, 0, &["a"])), 9)), 0);
    world.pass(30_000);
    let gap = produce_batch("t", 0, idempotent(5, 0, 7, &["b"]));
    assert_eq!(refusal(&mut world, &gap, 9), Some(Refusal::OutOfOrderSequenceNumber));
    world.pass(30_000);
    world.pass(10_000);
    assert_eq!(base_offset(&world.call(&gap, 9)), 1, "nothing is known of it any more");
}

#[test]
fn what_does_not_fit_on_the_disk_is_refused_and_later_taken() {
    let memory = MemoryDisk::new();
    let mut world = World::start(&memory, &[]);
    world.create("t", 1);
    base_offset(&world.call(&produce("t", 0, &["a"]), 9));
    memory.set_capacity(Some(0));
    assert_eq!(refusal(&mut world, &produce("t", 0, &["b"]), 9), Some(Refusal::KafkaStorageError));
    // Checkpoints find no room either, and what is there can be read.
    world.pass(20_000);
    assert_eq!(values(&world.call(&fetch("t", 0, 0), 12)), ["a"]);
    memory.set_capacity(None);
    assert_eq!(base_offset(&world.call(&produce("t", 0, &["c"]), 9)), 1);
    world.pass(20_000);
    world.stop();
}

#[test]
fn a_want_of_descriptors_takes_nothing_offline() {
    let memory = MemoryDisk::new();
    let mut world = World::start(&memory, &[("log.segment.bytes", "1048576")]);
    world.create("t", 1);
    let large = "x".repeat(400_000);
    for base in [0, 1, 2, 3, 4] {
        assert_eq!(base_offset(&world.call(&produce("t", 0, &[&large]), 9)), base);
    }
    memory.use_up_descriptors();
    let refused = Some(Refusal::KafkaStorageError);
    let mut taken = 5;
    while refusal(&mut world, &produce("t", 0, &[&large]), 9) != refused {
        taken += 1;
        assert!(taken < 10, "a segment begins somewhere here");
    }
    assert!(Refusal::KafkaStorageError.is_retriable());
    let fetched = world.call(&fetch("t", 0, 0), 12);
    assert_eq!(fetched.responses[0].partitions[0].error_code, Refusal::KafkaStorageError.code());
    // Retention, checkpoints and flushes come by in the meantime.
    world.pass(700_000);
    memory.free_descriptors();
    world.pass(10_000);
    assert_eq!(base_offset(&world.call(&produce("t", 0, &[&large]), 9)), taken, "it recovers by itself");
    assert_eq!(values(&world.call(&fetch("t", 0, 0), 12))[0], large);
    world.create("u", 1);
    assert_eq!(base_offset(&world.call(&produce("u", 0, &["a"]), 9)), 0);
    world.stop();
}

#[test]
fn a_partition_that_cannot_be_opened_is_opened_later() {
    let memory = MemoryDisk::new();
    let mut world = World::start(&memory, &[]);
    memory.use_up_descriptors();
    world.create("t", 20);
    assert_eq!(refusal(&mut world, &produce("t", 0, &["a"]), 9), Some(Refusal::KafkaStorageError));
    let before = memory.injected().refused_opens;
    world.pass(10_000);
    let tried = memory.injected().refused_opens - before;
    assert!((1..10).contains(&tried), "{tried}: one that fails speaks for all");
    memory.free_descriptors();
    world.pass(10_000);
    for partition in 0..20 {
        assert_eq!(base_offset(&world.call(&produce("t", partition, &["a"]), 9)), 0);
    }
}

#[test]
fn partitions_leave_the_last_descriptors_to_others() {
    let memory = MemoryDisk::new();
    World::start(&memory, &[]).stop();
    let mut world = World::start(&memory, &[("log.flush.interval.messages", "1")]);
    world.create("t", 1);
    memory.leave_last_descriptors();
    world.create("u", 1);
    assert_eq!(refusal(&mut world, &produce("u", 0, &["a"]), 9), Some(Refusal::KafkaStorageError));
    assert_eq!(base_offset(&world.call(&produce("t", 0, &["a"]), 9)), 0, "it was there before");
    memory.free_descriptors();
    world.pass(2_000);
    assert_eq!(base_offset(&world.call(&produce("u", 0, &["b"]), 9)), 0);
    // The folder was made by an attempt that failed: its name is put on the disk all the same.
    drop(world);
    memory.reboot(Crash::Power);
    let mut world = World::start(&memory, &[]);
    assert_eq!(values(&world.call(&fetch("u", 0, 0), 12)), ["b"]);
}

#[test]
fn a_log_that_could_not_stay_open_is_not_recovered_again_and_again() {
    let memory = MemoryDisk::new();
    let mut world = World::start(&memory, &[]);
    world.create("t", 1);
    let large = "x".repeat(400_000);
    for _ in 0..5 {
        world.call(&produce("t", 0, &[&large]), 9);
    }
    drop(world);
    memory.reboot(Crash::Process);
    memory.leave_last_descriptors();
    let mut world = World::start(&memory, &[]);
    let before = memory.bytes_read();
    world.pass(10_000);
    let read = memory.bytes_read() - before;
    assert!(read < 400_000, "{read} bytes were read for nothing");
    memory.free_descriptors();
    world.pass(10_000);
    assert_eq!(values(&world.call(&fetch("t", 0, 4), 12))[0], large);
}

#[test]
fn producer_ids_are_for_those_who_ask_rightly() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    let ask = |transactional_id: Option<&str>, producer_id, producer_epoch| InitProducerIdRequest {
        transactional_id: transactional_id.map(Into::into),
        transaction_timeout_ms: 60_000,
        producer_id,
        producer_epoch,
        ..Default::default()
    };
    for version in 0..=5 {
        let response = world.call(&ask(None, -1, -1), version);
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        assert!(response.producer_id >= 0);
    }
    let cases = [
        (ask(Some(""), -1, -1), Refusal::InvalidRequest),
        (ask(None, 7, -1), Refusal::InvalidRequest),
        (ask(None, -1, 7), Refusal::InvalidRequest),
    ];
    for (request, expected) in cases {
        let response = world.call(&request, 5);
        assert_eq!(response.error_code, expected.code());
        assert_eq!((response.producer_id, response.producer_epoch), (-1, -1));
    }
}
