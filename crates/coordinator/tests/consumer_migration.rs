//! A group in which consumers of the classic and of the consumer protocol come and go: it becomes the one and the other
//! (KIP-848), and at each moment every partition is with at most one of them.
//!
//! Classic consumers are eager, and give everything back before they join; or cooperative, and go on with what they have
//! until they are told otherwise. Their leader deals the partitions out. The first of each kind bears a static name, the
//! same one: it is one consumer that is started with the one protocol and with the other (KIP-345).

mod consumer;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consumer::client::{Client, Owned, SESSION_US, Wish};
use consumer::cluster::Cluster;
use consumer::host::{Host, Outcome};
use consumer::tell;
use ottla_coordinator::group::{Caller, Command, Reply};
use ottla_protocol::messages::join_group::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group::MemberIdentity;
use ottla_protocol::messages::sync_group::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest,
    SyncGroupRequest,
};
use ottla_protocol::records::consumer_protocol::consumer_protocol_subscription::TopicPartition;
use ottla_protocol::records::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::records::{decode_versioned, encode_versioned};
use ottla_protocol::{Refusal, TopicId};
use proptest::prelude::*;

const TOPICS: [(&str, i32); 2] = [("t1", 5), ("t2", 3)];

/// A classic consumer as it sees itself.
#[derive(Debug, Default)]
struct Classic {
    id: String,
    instance: Option<String>,
    stage: Stage,
    generation: i32,
    /// Whom the leader has to give something, with what they have said.
    members: Vec<(String, Bytes)>,
    owned: Owned,
    /// The request whose answer is awaited.
    waits: Option<u64>,
    sent_us: u64,
    heard_us: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Stage {
    #[default]
    Out,
    ToJoin,
    ToSync,
    There,
}

#[derive(Clone, Debug)]
enum Event {
    Start(usize),
    Act(usize),
    ActLost(usize),
    ActRefused(usize),
    Settle(usize),
    Leave(usize),
    StartClassic(usize),
    ActClassic(usize),
    ActClassicLost(usize),
    LeaveClassic(usize),
    Wait(u64),
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let one = 0..3_usize;
    prop_oneof![
        3 => one.clone().prop_map(Event::Start),
        8 => one.clone().prop_map(Event::Act),
        1 => one.clone().prop_map(Event::ActLost),
        1 => one.clone().prop_map(Event::ActRefused),
        4 => one.clone().prop_map(Event::Settle),
        2 => one.clone().prop_map(Event::Leave),
        4 => one.clone().prop_map(Event::StartClassic),
        14 => one.clone().prop_map(Event::ActClassic),
        1 => one.clone().prop_map(Event::ActClassicLost),
        2 => one.prop_map(Event::LeaveClassic),
        8 => (1..9_000_u64).prop_map(Event::Wait),
        1 => Just(Event::Wait(46_000)),
        1 => Just(Event::Restart),
    ]
}

struct World {
    cluster: Cluster,
    host: Host,
    modern: Vec<Client>,
    classic: Vec<Classic>,
    manners: Manners,
}

/// When classic consumers give back what they have.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manners {
    Eager,
    Cooperative,
}

fn caller(version: i16) -> Caller {
    Caller { client_id: "c".into(), client_host: "/127.0.0.1".into(), version }
}

impl World {
    fn new(manners: Manners) -> Self {
        let mut cluster = Cluster::default();
        cluster.brokers(&["a", "b"]);
        for (name, partitions) in TOPICS {
            cluster.create(name, partitions);
        }
        let delay = ("group.initial.rebalance.delay.ms".to_owned(), "1000".to_owned());
        let host = Host::new(BTreeMap::from([delay]), &cluster.image);
        let client = |number: usize| Client {
            id: format!("new{number}"),
            instance: instance(number),
            epoch: None,
            wish: Wish::Names(TOPICS.iter().map(|(name, _)| (*name).to_owned()).collect()),
            owned: Owned::new(),
            told: None,
            full: true,
            heard_us: 0,
        };
        let classic = (0..3).map(Classic::new).collect();
        Self { cluster, host, modern: (0..3).map(client).collect(), classic, manners }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Start(at) => {
                let is_other = *at == 0 && self.classic[0].stage != Stage::Out;
                if self.modern[*at].epoch.is_none() && !is_other {
                    self.modern[*at].epoch = Some(0);
                    self.modern[*at].heard_us = self.host.now.monotonic_us;
                }
            }
            Event::Act(at) => self.act(*at, true),
            Event::ActLost(at) => self.act(*at, false),
            Event::ActRefused(at) => {
                self.host.refuses = true;
                self.act(*at, true);
                self.host.refuses = false;
            }
            Event::Settle(at) => self.modern[*at].settle(),
            Event::Leave(at) => self.leave(*at),
            Event::StartClassic(at) => {
                let is_other = *at == 0 && self.modern[0].epoch.is_some();
                if self.classic[*at].stage == Stage::Out && !is_other {
                    self.classic[*at].stage = Stage::ToJoin;
                    self.classic[*at].heard_us = self.host.now.monotonic_us;
                }
            }
            Event::ActClassic(at) => self.act_classic(*at),
            Event::ActClassicLost(at) => {
                self.act_classic(*at);
                // It hears nothing, and asks again.
                self.classic[*at].waits = None;
                self.classic[*at].rejoin(self.manners);
            }
            Event::LeaveClassic(at) => self.leave_classic(*at),
            Event::Wait(ms) => {
                for _ in 0..ms.div_ceil(1000) {
                    for (_, outcome) in self.host.wait(&self.cluster.image, 1000.min(*ms)) {
                        self.hear(outcome);
                    }
                    self.expire();
                }
            }
            Event::Restart => {
                let outcome = self.host.restart(&self.cluster.image);
                self.hear(outcome);
            }
        }
        self.expire();
        self.check_owners();
    }

    fn expire(&mut self) {
        let now_us = self.host.now.monotonic_us;
        for client in self.modern.iter_mut().filter(|client| client.epoch.is_some()) {
            if now_us >= client.heard_us + SESSION_US {
                client.start_anew();
                client.heard_us = now_us;
            }
        }
        for client in self.classic.iter_mut().filter(|client| client.stage != Stage::Out) {
            let has_something = !client.owned.is_empty() || client.waits.is_none();
            if has_something && now_us >= client.heard_us + SESSION_US {
                client.lose_all();
                client.heard_us = now_us;
            }
        }
    }

    fn ask(&mut self, command: Command) -> (u64, Option<Reply>) {
        let (number, mut outcome) = self.host.ask(&self.cluster.image, command);
        let at = outcome.replies.iter().position(|(ticket, _)| *ticket == number);
        let reply = at.map(|at| outcome.replies.remove(at).1);
        self.hear(outcome);
        (number, reply)
    }

    fn act(&mut self, at: usize, hears: bool) {
        let Some(epoch) = self.modern[at].epoch else { return };
        let sent_us = self.host.now.monotonic_us;
        let request = self.modern[at].request(epoch);
        self.modern[at].full = true;
        let (_, reply) = self.ask(Command::ConsumerHeartbeat(caller(1), request));
        match reply {
            Some(Reply::ConsumerHeartbeat(response)) if hears => {
                self.modern[at].full = false;
                self.modern[at].hear(&response, sent_us);
            }
            Some(Reply::ConsumerHeartbeat(_) | Reply::Refused(Refusal::NotCoordinator)) => {}
            other => panic!("{other:?}"),
        }
    }

    fn leave(&mut self, at: usize) {
        let client = &mut self.modern[at];
        if client.epoch.is_none_or(|epoch| epoch == 0) {
            return;
        }
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: client.id.clone(),
            member_epoch: if client.instance.is_some() { -2 } else { -1 },
            instance_id: client.instance.clone(),
            ..Default::default()
        };
        client.start_anew();
        client.epoch = None;
        self.ask(Command::ConsumerHeartbeat(caller(1), request));
    }

    fn act_classic(&mut self, at: usize) {
        let client = &self.classic[at];
        if client.waits.is_some() {
            return;
        }
        let group_id = "g".to_owned();
        let member_id = client.id.clone();
        let group_instance_id = client.instance.clone();
        let command = match client.stage {
            Stage::Out => return,
            Stage::ToJoin => Command::Join(
                caller(9),
                JoinGroupRequest {
                    group_id,
                    member_id,
                    group_instance_id,
                    session_timeout_ms: 45_000,
                    rebalance_timeout_ms: 60_000,
                    protocol_type: "consumer".into(),
                    protocols: vec![JoinGroupRequestProtocol {
                        name: "deal".into(),
                        metadata: subscription(&self.cluster, &client.owned),
                    }],
                    ..Default::default()
                },
            ),
            Stage::ToSync => Command::Sync(
                caller(5),
                SyncGroupRequest {
                    group_id,
                    member_id,
                    generation_id: client.generation,
                    group_instance_id,
                    protocol_type: Some("consumer".into()),
                    protocol_name: Some("deal".into()),
                    assignments: deal(&client.members),
                },
            ),
            Stage::There => Command::Heartbeat(
                caller(4),
                HeartbeatRequest { group_id, member_id, generation_id: client.generation, group_instance_id },
            ),
        };
        let sent_us = self.host.now.monotonic_us;
        self.classic[at].sent_us = sent_us;
        let (number, reply) = self.ask(command);
        self.classic[at].waits = Some(number);
        if let Some(reply) = reply {
            self.hear_classic(at, &reply);
        }
    }

    fn leave_classic(&mut self, at: usize) {
        let member_id = self.classic[at].id.clone();
        if self.classic[at].stage == Stage::Out || (member_id.is_empty() && at != 0) {
            return;
        }
        self.classic[at] = Classic::new(at);
        if at == 0 {
            // A static one says nothing.
            return;
        }
        let member = MemberIdentity { member_id, group_instance_id: None, reason: None };
        let request = LeaveGroupRequest { group_id: "g".into(), members: vec![member], ..Default::default() };
        self.ask(Command::Leave(caller(5), request));
    }

    /// Replies that come later go to who waits for them.
    fn hear(&mut self, outcome: Outcome) {
        for (number, reply) in outcome.replies {
            if let Some(at) = self.classic.iter().position(|client| client.waits == Some(number)) {
                self.hear_classic(at, &reply);
            }
        }
    }

    fn hear_classic(&mut self, at: usize, reply: &Reply) {
        let (image, manners) = (&self.cluster.image, self.manners);
        let client = &mut self.classic[at];
        client.waits = None;
        if keeps_alive(reply) {
            client.heard_us = client.sent_us;
        }
        match reply {
            Reply::Join(response) => match Refusal::from_code(response.error_code) {
                None => {
                    client.id.clone_from(&response.member_id);
                    client.generation = response.generation_id;
                    let members = response.members.iter();
                    client.members =
                        members.map(|member| (member.member_id.clone(), member.metadata.clone())).collect();
                    client.stage = Stage::ToSync;
                    client.heard_us = self.host.now.monotonic_us;
                }
                Some(Refusal::MemberIdRequired) => client.id.clone_from(&response.member_id),
                Some(refusal) => client.refused(refusal, manners),
            },
            Reply::Sync(response) if response.error_code == 0 => {
                let given = decode_versioned::<ConsumerProtocolAssignment>(&response.assignment);
                let given = given.map(|(given, _)| given.assigned_partitions).unwrap_or_default();
                let owned = given.iter().flat_map(|topic| {
                    let id = image.topics.named(&topic.topic).unwrap().id;
                    topic.partitions.iter().map(move |number| (id, *number))
                });
                let before = std::mem::replace(&mut client.owned, owned.collect());
                // Who has given something back joins again, so that others get it.
                let gave_back = !before.is_subset(&client.owned);
                client.stage = if gave_back { Stage::ToJoin } else { Stage::There };
            }
            Reply::Sync(response) => {
                client.refused(Refusal::from_code(response.error_code).unwrap(), manners)
            }
            Reply::Heartbeat(response) => {
                if let Some(refusal) = Refusal::from_code(response.error_code) {
                    client.refused(refusal, manners);
                }
            }
            Reply::Refused(refusal) => client.refused(*refusal, manners),
            other => panic!("{other:?}"),
        }
    }

    fn check_owners(&self) {
        let mut owners: BTreeMap<(TopicId, i32), &str> = BTreeMap::new();
        let modern = self.modern.iter().map(|client| (&*client.id, &client.owned));
        let classic = self.classic.iter().map(|client| (&*client.id, &client.owned));
        for (id, owned) in modern.chain(classic) {
            for partition in owned {
                let other = owners.insert(*partition, id);
                assert_eq!(
                    other, None,
                    "{partition:?} has two owners: {:?}, {:?}",
                    self.modern, self.classic
                );
            }
        }
    }

    fn everything(&self) -> Vec<(bool, Owned)> {
        let modern = self.modern.iter().map(|client| (client.epoch.is_some(), client.owned.clone()));
        let classic = self.classic.iter().map(|client| (client.stage == Stage::There, client.owned.clone()));
        modern.chain(classic).collect()
    }

    /// Everybody does what he has to, until nothing moves.
    fn settle(&mut self) {
        let mut quiet_rounds = 0;
        for _ in 0..200 {
            let before = self.everything();
            for at in 0..3 {
                self.happen(&Event::Act(at));
                self.happen(&Event::Settle(at));
                self.happen(&Event::ActClassic(at));
            }
            self.happen(&Event::Wait(2000));
            let is_quiet = before == self.everything()
                && self.classic.iter().all(|client| matches!(client.stage, Stage::Out | Stage::There))
                && self.modern.iter().all(|client| client.epoch != Some(0));
            quiet_rounds = if is_quiet { quiet_rounds + 1 } else { 0 };
            // Those who were lost on the way are given up after a session, or a rebalance.
            if quiet_rounds == 40 {
                return;
            }
        }
        panic!("no quiet: {:?} {:?}", self.modern, self.classic);
    }

    fn check_quiet(&mut self) {
        let modern = self.modern.iter().filter(|client| client.epoch.is_some()).count();
        let classic = self.classic.iter().filter(|client| client.stage == Stage::There).count();
        let owned: BTreeSet<(TopicId, i32)> =
            self.everything().into_iter().flat_map(|(_, owned)| owned).collect();
        let all = if modern + classic == 0 { 0 } else { 8 };
        assert_eq!(owned.len(), all, "{modern} and {classic}");
        let (_, reply) = self.ask(Command::List(ListGroupsRequest::default()));
        let Some(Reply::List(groups)) = reply else { panic!("{reply:?}") };
        let Some(group) = groups.first() else { return };
        let state = (&*group.group_type, &*group.group_state);
        match (modern, classic) {
            (0, 0) => assert_eq!(group.group_state, "Empty"),
            (0, _) => assert_eq!(state, ("classic", "Stable")),
            _ => assert_eq!(state, ("consumer", "Stable")),
        }
    }
}

/// Whether the reply says that the session goes on. A SyncGroup that only asks again does not.
fn keeps_alive(reply: &Reply) -> bool {
    match reply {
        Reply::Join(response) => response.error_code == 0,
        Reply::Heartbeat(response) => [0, Refusal::RebalanceInProgress.code()].contains(&response.error_code),
        _ => false,
    }
}

/// Who bears a static name.
fn instance(number: usize) -> Option<String> {
    (number == 0).then(|| "static".to_owned())
}

impl Classic {
    fn new(number: usize) -> Self {
        Self { instance: instance(number), ..Self::default() }
    }

    fn lose_all(&mut self) {
        self.owned.clear();
        self.waits = None;
        if self.stage != Stage::Out {
            self.stage = Stage::ToJoin;
        }
    }

    fn rejoin(&mut self, manners: Manners) {
        if manners == Manners::Eager {
            self.owned.clear();
        }
        if self.stage != Stage::Out {
            self.stage = Stage::ToJoin;
        }
    }

    fn refused(&mut self, refusal: Refusal, manners: Manners) {
        match refusal {
            Refusal::RebalanceInProgress | Refusal::NotCoordinator => self.rejoin(manners),
            Refusal::UnknownMemberId | Refusal::FencedInstanceId => {
                self.lose_all();
                self.id.clear();
            }
            Refusal::IllegalGeneration => self.lose_all(),
            other => panic!("{other:?}"),
        }
    }
}

fn subscription(cluster: &Cluster, owned: &Owned) -> Bytes {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, number) in owned {
        topics.entry(cluster.name(*topic)).or_default().push(*number);
    }
    let topic =
        |(topic, partitions): (&str, Vec<i32>)| TopicPartition { topic: topic.to_owned(), partitions };
    let subscription = ConsumerProtocolSubscription {
        topics: TOPICS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        user_data: None,
        owned_partitions: topics.into_iter().map(topic).collect(),
        generation_id: -1,
        rack_id: None,
    };
    encode_versioned(&subscription, 1).unwrap()
}

/// Everything to everybody in turn; but what one has said that he has, no other gets before he has given it back.
fn deal(members: &[(String, Bytes)]) -> Vec<SyncGroupRequestAssignment> {
    let all: Vec<(&str, i32)> =
        TOPICS.iter().flat_map(|(name, count)| (0..*count).map(move |number| (*name, number))).collect();
    let mut owners: BTreeMap<(String, i32), usize> = BTreeMap::new();
    for (at, (_, metadata)) in members.iter().enumerate() {
        let (said, _) = decode_versioned::<ConsumerProtocolSubscription>(metadata).unwrap();
        for topic in said.owned_partitions {
            for number in topic.partitions {
                owners.insert((topic.topic.clone(), number), at);
            }
        }
    }
    let of = |at: usize| {
        let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (name, number) in all.iter().skip(at).step_by(members.len()) {
            if owners.get(&((*name).to_owned(), *number)).is_none_or(|owner| *owner == at) {
                topics.entry((*name).to_owned()).or_default().push(*number);
            }
        }
        topics.into_iter().collect()
    };
    let assignment = |(at, (member_id, _)): (usize, &(String, Bytes))| SyncGroupRequestAssignment {
        member_id: member_id.clone(),
        assignment: tell::assignment(of(at), None),
    };
    members.iter().enumerate().map(assignment).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Default::default()
    })]

    #[test]
    fn a_group_changes_its_protocol_and_nobody_loses_anything(
        events in prop::collection::vec(event(), 1..150),
        manners in prop_oneof![Just(Manners::Eager), Just(Manners::Cooperative)],
    ) {
        let mut world = World::new(manners);
        for event in &events {
            world.happen(event);
        }
        world.settle();
        world.check_quiet();
    }
}
