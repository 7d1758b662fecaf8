//! A client before a broker that answers anything: every call comes to its end, once, and in time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};
use ottla_client::admin::{self, Limit, OffsetSpec};
use ottla_client::cluster::{Cluster, Link, Output, Target as Node};
use ottla_client::operation::{Operation, Running};
use ottla_client::settings::{Properties, Settings};
use ottla_client::{Call, Ticket};
use ottla_protocol::codec::{Reader, Writer};
use ottla_protocol::messages::api_versions::ApiVersion;
use ottla_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::messages::{ApiVersionsResponse, ListGroupsRequest, MetadataRequest, MetadataResponse};
use ottla_protocol::{ApiKey, Message, Now, Request};

use crate::metadata::{joined, pieces};
use crate::{Heap, Target};

/// What happens on the connections, one thing after the other, each behind its length in two bytes: a byte for what it
/// is, then a response's bytes.
pub const ANSWERS: Target = Target {
    name: "client",
    run,
    seeds,
    mutations: 800,
    heap: Heap { per_byte: 16 << 10, besides: 16 << 20 },
};

/// The longest a call may take once nobody answers any more, in s: the operation's deadline and a request's, with
/// room to spare.
const PATIENCE_S: usize = 40;

/// Rounds of one thing that happens; a client that always has something more to say loops.
const BUSY_MAX: usize = 2000;

struct World {
    now: Now,
    cluster: Cluster,
    /// Requests that wait for an answer, oldest first: connection and correlation id.
    asked: VecDeque<(Link, i32)>,
    open: BTreeSet<Link>,
    connect: Vec<Link>,
    loose: BTreeSet<Ticket>,
    operations: Vec<Box<dyn Question>>,
}

trait Question {
    fn done(&mut self, now: Now, cluster: &mut Cluster, ticket: Ticket, outcome: &mut Option<Outcome>);
    fn step(&mut self, now: Now, cluster: &mut Cluster);
    fn is_over(&self) -> bool;
}

type Outcome = ottla_client::operation::Outcome;

struct Asking<O> {
    running: Running<O>,
    over: bool,
}

impl<O: Operation> Question for Asking<O> {
    fn done(&mut self, now: Now, cluster: &mut Cluster, ticket: Ticket, outcome: &mut Option<Outcome>) {
        if self.running.owns(ticket) {
            let outcome = outcome.take().expect("one operation owns a call");
            self.over |= self.running.done(now, cluster, ticket, outcome).is_some();
        }
    }

    fn step(&mut self, now: Now, cluster: &mut Cluster) {
        self.over |= !self.over && self.running.step(now, cluster).is_some();
    }

    fn is_over(&self) -> bool {
        self.over
    }
}

impl World {
    fn new() -> Self {
        let mut properties = Properties::default();
        properties.set("bootstrap.servers", "a:1,b:2");
        properties.set("request.timeout.ms", "1000");
        properties.set("default.api.timeout.ms", "5000");
        let settings = Settings::from_properties(&properties).expect("plain settings");
        let mut world = Self {
            now: Now { monotonic_us: 1_000_000, wall_ms: 0 },
            cluster: Cluster::new(settings, 42),
            asked: VecDeque::new(),
            open: BTreeSet::new(),
            connect: Vec::new(),
            loose: BTreeSet::new(),
            operations: Vec::new(),
        };
        world.cluster.watch(world.now, "t");
        world.ask(admin::list_topics());
        world.ask(admin::describe_topics(vec!["t".to_owned(), "u".to_owned()], Limit(1)));
        world.ask(admin::list_groups(admin::GroupFilter::default()));
        world.ask(admin::describe_configs(Vec::new()));
        world.ask(admin::list_offsets(BTreeMap::from([(("t".to_owned(), 0), OffsetSpec::MaxTimestamp)])));
        for node in [Node::Any, Node::Controller, Node::Node(1)] {
            let give_up = world.now.after_ms(5000);
            let call = Call::new(ListGroupsRequest::default());
            let ticket = world.cluster.submit(world.now, node, call, give_up);
            world.loose.insert(ticket);
        }
        world.settle();
        world
    }

    fn ask<O: Operation + 'static>(&mut self, operation: O) {
        let running = Running::start(operation, self.now, &mut self.cluster);
        self.operations.push(Box::new(Asking { running, over: false }));
    }

    /// Takes what the client wants until it wants nothing more.
    fn settle(&mut self) {
        for _ in 0..BUSY_MAX {
            let Some(output) = self.cluster.poll() else { return };
            match output {
                Output::Connect { link, .. } => self.connect.push(link),
                Output::Send { link, frame } => {
                    assert!(self.open.contains(&link), "it writes to a connection that is closed");
                    let correlation = frame[8..12].try_into().map(i32::from_be_bytes).expect("four bytes");
                    self.asked.push_back((link, correlation));
                }
                Output::Close { link } => self.forget(link),
                Output::Done(done) => {
                    let mut outcome = Some(done.outcome);
                    for operation in &mut self.operations {
                        if outcome.is_some() {
                            operation.done(self.now, &mut self.cluster, done.ticket, &mut outcome);
                        }
                    }
                    let ours = self.loose.remove(&done.ticket);
                    assert!(ours || outcome.is_none(), "{:?} ends twice", done.ticket);
                }
            }
        }
        panic!("the client never comes to rest");
    }

    fn forget(&mut self, link: Link) {
        self.open.remove(&link);
        self.connect.retain(|other| *other != link);
        self.asked.retain(|(other, _)| *other != link);
    }

    fn happen(&mut self, what: u8, bytes: &[u8]) {
        for link in std::mem::take(&mut self.connect) {
            self.open.insert(link);
            self.cluster.connected(self.now, link);
        }
        self.settle();
        match (what % 6, self.asked.pop_front()) {
            (0..=2, Some((link, correlation))) => {
                // As a broker answers, but for the body.
                let mut frame = BytesMut::from(&correlation.to_be_bytes()[..]);
                frame.extend_from_slice(bytes);
                self.cluster.frame(self.now, link, frame.freeze());
            }
            (3, Some((link, _))) => self.cluster.frame(self.now, link, Bytes::copy_from_slice(bytes)),
            (4, Some((link, _))) => {
                self.forget(link);
                self.cluster.disconnected(self.now, link, "lost");
            }
            (_, asked) => {
                self.asked.extend(asked);
                self.pass(100_000);
            }
        }
        self.settle();
    }

    fn pass(&mut self, us: u64) {
        self.now.monotonic_us += us;
        self.cluster.step(self.now);
        for operation in &mut self.operations {
            operation.step(self.now, &mut self.cluster);
        }
        self.settle();
    }

    fn is_over(&self) -> bool {
        self.loose.is_empty() && self.operations.iter().all(|operation| operation.is_over())
    }
}

fn run(data: &[u8]) {
    let mut world = World::new();
    for piece in pieces(data) {
        if let [what, bytes @ ..] = piece {
            world.happen(*what, bytes);
        }
    }
    for _ in 0..PATIENCE_S * 10 {
        if world.is_over() {
            return;
        }
        for link in std::mem::take(&mut world.connect) {
            world.cluster.disconnected(world.now, link, "nobody listens");
        }
        world.pass(100_000);
    }
    let open = world.operations.iter().filter(|operation| !operation.is_over()).count();
    panic!("{open} operations and {:?} never end", world.loose);
}

fn seeds() -> Vec<Vec<u8>> {
    let versions = versions();
    let metadata = answer::<MetadataRequest>(&metadata(), true);
    let random = |seed: u64| {
        let mut writer = Writer::new();
        writer.raw(&[0, 0]);
        let response =
            MetadataResponse::decode(&mut Reader::random(seed), MetadataRequest::MAX).expect("random");
        response.encode(&mut writer, MetadataRequest::MAX).expect("a random response");
        writer.into_bytes().to_vec()
    };
    let mut seeds = vec![
        Vec::new(),
        joined([&versions[..], &metadata, &metadata, &metadata, &[3, 0, 0], &metadata]),
        joined([&[4][..], &versions, &metadata, &[4], &versions, &[5], &metadata]),
        joined([&[0, 0, 35][..], &versions, &metadata, &[0, 0, 0], &[0, 0, 0]]),
        joined([&versions[..], &[0, 0xff], &versions, &metadata, &[0, 1, 2, 3]]),
    ];
    seeds.extend(
        (0..6).map(|n| joined([&versions[..], &metadata, &random(n), &random(n + 10), &random(n + 20)])),
    );
    seeds
}

/// A right answer to ApiVersions, as something that happens.
pub fn versions() -> Vec<u8> {
    let rows = ApiKey::ALL.iter().map(|key| ApiVersion {
        api_key: key.code(),
        min_version: key.min_version(),
        max_version: key.max_version(),
    });
    let response = ApiVersionsResponse { api_keys: rows.collect(), ..Default::default() };
    answer::<ottla_protocol::messages::ApiVersionsRequest>(&response, false)
}

/// Two brokers, and a topic of two partitions.
pub fn metadata() -> MetadataResponse {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: 1,
        leader_epoch: 3,
        replica_nodes: vec![1, 2],
        isr_nodes: vec![1],
        ..Default::default()
    };
    let broker = |node_id| MetadataResponseBroker {
        node_id,
        host: "a".to_owned(),
        port: 9000 + node_id,
        ..Default::default()
    };
    let topic = MetadataResponseTopic {
        name: Some("t".to_owned()),
        partitions: vec![partition(0), partition(1)],
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![broker(1), broker(2)],
        controller_id: 1,
        topics: vec![topic],
        ..Default::default()
    }
}

/// An answer as something that happens: the tags of its header, if it has any, and its newest form.
fn answer<R: Request>(response: &R::Response, flexible_header: bool) -> Vec<u8> {
    let mut bytes = vec![0];
    if flexible_header {
        bytes.put_u8(0);
    }
    bytes.extend_from_slice(&response.to_bytes(R::MAX).expect("a right response"));
    bytes
}
