//! The made-up world: nodes, a network between them, a clock for each, and a seed that decides all.
//!
//! It picks the next event in time, lets it happen, and asks the checkers whether all still holds. The nodes are
//! replicas of the metadata quorum for now; whole nodes and clients take their place here.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_log::disk::Crash;
use ottla_protocol::{NodeId, Offset};
use ottla_raft::message::{Answer, Ask, Ballot, Request, Response};
use ottla_raft::mutant::Mutant;
use ottla_raft::random::Random;
use ottla_raft::{Input, Output, Peer, RaftConfig, Role, Ticket};

use crate::check::{Checks, Violation};
use crate::clock::Clock;
use crate::faults::{Faults, Figures};
use crate::network::{Fate, Network};
use crate::replica::{self, Replica};
use crate::trace::Trace;

/// A run of one seed.
#[derive(Debug)]
pub struct World {
    /// What goes wrong.
    pub faults: Faults,
    /// What really happened.
    pub figures: Figures,
    /// All of it.
    pub trace: Trace,
    /// The nodes.
    pub replicas: Vec<Replica>,
    random: Random,
    now_us: u64,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    network: Network,
    asked: BTreeMap<Ticket, Asked>,
    checks: Checks,
    mutant: Option<Mutant>,
    voters: Vec<NodeId>,
    next_value: u64,
}

/// How many nodes there are, numbered from 1, the voters first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Those that vote.
    pub voters: i32,
    /// Those that only follow, as brokers do.
    pub observers: i32,
}

/// Something that will happen.
#[derive(Debug)]
enum Event {
    /// A node's deadline; void if the node was stepped since.
    Wake { node: usize, life: u64, deadline: u64 },
    /// A request arrives.
    Request { from: Sender, to: usize, request: Request },
    /// A response arrives.
    Response { from: usize, to: Sender, response: Response },
    /// A node hears that its request was lost.
    Failed { to: Sender },
    /// Somebody appends something at whoever leads.
    Append,
    /// A node is crashed.
    Crash,
    /// A node is started again.
    Start { node: usize, life: u64 },
    /// The network is cut.
    Cut,
    /// The network is whole again.
    Heal,
    /// A leader resigns.
    Resign,
    /// A node writes a snapshot and throws away its log.
    Snapshot,
}

/// Who asked, in which life, and under which number it expects the answer.
#[derive(Clone, Copy, Debug)]
struct Sender {
    node: usize,
    life: u64,
    peer: Peer,
    correlation: u64,
}

#[derive(Debug)]
struct Asked {
    sender: Sender,
    vote: Option<(ottla_raft::ReplicaKey, ottla_protocol::LeaderEpoch)>,
}

/// Deep checks are made every so many events.
const DEEP_EVERY: u64 = 400;
/// How long a healed world may take to work again, in µs.
const HEALING_US: u64 = 15_000_000;

impl World {
    /// A world of nodes that all start now.
    #[must_use]
    pub fn new(seed: u64, shape: Shape, mutant: Option<Mutant>, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let faults = Faults::from_seed(&mut random);
        Self::with_faults((random, faults), shape, mutant, trace)
    }

    /// The same with chosen faults.
    #[must_use]
    pub fn with_faults(
        (mut random, faults): (Random, Faults),
        shape: Shape,
        mutant: Option<Mutant>,
        trace: Trace,
    ) -> Self {
        let mut drift = || {
            let width = 2 * faults.drift_us_per_s + 1;
            i64::try_from(random.below(width)).unwrap_or(0)
                - i64::try_from(faults.drift_us_per_s).unwrap_or(0)
        };
        let replicas: Vec<Replica> = (1..=shape.voters + shape.observers)
            .map(|id| Replica::new(NodeId(id), Clock::new(drift())))
            .collect();
        let mut world = Self {
            faults,
            figures: Figures::default(),
            trace,
            replicas,
            random,
            now_us: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            network: Network::default(),
            asked: BTreeMap::new(),
            checks: Checks::default(),
            mutant,
            voters: (1..=shape.voters).map(NodeId).collect(),
            next_value: 0,
        };
        for node in 0..world.replicas.len() {
            world.schedule(0, Event::Start { node, life: 0 });
        }
        world.schedule(1_000, Event::Append);
        world.schedule_faults();
        world
    }

    /// Runs through the bad time and then heals the world and demands that it works.
    ///
    /// # Errors
    /// The invariant that did not hold.
    pub fn run(&mut self, bad_ms: u64) -> Result<(), Violation> {
        self.suffer(bad_ms)?;
        self.heal();
        let deadline = self.now_us + HEALING_US;
        self.run_until(deadline)?;
        self.checks.deeply(&mut self.replicas)?;
        self.works()
    }

    /// Runs through the bad time alone.
    ///
    /// # Errors
    /// The invariant that did not hold.
    pub fn suffer(&mut self, bad_ms: u64) -> Result<(), Violation> {
        self.run_until(self.now_us + bad_ms * 1_000)?;
        self.checks.deeply(&mut self.replicas)
    }

    fn run_until(&mut self, end_us: u64) -> Result<(), Violation> {
        while let Some(next) = self.events.first_entry().filter(|next| next.key().0 <= end_us) {
            self.now_us = next.key().0;
            let event = next.remove();
            self.figures.events += 1;
            self.happen(event)?;
            if self.figures.events.is_multiple_of(DEEP_EVERY) {
                self.checks.deeply(&mut self.replicas)?;
            }
        }
        self.now_us = end_us;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Wake { node, life, deadline } => {
                let replica = &self.replicas[node];
                let due =
                    replica.raft.as_ref().and_then(ottla_raft::Raft::deadline).map(|deadline| deadline.0);
                if replica.life == life && due == Some(deadline) {
                    return self.step(node, Input::Tick);
                }
                Ok(())
            }
            Event::Request { from, to, request } => self.arrive(from, to, request),
            Event::Response { from, to, response } => {
                self.trace.line(format_args!("{} response {from}→{}: {response:?}", self.now_us, to.node));
                self.give(to, |Sender { peer, correlation, .. }| Input::Response {
                    from: peer,
                    correlation,
                    response,
                })
            }
            Event::Failed { to } => {
                self.give(to, |Sender { peer, correlation, .. }| Input::Failed { to: peer, correlation })
            }
            Event::Append => self.append(),
            Event::Crash => self.crash_one(),
            Event::Start { node, life } if self.replicas[node].life == life => self.start(node),
            Event::Start { .. } => Ok(()),
            Event::Cut => {
                let ids = self.ids();
                self.network.cut(&ids, &mut self.random);
                self.heal_later();
                self.again(self.faults.cut_every_ms, Event::Cut);
                Ok(())
            }
            Event::Heal => {
                self.network.heal();
                Ok(())
            }
            Event::Resign => self.resign(),
            Event::Snapshot => self.snapshot(),
        }
    }

    fn ids(&self) -> Vec<NodeId> {
        self.replicas.iter().map(|replica| replica.id).collect()
    }

    fn heal_later(&mut self) {
        self.figures.cuts += 1;
        let whole_again = self.now_us + 100_000 + self.random.below(5_000_000 / u64::from(self.faults.hurry));
        self.schedule(whole_again, Event::Heal);
    }

    fn arrive(&mut self, from: Sender, to: usize, request: Request) -> Result<(), Violation> {
        if self.replicas[to].raft.is_none() {
            self.figures.lost += 1;
            return Ok(());
        }
        self.figures.delivered += 1;
        self.trace.line(format_args!("{} request {}→{to}: {request:?}", self.now_us, from.node));
        self.scheduled += 1;
        let ticket = Ticket(self.scheduled);
        let vote = match &request.ask {
            Ask::Vote { ballot: Ballot::Vote, .. } => Some((request.from, request.epoch)),
            _ => None,
        };
        self.asked.insert(ticket, Asked { sender: from, vote });
        self.step(to, Input::Request { ticket, request })
    }

    fn give(&mut self, to: Sender, input: impl FnOnce(Sender) -> Input) -> Result<(), Violation> {
        if self.replicas[to.node].life != to.life || self.replicas[to.node].raft.is_none() {
            self.figures.lost += 1;
            return Ok(());
        }
        self.figures.delivered += 1;
        self.step(to.node, input(to))
    }

    /// Lets one input happen to a node, carries out what comes of it, and checks.
    fn step(&mut self, node: usize, input: Input) -> Result<(), Violation> {
        let now = self.replicas[node].clock.at(self.now_us);
        let mut out = Vec::new();
        let replica = &mut self.replicas[node];
        let Some(raft) = &mut replica.raft else { return Ok(()) };
        let (led, end) = (matches!(raft.role(), Role::Leader(_)), raft.log_end().offset);
        raft.step(now, input, &mut out);
        self.figures.elections += u64::from(!led && matches!(raft.role(), Role::Leader(_)));
        self.figures.truncations += u64::from(raft.log_end().offset < end);
        let delicate = out.iter().any(is_delicate) || (led != matches!(raft.role(), Role::Leader(_)));
        for output in out {
            self.trace.line(format_args!("{} node {node}: {output:?}", self.now_us));
            if let Output::Fatal(fatal) = &output {
                return self.died(node, fatal);
            }
            self.carry_out(node, output)?;
        }
        self.checks.after_event(&self.replicas[node])?;
        if delicate && self.random.below(10_000) < self.faults.ambush {
            self.ambush(node);
        }
        self.schedule_wake(node);
        Ok(())
    }

    /// Crashes a node, or cuts it off, or both: it, or another one at the same time.
    fn ambush(&mut self, node: usize) {
        self.figures.ambushes += 1;
        let other = self.below(self.replicas.len());
        let ids = self.ids();
        let (crashed, isolated) = match self.random.below(4) {
            0 => (Some(node), None),
            1 => (None, Some(node)),
            2 => (Some(node), Some(other)),
            _ => (Some(other), Some(node)),
        };
        if let Some(isolated) = isolated {
            self.network.isolate(ids[isolated], &ids);
            self.heal_later();
        }
        if let Some(crashed) = crashed.filter(|crashed| self.replicas[*crashed].raft.is_some()) {
            self.crash(crashed);
        }
    }

    fn carry_out(&mut self, node: usize, output: Output) -> Result<(), Violation> {
        match output {
            Output::Send { to, correlation, request } => {
                let Peer::Node(id) = to else { return Ok(()) };
                let Some(target) = self.replicas.iter().position(|replica| replica.id == id) else {
                    return Ok(());
                };
                let from = Sender { node, life: self.replicas[node].life, peer: to, correlation };
                self.transmit((node, target), Event::Failed { to: from }, || Event::Request {
                    from,
                    to: target,
                    request: request.clone(),
                });
            }
            Output::Reply { ticket, response } => {
                let Some(Asked { sender, vote }) = self.asked.remove(&ticket) else { return Ok(()) };
                if let (Some((candidate, epoch)), Answer::Vote { granted: true }) = (vote, &response.answer) {
                    self.checks.granted(self.replicas[node].id, epoch, candidate)?;
                }
                self.transmit((node, sender.node), Event::Failed { to: sender }, || Event::Response {
                    from: node,
                    to: sender,
                    response: response.clone(),
                });
            }
            Output::LoadSnapshot(id) => {
                let replica = &mut self.replicas[node];
                self.figures.snapshots_fetched += u64::from(replica.state.end > Offset::ZERO);
                replica
                    .load(id)
                    .map_err(|error| self.broken(node, "snapshots can be loaded", &error.to_string()))?;
                let replica = &self.replicas[node];
                self.checks.committed.see_state(replica.id, &replica.state)?;
            }
            Output::Committed(batch) => {
                if !self.replicas[node].apply(&batch) {
                    return Err(self.broken(node, "committed without gaps", &format!("{batch:?}")));
                }
                let led = self.replicas[node].leads == Some(batch.epoch);
                self.figures.acknowledged += u64::from(led);
                self.checks.applied(&self.replicas[node], &batch)?;
            }
            Output::LeaderChanged(change) => {
                let replica = &mut self.replicas[node];
                replica.leads = (change.leader == Some(replica.id)).then_some(change.epoch);
            }
            Output::Fatal(_) => {}
        }
        Ok(())
    }

    /// Sends a message on its way: it arrives, perhaps twice, or is lost, and then its sender may be told.
    fn transmit(&mut self, way: (usize, usize), failed: Event, message: impl Fn() -> Event) {
        let ids = (self.replicas[way.0].id, self.replicas[way.1].id);
        match self.network.send(ids, &self.faults, &mut self.random, &mut self.figures) {
            Fate::Arrives(delays) => {
                for delay in delays {
                    self.schedule(self.now_us + delay, message());
                }
            }
            Fate::Lost { noticed_after_us: Some(delay) } => self.schedule(self.now_us + delay, failed),
            Fate::Lost { noticed_after_us: None } => {}
        }
    }

    fn append(&mut self) -> Result<(), Violation> {
        let leaders: Vec<usize> = (0..self.replicas.len())
            .filter(|node| {
                let raft = self.replicas[*node].raft.as_ref();
                raft.is_some_and(|raft| matches!(raft.role(), Role::Leader(_)))
            })
            .collect();
        self.again(self.faults.append_every_ms, Event::Append);
        let Some(&node) = leaders.get(self.below(leaders.len())) else { return Ok(()) };
        let values: Vec<Bytes> = (0..1 + self.random.below(3)).map(|_| self.new_value()).collect();
        let replica = &mut self.replicas[node];
        let now = replica.clock.at(self.now_us);
        let Some(raft) = &mut replica.raft else { return Ok(()) };
        let (epoch, end) = (raft.election().epoch, raft.log_end().offset);
        match raft.append(now, epoch, &values) {
            Ok(offset) if offset == end => self.figures.appends += 1,
            Ok(offset) => {
                let what = format!("appended at {offset} where the log ended at {end}");
                return Err(self.broken(node, "offsets are known at once", &what));
            }
            Err(error) => self.trace.line(format_args!("{} node {node}: {error}", self.now_us)),
        }
        self.schedule_wake(node);
        Ok(())
    }

    fn new_value(&mut self) -> Bytes {
        self.next_value += 1;
        let mut value = self.next_value.to_be_bytes().to_vec();
        value.resize(8 + usize::try_from(self.random.below(40)).unwrap_or(0), 0xee);
        value.into()
    }

    fn resign(&mut self) -> Result<(), Violation> {
        self.again(self.faults.resign_every_ms, Event::Resign);
        let leader = self.replicas.iter().position(|replica| replica.leads.is_some());
        match leader {
            Some(node) => {
                let epoch = self.replicas[node].leads.unwrap_or_default();
                self.step(node, Input::Resign { epoch })
            }
            None => Ok(()),
        }
    }

    fn snapshot(&mut self) -> Result<(), Violation> {
        self.again(self.faults.snapshot_every_ms, Event::Snapshot);
        let node = self.below(self.replicas.len());
        let replica = &mut self.replicas[node];
        let Some(raft) = &mut replica.raft else { return Ok(()) };
        let now = replica.clock.at(self.now_us);
        let written =
            raft.begin_snapshot(replica.state.end, replica.state.last_append_ms).and_then(|mut writer| {
                writer.append(&[replica.state.to_bytes()])?;
                raft.snapshot_written(writer.finish()?)?;
                Ok(raft.clean(now)?)
            });
        match written {
            Ok(()) => self.figures.snapshots += 1,
            Err(ottla_raft::SnapshotError::Refused { .. }) => {}
            Err(ottla_raft::SnapshotError::Disk(error)) => return self.died(node, &error),
        }
        self.schedule_wake(node);
        Ok(())
    }

    fn crash_one(&mut self) -> Result<(), Violation> {
        self.again(self.faults.crash_every_ms, Event::Crash);
        let node = self.below(self.replicas.len());
        if self.replicas[node].raft.is_none() {
            return Ok(());
        }
        if self.random.below(10_000) < self.faults.crash_in_disk {
            let replica = &mut self.replicas[node];
            replica.disk.crash_at(1 + self.random.below(8));
            replica.doomed = true;
            return Ok(());
        }
        self.crash(node);
        Ok(())
    }

    fn crash(&mut self, node: usize) {
        let seed = self.random.next_u64();
        let crash = match self.random.below(10_000) {
            chance if chance >= self.faults.power_loss => Crash::Process,
            chance if chance % 3 == 0 => Crash::Power,
            chance if chance % 3 == 1 => Crash::Torn { seed },
            _ => Crash::Scattered { seed },
        };
        self.trace.line(format_args!("{} node {node} crashes: {crash:?}", self.now_us));
        self.figures.crashes += 1;
        self.figures.power_losses += u64::from(crash != Crash::Process);
        let replica = &mut self.replicas[node];
        replica.crash(crash);
        let life = replica.life;
        let longest =
            if self.random.below(2) == 0 { 50_000 } else { 3_000_000 / u64::from(self.faults.hurry) };
        let later = self.now_us + 1_000 + self.random.below(longest);
        self.schedule(later, Event::Start { node, life });
    }

    /// A node has given up. That is right only if its disk has failed.
    fn died(&mut self, node: usize, why: &dyn std::fmt::Display) -> Result<(), Violation> {
        if self.replicas[node].disk.has_crashed() {
            self.crash(node);
            return Ok(());
        }
        Err(self.broken(node, "no node dies of the protocol", &why.to_string()))
    }

    fn start(&mut self, node: usize) -> Result<(), Violation> {
        let seed = self.random.next_u64();
        let replica = &mut self.replicas[node];
        let mut config =
            RaftConfig::new(replica::DIR, replica::key(replica.id), replica::voters(&self.voters));
        config.may_vote = self.voters.contains(&replica.id);
        config.cluster_id = Some("sim".to_owned());
        config.mutant = self.mutant;
        let timing = &mut config.timing;
        timing.election_timeout_ms /= self.faults.hurry;
        timing.fetch_timeout_ms /= self.faults.hurry;
        timing.request_timeout_ms /= self.faults.hurry;
        timing.fetch_max_wait_ms /= self.faults.hurry.cast_signed();
        timing.fetch_max_bytes = self.faults.fetch_max_bytes;
        timing.fetch_snapshot_max_bytes = 64;
        // One snapshot is enough: whoever is behind has to fetch it.
        config.retention.max_bytes = 0;
        let now = replica.clock.at(self.now_us);
        self.trace.line(format_args!("{} node {node} starts", self.now_us));
        match replica.start(config, seed, now) {
            Ok(()) => {
                self.checks.after_event(&self.replicas[node])?;
                self.schedule_wake(node);
                Ok(())
            }
            Err(error) => self.died(node, &error),
        }
    }

    fn schedule_wake(&mut self, node: usize) {
        let replica = &self.replicas[node];
        if let Some(deadline) = replica.raft.as_ref().and_then(ottla_raft::Raft::deadline) {
            let at = replica.clock.world_time_of(deadline).max(self.now_us + 1);
            let life = replica.life;
            self.schedule(at, Event::Wake { node, life, deadline: deadline.0 });
        }
    }

    fn schedule_faults(&mut self) {
        self.again(self.faults.crash_every_ms, Event::Crash);
        self.again(self.faults.cut_every_ms, Event::Cut);
        self.again(self.faults.resign_every_ms, Event::Resign);
        self.again(self.faults.snapshot_every_ms, Event::Snapshot);
    }

    /// Schedules something that comes every `every_ms` on average; never, if that is 0.
    fn again(&mut self, every_ms: u64, event: Event) {
        if every_ms > 0 {
            let at = self.now_us + 1 + self.random.below(2_000 * every_ms);
            self.schedule(at, event);
        }
    }

    fn schedule(&mut self, at_us: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((at_us, self.scheduled), event);
    }

    fn heal(&mut self) {
        self.trace.line(format_args!("{} healed", self.now_us));
        // What is slow stays slow, but nothing fails any more.
        let Faults { drift_us_per_s, hurry, fetch_max_bytes, .. } = self.faults;
        self.faults = Faults { drift_us_per_s, hurry, fetch_max_bytes, ..Faults::none() };
        self.network.heal();
        self.events
            .retain(|_, event| !matches!(event, Event::Crash | Event::Cut | Event::Resign | Event::Snapshot));
        for node in 0..self.replicas.len() {
            if self.replicas[node].doomed && self.replicas[node].raft.is_some() {
                self.crash(node);
            }
        }
    }

    /// A healed world has a leader whom all follow, and everybody has applied something that was appended since.
    fn works(&self) -> Result<(), Violation> {
        let fail = |what: String| Err(Violation { invariant: "a healed quorum works", what });
        let mut leaders = Vec::new();
        for replica in &self.replicas {
            let Some(raft) = &replica.raft else { return fail(format!("node {} is down", replica.id)) };
            leaders.push(raft.leader_and_epoch());
        }
        if leaders.iter().any(|known| known.leader.is_none() || known != &leaders[0]) {
            return fail(format!("no common leader: {leaders:?}"));
        }
        let ends: Vec<Offset> = self.replicas.iter().map(|replica| replica.state.end).collect();
        let newest = ends.iter().max().copied().unwrap_or_default();
        // What was appended in the last moments may still be on its way.
        if newest == Offset::ZERO || ends.iter().any(|end| end.0 + 60 < newest.0) {
            return fail(format!("no progress everywhere: {ends:?}"));
        }
        if !leaders.iter().all(|known| self.replicas.iter().any(|r| r.leads == Some(known.epoch))) {
            return fail("the leader does not know that it leads".to_owned());
        }
        Ok(())
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound as u64)).unwrap_or(0)
    }

    fn broken(&self, node: usize, invariant: &'static str, what: &str) -> Violation {
        Violation { invariant, what: format!("node {}: {what}", self.replicas[node].id) }
    }
}

/// Whether this is a moment at which a crash would hurt most.
fn is_delicate(output: &Output) -> bool {
    match output {
        Output::Reply { response, .. } => matches!(response.answer, Answer::Vote { granted: true }),
        Output::Committed(_) => true,
        Output::Send { request, .. } => matches!(request.ask, Ask::Vote { ballot: Ballot::Vote, .. }),
        _ => false,
    }
}
