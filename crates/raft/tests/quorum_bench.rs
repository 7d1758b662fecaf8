//! A few replicas on a bench: their messages lie there until they are delivered, and each has a clock of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::disk::Crash;
use ottla_log::{Disk, MemoryDisk, OpenHint};
use ottla_protocol::{NodeId, Now, Offset, Uuid};
use ottla_raft::format::{Formatting, IfFormatted, InitialQuorum, format};
use ottla_raft::message::{Answer, Ask, Ballot, Found, Request, Response};
use ottla_raft::random::Random;
use ottla_raft::{
    CommittedBatch, Content, ControlRecord, Endpoint, Input, OffsetAndEpoch, Output, Peer, Raft, RaftConfig,
    ReplicaKey, Role, Ticket, Voter, Voters, log_config, open_log,
};

const DIR: &str = "/d/__cluster_metadata-0";

/// The bench.
#[derive(Default)]
pub struct Bench {
    nodes: BTreeMap<i32, Node>,
    voters: Vec<i32>,
    wires: VecDeque<Wire>,
    cut: BTreeSet<i32>,
    tickets: BTreeMap<u64, (i32, u64)>,
    next: u64,
    said: Vec<String>,
}

struct Node {
    disk: MemoryDisk,
    raft: Option<Raft>,
    now: Now,
    applied: Offset,
    last_append_ms: i64,
    values: Vec<Bytes>,
    was: String,
}

enum Wire {
    Request { from: i32, to: i32, correlation: u64, request: Request },
    Response { from: i32, to: i32, correlation: u64, response: Response },
}

impl Bench {
    /// Carries out one command and says what happened.
    pub fn run(&mut self, command: &str) -> Vec<String> {
        if let Some(command) = command.strip_prefix("quietly ") {
            self.run(command);
            return Vec::new();
        }
        let words: Vec<&str> = command.split_whitespace().collect();
        let number = |word: &str| word.parse::<i32>().unwrap_or_else(|_| panic!("no number in: {command}"));
        match words.as_slice() {
            ["voters", ids @ ..] => {
                self.voters = ids.iter().map(|id| number(id)).collect();
                self.voters.clone().into_iter().for_each(|id| self.start(id));
            }
            ["standalone", id] => self.standalone(number(id)),
            ["observer", id] | ["start", id] => self.start(number(id)),
            ["wait", "all", ms] => {
                let ids: Vec<i32> = self.nodes.keys().copied().collect();
                ids.into_iter().for_each(|id| self.wait(id, number(ms)));
            }
            ["wait", id, ms] => self.wait(number(id), number(ms)),
            ["deliver"] => self.deliver(|_, _| true),
            ["deliver", from, to] => {
                let (from, to) = (number(from), number(to));
                self.deliver(|a, b| a == from && b == to);
            }
            ["drop"] => self.wires.clear(),
            ["drop", from, to] => {
                let way = (number(from), number(to));
                self.wires.retain(|wire| wire.way() != way);
            }
            ["cut", id] => _ = self.cut.insert(number(id)),
            ["heal"] => self.cut.clear(),
            ["append", id, values @ ..] => self.append(number(id), values),
            ["crash", id] => self.crash(number(id), Crash::Process),
            ["lose-power", id] => self.crash(number(id), Crash::Power),
            ["resign", id] => {
                let epoch = self.raft(number(id)).election().epoch;
                self.step(number(id), Input::Resign { epoch });
            }
            ["stop", id] => self.step(number(id), Input::ShutDown),
            ["snapshot", id] => self.snapshot(number(id)),
            ["log", id] => self.show_log(number(id)),
            ["state"] => self.show_state(),
            _ => panic!("not a command: {command}"),
        }
        std::mem::take(&mut self.said)
    }

    /// Formats and starts a node that is its own only voter, at kraft.version 1.
    fn standalone(&mut self, id: i32) {
        let disk = MemoryDisk::new();
        let endpoint = Endpoint { listener: "C".to_owned(), host: format!("n{id}"), port: 1 };
        let voter = Voter { directory: directory(id), endpoints: vec![endpoint], kraft_versions: (0, 1) };
        let formatting = Formatting {
            cluster_id: "bench".to_owned(),
            node: NodeId(id),
            directories: vec!["/d".into()],
            metadata_directory: "/d".into(),
            quorum: Some(InitialQuorum::Initial(Voters::new([(NodeId(id), voter)]))),
            records: vec![Bytes::from_static(b"bootstrap")],
            formatted: IfFormatted::Refuse,
        };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        format(&shared, &formatting, &mut Random::new(1), Now::default()).expect("formatted");
        self.nodes.insert(id, Node::new(disk));
        self.start(id);
    }

    fn start(&mut self, id: i32) {
        let voters = Voters::new(self.voters.iter().map(|id| {
            let endpoint = Endpoint { listener: "C".to_owned(), host: format!("n{id}"), port: 1 };
            (NodeId(*id), Voter { directory: Uuid::ZERO, endpoints: vec![endpoint], kraft_versions: (0, 1) })
        }));
        let node = self.nodes.entry(id).or_insert_with(|| Node::new(MemoryDisk::new()));
        let disk: Arc<dyn Disk> = Arc::new(node.disk.clone());
        disk.create_dir(Path::new("/d")).and_then(|()| disk.sync_dir(Path::new("/"))).expect("folder");
        let mut config =
            RaftConfig::new(DIR, ReplicaKey { id: NodeId(id), directory: directory(id) }, voters);
        config.retention.max_bytes = 0;
        config.may_vote = self.voters.contains(&id);
        let log = open_log(&disk, Path::new(DIR), log_config(1 << 20, 1 << 40), OpenHint::NOTHING, node.now);
        let raft = Raft::open(config, log.expect("log"), disk, u64::try_from(id).unwrap_or(0), node.now);
        node.raft = Some(raft.expect("raft"));
        (node.applied, node.values) = (Offset::ZERO, Vec::new());
        self.note_role(id);
        self.step(id, Input::Tick);
    }

    /// Lets a node's time pass, stepping it whenever it wants to be.
    fn wait(&mut self, id: i32, ms: i32) {
        let end = self.node(id).now.monotonic_us + u64::try_from(ms).unwrap_or(0) * 1_000;
        for _ in 0..10_000 {
            let node = self.node(id);
            let due = node.raft.as_ref().and_then(Raft::deadline).map_or(end, |deadline| deadline.0.min(end));
            let passed = due.saturating_sub(node.now.monotonic_us);
            node.now.monotonic_us += passed;
            node.now.wall_ms += i64::try_from(passed / 1_000).unwrap_or(0);
            if due == end {
                break;
            }
            self.step(id, Input::Tick);
        }
        self.step(id, Input::Tick);
    }

    fn step(&mut self, id: i32, input: Input) {
        let node = self.node(id);
        let now = node.now;
        let Some(raft) = &mut node.raft else { return };
        let mut out = Vec::new();
        raft.step(now, input, &mut out);
        self.note_role(id);
        for output in out {
            self.carry_out(id, output);
        }
    }

    fn carry_out(&mut self, id: i32, output: Output) {
        match output {
            Output::Send { to: Peer::Node(to), correlation, request } => {
                self.wires.push_back(Wire::Request { from: id, to: to.0, correlation, request });
            }
            Output::Send { .. } => {}
            Output::Reply { ticket, response } => {
                if let Some((to, correlation)) = self.tickets.remove(&ticket.0) {
                    self.wires.push_back(Wire::Response { from: id, to, correlation, response });
                }
            }
            Output::Committed(batch) => {
                let node = self.node(id);
                assert_eq!(node.applied, batch.base_offset, "committed without gaps");
                node.applied = batch.last_offset.plus(1);
                node.last_append_ms = batch.append_ms;
                if let Content::Records(values) = &batch.content {
                    node.values.extend_from_slice(values);
                }
                self.said.push(format!("{id}: commits {}", show_batch(&batch)));
            }
            Output::LoadSnapshot(snapshot) => {
                let node = self.node(id);
                let loaded = node.raft.as_ref().map(|raft| raft.read_snapshot(snapshot).expect("snapshot"));
                node.values = loaded.map(|snapshot| snapshot.records).unwrap_or_default();
                node.applied = snapshot.offset;
                self.said.push(format!("{id}: loads snapshot {}", show_end(snapshot)));
            }
            Output::LeaderChanged(change) => {
                let leader = change.leader.map_or("nobody".to_owned(), |leader| leader.to_string());
                self.said.push(format!("{id}: is told that {leader} leads e{}", change.epoch));
            }
            Output::Fatal(fatal) => {
                self.node(id).raft = None;
                self.said.push(format!("{id}: dies: {fatal}"));
            }
        }
    }

    fn deliver(&mut self, which: impl Fn(i32, i32) -> bool) {
        for _ in 0..500 {
            let Some(at) = self.wires.iter().position(|wire| which(wire.way().0, wire.way().1)) else {
                return;
            };
            let Some(wire) = self.wires.remove(at) else { return };
            let (from, to) = wire.way();
            let down = self.cut.contains(&from) || self.cut.contains(&to);
            if down || self.node(to).raft.is_none() {
                self.said.push(format!("{from}→{to} lost: {}", wire.show()));
                continue;
            }
            self.said.push(format!("{from}→{to} {}", wire.show()));
            match wire {
                Wire::Request { from, to, correlation, request } => {
                    self.next += 1;
                    self.tickets.insert(self.next, (from, correlation));
                    self.step(to, Input::Request { ticket: Ticket(self.next), request });
                }
                Wire::Response { from, to, correlation, response } => {
                    self.step(to, Input::Response { from: Peer::Node(NodeId(from)), correlation, response });
                }
            }
        }
        panic!("the nodes do not come to rest");
    }

    fn append(&mut self, id: i32, values: &[&str]) {
        let node = self.node(id);
        let now = node.now;
        let Some(raft) = &mut node.raft else { panic!("node {id} is down") };
        let values: Vec<Bytes> =
            values.iter().map(|value| Bytes::copy_from_slice(value.as_bytes())).collect();
        let epoch = raft.election().epoch;
        match raft.append(now, epoch, &values) {
            Ok(base) => self.said.push(format!("{id}: appends at {base}")),
            Err(error) => self.said.push(format!("{id}: {error}")),
        }
        self.step(id, Input::Tick);
    }

    fn crash(&mut self, id: i32, crash: Crash) {
        let node = self.node(id);
        node.raft = None;
        node.disk.reboot(crash);
        node.was.clear();
        self.wires.retain(|wire| match wire {
            Wire::Response { to, .. } => *to != id,
            Wire::Request { .. } => true,
        });
    }

    fn snapshot(&mut self, id: i32) {
        let node = self.node(id);
        let now = node.now;
        let Some(raft) = &mut node.raft else { panic!("node {id} is down") };
        let written = raft.begin_snapshot(node.applied, node.last_append_ms).and_then(|mut writer| {
            writer.append(&node.values)?;
            let snapshot = writer.finish()?;
            raft.snapshot_written(snapshot)?;
            raft.clean(now)?;
            Ok(snapshot)
        });
        match written {
            Ok(snapshot) => {
                let start = raft.log_start();
                self.said
                    .push(format!("{id}: writes snapshot {}, log starts at {start}", show_end(snapshot)));
            }
            Err(error) => self.said.push(format!("{id}: {error}")),
        }
    }

    fn show_log(&mut self, id: i32) {
        let raft = self.raft(id);
        let start = raft.log_start();
        let batches = raft.read_log(start, 1 << 20).expect("log");
        let lines: Vec<String> = batches.iter().map(|batch| format!("  {}", show_batch(batch))).collect();
        self.said.extend(lines);
    }

    fn show_state(&mut self) {
        let ids: Vec<i32> = self.nodes.keys().copied().collect();
        for id in ids {
            let line = match &self.node(id).raft {
                None => format!("{id}: down"),
                Some(raft) => {
                    let (end, election) = (raft.log_end(), raft.election());
                    let or_none = |id: Option<NodeId>| id.map_or("-".to_owned(), |id| id.to_string());
                    let high_watermark = raft.high_watermark().map_or("-".to_owned(), |end| end.to_string());
                    format!(
                        "{id}: {} e{} leader {} voted {} log {}..{} high watermark {high_watermark}",
                        raft.role().name(),
                        election.epoch,
                        or_none(election.leader),
                        or_none(election.voted.map(|key| key.id)),
                        raft.log_start(),
                        show_end(end),
                    )
                }
            };
            self.said.push(line);
        }
    }

    fn note_role(&mut self, id: i32) {
        let node = self.node(id);
        let Some(raft) = &node.raft else { return };
        let follows = match raft.role() {
            Role::Follower(follower) => format!(" of {}", follower.leader),
            _ => String::new(),
        };
        let is = format!("{}{follows} e{}", raft.role().name(), raft.election().epoch);
        if node.was != is {
            node.was.clone_from(&is);
            self.said.push(format!("{id}: {is}"));
        }
    }

    fn node(&mut self, id: i32) -> &mut Node {
        self.nodes.get_mut(&id).unwrap_or_else(|| panic!("there is no node {id}"))
    }

    fn raft(&mut self, id: i32) -> &mut Raft {
        self.node(id).raft.as_mut().unwrap_or_else(|| panic!("node {id} is down"))
    }
}

impl Node {
    fn new(disk: MemoryDisk) -> Self {
        Self {
            disk,
            raft: None,
            now: Now { monotonic_us: 0, wall_ms: 1_000_000 },
            applied: Offset::ZERO,
            last_append_ms: 0,
            values: Vec::new(),
            was: String::new(),
        }
    }
}

fn directory(id: i32) -> Uuid {
    Uuid([u8::try_from(id).unwrap_or(0x7f) | 0x40; 16])
}

impl Wire {
    fn way(&self) -> (i32, i32) {
        match self {
            Self::Request { from, to, .. } | Self::Response { from, to, .. } => (*from, *to),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Request { request, .. } => show_request(request),
            Self::Response { response, .. } => show_response(response),
        }
    }
}

fn show_end(end: OffsetAndEpoch) -> String {
    format!("{}@{}", end.offset, end.epoch)
}

fn show_request(request: &Request) -> String {
    let epoch = request.epoch;
    match &request.ask {
        Ask::Vote { ballot: Ballot::PreVote, log_end, .. } => {
            format!("PreVote? e{epoch} log {}", show_end(*log_end))
        }
        Ask::Vote { ballot: Ballot::Vote, log_end, .. } => {
            format!("Vote? e{epoch} log {}", show_end(*log_end))
        }
        Ask::BeginQuorumEpoch { .. } => format!("BeginQuorumEpoch e{epoch}"),
        Ask::EndQuorumEpoch { successors, .. } => {
            let ids: Vec<String> = successors.iter().map(|key| key.id.to_string()).collect();
            format!("EndQuorumEpoch e{epoch} successors {}", ids.join(","))
        }
        Ask::Fetch(fetch) => format!("Fetch e{epoch} {}@{}", fetch.offset, fetch.last_epoch),
        Ask::FetchSnapshot { snapshot, position, .. } => {
            format!("FetchSnapshot e{epoch} {} from {position}", show_end(*snapshot))
        }
    }
}

fn show_response(response: &Response) -> String {
    let leader = response.leader.map_or("-".to_owned(), |leader| leader.to_string());
    let about = format!("(e{} leader {leader})", response.epoch);
    if let Some(refusal) = response.refusal {
        return format!("{refusal} {about}");
    }
    match &response.answer {
        Answer::Vote { granted: true } => format!("yes {about}"),
        Answer::Vote { granted: false } => format!("no {about}"),
        Answer::BeginQuorumEpoch | Answer::EndQuorumEpoch => format!("heard {about}"),
        Answer::Fetch { high_watermark, found, .. } => {
            let high_watermark = high_watermark.map_or("-".to_owned(), |end| end.to_string());
            format!("{}, high watermark {high_watermark} {about}", show_found(found))
        }
        Answer::FetchSnapshot { size, position, bytes, .. } => {
            format!(
                "bytes {position}..{} of {size} {about}",
                position + i64::try_from(bytes.len()).unwrap_or(0)
            )
        }
    }
}

fn show_found(found: &Found) -> String {
    match found {
        Found::Records(bytes) if bytes.is_empty() => "nothing new".to_owned(),
        Found::Records(bytes) => {
            let batches = ottla_raft::batch::read_all(bytes).expect("batches");
            batches.iter().map(show_batch).collect::<Vec<_>>().join(", ")
        }
        Found::Diverging(end) => format!("diverging, ends at {}", show_end(*end)),
        Found::Snapshot(snapshot) => format!("fetch snapshot {}", show_end(*snapshot)),
    }
}

fn show_batch(batch: &CommittedBatch) -> String {
    let content = match &batch.content {
        Content::Records(values) => values
            .iter()
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect::<Vec<_>>()
            .join(" "),
        Content::Control(records) => records.iter().map(show_control).collect::<Vec<_>>().join(" "),
    };
    format!("{}@{} [{content}]", batch.base_offset, batch.epoch)
}

fn show_control(record: &ControlRecord) -> String {
    match record {
        ControlRecord::LeaderChange { leader, granting, .. } => {
            let granting: Vec<String> = granting.iter().map(ToString::to_string).collect();
            format!("LeaderChange {leader} by {}", granting.join(","))
        }
        ControlRecord::KraftVersion(level) => format!("KRaftVersion {level}"),
        ControlRecord::KraftVoters(voters) => {
            let ids: Vec<String> = voters.ids().map(|id| id.to_string()).collect();
            format!("KRaftVoters {}", ids.join(","))
        }
        other => format!("{other:?}"),
    }
}
