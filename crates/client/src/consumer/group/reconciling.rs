//! A member by the consumer protocol (KIP-848): heartbeats tell the broker what is wanted and owned, and bring back what
//! is to be owned; the member reconciles the two and says so.
//!
//! A heartbeat carries what has changed since the last one that was answered; after a failure it carries everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::messages::consumer_group_heartbeat::RequestTopicPartitions as TopicPartitions;
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Refusal, Uuid};

use crate::call::Call;
use crate::cluster::{Cluster, Target};
use crate::consumer::group::plan::Act;
use crate::consumer::group::{Group, Member, Question, Subscription};
use crate::consumer::{ConsumeError, Consumer, TopicPartition};
use crate::error::{ApiError, ClientError};
use crate::operation::Outcome;
use crate::random::Random;

/// The epochs that a member leaves with: for good, and as a static member for a while.
const LEAVE: i32 = -1;
const LEAVE_FOR_A_WHILE: i32 = -2;
/// The epoch that a member joins with.
const JOIN: i32 = 0;

/// Before the broker has said how often it wants to hear of the member.
const INTERVAL_MS: i64 = 3_000;

/// A member by the consumer protocol.
#[derive(Debug)]
pub(in crate::consumer) struct Reconciling {
    member_id: String,
    epoch: i32,
    stage: Stage,
    interval_ms: i64,
    next: Option<Deadline>,
    failures: u32,
    /// What the broker wants the member to own; `None` until it has said so.
    target: Option<Partitions>,
    /// The broker does not know yet that the member owns what it was to own.
    unacknowledged: bool,
    /// The member owns what it is to own, and has said so: there is nothing to compare until the broker says otherwise.
    reconciled: bool,
    sent: Sent,
}

type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is no member.
    Out,
    /// It joins with the next heartbeat.
    Joining,
    Member,
    /// It was fenced, or its owner was silent: what it owned is lost, which the owner is still to be told.
    Lost,
}

/// What the broker knows of the member.
#[derive(Debug, Default)]
struct Sent {
    /// Nothing: everything must be said.
    nothing: bool,
    topics: Option<BTreeSet<Arc<str>>>,
    regex: Option<String>,
    /// It knows what the member owns.
    owned: bool,
}

impl Reconciling {
    /// No member yet. Its id is of its own making.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&random.next().to_be_bytes());
        bytes[8..].copy_from_slice(&random.next().to_be_bytes());
        Self {
            member_id: Uuid::from_random(bytes).to_string(),
            epoch: JOIN,
            stage: Stage::Out,
            interval_ms: INTERVAL_MS,
            next: None,
            failures: 0,
            target: None,
            unacknowledged: false,
            reconciled: false,
            sent: Sent { nothing: true, ..Sent::default() },
        }
    }

    /// Who it is; no epoch while it is no member.
    pub(super) fn identity(&self) -> (i32, String) {
        let is_member = self.stage == Stage::Member && self.epoch > JOIN;
        (if is_member { self.epoch } else { -1 }, self.member_id.clone())
    }

    /// When the coordinator is to hear of it next.
    pub(super) fn beat_at(&self) -> Option<Deadline> {
        self.next.filter(|_| matches!(self.stage, Stage::Joining | Stage::Member))
    }

    pub(super) fn lost(&self) -> bool {
        self.stage == Stage::Lost
    }

    /// The broker does not count it among the members any more.
    pub(super) fn fenced(&mut self, now: Now) {
        self.stage = Stage::Lost;
        self.forget();
        self.next = Some(Deadline(now.monotonic_us));
    }

    fn forget(&mut self) {
        self.epoch = JOIN;
        self.target = None;
        (self.unacknowledged, self.reconciled) = (false, false);
        self.sent = Sent { nothing: true, ..Sent::default() };
    }
}

impl Group {
    fn reconciling(&mut self) -> Option<&mut Reconciling> {
        match &mut self.member {
            Member::Reconciling(member) => Some(member),
            Member::Classic(_) => None,
        }
    }
}

impl Consumer {
    fn reconciling(&mut self) -> Option<&mut Reconciling> {
        self.group.as_mut()?.reconciling()
    }

    /// The owner is here: what is owned is brought in line with what is to be owned.
    pub(super) fn attend_reconciling(&mut self, now: Now, cluster: &mut Cluster) {
        if self.reconciling().is_some_and(|member| member.reconciled && member.stage == Stage::Member) {
            return;
        }
        let owned: BTreeSet<TopicPartition> = self.partitions.keys().cloned().collect();
        let Some(group) = &mut self.group else { return };
        let known =
            cluster.metadata().updates > 0 || !matches!(group.subscription, Subscription::Matching(_));
        if !group.subscription.is_some() || !known {
            return;
        }
        let Some(member) = group.reconciling() else { return };
        match member.stage {
            Stage::Out => {
                member.stage = Stage::Joining;
                member.forget();
                member.next = Some(Deadline(now.monotonic_us));
            }
            Stage::Lost if owned.is_empty() => {
                member.stage = Stage::Joining;
                member.next = Some(Deadline(now.monotonic_us));
            }
            Stage::Lost => group.plan.push_back(Act::Revoke(owned)),
            Stage::Joining => {}
            Stage::Member => {
                let Some(target) = &member.target else { return };
                let Some(wanted) = by_name(target, cluster) else { return cluster.refresh(now) };
                if owned != wanted {
                    group.plan.extend(reconciliation(&owned, &wanted));
                } else if member.unacknowledged {
                    group.plan.push_back(Act::Acknowledge);
                } else {
                    member.reconciled = true;
                }
            }
        }
    }

    /// The broker is to hear at once that the member owns what it was given.
    pub(super) fn acknowledge(&mut self) {
        if let Some(member) = self.reconciling() {
            member.unacknowledged = false;
            member.sent.owned = false;
            member.next = Some(Deadline(0));
        }
    }

    /// Heartbeats.
    pub(super) fn step_reconciling(&mut self, now: Now, cluster: &mut Cluster) {
        let Some(group) = &mut self.group else { return };
        let beating = group.is_asking(|question| matches!(question, Question::Heartbeat));
        let changed = match &group.member {
            Member::Reconciling(member) => {
                let sent = &member.sent;
                sent.topics.as_ref() != Some(&group.topics)
                    || sent.regex.as_deref() != regex(&group.subscription)
            }
            Member::Classic(_) => false,
        };
        let node = group.search.node();
        let Some(member) = group.reconciling() else { return };
        let speaks = matches!(member.stage, Stage::Joining | Stage::Member);
        let due = member.next.is_none_or(|next| now.reached(next)) || changed && member.failures == 0;
        if let (true, false, true, Some(node)) = (speaks, beating, due, node) {
            self.beat_reconciling(now, cluster, node);
        }
    }

    fn beat_reconciling(&mut self, now: Now, cluster: &mut Cluster, node: i32) {
        let owned = by_id(self.partitions.keys(), cluster);
        let Some(group) = &mut self.group else { return };
        let topics = group.topics.clone();
        let regex = regex(&group.subscription).map(str::to_owned);
        let (instance_id, rack_id) = (group.settings.instance_id.clone(), group.settings.rack.clone());
        let (group_id, server_assignor) = (group.settings.id.clone(), group.settings.remote_assignor.clone());
        let patience = i32::try_from(group.settings.max_poll_interval.as_millis()).unwrap_or(i32::MAX);
        let give_up = now.after(group.settings.request_timeout);
        let Some(member) = group.reconciling() else { return };
        let whole = member.sent.nothing || member.stage == Stage::Joining;
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id,
            member_id: member.member_id.clone(),
            member_epoch: member.epoch,
            instance_id,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        if whole {
            (request.rack_id, request.rebalance_timeout_ms) = (rack_id, patience);
            request.server_assignor = server_assignor;
        }
        if whole || !member.sent.owned {
            // Whoever joins owns nothing.
            let joins = member.stage == Stage::Joining;
            request.topic_partitions = Some(if joins { Vec::new() } else { owned });
        }
        if whole || member.sent.topics.as_ref() != Some(&topics) {
            request.subscribed_topic_names = Some(topics.iter().map(|topic| topic.to_string()).collect());
        }
        if (whole && regex.is_some()) || member.sent.regex != regex {
            request.subscribed_topic_regex = Some(regex.clone().unwrap_or_default());
        }
        member.sent = Sent { nothing: false, topics: Some(topics), regex, owned: true };
        // The answer says when the next one is due.
        member.next = Some(now.after_ms(member.interval_ms));
        let call = Call::new(request).within(1, i16::MAX);
        let ticket = cluster.submit(now, Target::Coordinator(node), call, give_up);
        group.ask(ticket, node, Question::Heartbeat);
    }

    /// The last heartbeat of a member; whether one was sent.
    pub(super) fn beat_farewell(&mut self, now: Now, cluster: &mut Cluster) -> bool {
        let Some(group) = &mut self.group else { return false };
        let epoch = match group.settings.instance_id {
            Some(_) => LEAVE_FOR_A_WHILE,
            None => LEAVE,
        };
        let give_up = now.after(group.settings.request_timeout);
        let (group_id, instance_id) = (group.settings.id.clone(), group.settings.instance_id.clone());
        let node = group.search.node();
        let Some(member) = group.reconciling() else { return false };
        let was_member = matches!(member.stage, Stage::Member | Stage::Joining);
        let member_id = member.member_id.clone();
        member.stage = Stage::Out;
        member.forget();
        let (true, Some(node)) = (was_member, node) else { return false };
        let request = ConsumerGroupHeartbeatRequest {
            group_id,
            member_id,
            member_epoch: epoch,
            instance_id,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let call = Call::new(request);
        let ticket = cluster.submit(now, Target::Coordinator(node), call, give_up);
        group.ask(ticket, node, Question::Leave);
        true
    }

    /// A heartbeat has been answered.
    pub(super) fn reconcile(&mut self, now: Now, cluster: &mut Cluster, node: i32, outcome: Outcome) {
        let answer = outcome.and_then(|reply| {
            let mut response = reply.decode::<ConsumerGroupHeartbeatRequest>()?;
            ApiError::check(response.error_code, response.error_message.take())?;
            Ok(response)
        });
        match answer {
            Ok(response) => self.adopt(now, cluster, response),
            Err(error) => self.beat_failed(now, node, error),
        }
    }

    fn adopt(&mut self, now: Now, cluster: &mut Cluster, response: ConsumerGroupHeartbeatResponse) {
        let Some(member) = self.reconciling() else { return };
        if !matches!(member.stage, Stage::Joining | Stage::Member) {
            return;
        }
        member.failures = 0;
        member.stage = Stage::Member;
        member.epoch = response.member_epoch;
        if let Some(id) = response.member_id.filter(|id| !id.is_empty()) {
            member.member_id = id;
        }
        if response.heartbeat_interval_ms > 0 {
            member.interval_ms = i64::from(response.heartbeat_interval_ms);
        }
        if member.next != Some(Deadline(0)) {
            member.next = Some(now.after_ms(member.interval_ms));
        }
        if let Some(assignment) = response.assignment {
            let rows = assignment.topic_partitions.into_iter();
            let target: Partitions =
                rows.map(|row| (row.topic_id, row.partitions.into_iter().collect())).collect();
            let unknown = by_name(&target, cluster).is_none();
            member.target = Some(target);
            (member.unacknowledged, member.reconciled) = (true, false);
            if unknown {
                cluster.refresh(now);
            }
        }
    }

    fn beat_failed(&mut self, now: Now, node: i32, error: ClientError) {
        let random = self.random.next();
        let Some(group) = &mut self.group else { return };
        let backoff = group.settings.retry_backoff;
        let fatal = match error.refusal() {
            Some(Refusal::UnknownMemberId | Refusal::FencedMemberEpoch) => return self.membership_lost(now),
            Some(Refusal::CoordinatorNotAvailable | Refusal::NotCoordinator) => {
                group.search.forget(node);
                false
            }
            Some(Refusal::TopicAuthorizationFailed) => false,
            _ => !error.is_retriable(),
        };
        if fatal {
            if let Some(member) = group.reconciling() {
                member.fenced(now);
            }
            return self.group_failed(error);
        }
        if let Some(member) = group.reconciling() {
            member.failures = member.failures.saturating_add(1);
            member.sent.nothing = true;
            member.next = Some(now.after(backoff.wait(member.failures, random)));
        }
        if error.refusal() == Some(Refusal::TopicAuthorizationFailed) {
            self.tell(ConsumeError::Group(error));
        }
    }
}

/// What must go and what comes, in that order.
fn reconciliation(owned: &BTreeSet<TopicPartition>, wanted: &BTreeSet<TopicPartition>) -> Vec<Act> {
    let gone: BTreeSet<_> = owned.difference(wanted).cloned().collect();
    let added: BTreeSet<_> = wanted.difference(owned).cloned().collect();
    let mut plan = Vec::new();
    if !gone.is_empty() {
        plan.extend([Act::Hold(gone.clone()), Act::Commit(gone.clone()), Act::Revoke(gone)]);
    }
    plan.extend([Act::Assign(added), Act::Acknowledge]);
    plan
}

fn regex(subscription: &Subscription) -> Option<&str> {
    match subscription {
        Subscription::Regex(regex) => Some(regex),
        _ => None,
    }
}

/// The partitions by the names of their topics; `None` while a topic is not known.
fn by_name(target: &Partitions, cluster: &Cluster) -> Option<BTreeSet<TopicPartition>> {
    let topics = &cluster.metadata().topics;
    let mut wanted = BTreeSet::new();
    for (id, partitions) in target {
        let (name, _) = topics.iter().find(|(_, topic)| topic.id == *id)?;
        let name: Arc<str> = name.as_str().into();
        wanted.extend(
            partitions.iter().map(|partition| TopicPartition { topic: name.clone(), partition: *partition }),
        );
    }
    Some(wanted)
}

fn by_id<'a>(
    partitions: impl Iterator<Item = &'a TopicPartition>,
    cluster: &Cluster,
) -> Vec<TopicPartitions> {
    let mut topics: Vec<TopicPartitions> = Vec::new();
    for partition in partitions {
        let Some(topic) = cluster.metadata().topics.get(&*partition.topic) else { continue };
        match topics.last_mut() {
            Some(last) if last.topic_id == topic.id => last.partitions.push(partition.partition),
            _ => topics.push(TopicPartitions { topic_id: topic.id, partitions: vec![partition.partition] }),
        }
    }
    topics
}
