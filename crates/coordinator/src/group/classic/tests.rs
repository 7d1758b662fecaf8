//! Whatever members do in whatever order: each request is answered once and in time, a generation has one leader, one
//! protocol and one assignment, and the log knows what it should.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_metadata::Image;
use ottla_metadata::config::Settings;
use ottla_protocol::messages::join_group::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group::MemberIdentity;
use ottla_protocol::messages::sync_group::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use ottla_protocol::{Now, Offset, Refusal, Ticket};
use proptest::prelude::*;

use super::pending::PENDING_MAX;
use super::{ClassicGroup, State};
use crate::decider::{Around, Decider, Written};
use crate::group::{Caller, Command, Decided, Group, Groups, Record, Reply};

const GROUP: &str = "g";
const CLIENTS: usize = 5;
/// The longest rebalance timeout and the initial delay; nobody waits longer, and some rounding is allowed.
const PATIENCE_US: u64 = (40_000 + 3_000 + 200) * 1000;

#[derive(Clone, Debug)]
enum Step {
    Join {
        client: usize,
        version: i16,
        with_id: bool,
        says: u8,
    },
    Sync {
        client: usize,
        stale: bool,
    },
    Beat {
        client: usize,
    },
    Leave {
        client: usize,
    },
    /// Everybody but one does what a consumer does: joins when told to, syncs when it has joined.
    Behave {
        but: usize,
    },
    /// For a minute everybody behaves but one, which beats and does nothing else.
    Stall {
        client: usize,
    },
    Sleep {
        ms: u64,
    },
    Restart,
    /// The next record is not written.
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        6 => (client.clone(), prop_oneof![Just(2i16), Just(5), Just(9)], any::<bool>(), 0u8..3)
            .prop_map(|(client, version, with_id, says)| Step::Join { client, version, with_id, says }),
        3 => (client.clone(), prop::bool::weighted(0.2)).prop_map(|(client, stale)| Step::Sync { client, stale }),
        2 => client.clone().prop_map(|client| Step::Beat { client }),
        1 => client.clone().prop_map(|client| Step::Leave { client }),
        6 => (0..CLIENTS * 3).prop_map(|but| Step::Behave { but }),
        5 => prop_oneof![0u64..100, 0u64..4_000, 0u64..45_000].prop_map(|ms| Step::Sleep { ms }),
        1 => client.clone().prop_map(|client| Step::Stall { client }),
        1 => Just(Step::Restart),
        1 => Just(Step::Lose),
    ]
}

/// What a client knows of itself.
#[derive(Clone, Debug, Default)]
struct Client {
    id: String,
    generation: i32,
    leads: Option<Vec<String>>,
    joining: bool,
    syncing: bool,
    synced: bool,
    says: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Join,
    /// In this generation, in the name of this member.
    Sync(i32, String),
    Other,
}

struct World {
    groups: Groups,
    image: Image,
    now: Now,
    log: Vec<Record>,
    clients: Vec<Client>,
    tickets: u64,
    /// Who asked what, and when.
    open: BTreeMap<u64, (usize, Asked, u64)>,
    loses: bool,
    /// Leader and protocol of each generation that was announced since the last restart.
    generations: BTreeMap<i32, (String, String)>,
    /// What leaders have sent, by generation and member; only what was written counts.
    assigned: BTreeMap<(i32, String), Bytes>,
}

fn settings() -> Settings {
    Settings::default()
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            groups: Groups::new(settings(), 7),
            image: Image::default(),
            now: Now { monotonic_us: 5_000_000, wall_ms: 1_000_000 },
            log: Vec::new(),
            clients: vec![Client::default(); CLIENTS],
            tickets: 0,
            open: BTreeMap::new(),
            loses: false,
            generations: BTreeMap::new(),
            assigned: BTreeMap::new(),
        };
        world.groups.loaded(Around { now: world.now, image: &world.image });
        world
    }

    fn group(&self) -> Option<&ClassicGroup> {
        match self.groups.groups.get(GROUP) {
            Some(Group::Classic(group)) => Some(group),
            _ => None,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Join { client, version, with_id, says } => {
                self.clients[client].says = says;
                let id = if with_id { self.clients[client].id.clone() } else { String::new() };
                self.join(client, version, id);
            }
            Step::Sync { client, stale } => {
                let generation = self.clients[client].generation - i32::from(stale);
                self.sync(client, generation);
            }
            Step::Beat { client } => self.beat(client),
            Step::Leave { client } => {
                let member = MemberIdentity {
                    member_id: self.clients[client].id.clone(),
                    group_instance_id: instance(client),
                    reason: None,
                };
                let request = LeaveGroupRequest {
                    group_id: GROUP.to_owned(),
                    members: vec![member],
                    ..Default::default()
                };
                self.ask(client, Asked::Other, Command::Leave(caller(client, 5), request));
            }
            Step::Behave { but } => {
                (0..CLIENTS).filter(|client| *client != but).for_each(|client| self.behave(client))
            }
            Step::Stall { client } => {
                for _ in 0..20 {
                    (0..CLIENTS).filter(|other| *other != client).for_each(|other| self.behave(other));
                    self.beat(client);
                    self.sleep(3_000_000);
                }
            }
            Step::Sleep { ms } => self.sleep(ms * 1000),
            Step::Restart => self.restart(),
            Step::Lose => self.loses = true,
        }
        self.check();
    }

    /// What a consumer does that wants to be a member.
    fn behave(&mut self, client: usize) {
        let me = self.clients[client].clone();
        if me.joining || me.syncing {
            return;
        }
        let waits = self.group().is_some_and(|group| group.state() == State::PreparingRebalance);
        if me.generation > 0 && !me.synced && !waits {
            self.sync(client, me.generation);
        } else if me.generation == 0 || waits {
            self.join(client, 9, me.id);
        } else {
            self.beat(client);
        }
    }

    fn beat(&mut self, client: usize) {
        let request = HeartbeatRequest {
            group_id: GROUP.to_owned(),
            generation_id: self.clients[client].generation,
            member_id: self.clients[client].id.clone(),
            group_instance_id: instance(client),
        };
        self.ask(client, Asked::Other, Command::Heartbeat(caller(client, 4), request));
    }

    fn join(&mut self, client: usize, version: i16, id: String) {
        let all = ["range", "rr", "sticky"];
        let says = usize::from(self.clients[client].says);
        let protocols = [all[says % 3], "rr"].map(|name| JoinGroupRequestProtocol {
            name: name.to_owned(),
            metadata: Bytes::copy_from_slice(&[u8::try_from(says).unwrap()]),
        });
        let request = JoinGroupRequest {
            group_id: GROUP.to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 40_000 - 5_000 * i32::try_from(client).unwrap(),
            member_id: id,
            group_instance_id: instance(client).filter(|_| version >= 5),
            protocol_type: "consumer".to_owned(),
            protocols: protocols.to_vec(),
            reason: None,
        };
        self.clients[client].joining = true;
        self.ask(client, Asked::Join, Command::Join(caller(client, version), request));
    }

    fn sync(&mut self, client: usize, generation: i32) {
        let me = &self.clients[client];
        let members = me.leads.clone().unwrap_or_default();
        let assignments = members
            .into_iter()
            .map(|member_id| SyncGroupRequestAssignment {
                assignment: Bytes::from(format!("{generation}/{member_id}/{}", self.tickets)),
                member_id,
            })
            .collect();
        let request = SyncGroupRequest {
            group_id: GROUP.to_owned(),
            generation_id: generation,
            member_id: me.id.clone(),
            group_instance_id: instance(client),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: None,
            assignments,
        };
        self.clients[client].syncing = true;
        let id = request.member_id.clone();
        self.ask(client, Asked::Sync(generation, id), Command::Sync(caller(client, 5), request));
    }

    fn ask(&mut self, client: usize, asked: Asked, command: Command) {
        self.tickets += 1;
        self.open.insert(self.tickets, (client, asked, self.now.monotonic_us));
        let ticket = Ticket { asker: 0, question: self.tickets };
        let image = self.image.clone();
        let decided = self.groups.decide(Around { now: self.now, image: &image }, ticket, command);
        self.carry_out(decided);
        self.tick();
    }

    fn tick(&mut self) {
        let image = self.image.clone();
        while self.groups.deadline().is_some_and(|deadline| self.now.reached(deadline)) {
            match self.groups.tick(Around { now: self.now, image: &image }) {
                Some(decided) => self.carry_out(decided),
                None => break,
            }
        }
        let deadline = self.groups.deadline();
        assert!(
            !deadline.is_some_and(|deadline| self.now.reached(deadline)),
            "it has nothing to say, yet wants to"
        );
    }

    fn carry_out(&mut self, decided: Decided) {
        let image = self.image.clone();
        if self.loses && !decided.records.is_empty() {
            self.loses = false;
            let refusal = Refusal::CoordinatorNotAvailable;
            for (ticket, _) in decided.replies {
                self.answer(ticket, Reply::Refused(refusal));
            }
            let around = Around { now: self.now, image: &image };
            for (ticket, reply) in self.groups.unwritten(around, decided.records, refusal) {
                self.answer(ticket, reply);
            }
            return;
        }
        for record in decided.records {
            self.note_assignment(&record);
            self.log.push(record.clone());
            let offset = Offset(i64::try_from(self.log.len()).unwrap());
            let written = Written { offset, timestamp_ms: self.now.wall_ms, transaction: None };
            self.groups.apply(written, record);
        }
        for (ticket, reply) in decided.replies {
            self.answer(ticket, reply);
        }
    }

    fn note_assignment(&mut self, record: &Record) {
        let Record::GroupMetadata(_, Some(value)) = record else { return };
        for member in &value.members {
            let key = (value.generation, member.member_id.clone());
            if !member.assignment.is_empty() {
                self.assigned.insert(key, member.assignment.clone());
            }
        }
    }

    fn answer(&mut self, ticket: Ticket, reply: Reply) {
        let (client, asked, since) = self.open.remove(&ticket.question).expect("a ticket is answered once");
        assert!(self.now.monotonic_us - since <= PATIENCE_US, "{asked:?} has waited for too long");
        match (asked, reply) {
            (Asked::Join, Reply::Join(response)) => self.joined(client, response),
            (Asked::Join, Reply::Refused(_)) => {
                self.clients[client].joining = false;
                self.clients[client].generation = 0;
            }
            (Asked::Sync(generation, id), Reply::Sync(response)) => {
                self.synced(client, (generation, id), &response)
            }
            (Asked::Sync(..), Reply::Refused(_)) => {
                self.clients[client].syncing = false;
                self.clients[client].generation = 0;
            }
            (Asked::Other, Reply::Heartbeat(response)) => {
                if !matches!(
                    Refusal::from_code(response.error_code),
                    None | Some(Refusal::RebalanceInProgress)
                ) {
                    let me = &self.clients[client];
                    self.clients[client] =
                        Client { joining: me.joining, syncing: me.syncing, ..Client::default() };
                }
            }
            (Asked::Other, Reply::Leave(_) | Reply::Refused(_)) => {}
            (asked, reply) => panic!("{asked:?} is answered by {reply:?}"),
        }
    }

    fn joined(&mut self, client: usize, response: JoinGroupResponse) {
        let me = &mut self.clients[client];
        me.joining = self.open.values().any(|(other, asked, _)| *other == client && *asked == Asked::Join);
        match Refusal::from_code(response.error_code) {
            None => {
                let protocol = response.protocol_name.clone().expect("there is a protocol");
                let is = (response.leader.clone(), protocol);
                let leads = response.leader == response.member_id;
                assert_eq!(leads, !response.members.is_empty(), "the leader alone is told who is there");
                let leads = leads && !response.skip_assignment;
                *me = Client {
                    id: response.member_id,
                    generation: response.generation_id,
                    leads: leads
                        .then(|| response.members.into_iter().map(|member| member.member_id).collect()),
                    synced: false,
                    ..me.clone()
                };
                // A static member that replaces the leader leads under another id; clients of old are not told.
                let known = self.generations.entry(response.generation_id).or_insert_with(|| is.clone());
                assert_eq!(known.1, is.1, "one protocol in generation {}", response.generation_id);
            }
            Some(Refusal::MemberIdRequired) => {
                *me = Client { id: response.member_id, joining: me.joining, ..Client::default() }
            }
            Some(Refusal::RebalanceInProgress) => me.generation = 0,
            Some(_) => *me = Client { joining: me.joining, syncing: me.syncing, ..Client::default() },
        }
    }

    fn synced(&mut self, client: usize, asked: (i32, String), response: &SyncGroupResponse) {
        let me = &mut self.clients[client];
        me.syncing = false;
        match Refusal::from_code(response.error_code) {
            None => {
                me.synced = (me.generation, &me.id) == (asked.0, &asked.1);
                let written = self.assigned.get(&asked).cloned().unwrap_or_default();
                assert_eq!(written, response.assignment, "what was given to {asked:?}");
            }
            Some(Refusal::RebalanceInProgress) => me.generation = 0,
            Some(_) => *me = Client { joining: me.joining, ..Client::default() },
        }
    }

    fn sleep(&mut self, us: u64) {
        let until = self.now.monotonic_us + us;
        loop {
            let deadline = self.groups.deadline().map_or(until, |deadline| deadline.0);
            let next = deadline.clamp(self.now.monotonic_us, until);
            let passed_ms = i64::try_from((next - self.now.monotonic_us) / 1000).unwrap();
            self.now = Now { monotonic_us: next, wall_ms: self.now.wall_ms + passed_ms };
            self.tick();
            self.check();
            if next >= until {
                return;
            }
        }
    }

    /// Another node reads the log, and knows what was written last.
    fn restart(&mut self) {
        let tickets = self.groups.take_tickets();
        let waiting: BTreeSet<u64> = tickets.iter().map(|ticket| ticket.question).collect();
        assert_eq!(waiting.len(), tickets.len(), "nobody waits twice");
        assert_eq!(waiting, self.open.keys().copied().collect(), "nobody is forgotten");
        for ticket in tickets {
            self.answer(ticket, Reply::Refused(Refusal::NotCoordinator));
        }
        self.groups = Groups::new(settings(), self.tickets + 99);
        for (offset, record) in (0..).map(Offset).zip(self.log.clone()) {
            self.groups.apply(Written { offset, timestamp_ms: 0, transaction: None }, record);
        }
        if let Some(Record::GroupMetadata(_, Some(value))) = self.log.last() {
            let group = self.group().expect("the group is there");
            assert_eq!(group.generation(), value.generation);
            assert_eq!(group.members().len(), value.members.len());
            assert_eq!(group.record(), *self.log.last().unwrap(), "it is as it was written");
        }
        self.generations.clear();
        self.groups.loaded(Around { now: self.now, image: &self.image });
    }

    fn check(&self) {
        let Some(group) = self.group() else { return };
        self.groups.unsettled.check(group.members.check());
        let joining = group.members().filter(|member| member.is_joining()).count();
        let syncing = group.members().filter(|member| member.is_syncing()).count();
        assert_eq!(
            joining + syncing,
            self.open.len(),
            "whoever has asked and has no answer is known to wait"
        );
        match group.state() {
            State::Empty => assert_eq!(group.members().len(), 0),
            State::PreparingRebalance => assert_eq!(syncing, 0),
            State::CompletingRebalance => assert!(joining == 0 && group.members().len() > 0),
            State::Stable => assert!(joining + syncing == 0 && group.members().len() > 0),
        }
        let soonest = group.members().filter_map(|member| member.session_ends).min();
        assert!(group.deadline() <= soonest || soonest.is_none(), "no session ends unseen");
    }
}

fn caller(client: usize, version: i16) -> Caller {
    // In other versions it is on other hosts.
    let host = (client + usize::from(version.unsigned_abs())) % 3;
    Caller { client_id: format!("c{client}"), client_host: format!("/127.0.0.{host}"), version }
}

/// The last two have static names.
fn instance(client: usize) -> Option<String> {
    (client >= CLIENTS - 2).then(|| format!("static-{client}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn members_may_do_what_they_like(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.sleep(600_000_000);
        prop_assert!(world.open.is_empty(), "all have their answers");
        let left = world.group().map(|group| (group.state(), group.members().len()));
        prop_assert!(left.is_none_or(|left| left == (State::Empty, 0)), "nobody is left: {left:?}");
        world.restart();
        // And whoever comes back and behaves gets its assignment.
        world.clients = vec![Client::default(); CLIENTS];
        for _ in 0..8 {
            world.take(&Step::Behave { but: CLIENTS });
            world.sleep(4_000_000);
        }
        let group = world.group().expect("it begins anew");
        prop_assert_eq!((group.state(), group.members().len()), (State::Stable, CLIENTS));
        prop_assert!(world.clients.iter().all(|client| client.synced), "{:?}", world.clients);
    }
}

#[test]
fn whoever_does_not_come_back_with_an_id_keeps_nobody_out() {
    let mut world = World::new();
    let ids: Vec<String> = (0..=PENDING_MAX)
        .map(|_| {
            world.join(0, 9, String::new());
            world.clients[0].id.clone()
        })
        .collect();
    assert!(ids.iter().all(|id| !id.is_empty()), "everybody is given an id");
    world.check();
    world.join(1, 9, ids[0].clone());
    assert!(!world.clients[1].joining, "the oldest is forgotten");
    for (client, id) in [(0, &ids[1]), (1, &ids[PENDING_MAX])] {
        world.join(client, 9, id.clone());
        assert!(world.clients[client].joining, "the others are not");
    }
    world.check();
    world.sleep(10_100_000);
    let group = world.group().expect("it has members");
    assert!(
        group.members.pending_deadlines().next().is_none(),
        "patience is at its end after a session's time"
    );
    world.check();
}

#[test]
fn a_group_without_members_costs_no_time() {
    let mut world = World::new();
    let image = Image::default();
    let around = Around { now: world.now, image: &image };
    for number in 0..10_000 {
        let ticket = Ticket { asker: 1, question: number };
        let request = JoinGroupRequest {
            group_id: format!("g{number}"),
            session_timeout_ms: 10_000,
            member_id: "nobody".to_owned(),
            ..Default::default()
        };
        let decided = world.groups.decide(around, ticket, Command::Join(caller(0, 9), request));
        assert_eq!(decided.replies.len(), 1);
        let record = ClassicGroup::simple(&format!("g{number}"), 0).record();
        world.groups.apply(Written { offset: Offset(0), timestamp_ms: 0, transaction: None }, record);
    }
    assert_eq!(world.groups.alarms.first(), None);
}
