//! The controller: one image as committed, one with everything decided, and the commands in between.
//!
//! Only [`Controller::apply`] changes what is committed. While it is active the controller runs ahead: a decision's
//! records count at once for the decisions after it, and are forgotten if it has to resign. An answer waits for all
//! that it may have seen, so nobody hears of anything that could still be lost.

use imbl::OrdMap;
use ottla_metadata::config::Settings;
use ottla_metadata::{Image, Replay, ReplayError};
use ottla_protocol::messages::BrokerRegistrationResponse;
use ottla_protocol::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest};
use ottla_protocol::records::metadata::{MetadataRecord, NoOpRecord};
use ottla_protocol::time::{Deadline, Now};
use ottla_protocol::{NodeId, Offset};

use crate::brokers::{Registrar, fence, heartbeat, register_controller, unregister};
use crate::command::{Atomicity, Command, Decision, Registrant, Reply};
use crate::features::Updater;
use crate::heartbeats::Heartbeats;
use crate::partitions::election::Round;
use crate::partitions::{create, delete, directories, election, isr, reassignment};
use crate::random::Random;
use crate::view::View;
use crate::{activation, configs, producer_ids};

/// What a controller is told once.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// This node.
    pub node_id: NodeId,
    /// The cluster; brokers of another one are turned away.
    pub cluster_id: String,
    /// The node's file. What is set at run time comes from the image.
    pub settings: Settings,
}

/// Records applied so far, and where each broker's registration stands in the log.
#[derive(Clone, Debug, Default)]
struct Ledger {
    replay: Replay,
    registered_at: OrdMap<NodeId, Offset>,
}

impl Ledger {
    fn apply(&mut self, offset: Offset, record: &MetadataRecord) -> Result<(), ReplayError> {
        self.replay.apply(offset, record)?;
        match record {
            MetadataRecord::RegisterBroker(record) => {
                self.registered_at.insert(NodeId(record.broker_id), offset);
            }
            MetadataRecord::UnregisterBroker(record) => {
                self.registered_at.remove(&NodeId(record.broker_id));
            }
            _ => {}
        }
        Ok(())
    }
}

/// What an active controller has beside.
#[derive(Clone, Debug)]
struct Active {
    ledger: Ledger,
    /// The offset of the next record.
    next_offset: Offset,
    heartbeats: Heartbeats,
    next_sign_of_life: Option<Deadline>,
    next_balance: Option<Deadline>,
    next_unclean: Deadline,
}

/// The controller of one node, active or standing by.
#[derive(Clone, Debug)]
pub struct Controller {
    config: ControllerConfig,
    random: Random,
    committed: Ledger,
    active: Option<Active>,
    kraft_version: i16,
    voters: Vec<NodeId>,
}

impl Controller {
    /// A controller that stands by, with nothing applied. Topic ids and placement follow from `seed`.
    #[must_use]
    pub fn new(config: ControllerConfig, seed: u64) -> Self {
        let voters = vec![config.node_id];
        Self {
            config,
            random: Random::new(seed),
            committed: Ledger::default(),
            active: None,
            kraft_version: 1,
            voters,
        }
    }

    /// The cluster as committed; an open transaction of the log included.
    #[must_use]
    pub fn image(&self) -> &Image {
        self.committed.replay.image()
    }

    /// Whether it decides.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// What the quorum says of itself: its finalized `kraft.version` and its voters.
    pub fn set_quorum(&mut self, kraft_version: i16, voters: Vec<NodeId>) {
        self.kraft_version = kraft_version;
        self.voters = voters;
    }

    /// Applies a committed record.
    ///
    /// # Errors
    /// If it cannot follow; this node then disagrees with the log and must not go on.
    ///
    /// # Panics
    /// If the controller is active and the log holds a record it did not decide.
    pub fn apply(&mut self, offset: Offset, record: &MetadataRecord) -> Result<(), ReplayError> {
        if let Some(active) = &self.active {
            assert!(
                offset < active.next_offset,
                "offset {offset} was committed, but not decided by this controller"
            );
        }
        self.committed.apply(offset, record)
    }

    /// Takes a snapshot of the log up to `end` (exclusive) for what is committed. An active controller has all of it.
    ///
    /// # Errors
    /// If the snapshot contradicts itself.
    pub fn load(
        &mut self,
        end: Offset,
        records: impl IntoIterator<Item = MetadataRecord>,
    ) -> Result<(), ReplayError> {
        self.committed.replay.load(end, records)?;
        let last = Offset(end.0 - 1);
        self.committed.registered_at = self.image().brokers.keys().map(|id| (*id, last)).collect();
        Ok(())
    }

    /// Becomes active once everything below `log_end` has been applied, and says what to write first. `bootstrap` is
    /// what an empty log gets: feature levels and credentials of the formatting.
    pub fn activate(&mut self, now: Now, log_end: Offset, bootstrap: Vec<MetadataRecord>) -> Decision {
        let mut ledger = self.committed.clone();
        ledger.replay.skip_to(log_end);
        let settings = self.settings(ledger.replay.image());
        let session_ms = settings.node().long("broker.session.timeout.ms");
        let view = View { image: ledger.replay.image().clone(), settings };
        let open = ledger.replay.open_since();
        let records = activation::records(&view, open, bootstrap);
        let heartbeats = Heartbeats::new(&view.image, session_ms, now);
        let active = self.active.insert(Active {
            ledger,
            next_offset: log_end,
            heartbeats,
            next_sign_of_life: None,
            next_balance: None,
            next_unclean: now.after_ms(0),
        });
        active.plan_balance(now, &view.settings, Round::Complete);
        active.plan_unclean(now, &view.settings, Round::Complete);
        active.append(now, &view.settings, (records, Atomicity::Atomic), Reply::None)
    }

    /// Stops deciding, and forgets what was decided and not committed.
    pub fn resign(&mut self) {
        self.active = None;
    }

    /// The log got something else (control records), and goes on at `log_end`.
    pub fn skip_to(&mut self, log_end: Offset) {
        if let Some(active) = &mut self.active {
            active.next_offset = active.next_offset.max(log_end);
            active.ledger.replay.skip_to(log_end);
        }
    }

    /// When [`Command::Tick`] is due; `None` while standing by.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        let active = self.active.as_ref()?;
        let plans = [
            active.heartbeats.deadline(),
            active.next_sign_of_life,
            active.next_balance,
            Some(active.next_unclean),
        ];
        plans.into_iter().flatten().min()
    }

    fn settings(&self, image: &Image) -> Settings {
        image.configs.settings(&self.config.settings, self.config.node_id)
    }

    /// Decides a command. A controller that stands by answers [`Reply::NotController`].
    pub fn decide(&mut self, now: Now, command: Command) -> Decision {
        let Some(mut active) = self.active.take() else {
            return Decision {
                first_offset: self.image().end_offset,
                records: Vec::new(),
                atomicity: Atomicity::Atomic,
                reply: Reply::NotController,
                wait_for: Offset::ZERO,
            };
        };
        let image = active.ledger.replay.image().clone();
        let view = View { settings: self.settings(&image), image };
        let mut records = Vec::new();
        let (atomicity, reply) = self.answer(now, &view, (&mut active, command), &mut records);
        let decision = active.append(now, &view.settings, (records, atomicity), reply);
        self.active = Some(active);
        decision
    }

    fn answer(
        &mut self,
        now: Now,
        view: &View,
        (active, command): (&mut Active, Command),
        records: &mut Vec<MetadataRecord>,
    ) -> (Atomicity, Reply) {
        use Atomicity::{Atomic, Divisible};
        match command {
            Command::RegisterBroker { request, version, registrant } => {
                let answer = self.register(now, view, (active, &request, version, registrant), records);
                (Divisible, Reply::RegisterBroker(answer))
            }
            Command::Heartbeat(request) => {
                (Divisible, Reply::Heartbeat(beat(now, view, (active, &request), records)))
            }
            Command::UnregisterBroker(request) => {
                let answer = unregister(view, &request, records);
                if answer.error_code == 0 {
                    active.heartbeats.forget(NodeId(request.broker_id));
                }
                (Divisible, Reply::UnregisterBroker(answer))
            }
            Command::RegisterController(request) => {
                (Atomic, Reply::RegisterController(register_controller(view, &request, records)))
            }
            Command::CreateTopics { request, describable } => {
                let answer = create::topics(view, (&request, &describable), &mut self.random, records);
                (Atomic, Reply::CreateTopics(answer))
            }
            Command::CreatePartitions(request) => {
                let answer = create::partitions(view, &request, &mut self.random, records);
                (Atomic, Reply::CreatePartitions(answer))
            }
            Command::UpdateFeatures { request, version } => {
                let updater = Updater {
                    node_id: self.config.node_id,
                    voters: &self.voters,
                    kraft_version: self.kraft_version,
                };
                let answer = updater.update(view, (&request, version), records);
                (Atomic, Reply::UpdateFeatures(answer))
            }
            Command::ListPartitionReassignments(request) => {
                (Atomic, Reply::ListPartitionReassignments(reassignment::list(view, &request)))
            }
            Command::Tick => {
                active.tick(now, view, records);
                (Divisible, Reply::None)
            }
            other => simply(view, other, records),
        }
    }

    fn register(
        &self,
        now: Now,
        view: &View,
        (active, request, version, registrant): (&mut Active, &BrokerRegistrationRequest, i16, Registrant),
        records: &mut Vec<MetadataRecord>,
    ) -> BrokerRegistrationResponse {
        let registrar = Registrar {
            cluster_id: &self.config.cluster_id,
            kraft_version: self.kraft_version,
            next_offset: active.next_offset,
            now,
            registrant,
        };
        match registrar.register(view, &mut active.heartbeats, (request, version), records) {
            Ok(broker_epoch) => BrokerRegistrationResponse { broker_epoch, ..Default::default() },
            Err(rejected) => {
                tracing::info!(broker = request.broker_id, "registration refused: {rejected}");
                let error_code = rejected.refusal.code();
                BrokerRegistrationResponse { error_code, broker_epoch: -1, ..Default::default() }
            }
        }
    }
}

/// Commands that need nothing but the cluster.
fn simply(view: &View, command: Command, records: &mut Vec<MetadataRecord>) -> (Atomicity, Reply) {
    use Atomicity::{Atomic, Divisible};
    match command {
        Command::DeleteTopics { request, version } => {
            (Atomic, Reply::DeleteTopics(delete::topics(view, (&request, version), records)))
        }
        Command::AlterConfigs { request, origin } => {
            (Atomic, Reply::AlterConfigs(configs::alter(view, (&request, origin), records)))
        }
        Command::IncrementalAlterConfigs { request, origin } => {
            let answer = configs::alter_incrementally(view, (&request, origin), records);
            (Atomic, Reply::IncrementalAlterConfigs(answer))
        }
        Command::AllocateProducerIds(request) => {
            (Divisible, Reply::AllocateProducerIds(producer_ids::allocate(view, &request, records)))
        }
        Command::AlterPartition { request, version } => {
            (Divisible, Reply::AlterPartition(isr::alter(view, (&request, version), records)))
        }
        Command::ElectLeaders(request) => {
            (Divisible, Reply::ElectLeaders(election::elect_leaders(view, &request, records)))
        }
        Command::AlterPartitionReassignments(request) => {
            (Atomic, Reply::AlterPartitionReassignments(reassignment::alter(view, &request, records)))
        }
        Command::AssignReplicasToDirs(request) => {
            (Divisible, Reply::AssignReplicasToDirs(directories::assign(view, &request, records)))
        }
        other => unreachable!("{other:?} is answered elsewhere"),
    }
}

fn beat(
    now: Now,
    view: &View,
    (active, request): (&mut Active, &BrokerHeartbeatRequest),
    records: &mut Vec<MetadataRecord>,
) -> BrokerHeartbeatResponse {
    let id = NodeId(request.broker_id);
    active.heartbeats.heard(id, request.broker_epoch, now);
    let registered_at = active.ledger.registered_at.get(&id).copied();
    let answer = heartbeat(view, &mut active.heartbeats, (request, registered_at), records);
    answer.unwrap_or_else(|rejected| BrokerHeartbeatResponse {
        error_code: rejected.refusal.code(),
        is_fenced: true,
        ..Default::default()
    })
}

impl Active {
    /// Counts the records as decided, and makes the decision of them.
    fn append(
        &mut self,
        now: Now,
        settings: &Settings,
        (records, atomicity): (Vec<MetadataRecord>, Atomicity),
        reply: Reply,
    ) -> Decision {
        let first_offset = self.next_offset;
        for record in &records {
            let applied = self.ledger.apply(self.next_offset, record);
            assert!(applied.is_ok(), "a record of our own cannot be replayed: {applied:?}");
            self.next_offset = self.next_offset.plus(1);
        }
        if !records.is_empty() || self.next_sign_of_life.is_none() {
            let idle_ms = settings.node().long("metadata.max.idle.interval.ms");
            self.next_sign_of_life = (idle_ms > 0).then(|| now.after_ms(idle_ms));
        }
        Decision { first_offset, records, atomicity, reply, wait_for: self.next_offset }
    }

    /// The most urgent thing that is due.
    fn tick(&mut self, now: Now, view: &View, records: &mut Vec<MetadataRecord>) {
        if let Some((id, epoch)) = self.heartbeats.take_expired(now) {
            // One at a time, so that each sees what the one before it did.
            if let Some(broker) = view.broker(id).filter(|broker| broker.epoch == epoch && !broker.fenced) {
                tracing::info!(broker = id.0, epoch, "fencing a broker whose session has ended");
                fence(view, broker, records);
            }
            return;
        }
        if now.reached(self.next_unclean) {
            let round = election::elect_unclean(view, records);
            self.plan_unclean(now, &view.settings, round);
        } else if self.next_balance.is_some_and(|at| now.reached(at)) {
            let round = election::balance(view, records);
            self.plan_balance(now, &view.settings, round);
        } else if self.next_sign_of_life.is_some_and(|at| now.reached(at)) {
            records.push(NoOpRecord::default().into());
        }
    }

    fn plan_balance(&mut self, now: Now, settings: &Settings, round: Round) {
        let node = settings.node();
        let interval_ms = match round {
            Round::Complete => node.long("leader.imbalance.check.interval.seconds").saturating_mul(1000),
            Round::MoreToDo => 0,
        };
        self.next_balance = node.boolean("auto.leader.rebalance.enable").then(|| now.after_ms(interval_ms));
    }

    fn plan_unclean(&mut self, now: Now, settings: &Settings, round: Round) {
        let interval_ms = match round {
            Round::Complete => settings.node().long("unclean.leader.election.interval.ms"),
            Round::MoreToDo => 0,
        };
        self.next_unclean = now.after_ms(interval_ms);
    }
}
