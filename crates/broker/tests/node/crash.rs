//! The machine stops at any change of its disk, loses what was not synced, and the node is started again, many times
//! over, in the middle of whatever its clients were doing.
//!
//! With `flush.messages=1` every acknowledged record must be there then, once, at its offset; without it a prefix. What
//! was acknowledged of topics and configurations must be there in any case. A seed gives the same run each time:
//! `CRASH_SEEDS=1000` runs that many.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_log::MemoryDisk;
use ottla_log::disk::Crash;
use ottla_protocol::Uuid;
use ottla_protocol::batch::BatchFields;
use ottla_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_protocol::messages::delete_topics::DeleteTopicState;
use ottla_protocol::messages::describe_configs::DescribeConfigsResource;
use ottla_protocol::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::{
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeConfigsRequest, FetchRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
    ProduceRequest,
};
use ottla_protocol::{ProducerEpoch, ProducerId};

use super::requests::*;
use super::support::*;

const NAMES: [&str; 3] = ["a", "b", "c"];
const PRODUCERS: usize = 3;
const LIVES: u64 = 8;
const OPS: u64 = 40;

/// Small numbers, so that segments, snapshots and checkpoints come and go in a short life.
const PROPERTIES: &[(&str, &str)] = &[
    ("log.retention.check.interval.ms", "1000"),
    ("log.initial.task.delay.ms", "500"),
    ("metadata.log.max.record.bytes.between.snapshots", "3000"),
    ("metadata.max.retention.bytes", "3000"),
];

/// What becomes of records that were acknowledged and not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// They were flushed before they were acknowledged.
    Everything,
    /// The last of them may be lost with the power.
    Prefix,
}

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// A batch that is on its way or was acknowledged.
#[derive(Clone, Debug)]
struct Sent {
    producer: Option<usize>,
    sequence: i32,
    values: Vec<String>,
    bytes: Bytes,
}

#[derive(Clone, Debug, Default)]
struct PartitionModel {
    /// By offset.
    records: Vec<String>,
    /// The first offset that may be read.
    start: i64,
    /// What the start may have become by a request without an answer.
    start_perhaps: i64,
    /// Batches without an answer, in order.
    perhaps: Vec<Sent>,
    /// Each producer's last acknowledged batch and its offset.
    last: BTreeMap<usize, (Sent, i64)>,
    sequences: BTreeMap<usize, i32>,
}

#[derive(Clone, Debug)]
struct TopicModel {
    id: Uuid,
    partitions: Vec<PartitionModel>,
    config: Doubtful<Option<String>>,
    /// The deletion has no answer.
    perhaps_deleted: bool,
}

/// A value that may have been replaced by a request without an answer.
#[derive(Clone, Debug, Default)]
struct Doubtful<T> {
    is: T,
    perhaps: Option<T>,
}

/// A node's lives on one disk, and what its clients know.
struct Run {
    promise: Promise,
    two_directories: bool,
    memory: MemoryDisk,
    dice: Dice,
    world: Option<World>,
    elapsed_ms: i64,
    topics: BTreeMap<&'static str, TopicModel>,
    /// Topics whose creation has no answer, with their partitions.
    perhaps_created: Option<(&'static str, usize)>,
    producers: [Option<i64>; PRODUCERS],
    ids_given: BTreeSet<i64>,
    values_made: u64,
    starts: u64,
    /// Syncs and other operations that failed in earlier lives.
    failures_before: u64,
    doing: &'static str,
    tally: BTreeMap<&'static str, u64>,
}

fn tally(run: &mut Run) {
    *run.tally.entry(run.doing).or_default() += 1;
}

impl Run {
    fn new(seed: u64, promise: Promise) -> Self {
        Self {
            promise,
            two_directories: seed % 2 == 1,
            memory: MemoryDisk::new(),
            dice: Dice(seed),
            world: None,
            elapsed_ms: 0,
            topics: BTreeMap::new(),
            perhaps_created: None,
            producers: [None; PRODUCERS],
            ids_given: BTreeSet::new(),
            values_made: 0,
            starts: seed * 1000,
            failures_before: 0,
            doing: "starting",
            tally: BTreeMap::new(),
        }
    }

    fn world(&mut self) -> &mut World {
        self.world.as_mut().expect("the node runs")
    }

    /// Whether the machine has stopped, or its disk has failed: from then on a request may go wrong.
    fn is_hurt(&self) -> bool {
        self.memory.has_crashed() || self.failures() > self.failures_before
    }

    fn failures(&self) -> u64 {
        let injected = self.memory.injected();
        injected.failed_syncs + injected.failed_operations
    }

    /// Whether the node runs now; else the machine has stopped on the way.
    fn start(&mut self) -> bool {
        self.doing = "starting";
        self.starts += 1;
        let mut properties = PROPERTIES.to_vec();
        if self.promise == Promise::Everything {
            properties.push(("log.flush.interval.messages", "1"));
        }
        if self.two_directories {
            properties.push(("log.dirs", "./data,./more"));
        }
        let properties = &properties[..];
        let order = self.dice.roll(u64::MAX) | 1;
        let start = Start { properties, disk: None, after_ms: self.elapsed_ms, seed: self.starts, order };
        match World::try_start(&self.memory, start) {
            Ok(world) => self.world = Some(world),
            Err(why) => assert!(self.is_hurt(), "the node does not start: {why}"),
        }
        !self.is_hurt()
    }

    /// One life, to its violent or good end, and the proof that the next one begins with the right memory.
    fn live(&mut self) {
        let range = [80, 200, 500][self.dice.roll(3) as usize];
        let at = 1 + self.dice.roll(range);
        match self.dice.roll(6) {
            0 => self.memory.fail_sync(1 + at / 3),
            1 => self.memory.die_at(at),
            _ => self.memory.crash_at(at),
        }
        if self.start() {
            for _ in 0..OPS {
                self.act();
                if self.is_hurt() {
                    break;
                }
            }
        }
        if !self.is_hurt() && self.dice.one_in(3) {
            self.doing = "stopping";
            self.world().stop();
        }
        if self.is_hurt() {
            tally(self);
        }
        if let Some(world) = &mut self.world {
            // A node without its disk ends itself, and there is nothing to blame it for.
            let ended = world.fatal.take();
            assert!(ended.is_none() || self.is_hurt(), "{ended:?}");
        }
        self.elapsed_ms +=
            self.world.as_ref().map_or(0, |world| world.now.wall_ms - START_MS - self.elapsed_ms);
        self.world = None;
        let seed = self.dice.roll(1 << 40);
        let crash = match self.dice.roll(5) {
            0 => Crash::Process,
            1 => Crash::Power,
            2 => Crash::Torn { seed },
            _ => Crash::Scattered { seed },
        };
        // What a failed sync should have saved is lost as with the power, if the process goes or not.
        let crash = if self.failures() > self.failures_before { Crash::Power } else { crash };
        self.failures_before = self.failures();
        self.memory.reboot(crash);
        let stays = crash == Crash::Process || self.promise == Promise::Everything;
        assert!(self.start(), "nothing stops the machine here");
        self.compare(if stays { Promise::Everything } else { Promise::Prefix });
        self.doing = "stopping";
        if self.dice.one_in(2) {
            self.world().stop();
        }
        self.elapsed_ms += 10_000;
        self.world = None;
        self.memory.reboot(Crash::Process);
    }

    fn act(&mut self) {
        match self.dice.roll(16) {
            0 => self.create(),
            1 if self.dice.one_in(2) => self.delete(),
            2 => self.configure(),
            3 => self.delete_records(),
            4 => self.new_producer(),
            5 | 6 => {
                self.doing = "waiting";
                let ms = [1, 700, 6_000][self.dice.roll(3) as usize];
                self.world().pass(ms);
            }
            7 => self.read(),
            _ => self.produce(),
        }
    }

    fn pick(&mut self) -> Option<&'static str> {
        let names: Vec<&'static str> = self.topics.keys().copied().collect();
        (!names.is_empty()).then(|| names[self.dice.roll(names.len() as u64) as usize])
    }

    fn pick_partition(&mut self) -> Option<(&'static str, usize)> {
        let name = self.pick()?;
        let partitions = self.topics[name].partitions.len() as u64;
        Some((name, self.dice.roll(partitions) as usize))
    }

    fn create(&mut self) {
        let name = NAMES[self.dice.roll(3) as usize];
        if self.topics.contains_key(name) {
            return;
        }
        self.doing = "creating topics";
        let partitions = 1 + self.dice.roll(3) as usize;
        // With every millisecond a new segment, or one for all.
        let rolls = self.dice.one_in(2);
        let configs: &[(&str, &str)] = if rolls { &[("segment.ms", "1")] } else { &[] };
        self.perhaps_created = Some((name, partitions));
        let request = create(name, partitions as i32, configs);
        let response = self.world().try_call(&request, 7);
        let Some(row) = response.as_ref().and_then(|response| response.topics.first()) else { return };
        if row.error_code != 0 {
            assert!(self.is_hurt(), "{response:?}");
            return;
        }
        self.perhaps_created = None;
        self.adopt(name, row.topic_id, partitions);
    }

    fn adopt(&mut self, name: &'static str, id: Uuid, partitions: usize) {
        let partitions = vec![PartitionModel::default(); partitions];
        let topic = TopicModel { id, partitions, config: Doubtful::default(), perhaps_deleted: false };
        self.topics.insert(name, topic);
    }

    fn delete(&mut self) {
        let Some(name) = self.pick() else { return };
        self.doing = "deleting topics";
        self.topics.get_mut(name).unwrap().perhaps_deleted = true;
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState { name: Some(name.into()), ..Default::default() }],
            timeout_ms: 1000,
            ..Default::default()
        };
        let Some(response) = self.world().try_call(&request, 6) else { return };
        if response.responses[0].error_code == 0 {
            self.topics.remove(name);
        } else {
            assert!(self.is_hurt(), "{response:?}");
        }
    }

    fn configure(&mut self) {
        let Some(name) = self.pick() else { return };
        self.doing = "changing configurations";
        let value = (1_000_000 + self.dice.roll(1_000_000)).to_string();
        self.topics.get_mut(name).unwrap().config.perhaps = Some(Some(value.clone()));
        let config = AlterableConfig {
            name: "max.message.bytes".into(),
            value: Some(value.clone()),
            ..Default::default()
        };
        let resource =
            AlterConfigsResource { resource_type: 2, resource_name: name.into(), configs: vec![config] };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let Some(response) = self.world().try_call(&request, 1) else { return };
        if response.responses[0].error_code == 0 {
            self.topics.get_mut(name).unwrap().config = Doubtful { is: Some(value), perhaps: None };
        } else {
            assert!(self.is_hurt(), "{response:?}");
        }
    }

    fn delete_records(&mut self) {
        let Some((name, index)) = self.pick_partition() else { return };
        self.doing = "deleting records";
        let dice = &mut self.dice;
        let partition = &mut self.topics.get_mut(name).unwrap().partitions[index];
        let room = partition.records.len() as u64 + 1 - partition.start as u64;
        let offset = partition.start + dice.roll(room) as i64;
        partition.start_perhaps = offset;
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: name.into(),
                partitions: vec![DeleteRecordsPartition { partition_index: index as i32, offset }],
            }],
            timeout_ms: 1000,
        };
        let Some(response) = self.world().try_call(&request, 2) else { return };
        let row = &response.topics[0].partitions[0];
        if row.error_code == 0 {
            assert_eq!(row.low_watermark, offset);
            self.topics.get_mut(name).unwrap().partitions[index].start = offset;
        } else {
            assert!(self.is_hurt(), "{response:?}");
        }
    }

    fn new_producer(&mut self) {
        self.doing = "making producer ids";
        let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
        let Some(response) = self.world().try_call(&request, 4) else { return };
        if response.error_code != 0 {
            assert!(self.is_hurt(), "{response:?}");
            return;
        }
        assert!(self.ids_given.insert(response.producer_id), "{} given twice", response.producer_id);
        let producer = self.dice.roll(PRODUCERS as u64) as usize;
        self.producers[producer] = Some(response.producer_id);
        self.forget_producer(producer);
    }

    fn forget_producer(&mut self, producer: usize) {
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            partition.sequences.remove(&producer);
            partition.last.remove(&producer);
        }
    }

    fn next_batch(&mut self, name: &str, index: usize) -> Sent {
        let count = 1 + self.dice.roll(3);
        let values: Vec<String> = (0..count).map(|i| format!("v{}", self.values_made + i)).collect();
        self.values_made += count;
        let producer = self.dice.roll(2 * PRODUCERS as u64) as usize;
        let producer = (producer < PRODUCERS && self.producers[producer].is_some()).then_some(producer);
        let mut fields = BatchFields::default();
        let mut sequence = -1;
        if let Some(producer) = producer {
            let sequences = &mut self.topics.get_mut(name).unwrap().partitions[index].sequences;
            let next = sequences.entry(producer).or_default();
            sequence = *next;
            *next += count as i32;
            fields.producer_id = ProducerId(self.producers[producer].unwrap());
            fields.producer_epoch = ProducerEpoch(0);
            fields.base_sequence = sequence;
        }
        let now = self.world().now.wall_ms;
        let timed: Vec<(i64, &str)> = values.iter().map(|value| (now, value.as_str())).collect();
        let bytes = timed_batch(&fields, &timed);
        Sent { producer, sequence, values, bytes }
    }

    /// One batch, or several on their way at once whose flushes come late.
    fn produce(&mut self) {
        let Some((name, index)) = self.pick_partition() else { return };
        if self.dice.one_in(6) {
            return self.repeat(name, index);
        }
        self.doing = "producing";
        let count = if self.dice.one_in(2) { 1 } else { 1 + self.dice.roll(4) };
        let sent: Vec<Sent> = (0..count).map(|_| self.next_batch(name, index)).collect();
        let world = self.world.as_mut().unwrap();
        world.held = (count > 1).then(Vec::new);
        for batch in &sent {
            world.send(&produce_batch(name, index as i32, batch.bytes.clone()), 9);
        }
        while world.held.is_some() && world.run_held() > 0 {}
        world.held = None;
        let mut perhaps = Vec::new();
        for batch in sent {
            match self.world().receive::<ProduceRequest>(9) {
                Some(response) if error(&response) == 0 => {
                    assert!(perhaps.is_empty(), "acknowledged out of order");
                    let partition = &mut self.topics.get_mut(name).unwrap().partitions[index];
                    partition.acknowledge(batch, base_offset(&response));
                }
                response => {
                    assert!(self.is_hurt(), "{response:?}");
                    perhaps.push(batch);
                }
            }
        }
        self.topics.get_mut(name).unwrap().partitions[index].perhaps = perhaps;
    }

    /// A producer that has not heard the answer sends its last batch again.
    fn repeat(&mut self, name: &'static str, index: usize) {
        self.doing = "producing again";
        let last = &self.topics[name].partitions[index].last;
        let Some((sent, offset)) = last.values().nth(self.values_made as usize % last.len().max(1)).cloned()
        else {
            return;
        };
        let request = produce_batch(name, index as i32, sent.bytes);
        let Some(response) = self.world().try_call(&request, 9) else { return };
        if !self.is_hurt() {
            assert_eq!(base_offset(&response), offset, "the same answer as the first time");
        }
    }

    fn read(&mut self) {
        self.doing = "reading";
        let Some((name, index)) = self.pick_partition() else { return };
        let (start, end, records) = self.look(name, index);
        let partition = &self.topics[name].partitions[index];
        assert_eq!((start, end), (partition.start, partition.records.len() as i64), "{name}-{index}");
        assert_eq!(records, partition.records[start as usize..], "{name}-{index}");
    }

    /// Start, end and values of a partition, as a client sees them.
    fn look(&mut self, name: &str, index: usize) -> (i64, i64, Vec<String>) {
        let start = self.offset(name, index, -2);
        let end = self.offset(name, index, -1);
        let mut records = Vec::new();
        while start + (records.len() as i64) < end {
            let from = start + records.len() as i64;
            let response = self.world().call::<FetchRequest>(&fetch(name, index as i32, from), 12);
            for (offset, value) in super::requests::records(&response) {
                // A batch comes whole, also where its beginning has been deleted.
                if offset >= from {
                    assert_eq!(offset, start + records.len() as i64, "offsets are dense");
                    records.push(value);
                }
            }
        }
        (start, end, records)
    }

    fn offset(&mut self, name: &str, index: usize, timestamp: i64) -> i64 {
        let partition = ListOffsetsPartition {
            partition_index: index as i32,
            current_leader_epoch: -1,
            timestamp,
            ..Default::default()
        };
        let topic = ListOffsetsTopic { name: name.into(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let response = self.world().call(&request, 6);
        let row = &response.topics[0].partitions[0];
        assert_eq!(row.error_code, 0, "{response:?}");
        row.offset
    }

    /// Holds what the new life remembers against what the old one promised, and takes over what was left open.
    fn compare(&mut self, promise: Promise) {
        self.compare_topics();
        for name in NAMES.into_iter().filter(|name| self.topics.contains_key(name)).collect::<Vec<_>>() {
            self.compare_config(name);
            for index in 0..self.topics[name].partitions.len() {
                self.compare_partition(name, index, promise);
            }
        }
        if promise == Promise::Prefix {
            // Who loses records knows no producers either: Kafka's clients would begin anew.
            self.producers = [None; PRODUCERS];
            (0..PRODUCERS).for_each(|producer| self.forget_producer(producer));
        }
        self.new_producer();
        self.doing = "producing";
        if self.pick().is_some() {
            self.produce();
            self.read();
        }
    }

    fn compare_topics(&mut self) {
        let there = self.world().call(&MetadataRequest { topics: None, ..Default::default() }, 12).topics;
        let there: BTreeMap<String, (Uuid, usize)> =
            there.into_iter().map(|row| (row.name.unwrap(), (row.topic_id, row.partitions.len()))).collect();
        for name in NAMES {
            match (self.topics.get_mut(name), there.get(name)) {
                (Some(topic), Some(&(id, partitions))) => {
                    assert_eq!((topic.id, topic.partitions.len()), (id, partitions), "{name}");
                    topic.perhaps_deleted = false;
                }
                (Some(topic), None) => {
                    assert!(topic.perhaps_deleted, "{name} is gone");
                    self.topics.remove(name);
                }
                (None, Some(&(id, partitions))) => {
                    assert_eq!(self.perhaps_created, Some((name, partitions)), "nobody has made {name}");
                    self.adopt(name, id, partitions);
                }
                (None, None) => {}
            }
        }
        self.perhaps_created = None;
    }

    fn compare_config(&mut self, name: &str) {
        let resource = DescribeConfigsResource {
            resource_type: 2,
            resource_name: name.into(),
            configuration_keys: Some(vec!["max.message.bytes".into()]),
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let response = self.world().call(&request, 4);
        let row = &response.results[0].configs[0];
        let own = if row.config_source == 1 { row.value.clone() } else { None };
        let config = &mut self.topics.get_mut(name).unwrap().config;
        assert!(
            config.is == own || config.perhaps.as_ref() == Some(&own),
            "{name}: {own:?} is not {config:?}"
        );
        *config = Doubtful { is: own, perhaps: None };
    }

    fn compare_partition(&mut self, name: &'static str, index: usize, promise: Promise) {
        let (start, end, there) = self.look(name, index);
        let partition = &mut self.topics.get_mut(name).unwrap().partitions[index];
        let acknowledged = partition.records.len() as i64;
        let furthest = partition.start.max(partition.start_perhaps);
        assert!(start <= furthest, "{name}-{index} starts at {start}, {partition:?}");
        if promise == Promise::Everything {
            assert!(end >= acknowledged, "{name}-{index} ends at {end} of {acknowledged}");
        }
        let perhaps: Vec<Sent> = std::mem::take(&mut partition.perhaps);
        let all: Vec<String> =
            partition.records.iter().chain(perhaps.iter().flat_map(|sent| &sent.values)).cloned().collect();
        assert!(end <= all.len() as i64, "{name}-{index} ends at {end}, {} were sent", all.len());
        assert_eq!(there, all[start as usize..end as usize], "{name}-{index}");
        let before = std::mem::replace(&mut partition.records, all[..end as usize].to_vec());
        (partition.start, partition.start_perhaps) = (start, start);
        if promise == Promise::Everything {
            self.repeat_all(name, index, before.len(), perhaps);
        }
    }

    /// Every producer sends again what it has not heard an answer to, and its last batch before that.
    fn repeat_all(&mut self, name: &'static str, index: usize, acknowledged: usize, perhaps: Vec<Sent>) {
        let last = self.topics[name].partitions[index].last.clone();
        for (sent, offset) in last.into_values() {
            let response = self.world().call(&produce_batch(name, index as i32, sent.bytes), 9);
            assert_eq!(base_offset(&response), offset, "{name}-{index}: the same answer as the first time");
        }
        let mut at = acknowledged as i64;
        for sent in perhaps {
            let partition = &self.topics[name].partitions[index];
            let there = at < partition.records.len() as i64;
            let expected = if there { at } else { partition.records.len() as i64 };
            at += sent.values.len() as i64;
            if sent.producer.is_none() {
                continue;
            }
            let response = self.world().call(&produce_batch(name, index as i32, sent.bytes.clone()), 9);
            assert_eq!(base_offset(&response), expected, "{name}-{index}: {sent:?}");
            let partition = &mut self.topics.get_mut(name).unwrap().partitions[index];
            if there {
                partition.last.insert(sent.producer.unwrap(), (sent, expected));
            } else {
                partition.acknowledge(sent, expected);
            }
        }
        let (start, _, there) = self.look(name, index);
        assert_eq!(there, self.topics[name].partitions[index].records[start as usize..], "{name}-{index}");
    }
}

impl PartitionModel {
    fn acknowledge(&mut self, sent: Sent, offset: i64) {
        assert_eq!(offset, self.records.len() as i64, "offsets are dense: {sent:?}");
        self.records.extend(sent.values.iter().cloned());
        if let Some(producer) = sent.producer {
            debug_assert!(sent.sequence >= 0);
            self.last.insert(producer, (sent, offset));
        }
    }
}

fn runs(promise: Promise) {
    let seeds = std::env::var_os("CRASH_SEEDS").and_then(|seeds| seeds.to_str()?.parse().ok());
    let seeds = seeds.unwrap_or(60);
    let mut total: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut lost, mut failures) = (0, 0);
    for seed in 0..seeds {
        let mut run = Run::new(seed, promise);
        // So that a failure says which seed it is.
        println!("seed {seed}");
        for _ in 0..LIVES {
            run.live();
        }
        lost += run.memory.injected().lost_changes;
        failures += run.failures();
        for (doing, count) in run.tally {
            *total.entry(doing).or_default() += count;
        }
    }
    println!("{total:?}, {lost} changes lost");
    assert!(failures > 10, "only {failures} failures of the disk");
    for doing in ["starting", "creating topics", "producing"] {
        assert!(total.contains_key(doing), "no crash while {doing}: {total:?}");
    }
    assert!(lost > 100, "only {lost} changes were lost");
}

#[test]
fn with_flush_messages_1_nothing_acknowledged_is_lost_whenever_the_machine_stops() {
    runs(Promise::Everything);
}

#[test]
fn without_it_a_prefix_is_left_whenever_the_machine_stops() {
    runs(Promise::Prefix);
}
