//! Producers of both protocols around one coordinator, on a network that loses answers and repeats requests, beside a
//! log that may be cut at any record that has not been committed.

use std::collections::{BTreeMap, VecDeque};

use ottla_coordinator::Outcome;
use ottla_coordinator::mutant::Planted;
use ottla_coordinator::transaction::{
    Command, Effect, Markers, MarkersWritten, Reply, State, TransactionVersion,
};
use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::{EndTxnRequest, InitProducerIdRequest};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal, Ticket};

use crate::partition::{Partition, Value};
use crate::world::{Happened, Log, World};

const PARTITIONS: usize = 3;
/// What is written late. Within the next transaction only its sequence number betrays it, which is the partition's affair.
const LATE: Value = Value::MAX;
const TOPIC: &str = "t";
const IDS: [&str; 2] = ["near the end of its epochs", "new"];
const CLIENTS_MAX: usize = 4;

/// A source of choices: what a failing run shrinks to.
pub struct Choices<'a>(pub &'a [u16]);

impl Choices<'_> {
    pub fn next(&mut self) -> Option<usize> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(usize::from(*first))
    }

    fn of(&mut self, count: usize) -> usize {
        self.next().unwrap_or(0) % count.max(1)
    }
}

/// One transaction that some client has begun.
#[derive(Debug, Default)]
struct Attempt {
    written: Vec<usize>,
    asked: Option<Outcome>,
    acknowledged: Option<Outcome>,
}

/// What a client has asked and not heard of.
#[derive(Clone, Debug)]
enum Asked {
    Init(Option<(i64, i16)>),
    /// The original protocol: the client adds a partition itself.
    Add(usize),
    /// The leader asks before it writes.
    Write(usize, u32),
    End(Outcome),
    /// The network delivers a write of the transaction before: it must not open another one.
    LateWrite(usize, u32),
}

/// An instance of a producer.
#[derive(Debug)]
struct Client {
    id: &'static str,
    version: TransactionVersion,
    /// The how-manieth instance of this id it is.
    instance: u32,
    producer: Option<(i64, i16)>,
    /// The epoch in which the open transaction is written.
    attempt: Option<Value>,
    added: Vec<usize>,
    /// Where it wrote last in a transaction that has ended.
    before: Option<usize>,
    waits: Option<(Option<Ticket>, Asked)>,
    dead: bool,
}

/// See the module.
pub struct Clients {
    world: World,
    partitions: Vec<Partition>,
    clients: Vec<Client>,
    attempts: BTreeMap<Value, Attempt>,
    /// What waits for the log: up to which record, and what then happens.
    held: VecDeque<(usize, Happened)>,
    committed: usize,
    effects: VecDeque<Effect>,
    /// The newest ending of each id.
    endings: BTreeMap<String, u64>,
    /// What the network delivers late: requests of the newer protocol once more, answers to the coordinator.
    late: Vec<Command>,
    /// The newest instance of each id that knows it is one.
    newest: BTreeMap<&'static str, u32>,
    instances: u32,
    next_id: i64,
    /// How the clients speak.
    version: TransactionVersion,
    /// How often something succeeded, so that a run proves something.
    pub commits: u32,
}

impl Clients {
    /// A cluster of one version with clients of another.
    pub fn new(cluster: TransactionVersion, version: TransactionVersion) -> Self {
        let mut world = World::default();
        world.topic(TOPIC, i32::try_from(PARTITIONS).unwrap(), 1);
        world.feature(cluster.level());
        let mut all = Self {
            world,
            partitions: (0..PARTITIONS).map(|_| Partition::default()).collect(),
            clients: Vec::new(),
            attempts: BTreeMap::new(),
            held: VecDeque::new(),
            committed: 0,
            effects: VecDeque::new(),
            endings: BTreeMap::new(),
            late: Vec::new(),
            newest: BTreeMap::new(),
            instances: 0,
            next_id: 1000,
            version,
            commits: 0,
        };
        all.start(IDS[0], version);
        all.act(0, &mut Choices(&[0]));
        all.settle_once();
        all.world.alter(IDS[0], |entry| entry.producer.epoch = ProducerEpoch(32_763));
        all.committed = all.world.log.len();
        all.clients[0].producer = all.clients[0].producer.map(|(id, _)| (id, 32_763));
        all.start(IDS[1], version);
        all
    }

    fn start(&mut self, id: &'static str, version: TransactionVersion) {
        self.instances += 1;
        self.clients.push(Client {
            id,
            version,
            instance: self.instances,
            producer: None,
            attempt: None,
            added: Vec::new(),
            before: None,
            waits: None,
            dead: false,
        });
    }

    /// Plants a bug in the coordinator.
    pub fn plant(&mut self, planted: Planted) {
        self.world.plant(planted);
    }

    pub fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.of(100) {
            0..50 => {
                let client = choices.of(self.clients.len());
                if client < self.clients.len() {
                    self.act(client, choices);
                }
            }
            50..66 => self.commit(),
            66..78 => self.work(choices),
            78..80 => {
                self.effects.pop_front();
            }
            80..82 => self.crash(choices),
            82..87 => {
                let ms = [10, 100, 100, 500, 500, 10_000, 31_000, 61_000][choices.of(8)];
                let happened = self.world.wait(ms);
                self.hold(happened);
            }
            87..93 if !self.late.is_empty() => {
                let command = self.late.swap_remove(choices.of(self.late.len()));
                let (_, happened) = self.world.command(command);
                self.hold(happened);
            }
            93 => self.renew(choices),
            94 => self.world.takes = Log::Refuses,
            95..98 if self.clients.iter().any(|client| client.dead) => self.renew(choices),
            _ => self.world.takes = Log::Takes,
        }
    }

    /// A new instance comes, and whoever has given up goes.
    fn renew(&mut self, choices: &mut Choices<'_>) {
        self.clients.retain(|client| !client.dead);
        let id = IDS[choices.of(IDS.len())];
        let is_alive = self.clients.iter().any(|client| client.id == id);
        if self.clients.len() < CLIENTS_MAX && (!is_alive || choices.of(4) == 0) {
            self.start(id, self.version);
        }
    }

    /// A client goes on, or asks again what it has heard nothing of.
    fn act(&mut self, at: usize, choices: &mut Choices<'_>) {
        let client = &self.clients[at];
        if client.dead {
            return;
        }
        if let Some((ticket, asked)) = client.waits.clone() {
            if ticket.is_none() || choices.of(4) == 0 {
                // For a write, the producer asks the leader again, and the leader has another guard.
                let asked = match (asked, client.producer) {
                    (Asked::Write(partition, _), Some(producer)) => {
                        Asked::Write(partition, self.partitions[partition].guard(producer))
                    }
                    (asked, _) => asked,
                };
                self.ask(at, asked);
            }
            return;
        }
        let Some(producer) = client.producer else { return self.ask(at, Asked::Init(None)) };
        if let (Some(partition), None, true) =
            (client.before, client.attempt, choices.of(10) == 0 && !self.version.bumps_epoch())
        {
            let guard = self.partitions[partition].guard(producer);
            return self.ask(at, Asked::LateWrite(partition, guard));
        }
        match choices.of(8) {
            0..5 => self.write(at, producer, choices.of(PARTITIONS)),
            5 if choices.of(4) == 0 => self.ask(at, Asked::Init(Some(producer))),
            6 if client.attempt.is_some() => self.ask(at, Asked::End(Outcome::Aborted)),
            _ if client.attempt.is_some() => self.ask(at, Asked::End(Outcome::Committed)),
            _ => {}
        }
    }

    fn write(&mut self, at: usize, producer: (i64, i16), partition: usize) {
        if self.clients[at].attempt.is_none() {
            let value = Value::try_from(self.attempts.len()).unwrap();
            self.attempts.insert(value, Attempt::default());
            self.clients[at].attempt = Some(value);
        }
        let original = self.clients[at].version < TransactionVersion::V2;
        if original && !self.clients[at].added.contains(&partition) {
            return self.ask(at, Asked::Add(partition));
        }
        if self.partitions[partition].is_open(producer) {
            return self.append(at, partition, None);
        }
        let guard = self.partitions[partition].guard(producer);
        self.ask(at, Asked::Write(partition, guard));
    }

    fn append(&mut self, at: usize, partition: usize, guard: Option<u32>) {
        let client = &self.clients[at];
        let (Some(producer), Some(value)) = (client.producer, client.attempt) else { return };
        match self.partitions[partition].write(producer, guard, value) {
            Ok(()) => {
                self.must_be_newest(at, "written");
                self.attempts.get_mut(&value).unwrap().written.push(partition);
            }
            Err(_) => self.clients[at].dead = true,
        }
    }

    fn must_be_newest(&self, at: usize, what: &str) {
        let client = &self.clients[at];
        let newest = self.newest.get(client.id).copied().unwrap_or(0);
        assert!(client.instance >= newest, "a fenced producer has {what}: {client:?}");
    }

    fn ask(&mut self, at: usize, asked: Asked) {
        let client = &self.clients[at];
        let producer = client.producer.unwrap_or((-1, -1));
        let adding = |partition: usize, verify_only| AddPartitionsToTxnTransaction {
            transactional_id: client.id.to_owned(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            verify_only,
            topics: vec![AddPartitionsToTxnTopic {
                name: TOPIC.to_owned(),
                partitions: vec![i32::try_from(partition).unwrap()],
            }],
        };
        let command = match &asked {
            Asked::Init(expected) => Command::InitProducerId(InitProducerIdRequest {
                transactional_id: Some(client.id.to_owned()),
                transaction_timeout_ms: 60_000,
                producer_id: expected.map_or(-1, |producer| producer.0),
                producer_epoch: expected.map_or(-1, |producer| producer.1),
                ..InitProducerIdRequest::default()
            }),
            Asked::Add(partition) => {
                Command::AddPartitions(TransactionVersion::V0, adding(*partition, false))
            }
            Asked::Write(partition, _) | Asked::LateWrite(partition, ..) => {
                let original = client.version < TransactionVersion::V2;
                Command::AddPartitions(client.version, adding(*partition, original))
            }
            Asked::End(outcome) => {
                let attempt = self.attempts.get_mut(&client.attempt.unwrap()).unwrap();
                attempt.asked.get_or_insert(*outcome);
                let request = EndTxnRequest {
                    transactional_id: client.id.to_owned(),
                    producer_id: producer.0,
                    producer_epoch: producer.1,
                    committed: *outcome == Outcome::Committed,
                };
                let version = if client.version.bumps_epoch() {
                    TransactionVersion::V2
                } else {
                    TransactionVersion::V0
                };
                Command::End(version, request)
            }
        };
        // Since KIP-890 no request may do harm however late it comes. An initialization takes the id over whenever it
        // comes, unless it says who asks.
        let may_come_late = match &asked {
            Asked::Init(expected) => expected.is_some(),
            Asked::Add(_) | Asked::Write(..) | Asked::LateWrite(..) => false,
            Asked::End(_) => true,
        };
        if client.version.bumps_epoch() && may_come_late && self.late.len() < 40 {
            self.late.push(command.clone());
        }
        let (ticket, happened) = self.world.command(command);
        self.clients[at].waits = Some((Some(ticket), asked));
        self.hold(happened);
        let happened = self.world.tick();
        self.hold(happened);
    }

    fn hold(&mut self, happened: Vec<Happened>) {
        for one in &happened {
            if let Happened::Wants(Effect::WriteMarkers(markers)) = one {
                self.endings.insert(markers.transactional_id.clone(), markers.ending);
            }
        }
        let until = self.world.log.len();
        let held =
            happened.into_iter().filter(|one| matches!(one, Happened::Replied(..) | Happened::Wants(_)));
        self.held.extend(held.map(|one| (until, one)));
    }

    /// Everything in the log is committed: what waited for that goes out.
    fn commit(&mut self) {
        self.committed = self.world.log.len();
        while let Some((_, happened)) = self.held.pop_front() {
            match happened {
                Happened::Replied(ticket, reply) => self.hear(ticket, reply),
                Happened::Wants(effect) => self.want(effect),
                Happened::Wrote(_) | Happened::NotWritten(_) => {}
            }
        }
    }

    fn want(&mut self, effect: Effect) {
        if let (false, Effect::WriteMarkers(markers)) = (self.version.bumps_epoch(), &effect) {
            // The original protocol cannot tell a late marker from one of the next transaction.
            let id = &markers.transactional_id;
            self.effects
                .retain(|other| !matches!(other, Effect::WriteMarkers(m) if m.transactional_id == *id));
        }
        self.effects.push_back(effect);
    }

    fn hear(&mut self, ticket: Ticket, reply: Reply) {
        let asks = |client: &Client| matches!(&client.waits, Some((Some(waits), _)) if *waits == ticket);
        let Some(at) = self.clients.iter().position(asks) else { return };
        let Some((_, asked)) = self.clients[at].waits.take() else { return };
        let refusal = refusal(&reply);
        match refusal {
            Some(
                Refusal::ConcurrentTransactions
                | Refusal::CoordinatorNotAvailable
                | Refusal::CoordinatorLoadInProgress
                | Refusal::NotCoordinator,
            ) => self.clients[at].waits = Some((None, asked)),
            Some(_) if matches!(asked, Asked::LateWrite(..)) => {}
            Some(_) => self.clients[at].dead = true,
            None => self.go_on(at, &asked, &reply),
        }
    }

    fn go_on(&mut self, at: usize, asked: &Asked, reply: &Reply) {
        match (asked, reply) {
            (Asked::Init(_), Reply::InitProducerId(response)) => {
                let newest = self.newest.entry(self.clients[at].id).or_default();
                let client = &mut self.clients[at];
                // An older instance may take the id over again: then it is the newest.
                if client.instance < *newest {
                    self.instances += 1;
                    client.instance = self.instances;
                }
                *newest = client.instance;
                client.producer = Some((response.producer_id, response.producer_epoch));
                client.attempt = None;
                client.added.clear();
            }
            (Asked::Add(partition), _) => {
                self.must_be_newest(at, "added a partition");
                self.clients[at].added.push(*partition);
            }
            (Asked::LateWrite(partition, guard), _) => {
                if let Some(producer) = self.clients[at].producer {
                    // If it is taken, nobody ends what it opens.
                    let _ = self.partitions[*partition].write(producer, Some(*guard), LATE);
                }
            }
            (Asked::Write(partition, guard), _) => self.append(at, *partition, Some(*guard)),
            (Asked::End(outcome), Reply::End(response)) => {
                self.must_be_newest(at, "ended a transaction");
                let client = &mut self.clients[at];
                let value = client.attempt.take().unwrap();
                let attempt = self.attempts.get_mut(&value).unwrap();
                attempt.acknowledged = Some(*outcome);
                client.before = attempt.written.last().copied();
                self.commits += u32::from(*outcome == Outcome::Committed && !attempt.written.is_empty());
                client.added.clear();
                if client.version.bumps_epoch() {
                    client.producer = Some((response.producer_id, response.producer_epoch));
                }
            }
            (asked, reply) => panic!("{reply:?} to {asked:?}"),
        }
    }

    /// Somebody else does what the coordinator wants; its word of that may be lost.
    fn work(&mut self, choices: &mut Choices<'_>) {
        let Some(effect) = self.effects.pop_front() else { return };
        let fate = choices.of(8);
        let command = match &effect {
            Effect::ProducerId if fate == 0 => {
                Command::ProducerIdGranted(Err(Refusal::CoordinatorLoadInProgress))
            }
            Effect::ProducerId => {
                self.next_id += 1;
                Command::ProducerIdGranted(Ok(ProducerId(self.next_id)))
            }
            Effect::WriteMarkers(markers) if !self.may_mark(markers) => return,
            Effect::WriteMarkers(markers) if fate == 0 => {
                Command::MarkersWritten(markers.refused(Refusal::NotLeaderOrFollower))
            }
            Effect::WriteMarkers(markers) => Command::MarkersWritten(self.mark(markers)),
        };
        if fate == 1 && self.version.bumps_epoch() {
            // It is delivered once more, later.
            self.effects.push_back(effect);
        }
        if fate == 2 {
            // The answer comes late, if at all.
            self.late.push(command);
            return;
        }
        let (_, happened) = self.world.command(command);
        self.hold(happened);
        let happened = self.world.tick();
        self.hold(happened);
    }

    /// The original protocol cannot tell a late marker from one of the next transaction: there, what is sent twice must
    /// have come before the next transaction begins, as on one connection it has.
    fn may_mark(&self, markers: &Markers) -> bool {
        let id = markers.transactional_id.as_str();
        let ends = self.world.entry(id).is_some_and(|entry| matches!(entry.state, State::Prepare(_)));
        self.version.bumps_epoch() || (ends && self.endings.get(id) == Some(&markers.ending))
    }

    fn mark(&mut self, markers: &Markers) -> MarkersWritten {
        let marker = &markers.marker;
        let indexes = marker.topics.iter().flat_map(|topic| topic.partition_indexes.iter());
        let outcomes: BTreeMap<i32, Option<Refusal>> = indexes
            .map(|&index| (index, self.partitions[usize::try_from(index).unwrap()].mark(marker).err()))
            .collect();
        markers.answered(|_, index| outcomes[&index])
    }

    /// The coordinator moves; what was not committed may be gone, and nobody hears what was to be said.
    fn crash(&mut self, choices: &mut Choices<'_>) {
        let uncommitted = self.world.log.len() - self.committed;
        let kept = self.committed + choices.of(uncommitted + 1);
        self.held.clear();
        for client in &mut self.clients {
            if let Some((ticket, _)) = &mut client.waits {
                *ticket = None;
            }
        }
        if self.version.bumps_epoch() {
            // Markers that are on their way still come: only their answers find nobody.
            self.effects.retain(|effect| matches!(effect, Effect::WriteMarkers(_)));
        } else {
            self.effects.clear();
        }
        let happened = self.world.reload(kept);
        self.committed = kept;
        self.hold(happened);
    }

    fn settle_once(&mut self) {
        self.world.takes = Log::Takes;
        self.commit();
        while !self.effects.is_empty() {
            self.work(&mut Choices(&[3]));
            self.commit();
        }
    }

    /// Everything works again and nobody asks for anything more.
    pub fn settle(&mut self) {
        for _ in 0..6 {
            self.settle_once();
            let happened = self.world.wait(31_000);
            self.hold(happened);
        }
        self.settle_once();
    }

    /// What has to be true in the end.
    pub fn check(&self) {
        for (id, entry) in self.world.transactions.entries() {
            assert!(
                matches!(entry.state, State::Empty | State::Complete(_)),
                "{id} is still {}: {entry:?}",
                entry.state.name()
            );
        }
        for (index, partition) in self.partitions.iter().enumerate() {
            assert!(!partition.has_open(), "a transaction hangs in partition {index}: {partition:?}");
        }
        for (value, attempt) in &self.attempts {
            let is_in = |values: &dyn Fn(&Partition) -> &Vec<Value>| {
                attempt.written.iter().filter(|&&at| values(&self.partitions[at]).contains(value)).count()
            };
            let committed = is_in(&|partition| &partition.committed);
            let aborted = is_in(&|partition| &partition.aborted);
            assert!(committed == 0 || aborted == 0, "transaction {value} is torn: {attempt:?}");
            assert_eq!(committed + aborted, attempt.written.len(), "{value} is lost: {attempt:?}");
            match attempt.acknowledged {
                Some(Outcome::Committed) => assert_eq!(aborted, 0, "{value} was acknowledged: {attempt:?}"),
                Some(Outcome::Aborted) => assert_eq!(committed, 0, "{value} was aborted: {attempt:?}"),
                None => {}
            }
            if attempt.asked != Some(Outcome::Committed) {
                assert_eq!(committed, 0, "{value} was never to be committed: {attempt:?}");
            }
        }
    }
}

fn refusal(reply: &Reply) -> Option<Refusal> {
    let code = match reply {
        Reply::InitProducerId(response) => response.error_code,
        Reply::End(response) => response.error_code,
        Reply::AddPartitions(result) => result
            .topic_results
            .iter()
            .flat_map(|topic| &topic.results_by_partition)
            .map(|p| p.partition_error_code)
            .find(|code| *code != 0)
            .unwrap_or(0),
        Reply::Refused(refusal) => refusal.code(),
        Reply::Describe(_) | Reply::List(_) => 0,
    };
    Refusal::from_code(code)
}
