//! The world of transactions: one transaction coordinator whose host changes, a log, some partitions, and producers.
//!
//! Everything follows from a seed. After every event the checkers look; in the end nothing goes wrong any more, nobody
//! begins anything new, and every transaction has to come to its end.

pub mod check;
pub mod partition;
pub mod producer;

use std::collections::BTreeMap;

use ottla_coordinator::mutant::{Mutant, Planted};
use ottla_coordinator::transaction::{
    Command, Effect, Entry, Markers, MarkersWritten, Record, Reply, Settings, TransactionVersion,
    Transactions,
};
use ottla_coordinator::{Outcome, Producer, Released};
use ottla_metadata::features::TRANSACTION_VERSION;
use ottla_protocol::records::metadata::FeatureLevelRecord;
use ottla_protocol::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Refusal, Ticket};
use ottla_raft::random::Random;

use self::check::{AllOrNothing, Producers, recovered};
use self::partition::{Admission, BumpsEpoch, Partition, Produced, TransactionKey};
use self::producer::{Ask, Client, Heard, Next};
use crate::check::Violation;
use crate::coordinated::faults::{Faults, Figures};
use crate::coordinated::host::Host;
use crate::groups::cluster::Cluster;
use crate::trace::Trace;

/// A run of one seed.
#[derive(Debug)]
pub struct TransactionsWorld {
    /// What goes wrong.
    pub faults: Faults,
    /// What really happened.
    pub figures: Figures,
    /// All of it.
    pub trace: Trace,
    random: Random,
    now_us: u64,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    host: Host<Transactions>,
    cluster: Cluster,
    version: TransactionVersion,
    partitions: Vec<Partition>,
    clients: Vec<Line>,
    next_producer_id: i64,
    waiting: BTreeMap<Ticket, Asked>,
    checks: Checks,
    wake: Option<u64>,
    /// Nobody begins anything new any more.
    closing: Closing,
    planted: Planted,
}

#[derive(Debug, Default)]
struct Checks {
    all_or_nothing: AllOrNothing,
    producers: Producers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    NotYet,
    Begun,
}

/// Which name each client bears: two of them share one, and fence one another.
const NAMES: [usize; CLIENTS] = [0, 0, 1, 2];

/// A client and its connection: it waits for one answer at a time.
#[derive(Debug)]
struct Line {
    client: Client,
    /// The number of the answer that it waits for.
    waits_for: Option<u64>,
    last_arrival_us: u64,
}

/// Whom a ticket belongs to.
#[derive(Clone, Debug)]
enum Asker {
    /// A client, in one of its transactions; the number is what it waits for.
    Client { key: TransactionKey, number: u64, newest: Option<(usize, u64)> },
    /// A partition that wants to know whether it takes part.
    Partition { partition: usize, guard: u64, produced: Produced, number: u64 },
    /// The answer to an effect.
    Effect,
}

#[derive(Clone, Debug)]
struct Asked {
    asker: Asker,
    at_us: u64,
    command: Command,
}

/// Something that will happen.
#[derive(Debug)]
enum Event {
    Wake {
        due: u64,
    },
    Commit {
        life: u64,
        end: Offset,
    },
    /// A command arrives at the coordinator; effects are answered to the host that wanted them.
    Request {
        life: Option<u64>,
        asker: Asker,
        command: Box<Command>,
    },
    /// A record arrives at a partition.
    Produce {
        partition: usize,
        produced: Produced,
        number: u64,
    },
    /// Markers arrive at their partitions.
    Markers {
        life: u64,
        markers: Box<Markers>,
    },
    /// An answer arrives.
    Answer {
        client: usize,
        number: u64,
        heard: Box<Heard>,
    },
    Act {
        client: usize,
    },
    Impatience {
        client: usize,
        number: u64,
    },
    Begin {
        life: u64,
    },
    Serve {
        life: u64,
    },
    Accept,
    Start {
        client: usize,
    },
    Fault(Fault),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Crash,
    Resign,
    Refuse,
    Die,
}

const CLIENTS: usize = 4;
const PARTITIONS: usize = 4;
const PATIENCE_US: u64 = 2_000_000;
/// How long a healed world may take until nothing is open, in µs.
const HEALING_US: u64 = 40_000_000;
/// The longest that a request may wait, in µs.
const LONGEST_US: u64 = 20_000_000;

impl TransactionsWorld {
    /// A world with the faults of its seed.
    #[must_use]
    pub fn new(seed: u64, mutant: Option<Mutant>, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let faults = Faults::from_seed(&mut random);
        Self::with_faults((random, faults), mutant, trace)
    }

    /// A world with chosen faults.
    #[must_use]
    pub fn with_faults((mut random, faults): (Random, Faults), mutant: Option<Mutant>, trace: Trace) -> Self {
        let version = TransactionVersion::from_level(i16::try_from(random.below(3)).unwrap_or(0));
        let mut cluster = Cluster::new(&[i32::try_from(PARTITIONS).unwrap_or(1)]);
        cluster.take(&[FeatureLevelRecord {
            name: TRANSACTION_VERSION.to_owned(),
            feature_level: version.level(),
        }
        .into()]);
        let mut world = Self {
            faults,
            figures: Figures::default(),
            trace,
            random,
            now_us: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            host: Host::new(),
            cluster,
            version,
            partitions: (0..PARTITIONS).map(|_| Partition::default()).collect(),
            clients: Vec::new(),
            next_producer_id: 1_000,
            waiting: BTreeMap::new(),
            checks: Checks::default(),
            wake: None,
            closing: Closing::NotYet,
            planted: Planted::new(mutant),
        };
        for (index, name) in NAMES.into_iter().enumerate() {
            let timeout_ms = 1_000 + i32::try_from(world.random.below(5_000)).unwrap_or(0);
            let client = Client::new(index, name, version, timeout_ms);
            world.clients.push(Line { client, waits_for: None, last_arrival_us: 0 });
            world.schedule(1_000, Event::Start { client: index });
        }
        world.age();
        world.schedule(0, Event::Begin { life: 0 });
        for fault in Fault::ALL {
            world.again(fault);
        }
        world
    }

    /// Some names are old: their producers have few epochs left.
    fn age(&mut self) {
        let mut records = Vec::new();
        for name in 0..CLIENTS {
            if self.random.below(2) == 0 {
                let left = i16::try_from(self.random.below(20)).unwrap_or(0);
                let id = ProducerId(500 + i64::try_from(name).unwrap_or(0));
                let first = Entry::first(id, 5_000, 0);
                let producer = Producer { id, epoch: ProducerEpoch(i16::MAX - 1 - left) };
                let entry = Box::new(Entry { producer, ..first });
                let version = self.version.record_version();
                records.push(Record::Changed { id: format!("x{name}").into(), entry, version });
            }
        }
        if !records.is_empty() {
            self.host.journal.begin_with::<Transactions>(&records);
        }
    }

    /// Runs through the bad time, then heals the world and demands that every transaction comes to its end.
    ///
    /// # Errors
    /// The invariant that did not hold.
    pub fn run(&mut self, bad_ms: u64) -> Result<(), Violation> {
        self.run_until(self.now_us + bad_ms * 1_000)?;
        self.heal();
        self.run_until(self.now_us + HEALING_US)?;
        self.figures.records = u64::try_from(self.host.journal.end().0).unwrap_or(0);
        let Some(hosted) = &self.host.hosted else {
            return Err(Violation { invariant: "a healed world works", what: "nobody hosts".to_owned() });
        };
        recovered(hosted.decider(), &self.partitions)?;
        self.checks.all_or_nothing.complete(&self.partitions)
    }

    fn run_until(&mut self, end_us: u64) -> Result<(), Violation> {
        while let Some(next) = self.events.first_entry().filter(|next| next.key().0 <= end_us) {
            self.now_us = next.key().0;
            let event = next.remove();
            self.figures.events += 1;
            self.happen(event)?;
            if self.figures.events.is_multiple_of(64) {
                self.in_time()?;
            }
        }
        self.now_us = end_us;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Wake { due } => {
                if self.wake == Some(due) {
                    self.wake = None;
                    self.host.tick(self.now_us, &self.cluster.image);
                    return self.after_host();
                }
                Ok(())
            }
            Event::Commit { life, end } if life == self.host.life => {
                self.host.advance(end);
                self.after_host()
            }
            Event::Request { life, asker, command } => self.arrive(life, asker, *command),
            Event::Produce { partition, produced, number } => {
                self.produce(partition, produced, number);
                Ok(())
            }
            Event::Markers { life, markers } => self.mark(life, &markers),
            Event::Answer { client, number, heard } => {
                self.heard(client, number, *heard);
                Ok(())
            }
            Event::Act { client } => {
                self.act(client);
                Ok(())
            }
            Event::Impatience { client, number } => {
                if self.clients[client].waits_for == Some(number) {
                    self.clients[client].waits_for = None;
                    self.schedule(self.now_us, Event::Act { client });
                }
                Ok(())
            }
            Event::Begin { life } if life == self.host.life => self.begin(),
            Event::Serve { life } if life == self.host.life => self.serve(),
            Event::Accept => {
                self.host.journal.refuses = None;
                Ok(())
            }
            Event::Start { client } => {
                if !self.clients[client].client.up && self.closing == Closing::NotYet {
                    self.clients[client].client.start();
                    self.clients[client].waits_for = None;
                    // What the process before it has sent may still be on its way.
                    self.clients[client].last_arrival_us = 0;
                    self.schedule(self.now_us, Event::Act { client });
                }
                Ok(())
            }
            Event::Fault(fault) => {
                self.again(fault);
                self.go_wrong(fault)
            }
            Event::Commit { .. } | Event::Begin { .. } | Event::Serve { .. } => Ok(()),
        }
    }

    // The coordinator.

    fn begin(&mut self) -> Result<(), Violation> {
        let seed = self.random.next_u64();
        let settings = Settings {
            max_timeout_ms: 60_000,
            abort_interval_ms: 1_000,
            request_timeout_ms: 3_000,
            ..Settings::default()
        };
        let epoch = LeaderEpoch(i32::try_from(self.host.life).unwrap_or(i32::MAX));
        let mut transactions = Transactions::new(epoch, settings);
        transactions.plant(self.planted);
        self.host.begin(seed, transactions, self.planted);
        self.host.load(self.host.journal.high_watermark).map_err(unreadable)?;
        let life = self.host.life;
        let later = self.now_us + 1_000 + self.random.below(300_000);
        self.schedule(later, Event::Serve { life });
        Ok(())
    }

    fn serve(&mut self) -> Result<(), Violation> {
        let end = self.host.journal.end();
        self.host.load(end).map_err(unreadable)?;
        self.host.serve(self.now_us, &self.cluster.image);
        self.commit_later(end);
        self.after_host()
    }

    fn arrive(&mut self, life: Option<u64>, mut asker: Asker, command: Command) -> Result<(), Violation> {
        if life.is_some_and(|life| life != self.host.life) {
            return Ok(());
        }
        if self.host.hosted.is_none() {
            self.reply(&asker, Refusal::NotCoordinator.into());
            return Ok(());
        }
        if let Asker::Client { key, newest, .. } = &mut asker {
            *newest = self.checks.producers.newest(NAMES[key.0]);
        }
        self.figures.asked += 1;
        self.trace.line(format_args!("{} {asker:?}", self.now_us));
        self.trace.remark(format_args!("{} {asker:?}: {command:?}", self.now_us));
        self.scheduled += 1;
        let ticket = Ticket { asker: 1, question: self.scheduled };
        if !matches!(asker, Asker::Effect) {
            let asked = Asked { asker, at_us: self.now_us, command: command.clone() };
            self.waiting.insert(ticket, asked);
        }
        self.host.ask(self.now_us, &self.cluster.image, ticket, command);
        self.after_host()
    }

    fn after_host(&mut self) -> Result<(), Violation> {
        let fresh = self.host.journal.take_new();
        for batch in &fresh {
            self.trace.line(format_args!("{} {:x?}", self.now_us, batch.header));
        }
        if let Some(last) = fresh.last() {
            self.commit_later(last.header().next_offset());
        }
        for released in self.host.released() {
            match released {
                Released::Reply(ticket, reply) => self.released(ticket, reply)?,
                Released::Effect(effect) => self.carry_out(effect),
            }
        }
        if let Some(due) = self.host.deadline() {
            let due = due.max(self.now_us + 1);
            if self.wake.is_none_or(|wake| due < wake) {
                self.wake = Some(due);
                self.schedule(due, Event::Wake { due });
            }
        }
        Ok(())
    }

    fn released(&mut self, ticket: Ticket, reply: Reply) -> Result<(), Violation> {
        // Answers to effects are nobody's.
        let Some(asked) = self.waiting.remove(&ticket) else { return Ok(()) };
        self.figures.answered += 1;
        self.trace.line(format_args!("{} to {:?}: {reply:?}", self.now_us, asked.asker));
        if let Asker::Client { key, newest, .. } = asked.asker {
            self.told(key, newest, &asked.command, &reply)?;
        }
        self.reply(&asked.asker, reply);
        Ok(())
    }

    /// Looks at what a client is told.
    fn told(
        &mut self,
        key: TransactionKey,
        newest: Option<(usize, u64)>,
        command: &Command,
        reply: &Reply,
    ) -> Result<(), Violation> {
        let process = (key.0, key.1);
        let producer = |id: i64, epoch: i16| Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch) };
        match (command, reply) {
            (Command::InitProducerId(_), Reply::InitProducerId(response)) if response.error_code == 0 => {
                self.checks.producers.began(NAMES[key.0], process);
                self.checks.producers.told(producer(response.producer_id, response.producer_epoch), process)
            }
            (Command::End(version, request), Reply::End(response)) if response.error_code == 0 => {
                if version.bumps_epoch() {
                    let next = producer(response.producer_id, response.producer_epoch);
                    self.checks.producers.told(next, process)?;
                }
                let outcome = if request.committed { Outcome::Committed } else { Outcome::Aborted };
                if outcome == Outcome::Committed {
                    self.figures.commits += 1;
                    self.checks.producers.committed(process, newest)?;
                }
                self.checks.all_or_nothing.told(key, outcome)
            }
            _ => Ok(()),
        }
    }

    fn reply(&mut self, asker: &Asker, reply: Reply) {
        match asker {
            Asker::Client { key, number, .. } => self.answer(key.0, *number, Heard::Reply(reply)),
            Asker::Partition { partition, guard, produced, number } => {
                let refusal = match &reply {
                    Reply::AddPartitions(result) => result
                        .topic_results
                        .iter()
                        .flat_map(|topic| &topic.results_by_partition)
                        .find_map(|result| Refusal::from_code(result.partition_error_code)),
                    Reply::Refused(refusal) => Some(*refusal),
                    _ => None,
                };
                let outcome = match refusal {
                    Some(Refusal::ProducerFenced) => Err(Refusal::InvalidProducerEpoch),
                    Some(Refusal::InvalidProducerIdMapping) => Err(Refusal::InvalidTxnState),
                    Some(refusal) => Err(refusal),
                    None => self.partitions[*partition].verified(produced, *guard),
                };
                self.produced(*partition, produced, *number, outcome);
            }
            Asker::Effect => {}
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let life = self.host.life;
        let at = self.now_us + self.delay();
        match effect {
            Effect::ProducerId => {
                let granted = if self.random.below(10_000) < self.faults.loss {
                    Err(Refusal::CoordinatorLoadInProgress)
                } else {
                    self.next_producer_id += 1;
                    Ok(ProducerId(self.next_producer_id))
                };
                let command = Box::new(Command::ProducerIdGranted(granted));
                self.schedule(at, Event::Request { life: Some(life), asker: Asker::Effect, command });
            }
            Effect::WriteMarkers(markers) => {
                if self.is_lost() {
                    return;
                }
                if self.random.below(10_000) < self.faults.repetition {
                    // Before KIP-890 a marker that comes late would end the next transaction, in Kafka too.
                    let again = if self.version.bumps_epoch() { self.now_us + self.delay() } else { at + 1 };
                    self.schedule(again, Event::Markers { life, markers: Box::new(markers.clone()) });
                }
                self.schedule(at, Event::Markers { life, markers: Box::new(markers) });
            }
        }
    }

    fn commit_later(&mut self, end: Offset) {
        let later = self.now_us + 200 + self.random.below(self.faults.commit_us);
        let life = self.host.life;
        self.schedule(later, Event::Commit { life, end });
    }

    // The partitions.

    fn produce(&mut self, partition: usize, produced: Produced, number: u64) {
        match self.partitions[partition].produce(&produced) {
            Admission::Done => self.produced(partition, &produced, number, Ok(())),
            Admission::Refused(refusal) => self.produced(partition, &produced, number, Err(refusal)),
            Admission::Verify(guard) => {
                let id = format!("x{}", NAMES[produced.key.0]);
                let command = producer::verifies(self.version, id, produced.producer, partition);
                let asker = Asker::Partition { partition, guard, produced, number };
                if !self.is_lost() {
                    let at = self.now_us + self.delay();
                    self.schedule(at, Event::Request { life: None, asker, command: Box::new(command) });
                }
            }
        }
    }

    fn produced(&mut self, partition: usize, produced: &Produced, number: u64, outcome: Result<(), Refusal>) {
        self.trace.line(format_args!("{} {produced:?} in {partition}: {outcome:?}", self.now_us));
        let (client, process, _) = produced.key;
        if self.clients[client].client.process == process {
            self.answer(client, number, Heard::Produced(outcome.err()));
        }
    }

    fn mark(&mut self, life: u64, markers: &Markers) -> Result<(), Violation> {
        self.trace.line(format_args!("{} {markers:?}", self.now_us));
        let marker = &markers.marker;
        let marked =
            Producer { id: ProducerId(marker.producer_id), epoch: ProducerEpoch(marker.producer_epoch) };
        let outcome = if marker.transaction_result { Outcome::Committed } else { Outcome::Aborted };
        let bumps_epoch = if marker.transaction_version >= 2 { BumpsEpoch::Yes } else { BumpsEpoch::No };
        let mut partitions = Vec::new();
        for topic in &marker.topics {
            for index in &topic.partition_indexes {
                let number = usize::try_from(*index).unwrap_or(0);
                let partition = &mut self.partitions[number];
                let refusal = partition.mark(marked, outcome, marker.coordinator_epoch, bumps_epoch).err();
                if refusal.is_none() {
                    self.checks.all_or_nothing.marked(partition)?;
                }
                partitions.push((topic.name.clone(), *index, refusal));
            }
        }
        if !self.is_lost() {
            let written = MarkersWritten {
                transactional_id: markers.transactional_id.clone(),
                ending: markers.ending,
                partitions,
            };
            let command = Box::new(Command::MarkersWritten(written));
            let at = self.now_us + self.delay();
            self.schedule(at, Event::Request { life: Some(life), asker: Asker::Effect, command });
        }
        Ok(())
    }

    // The clients and the network.

    fn act(&mut self, index: usize) {
        let line = &mut self.clients[index];
        if !line.client.up || line.waits_for.is_some() {
            return;
        }
        if line.client.is_idle() && self.closing == Closing::Begun {
            return;
        }
        let Some(ask) = line.client.act(PARTITIONS, &mut self.random) else { return };
        self.scheduled += 1;
        let number = self.scheduled;
        let line = &mut self.clients[index];
        line.waits_for = Some(number);
        let key = line.client.key();
        self.schedule(self.now_us + PATIENCE_US, Event::Impatience { client: index, number });
        if self.is_lost() {
            return;
        }
        let copies = 1 + u64::from(self.random.below(10_000) < self.faults.repetition);
        self.figures.repeated += copies - 1;
        for _ in 0..copies {
            let at = (self.now_us + self.delay()).max(self.clients[index].last_arrival_us + 1);
            self.clients[index].last_arrival_us = at;
            let event = match ask.clone() {
                Ask::Coordinator(command) => {
                    let asker = Asker::Client { key, number, newest: None };
                    Event::Request { life: None, asker, command: Box::new(command) }
                }
                Ask::Partition(partition, produced) => Event::Produce { partition, produced, number },
            };
            self.schedule(at, event);
        }
    }

    fn answer(&mut self, client: usize, number: u64, heard: Heard) {
        if !self.is_lost() {
            let at = self.now_us + self.delay();
            self.schedule(at, Event::Answer { client, number, heard: Box::new(heard) });
        }
    }

    fn heard(&mut self, index: usize, number: u64, heard: Heard) {
        let line = &mut self.clients[index];
        if !line.client.up || line.waits_for != Some(number) {
            return;
        }
        line.waits_for = None;
        let key = line.client.key();
        if let (Heard::Produced(None), Some(partition)) = (&heard, line.client.writes_to()) {
            self.checks.all_or_nothing.acknowledged(key, partition);
        }
        match line.client.hear(heard, &mut self.random) {
            Next::After(rest_us) => self.schedule(self.now_us + rest_us, Event::Act { client: index }),
            Next::Dies => {
                line.client.up = false;
                let later = self.now_us + self.random.below(500_000);
                self.schedule(later, Event::Start { client: index });
            }
        }
    }

    fn is_lost(&mut self) -> bool {
        let lost = self.random.below(10_000) < self.faults.loss;
        self.figures.lost += u64::from(lost);
        lost
    }

    fn delay(&mut self) -> u64 {
        let late = self.random.below(10_000) < self.faults.lateness;
        200 + self.random.below(5_000) + if late { self.random.below(2_000_000) } else { 0 }
    }

    // What goes wrong.

    fn go_wrong(&mut self, fault: Fault) -> Result<(), Violation> {
        self.trace.line(format_args!("{} {fault:?}", self.now_us));
        match fault {
            Fault::Crash => self.crash(),
            Fault::Resign => return self.resign(),
            Fault::Refuse => {
                self.figures.refusals += 1;
                self.host.journal.refuses = Some(Refusal::NotEnoughReplicas);
                let later = self.now_us + self.random.below(3_000_000);
                self.schedule(later, Event::Accept);
            }
            Fault::Die => {
                self.figures.deaths += 1;
                let client = usize::try_from(self.random.below(CLIENTS as u64)).unwrap_or(0);
                self.clients[client].client.up = false;
                let later = self.now_us + self.random.below(3_000_000);
                self.schedule(later, Event::Start { client });
            }
        }
        Ok(())
    }

    fn crash(&mut self) {
        if self.host.hosted.is_none() {
            return;
        }
        let cuts = self.host.journal.cuts();
        let cut = if self.random.below(10_000) < self.faults.tail_lost {
            self.host.journal.high_watermark
        } else {
            cuts[usize::try_from(self.random.below(cuts.len() as u64)).unwrap_or(0)]
        };
        self.figures.crashes += 1;
        self.figures.losses += u64::from(cut < self.host.journal.end());
        self.host.crash(cut);
        self.waiting.clear();
        self.replace();
    }

    fn resign(&mut self) -> Result<(), Violation> {
        if self.host.hosted.is_none() {
            return Ok(());
        }
        self.figures.resigned += 1;
        let tickets = self.host.resign();
        for ticket in &tickets {
            if let Some(asked) = self.waiting.remove(ticket) {
                self.reply(&asked.asker, Refusal::NotCoordinator.into());
            }
        }
        if let Some((ticket, asked)) = self.waiting.pop_first() {
            let what = format!("{ticket:?} is forgotten: {asked:?}");
            return Err(Violation { invariant: "whoever resigns refuses everybody who waits", what });
        }
        self.replace();
        Ok(())
    }

    fn replace(&mut self) {
        let life = self.host.life;
        let longest = if self.random.below(3) == 0 { 3_000_000 } else { 200_000 };
        let later = self.now_us + 1_000 + self.random.below(longest);
        self.schedule(later, Event::Begin { life });
    }

    fn in_time(&self) -> Result<(), Violation> {
        let late = self.waiting.values().find(|asked| asked.at_us + LONGEST_US < self.now_us);
        late.map_or(Ok(()), |asked| {
            let what = format!("at {} still {asked:?}", self.now_us);
            Err(Violation { invariant: "every request is answered in time", what })
        })
    }

    fn heal(&mut self) {
        self.trace.line(format_args!("{} healed", self.now_us));
        self.faults = Faults::none();
        self.host.journal.refuses = None;
        self.closing = Closing::Begun;
        self.events.retain(|_, event| !matches!(event, Event::Fault(_)));
    }

    fn again(&mut self, fault: Fault) {
        let every_ms = match fault {
            Fault::Crash => self.faults.crash_every_ms,
            Fault::Resign => self.faults.resign_every_ms,
            Fault::Refuse => self.faults.refusal_every_ms,
            Fault::Die => self.faults.death_every_ms,
        };
        if every_ms > 0 {
            let at = self.now_us + 1 + self.random.below(2_000 * every_ms);
            self.schedule(at, Event::Fault(fault));
        }
    }

    fn schedule(&mut self, at_us: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((at_us, self.scheduled), event);
    }
}

impl Fault {
    const ALL: [Self; 4] = [Self::Crash, Self::Resign, Self::Refuse, Self::Die];
}

fn unreadable(what: String) -> Violation {
    Violation { invariant: "the log can be loaded", what }
}
