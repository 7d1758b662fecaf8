//! The world of groups: one coordinator whose host changes, a log, and the members of some groups of either protocol.
//!
//! Everything follows from a seed. After every event the checkers look; in the end nothing goes wrong any more, and
//! every group has to be stable and everything assigned.

pub mod check;
pub mod classic;
pub mod client;
pub mod cluster;
pub mod consumer;

pub mod visitor;

use std::collections::BTreeMap;

use ottla_coordinator::Released;
use ottla_coordinator::group::{Command, Groups, Reply};
use ottla_coordinator::mutant::{Mutant, Planted};
use ottla_protocol::{Offset, Refusal, Ticket};
use ottla_raft::random::Random;

use self::check::{Asked, Checks, Freshness, settled};
use self::classic::Classic;
use self::client::{Client, Member, Move, Purpose};
use self::cluster::Cluster;
use self::consumer::Consumer;
use self::visitor::Visitors;
use crate::check::Violation;
use crate::coordinated::faults::{Faults, Figures};
use crate::coordinated::host::{self, Host};
use crate::trace::Trace;

/// A run of one seed.
#[derive(Debug)]
pub struct GroupsWorld {
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
    host: Host<Groups>,
    cluster: Cluster,
    clients: Vec<Client>,
    visitors: Visitors,
    checks: Checks,
    /// When the coordinator will be woken, and how often it was without doing anything.
    wake: Option<u64>,
    idle_wakes: u64,
    planted: Planted,
    /// Why the coordinator writes what it writes now.
    cause: Freshness,
}

/// Something that will happen.
#[derive(Debug)]
enum Event {
    /// The coordinator's deadline.
    Wake { due: u64 },
    /// Records are committed.
    Commit { life: u64, end: Offset },
    /// A request arrives.
    Request { client: usize, address: (u64, u64), command: Box<Command> },
    /// An answer arrives.
    Answer { client: usize, address: (u64, u64), reply: Box<Reply> },
    /// A client hears that its connection is closed.
    Closed { client: usize, connection: u64 },
    /// A client acts.
    Act { client: usize, purpose: Purpose },
    /// A client loses patience.
    Impatience { client: usize, purpose: Purpose, correlation: u64 },
    /// A host begins to load.
    Begin { life: u64 },
    /// It has loaded.
    Serve { life: u64 },
    /// Appends succeed again.
    Accept,
    /// A client's process starts.
    Start { client: usize },
    /// Somebody comes by and asks.
    Visit,
    /// A transaction ends.
    End,
    /// Something goes wrong.
    Fault(Fault),
}

/// What may go wrong, or change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Crash,
    Resign,
    Refuse,
    Die,
    Pause,
    Leave,
    Subscribe,
    Grow,
}

/// How long a healed world may take to settle, in µs.
const HEALING_US: u64 = 35_000_000;
/// The number of a request to whose answer nobody listens.
const NOBODY: u64 = 0;
/// How often it is looked whether somebody waits for too long, in events.
const LOOK_EVERY: u64 = 64;

impl GroupsWorld {
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
        let counts: Vec<i32> = (0..2).map(|_| 1 + i32::try_from(random.below(4)).unwrap_or(0)).collect();
        let mut world = Self {
            faults,
            figures: Figures::default(),
            trace,
            random,
            now_us: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            host: Host::new(),
            cluster: Cluster::new(&counts),
            clients: Vec::new(),
            visitors: Visitors::default(),
            checks: Checks::default(),
            wake: None,
            idle_wakes: 0,
            planted: Planted::new(mutant),
            cause: Freshness::Asked,
        };
        world.populate();
        world.schedule(0, Event::Begin { life: 0 });
        world.schedule(1, Event::Visit);
        world.schedule(2, Event::End);
        for fault in Fault::ALL {
            world.again(fault);
        }
        world
    }

    fn populate(&mut self) {
        for (group, kind) in [("classic", 0), ("consumer", 1), ("mixed", 2)] {
            let members = 1 + self.random.below(4);
            for number in 0..members {
                let index = self.clients.len();
                let by_join = kind == 0 || kind == 2 && self.random.below(2) == 0;
                let member = if by_join {
                    Member::Classic(Classic::new())
                } else {
                    Member::Consumer(Consumer::new(String::new()))
                };
                let instance = (self.random.below(3) == 0).then(|| format!("i{number}"));
                let topics = if self.random.below(3) == 0 { vec![0] } else { vec![0, 1] };
                self.clients.push(Client::new(index, group, member, instance, topics));
                let at = self.random.below(3_000_000);
                self.schedule(at, Event::Start { client: index });
            }
        }
    }

    /// Runs through the bad time and then heals the world and demands that it settles.
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
        settled(&self.clients, hosted.decider(), &self.cluster)?;
        self.checks.committed.same_as(hosted.decider().offsets())
    }

    fn run_until(&mut self, end_us: u64) -> Result<(), Violation> {
        while let Some(next) = self.events.first_entry().filter(|next| next.key().0 <= end_us) {
            self.now_us = next.key().0;
            let event = next.remove();
            self.figures.events += 1;
            self.happen(event)?;
            if self.figures.events.is_multiple_of(LOOK_EVERY) {
                self.checks.answers.in_time(self.now_us)?;
                self.same_state()?;
            }
        }
        self.now_us = end_us;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Wake { due } => self.wake(due),
            Event::Commit { life, end } => {
                if life == self.host.life {
                    self.host.advance(end);
                    return self.after_host();
                }
                Ok(())
            }
            Event::Request { client, address, command } => self.arrive(client, address, *command),
            Event::Answer { client, address, reply } => self.answered(client, address, *reply),
            Event::Closed { client, connection } => {
                if self.clients[client].connection == connection {
                    self.hang_up(client);
                }
                Ok(())
            }
            Event::Act { client, purpose } => self.act(client, purpose),
            Event::Impatience { client, purpose, correlation } => {
                let waits = self.clients[client].under_way[purpose as usize];
                if waits.is_some_and(|under_way| under_way.correlation == correlation) {
                    self.hang_up(client);
                }
                Ok(())
            }
            Event::Begin { life } => self.begin(life),
            Event::Serve { life } => self.serve(life),
            Event::Accept => {
                self.host.journal.refuses = None;
                Ok(())
            }
            Event::Start { client } => {
                if !self.clients[client].up {
                    self.clients[client].start(self.now_us);
                    self.rest(client, Purpose::Membership, 0);
                    self.rest(client, Purpose::Work, 0);
                }
                Ok(())
            }
            Event::Visit => self.visit(),
            Event::End => self.end_transaction(),
            Event::Fault(fault) => {
                self.again(fault);
                self.go_wrong(fault)
            }
        }
    }

    // The coordinator.

    fn begin(&mut self, life: u64) -> Result<(), Violation> {
        if life != self.host.life {
            return Ok(());
        }
        let seed = self.random.next_u64();
        let mut groups = Groups::new(host::settings(), seed);
        groups.plant(self.planted);
        self.host.begin(seed, groups, self.planted);
        self.host.load(self.host.journal.high_watermark).map_err(unreadable)?;
        let later = self.now_us + 1_000 + self.random.below(500_000);
        self.schedule(later, Event::Serve { life });
        Ok(())
    }

    fn serve(&mut self, life: u64) -> Result<(), Violation> {
        if life != self.host.life {
            return Ok(());
        }
        let end = self.host.journal.end();
        self.host.load(end).map_err(unreadable)?;
        self.host.serve(self.now_us, &self.cluster.image);
        self.commit_later(end);
        self.same_state()?;
        self.after_host()
    }

    /// What the coordinator knows is what its log says.
    fn same_state(&self) -> Result<(), Violation> {
        let serving = self.host.hosted.as_ref().filter(|hosted| !hosted.is_loading());
        serving.map_or(Ok(()), |hosted| self.checks.committed.same_as(hosted.decider().offsets()))
    }

    fn visit(&mut self) -> Result<(), Violation> {
        let later = self.now_us + 1 + self.random.below(600_000);
        self.schedule(later, Event::Visit);
        let command = self.visitors.ask(&self.cluster, &mut self.random);
        self.arrive(usize::MAX, (0, 0), command)
    }

    /// The end of a transaction comes into the log from elsewhere.
    fn end_transaction(&mut self) -> Result<(), Violation> {
        let later = self.now_us + 1 + self.random.below(2_000_000);
        self.schedule(later, Event::End);
        let serves = self.host.hosted.as_ref().is_some_and(|hosted| !hosted.is_loading());
        if serves
            && self.host.journal.refuses.is_none()
            && let Some(marker) = self.visitors.end(&mut self.random)
        {
            self.host.journal.append_foreign(marker);
            self.host.load(self.host.journal.end()).map_err(unreadable)?;
        }
        self.after_host()
    }

    fn arrive(&mut self, client: usize, address: (u64, u64), command: Command) -> Result<(), Violation> {
        if self.host.hosted.is_none() {
            // Either the node is gone, or it says that it is not the coordinator.
            if self.random.below(2) == 0 {
                self.close(client, address.0);
            } else {
                self.send_answer(client, address, Refusal::NotCoordinator.into());
            }
            return Ok(());
        };
        self.figures.asked += 1;
        self.trace.line(format_args!("{} client {client} asks", self.now_us));
        self.trace.remark(format_args!("{} client {client} asks: {command:?}", self.now_us));
        self.scheduled += 1;
        let ticket = Ticket { asker: client as u64, question: self.scheduled };
        let asked = Asked {
            client,
            address,
            at_us: self.now_us,
            high_watermark: self.host.journal.high_watermark,
            command: command.clone(),
        };
        self.checks.answers.asked(ticket, asked);
        self.host.ask(self.now_us, &self.cluster.image, ticket, command);
        self.after_host()
    }

    /// Looks at what the coordinator has written, and sends what it answers.
    fn after_host(&mut self) -> Result<(), Violation> {
        let fresh = self.host.journal.take_new();
        if let Some(last) = fresh.last() {
            let end = last.header().next_offset();
            for batch in &fresh {
                self.trace.line(format_args!("{} {:x?}", self.now_us, batch.header));
                self.checks.appended(batch, self.cause)?;
            }
            self.commit_later(end);
        }
        for released in self.host.released() {
            let Released::Reply(ticket, reply) = released;
            let asked = self.checks.answers.answered(ticket)?;
            self.figures.answered += 1;
            self.trace.line(format_args!("{} to client {}", self.now_us, asked.client));
            self.trace.remark(format_args!("{} to client {}: {reply:?}", self.now_us, asked.client));
            self.checks.owners.told(&asked, &reply, &self.cluster)?;
            self.checks.committed.told(&asked, &reply, self.host.journal.high_watermark)?;
            if let Reply::Refused(Refusal::UnknownServerError) = reply {
                let what = format!("{asked:?}");
                return Err(Violation { invariant: "nothing is an unknown error", what });
            }
            self.figures.granted += u64::from(!matches!(reply, Reply::Refused(_)));
            self.figures.commits += u64::from(matches!(reply, Reply::CommitOffsets(_)));
            self.send_answer(asked.client, asked.address, reply);
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

    /// Lets the coordinator do what time has brought. It may be woken too early; it must not want to be woken for ever.
    fn wake(&mut self, due: u64) -> Result<(), Violation> {
        if self.wake != Some(due) {
            return Ok(());
        }
        self.wake = None;
        if self.host.deadline().is_some_and(|due| due <= self.now_us) {
            let (end, answered) = (self.host.journal.end(), self.figures.answered);
            self.host.tick(self.now_us, &self.cluster.image);
            self.cause = Freshness::Due;
            let outcome = self.after_host();
            self.cause = Freshness::Asked;
            outcome?;
            let idle = end == self.host.journal.end() && answered == self.figures.answered;
            let again = self.host.deadline().is_some_and(|due| due <= self.now_us);
            self.idle_wakes = if idle && again { self.idle_wakes + 1 } else { 0 };
            if self.idle_wakes > 1_000 {
                let what = format!("at {} it wants to be woken again and again", self.now_us);
                return Err(Violation { invariant: "a coordinator rests", what });
            }
            return Ok(());
        }
        self.after_host()
    }

    fn commit_later(&mut self, end: Offset) {
        let later = self.now_us + 200 + self.random.below(self.faults.commit_us);
        let life = self.host.life;
        self.schedule(later, Event::Commit { life, end });
    }

    /// Another host begins in a while.
    fn replace(&mut self) {
        let life = self.host.life;
        let longest = if self.random.below(3) == 0 { 4_000_000 } else { 200_000 };
        let later = self.now_us + 1_000 + self.random.below(longest);
        self.schedule(later, Event::Begin { life });
    }

    // The network.

    fn close(&mut self, client: usize, connection: u64) {
        if client == usize::MAX {
            return;
        }
        let later = self.now_us + 100 + self.random.below(20_000);
        self.schedule(later, Event::Closed { client, connection });
    }

    fn is_lost(&mut self, client: usize, connection: u64) -> bool {
        if self.random.below(10_000) >= self.faults.loss {
            return false;
        }
        self.figures.lost += 1;
        if self.random.below(10_000) < self.faults.loss_noticed {
            self.close(client, connection);
        }
        true
    }

    fn delay(&mut self) -> u64 {
        let late = self.random.below(10_000) < self.faults.lateness;
        200 + self.random.below(5_000) + if late { self.random.below(2_000_000) } else { 0 }
    }

    fn send_request(&mut self, client: usize, address: (u64, u64), command: Command) {
        if self.is_lost(client, address.0) {
            return;
        }
        let copies = 1 + u64::from(self.random.below(10_000) < self.faults.repetition);
        self.figures.repeated += copies - 1;
        for copy in 0..copies {
            // Only the answer to the first is listened to: who hears nothing says everything anew.
            let address = if copy == 0 { address } else { (address.0, NOBODY) };
            let at = (self.now_us + self.delay()).max(self.clients[client].last_arrival_us + 1);
            self.clients[client].last_arrival_us = at;
            let command = Box::new(command.clone());
            self.schedule(at, Event::Request { client, address, command });
        }
    }

    fn send_answer(&mut self, client: usize, address: (u64, u64), reply: Reply) {
        if client != usize::MAX && !self.is_lost(client, address.0) {
            let at = self.now_us + self.delay();
            self.schedule(at, Event::Answer { client, address, reply: Box::new(reply) });
        }
    }

    // The clients.

    fn act(&mut self, client: usize, purpose: Purpose) -> Result<(), Violation> {
        let state = &mut self.clients[client];
        let slot = purpose as usize;
        if !state.up || state.wakes_us[slot] > self.now_us || state.under_way[slot].is_some() {
            return Ok(());
        }
        let next = state.act(purpose, &self.cluster, &mut self.random);
        match next {
            Move::Rest(rest_us) => self.rest(client, purpose, rest_us),
            Move::Ask(command, patience_us) => {
                self.scheduled += 1;
                let correlation = self.scheduled;
                let state = &mut self.clients[client];
                state.sent(purpose, correlation, self.now_us + patience_us);
                let address = (state.connection, correlation);
                self.schedule(self.now_us + patience_us, Event::Impatience { client, purpose, correlation });
                self.send_request(client, address, *command);
            }
        }
        self.checks.owners.believes(&self.clients[client])
    }

    fn answered(&mut self, client: usize, address: (u64, u64), reply: Reply) -> Result<(), Violation> {
        let state = &mut self.clients[client];
        if !state.up || state.connection != address.0 {
            return Ok(());
        }
        let purposes = [Purpose::Membership, Purpose::Work].into_iter();
        let mut waiting = purposes.filter(|purpose| {
            state.under_way[*purpose as usize].is_some_and(|under_way| under_way.correlation == address.1)
        });
        let Some(purpose) = waiting.next() else { return Ok(()) };
        let before: Vec<_> = state.owned.keys().copied().collect();
        let rest_us = state.hear(purpose, reply, &self.cluster, &mut self.random);
        self.figures.moves += u64::from(!state.owned.keys().copied().eq(before));
        self.rest(client, purpose, rest_us);
        self.checks.owners.believes(&self.clients[client])
    }

    fn hang_up(&mut self, client: usize) {
        let waiting = self.clients[client].under_way;
        self.clients[client].hang_up();
        for (purpose, under_way) in [Purpose::Membership, Purpose::Work].into_iter().zip(waiting) {
            if under_way.is_some() {
                self.clients[client].failed(purpose);
                let rest_us = self.random.below(100_000);
                self.rest(client, purpose, rest_us);
            }
        }
    }

    fn rest(&mut self, client: usize, purpose: Purpose, rest_us: u64) {
        let at = self.now_us + rest_us;
        self.clients[client].wakes_us[purpose as usize] = at;
        self.schedule(at, Event::Act { client, purpose });
    }

    // What goes wrong.

    fn go_wrong(&mut self, fault: Fault) -> Result<(), Violation> {
        self.trace.line(format_args!("{} {fault:?}", self.now_us));
        let client = usize::try_from(self.random.below(self.clients.len() as u64)).unwrap_or(0);
        match fault {
            Fault::Crash => return self.crash(),
            Fault::Resign => return self.resign(),
            Fault::Refuse => {
                self.figures.refusals += 1;
                let refusals = [Refusal::NotEnoughReplicas, Refusal::KafkaStorageError];
                let chosen = usize::try_from(self.random.below(2)).unwrap_or(0);
                self.host.journal.refuses = Some(refusals[chosen]);
                let later = self.now_us + self.random.below(3_000_000);
                self.schedule(later, Event::Accept);
            }
            Fault::Die => {
                self.figures.deaths += 1;
                self.clients[client].die();
                let later = self.now_us + self.random.below(10_000_000);
                self.schedule(later, Event::Start { client });
                return self.checks.owners.believes(&self.clients[client]);
            }
            Fault::Pause => {
                self.figures.deaths += 1;
                let until = self.now_us + 5_000_000 + self.random.below(12_000_000);
                // A member that still commits lives, but does not come back when a rebalance wants it.
                let commits_on = self.random.below(2) == 0;
                let both = [Purpose::Membership, Purpose::Work];
                for purpose in both.into_iter().take(if commits_on { 1 } else { 2 }) {
                    if self.clients[client].under_way[purpose as usize].is_none() {
                        self.rest(client, purpose, until - self.now_us);
                    }
                }
            }
            Fault::Leave => self.clients[client].leave(),
            Fault::Subscribe => {
                let topics = [vec![0], vec![1], vec![0, 1]];
                let chosen = usize::try_from(self.random.below(3)).unwrap_or(0);
                self.clients[client].subscribe(topics[chosen].clone());
            }
            Fault::Grow => {
                let topic = usize::try_from(self.random.below(self.cluster.len() as u64)).unwrap_or(0);
                if self.cluster.count(topic) < 8 {
                    self.cluster.grow(topic);
                    // Clients of the classic protocol see it themselves.
                    for client in &mut self.clients {
                        let topics = client.topics.clone();
                        client.subscribe(topics);
                    }
                }
            }
        }
        Ok(())
    }

    fn crash(&mut self) -> Result<(), Violation> {
        if self.host.hosted.is_none() {
            return Ok(());
        }
        let cuts = self.host.journal.cuts();
        let end = self.host.journal.end();
        let cut = if self.random.below(10_000) < self.faults.tail_lost {
            self.host.journal.high_watermark
        } else {
            cuts[usize::try_from(self.random.below(cuts.len() as u64)).unwrap_or(0)]
        };
        self.figures.crashes += 1;
        self.figures.losses += u64::from(cut < end);
        self.host.crash(cut);
        for asked in self.checks.answers.gone() {
            self.close(asked.client, asked.address.0);
        }
        self.replace();
        if cut < end { self.read_again() } else { Ok(()) }
    }

    fn resign(&mut self) -> Result<(), Violation> {
        if self.host.hosted.is_none() {
            return Ok(());
        }
        self.figures.resigned += 1;
        let tickets = self.host.resign();
        for asked in self.checks.answers.resigned(tickets)? {
            self.send_answer(asked.client, asked.address, Refusal::NotCoordinator.into());
        }
        self.replace();
        Ok(())
    }

    /// The checkers forget what the log has lost.
    fn read_again(&mut self) -> Result<(), Violation> {
        self.checks.forget_log();
        self.host.journal.look_again();
        for batch in self.host.journal.take_new() {
            self.checks.appended(&batch, Freshness::Again)?;
        }
        Ok(())
    }

    fn heal(&mut self) {
        self.trace.line(format_args!("{} healed", self.now_us));
        self.faults = Faults::none();
        self.host.journal.refuses = None;
        self.events.retain(|_, event| !matches!(event, Event::Fault(_)));
        for client in 0..self.clients.len() {
            if !self.clients[client].up {
                self.schedule(self.now_us, Event::Start { client });
            }
        }
    }

    /// Schedules a fault's next time.
    fn again(&mut self, fault: Fault) {
        let every_ms = fault.every_ms(&self.faults);
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
    const ALL: [Self; 8] = [
        Self::Crash,
        Self::Resign,
        Self::Refuse,
        Self::Die,
        Self::Pause,
        Self::Leave,
        Self::Subscribe,
        Self::Grow,
    ];

    fn every_ms(self, faults: &Faults) -> u64 {
        match self {
            Self::Crash => faults.crash_every_ms,
            Self::Resign => faults.resign_every_ms,
            Self::Refuse => faults.refusal_every_ms,
            Self::Die => faults.death_every_ms,
            Self::Pause => faults.pause_every_ms,
            Self::Leave => faults.leave_every_ms,
            Self::Subscribe => faults.subscribe_every_ms,
            Self::Grow => faults.growth_every_ms,
        }
    }
}

fn unreadable(what: String) -> Violation {
    Violation { invariant: "the log can be loaded", what }
}
