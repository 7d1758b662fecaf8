//! A whole node on a memory disk, stepped by hand: frames in, frames out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use ottla_broker::core::{Chunk, CoreId, Input, Output, SessionId};
use ottla_broker::node::{Birth, Node};
use ottla_broker::{Control, Core, Shard, control, home};
use ottla_log::{Disk, MemoryDisk};
use ottla_metadata::config::NodeConfig;
use ottla_protocol::batch::{BatchBuilder, BatchFields, Batches, RecordParts, RecordsIter};
use ottla_protocol::codec::{Reader, Records, Writer};
use ottla_protocol::compression::{Codecs, Limit};
use ottla_protocol::header::{RequestHeader, ResponseHeader};
use ottla_protocol::messages::create_topics::CreatableTopic;
use ottla_protocol::messages::fetch::{FetchPartition, FetchTopic};
use ottla_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, FetchRequest, FetchResponse, InitProducerIdRequest,
    MetadataRequest, ProduceRequest, ProduceResponse,
};
use ottla_protocol::{Message, Now, PartitionId, Request, Uuid};

/// Everything of a node, with its queues.
struct World {
    now: Now,
    cores: Vec<Core>,
    control: Control,
    to_cores: VecDeque<(CoreId, Input)>,
    to_control: VecDeque<control::Input>,
    /// What each session was sent.
    sent: BTreeMap<SessionId, BytesMut>,
    closed: Vec<SessionId>,
    /// Why sessions were closed.
    reasons: Vec<&'static str>,
    stages: Vec<control::Stage>,
    /// Flushes wait here for the test while it is `Some`.
    held: Option<Vec<(PartitionId, ottla_log::PendingFlush)>>,
    finished: bool,
    correlation: i32,
}

/// Counts the starts, so that no two of them are alike.
static STARTS: AtomicU64 = AtomicU64::new(7);

const CORES: u16 = 2;
const CLIENT: SessionId = SessionId(1);

impl World {
    fn start(disk: Arc<dyn Disk>, properties: &[(&str, &str)]) -> Self {
        let overrides = properties.iter().map(|(k, v)| (String::from(*k), String::from(*v))).collect();
        let config = NodeConfig::standalone(overrides).unwrap();
        let now = Now { monotonic_us: 1_000_000, wall_ms: 1_700_000_000_000 };
        let start = STARTS.fetch_add(1, Ordering::Relaxed);
        let mut random = ottla_raft::random::Random::new(start);
        let home = home::move_in(&config, &disk, &[], &mut random, now).unwrap();
        let birth = Birth {
            cluster_id: home.cluster_id.clone(),
            // Another one at each start, as in life.
            incarnation: Uuid::from_random(random.bytes16()),
            cores: CORES,
            ports: vec![9092, 19093],
            host: "localhost".into(),
        };
        let node = Arc::new(Node::new(&config, birth));
        let core = |id| {
            let shard = Shard::new(CoreId(id), Arc::clone(&node), Arc::clone(&home.directories), now);
            Core::new(CoreId(id), Arc::clone(&node), shard)
        };
        let cores = (0..CORES).map(core).collect();
        let control = Control::open(&config, Arc::clone(&node), &home, 11, now).unwrap();
        let mut world = Self {
            now,
            cores,
            control,
            to_cores: VecDeque::new(),
            to_control: VecDeque::new(),
            sent: BTreeMap::new(),
            closed: Vec::new(),
            reasons: Vec::new(),
            stages: Vec::new(),
            held: None,
            finished: false,
            correlation: 0,
        };
        world.to_control.push_back(control::Input::Tick);
        for _ in 0..200 {
            world.settle();
            if world.stages.last() == Some(&control::Stage::Running) {
                break;
            }
            world.pass(10);
        }
        assert_eq!(world.stages.last(), Some(&control::Stage::Running), "{:?}", world.stages);
        let opened = Input::Opened { session: CLIENT, listener: 0, host: "127.0.0.1".into() };
        world.to_cores.push_back((CoreId(0), opened));
        world.settle();
        world
    }

    /// Lets time pass and deadlines come.
    fn pass(&mut self, ms: u64) {
        self.now.monotonic_us += ms * 1000;
        self.now.wall_ms += ms as i64;
        for core in 0..CORES {
            self.to_cores.push_back((CoreId(core), Input::Tick));
        }
        self.to_control.push_back(control::Input::Tick);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            if let Some(input) = self.to_control.pop_front() {
                let mut out = Vec::new();
                self.control.step(self.now, input, &mut out);
                for output in out {
                    match output {
                        control::Output::ToCore(core, message) => {
                            self.to_cores.push_back((core, Input::Message(message)));
                        }
                        control::Output::Stage { to, .. } => self.stages.push(to),
                        control::Output::OpenListeners => {}
                        control::Output::Finished => self.finished = true,
                        control::Output::Fatal(why) => panic!("{why}"),
                    }
                }
            } else if let Some((core, input)) = self.to_cores.pop_front() {
                let mut out = Vec::new();
                self.cores[usize::from(core.0)].step(self.now, input, &mut out);
                for output in out {
                    self.follow(output);
                }
            } else {
                return;
            }
        }
    }

    fn follow(&mut self, output: Output) {
        match output {
            Output::Write { session, chunks } => {
                let sent = self.sent.entry(session).or_default();
                for chunk in chunks {
                    match chunk {
                        Chunk::Bytes(bytes) => sent.extend_from_slice(&bytes),
                        Chunk::File(slice) => sent.extend_from_slice(&slice.read().unwrap()),
                    }
                }
            }
            Output::Close { session, why } => {
                self.closed.push(session);
                self.reasons.push(why);
            }
            Output::ToCore(core, message) => self.to_cores.push_back((core, Input::Message(message))),
            Output::Flush(partition, pending) if self.held.is_some() => {
                self.held.as_mut().unwrap().push((partition, pending));
            }
            Output::Flush(partition, pending) => {
                let core = ottla_broker::core::owner(partition, CORES);
                self.to_cores.push_back((core, Input::Flushed(partition, pending.run())));
            }
            Output::ToControl(input) => self.to_control.push_back(input),
        }
    }

    fn send<R: Request>(&mut self, request: &R, version: i16) {
        self.correlation += 1;
        let mut writer = Writer::new();
        let header = RequestHeader {
            api_key: R::KEY.code(),
            api_version: version,
            correlation_id: self.correlation,
            client_id: Some("test".into()),
        };
        header.encode(&mut writer, R::KEY.request_header_version(version)).unwrap();
        request.encode(&mut writer, version).unwrap();
        let frame = writer.into_bytes().freeze();
        self.to_cores.push_back((CoreId(0), Input::Frame { session: CLIENT, frame }));
        self.settle();
    }

    fn receive<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let sent = self.sent.get_mut(&CLIENT)?;
        if sent.is_empty() {
            return None;
        }
        let length = i32::from_be_bytes(*sent.first_chunk().unwrap()) as usize;
        let frame: Bytes = sent.split_to(length + 4).freeze().slice(4..);
        let mut reader = Reader::new(frame);
        ResponseHeader::decode(&mut reader, R::KEY.response_header_version(version)).unwrap();
        Some(R::Response::decode(&mut reader, version).unwrap())
    }

    fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version);
        self.receive::<R>(version).expect("an answer at once")
    }

    fn create(&mut self, topic: &str, partitions: i32) {
        let topic = CreatableTopic {
            name: topic.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
        let response = self.call(&request, 7);
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
    }

    /// Runs the flushes that are held, and says how many there were.
    fn run_held(&mut self) -> usize {
        let held = self.held.replace(Vec::new()).unwrap();
        let count = held.len();
        for (partition, pending) in held {
            let core = ottla_broker::core::owner(partition, CORES);
            self.to_cores.push_back((core, Input::Flushed(partition, pending.run())));
        }
        self.settle();
        count
    }

    fn stop(&mut self) {
        self.to_control.push_back(control::Input::Stop);
        for _ in 0..100 {
            self.settle();
            if self.finished {
                return;
            }
            self.pass(50);
        }
        panic!("the node does not stop");
    }
}

fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for value in values {
        let record =
            RecordParts { timestamp: 1_700_000_000_000, value: Some(value.as_bytes()), ..Default::default() };
        builder.append(&record).unwrap();
    }
    builder.finish(&BatchFields::default(), &mut Codecs::new()).to_bytes()
}

fn produce(topic: &str, partition: i32, values: &[&str]) -> ProduceRequest {
    let data = PartitionProduceData { index: partition, records: Some(Records::Bytes(batch(values))) };
    ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![data],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let wanted = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        session_epoch: -1,
        topics: vec![FetchTopic { topic: topic.into(), partitions: vec![wanted], ..Default::default() }],
        ..Default::default()
    }
}

fn base_offset(response: &ProduceResponse) -> i64 {
    let row = &response.responses[0].partition_responses[0];
    assert_eq!(row.error_code, 0, "{response:?}");
    row.base_offset
}

fn values(response: &FetchResponse) -> Vec<String> {
    let row = &response.responses[0].partitions[0];
    assert_eq!(row.error_code, 0, "{response:?}");
    let Some(Records::Bytes(bytes)) = &row.records else { panic!("no records: {response:?}") };
    let mut values = Vec::new();
    let mut codecs = Codecs::new();
    for batch in Batches::new(bytes) {
        let batch = Bytes::copy_from_slice(batch.unwrap().bytes);
        for record in RecordsIter::new(&batch, Limit::for_batches_of(1 << 20), &mut codecs).unwrap() {
            values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
        }
    }
    values
}

#[test]
fn records_come_back_as_they_were_written_also_after_a_restart() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut world = World::start(Arc::clone(&disk), &[]);
    world.create("t", 4);
    for partition in 0..4 {
        assert_eq!(base_offset(&world.call(&produce("t", partition, &["a", "b"]), 9)), 0);
        assert_eq!(base_offset(&world.call(&produce("t", partition, &["c"]), 9)), 2);
        assert_eq!(values(&world.call(&fetch("t", partition, 0), 12)), ["a", "b", "c"]);
    }
    world.stop();
    drop(world);
    let mut world = World::start(disk, &[]);
    for partition in 0..4 {
        assert_eq!(values(&world.call(&fetch("t", partition, 0), 12)), ["a", "b", "c"]);
        assert_eq!(base_offset(&world.call(&produce("t", partition, &["d"]), 9)), 3);
    }
}

#[test]
fn a_fetch_waits_for_records_and_answers_empty_when_time_is_up() {
    let mut world = World::start(Arc::new(MemoryDisk::new()), &[]);
    world.create("t", 1);
    world.send(&fetch("t", 0, 0), 12);
    assert!(world.receive::<FetchRequest>(12).is_none(), "nothing to read yet");
    world.pass(400);
    assert!(world.receive::<FetchRequest>(12).is_none(), "the wait is not over");
    world.pass(101);
    assert!(values(&world.receive::<FetchRequest>(12).unwrap()).is_empty());
}

#[test]
fn a_waiting_fetch_is_woken_by_an_append_through_another_connection() {
    let mut world = World::start(Arc::new(MemoryDisk::new()), &[]);
    world.create("t", 1);
    world.send(&fetch("t", 0, 0), 12);
    let other = SessionId(2);
    let opened = Input::Opened { session: other, listener: 0, host: "127.0.0.1".into() };
    world.to_cores.push_back((CoreId(1), opened));
    let mut writer = Writer::new();
    let header = RequestHeader { api_key: 0, api_version: 9, correlation_id: 77, client_id: None };
    header.encode(&mut writer, 2).unwrap();
    produce("t", 0, &["x"]).encode(&mut writer, 9).unwrap();
    let frame = writer.into_bytes().freeze();
    world.to_cores.push_back((CoreId(1), Input::Frame { session: other, frame }));
    world.settle();
    assert_eq!(values(&world.receive::<FetchRequest>(12).unwrap()), ["x"]);
    assert!(!world.sent[&other].is_empty(), "the producer was answered too");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut world = World::start(Arc::new(MemoryDisk::new()), &[]);
    world.create("t", 4);
    for partition in [3, 1, 0, 2, 3] {
        world.send(&produce("t", partition, &["v"]), 9);
    }
    world.send(&MetadataRequest::default(), 9);
    let offsets: Vec<i64> =
        (0..5).map(|_| base_offset(&world.receive::<ProduceRequest>(9).unwrap())).collect();
    assert_eq!(offsets, [0, 0, 0, 0, 1]);
    assert_eq!(world.receive::<MetadataRequest>(9).unwrap().brokers.len(), 1);
}

#[test]
fn an_unknown_version_of_api_versions_gets_version_0_and_others_close() {
    let mut world = World::start(Arc::new(MemoryDisk::new()), &[]);
    let mut frame = BytesMut::new();
    frame.extend_from_slice(&[0, 18, 0, 99, 0, 0, 0, 5, 255, 255, 0]);
    world.to_cores.push_back((CoreId(0), Input::Frame { session: CLIENT, frame: frame.freeze() }));
    world.settle();
    let response = world.receive::<ApiVersionsRequest>(0).unwrap();
    assert_eq!(response.error_code, 35);
    assert_eq!(response.api_keys.len(), 1);
    let mut frame = BytesMut::new();
    frame.extend_from_slice(&[0, 3, 0, 99, 0, 0, 0, 5, 255, 255]);
    world.to_cores.push_back((CoreId(0), Input::Frame { session: CLIENT, frame: frame.freeze() }));
    world.settle();
    assert_eq!(world.closed, [CLIENT]);
}

#[test]
fn producer_ids_are_never_given_twice() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut world = World::start(Arc::clone(&disk), &[]);
        for _ in 0..3 {
            let response =
                world.call(&InitProducerIdRequest { transactional_id: None, ..Default::default() }, 4);
            assert_eq!(response.error_code, 0);
            ids.push(response.producer_id);
        }
    }
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");
}

#[test]
fn every_api_answers_in_every_version_that_is_advertised() {
    let mut world = World::start(Arc::new(MemoryDisk::new()), &[]);
    world.create("t", 2);
    let mut asked = 0;
    for row in ottla_broker::api::rows() {
        let entry = ottla_protocol::catalogue::ENTRIES
            .iter()
            .find(|entry| entry.name == format!("{}Request", row.key.name()))
            .expect("every API has a request");
        for version in row.min..=row.max {
            for seed in 0..20 {
                let header = RequestHeader {
                    api_key: row.key.code(),
                    api_version: version,
                    correlation_id: 1,
                    client_id: None,
                };
                let mut writer = Writer::new();
                header.encode(&mut writer, row.key.request_header_version(version)).unwrap();
                if seed == 0 {
                    (entry.write_default)(&mut writer, version).unwrap();
                } else {
                    (entry.copy)(&mut Reader::random(seed), version, &mut writer, version).unwrap();
                }
                let frame = writer.into_bytes();
                let session = SessionId(1000 + asked);
                asked += 1;
                let opened = Input::Opened { session, listener: 0, host: "127.0.0.1".into() };
                world.to_cores.push_back((CoreId(0), opened));
                world.to_cores.push_back((CoreId(0), Input::Frame { session, frame: frame.freeze() }));
                world.settle();
                world.to_cores.push_back((CoreId(0), Input::Closed { session }));
                world.settle();
            }
        }
    }
    assert!(asked > 1000);
    let unwritable: Vec<_> = world.reasons.iter().filter(|why| why.contains("cannot be written")).collect();
    assert!(unwritable.is_empty(), "{} responses could not be written", unwritable.len());
    assert!(!world.reasons.iter().any(|why| *why == "malformed request"), "{:?}", world.reasons);
}

#[test]
fn with_flush_messages_1_nothing_is_acknowledged_before_it_is_on_the_disk() {
    let mut world = World::start(Arc::new(MemoryDisk::new()), &[("log.flush.interval.messages", "1")]);
    world.create("t", 1);
    world.held = Some(Vec::new());
    for acks in [-1, 1] {
        world.send(&ProduceRequest { acks, ..produce("t", 0, &["a"]) }, 9);
        assert!(world.receive::<ProduceRequest>(9).is_none(), "acks={acks}: it is not on the disk yet");
        // What comes while a flush runs shares the next one.
        for _ in 0..3 {
            world.send(&ProduceRequest { acks, ..produce("t", 0, &["b"]) }, 9);
        }
        assert_eq!(world.run_held(), 1, "one flush at a time");
        base_offset(&world.receive::<ProduceRequest>(9).expect("the first is on the disk"));
        assert!(world.receive::<ProduceRequest>(9).is_none(), "the others are not");
        assert_eq!(world.run_held(), 1, "one flush for all three");
        for _ in 0..3 {
            base_offset(&world.receive::<ProduceRequest>(9).unwrap());
        }
        assert_eq!(world.run_held(), 0);
    }
    world.send(&fetch("t", 0, 0), 12);
    assert_eq!(values(&world.receive::<FetchRequest>(12).unwrap()).len(), 8);
}

#[test]
fn a_folder_that_the_cluster_does_not_know_is_set_aside() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut world = World::start(Arc::clone(&disk), &[]);
    world.create("t", 1);
    base_offset(&world.call(&produce("t", 0, &["a"]), 9));
    world.stop();
    drop(world);
    let data = std::path::Path::new("./data");
    disk.create_dir(&data.join("gone-3")).unwrap();
    let id = Uuid::from_random([5; 16]);
    ottla_log::partition_metadata::write(&*disk, &data.join("gone-3"), id).unwrap();
    let mut world = World::start(Arc::clone(&disk), &[]);
    let names: Vec<String> = disk.list(data).unwrap().into_iter().map(|entry| entry.name).collect();
    assert!(!names.contains(&"gone-3".into()), "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("gone-3.") && name.ends_with("-stray")), "{names:?}");
    assert_eq!(values(&world.call(&fetch("t", 0, 0), 12)), ["a"]);
}
