//! A made-up network of brokers, and what a cluster makes of it.

use std::collections::BTreeMap;

use ottla_protocol::codec::{Reader, Writer};
use ottla_protocol::header::{RequestHeader, ResponseHeader};
use ottla_protocol::messages::api_versions::ApiVersion;
use ottla_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::messages::{
    ApiVersionsResponse, ListGroupsRequest, ListGroupsResponse, MetadataResponse,
};
use ottla_protocol::{ApiKey, Message, Refusal};

use super::*;
use crate::operation::{Ask, Operation, Outcome, Running, Turn};
use crate::settings::Properties;

/// A network in which brokers listen at ports 9000 + id and answer three kinds of request; one of them is bootstrap.
struct Net {
    now: Now,
    cluster: Cluster,
    /// Ports nobody listens at.
    down: Vec<u16>,
    brokers: Vec<i32>,
    controller: i32,
    leader: (i32, i32),
    links: BTreeMap<Link, u16>,
    /// Every request that arrived: port and API.
    seen: Vec<(u16, ApiKey)>,
    attempts: Vec<u16>,
    /// Ports whose brokers take requests and answer nothing.
    mute: Vec<u16>,
    done: Vec<Finished>,
}

impl Net {
    fn new(bootstrap: &str, brokers: &[i32]) -> Self {
        let mut properties = Properties::default();
        properties.set("bootstrap.servers", bootstrap);
        properties.set("request.timeout.ms", "1000");
        let settings = Settings::from_properties(&properties).unwrap();
        Self {
            now: Now { monotonic_us: 1_000_000, wall_ms: 0 },
            cluster: Cluster::new(settings, 42),
            down: Vec::new(),
            brokers: brokers.to_vec(),
            controller: brokers[0],
            leader: (brokers[0], 1),
            links: BTreeMap::new(),
            seen: Vec::new(),
            attempts: Vec::new(),
            mute: Vec::new(),
            done: Vec::new(),
        }
    }

    fn call(&mut self, target: Target) -> Ticket {
        let give_up = self.now.after_ms(5000);
        self.cluster.submit(self.now, target, Call::new(ListGroupsRequest::default()), give_up)
    }

    /// Carries out what the cluster wants until it wants nothing more.
    fn settle(&mut self) {
        while let Some(output) = self.cluster.poll() {
            match output {
                Output::Connect { link, address } => {
                    self.attempts.push(address.port);
                    if self.down.contains(&address.port) {
                        self.cluster.disconnected(self.now, link, "refused");
                    } else {
                        self.links.insert(link, address.port);
                        self.cluster.connected(self.now, link);
                    }
                }
                Output::Send { link, frame } => {
                    let port = self.links[&link];
                    let answer = self.answer(port, frame.slice(4..));
                    if !self.mute.contains(&port) {
                        self.cluster.frame(self.now, link, answer);
                    }
                }
                Output::Close { link } => {
                    self.links.remove(&link);
                }
                Output::Done(finished) => self.done.push(finished),
            }
        }
    }

    /// Lets the time pass, stepping whenever the cluster wants to be stepped.
    fn pass(&mut self, ms: i64) {
        let end = self.now.after_ms(ms);
        self.settle();
        while let Some(due) = self.cluster.deadline().filter(|due| *due <= end) {
            // A deadline that has passed already would be a busy loop in the shell.
            assert!(due.0 > self.now.monotonic_us, "{due:?} is not ahead of {:?}", self.now);
            self.now.monotonic_us = due.0;
            self.cluster.step(self.now);
            self.settle();
        }
        self.now.monotonic_us = end.0;
    }

    fn lose(&mut self, port: u16) {
        let lost: Vec<Link> =
            self.links.iter().filter(|(_, at)| **at == port).map(|(link, _)| *link).collect();
        for link in lost {
            self.links.remove(&link);
            self.cluster.disconnected(self.now, link, "cut");
        }
    }

    fn answer(&mut self, port: u16, frame: Bytes) -> Bytes {
        let (code, version) = RequestHeader::peek(&frame).unwrap();
        let key = ApiKey::from_code(code).unwrap();
        self.seen.push((port, key));
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader, key.request_header_version(version)).unwrap();
        let mut writer = Writer::new();
        let head = ResponseHeader { correlation_id: header.correlation_id };
        head.encode(&mut writer, key.response_header_version(version)).unwrap();
        match key {
            ApiKey::ApiVersions => self.versions().encode(&mut writer, version),
            ApiKey::Metadata => self.metadata().encode(&mut writer, version),
            _ => ListGroupsResponse::default().encode(&mut writer, version),
        }
        .unwrap();
        writer.into_bytes().freeze()
    }

    fn versions(&self) -> ApiVersionsResponse {
        let row = |key: &ApiKey| ApiVersion {
            api_key: key.code(),
            min_version: key.min_version(),
            max_version: key.max_version(),
        };
        ApiVersionsResponse { api_keys: ApiKey::ALL.iter().map(row).collect(), ..Default::default() }
    }

    fn metadata(&self) -> MetadataResponse {
        let broker = |id: &i32| MetadataResponseBroker {
            node_id: *id,
            host: "h".to_owned(),
            port: 9000 + id,
            rack: None,
        };
        let partition = MetadataResponsePartition {
            leader_id: self.leader.0,
            leader_epoch: self.leader.1,
            ..Default::default()
        };
        let topic = MetadataResponseTopic {
            name: Some("t".to_owned()),
            partitions: vec![partition],
            ..Default::default()
        };
        MetadataResponse {
            brokers: self.brokers.iter().map(broker).collect(),
            controller_id: self.controller,
            topics: vec![topic],
            ..Default::default()
        }
    }

    fn ports_of(&self, key: ApiKey) -> Vec<u16> {
        self.seen.iter().filter(|(_, k)| *k == key).map(|(port, _)| *port).collect()
    }
}

#[test]
fn a_call_for_anybody_goes_to_the_bootstrap_address() {
    let mut net = Net::new("h:9001", &[1, 2]);
    let ticket = net.call(Target::Any);
    net.settle();
    assert_eq!(net.ports_of(ApiKey::ListGroups), [9001]);
    assert_eq!(net.done[0].ticket, ticket);
    assert!(net.done[0].outcome.is_ok());
}

#[test]
fn a_call_for_a_node_or_the_controller_waits_for_metadata() {
    let mut net = Net::new("h:9001", &[1, 2]);
    net.controller = 2;
    net.call(Target::Node(2));
    net.call(Target::Controller);
    net.pass(200);
    assert_eq!(net.ports_of(ApiKey::ListGroups), [9002, 9002]);
    assert_eq!(net.done.len(), 2);
}

#[test]
fn a_node_nobody_knows_is_an_error_and_a_reason_to_look_again() {
    let mut net = Net::new("h:9001", &[1, 2]);
    net.call(Target::Node(7));
    net.pass(2000);
    assert!(matches!(net.done[0].outcome, Err(ClientError::Disconnected(_))));
    net.brokers.push(7);
    net.call(Target::Node(7));
    net.pass(2000);
    net.call(Target::Node(7));
    net.pass(2000);
    assert!(net.done[2].outcome.is_ok(), "{:?}", net.done);
}

#[test]
fn the_next_bootstrap_address_is_tried_and_in_the_end_the_call_times_out() {
    let mut net = Net::new("h:9008,h:9001", &[1]);
    net.down = vec![9008];
    net.call(Target::Any);
    net.pass(1000);
    assert!(net.done[0].outcome.is_ok());
    net.down = vec![9008, 9001];
    net.lose(9001);
    net.call(Target::Any);
    let attempts = net.attempts.len();
    net.pass(10_000);
    let tried = net.attempts.len() - attempts;
    assert!((8..40).contains(&tried), "{tried} attempts in 5 s");
    match &net.done[1].outcome {
        Err(ClientError::TimedOut(why)) => {
            assert_eq!(why, "Timed out waiting for a node assignment. Call: ListGroups");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broker_that_is_not_there_is_complained_of_once_a_second() {
    let mut peer = Peer::new(Address { host: "a".to_owned(), port: 9001 });
    let at = |ms: u64| Now { monotonic_us: ms * 1000, wall_ms: 0 };
    let told: Vec<u64> = (0..3000).step_by(50).filter(|ms| peer.may_complain(at(*ms))).collect();
    assert_eq!(told, [0, 1000, 2000]);
}

#[test]
fn a_call_for_a_certain_node_fails_with_its_connection() {
    let mut net = Net::new("h:9001", &[1, 2]);
    net.call(Target::Node(2));
    net.pass(100);
    net.mute = vec![9002];
    net.call(Target::Node(2));
    net.settle();
    net.lose(9002);
    net.settle();
    assert!(matches!(net.done[1].outcome, Err(ClientError::Disconnected(_))));
}

#[test]
fn a_mute_broker_is_given_up_after_the_request_timeout() {
    let mut net = Net::new("h:9001", &[1]);
    net.call(Target::Any);
    net.pass(100);
    net.mute = vec![9001];
    net.call(Target::Any);
    net.pass(999);
    assert_eq!(net.done.len(), 1);
    net.pass(2);
    assert!(matches!(net.done[1].outcome, Err(ClientError::Disconnected(_))));
    assert!(net.links.is_empty() || net.attempts.len() > 1);
}

#[test]
fn bootstrap_comes_back_when_no_known_node_can_be_reached() {
    let mut net = Net::new("h:9005", &[1]);
    net.brokers = vec![1];
    net.call(Target::Node(1));
    net.pass(100);
    assert!(net.attempts.contains(&9001));
    // The cluster has moved: node 1 is gone, what answers at the bootstrap address knows node 5.
    net.lose(9001);
    net.lose(9005);
    net.down = vec![9001];
    net.brokers = vec![5];
    net.controller = 5;
    net.call(Target::Any);
    net.pass(5000);
    assert!(net.done[1].outcome.is_ok(), "{:?}", net.done);
    assert!(net.cluster.metadata().brokers.contains_key(&5));
}

#[test]
fn watched_topics_are_known_and_a_leader_epoch_does_not_go_back() {
    let mut net = Net::new("h:9001", &[1, 2]);
    net.leader = (2, 7);
    net.cluster.watch(net.now, "t");
    net.pass(100);
    assert_eq!(net.cluster.metadata().leader("t", 0), Some((2, 7)));
    net.leader = (1, 6);
    net.cluster.refresh(net.now);
    net.pass(2000);
    assert_eq!(net.cluster.metadata().leader("t", 0), Some((2, 7)));
    net.cluster.metadata_mut().learn_leader("t", 0, 1, 8);
    assert_eq!(net.cluster.metadata().leader("t", 0), Some((1, 8)));
    net.leader = (2, 9);
    net.cluster.refresh(net.now);
    net.pass(2000);
    assert_eq!(net.cluster.metadata().leader("t", 0), Some((2, 9)));
    assert_eq!(net.cluster.metadata().partition_count("t"), Some(1));
}

#[test]
fn a_topic_without_a_leader_is_asked_for_again_with_growing_pauses() {
    let mut net = Net::new("h:9001", &[1]);
    net.leader = (-1, 3);
    net.cluster.watch(net.now, "t");
    net.pass(5000);
    let asked = net.ports_of(ApiKey::Metadata).len();
    assert!((5..15).contains(&asked), "{asked} times in 5 s");
    net.leader = (1, 4);
    net.pass(2000);
    let asked = net.ports_of(ApiKey::Metadata).len();
    net.pass(60_000);
    assert_eq!(net.ports_of(ApiKey::Metadata).len(), asked);
}

#[test]
fn metadata_is_renewed_when_it_has_grown_old_and_idle_connections_are_closed() {
    let mut net = Net::new("h:9001", &[1]);
    net.cluster.watch(net.now, "t");
    net.pass(1000);
    let asked = net.ports_of(ApiKey::Metadata).len();
    net.pass(301_000);
    assert_eq!(net.ports_of(ApiKey::Metadata).len(), asked + 1);
    net.call(Target::Node(1));
    net.pass(100);
    net.cluster.unwatch("t");
    assert_eq!(net.links.values().filter(|port| **port == 9001).count(), 2);
    net.pass(541_000);
    assert!(net.links.len() <= 1, "{:?}", net.links);
}

/// Answers once its reply has been refused so many times.
struct Stubborn(u32);

impl Operation for Stubborn {
    type Answer = u32;

    fn name(&self) -> &'static str {
        "stubborn"
    }

    fn calls(&mut self) -> Vec<(Target, Call)> {
        let call = || Call::new(ListGroupsRequest::default());
        vec![(Target::Any, call()), (Target::Node(1), call())]
    }

    fn round(&mut self, outcomes: Vec<Outcome>) -> Turn<u32> {
        assert_eq!(outcomes.len(), 2);
        if self.0 == 0 {
            return Turn::Done(Ok(7));
        }
        self.0 -= 1;
        let refusal = Refusal::NotController;
        Turn::Retry(ApiError { refusal, message: None }.into())
    }
}

fn run<O: Operation>(net: &mut Net, operation: O) -> (Result<O::Answer, ClientError>, u64) {
    let began = net.now.monotonic_us;
    let mut running = Running::start(operation, net.now, &mut net.cluster);
    for _ in 0..10_000 {
        net.settle();
        for finished in std::mem::take(&mut net.done) {
            assert!(running.owns(finished.ticket));
            let Finished { ticket, outcome } = finished;
            if let Some(answer) = running.done(net.now, &mut net.cluster, ticket, outcome) {
                return (answer, (net.now.monotonic_us - began) / 1000);
            }
        }
        let due = [net.cluster.deadline(), running.deadline()].into_iter().flatten().min().unwrap();
        net.now.monotonic_us = net.now.monotonic_us.max(due.0);
        net.cluster.step(net.now);
        if let Some(answer) = running.step(net.now, &mut net.cluster) {
            return (answer, (net.now.monotonic_us - began) / 1000);
        }
    }
    panic!("it never ends");
}

#[test]
fn an_operation_is_tried_again_with_growing_pauses_until_it_is_done() {
    let mut net = Net::new("h:9001", &[1]);
    let (answer, ms) = run(&mut net, Stubborn(4));
    assert_eq!(answer, Ok(7));
    assert!((1000..2500).contains(&ms), "100 + 200 + 400 + 800 ms, more or less: {ms}");
}

#[test]
fn an_operation_ends_at_its_deadline_with_the_last_error() {
    let mut net = Net::new("h:9001", &[1]);
    let (answer, ms) = run(&mut net, Stubborn(u32::MAX));
    assert!((60_000..61_500).contains(&ms), "{ms}");
    let Err(ClientError::TimedOut(why)) = answer else { panic!("{answer:?}") };
    assert!(why.starts_with("Call stubborn timed out after "), "{why}");
    assert!(why.ends_with("attempt(s): This is not the correct controller for this cluster."), "{why}");
}

#[test]
fn an_operation_nobody_answers_says_so() {
    let mut net = Net::new("h:9001", &[1]);
    net.down = vec![9001];
    let request = ListGroupsRequest::default();
    let (answer, _) = run(&mut net, Ask::new("listGroups", Target::Any, request, |_| Ok(())));
    let why = "Timed out waiting for a node assignment. Call: listGroups".to_owned();
    assert_eq!(answer, Err(ClientError::TimedOut(why)));
}

#[test]
fn a_coordinator_has_a_connection_of_its_own_that_nobody_else_is_given() {
    let mut net = Net::new("h:9001", &[1, 2]);
    net.call(Target::Node(1));
    net.pass(100);
    let before = net.attempts.len();
    net.call(Target::Coordinator(1));
    net.call(Target::Coordinator(1));
    net.pass(100);
    assert_eq!(net.attempts[before..], [9001], "one more connection to the same broker, and only one");
    // What is asked there may take long: neither the node's other calls nor those for anybody wait for it.
    let done = net.done.len();
    net.mute.push(9001);
    net.call(Target::Coordinator(1));
    net.settle();
    net.mute.clear();
    let (own, any) = (net.call(Target::Node(1)), net.call(Target::Any));
    net.settle();
    let answered: Vec<Ticket> = net.done[done..].iter().map(|done| done.ticket).collect();
    assert!(answered.contains(&own) && answered.contains(&any), "{answered:?}");
    // A node that is none coordinates nothing.
    let lost = net.call(Target::Coordinator(7));
    net.pass(100);
    let end = net.done.iter().find(|done| done.ticket == lost).unwrap();
    assert!(matches!(end.outcome, Err(ClientError::Disconnected(_))));
}
