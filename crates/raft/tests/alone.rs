//! One replica, told everything by hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::{Disk, DiskError, MemoryDisk, OpenHint};
use ottla_protocol::{LeaderEpoch, NodeId, Now, Offset, Refusal, Uuid};
use ottla_raft::batch::{of_control, of_data};
use ottla_raft::format::{Formatting, IfFormatted, InitialQuorum, format};
use ottla_raft::message::{Answer, Ask, Ballot, Fetch, Found, Request, Response};
use ottla_raft::random::Random;
use ottla_raft::store::FILE_NAME;
use ottla_raft::{
    ControlRecord, Endpoint, Input, OffsetAndEpoch, Output, Peer, Raft, RaftConfig, ReplicaKey, Ticket,
    Voter, Voters, log_config, open_log,
};

const DIR: &str = "/d/__cluster_metadata-0";

/// A fetch from the beginning that does not wait.
pub const FETCH: Ask = Ask::Fetch(Fetch {
    offset: Offset(0),
    last_epoch: LeaderEpoch(0),
    high_watermark: Offset(-1),
    max_wait_ms: 0,
    max_bytes: 1_000,
});

/// The replica, its disk, its time, and what it has put out.
pub struct Alone {
    pub raft: Raft,
    pub disk: MemoryDisk,
    pub now: Now,
    pub outputs: Vec<Output>,
    config: RaftConfig,
    dead: bool,
    answered: Option<(Peer, u64)>,
}

impl Alone {
    /// Node 1 of three, on an empty disk.
    pub fn new() -> Self {
        Self::on(formatted_disk(), config(1))
    }

    /// Node 9, which does not vote.
    pub fn observer() -> Self {
        let mut config = config(9);
        config.may_vote = false;
        Self::on(formatted_disk(), config)
    }

    /// Node 1 alone, at kraft.version 1.
    pub fn standalone() -> Self {
        let disk = formatted_disk();
        let voter = Voter { directory: key(1).directory, endpoints: Vec::new(), kraft_versions: (0, 1) };
        let formatting = Formatting {
            cluster_id: "ours".to_owned(),
            node: NodeId(1),
            directories: vec!["/d".into()],
            metadata_directory: "/d".into(),
            quorum: Some(InitialQuorum::Initial(Voters::new([(NodeId(1), voter)]))),
            records: Vec::new(),
            formatted: IfFormatted::Refuse,
        };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        format(&shared, &formatting, &mut Random::new(1), Now::default()).expect("formatted");
        Self::on(disk, RaftConfig { configured_voters: Voters::default(), ..config(1) })
    }

    /// Node 1 with a `quorum-state`.
    pub fn with_state(epoch: i32, leader: i32, voted: i32) -> Self {
        let mut node = Self::new();
        node.restart_with_state(epoch, leader, voted);
        node
    }

    /// Node 1, unattached in an epoch.
    pub fn in_epoch(epoch: i32) -> Self {
        Self::with_state(epoch, -1, -1)
    }

    /// Node 1 as the candidate of epoch 1.
    pub fn candidate() -> Self {
        let mut node = Self::new();
        node.pass(2_000);
        let (to, correlation) = node.sent(2);
        node.outputs.clear();
        node.respond(to, correlation, 0, None, None, Answer::Vote { granted: true });
        assert_eq!((node.role(), node.epoch()), ("candidate", 1));
        node
    }

    /// Node 1 as the leader of epoch 1, whose LeaderChange only it has.
    pub fn leader() -> Self {
        let mut node = Self::candidate();
        let (to, correlation) = node.sent(2);
        node.outputs.clear();
        node.respond(to, correlation, 1, None, None, Answer::Vote { granted: true });
        assert_eq!((node.role(), node.epoch()), ("leader", 1));
        node
    }

    fn on(disk: MemoryDisk, config: RaftConfig) -> Self {
        let now = Now { monotonic_us: 1, wall_ms: 1 };
        let raft = open(&disk, &config, now).expect("raft");
        Self { raft, disk, now, outputs: Vec::new(), config, dead: false, answered: None }
    }

    pub fn restart(&mut self) {
        self.try_restart().expect("raft");
    }

    pub fn try_restart(&mut self) -> Result<(), DiskError> {
        self.raft = open(&self.disk, &self.config, self.now)?;
        self.outputs.clear();
        Ok(())
    }

    pub fn restart_with_state(&mut self, epoch: i32, leader: i32, voted: i32) {
        let text = format!(
            r#"{{"clusterId":"","leaderId":{leader},"leaderEpoch":{epoch},"votedId":{voted},"appliedOffset":0,"currentVoters":[],"data_version":0}}"#
        );
        self.disk.replace(&self.path(FILE_NAME), text.as_bytes()).expect("written");
        self.restart();
    }

    /// Makes the log begin at an offset, behind the replica's back.
    pub fn start_log_at(&mut self, start: Offset) {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let mut log =
            open_log(&disk, Path::new(DIR), log_config(1 << 20, 1 << 40), OpenHint::NOTHING, self.now)
                .expect("log");
        log.truncate_fully(self.now, start).expect("truncated");
        log.close().expect("closed");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        Path::new(DIR).join(name)
    }

    pub fn read(&self, name: &str) -> String {
        let bytes = self.disk.read(&self.path(name)).expect("read").unwrap_or_default();
        String::from_utf8(bytes).expect("text")
    }

    pub fn role(&self) -> &'static str {
        self.raft.role().name()
    }

    pub fn epoch(&self) -> i32 {
        self.raft.election().epoch.0
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    pub fn step(&mut self, input: Input) {
        let before = self.outputs.len();
        self.raft.step(self.now, input, &mut self.outputs);
        self.dead |= self.outputs[before..].iter().any(|output| matches!(output, Output::Fatal(_)));
    }

    pub fn tick(&mut self) {
        self.step(Input::Tick);
    }

    /// Lets time pass, stepping the replica whenever it wants to be.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.monotonic_us + ms * 1_000;
        for _ in 0..100_000 {
            match self.raft.deadline() {
                Some(due) if due.0 <= end => {
                    self.now.monotonic_us = self.now.monotonic_us.max(due.0);
                    self.tick();
                }
                _ => {
                    self.now.monotonic_us = end;
                    return self.tick();
                }
            }
        }
        panic!("it never rests");
    }

    /// A request comes in; its answer may come later.
    pub fn tell(&mut self, from: i32, epoch: i32, ask: Ask) {
        self.tell_from_cluster(None, from, epoch, ask);
    }

    /// A request comes in and is answered at once.
    pub fn ask(&mut self, from: i32, epoch: i32, ask: Ask) -> Response {
        self.replies();
        self.tell(from, epoch, ask);
        self.replies().pop().expect("an answer")
    }

    pub fn ask_from_cluster(&mut self, cluster: &str, from: i32, epoch: i32, ask: Ask) -> Response {
        self.tell_from_cluster(Some(cluster.to_owned()), from, epoch, ask);
        self.replies().pop().expect("an answer")
    }

    fn tell_from_cluster(&mut self, cluster_id: Option<String>, from: i32, epoch: i32, ask: Ask) {
        let request = Request { cluster_id, from: key(from), epoch: LeaderEpoch(epoch), ask };
        self.step(Input::Request { ticket: Ticket(0), request });
    }

    /// A replica fetches, and is told the high watermark and what there is.
    pub fn fetch(&mut self, from: i32, offset: i64, epoch: i32) -> (Option<Offset>, Found) {
        let fetch = Fetch {
            offset: Offset(offset),
            last_epoch: LeaderEpoch(epoch),
            high_watermark: Offset(-1),
            max_wait_ms: 0,
            max_bytes: 1_000,
        };
        match self.ask(from, self.epoch(), Ask::Fetch(fetch)).answer {
            Answer::Fetch { high_watermark, found, .. } => (high_watermark, found),
            other => panic!("{other:?}"),
        }
    }

    pub fn append(&mut self, values: &[&str]) {
        let values: Vec<Bytes> = values.iter().map(|v| Bytes::copy_from_slice(v.as_bytes())).collect();
        let epoch = self.raft.election().epoch;
        self.raft.append(self.now, epoch, &values).expect("appended");
    }

    /// Makes it follow.
    pub fn follow(&mut self, epoch: i32, leader: i32) {
        self.outputs.clear();
        self.tell(leader, epoch, Ask::BeginQuorumEpoch { voter: None, endpoints: Vec::new() });
        assert_eq!((self.role(), self.epoch()), ("follower", epoch));
    }

    /// Its fetch under way is answered with records.
    pub fn fetched(&mut self, bytes: &[u8], high_watermark: Option<i64>) {
        self.answer_fetch(Found::Records(Bytes::copy_from_slice(bytes)), high_watermark);
    }

    /// Its fetch under way is answered with where the logs part.
    pub fn fetched_diverging(&mut self, end: OffsetAndEpoch) {
        self.answer_fetch(Found::Diverging(end), None);
    }

    fn answer_fetch(&mut self, found: Found, high_watermark: Option<i64>) {
        let leader = self.raft.election().leader.expect("a leader");
        if self.newest_ask() == self.answered {
            // After an answer that was of no use it rests a little.
            self.pass(25);
        }
        self.answered = self.newest_ask();
        let (to, correlation) = self.answered.expect("a fetch");
        let answer =
            Answer::Fetch { high_watermark: high_watermark.map(Offset), log_start: Offset(0), found };
        self.respond(to, correlation, self.epoch(), Some(leader.0), None, answer);
    }

    fn newest_ask(&self) -> Option<(Peer, u64)> {
        self.outputs.iter().rev().find_map(|output| match output {
            Output::Send { to, correlation, .. } => Some((*to, *correlation)),
            _ => None,
        })
    }

    /// The newest request to a node.
    pub fn sent(&self, node: i32) -> (Peer, u64) {
        let newest = self.outputs.iter().rev().find_map(|output| match output {
            Output::Send { to: to @ Peer::Node(id), correlation, .. } if id.0 == node => {
                Some((*to, *correlation))
            }
            _ => None,
        });
        newest.unwrap_or_else(|| panic!("nothing was sent to {node}: {:?}", self.outputs))
    }

    /// To whom requests went since the outputs were last cleared.
    pub fn asked(&self) -> Vec<i32> {
        let to = |output: &Output| match output {
            Output::Send { to: Peer::Node(id), .. } => Some(id.0),
            _ => None,
        };
        self.outputs.iter().filter_map(to).collect()
    }

    /// The answers since this was last asked.
    pub fn replies(&mut self) -> Vec<Response> {
        let mut replies = Vec::new();
        self.outputs.retain(|output| match output {
            Output::Reply { response, .. } => {
                replies.push(response.clone());
                false
            }
            _ => true,
        });
        replies
    }

    #[allow(clippy::too_many_arguments, reason = "a response has that many parts")]
    pub fn respond(
        &mut self,
        from: Peer,
        correlation: u64,
        epoch: i32,
        leader: Option<i32>,
        refusal: Option<Refusal>,
        answer: Answer,
    ) {
        let response = self.response(epoch, leader, refusal, answer);
        self.step(Input::Response { from, correlation, response });
    }

    pub fn response(
        &self,
        epoch: i32,
        leader: Option<i32>,
        refusal: Option<Refusal>,
        answer: Answer,
    ) -> Response {
        let leader = leader.map(NodeId);
        Response { refusal, leader, epoch: LeaderEpoch(epoch), endpoints: Vec::new(), answer }
    }
}

fn open(disk: &MemoryDisk, config: &RaftConfig, now: Now) -> Result<Raft, DiskError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = open_log(&disk, Path::new(DIR), log_config(1 << 20, 1 << 40), OpenHint::NOTHING, now)?;
    Raft::open(config.clone(), log, disk, 1, now)
}

fn formatted_disk() -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new("/d")).and_then(|()| disk.sync_dir(Path::new("/"))).expect("folder");
    disk
}

fn config(id: i32) -> RaftConfig {
    let voters = Voters::new((1..=3).map(|id| {
        let endpoint = Endpoint { listener: "C".to_owned(), host: format!("n{id}"), port: 1 };
        (NodeId(id), Voter { directory: Uuid::ZERO, endpoints: vec![endpoint], kraft_versions: (0, 1) })
    }));
    let mut config = RaftConfig::new(DIR, key(id), voters);
    config.cluster_id = Some("ours".to_owned());
    config
}

/// The key of a node.
pub fn key(id: i32) -> ReplicaKey {
    ReplicaKey { id: NodeId(id), directory: Uuid([id.cast_unsigned().to_be_bytes()[3] | 0x40; 16]) }
}

/// Where a log ends.
pub fn end(offset: i64, epoch: i32) -> OffsetAndEpoch {
    OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(epoch) }
}

/// A Vote for whoever gets it.
pub fn vote(ballot: Ballot, log_end: OffsetAndEpoch) -> Ask {
    Ask::Vote { voter: None, log_end, ballot }
}

/// An answer to a fetch with nothing in it.
pub fn empty_fetch() -> Answer {
    Answer::empty_for(&FETCH)
}

/// A batch of data records as it comes from a leader.
pub fn batch(base: i64, epoch: i32, values: &[&str]) -> Bytes {
    let values: Vec<Bytes> = values.iter().map(|value| Bytes::copy_from_slice(value.as_bytes())).collect();
    of_data(&values, 1).expect("batch").at(Offset(base), LeaderEpoch(epoch)).to_bytes()
}

/// The first batch of an epoch.
pub fn control(base: i64, epoch: i32, leader: i32) -> Bytes {
    let leader = NodeId(leader);
    let record = ControlRecord::LeaderChange { leader, voters: vec![leader], granting: vec![leader] };
    of_control(&[record], 1).expect("batch").at(Offset(base), LeaderEpoch(epoch)).to_bytes()
}
