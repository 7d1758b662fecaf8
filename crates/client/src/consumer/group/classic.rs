//! A member by the classic protocol: it joins, perhaps divides the partitions for all, and learns what is its own.
//!
//! An eager group lets go of everything before it joins; a cooperative one of what it loses after it has synced, and
//! then joins once more so that others get it (KIP-429).

mod dividing;
mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Refusal};

use crate::assignor::{self, Assignor};
use crate::cluster::{Cluster, Target};
use crate::consumer::group::plan::Act;
use crate::consumer::group::{Closing, Group, Member, Question};
use crate::consumer::{Consumer, TopicPartition};
use crate::error::{ApiError, ClientError};
use crate::operation::Outcome;
use dividing::Dividing;

/// A member by the classic protocol.
#[derive(Debug)]
pub(in crate::consumer) struct Classic {
    /// The id the coordinator gave it; empty until then.
    pub member_id: String,
    /// −1 while it is no member.
    pub generation: i32,
    stage: Stage,
    /// It has to join again as soon as the owner polls.
    rejoin: bool,
    /// What it owns belongs to others by now.
    pub lost: bool,
    /// What was subscribed when it joined.
    joined_with: BTreeSet<Arc<str>>,
    /// The last assignment that it took, and its generation: the sticky assignors tell the leader of it.
    last: Option<(Vec<TopicPartition>, i32)>,
    /// As the leader: how many partitions the topics had that it divided.
    divided: Option<BTreeMap<Arc<str>, usize>>,
    beats: Beats,
    failures: u32,
    not_before: Option<Deadline>,
}

/// Where a classic member stands.
#[derive(Debug)]
enum Stage {
    /// It is no member.
    Out,
    /// It is about to join, as soon as it has let go of what it must.
    Preparing,
    Joining,
    /// It is the leader, and waits to know the topics of all.
    Dividing(Box<Dividing>),
    Syncing(Assignor),
    /// It has been told what is its own, and the owner has not polled since.
    Told(Assignor, Vec<TopicPartition>),
    Stable,
}

#[derive(Debug, Default)]
struct Beats {
    next: Option<Deadline>,
    /// Without a good heartbeat until then the coordinator must be looked for again.
    session: Option<Deadline>,
}

impl Default for Classic {
    fn default() -> Self {
        Self {
            member_id: String::new(),
            generation: assignor::NO_GENERATION,
            stage: Stage::Out,
            rejoin: false,
            lost: false,
            joined_with: BTreeSet::new(),
            last: None,
            divided: None,
            beats: Beats::default(),
            failures: 0,
            not_before: None,
        }
    }
}

impl Classic {
    /// When it wants to be stepped.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let dividing = match &self.stage {
            Stage::Dividing(dividing) => Some(dividing.give_up),
            _ => None,
        };
        [dividing, self.not_before].into_iter().flatten().min()
    }

    /// When the coordinator is to hear of it next.
    pub(super) fn beat_at(&self) -> Option<Deadline> {
        self.beats.next.filter(|_| self.beats())
    }

    /// The topics that it must know as the leader.
    pub(super) fn topics_to_divide(&self) -> impl Iterator<Item = Arc<str>> + '_ {
        let dividing = match &self.stage {
            Stage::Dividing(dividing) => Some(dividing.topics()),
            _ => None,
        };
        let divided = self.divided.iter().flat_map(|topics| topics.keys().cloned());
        dividing.into_iter().flatten().chain(divided)
    }

    /// Whether the coordinator waits to hear of it.
    fn beats(&self) -> bool {
        let speaks =
            matches!(self.stage, Stage::Preparing | Stage::Told(..) | Stage::Stable | Stage::Dividing(_));
        self.generation >= 0 && speaks
    }

    /// Whether it has asked to be let in, and the answer will tell what holds.
    pub(super) fn is_joining(&self) -> bool {
        matches!(self.stage, Stage::Joining | Stage::Syncing(_))
    }

    /// It is no member any more; what it owns is lost.
    fn reset(&mut self) {
        self.lost = true;
        self.generation = assignor::NO_GENERATION;
        self.stage = Stage::Out;
        self.rejoin = true;
        self.divided = None;
    }
}

impl Group {
    /// Whether a classic member need do nothing that needs its owner.
    fn has_settled(&self) -> bool {
        match &self.member {
            Member::Classic(classic) => match classic.stage {
                Stage::Stable => !classic.rejoin && classic.joined_with == self.topics,
                _ => classic.is_joining(),
            },
            Member::Reconciling(_) => true,
        }
    }

    fn classic(&mut self) -> Option<&mut Classic> {
        match &mut self.member {
            Member::Classic(classic) => Some(classic),
            Member::Reconciling(_) => None,
        }
    }
}

impl Consumer {
    fn classic(&mut self) -> Option<&mut Classic> {
        self.group.as_mut()?.classic()
    }

    /// The owner is here: what a rebalance needs of it is planned.
    pub(super) fn attend_classic(&mut self, cluster: &Cluster) {
        if self.group.as_ref().is_none_or(|group| group.has_settled()) {
            return;
        }
        let owned: BTreeSet<TopicPartition> = self.partitions.keys().cloned().collect();
        let Some(group) = &mut self.group else { return };
        // A pattern means nothing before the topics are known.
        let known = cluster.metadata().updates > 0 || !group.subscription.wants_all_topics();
        if !group.subscription.is_some() || !known {
            return;
        }
        let cooperative = group.settings.is_cooperative();
        let topics = group.topics.clone();
        let Member::Classic(classic) = &mut group.member else { return };
        if let Stage::Told(assignor, partitions) = &classic.stage {
            let wanted: BTreeSet<_> = partitions.iter().cloned().collect();
            let plan = adoption(assignor.is_cooperative() && cooperative, &owned, &wanted);
            classic.last = Some((partitions.clone(), classic.generation));
            classic.stage = Stage::Stable;
            group.plan.extend(plan);
            return;
        }
        if matches!(classic.stage, Stage::Stable) && classic.joined_with != topics {
            classic.rejoin = true;
        }
        let out = matches!(classic.stage, Stage::Out);
        if !(out || matches!(classic.stage, Stage::Stable) && classic.rejoin) {
            return;
        }
        classic.stage = Stage::Preparing;
        let gone = match cooperative && !classic.lost {
            true => owned.into_iter().filter(|partition| !topics.contains(&partition.topic)).collect(),
            false => owned,
        };
        if !classic.lost {
            group.plan.extend([Act::Hold(gone.clone()), Act::Commit(gone.clone())]);
        }
        group.plan.extend([Act::Revoke(gone), Act::Join]);
    }

    /// Heartbeats, and the leader's work.
    pub(super) fn step_classic(&mut self, now: Now, cluster: &mut Cluster) {
        let Some(classic) = self.classic() else { return };
        classic.not_before = classic.not_before.filter(|pause| !now.reached(*pause));
        self.notice_topics(cluster);
        self.divide_when_known(now, cluster);
        self.beat(now, cluster);
    }

    /// The leader joins again when one of the topics it divided has changed.
    fn notice_topics(&mut self, cluster: &Cluster) {
        let Some(classic) = self.classic() else { return };
        let (Some(divided), Stage::Stable) = (&classic.divided, &classic.stage) else { return };
        let metadata = cluster.metadata();
        let changed = divided.iter().any(|(topic, count)| {
            metadata.topics.contains_key(&**topic) && metadata.partition_count(topic).unwrap_or(0) != *count
        });
        classic.rejoin |= changed;
    }

    fn beat(&mut self, now: Now, cluster: &mut Cluster) {
        let Some(group) = &mut self.group else { return };
        let beating = group.is_asking(|question| matches!(question, Question::Heartbeat));
        let node = group.search.node();
        let who = group.identity();
        let (group_id, interval) = (group.settings.id.clone(), group.settings.heartbeat_interval);
        let Some(classic) = group.classic() else { return };
        if !classic.beats() || beating {
            return;
        }
        if classic.beats.session.is_some_and(|session| now.reached(session)) {
            // It may have been fenced long ago; whoever coordinates now will say so.
            classic.beats.session = None;
            if let Some(node) = node {
                group.search.forget(node);
            }
            return;
        }
        let Some(node) = node.filter(|_| classic.beats.next.is_none_or(|next| now.reached(next))) else {
            return;
        };
        classic.beats.next = Some(now.after(interval));
        let request = HeartbeatRequest {
            group_id,
            generation_id: who.generation,
            member_id: who.member_id,
            group_instance_id: who.instance_id,
        };
        let give_up = now.after(group.settings.request_timeout);
        let ticket = cluster.submit(now, Target::Coordinator(node), requests::versioned(request, 3), give_up);
        group.ask(ticket, node, Question::Heartbeat);
    }

    /// A heartbeat has been answered.
    pub(super) fn heard(&mut self, now: Now, node: i32, outcome: Outcome) {
        let answer = outcome.and_then(|reply| {
            let response = reply.decode::<HeartbeatRequest>()?;
            Ok(ApiError::check(response.error_code, None)?)
        });
        let Some(group) = &mut self.group else { return };
        let session_timeout = group.settings.session_timeout;
        match answer {
            Ok(()) => {
                if let Some(classic) = group.classic() {
                    classic.beats.session = Some(now.after(session_timeout));
                }
            }
            // It was sent before the join.
            Err(_) if group.is_joining() => {}
            Err(error) => self.trouble(now, node, error),
        }
    }

    /// What an error means for the membership, whatever was asked.
    fn trouble(&mut self, now: Now, node: i32, error: ClientError) {
        let random = self.random.next();
        let Some(group) = &mut self.group else { return };
        let backoff = group.settings.retry_backoff;
        match error.refusal() {
            Some(Refusal::CoordinatorNotAvailable | Refusal::NotCoordinator) => group.search.forget(node),
            Some(Refusal::RebalanceInProgress) => return self.rejoin_wanted(),
            Some(Refusal::IllegalGeneration) => return self.membership_lost(now),
            Some(Refusal::UnknownMemberId) => {
                if let Some(classic) = group.classic() {
                    classic.member_id.clear();
                }
                return self.membership_lost(now);
            }
            _ if error.is_retriable() => {}
            _ => {
                if let Some(classic) = group.classic() {
                    classic.reset();
                }
                return self.group_failed(error);
            }
        }
        let Some(classic) = group.classic() else { return };
        classic.failures = classic.failures.saturating_add(1);
        classic.not_before = Some(now.after(backoff.wait(classic.failures, random)));
        if classic.beats() {
            classic.beats.next = classic.not_before;
        }
    }

    /// The coordinator does not know this member any more.
    pub(super) fn membership_lost(&mut self, now: Now) {
        let Some(group) = &mut self.group else { return };
        if group.closing != Closing::No {
            return;
        }
        tracing::info!("this member is none any more in group {}", group.settings.id);
        group.forget_questions();
        match &mut group.member {
            Member::Classic(classic) => classic.reset(),
            Member::Reconciling(member) => member.fenced(now),
        }
        group.plan.clear();
        group.told = None;
    }

    /// The group rebalances: join as soon as the owner polls.
    pub(super) fn rejoin_wanted(&mut self) {
        let Some(classic) = self.classic() else { return };
        match classic.stage {
            Stage::Stable | Stage::Told(..) => classic.rejoin = true,
            Stage::Dividing(_) => classic.stage = Stage::Out,
            // It is on its way.
            Stage::Out | Stage::Preparing | Stage::Joining | Stage::Syncing(_) => {}
        }
    }

    /// Sends the join; false while that cannot be done.
    pub(super) fn join(&mut self, now: Now, cluster: &mut Cluster) -> bool {
        let owned: Vec<TopicPartition> = self.partitions.keys().cloned().collect();
        let Some(group) = &mut self.group else { return true };
        let Some(node) = group.search.node() else { return false };
        let Member::Classic(classic) = &mut group.member else { return true };
        if classic.not_before.is_some_and(|pause| !now.reached(pause)) {
            return false;
        }
        classic.joined_with.clone_from(&group.topics);
        classic.divided = None;
        let call = requests::join(&group.settings, classic, &owned);
        classic.stage = Stage::Joining;
        classic.rejoin = false;
        classic.lost = false;
        let give_up = now.after(group.settings.request_timeout);
        let ticket = cluster.submit(now, Target::Coordinator(node), call, give_up);
        group.ask(ticket, node, Question::Join);
        true
    }

    /// The join has been answered.
    pub(super) fn joined(&mut self, now: Now, cluster: &mut Cluster, node: i32, outcome: Outcome) {
        let response = outcome.and_then(|reply| reply.decode::<JoinGroupRequest>());
        let Some(group) = &mut self.group else { return };
        let give_up = now.after(group.settings.request_timeout);
        let session = now.after(group.settings.session_timeout);
        let interval = now.after(group.settings.heartbeat_interval);
        let Some(classic) = group.classic() else { return };
        let response = match response {
            Ok(response) => response,
            Err(error) => return self.join_again(now, node, error),
        };
        if response.error_code == Refusal::MemberIdRequired.code() {
            classic.member_id = response.member_id;
            return self.join_at_once(now, cluster);
        }
        if let Some(error) = ApiError::from_code(response.error_code, None) {
            return self.join_again(now, node, error.into());
        }
        let name = response.protocol_name.as_deref().unwrap_or_default();
        let Some(assignor) = Assignor::from_name(name) else {
            let why = format!("the group chose an assignor that this member does not have: {name}");
            return self.group_failed(ClientError::Invalid(why));
        };
        classic.failures = 0;
        classic.generation = response.generation_id;
        classic.member_id.clone_from(&response.member_id);
        classic.beats = Beats { next: Some(interval), session: Some(session) };
        let leads = response.leader == response.member_id && !response.skip_assignment;
        if leads {
            let dividing = Dividing::new(assignor, response.members, give_up);
            classic.stage = Stage::Dividing(Box::new(dividing));
            self.watch(now, cluster);
            self.divide_when_known(now, cluster);
        } else {
            self.sync(now, cluster, (assignor, Vec::new()));
        }
    }

    fn join_again(&mut self, now: Now, node: i32, error: ClientError) {
        let random = self.random.next();
        let Some(group) = &mut self.group else { return };
        let backoff = group.settings.retry_backoff;
        self.trouble(now, node, error);
        if let Some(classic) = self.classic() {
            classic.stage = Stage::Out;
            classic.not_before = Some(now.after(backoff.wait(classic.failures.max(1), random)));
        }
    }

    /// The same join once more: nothing has happened in between.
    fn join_at_once(&mut self, now: Now, cluster: &mut Cluster) {
        if !self.join(now, cluster)
            && let Some(group) = &mut self.group
        {
            group.plan.push_front(Act::Join);
        }
    }

    /// Divides the partitions once every topic is known, or cannot be waited for any longer.
    fn divide_when_known(&mut self, now: Now, cluster: &mut Cluster) {
        let Some(classic) = self.classic() else { return };
        let Stage::Dividing(dividing) = &classic.stage else { return };
        if !dividing.is_ready(cluster.metadata()) && !now.reached(dividing.give_up) {
            return;
        }
        let (assignments, divided) = dividing.divide(cluster.metadata());
        let assignor = dividing.assignor;
        classic.divided = Some(divided);
        self.sync(now, cluster, (assignor, assignments));
    }

    fn sync(
        &mut self,
        now: Now,
        cluster: &mut Cluster,
        (assignor, assignments): (Assignor, Vec<dividing::Encoded>),
    ) {
        let Some(group) = &mut self.group else { return };
        let Some(node) = group.search.node() else {
            if let Some(classic) = group.classic() {
                classic.stage = Stage::Out;
            }
            return;
        };
        let call = requests::sync(&group.settings, &group.identity(), assignor, assignments);
        let give_up = now.after(group.settings.request_timeout);
        let ticket = cluster.submit(now, Target::Coordinator(node), call, give_up);
        group.ask(ticket, node, Question::Sync);
        if let Some(classic) = group.classic() {
            classic.stage = Stage::Syncing(assignor);
        }
    }

    /// The sync has been answered.
    pub(super) fn synced(&mut self, now: Now, node: i32, outcome: Outcome) {
        let answer = outcome.and_then(|reply| {
            let response = reply.decode::<SyncGroupRequest>()?;
            ApiError::check(response.error_code, None)?;
            assignor::decode(&response.assignment)
                .ok_or(ClientError::Malformed { api: "SyncGroup", why: "the assignment is none".to_owned() })
        });
        let Some(classic) = self.classic() else { return };
        match answer {
            Ok(partitions) => {
                if let Stage::Syncing(assignor) = classic.stage {
                    classic.stage = Stage::Told(assignor, partitions);
                }
            }
            Err(error) => {
                classic.stage = Stage::Out;
                self.trouble(now, node, error);
            }
        }
    }

    /// A plan has come to its end.
    pub(super) fn settle(&mut self, again: bool) {
        if let Some(classic) = self.classic() {
            classic.rejoin |= again;
        }
    }

    pub(super) fn send_leave(&mut self, now: Now, cluster: &mut Cluster) -> bool {
        let Some(group) = &mut self.group else { return false };
        // Whoever has an id is waited for, also before it is in a generation; the coordinator hears of the leave behind the
        // join that waits there.
        let Some(node) = group.search.node() else { return false };
        let Some(classic) = group.classic().filter(|classic| !classic.member_id.is_empty()) else {
            return false;
        };
        let member_id = classic.member_id.clone();
        let request = LeaveGroupRequest {
            group_id: group.settings.id.clone(),
            member_id,
            ..LeaveGroupRequest::default()
        };
        let give_up = now.after(group.settings.request_timeout);
        let ticket = cluster.submit(now, Target::Coordinator(node), requests::leave(request), give_up);
        group.ask(ticket, node, Question::Leave);
        true
    }

    /// Leaves the group; static members stay until their session ends, unless the protocol lets them go for a while.
    pub(super) fn leave(&mut self, now: Now, cluster: &mut Cluster) {
        let Some(group) = &mut self.group else { return };
        group.subscription = crate::consumer::Subscription::None;
        group.topics.clear();
        group.forget_questions();
        let dynamic = group.settings.instance_id.is_none();
        let asked = match &group.member {
            Member::Classic(_) => dynamic && self.send_leave(now, cluster),
            Member::Reconciling(_) => self.beat_farewell(now, cluster),
        };
        let Some(group) = &mut self.group else { return };
        if let Some(classic) = group.classic() {
            *classic = Classic { last: classic.last.take(), ..Classic::default() };
        }
        if group.closing == Closing::Begun && !asked {
            group.closing = Closing::Left;
        }
        self.watch(now, cluster);
    }

    /// The leave has been answered, or not.
    pub(super) fn left(&mut self, outcome: Outcome) {
        if let Err(error) = outcome {
            tracing::debug!("the group was left without an answer: {error}");
        }
        if let Some(group) = self.group.as_mut().filter(|group| group.closing == Closing::Begun) {
            group.closing = Closing::Left;
        }
    }
}

/// How an assignment is taken on.
fn adoption(
    cooperative: bool,
    owned: &BTreeSet<TopicPartition>,
    wanted: &BTreeSet<TopicPartition>,
) -> Vec<Act> {
    let added: BTreeSet<_> = wanted.difference(owned).cloned().collect();
    let gone: BTreeSet<_> = owned.difference(wanted).cloned().collect();
    let again = cooperative && !gone.is_empty();
    let mut plan = Vec::new();
    if !gone.is_empty() {
        plan.extend([Act::Hold(gone.clone()), Act::Commit(gone.clone()), Act::Revoke(gone)]);
    }
    plan.extend([Act::Assign(added), Act::Settle { again }]);
    plan
}
