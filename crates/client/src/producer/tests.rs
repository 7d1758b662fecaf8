//! The producer against made-up brokers: batching, partitions, refusals, time, and no record lost, repeated or reordered.

use proptest::prelude::*;

use super::*;
use crate::testing::{Fault, World, properties};

struct Bench {
    world: World,
    producer: Producer,
    /// What became of each record, by batch and index.
    ends: BTreeMap<(BatchId, i32), Result<i64, ClientError>>,
}

impl Bench {
    fn new(pairs: &[(&str, &str)], topics: &[(&str, i32)]) -> Self {
        let settings = ProducerSettings::from_properties(&properties(pairs)).unwrap();
        Self { world: World::new(pairs, topics), producer: Producer::new(settings, 7), ends: BTreeMap::new() }
    }

    fn turn(&mut self) {
        for done in self.world.carry_out() {
            assert!(self.producer.done(self.world.now, &mut self.world.cluster, done.ticket, done.outcome));
        }
        self.producer.step(self.world.now, &mut self.world.cluster);
        while let Some(delivered) = self.producer.delivered() {
            for index in delivered.first_index..delivered.first_index + delivered.count {
                let end = delivered.of(index).unwrap();
                let twice = self.ends.insert((delivered.batch, index), end);
                assert_eq!(twice, None, "a record ends once");
            }
        }
    }

    /// Lets everything happen that needs no time.
    fn settle(&mut self) {
        loop {
            // What a step asks for is carried out in the next turn.
            self.turn();
            self.turn();
            if !self.world.deliver() {
                break;
            }
        }
    }

    /// Lets time pass until all records have ended, or the limit.
    fn finish(&mut self, limit_ms: u64) {
        let end = self.world.now.monotonic_us + limit_ms * 1000;
        self.settle();
        while !self.producer.is_idle() && self.world.now.monotonic_us < end {
            self.world.pass(5);
            self.settle();
        }
    }

    fn send(&mut self, record: &NewRecord<'_>) -> Result<Sent, Unsent> {
        self.producer.send(self.world.now, self.world.cluster.metadata(), record)
    }

    /// Sends a value, after metadata has come.
    fn put(&mut self, topic: &str, partition: Option<i32>, value: &str) -> Sent {
        let record = NewRecord { topic, partition, value: Some(value.as_bytes()), ..NewRecord::default() };
        for _ in 0..100 {
            match self.send(&record) {
                Err(Unsent::Later(Lack::Metadata)) => self.settle(),
                other => return other.unwrap(),
            }
            self.world.pass(5);
        }
        panic!("no metadata of {topic}");
    }

    fn end_of(&self, sent: Sent) -> Option<&Result<i64, ClientError>> {
        self.ends.get(&(sent.batch, sent.index))
    }

    fn values(&mut self, topic: &str, partition: i32) -> Vec<String> {
        self.world.log(topic, partition).values().into_iter().map(|(_, value)| value).collect()
    }
}

#[test]
fn a_record_lingers_is_sent_and_ends_with_its_offset() {
    let mut bench = Bench::new(&[("linger.ms", "10")], &[("t", 1)]);
    let sent = [bench.put("t", None, "a"), bench.put("t", None, "b")];
    bench.settle();
    assert_eq!(bench.values("t", 0), [""; 0]);
    assert_eq!(bench.producer.deadline(), Some(bench.world.now.after_ms(10)));
    bench.world.pass(10);
    bench.settle();
    assert_eq!(bench.values("t", 0), ["a", "b"]);
    assert_eq!(sent.map(|sent| bench.end_of(sent).cloned()), [Some(Ok(0)), Some(Ok(1))]);
    assert!(bench.producer.is_idle());
    let counters = bench.producer.counters();
    assert_eq!((counters.records, counters.delivered, counters.requests, counters.retries), (2, 2, 1, 0));
}

#[test]
fn a_full_batch_does_not_linger() {
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let pairs = [("linger.ms", "100000"), ("batch.size", "1000"), ("compression.type", compression)];
        let mut bench = Bench::new(&pairs, &[("t", 1)]);
        let value: String = (0..90u32).map(|i| char::from(b'!' + (i * i % 90) as u8)).collect();
        for _ in 0..50 {
            bench.put("t", None, &value);
            bench.settle();
        }
        let stored = bench.values("t", 0).len();
        assert!(stored >= 27, "{compression}: {stored}");
        let log = bench.world.log("t", 0);
        assert!(log.batches.iter().all(|batch| batch.len() <= 1000), "{compression}");
    }
}

#[test]
fn keys_find_their_partition_and_explicit_partitions_are_kept() {
    let mut bench = Bench::new(&[], &[("t", 10)]);
    bench.put("t", Some(0), "first");
    let keyed = NewRecord { topic: "t", key: Some(b"foobar"), ..NewRecord::default() };
    assert_eq!(bench.send(&keyed).unwrap().partition, partition_of_key(b"foobar", 10) as i32);
    assert_eq!(bench.put("t", Some(9), "x").partition, 9);
    let wrong = NewRecord { topic: "t", partition: Some(10), ..NewRecord::default() };
    assert!(matches!(bench.send(&wrong), Err(Unsent::Never(ClientError::Invalid(_)))));
    bench.finish(1000);
    assert!(bench.producer.is_idle());
}

#[test]
fn keyless_records_stick_and_then_spread() {
    let mut bench = Bench::new(&[("batch.size", "500"), ("linger.ms", "0")], &[("t", 8)]);
    let mut seen = BTreeMap::new();
    let mut changes = 0;
    let mut last = -1;
    for _ in 0..400 {
        let sent = bench.put("t", None, &"v".repeat(60));
        changes += i32::from(sent.partition != last);
        last = sent.partition;
        *seen.entry(sent.partition).or_insert(0) += 1;
    }
    bench.finish(1000);
    assert!(seen.len() == 8, "{seen:?}");
    assert!(changes > 10 && changes < 100, "{changes}");
}

#[test]
fn one_request_carries_a_batch_of_each_partition_of_a_leader() {
    let mut bench = Bench::new(&[("linger.ms", "5")], &[("t", 6), ("u", 3)]);
    bench.put("t", Some(0), "warm up");
    bench.put("u", Some(0), "warm up");
    bench.finish(1000);
    let before = bench.producer.counters().requests;
    for partition in 0..6 {
        bench.put("t", Some(partition), "x");
    }
    for partition in 0..3 {
        bench.put("u", Some(partition), "x");
    }
    bench.finish(1000);
    assert_eq!(bench.producer.counters().requests - before, 3);
    assert_eq!(bench.values("u", 2), ["x"]);
}

#[test]
fn what_is_unknown_waits_and_what_is_too_large_never_goes() {
    let mut bench = Bench::new(&[("max.request.size", "1000"), ("buffer.memory", "2000")], &[("t", 1)]);
    let record = NewRecord { topic: "nowhere", ..NewRecord::default() };
    assert_eq!(bench.send(&record), Err(Unsent::Later(Lack::Metadata)));
    bench.settle();
    assert_eq!(bench.send(&record), Err(Unsent::Later(Lack::Metadata)));
    bench.put("t", None, "x");
    let large = vec![0; 950];
    let record = NewRecord { topic: "t", value: Some(&large), ..NewRecord::default() };
    let Err(Unsent::Never(ClientError::Refused(error))) = bench.send(&record) else { panic!() };
    assert_eq!(error.refusal, Refusal::MessageTooLarge);
    assert!(error.to_string().contains("max.request.size"));
}

#[test]
fn full_memory_sends_what_there_is_and_then_takes_more() {
    let mut bench = Bench::new(&[("linger.ms", "100000"), ("buffer.memory", "1000")], &[("t", 1)]);
    let value = "v".repeat(200);
    bench.put("t", None, &value);
    let record = NewRecord { topic: "t", value: Some(value.as_bytes()), ..NewRecord::default() };
    while bench.send(&record).is_ok() {}
    assert_eq!(bench.send(&record), Err(Unsent::Later(Lack::Memory)));
    bench.settle();
    assert!(bench.producer.is_idle(), "memory is short, so nothing lingers");
    assert!(bench.send(&record).is_ok());
}

#[test]
fn flush_and_close_do_not_linger() {
    let mut bench = Bench::new(&[("linger.ms", "100000")], &[("t", 1)]);
    bench.put("t", None, "a");
    let mark = bench.producer.flush();
    assert!(!bench.producer.is_flushed(mark));
    bench.settle();
    assert!(bench.producer.is_flushed(mark));
    bench.put("t", None, "b");
    assert!(bench.producer.is_flushed(mark), "what came later does not count");
    bench.settle();
    assert_eq!(bench.values("t", 0), ["a"]);
    bench.producer.close();
    let late = NewRecord { topic: "t", ..NewRecord::default() };
    assert_eq!(bench.send(&late), Err(Unsent::Never(ClientError::Closed)));
    bench.settle();
    assert_eq!(bench.values("t", 0), ["a", "b"]);
}

#[test]
fn without_acks_the_writing_is_the_end() {
    let mut bench = Bench::new(&[("acks", "0"), ("linger.ms", "0")], &[("t", 1)]);
    let sent = bench.put("t", None, "a");
    bench.settle();
    assert_eq!(bench.end_of(sent), Some(&Ok(-1)));
    assert_eq!(bench.values("t", 0), ["a"]);
}

#[test]
fn a_refused_batch_is_sent_again_after_a_pause() {
    let mut bench = Bench::new(&[("linger.ms", "0")], &[("t", 1)]);
    bench.world.faults.extend([Fault::Refuse(Refusal::NotEnoughReplicas), Fault::CutBefore, Fault::CutAfter]);
    let sent = bench.put("t", None, "a");
    bench.settle();
    assert_eq!(bench.end_of(sent), None);
    bench.finish(10_000);
    assert_eq!(bench.end_of(sent), Some(&Ok(0)));
    assert_eq!(bench.values("t", 0), ["a"]);
    assert_eq!(bench.producer.counters().retries, 3);
}

#[test]
fn a_new_leader_is_found_without_a_pause() {
    let mut bench = Bench::new(&[("linger.ms", "0")], &[("t", 1)]);
    bench.put("t", None, "a");
    bench.settle();
    (bench.world.log("t", 0).leader, bench.world.log("t", 0).epoch) = (3, 6);
    let sent = bench.put("t", None, "b");
    bench.settle();
    assert_eq!(bench.end_of(sent), Some(&Ok(1)));
    assert_eq!(bench.world.requests.last().map(|(broker, ..)| *broker), Some(3));
}

#[test]
fn a_final_refusal_ends_the_records_and_the_next_go_on() {
    let mut bench = Bench::new(&[("linger.ms", "0")], &[("t", 1)]);
    bench.world.faults.push_back(Fault::Refuse(Refusal::InvalidRecord));
    let lost = bench.put("t", None, "a");
    bench.finish(1000);
    let end = bench.end_of(lost).unwrap().clone().unwrap_err();
    assert_eq!(end.refusal(), Some(Refusal::InvalidRecord));
    let kept = bench.put("t", None, "b");
    bench.finish(1000);
    assert_eq!(bench.end_of(kept), Some(&Ok(0)));
    // The lost number left a hole, so the partition went on under the next epoch.
    let header = ottla_protocol::batch::BatchHeader::parse(&bench.world.log("t", 0).batches[0]).unwrap();
    assert_eq!((header.producer_epoch.0, header.base_sequence), (1, 0));
}

#[test]
fn time_runs_out_at_the_delivery_timeout() {
    let pairs = [("linger.ms", "0"), ("request.timeout.ms", "1000"), ("delivery.timeout.ms", "3000")];
    let mut bench = Bench::new(&pairs, &[("t", 1)]);
    bench.put("t", None, "warm up");
    bench.finish(1000);
    bench.world.faults.extend([Fault::Refuse(Refusal::NotEnoughReplicas); 100]);
    let sent = bench.put("t", None, "a");
    bench.finish(2900);
    assert_eq!(bench.end_of(sent), None);
    bench.finish(200);
    assert!(matches!(bench.end_of(sent), Some(Err(ClientError::TimedOut(_)))));
    assert!(bench.producer.is_idle());
}

#[test]
fn an_answer_that_never_comes_does_not_hold_a_record_beyond_its_time() {
    let pairs = [("linger.ms", "0"), ("request.timeout.ms", "2000"), ("delivery.timeout.ms", "2500")];
    let mut bench = Bench::new(&pairs, &[("t", 1)]);
    bench.put("t", None, "warm up");
    bench.finish(1000);
    let sent = bench.put("t", None, "a");
    bench.turn();
    bench.turn();
    for _ in 0..510 {
        bench.world.pass(5);
        bench.turn();
    }
    assert!(matches!(bench.end_of(sent), Some(Err(ClientError::TimedOut(_)))));
}

#[test]
fn a_batch_too_large_for_the_broker_is_divided() {
    for compression in ["none", "zstd"] {
        let pairs = [("linger.ms", "50"), ("batch.size", "100000"), ("compression.type", compression)];
        let mut bench = Bench::new(&pairs, &[("t", 1)]);
        bench.world.max_message_bytes = 3000;
        let noise = |n: u32| -> String {
            let mut random = Random::new(n.into());
            (0..100).map(|_| char::from(b'!' + (random.next() % 90) as u8)).collect()
        };
        let values: Vec<String> = (0..200).map(noise).collect();
        let sent: Vec<Sent> = values.iter().map(|value| bench.put("t", None, value)).collect();
        assert!(sent.iter().all(|s| s.batch == sent[0].batch));
        bench.finish(20_000);
        assert_eq!(bench.values("t", 0), values);
        for (offset, sent) in sent.into_iter().enumerate() {
            assert_eq!(bench.end_of(sent), Some(&Ok(offset as i64)));
        }
        assert_eq!(bench.producer.memory.used, 0);
    }
}

#[test]
fn a_broker_that_lost_its_memory_is_met_with_a_new_epoch() {
    let mut bench = Bench::new(&[("linger.ms", "0")], &[("t", 1)]);
    bench.put("t", None, "a");
    bench.finish(1000);
    bench.world.forgetful = true;
    let sent = bench.put("t", None, "b");
    bench.settle();
    bench.world.forgetful = false;
    bench.finish(5000);
    assert_eq!(bench.end_of(sent), Some(&Ok(1)));
    let header = ottla_protocol::batch::BatchHeader::parse(&bench.world.log("t", 0).batches[1]).unwrap();
    assert_eq!((header.producer_epoch.0, header.base_sequence), (1, 0));
}

#[test]
fn at_most_five_batches_of_a_partition_are_under_way() {
    let mut bench = Bench::new(&[("linger.ms", "0"), ("batch.size", "1")], &[("t", 1)]);
    bench.put("t", None, "warm up");
    bench.finish(1000);
    for i in 0..20 {
        bench.put("t", None, &i.to_string());
    }
    bench.turn();
    bench.turn();
    assert_eq!(bench.producer.requests.len(), 5);
    bench.finish(1000);
    assert_eq!(bench.values("t", 0).len(), 21);
}

#[test]
fn aborting_ends_everything() {
    let mut bench = Bench::new(&[("linger.ms", "0")], &[("t", 2)]);
    let sent = [bench.put("t", Some(0), "a"), bench.put("t", Some(1), "b")];
    bench.turn();
    let filling = bench.put("t", Some(0), "c");
    bench.producer.abort(&ClientError::Closed);
    bench.turn();
    for sent in sent.into_iter().chain([filling]) {
        assert_eq!(bench.end_of(sent), Some(&Err(ClientError::Closed)));
    }
    assert!(bench.producer.is_idle());
    assert_eq!(bench.producer.memory.used, 0);
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        2 => Just(Fault::CutBefore),
        2 => Just(Fault::CutAfter),
        1 => Just(Fault::Refuse(Refusal::NotEnoughReplicas)),
        1 => Just(Fault::Refuse(Refusal::NotLeaderOrFollower)),
        1 => Just(Fault::Refuse(Refusal::UnknownTopicOrPartition)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// With idempotence, whatever happens on the way, every record is there once, and in order.
    #[test]
    fn records_are_neither_lost_nor_repeated_nor_reordered(
        faults in proptest::collection::vec(any_fault(), 0..60),
        batch_size in 1..300usize,
        moves in proptest::collection::vec(0..40usize, 0..5),
    ) {
        let size = batch_size.to_string();
        let mut bench = Bench::new(&[("linger.ms", "1"), ("batch.size", &size)], &[("t", 2)]);
        bench.world.faults = faults.into();
        let mut sent = Vec::new();
        for i in 0..40 {
            sent.push(bench.put("t", Some((i % 2) as i32), &format!("value {i}")));
            if i % 3 == 0 {
                bench.world.pass(7);
                bench.turn();
            }
            if moves.contains(&i) {
                let log = bench.world.log("t", 0);
                (log.leader, log.epoch) = (log.leader % 3 + 1, log.epoch + 1);
            }
            if i % 5 == 0 {
                bench.world.deliver();
            }
        }
        bench.finish(110_000);
        for partition in 0..2 {
            let expected: Vec<_> = (0..40).filter(|i| i % 2 == partition).map(|i| format!("value {i}")).collect();
            prop_assert_eq!(bench.values("t", partition), expected);
        }
        for (i, sent) in sent.into_iter().enumerate() {
            prop_assert_eq!(bench.end_of(sent), Some(&Ok((i / 2) as i64)));
        }
        prop_assert_eq!(bench.producer.memory.used, 0);
    }

    /// Where batches are lost for good, those that are told to be delivered are there once and in order, and nothing is
    /// there twice.
    #[test]
    fn a_loss_does_not_disturb_the_others(
        faults in proptest::collection::vec(
            prop_oneof![3 => any_fault(), 1 => Just(Fault::Refuse(Refusal::InvalidRecord))], 0..40),
    ) {
        let mut bench = Bench::new(&[("linger.ms", "0"), ("batch.size", "1")], &[("t", 1)]);
        bench.world.faults = faults.into();
        let mut sent = Vec::new();
        for i in 0..30 {
            sent.push(bench.put("t", None, &format!("{i:02}")));
            if i % 4 == 0 {
                bench.turn();
            }
        }
        bench.finish(110_000);
        let stored = bench.world.log("t", 0).values();
        let mut once: Vec<_> = stored.iter().map(|(_, value)| value.clone()).collect();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), stored.len(), "repeated");
        for (i, sent) in sent.into_iter().enumerate() {
            match bench.end_of(sent).cloned() {
                Some(Ok(offset)) => prop_assert_eq!(&stored[offset as usize].1, &format!("{i:02}")),
                Some(Err(_)) => {}
                None => prop_assert!(false, "record {} has not ended", i),
            }
        }
    }
}
