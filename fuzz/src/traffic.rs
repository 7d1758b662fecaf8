//! A producer and a consumer before a broker whose answers are anything: every record sent comes to one end and in time,
//! what is read goes forward, and whatever was wrong with a partition is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use ottla_client::cluster::{Cluster, Link, Output};
use ottla_client::consumer::{Consumer, ConsumerSettings, TopicPartition};
use ottla_client::producer::{BatchId, NewRecord, Producer, ProducerSettings};
use ottla_client::settings::{Properties, Settings};
use ottla_protocol::codec::{Records, Writer};
use ottla_protocol::compression::Compression;
use ottla_protocol::header::{RequestHeader, ResponseHeader};
use ottla_protocol::messages::fetch::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use ottla_protocol::messages::list_offsets::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use ottla_protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use ottla_protocol::messages::{FetchResponse, InitProducerIdResponse, ListOffsetsResponse, ProduceResponse};
use ottla_protocol::{ApiKey, Message, Now, Refusal};

use crate::batches::{batch, seal};
use crate::client::{metadata, versions};
use crate::metadata::{joined, pieces};
use crate::{Heap, Target};

/// Answers behind their lengths in two bytes: a byte for what is done with it, then the body of a response. An answer goes
/// to the oldest request of its API, by its first byte; ApiVersions and Metadata are answered rightly.
pub const TRAFFIC: Target = Target {
    name: "traffic",
    run,
    seeds,
    mutations: 500,
    heap: Heap { per_byte: 64 << 10, besides: 64 << 20 },
};

/// For the four APIs, in this order, what an answer's first byte says modulo 6.
const APIS: [ApiKey; 4] = [ApiKey::Fetch, ApiKey::Produce, ApiKey::ListOffsets, ApiKey::InitProducerId];
const CUT: u8 = 4;
/// Checksums of the batches in a Fetch answer are made right first.
const SEALED: u8 = 0x40;

const TOPIC: &str = "t";
/// As many records are sent; few enough for any memory.
const RECORDS: usize = 24;
const BUSY_MAX: usize = 5000;
/// `delivery.timeout.ms`, a request's time and room to spare, in steps of 100 ms.
const PATIENCE: usize = 300;

struct World {
    now: Now,
    cluster: Cluster,
    producer: Producer,
    consumer: Consumer,
    asked: VecDeque<(Link, ApiKey, RequestHeader)>,
    connect: Vec<Link>,
    open: BTreeSet<Link>,
    sent: BTreeSet<(BatchId, i32)>,
    read_to: BTreeMap<TopicPartition, i64>,
}

impl World {
    fn new() -> Self {
        let mut properties = Properties::default();
        for (key, value) in [
            ("bootstrap.servers", "a:1"),
            ("request.timeout.ms", "1000"),
            ("delivery.timeout.ms", "5000"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
            ("batch.size", "200"),
            ("compression.type", "lz4"),
        ] {
            properties.set(key, value);
        }
        let settings = Settings::from_properties(&properties).expect("plain settings");
        let producer = ProducerSettings::from_properties(&properties).expect("plain settings");
        let consumer = ConsumerSettings::from_properties(&properties).expect("plain settings");
        let mut world = Self {
            now: Now { monotonic_us: 1_000_000, wall_ms: 0 },
            cluster: Cluster::new(settings, 42),
            producer: Producer::new(producer, 1),
            consumer: Consumer::new(consumer, 1),
            asked: VecDeque::new(),
            connect: Vec::new(),
            open: BTreeSet::new(),
            sent: BTreeSet::new(),
            read_to: BTreeMap::new(),
        };
        let partitions = [0, 1].map(|partition| TopicPartition::new(TOPIC, partition));
        world.consumer.assign(world.now, &mut world.cluster, partitions);
        for _ in 0..5 {
            world.send();
            world.pass(60);
        }
        world
    }

    fn send(&mut self) {
        for n in self.sent.len()..RECORDS.min(self.sent.len() + 6) {
            let value = [b'a' + n as u8; 60];
            let partition = Some(n as i32 % 2);
            let record = NewRecord { topic: TOPIC, partition, value: Some(&value), ..NewRecord::default() };
            if let Ok(sent) = self.producer.send(self.now, self.cluster.metadata(), &record) {
                assert!(self.sent.insert((sent.batch, sent.index)), "two records have one name");
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now.monotonic_us += ms * 1000;
        self.cluster.step(self.now);
        self.settle();
    }

    /// Lets the client do what it wants until it wants nothing more, and answers what it must know.
    fn settle(&mut self) {
        for _ in 0..BUSY_MAX {
            self.producer.step(self.now, &mut self.cluster);
            self.consumer.step(self.now, &mut self.cluster);
            self.collect();
            for link in std::mem::take(&mut self.connect) {
                self.open.insert(link);
                self.cluster.connected(self.now, link);
            }
            let Some(output) = self.cluster.poll() else { return };
            match output {
                Output::Connect { link, .. } => self.connect.push(link),
                Output::Close { link } => self.forget(link),
                Output::Send { link, frame } => self.arrived(link, frame.slice(4..)),
                Output::Done(done) => {
                    let (now, cluster) = (self.now, &mut self.cluster);
                    let producers = self.producer.done(now, cluster, done.ticket, done.outcome.clone());
                    let consumers = self.consumer.done(now, cluster, done.ticket, done.outcome);
                    assert!(producers != consumers, "a call has one owner, once");
                }
            }
        }
        panic!("the clients never come to rest");
    }

    fn collect(&mut self) {
        while let Some(delivered) = self.producer.delivered() {
            for index in delivered.first_index..delivered.first_index + delivered.count {
                assert!(delivered.of(index).is_some());
                assert!(self.sent.remove(&(delivered.batch, index)), "a record ends once");
            }
        }
        // An error for each partition may come before the records of the other.
        for _ in 0..4 {
            for polled in self.consumer.poll().unwrap_or_default() {
                let next = self.read_to.entry(polled.partition).or_insert(0);
                for record in polled.records {
                    assert!(record.offset.0 >= *next, "{} after {next}", record.offset);
                    *next = record.offset.0.saturating_add(1);
                }
            }
        }
    }

    fn arrived(&mut self, link: Link, frame: Bytes) {
        if !self.open.contains(&link) {
            // It was written before it could know.
            return;
        }
        let (key, version) = RequestHeader::peek(&frame).expect("our own request");
        let key = ApiKey::from_code(key).expect("our own request");
        let mut reader = ottla_protocol::codec::Reader::new(frame);
        let header_version = key.request_header_version(version);
        let header = RequestHeader::decode(&mut reader, header_version).expect("our own request");
        let body = match key {
            ApiKey::ApiVersions => Bytes::from(versions().split_off(1)),
            ApiKey::Metadata => metadata().to_bytes(version).expect("a right response"),
            _ => return self.asked.push_back((link, key, header)),
        };
        self.answer(link, &header, key, &body);
    }

    fn answer(&mut self, link: Link, header: &RequestHeader, key: ApiKey, body: &[u8]) {
        let mut writer = Writer::new();
        let response = ResponseHeader { correlation_id: header.correlation_id };
        response.encode(&mut writer, key.response_header_version(header.api_version)).expect("four bytes");
        writer.raw(body);
        self.cluster.frame(self.now, link, writer.into_bytes().freeze());
    }

    fn forget(&mut self, link: Link) {
        self.open.remove(&link);
        self.connect.retain(|other| *other != link);
        self.asked.retain(|(other, ..)| *other != link);
    }

    fn happen(&mut self, what: u8, body: &[u8]) {
        match (APIS.get(usize::from(what % 6)), self.asked.pop_front()) {
            (Some(api), Some(asked)) => self.answer_next(asked, *api, body),
            (None, Some((link, ..))) if what % 6 == CUT => {
                self.forget(link);
                self.cluster.disconnected(self.now, link, "lost");
            }
            (_, asked) => {
                self.asked.extend(asked);
                self.send();
            }
        }
        self.pass(60);
    }

    /// Answers the oldest request of an API, and rightly those before it, since answers come in order.
    fn answer_next(&mut self, oldest: (Link, ApiKey, RequestHeader), api: ApiKey, body: &[u8]) {
        let before = match oldest.1 == api {
            true => 0,
            false => self.asked.iter().position(|(_, key, _)| *key == api).map_or(0, |at| at + 1),
        };
        let mut asked: VecDeque<_> = std::iter::once(oldest).chain(std::mem::take(&mut self.asked)).collect();
        let later = asked.split_off((before + 1).min(asked.len()));
        self.asked = later;
        for (at, (link, key, header)) in asked.into_iter().enumerate() {
            if at == before && key == api {
                self.answer(link, &header, key, body);
            } else {
                self.answer(link, &header, key, &right(key));
            }
        }
    }
}

fn run(data: &[u8]) {
    let mut world = World::new();
    for piece in pieces(data) {
        let [what, bytes @ ..] = piece else { continue };
        let mut bytes = bytes.to_vec();
        if what & SEALED != 0 {
            seal_within(&mut bytes);
        }
        world.happen(what & !SEALED, &bytes);
    }
    world.producer.close();
    for _ in 0..PATIENCE {
        if world.producer.is_idle() && world.sent.is_empty() {
            return;
        }
        for (link, ..) in std::mem::take(&mut world.asked) {
            world.forget(link);
            world.cluster.disconnected(world.now, link, "nobody answers");
        }
        world.pass(100);
    }
    panic!("{:?} never end", world.sent);
}

/// A right answer, without much in it.
fn right(key: ApiKey) -> Bytes {
    match key {
        ApiKey::Fetch => FetchResponse::default().to_bytes(12).expect("right"),
        ApiKey::Produce => produced(None),
        ApiKey::ListOffsets => offsets(0),
        _ => {
            let identity = InitProducerIdResponse { producer_id: 7, ..Default::default() };
            identity.to_bytes(ApiKey::InitProducerId.max_version()).expect("right")
        }
    }
}

/// Makes the first batch in a response right, and all that follow it.
fn seal_within(bytes: &mut [u8]) {
    let is_batch = |at: usize| {
        bytes.get(at + 16) == Some(&2) && bytes.get(at + 8..at + 10) == Some(&[0, 0]) && bytes.len() > at + 61
    };
    if let Some(at) = (0..bytes.len()).find(|at| is_batch(*at)) {
        let length = bytes.len();
        // What follows the records are a few bytes of tags.
        seal(&mut bytes[at..length - 5]);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let piece = |what: u8, body: Bytes| [&[what][..], &body].concat();
    let identity = InitProducerIdResponse { producer_id: 7, producer_epoch: 0, ..Default::default() };
    let identity = piece(3, identity.to_bytes(ApiKey::InitProducerId.max_version()).expect("right"));
    let begin = piece(2, offsets(0));
    let mut seeds = vec![Vec::new(), joined([&identity[..], &begin, &[CUT, 0], &identity, &begin])];
    for codec in Compression::ALL {
        let ends = [fetched(codec, 0), fetched(codec, 8), fetched(codec, 16)].map(|body| piece(0, body));
        for refusal in [None, Some(Refusal::OutOfOrderSequenceNumber), Some(Refusal::MessageTooLarge)] {
            let first = piece(1, produced(refusal));
            let second = piece(1, produced(None));
            seeds.push(joined([
                &identity[..],
                &begin,
                &first,
                &ends[0],
                &second,
                &ends[1],
                &second,
                &ends[2],
            ]));
        }
        let sealed = [&[SEALED][..], &ends[0][1..]].concat();
        let lost = piece(1, produced(Some(Refusal::InvalidRecord)));
        seeds.push(joined([&identity[..], &begin, &sealed, &lost, &lost, &ends[1]]));
    }
    seeds
}

fn fetched(codec: Compression, base: i64) -> Bytes {
    let mut aborted = batch(codec, base, Some((9, 0, 0)));
    // Part of a transaction.
    aborted[22] |= 0x10;
    seal(&mut aborted);
    let batches = [aborted, batch(codec, base + 4, None)].concat();
    let partition = |partition_index| PartitionData {
        partition_index,
        high_watermark: base + 8,
        last_stable_offset: base + 8,
        aborted_transactions: Some(vec![AbortedTransaction { producer_id: 9, first_offset: base }]),
        records: Some(Records::Bytes(batches.clone().into())),
        ..Default::default()
    };
    // Topic ids are those of the metadata: none, so names count.
    let version = 12;
    let topic = FetchableTopicResponse {
        topic: TOPIC.to_owned(),
        partitions: vec![partition(0), partition(1)],
        ..Default::default()
    };
    let response = FetchResponse { responses: vec![topic], ..Default::default() };
    response.to_bytes(version).expect("a right response")
}

fn produced(refusal: Option<Refusal>) -> Bytes {
    let partition = |index| PartitionProduceResponse {
        index,
        error_code: Refusal::code_of(refusal),
        base_offset: if refusal.is_some() { -1 } else { 100 },
        record_errors: vec![BatchIndexAndErrorMessage { batch_index: 0, batch_index_error_message: None }],
        ..Default::default()
    };
    let topic = TopicProduceResponse {
        name: TOPIC.to_owned(),
        partition_responses: vec![partition(0), partition(1)],
        ..Default::default()
    };
    ProduceResponse { responses: vec![topic], ..Default::default() }.to_bytes(12).expect("a right response")
}

fn offsets(offset: i64) -> Bytes {
    let partition =
        |partition_index| ListOffsetsPartitionResponse { partition_index, offset, ..Default::default() };
    let topic =
        ListOffsetsTopicResponse { name: TOPIC.to_owned(), partitions: vec![partition(0), partition(1)] };
    let response = ListOffsetsResponse { topics: vec![topic], ..Default::default() };
    response.to_bytes(ApiKey::ListOffsets.max_version()).expect("a right response")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target that is turned away at the door finds nothing.
    #[test]
    fn right_answers_get_through() {
        let mut world = World::new();
        let before = world.sent.len();
        for piece in pieces(&seeds()[2]) {
            world.happen(piece[0], &piece[1..]);
        }
        assert!(before > 0 && world.producer.counters().delivered > 0, "{:?}", world.producer.counters());
        // The answers name an aborted producer, whose records are passed over.
        let read: Vec<i64> = world.read_to.values().copied().collect();
        assert_eq!((read, world.consumer.counters().records), (vec![24, 24], 24));
    }
}
