//! A partition against a naive model: whatever producers, coordinators and crashes do, a reader of committed records
//! sees all of a transaction or nothing of it, and every other record once.
//!
//! The reader goes through the log fetch by fetch as clients do, twice: as the Java client picks out what was aborted,
//! and as librdkafka does.

mod partition_bench;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_log::disk::Crash;
use ottla_log::{FirstBatch, Log, OpenHint, Stop};
use ottla_partition::{
    Acks, Append, Input, Isolation, Lead, Mark, Output, Partition, Question, Read, ReadRequest, Reply,
    TransactionProtocol, Verify,
};
use ottla_protocol::batch::{
    Attributes, BatchBuilder, BatchFields, Batches, ControlType, RecordParts, RecordsIter, TransactionMarker,
    Validated,
};
use ottla_protocol::compression::{Codecs, Limit};
use ottla_protocol::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerEpoch, ProducerId, Uuid};
use partition_bench::Bench;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    /// A producer appends so many records, in a transaction or not.
    Append { producer: usize, records: u8, transactional: bool },
    /// A coordinator ends a producer's transaction.
    End { producer: usize, commits: bool },
    /// The other replica comes into sync, and holds the high watermark back, or leaves again.
    InSync { both: bool },
    /// Records before a place between start and high watermark go, and segments with them.
    Delete { percent: u8 },
    /// The node stops, well or not, and starts again.
    Restart { stop: Stopping },
    /// A reader goes through the log.
    Read { bytes: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..PRODUCERS, 1..4u8, any::<bool>())
            .prop_map(|(producer, records, transactional)| Op::Append { producer, records, transactional }),
        3 => (0..PRODUCERS, any::<bool>()).prop_map(|(producer, commits)| Op::End { producer, commits }),
        1 => any::<bool>().prop_map(|both| Op::InSync { both }),
        1 => (0..100u8).prop_map(|percent| Op::Delete { percent }),
        1 => stopping().prop_map(|stop| Op::Restart { stop }),
        2 => (1..2000u32).prop_map(|bytes| Op::Read { bytes }),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Stopping {
    Well,
    Crashing(Crash),
}

/// Everything acknowledged is on the disk, so it does not matter how.
fn stopping() -> impl Strategy<Value = Stopping> {
    prop_oneof![
        Just(Stopping::Well),
        Just(Stopping::Crashing(Crash::Process)),
        Just(Stopping::Crashing(Crash::Power)),
        any::<u64>().prop_map(|seed| Stopping::Crashing(Crash::Torn { seed })),
        any::<u64>().prop_map(|seed| Stopping::Crashing(Crash::Scattered { seed })),
    ]
}

const PRODUCERS: usize = 4;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn committed_readers_see_all_or_nothing(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for op in ops {
            world.run(&op);
            world.check_stable();
        }
        world.run(&Op::InSync { both: false });
        world.check_read(150);
        world.check_read(1 << 20);
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Producer {
    epoch: i16,
    sequence: i32,
    transaction: Option<usize>,
}

/// A record as the model knows it.
#[derive(Clone, Copy, Debug)]
struct Known {
    offset: i64,
    value: u32,
    transaction: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Transaction {
    first: i64,
    /// Where its marker is, and whether it commits.
    end: Option<(i64, bool)>,
}

struct World {
    bench: Bench,
    producers: [Producer; PRODUCERS],
    records: Vec<Known>,
    transactions: Vec<Transaction>,
    leader_epoch: i32,
    partition_epoch: i32,
    both_in_sync: bool,
    /// Where the log ended at the last start.
    started_at: i64,
}

impl World {
    fn new() -> Self {
        let mut bench = Bench::default();
        // A few batches each, so that transactions span segments.
        bench.settings.log.segment_bytes = 400;
        bench.settings.log.index_interval_bytes = 100;
        bench.settings.flush_messages = 1;
        let mut world = Self {
            bench,
            producers: [Producer::default(); PRODUCERS],
            records: Vec::new(),
            transactions: Vec::new(),
            leader_epoch: 0,
            partition_epoch: 0,
            both_in_sync: false,
            started_at: 0,
        };
        world.open(Stop::Unclean, Offset::ZERO, Offset::ZERO);
        world
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Append { producer, records, transactional } => self.append(producer, records, transactional),
            Op::End { producer, commits } => self.end(producer, commits),
            Op::InSync { both } => {
                self.both_in_sync = both;
                self.lead();
            }
            Op::Delete { percent } => self.delete(percent),
            Op::Restart { stop } => self.restart(stop),
            Op::Read { bytes } => self.check_read(bytes),
        }
    }

    fn open(&mut self, stop: Stop, log_start: Offset, high_watermark: Offset) {
        let hint = OpenHint { stop, recovery_point: Offset::ZERO, log_start };
        let disk = std::sync::Arc::new(self.bench.disk.clone());
        let config = self.bench.settings.log;
        let log = Log::open(disk, "/data/topic-0".into(), config, hint, self.bench.now).unwrap();
        let id = PartitionId { topic: Uuid::from_random([1; 16]), index: 0 };
        let settings = std::sync::Arc::new(self.bench.settings.clone());
        self.bench.partition = Some(Partition::new(id, log, settings, high_watermark));
        self.leader_epoch += 1;
        self.lead();
    }

    fn lead(&mut self) {
        self.partition_epoch += 1;
        let both = vec![NodeId(1), NodeId(2)];
        let lead = Lead {
            epoch: LeaderEpoch(self.leader_epoch),
            partition_epoch: self.partition_epoch,
            isr: if self.both_in_sync { both.clone() } else { vec![NodeId(1)] },
            replicas: both,
        };
        self.step(Input::Lead(lead));
    }

    fn partition(&self) -> &Partition {
        self.bench.partition.as_ref().unwrap()
    }

    /// Takes an input; flushes end at once.
    fn step(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.bench.outputs(input) {
                match output {
                    Output::Flush(pending) => inputs.push_back(Input::Flushed(pending.run())),
                    output => outputs.push(output),
                }
            }
        }
        outputs
    }

    fn ask(&mut self, question: Question) -> Option<Reply> {
        let ticket = self.bench.ticket("asked");
        self.step(Input::Question(ticket, question)).into_iter().find_map(|output| match output {
            Output::Reply(_, reply) => Some(reply),
            _ => None,
        })
    }

    /// Producers with an odd number speak version 2 of transactions.
    fn protocol(producer: usize) -> TransactionProtocol {
        TransactionProtocol::of_version(if producer % 2 == 1 { 2 } else { 1 })
    }

    fn append(&mut self, producer: usize, records: u8, transactional: bool) {
        let Producer { epoch, sequence, transaction } = self.producers[producer];
        // A producer is transactional or not; the others write without an id.
        if !transactional && transaction.is_some() {
            return;
        }
        let base = self.partition().log().end_offset().0;
        let mut builder = BatchBuilder::new();
        let first_value = self.records.len() as u32;
        for i in 0..u32::from(records) {
            let value = (first_value + i).to_be_bytes();
            let timestamp = self.bench.now.wall_ms;
            builder
                .append(&RecordParts { timestamp, value: Some(&value), ..RecordParts::default() })
                .unwrap();
        }
        let mut fields = BatchFields::default();
        let mut guard = None;
        if transactional {
            let (producer_id, producer_epoch) = (ProducerId(producer as i64), ProducerEpoch(epoch));
            fields.producer_id = producer_id;
            fields.producer_epoch = producer_epoch;
            fields.base_sequence = sequence;
            fields.attributes = Attributes::default().transactional();
            let protocol = Self::protocol(producer);
            let verify = Verify { producer_id, producer_epoch, base_sequence: sequence, protocol };
            let reply = self.ask(Question::Verify(verify));
            let Some(Reply::Verification(given)) = reply else { panic!("{reply:?}") };
            assert_eq!(given.is_some(), transaction.is_none(), "asked for the first batch only");
            guard = given;
        }
        let batch = builder.finish(&fields, &mut Codecs::new());
        let batch = Validated { header: batch.header(), batch, rewritten: false };
        // With both in sync the answer waits, for the other one as well as for the disk.
        match self.ask(Question::Append(Append::by_client(batch, Acks::Leader, guard))) {
            Some(Reply::Appended(appended)) => assert_eq!(appended.base_offset, Offset(base)),
            None if self.both_in_sync => {}
            other => panic!("{other:?}"),
        }
        let mut number = None;
        if transactional {
            number = Some(transaction.unwrap_or_else(|| {
                self.transactions.push(Transaction { first: base, end: None });
                self.transactions.len() - 1
            }));
            self.producers[producer].transaction = number;
            self.producers[producer].sequence += i32::from(records);
        }
        for i in 0..i64::from(records) {
            let value = self.records.len() as u32;
            self.records.push(Known { offset: base + i, value, transaction: number });
        }
    }

    fn end(&mut self, producer: usize, commits: bool) {
        let Some(transaction) = self.producers[producer].transaction.take() else { return };
        let known = &mut self.producers[producer];
        if Self::protocol(producer) == TransactionProtocol::OwnEpoch {
            known.epoch += 1;
            known.sequence = 0;
        }
        let marker = TransactionMarker {
            producer_id: ProducerId(producer as i64),
            producer_epoch: ProducerEpoch(known.epoch),
            end: if commits { ControlType::Commit } else { ControlType::Abort },
            coordinator_epoch: 1,
        };
        let at = self.partition().log().end_offset().0;
        let reply = self.ask(Question::Mark(Mark { marker, protocol: Self::protocol(producer) }));
        assert!(matches!(reply, Some(Reply::Appended(_)) | None), "{reply:?}");
        self.transactions[transaction].end = Some((at, commits));
    }

    fn delete(&mut self, percent: u8) {
        let (start, end) = (self.partition().log().start_offset().0, self.partition().high_watermark().0);
        let before = start + (end - start) * i64::from(percent) / 100;
        let reply = self.ask(Question::DeleteRecords { before: Some(Offset(before)) });
        assert!(matches!(reply, Some(Reply::LowWatermark(low)) if low == Offset(before)), "{reply:?}");
        self.step(Input::Retain);
    }

    fn restart(&mut self, stop: Stopping) {
        let partition = self.partition();
        let (start, high_watermark) = (partition.log().start_offset(), partition.high_watermark());
        self.started_at = partition.log().end_offset().0;
        match stop {
            Stopping::Well => {
                assert!(self.step(Input::Close).iter().any(|output| matches!(output, Output::Closed)));
                self.open(Stop::Clean, start, high_watermark);
            }
            Stopping::Crashing(crash) => {
                self.bench.partition = None;
                self.bench.disk.reboot(crash);
                self.open(Stop::Unclean, start, high_watermark);
            }
        }
        assert_eq!(self.partition().log().end_offset().0, self.started_at, "nothing is lost");
    }

    /// The last stable offset is what the model says. After a start it is not known of the ends before whether they
    /// are replicated: then they may count at once, for the coordinator has decided upon them for good.
    fn check_stable(&self) {
        let partition = self.partition();
        let (start, high_watermark) = (partition.log().start_offset().0, partition.high_watermark().0);
        let expected = |ends_from: i64| {
            let is_unstable = |t: &&Transaction| t.end.is_none_or(|(end, _)| end >= ends_from);
            let first = self.transactions.iter().filter(is_unstable).map(|t| t.first).min();
            first.map_or(high_watermark, |first| first.max(start).min(high_watermark))
        };
        let least = expected(high_watermark);
        let most = expected(high_watermark.max(self.started_at));
        let stable = partition.last_stable().0;
        assert!((least..=most).contains(&stable), "{stable} is not in {least}..={most}");
    }

    fn check_read(&mut self, bytes: u32) {
        self.check_stable();
        let start = self.partition().log().start_offset().0;
        let stable = self.partition().last_stable().0;
        let counts = |known: &&Known| {
            let outcome = known.transaction.map(|number| self.transactions[number].end);
            let holds = outcome.is_none_or(|end| matches!(end, Some((_, true))));
            holds && (start..stable).contains(&known.offset)
        };
        let expected: Vec<(i64, u32)> =
            self.records.iter().filter(counts).map(|known| (known.offset, known.value)).collect();
        for client in [Client::Java, Client::Librdkafka] {
            let seen = self.read_through(start, bytes, client);
            assert_eq!(seen, expected, "{client:?} with {bytes} bytes a fetch");
        }
    }

    /// Fetches from `start` on until nothing more comes, as a client of committed records does.
    fn read_through(&mut self, start: i64, bytes: u32, client: Client) -> Vec<(i64, u32)> {
        let mut next = start;
        let mut seen = Vec::new();
        loop {
            let request = ReadRequest {
                from: Offset(next),
                max_bytes: bytes,
                first_batch: FirstBatch::AnySize,
                isolation: Isolation::ReadCommitted,
                current_leader_epoch: None,
                last_fetched_epoch: None,
            };
            let reply = self.ask(Question::Read(request));
            let Some(Reply::Read(read)) = reply else { panic!("{reply:?}") };
            if read.slices.is_empty() {
                return seen;
            }
            self.check_aborted(&read, next);
            next = client.take(&read, next, &mut seen);
        }
    }

    /// The aborted transactions of an answer are those that overlap with what is read, and no others.
    fn check_aborted(&self, read: &Read, from: i64) {
        let mut end = from;
        for slice in &read.slices {
            for batch in Batches::new(&slice.read().unwrap()) {
                end = batch.unwrap().header.next_offset().0;
            }
        }
        let overlaps = |transaction: &&Transaction| {
            matches!(transaction.end, Some((end_at, false)) if end_at >= from) && transaction.first < end
        };
        let expected: BTreeSet<i64> = self.transactions.iter().filter(overlaps).map(|t| t.first).collect();
        let listed = read.aborted.iter().flatten().map(|aborted| aborted.first_offset.0);
        assert_eq!(listed.collect::<BTreeSet<_>>(), expected, "{from}..{end}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Client {
    /// Aborted transactions in the order of their first offsets; an abort marker lifts the ban.
    Java,
    /// For each producer its aborted first offsets; a marker takes the first of them away.
    Librdkafka,
}

impl Client {
    /// Takes in one fetch; where the next begins is the answer.
    fn take(self, read: &Read, from: i64, seen: &mut Vec<(i64, u32)>) -> i64 {
        let mut by_offset: VecDeque<(i64, i64)> = VecDeque::new();
        let mut by_producer: BTreeMap<i64, VecDeque<i64>> = BTreeMap::new();
        let mut aborted: Vec<_> = read.aborted.iter().flatten().collect();
        aborted.sort_by_key(|aborted| aborted.first_offset);
        for aborted in aborted {
            by_offset.push_back((aborted.first_offset.0, aborted.producer.0));
            by_producer.entry(aborted.producer.0).or_default().push_back(aborted.first_offset.0);
        }
        let mut banned = BTreeSet::new();
        let mut next = from;
        for slice in &read.slices {
            let bytes = slice.read().unwrap();
            for batch in Batches::new(&bytes) {
                let batch = batch.unwrap();
                let header = &batch.header;
                let producer = header.producer_id.0;
                next = header.next_offset().0;
                while by_offset.front().is_some_and(|(first, _)| *first <= header.last_offset().0) {
                    banned.extend(by_offset.pop_front().map(|(_, producer)| producer));
                }
                let whole = bytes::Bytes::copy_from_slice(batch.bytes);
                let records = RecordsIter::new(&whole, Limit::bytes(1 << 20), &mut Codecs::new()).unwrap();
                let records: Vec<_> = records.map(Result::unwrap).collect();
                if header.is_control() {
                    if ControlType::from_key(records[0].key.as_deref()) == Ok(Some(ControlType::Abort)) {
                        banned.remove(&producer);
                        by_producer.entry(producer).or_default().pop_front();
                    }
                    continue;
                }
                let is_banned = match self {
                    Self::Java => banned.contains(&producer),
                    Self::Librdkafka => by_producer
                        .get(&producer)
                        .and_then(|firsts| firsts.front())
                        .is_some_and(|first| header.base_offset.0 >= *first),
                };
                if header.is_transactional() && is_banned {
                    continue;
                }
                for record in records.iter().filter(|record| record.offset.0 >= from) {
                    let value = record.value.as_deref().unwrap().try_into().unwrap();
                    seen.push((record.offset.0, u32::from_be_bytes(value)));
                }
            }
        }
        next
    }
}
