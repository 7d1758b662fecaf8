//! The consumer against made-up brokers: positions, resets, transactions, seeks, and every record once.

use ottla_protocol::batch::{
    Attributes, BatchBuilder, BatchFields, ControlType, RecordParts, TransactionMarker,
};
use ottla_protocol::compression::Compression;
use ottla_protocol::messages::fetch::AbortedTransaction;
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal};
use proptest::prelude::*;

use super::*;
use crate::testing::{Fault, World, properties};

struct Bench {
    world: World,
    consumer: Consumer,
}

fn batch(values: &[&str], fields: &BatchFields) -> ottla_protocol::batch::StampedBatch {
    let mut builder = BatchBuilder::new();
    for value in values {
        let timestamp = value.parse().unwrap_or(0);
        builder
            .append(&RecordParts { timestamp, value: Some(value.as_bytes()), ..RecordParts::default() })
            .unwrap();
    }
    builder.finish(fields, &mut Codecs::new())
}

fn plain(values: &[&str]) -> ottla_protocol::batch::StampedBatch {
    batch(values, &BatchFields::default())
}

fn transactional(producer: i64, values: &[&str]) -> ottla_protocol::batch::StampedBatch {
    let fields = BatchFields {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        attributes: Attributes::default().transactional(),
        ..BatchFields::default()
    };
    batch(values, &fields)
}

fn marker(producer: i64, end: ControlType) -> ottla_protocol::batch::StampedBatch {
    let (producer_id, producer_epoch) = (ProducerId(producer), ProducerEpoch(0));
    TransactionMarker { producer_id, producer_epoch, end, coordinator_epoch: 0 }.batch(0)
}

fn t(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

impl Bench {
    fn new(pairs: &[(&str, &str)], partitions: i32) -> Self {
        let mut all = vec![("auto.offset.reset", "earliest")];
        all.extend_from_slice(pairs);
        let settings = ConsumerSettings::from_properties(&properties(&all)).unwrap();
        Self { world: World::new(&all, &[("t", partitions)]), consumer: Consumer::new(settings, 3) }
    }

    fn assign(&mut self, partitions: &[i32]) {
        let list: Vec<_> = partitions.iter().map(|p| t(*p)).collect();
        self.consumer.assign(self.world.now, &mut self.world.cluster, list);
    }

    fn seek(&mut self, partition: i32, start: Start) {
        self.consumer.seek(self.world.now, &mut self.world.cluster, &t(partition), start);
    }

    fn turn(&mut self) {
        for done in self.world.carry_out() {
            assert!(self.consumer.done(self.world.now, &mut self.world.cluster, done.ticket, done.outcome));
        }
        self.consumer.step(self.world.now, &mut self.world.cluster);
    }

    /// Lets things happen until there is something to read or nothing happens. The made-up brokers do not wait for
    /// records, so that an empty answer is followed by the next question.
    fn settle(&mut self) {
        for _ in 0..12 {
            self.turn();
            self.turn();
            if self.consumer.is_ready() || !self.world.deliver() {
                break;
            }
        }
    }

    fn poll(&mut self) -> Result<Vec<(i64, String)>, ConsumeError> {
        for _ in 0..40 {
            self.settle();
            let polled = self.consumer.poll()?;
            if !polled.is_empty() {
                let records = polled.into_iter().flat_map(|polled| polled.records);
                let text = |record: Record| String::from_utf8_lossy(&record.value.unwrap()).into_owned();
                return Ok(records.map(|record| (record.offset.0, text(record))).collect());
            }
            self.world.pass(50);
        }
        Ok(Vec::new())
    }

    fn values(&mut self) -> Vec<String> {
        self.poll().unwrap().into_iter().map(|(_, value)| value).collect()
    }
}

#[test]
fn records_come_in_order_from_where_the_policy_says() {
    let mut bench = Bench::new(&[], 1);
    for values in [&["a", "b"][..], &["c"], &["d", "e"]] {
        bench.world.log("t", 0).push(plain(values));
    }
    bench.assign(&[0]);
    assert_eq!(bench.consumer.position(&t(0)), None);
    assert_eq!(bench.values(), ["a", "b", "c", "d", "e"]);
    assert_eq!(bench.consumer.position(&t(0)), Some(5));
    assert_eq!(bench.consumer.marks(&t(0)).unwrap().high_watermark, 5);
    bench.world.log("t", 0).push(plain(&["f"]));
    assert_eq!(bench.poll(), Ok(vec![(5, "f".into())]));
}

#[test]
fn the_end_a_timestamp_and_a_duration_are_places_to_begin() {
    let mut bench = Bench::new(&[("auto.offset.reset", "latest")], 1);
    for value in ["1000", "2000", "3000"] {
        bench.world.log("t", 0).push(plain(&[value]));
    }
    bench.assign(&[0]);
    assert_eq!(bench.values(), [""; 0]);
    bench.world.log("t", 0).push(plain(&["4000"]));
    assert_eq!(bench.values(), ["4000"]);
    bench.seek(0, Start::Timestamp(1500));
    assert_eq!(bench.values(), ["2000", "3000", "4000"]);
    bench.seek(0, Start::Timestamp(9000));
    assert_eq!(bench.values(), [""; 0]);
    assert_eq!(bench.consumer.position(&t(0)), Some(4));
    bench.seek(0, Start::Beginning);
    assert_eq!(bench.values().len(), 4);
    bench.seek(0, Start::Offset(2));
    assert_eq!(bench.values(), ["3000", "4000"]);
}

#[test]
fn the_middle_of_a_batch_is_a_place_too() {
    for codec in Compression::ALL {
        let mut bench = Bench::new(&[], 1);
        let fields = BatchFields { effort: codec.into(), ..BatchFields::default() };
        bench.world.log("t", 0).push(batch(&["a", "b", "c", "d"], &fields));
        bench.assign(&[0]);
        bench.seek(0, Start::Offset(2));
        assert_eq!(bench.values(), ["c", "d"]);
    }
}

#[test]
fn a_poll_gives_no_more_than_it_may_and_the_next_goes_on() {
    let mut bench = Bench::new(&[("max.poll.records", "3")], 2);
    bench.world.log("t", 0).push(plain(&["a", "b", "c", "d"]));
    bench.world.log("t", 1).push(plain(&["x", "y"]));
    bench.assign(&[0, 1]);
    let mut seen = Vec::new();
    loop {
        let values = bench.values();
        assert!(values.len() <= 3);
        if values.is_empty() {
            break;
        }
        seen.extend(values);
    }
    seen.sort();
    assert_eq!(seen, ["a", "b", "c", "d", "x", "y"]);
}

#[test]
fn records_stamped_by_the_leader_are_told_from_those_stamped_by_their_producer() {
    let mut bench = Bench::new(&[], 1);
    let by_leader = BatchFields { log_append_time: Some(7), ..BatchFields::default() };
    bench.world.log("t", 0).push(plain(&["a", "b"]));
    bench.world.log("t", 0).push(batch(&["c"], &by_leader));
    bench.world.log("t", 0).push(batch(&["d"], &by_leader));
    bench.world.log("t", 0).push(plain(&["e"]));
    bench.assign(&[0]);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        bench.settle();
        for polled in bench.consumer.poll().unwrap() {
            let values: Vec<_> = polled.records.iter().map(|record| record.value.clone().unwrap()).collect();
            seen.push((polled.stamped_by, values.concat(), bench.consumer.position(&t(0))));
        }
    }
    let expected = [
        (TimestampType::CreateTime, b"ab".to_vec(), Some(2)),
        (TimestampType::LogAppendTime, b"cd".to_vec(), Some(4)),
        (TimestampType::CreateTime, b"e".to_vec(), Some(5)),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn aborted_transactions_are_seen_by_those_alone_who_want_them() {
    for (isolation, expected) in [
        ("read_uncommitted", &["1", "2", "3", "4", "5", "6", "7"][..]),
        ("read_committed", &["2", "4", "5", "6"]),
    ] {
        let mut bench = Bench::new(&[("isolation.level", isolation)], 1);
        let log = bench.world.log("t", 0);
        log.push(transactional(1, &["1"]));
        log.push(transactional(2, &["2"]));
        log.push(transactional(1, &["3"]));
        log.push(plain(&["4"]));
        log.push(marker(1, ControlType::Abort));
        log.push(marker(2, ControlType::Commit));
        // The same producer's next transaction holds.
        log.push(transactional(1, &["5"]));
        log.push(marker(1, ControlType::Commit));
        log.push(plain(&["6"]));
        let stable = log.push(transactional(3, &["7"]));
        log.last_stable = Some(stable);
        log.aborted = vec![AbortedTransaction { producer_id: 1, first_offset: 0 }];
        bench.assign(&[0]);
        assert_eq!(bench.values(), expected, "{isolation}");
        let end = if isolation == "read_committed" { stable } else { stable + 1 };
        bench.settle();
        bench.consumer.poll().unwrap();
        assert_eq!(bench.consumer.position(&t(0)), Some(end));
    }
}

#[test]
fn a_log_of_markers_alone_is_passed_over() {
    let mut bench = Bench::new(&[], 1);
    for _ in 0..3 {
        bench.world.log("t", 0).push(marker(1, ControlType::Commit));
    }
    bench.assign(&[0]);
    assert_eq!(bench.values(), [""; 0]);
    assert_eq!(bench.consumer.position(&t(0)), Some(3));
}

#[test]
fn without_a_policy_the_reader_is_told() {
    let mut bench = Bench::new(&[("auto.offset.reset", "none")], 1);
    bench.world.log("t", 0).push(plain(&["a"]));
    bench.assign(&[0]);
    assert_eq!(bench.poll(), Err(ConsumeError::NoOffset(t(0))));
    bench.seek(0, Start::Offset(77));
    assert_eq!(bench.poll(), Err(ConsumeError::OutOfRange { partition: t(0), offset: 77 }));
    assert_eq!(bench.poll(), Ok(vec![]));
    bench.seek(0, Start::Offset(0));
    assert_eq!(bench.values(), ["a"]);
}

#[test]
fn a_position_that_is_gone_is_reset() {
    let mut bench = Bench::new(&[], 1);
    bench.world.log("t", 0).start = 10;
    bench.world.log("t", 0).push(plain(&["a"]));
    bench.assign(&[0]);
    bench.seek(0, Start::Offset(3));
    assert_eq!(bench.poll(), Ok(vec![(10, "a".into())]));
}

#[test]
fn a_moved_leader_is_followed() {
    let mut bench = Bench::new(&[], 1);
    bench.world.log("t", 0).push(plain(&["a"]));
    bench.assign(&[0]);
    assert_eq!(bench.values(), ["a"]);
    (bench.world.log("t", 0).leader, bench.world.log("t", 0).epoch) = (3, 6);
    bench.world.log("t", 0).push(plain(&["b"]));
    assert_eq!(bench.values(), ["b"]);
}

#[test]
fn refusals_that_pass_are_waited_out_and_others_told() {
    let mut bench = Bench::new(&[], 1);
    bench.world.log("t", 0).push(plain(&["a"]));
    bench.world.faults.extend([
        Fault::Refuse(Refusal::OffsetNotAvailable),
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::Refuse(Refusal::TopicAuthorizationFailed),
    ]);
    bench.assign(&[0]);
    let Err(ConsumeError::Refused { error, .. }) = bench.poll() else { panic!() };
    assert_eq!(error.refusal(), Some(Refusal::TopicAuthorizationFailed));
    assert_eq!(bench.values(), ["a"]);
}

#[test]
fn what_was_fetched_before_a_seek_is_forgotten() {
    let mut bench = Bench::new(&[], 1);
    for value in ["a", "b", "c"] {
        bench.world.log("t", 0).push(plain(&[value]));
    }
    bench.assign(&[0]);
    bench.settle();
    bench.turn();
    // Buffered, and a fetch from the end under way.
    bench.seek(0, Start::Offset(1));
    assert_eq!(bench.values(), ["b", "c"]);
    assert_eq!(bench.consumer.position(&t(0)), Some(3));
}

#[test]
fn a_paused_partition_keeps_what_it_has_and_asks_for_nothing() {
    let mut bench = Bench::new(&[], 2);
    bench.world.log("t", 0).push(plain(&["a"]));
    bench.world.log("t", 1).push(plain(&["x"]));
    bench.assign(&[0, 1]);
    bench.consumer.pause(&t(0));
    assert_eq!(bench.values(), ["x"]);
    assert_eq!(bench.values(), [""; 0]);
    let now = bench.world.now;
    bench.consumer.resume(now, &mut bench.world.cluster, &t(0));
    assert_eq!(bench.values(), ["a"]);
}

#[test]
fn fetching_runs_ahead_but_not_far() {
    let mut bench = Bench::new(&[("max.partition.fetch.bytes", "1000")], 1);
    let value = "v".repeat(300);
    for _ in 0..30 {
        bench.world.log("t", 0).push(plain(&[&value]));
    }
    bench.assign(&[0]);
    for _ in 0..20 {
        bench.turn();
        bench.world.deliver();
    }
    let held = bench.consumer.partitions[&t(0)].buffered_bytes();
    assert!((1000..2000).contains(&held), "{held}");
    let mut count = 0;
    while !bench.values().is_empty() {
        count += 1;
    }
    assert!(count > 3);
    assert_eq!(bench.consumer.position(&t(0)), Some(30));
}

#[test]
fn a_damaged_batch_is_told_and_can_be_passed() {
    let mut bench = Bench::new(&[], 1);
    for value in ["a", "b", "c"] {
        bench.world.log("t", 0).push(plain(&[value]));
    }
    let damaged = &mut bench.world.log("t", 0).batches[1];
    let mut bytes = damaged.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    *damaged = bytes.into();
    bench.assign(&[0]);
    assert_eq!(bench.values(), ["a"]);
    assert!(matches!(bench.poll(), Err(ConsumeError::Corrupt { .. })));
    assert_eq!(bench.consumer.position(&t(0)), Some(1));
    bench.seek(0, Start::Offset(2));
    assert_eq!(bench.values(), ["c"]);
}

#[test]
fn a_fetch_holds_what_it_is_told_to_hold() {
    let pairs = [("fetch.min.bytes", "7"), ("fetch.max.bytes", "5000"), ("max.partition.fetch.bytes", "900")];
    let mut bench = Bench::new(&pairs, 1);
    bench.assign(&[0]);
    bench.values();
    let fetch = bench.world.fetches.last().unwrap();
    assert_eq!((fetch.min_bytes, fetch.max_bytes, fetch.max_wait_ms), (7, 5000, 500));
    assert_eq!((fetch.session_id, fetch.session_epoch, fetch.replica_id), (0, -1, -1));
    let partition = &fetch.topics[0].partitions[0];
    assert_eq!((partition.partition_max_bytes, partition.current_leader_epoch), (900, 5));
}

#[test]
fn assigning_again_keeps_positions_of_those_that_stay() {
    let mut bench = Bench::new(&[], 2);
    bench.world.log("t", 0).push(plain(&["a"]));
    bench.world.log("t", 1).push(plain(&["x"]));
    bench.assign(&[0]);
    assert_eq!(bench.values(), ["a"]);
    bench.assign(&[0, 1]);
    assert_eq!(bench.values(), ["x"]);
    assert_eq!(bench.consumer.position(&t(0)), Some(1));
    bench.assign(&[1]);
    assert_eq!(bench.consumer.assignment().collect::<Vec<_>>(), [&t(1)]);
    assert_eq!(bench.consumer.position(&t(0)), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever the sizes and whatever fails, every record comes once and in order.
    #[test]
    fn every_record_comes_once(
        sizes in proptest::collection::vec((0..2i32, 1..6usize, 0..400usize), 1..40),
        faults in proptest::collection::vec(prop_oneof![
            4 => Just(Fault::None),
            1 => Just(Fault::CutBefore),
            1 => Just(Fault::CutAfter),
            1 => Just(Fault::Refuse(Refusal::NotLeaderOrFollower)),
        ], 0..20),
        most in 1..2000usize,
        polled in 1..20usize,
    ) {
        let (most, polled) = (most.to_string(), polled.to_string());
        let mut bench = Bench::new(&[("max.partition.fetch.bytes", &most), ("max.poll.records", &polled)], 2);
        let mut expected = [Vec::new(), Vec::new()];
        for (n, (partition, count, size)) in sizes.into_iter().enumerate() {
            let values: Vec<_> = (0..count).map(|i| format!("{n}/{i}{}", "v".repeat(size))).collect();
            bench.world.log("t", partition).push(plain(&values.iter().map(String::as_str).collect::<Vec<_>>()));
            expected[partition as usize].extend(values);
        }
        bench.world.faults = faults.into();
        bench.assign(&[0, 1]);
        let mut seen = [Vec::new(), Vec::new()];
        let total = expected.iter().map(Vec::len).sum::<usize>();
        let mut rounds_after = 3;
        for _ in 0..1000 {
            bench.settle();
            for polled in bench.consumer.poll().unwrap() {
                let values = polled.records.iter().map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap()).into_owned());
                seen[polled.partition.partition as usize].extend(values);
            }
            bench.world.pass(10);
            rounds_after -= i32::from(seen.iter().map(Vec::len).sum::<usize>() >= total);
            if rounds_after == 0 {
                break;
            }
        }
        prop_assert_eq!(seen, expected);
    }
}
