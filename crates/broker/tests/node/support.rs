//! A whole node stepped by hand: its cores, its control, the queues between them, and what its clients are sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use ottla_broker::core::{Chunk, CoreId, Input, Output, SessionId};
use ottla_broker::disk_work::DiskWork;
use ottla_broker::node::{Birth, Node};
use ottla_broker::{Control, Core, Shard, control, home};
use ottla_log::{Disk, MemoryDisk};
use ottla_metadata::config::NodeConfig;
use ottla_protocol::codec::{Reader, Writer};
use ottla_protocol::header::{RequestHeader, ResponseHeader};
use ottla_protocol::{Message, Now, Request, Uuid};
use ottla_raft::random::Random;

/// How many cores the node has.
pub const CORES: u16 = 2;

/// A client that is always connected, to core 0 on the first listener.
pub const CLIENT: SessionId = SessionId(1);

/// When the first life of a node begins, in ms since 1970.
pub const START_MS: i64 = 1_700_000_000_000;

/// Counts the starts, so that no two of them are alike.
static STARTS: AtomicU64 = AtomicU64::new(7);

/// Everything of a node, with its queues.
pub struct World {
    pub now: Now,
    pub cores: Vec<Core>,
    pub control: Control,
    to_cores: Vec<VecDeque<Input>>,
    to_control: VecDeque<control::Input>,
    /// Decides whose turn it is; control's before the cores' while it is 0.
    pub order: u64,
    /// What each session was sent and has not received.
    pub sent: BTreeMap<SessionId, BytesMut>,
    pub closed: Vec<SessionId>,
    /// Why sessions were closed.
    pub reasons: Vec<&'static str>,
    pub stages: Vec<control::Stage>,
    /// Flushes wait here for the test while it is `Some`.
    pub held: Option<Vec<(CoreId, DiskWork)>>,
    /// Why the node ended itself.
    pub fatal: Option<String>,
    pub finished: bool,
    memory: MemoryDisk,
    correlation: i32,
}

/// Where and when a node starts.
pub struct Start<'a> {
    /// Its configuration, besides that of a node without any.
    pub properties: &'a [(&'a str, &'a str)],
    /// The disk as the node sees it, where that is not simply the memory.
    pub disk: Option<Arc<dyn Disk>>,
    /// How long after [`START_MS`].
    pub after_ms: i64,
    /// Decides what is random.
    pub seed: u64,
    /// Decides whose turn it is; 0 for the simplest order.
    pub order: u64,
}

impl<'a> Start<'a> {
    /// As it usually is.
    pub fn with(properties: &'a [(&'a str, &'a str)]) -> Self {
        let seed = STARTS.fetch_add(1, Ordering::Relaxed);
        Self { properties, disk: None, after_ms: 0, seed, order: 0 }
    }
}

impl World {
    /// A node that serves clients.
    pub fn start(memory: &MemoryDisk, properties: &[(&str, &str)]) -> Self {
        Self::try_start(memory, Start::with(properties))
            .unwrap_or_else(|why| panic!("the node does not start: {why}"))
    }

    /// A node that serves clients, or why there is none.
    pub fn try_start(memory: &MemoryDisk, start: Start<'_>) -> Result<Self, String> {
        let owned = |&(key, value): &(&str, &str)| (String::from(key), String::from(value));
        let config = NodeConfig::standalone(start.properties.iter().map(owned).collect()).unwrap();
        let disk = start.disk.unwrap_or_else(|| Arc::new(memory.clone()));
        let now = Now { monotonic_us: 1_000_000, wall_ms: START_MS + start.after_ms };
        let mut random = Random::new(start.seed);
        let home = home::move_in(&config, &disk, &[], &mut random, now).map_err(|error| error.to_string())?;
        let birth = Birth {
            cluster_id: home.cluster_id.clone(),
            // Another one at each start, as in life.
            incarnation: Uuid::from_random(random.bytes16()),
            cores: CORES,
            // 0 stands for one that the system would choose.
            ports: config.listeners.iter().map(|at| if at.port == 0 { 9093 } else { at.port }).collect(),
            host: "localhost".into(),
        };
        let node = Arc::new(Node::new(&config, birth));
        let core = |id| {
            let shard = Shard::new(CoreId(id), Arc::clone(&node), Arc::clone(&home.directories), now);
            Core::new(CoreId(id), Arc::clone(&node), shard)
        };
        let cores = (0..CORES).map(core).collect();
        let seed = u64::from_be_bytes(*random.bytes16().first_chunk().unwrap());
        let control = Control::open(&config, Arc::clone(&node), &home, seed, now);
        let mut world = Self {
            now,
            cores,
            control: control.map_err(|error| error.to_string())?,
            to_cores: (0..CORES).map(|_| VecDeque::new()).collect(),
            to_control: VecDeque::new(),
            order: start.order,
            sent: BTreeMap::new(),
            closed: Vec::new(),
            reasons: Vec::new(),
            stages: Vec::new(),
            held: None,
            fatal: None,
            finished: false,
            memory: memory.clone(),
            correlation: 0,
        };
        world.to_control.push_back(control::Input::Tick);
        world.await_clients()?;
        world.connect(CLIENT, CoreId(0), 0);
        Ok(world)
    }

    fn await_clients(&mut self) -> Result<(), String> {
        for _ in 0..200 {
            self.settle();
            if self.stages.last() == Some(&control::Stage::Running) {
                return Ok(());
            }
            if let Some(why) = self.fatal.take() {
                return Err(why);
            }
            self.pass(10);
        }
        Err(format!("{:?}", self.stages))
    }

    /// A new connection.
    pub fn connect(&mut self, session: SessionId, core: CoreId, listener: usize) {
        let opened = Input::Opened { session, listener, host: "127.0.0.1".into() };
        self.tell(core, opened);
        self.settle();
    }

    /// Lets time pass and deadlines come.
    pub fn pass(&mut self, ms: u64) {
        self.now.monotonic_us += ms * 1000;
        self.now.wall_ms += ms as i64;
        for core in 0..CORES {
            self.tell(CoreId(core), Input::Tick);
        }
        self.to_control.push_back(control::Input::Tick);
        self.settle();
    }

    /// Lets everything happen that needs no more time. A machine that has stopped does nothing more.
    pub fn settle(&mut self) {
        while !self.memory.has_crashed() {
            let busy = (0..CORES).map(|core| !self.to_cores[usize::from(core)].is_empty());
            let mut busy: Vec<Option<CoreId>> =
                (0..CORES).zip(busy).filter_map(|(core, busy)| busy.then_some(Some(CoreId(core)))).collect();
            if !self.to_control.is_empty() {
                busy.insert(0, None);
            }
            if busy.is_empty() {
                return;
            }
            let turn = (self.order >> 33) as usize % busy.len();
            if self.order > 0 {
                self.order = self
                    .order
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
            }
            match busy[turn] {
                None => self.step_control(),
                Some(core) => self.step_core(core),
            }
        }
    }

    /// An input for a core, to be taken in when it is its turn.
    pub fn tell(&mut self, core: CoreId, input: Input) {
        self.to_cores[usize::from(core.0)].push_back(input);
    }

    fn step_control(&mut self) {
        let Some(input) = self.to_control.pop_front() else { return };
        let mut out = Vec::new();
        self.control.step(self.now, input, &mut out);
        for output in out {
            self.follow_control(output);
        }
    }

    fn step_core(&mut self, core: CoreId) {
        let Some(input) = self.to_cores[usize::from(core.0)].pop_front() else { return };
        let mut out = Vec::new();
        self.cores[usize::from(core.0)].step(self.now, input, &mut out);
        for output in out {
            self.follow(core, output);
        }
    }

    fn follow_control(&mut self, output: control::Output) {
        match output {
            control::Output::ToCore(core, message) => self.tell(core, Input::Message(message)),
            control::Output::Stage { to, .. } => self.stages.push(to),
            control::Output::OpenListeners => {}
            control::Output::Finished => self.finished = true,
            control::Output::Fatal(why) => self.fatal = Some(why),
        }
    }

    fn follow(&mut self, from: CoreId, output: Output) {
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
            Output::ToCore(core, message) => self.tell(core, Input::Message(message)),
            Output::DiskWork(work) => match &mut self.held {
                Some(held) => held.push((from, work)),
                None => self.tell(from, Input::DiskDone(work.run())),
            },
            Output::ToControl(input) => self.to_control.push_back(input),
        }
    }

    /// Runs the flushes that are held, and says how many there were.
    pub fn run_held(&mut self) -> usize {
        let held = self.held.replace(Vec::new()).unwrap();
        let count = held.len();
        for (core, work) in held {
            self.tell(core, Input::DiskDone(work.run()));
        }
        self.settle();
        count
    }

    /// The client sends a request.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) {
        self.send_from(CLIENT, CoreId(0), request, version);
    }

    /// A session of a core sends a request.
    pub fn send_from<R: Request>(&mut self, session: SessionId, core: CoreId, request: &R, version: i16) {
        self.post(session, core, request, version);
        self.settle();
    }

    /// A session of a core sends a request that nobody takes in yet.
    pub fn post<R: Request>(&mut self, session: SessionId, core: CoreId, request: &R, version: i16) {
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
        self.tell(core, Input::Frame { session, frame: writer.into_bytes().freeze() });
    }

    /// A session of a core sends these bytes as a frame.
    pub fn send_frame(&mut self, session: SessionId, core: CoreId, frame: Bytes) {
        self.tell(core, Input::Frame { session, frame });
        self.settle();
    }

    /// The client takes a response, if there is one.
    pub fn receive<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        self.receive_at::<R>(CLIENT, version)
    }

    /// A session takes a response, if there is one.
    pub fn receive_at<R: Request>(&mut self, session: SessionId, version: i16) -> Option<R::Response> {
        let sent = self.sent.get_mut(&session)?;
        if sent.is_empty() {
            return None;
        }
        let length = i32::from_be_bytes(*sent.first_chunk().unwrap()) as usize;
        let frame: Bytes = sent.split_to(length + 4).freeze().slice(4..);
        let mut reader = Reader::new(frame);
        ResponseHeader::decode(&mut reader, R::KEY.response_header_version(version)).unwrap();
        let response = R::Response::decode(&mut reader, version).unwrap();
        assert_eq!(reader.remaining(), 0, "the response is longer than it says");
        Some(response)
    }

    /// The client asks and is answered at once.
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version);
        let answer = self.receive::<R>(version);
        answer.unwrap_or_else(|| panic!("no answer at once; closed: {:?}", self.reasons))
    }

    /// The client asks; `None` where the answer does not come at once, or the machine stops.
    pub fn try_call<R: Request>(&mut self, request: &R, version: i16) -> Option<R::Response> {
        self.send(request, version);
        self.receive::<R>(version)
    }

    /// Asks the node to stop in good order.
    pub fn begin_stop(&mut self) {
        self.to_control.push_back(control::Input::Stop);
    }

    /// Stops the node in good order.
    pub fn stop(&mut self) {
        self.begin_stop();
        for _ in 0..100 {
            self.settle();
            if self.finished || self.fatal.is_some() || self.memory.has_crashed() {
                return;
            }
            self.pass(50);
        }
        panic!("the node does not stop");
    }
}

impl Drop for World {
    /// A node that ends itself is a failure, unless the test has taken the reason away or the machine has stopped.
    fn drop(&mut self) {
        if let Some(why) = self.fatal.take()
            && !std::thread::panicking()
            && !self.memory.has_crashed()
        {
            panic!("the node has ended itself: {why}");
        }
    }
}
