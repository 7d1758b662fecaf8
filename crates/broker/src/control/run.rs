//! Control itself: inputs in, the metadata log and the controller stepped, outputs out.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use ottla_controller::{Atomicity, Command as Decide, Controller, Decision, Registrant, Reply as Decided};
use ottla_partition::Ticket;
use ottla_protocol::messages::{AllocateProducerIdsRequest, BrokerHeartbeatResponse};
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_protocol::time::Deadline;
use ottla_protocol::{LeaderEpoch, Now, Offset, Refusal};
use ottla_raft::AppendError;

use crate::answer::Answered;
use crate::control::checkpoints::Checkpoints;
use crate::control::directories::Directories;
use crate::control::message::{Command, Input, Output, Reply, Stage};
use crate::control::metadata_log::{Event, MetadataLog};
use crate::control::pending::{Asker, Pending};
use crate::control::places::Places;
use crate::control::producer_ids::ProducerIds;
use crate::control::publish::Publishing;
use crate::control::quorum;
use crate::control::registration::{Due, Registration};
use crate::core::{CoreId, Message};
use crate::node::Node;

/// How often changed checkpoint files are written.
const CHECKPOINT_MS: i64 = 5_000;

/// How long the controller's own decisions rest after one that found no room.
const AFTER_FULL_MS: i64 = 1_000;

/// How many records of a divisible decision go into one batch.
const DIVISIBLE_RECORDS: usize = 10_000;

/// The version in which this node registers: the newest.
const REGISTRATION_VERSION: i16 = 4;

/// See [`crate::control`].
pub struct Control {
    pub(super) node: Arc<Node>,
    pub(super) log: MetadataLog,
    pub(super) controller: Controller,
    /// The epoch in which this node leads the quorum.
    pub(super) leading: Option<LeaderEpoch>,
    pub(super) registration: Registration,
    pub(super) pending: Pending,
    pub(super) producer_ids: ProducerIds,
    pub(super) directories: Arc<Directories>,
    pub(super) metadata_directory: PathBuf,
    pub(super) checkpoints: Checkpoints,
    pub(super) places: Places,
    pub(super) publishing: Publishing,
    pub(super) next_checkpoint: Deadline,
    /// Not before this: a decision of the controller's own has found no room.
    pub(super) next_controller_tick: Deadline,
    /// Cores that have closed their partitions.
    pub(super) stopped: BTreeSet<CoreId>,
    pub(super) finished: bool,
    /// What formatting left for the first controller.
    pub(super) bootstrap: Vec<MetadataRecord>,
}

impl Control {
    /// The next moment at which control wants an [`Input::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        if self.finished {
            return None;
        }
        [
            self.log.deadline(),
            self.registration.deadline(),
            self.controller_deadline(),
            Some(self.next_checkpoint),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Takes one input to its end.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        if self.finished {
            return;
        }
        self.take(now, input, out);
        // Each round may give cause for another: a decision is appended, committed, published, answered.
        loop {
            let events = self.log.step(now, ottla_raft::Input::Tick);
            let mut busy = !events.is_empty();
            self.follow(now, events, out);
            self.publish(now, out);
            busy |= self.reply(now, out);
            busy |= self.own_requests(now, out);
            busy |= self.controller_tick(now, out);
            if !busy || self.finished {
                break;
            }
        }
        self.write_checkpoints(now, out);
    }

    fn take(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Command { core, ticket, command } => self.command(now, core, ticket, command, out),
            Input::Applied { core, offset } => {
                self.pending.apply(core, offset);
                if self.registration.stage() < Stage::Running {
                    self.registration.hurry(now);
                }
            }
            Input::Checkpoint { rows, .. } => self.checkpoints.merge(rows),
            Input::Forget { directory, topic, partition } => {
                self.checkpoints.forget(directory, &topic, partition)
            }
            Input::Stopped { core, rows } => {
                self.checkpoints.merge(rows);
                self.stopped.insert(core);
                if self.stopped.len() == usize::from(self.node.cores) {
                    self.finish(out);
                }
            }
            Input::LetGo { core } => self.let_go(core),
            Input::DirectoryFailed { directory, error } => {
                self.directory_failed(now, directory, &error, out);
            }
            Input::Listening | Input::Tick => {}
            Input::Stop => {
                let from = self.registration.stage();
                self.registration.leave(now);
                let to = self.registration.stage();
                if from != to {
                    out.push(Output::Stage { from, to });
                }
                if to == Stage::ShuttingDown && from != to {
                    self.close_cores(out);
                }
            }
        }
    }

    fn command(&mut self, now: Now, core: CoreId, ticket: Ticket, command: Command, out: &mut Vec<Output>) {
        match command {
            Command::Controller(command) => self.decide(now, Asker::Session(core, ticket), *command, out),
            Command::NextProducerId => {
                if let Err((core, ticket)) = self.producer_ids.want(core, ticket) {
                    answer(core, ticket, Reply::Refused(Refusal::CoordinatorLoadInProgress), out);
                }
            }
            Command::DescribeQuorum(request) => {
                let response = quorum::describe(&request, self.log.raft(), now);
                answer(core, ticket, Reply::Quorum(Box::new(response)), out);
            }
        }
    }

    /// Asks the controller of this node and appends what it decides; the reply waits until that is committed.
    pub(super) fn decide(&mut self, now: Now, asker: Asker, command: Decide, out: &mut Vec<Output>) {
        if self.leading.is_none() {
            self.refuse(now, asker, Refusal::NotController, out);
            return;
        }
        // A clone costs little: what is large in it is shared.
        let before = Some(self.controller.clone());
        let decision = self.controller.decide(now, command);
        self.carry_out(now, asker, (decision, before), out);
    }

    /// Appends what was decided. A decision that does not fit into the log is taken back, to how the controller was
    /// `before`, and refused.
    fn carry_out(
        &mut self,
        now: Now,
        asker: Asker,
        (decision, before): (Decision, Option<Controller>),
        out: &mut Vec<Output>,
    ) {
        let Some(epoch) = self.leading else {
            self.refuse(now, asker, Refusal::NotController, out);
            return;
        };
        // What does not fit into one batch may be split where every record stands for itself.
        let chunk = match decision.atomicity {
            Atomicity::Atomic => usize::MAX,
            Atomicity::Divisible => DIVISIBLE_RECORDS,
        };
        let mut expected = decision.first_offset;
        for records in decision.records.chunks(chunk.min(decision.records.len().max(1))) {
            match self.log.append(now, epoch, records) {
                Ok(first) if first == expected => expected = first.plus(records.len() as i64),
                Ok(first) => {
                    // The log and the controller no longer agree; a new election brings them together again.
                    tracing::error!(%first, %expected, "the metadata log gave another offset than expected");
                    self.log.resign(now, epoch);
                    self.refuse(now, asker, Refusal::NotController, out);
                    return;
                }
                Err(error @ (AppendError::TooLarge { .. } | AppendError::Passing(_)))
                    if expected == decision.first_offset && before.is_some() =>
                {
                    tracing::warn!(%error, "a decision of the controller is taken back");
                    if let Some(before) = before {
                        self.controller = before;
                    }
                    let refusal = match error {
                        AppendError::Passing(_) => Refusal::KafkaStorageError,
                        _ => Refusal::RecordListTooLarge,
                    };
                    if asker == Asker::Nobody {
                        // What a client asks for must not hold up the fencing of brokers.
                        self.next_controller_tick = now.after_ms(AFTER_FULL_MS);
                    }
                    self.refuse(now, asker, refusal, out);
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "a decision of the controller cannot be appended");
                    self.log.resign(now, epoch);
                    self.refuse(now, asker, Refusal::NotController, out);
                    return;
                }
            }
        }
        self.pending.hold(decision.wait_for, asker, decision.reply);
    }

    fn follow(&mut self, now: Now, events: VecDeque<Event>, out: &mut Vec<Output>) {
        for event in events {
            match event {
                Event::Committed(first, records) => {
                    let mut records = (first.0..).map(Offset).zip(&records);
                    let applied =
                        records.try_for_each(|(offset, record)| self.controller.apply(offset, record));
                    if let Err(error) = applied {
                        self.fatal(error.to_string(), out);
                    }
                }
                Event::Loaded(end, records) => {
                    if let Err(error) = self.controller.load(end, records) {
                        self.fatal(error.to_string(), out);
                    }
                }
                Event::Elected(epoch) => self.elected(now, epoch, out),
                Event::Following(leader) => {
                    if let Some(leader) = leader {
                        tracing::info!(%leader, "following the quorum's leader");
                    }
                    self.deposed(now, out);
                }
                Event::Fatal(error) => self.fatal(error, out),
            }
        }
        if let Some(end) = self.log.raft().high_watermark() {
            self.pending.commit(end);
        }
    }

    fn elected(&mut self, now: Now, epoch: LeaderEpoch, out: &mut Vec<Output>) {
        tracing::info!(%epoch, "this node is the active controller");
        self.leading = Some(epoch);
        let raft = self.log.raft();
        self.controller.set_quorum(raft.kraft_version(), raft.voters().ids().collect());
        let next = raft.log_end().offset;
        let bootstrap = std::mem::take(&mut self.bootstrap);
        let decision = self.controller.activate(now, next, bootstrap);
        self.carry_out(now, Asker::Nobody, (decision, None), out);
    }

    fn deposed(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.leading.take().is_none() {
            return;
        }
        self.controller.resign();
        let askers: Vec<Asker> = self.pending.take_uncommitted().collect();
        for asker in askers {
            self.refuse(now, asker, Refusal::NotController, out);
        }
    }

    /// Sends every reply that may leave; whether there was one.
    fn reply(&mut self, now: Now, out: &mut Vec<Output>) -> bool {
        let mut any = false;
        while let Some((asker, reply)) = self.pending.next() {
            any = true;
            match (asker, reply) {
                (Asker::Nobody, _) => {}
                (Asker::Session(core, ticket), reply) => {
                    answer(core, ticket, Reply::Controller(Box::new(reply)), out);
                }
                (Asker::Registration, Decided::RegisterBroker(response)) => {
                    self.registration.registered(now, &response);
                }
                (Asker::Registration, Decided::Heartbeat(response)) => self.heartbeat(now, &response, out),
                (Asker::ProducerIds, Decided::AllocateProducerIds(response)) => {
                    let granted = response.error_code == 0;
                    let block = (response.producer_id_start, response.producer_id_len);
                    self.producer_ids.granted(granted.then_some(block));
                }
                (Asker::Places, Decided::AssignReplicasToDirs(response)) => {
                    if response.error_code == 0 || response.error_code == Refusal::UnsupportedVersion.code() {
                        self.places.told();
                    } else {
                        self.places.untold();
                    }
                }
                (asker, reply) => tracing::error!(?asker, ?reply, "not a reply to what was asked"),
            }
        }
        while let Some((core, ticket, id)) = self.producer_ids.serve() {
            answer(core, ticket, Reply::ProducerId(id), out);
        }
        any
    }

    fn heartbeat(&mut self, now: Now, response: &BrokerHeartbeatResponse, out: &mut Vec<Output>) {
        let from = self.registration.stage();
        let Some(to) = self.registration.heard(now, response) else { return };
        out.push(Output::Stage { from, to });
        match to {
            Stage::Recovery => {
                out.extend((0..self.node.cores).map(|core| Output::ToCore(CoreId(core), Message::CaughtUp)));
            }
            Stage::Running => out.push(Output::OpenListeners),
            Stage::ShuttingDown => self.close_cores(out),
            _ => {}
        }
    }

    /// Sends what this node itself has to ask of the controller; whether there was anything.
    fn own_requests(&mut self, now: Now, out: &mut Vec<Output>) -> bool {
        let mut any = false;
        // Every core has taken in at least the first image, so its logs are open.
        let applied = self.pending.applied();
        let ready = applied >= Offset::ZERO;
        if let Some(due) = self.registration.due(now, applied, ready) {
            any = true;
            let command = match due {
                Due::Register(request) => {
                    let registrant = Registrant::SameProcess;
                    Decide::RegisterBroker { request: *request, version: REGISTRATION_VERSION, registrant }
                }
                Due::Heartbeat(request) => Decide::Heartbeat(request),
            };
            self.decide(now, Asker::Registration, command, out);
        }
        if self.registration.broker_epoch() >= 0 && self.producer_ids.wants_block() {
            any = true;
            let request = AllocateProducerIdsRequest {
                broker_id: self.node.id.0,
                broker_epoch: self.registration.broker_epoch(),
            };
            self.decide(now, Asker::ProducerIds, Decide::AllocateProducerIds(request), out);
        }
        any |= self.tell_places(now, out);
        if self.registration.stage() == Stage::PendingControlledShutdown
            && self.registration.out_of_patience(now)
        {
            tracing::warn!("the controller gave no leave to stop in time");
            self.close_cores(out);
        }
        any
    }

    fn controller_deadline(&self) -> Option<Deadline> {
        let due = self.leading.and_then(|_| self.controller.deadline())?;
        Some(due.max(self.next_controller_tick))
    }

    fn controller_tick(&mut self, now: Now, out: &mut Vec<Output>) -> bool {
        let due = self.controller_deadline().is_some_and(|due| now.reached(due));
        if due {
            self.decide(now, Asker::Nobody, Decide::Tick, out);
        }
        due
    }

    fn refuse(&mut self, now: Now, asker: Asker, refusal: Refusal, out: &mut Vec<Output>) {
        match asker {
            Asker::Session(core, ticket) => answer(core, ticket, Reply::Refused(refusal), out),
            Asker::Registration => self.registration.undelivered(now),
            Asker::ProducerIds => self.producer_ids.granted(None),
            Asker::Places => self.places.untold(),
            Asker::Nobody => {}
        }
    }

    fn close_cores(&mut self, out: &mut Vec<Output>) {
        for core in 0..self.node.cores {
            out.push(Output::ToCore(CoreId(core), Message::Stop));
        }
    }

    /// Every core has closed its partitions: what is left are the checkpoints and the markers.
    fn finish(&mut self, out: &mut Vec<Output>) {
        let failures = self.checkpoints.leave_clean(self.registration.broker_epoch());
        for (_, error) in failures {
            tracing::error!(%error, "a log directory cannot be left in good order");
        }
        self.finished = true;
        out.push(Output::Finished);
    }

    fn write_checkpoints(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.finished || !now.reached(self.next_checkpoint) {
            return;
        }
        self.next_checkpoint = now.after_ms(CHECKPOINT_MS);
        let failures = self.checkpoints.write();
        self.directories_failed(now, failures, out);
    }

    pub(super) fn fatal(&mut self, why: String, out: &mut Vec<Output>) {
        self.finished = true;
        out.push(Output::Fatal(why));
    }
}

fn answer(core: CoreId, ticket: Ticket, reply: Reply, out: &mut Vec<Output>) {
    out.push(Output::ToCore(core, Message::Answered(ticket, Answered::Control(reply))));
}
