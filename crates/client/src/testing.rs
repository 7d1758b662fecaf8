//! A made-up cluster for tests: brokers that answer what producers and consumers ask, strictly, and fail on demand.
//!
//! Requests and responses go through their bytes, so the codec is inside the loop. A request is carried out when it
//! arrives; its response waits until it is delivered, or is lost with its connection.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ottla_protocol::api_key::ApiKey;
use ottla_protocol::batch::{BatchHeader, Batches, Limits, StampedBatch, sequence_after, validate};
use ottla_protocol::codec::{Reader, Records, Writer};
use ottla_protocol::compression::Codecs;
use ottla_protocol::header::{RequestHeader, ResponseHeader};
use ottla_protocol::message::{Message, Request};
use ottla_protocol::messages::api_versions::{ApiVersion, FinalizedFeatureKey};
use ottla_protocol::messages::fetch::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use ottla_protocol::messages::find_coordinator::Coordinator as FoundCoordinator;
use ottla_protocol::messages::list_offsets::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use ottla_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use ottla_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
};
use ottla_protocol::{LeaderEpoch, Now, Offset, Refusal, Uuid};

use crate::cluster::{Cluster, Link, Output};
use crate::connection::Finished;
use crate::settings::{Properties, Settings};

/// What happens to a request of Produce or Fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The connection breaks before the request arrives.
    CutBefore,
    /// The connection breaks after it has been carried out.
    CutAfter,
    /// Every partition in it is refused.
    Refuse(Refusal),
}

/// One partition: whole batches as a broker stores them.
#[derive(Default)]
pub(crate) struct FakeLog {
    pub leader: i32,
    pub epoch: i32,
    pub start: i64,
    pub batches: Vec<Bytes>,
    /// What a reader of committed records is told.
    pub aborted: Vec<AbortedTransaction>,
    pub last_stable: Option<i64>,
    producers: BTreeMap<i64, Sequenced>,
}

#[derive(Default)]
struct Sequenced {
    epoch: i16,
    /// First and last number and base offset of the last five batches.
    batches: VecDeque<(i32, i32, i64)>,
}

pub(crate) struct World {
    pub now: Now,
    pub cluster: Cluster,
    pub logs: BTreeMap<(String, i32), FakeLog>,
    /// For the requests to come; without one, nothing goes wrong.
    pub faults: VecDeque<Fault>,
    pub max_message_bytes: usize,
    /// Every batch of an idempotent producer is refused by number, as if its state were lost.
    pub forgetful: bool,
    pub requests: Vec<(i32, ApiKey, i16)>,
    /// What is answered to requests of an API, one after the other; before anything else.
    script: BTreeMap<i16, VecDeque<Scripted>>,
    /// Requests of coordinators' APIs as they came.
    heard: Vec<(ApiKey, i16, Bytes)>,
    /// The finalized level of `transaction.version`.
    pub transaction_version: i16,
    pub fetches: Vec<FetchRequest>,
    links: BTreeMap<Link, i32>,
    responses: VecDeque<(Link, Bytes)>,
    producer_ids: i64,
}

/// A response, once the version is known.
type Scripted = Box<dyn FnOnce(i16) -> Bytes>;

impl FakeLog {
    pub fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, |last| BatchHeader::parse(last).unwrap().next_offset().0)
    }

    pub fn push(&mut self, batch: StampedBatch) -> i64 {
        let base = self.end();
        self.batches.push(batch.at(Offset(base), LeaderEpoch(self.epoch)).to_bytes());
        base
    }

    fn produce(&mut self, records: &Bytes, max_bytes: usize, forgetful: bool) -> Result<i64, Refusal> {
        let limits = Limits { max_bytes, ..Limits::default() };
        let good = validate(records, &limits, &mut Codecs::new()).map_err(|error| error.refusal())?;
        let h = good.header;
        if !h.has_producer_id() {
            return Ok(self.push(good.batch));
        }
        if forgetful {
            return Err(Refusal::OutOfOrderSequenceNumber);
        }
        let (first, last) = (h.base_sequence, h.last_sequence());
        if let Some(known) = self.producers.get(&h.producer_id.0) {
            if h.producer_epoch.0 < known.epoch {
                return Err(Refusal::InvalidProducerEpoch);
            }
            let expected = match h.producer_epoch.0 > known.epoch {
                true => 0,
                false => known.batches.back().map_or(0, |(_, last, _)| sequence_after(*last, 1)),
            };
            let repeated = known.batches.iter().find(|(f, l, _)| (*f, *l) == (first, last));
            match repeated.filter(|_| h.producer_epoch.0 == known.epoch) {
                Some((_, _, base)) => return Ok(*base),
                None if first != expected => return Err(Refusal::OutOfOrderSequenceNumber),
                None => {}
            }
        }
        let base = self.push(good.batch);
        let known = self.producers.entry(h.producer_id.0).or_default();
        if known.epoch != h.producer_epoch.0 {
            *known = Sequenced { epoch: h.producer_epoch.0, batches: VecDeque::new() };
        }
        known.batches.push_back((first, last, base));
        if known.batches.len() > 5 {
            known.batches.pop_front();
        }
        Ok(base)
    }
}

pub(crate) fn properties(pairs: &[(&str, &str)]) -> Properties {
    let mut properties = Properties::default();
    properties.set("bootstrap.servers", "broker:9001");
    for (key, value) in pairs {
        properties.set(key, *value);
    }
    properties
}

impl World {
    /// Three brokers, 1 to 3, and these topics with so many partitions, led in turn.
    pub fn new(pairs: &[(&str, &str)], topics: &[(&str, i32)]) -> Self {
        let settings = Settings::from_properties(&properties(pairs)).unwrap();
        let partitions = topics.iter().flat_map(|(name, count)| (0..*count).map(|i| (name.to_string(), i)));
        let led = |index: i32| FakeLog { leader: 1 + index % 3, epoch: 5, ..FakeLog::default() };
        Self {
            now: Now { monotonic_us: 1_000_000, wall_ms: 1_700_000_000_000 },
            cluster: Cluster::new(settings, 42),
            logs: partitions.map(|key| (key.clone(), led(key.1))).collect(),
            faults: VecDeque::new(),
            max_message_bytes: 1 << 20,
            forgetful: false,
            requests: Vec::new(),
            script: BTreeMap::new(),
            heard: Vec::new(),
            transaction_version: 0,
            fetches: Vec::new(),
            links: BTreeMap::new(),
            responses: VecDeque::new(),
            producer_ids: 1000,
        }
    }

    pub fn log(&mut self, topic: &str, partition: i32) -> &mut FakeLog {
        self.logs.get_mut(&(topic.to_owned(), partition)).unwrap()
    }

    pub fn pass(&mut self, ms: u64) {
        self.now.monotonic_us += ms * 1000;
        self.now.wall_ms += ms as i64;
        self.cluster.step(self.now);
    }

    /// Carries out what the cluster asks for; gives the calls that have ended.
    pub fn carry_out(&mut self) -> Vec<Finished> {
        let mut finished = Vec::new();
        while let Some(output) = self.cluster.poll() {
            match output {
                Output::Connect { link, address } => {
                    self.links.insert(link, i32::from(address.port) - 9000);
                    self.cluster.connected(self.now, link);
                }
                Output::Send { link, frame } => self.request(link, frame.slice(4..)),
                Output::Close { link } => self.forget(link),
                Output::Done(done) => finished.push(done),
            }
        }
        finished
    }

    /// Delivers the oldest response; false if there is none.
    pub fn deliver(&mut self) -> bool {
        let Some((link, frame)) = self.responses.pop_front() else { return false };
        self.cluster.frame(self.now, link, frame);
        true
    }

    /// Answers the next request of this kind so. A request of a coordinator's API without a script stays unanswered.
    pub fn script<R: Request>(&mut self, response: R::Response)
    where
        R::Response: 'static,
    {
        let encode = move |version: i16| response.to_bytes(version).unwrap();
        self.script.entry(R::KEY.code()).or_default().push_back(Box::new(encode));
    }

    /// The requests of this kind, in order.
    pub fn heard<R: Request>(&self) -> Vec<R> {
        let of_kind = self.heard.iter().filter(|(key, ..)| *key == R::KEY);
        let read = |(key, version, frame): &(ApiKey, i16, Bytes)| {
            let mut reader = Reader::new(frame.clone());
            RequestHeader::decode(&mut reader, key.request_header_version(*version)).unwrap();
            R::decode(&mut reader, *version).unwrap()
        };
        of_kind.map(read).collect()
    }

    /// The coordinators' APIs that were asked, in order, but not the heartbeats.
    pub fn asked(&self) -> Vec<ApiKey> {
        let keys = self.heard.iter().map(|(key, ..)| *key);
        keys.filter(|key| !matches!(key, ApiKey::Heartbeat | ApiKey::ConsumerGroupHeartbeat)).collect()
    }

    fn forget(&mut self, link: Link) {
        self.links.remove(&link);
        self.responses.retain(|(other, _)| *other != link);
    }

    fn request(&mut self, link: Link, frame: Bytes) {
        let Some(&broker) = self.links.get(&link) else { return };
        let (key, version) = RequestHeader::peek(&frame).unwrap();
        let key = ApiKey::from_code(key).unwrap();
        let whole = frame.clone();
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader, key.request_header_version(version)).unwrap();
        self.requests.push((broker, key, version));
        let fault = match key {
            ApiKey::Produce | ApiKey::Fetch => self.faults.pop_front().unwrap_or(Fault::None),
            _ => Fault::None,
        };
        if fault == Fault::CutBefore {
            self.forget(link);
            return self.cluster.disconnected(self.now, link, "cut");
        }
        let refusal = match fault {
            Fault::Refuse(refusal) => Some(refusal),
            _ => None,
        };
        if !matches!(key, ApiKey::ApiVersions | ApiKey::Metadata | ApiKey::Fetch | ApiKey::Produce) {
            self.heard.push((key, version, whole));
        }
        let scripted = self.script.get_mut(&key.code()).and_then(VecDeque::pop_front);
        let body = match key {
            _ if scripted.is_some() => scripted.map(|encode| encode(version)),
            ApiKey::ApiVersions => {
                let level = self.transaction_version;
                Self::answer::<ApiVersionsRequest>(&mut reader, version, |_| api_versions(level))
            }
            ApiKey::FindCoordinator => {
                Self::answer::<FindCoordinatorRequest>(&mut reader, version, |r| coordinators(r, version))
            }
            ApiKey::Metadata => Self::answer::<MetadataRequest>(&mut reader, version, |r| self.metadata(r)),
            ApiKey::InitProducerId => Self::answer::<InitProducerIdRequest>(&mut reader, version, |_| {
                self.producer_ids += 1;
                InitProducerIdResponse {
                    producer_id: self.producer_ids,
                    producer_epoch: 0,
                    ..InitProducerIdResponse::default()
                }
            }),
            ApiKey::Produce => {
                Self::answer::<ProduceRequest>(&mut reader, version, |r| self.produce(broker, r, refusal))
            }
            ApiKey::ListOffsets => {
                Self::answer::<ListOffsetsRequest>(&mut reader, version, |r| self.list_offsets(broker, r))
            }
            ApiKey::Fetch => {
                Self::answer::<FetchRequest>(&mut reader, version, |r| self.fetch(broker, r, refusal))
            }
            // Nobody answers: that is a test of its own.
            _ => None,
        };
        if fault == Fault::CutAfter {
            self.forget(link);
            return self.cluster.disconnected(self.now, link, "cut");
        }
        if let Some(body) = body {
            let mut writer = Writer::new();
            let head = ResponseHeader { correlation_id: header.correlation_id };
            head.encode(&mut writer, key.response_header_version(version)).unwrap();
            writer.raw(&body);
            self.responses.push_back((link, writer.into_bytes().freeze()));
        }
    }

    fn answer<R: Request>(
        reader: &mut Reader,
        version: i16,
        carry_out: impl FnOnce(R) -> R::Response,
    ) -> Option<Bytes> {
        let request = R::decode(reader, version).unwrap();
        let response = carry_out(request);
        Some(response.to_bytes(version).unwrap()).filter(|body| !body.is_empty())
    }

    pub fn topic_id(topic: &str) -> Uuid {
        let mut id = [7; 16];
        id[..topic.len().min(15)].copy_from_slice(&topic.as_bytes()[..topic.len().min(15)]);
        Uuid(id)
    }

    fn name_of(&self, id: Uuid, name: &str) -> String {
        let named = self.logs.keys().find(|(topic, _)| Self::topic_id(topic) == id);
        named.map_or(name, |(topic, _)| topic).to_owned()
    }

    fn metadata(&self, request: MetadataRequest) -> MetadataResponse {
        let brokers = (1..=3).map(|id| MetadataResponseBroker {
            node_id: id,
            host: "broker".into(),
            port: 9000 + id,
            rack: None,
        });
        let names = request.topics.unwrap_or_default().into_iter().filter_map(|topic| topic.name);
        let topic = |name: String| {
            let logs = self.logs.range((name.clone(), 0)..=(name.clone(), i32::MAX));
            let partitions: Vec<_> = logs
                .map(|((_, index), log)| MetadataResponsePartition {
                    partition_index: *index,
                    leader_id: log.leader,
                    leader_epoch: log.epoch,
                    ..MetadataResponsePartition::default()
                })
                .collect();
            let missing = if partitions.is_empty() { Refusal::UnknownTopicOrPartition.code() } else { 0 };
            let topic_id = if missing == 0 { Self::topic_id(&name) } else { Uuid::ZERO };
            MetadataResponseTopic {
                error_code: missing,
                topic_id,
                name: Some(name),
                partitions,
                ..MetadataResponseTopic::default()
            }
        };
        MetadataResponse {
            brokers: brokers.collect(),
            controller_id: 1,
            topics: names.map(topic).collect(),
            ..MetadataResponse::default()
        }
    }

    fn produce(&mut self, broker: i32, request: ProduceRequest, refusal: Option<Refusal>) -> ProduceResponse {
        let mut response = ProduceResponse::default();
        for topic in request.topic_data {
            let name = self.name_of(topic.topic_id, &topic.name);
            let mut rows = Vec::new();
            for data in topic.partition_data {
                let mut row =
                    PartitionProduceResponse { index: data.index, ..PartitionProduceResponse::default() };
                row.log_append_time_ms = -1;
                let (max, forgetful) = (self.max_message_bytes, self.forgetful);
                let log = self.log(&name, data.index);
                let Some(Records::Bytes(records)) = data.records else { panic!("records are missing") };
                let outcome = match refusal {
                    Some(refusal) => Err(refusal),
                    None if log.leader != broker => {
                        row.current_leader.leader_id = log.leader;
                        row.current_leader.leader_epoch = log.epoch;
                        Err(Refusal::NotLeaderOrFollower)
                    }
                    None => log.produce(&records, max, forgetful),
                };
                match outcome {
                    Ok(base) => row.base_offset = base,
                    Err(refusal) => row.error_code = refusal.code(),
                }
                rows.push(row);
            }
            response.responses.push(TopicProduceResponse {
                name,
                topic_id: topic.topic_id,
                partition_responses: rows,
            });
        }
        if request.acks == 0 { ProduceResponse::default() } else { response }
    }

    fn list_offsets(&mut self, broker: i32, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let mut response = ListOffsetsResponse::default();
        for topic in request.topics {
            let mut rows = Vec::new();
            for wanted in topic.partitions {
                let log = self.log(&topic.name, wanted.partition_index);
                let mut row = ListOffsetsPartitionResponse {
                    partition_index: wanted.partition_index,
                    leader_epoch: log.epoch,
                    ..ListOffsetsPartitionResponse::default()
                };
                let stable = log.last_stable.unwrap_or(log.end());
                row.offset = match wanted.timestamp {
                    _ if log.leader != broker => {
                        row.error_code = Refusal::NotLeaderOrFollower.code();
                        -1
                    }
                    -2 => log.start,
                    -1 if request.isolation_level == 1 => stable,
                    -1 => log.end(),
                    time => {
                        let headers = log.batches.iter().map(|batch| BatchHeader::parse(batch).unwrap());
                        let mut later = headers.filter(|header| header.max_timestamp >= time);
                        later.next().map_or(-1, |header| header.base_offset.0)
                    }
                };
                rows.push(row);
            }
            response.topics.push(ListOffsetsTopicResponse { name: topic.name, partitions: rows });
        }
        response
    }

    fn fetch(&mut self, broker: i32, request: FetchRequest, refusal: Option<Refusal>) -> FetchResponse {
        self.fetches.push(request.clone());
        let mut response = FetchResponse::default();
        let mut left = request.max_bytes as usize;
        for topic in request.topics {
            let name = self.name_of(topic.topic_id, &topic.topic);
            let mut rows = Vec::new();
            for wanted in topic.partitions {
                let log = self.log(&name, wanted.partition);
                let end = match request.isolation_level {
                    1 => log.last_stable.unwrap_or(log.end()),
                    _ => log.end(),
                };
                let mut row = PartitionData { partition_index: wanted.partition, ..PartitionData::default() };
                row.high_watermark = log.end();
                row.last_stable_offset = log.last_stable.unwrap_or(log.end());
                row.log_start_offset = log.start;
                row.preferred_read_replica = -1;
                row.records = Some(Records::Bytes(Bytes::new()));
                let known = log.start..=log.end();
                if let Some(refusal) = refusal {
                    row.error_code = refusal.code();
                } else if log.leader != broker {
                    row.error_code = Refusal::NotLeaderOrFollower.code();
                    row.current_leader.leader_id = log.leader;
                    row.current_leader.leader_epoch = log.epoch;
                } else if wanted.current_leader_epoch > log.epoch {
                    row.error_code = Refusal::UnknownLeaderEpoch.code();
                } else if !known.contains(&wanted.fetch_offset) {
                    row.error_code = Refusal::OffsetOutOfRange.code();
                } else {
                    let most = left.min(wanted.partition_max_bytes as usize);
                    let bytes = log.read(wanted.fetch_offset, end, most);
                    left = left.saturating_sub(bytes.len());
                    if request.isolation_level == 1 {
                        let aborted = log.aborted.iter().filter(|a| a.first_offset <= end);
                        row.aborted_transactions = Some(aborted.cloned().collect());
                    }
                    row.records = Some(Records::Bytes(bytes));
                }
                rows.push(row);
            }
            response.responses.push(FetchableTopicResponse {
                topic: name,
                topic_id: topic.topic_id,
                partitions: rows,
            });
        }
        response
    }
}

impl FakeLog {
    /// Batches from the one that holds `from`: one at least, the others while they fit; the last may be cut, as Kafka's
    /// old versions do.
    fn read(&self, from: i64, end: i64, most: usize) -> Bytes {
        let mut bytes = Vec::new();
        for batch in &self.batches {
            let header = BatchHeader::parse(batch).unwrap();
            if header.next_offset().0 <= from || header.base_offset.0 >= end {
                continue;
            }
            if !bytes.is_empty() && bytes.len() + batch.len() > most {
                let room = most.saturating_sub(bytes.len()).min(batch.len());
                bytes.extend_from_slice(&batch[..room]);
                break;
            }
            bytes.extend_from_slice(batch);
        }
        bytes.into()
    }

    /// Every value in the log, with its offset.
    pub fn values(&self) -> Vec<(i64, String)> {
        use ottla_protocol::batch::RecordsIter;
        use ottla_protocol::compression::Limit;
        let mut values = Vec::new();
        for batch in &self.batches {
            assert!(Batches::new(batch).all(|batch| batch.unwrap().checksum_holds()));
            for record in RecordsIter::new(batch, Limit::default(), &mut Codecs::new()).unwrap() {
                let record = record.unwrap();
                let value = record.value.as_deref().unwrap_or_default();
                values.push((record.offset.0, String::from_utf8_lossy(value).into_owned()));
            }
        }
        values
    }
}

/// Broker 1 coordinates everything.
fn coordinators(request: FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
    let (host, port) = ("broker".to_owned(), 9001);
    if version < 4 {
        return FindCoordinatorResponse { node_id: 1, host, port, ..Default::default() };
    }
    let found = |key| FoundCoordinator { key, node_id: 1, host: host.clone(), port, ..Default::default() };
    let coordinators = request.coordinator_keys.into_iter().map(found).collect();
    FindCoordinatorResponse { coordinators, ..Default::default() }
}

fn api_versions(transaction_version: i16) -> ApiVersionsResponse {
    let row = |key: &ApiKey| ApiVersion {
        api_key: key.code(),
        min_version: key.min_version(),
        max_version: key.max_version(),
    };
    let feature = FinalizedFeatureKey {
        name: "transaction.version".into(),
        max_version_level: transaction_version,
        min_version_level: transaction_version,
    };
    ApiVersionsResponse {
        api_keys: ApiKey::ALL.iter().map(row).collect(),
        finalized_features_epoch: 1,
        finalized_features: Some(feature).filter(|_| transaction_version > 0).into_iter().collect(),
        ..ApiVersionsResponse::default()
    }
}
