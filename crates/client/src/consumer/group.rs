//! A consumer as a member of a group: who coordinates, what is subscribed, and what a rebalance takes and gives.
//!
//! A rebalance is a plan of acts, carried out one after the other: partitions are held back, positions committed, the
//! owner told, partitions let go or taken on. Plans go on only while the owner polls (`attend`); heartbeats go out
//! whenever the consumer is stepped. The two protocols differ in how they come to a plan: `classic` and `reconciling`.

mod classic;
mod commits;
mod offsets;
mod plan;
mod reconciling;
pub(crate) mod search;
mod settings;
mod subscription;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ottla_protocol::Now;
use ottla_protocol::time::Deadline;

pub use commits::CommitId;
pub use plan::{Hooks, Rebalance};
pub use settings::{GroupProtocol, GroupSettings};
pub use subscription::{Matcher, Subscription};

use crate::admin::CommittedOffset;
use crate::call::Ticket;
use crate::cluster::{Cluster, Interest, Target};
use crate::consumer::assigned::{Assigned, Position};
use crate::consumer::fetcher::Asked;
use crate::consumer::{ConsumeError, Consumer, TopicPartition};
use crate::coordinator::{Coordinator, CoordinatorKind};
use crate::error::ClientError;
use crate::operation::Outcome;
use classic::Classic;
use commits::{By, Commits, Verdict};
use plan::Act;
use reconciling::Reconciling;
use search::Search;

/// Who a member is to its coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its generation, or its epoch under the consumer protocol; −1 for none.
    pub generation: i32,
    /// Its id; empty for none.
    pub member_id: String,
    /// The id its owner gave it.
    pub instance_id: Option<String>,
}

/// What a transactional producer must know of the member whose offsets it commits (KIP-447).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// The group.
    pub group_id: String,
    /// The member.
    pub member: Identity,
}

/// A member's side of its group.
#[derive(Debug)]
pub(super) struct Group {
    pub settings: GroupSettings,
    pub subscription: Subscription,
    /// The topics that the subscription means now.
    pub topics: BTreeSet<Arc<str>>,
    pub member: Member,
    pub search: Search,
    commits: Commits,
    plan: VecDeque<Act>,
    /// What the owner has been told and not answered yet.
    pub told: Option<Rebalance>,
    pub hooks: Hooks,
    /// When the owner has been silent for too long.
    pub silent_at: Option<Deadline>,
    /// When positions are committed next.
    pub commit_at: Option<Deadline>,
    questions: BTreeMap<Ticket, (i32, Question)>,
    pub closing: Closing,
    /// The metadata that `topics` agrees with.
    seen: u64,
    /// Why there can be no membership any more.
    pub failed: Option<ClientError>,
}

/// The member, by its protocol.
#[derive(Debug)]
pub(super) enum Member {
    Classic(Box<Classic>),
    Reconciling(Box<Reconciling>),
}

/// Whether the consumer is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    Begun,
    /// It has left, as far as that can be known.
    Left,
}

/// What has been asked of the coordinator.
#[derive(Debug)]
pub(super) enum Question {
    Coordinator,
    Join,
    Sync,
    /// Of either protocol.
    Heartbeat,
    Leave,
    Commit,
    /// Where the group stands in these partitions.
    Offsets(Vec<Asked>),
}

impl Group {
    pub(super) fn new(settings: GroupSettings, seed: u64) -> Self {
        let member = match settings.protocol {
            GroupProtocol::Classic => Member::Classic(Box::default()),
            GroupProtocol::Consumer => Member::Reconciling(Box::new(Reconciling::new(seed))),
        };
        Self {
            settings,
            subscription: Subscription::None,
            topics: BTreeSet::new(),
            member,
            search: Search::new(),
            commits: Commits::default(),
            plan: VecDeque::new(),
            told: None,
            hooks: Hooks::None,
            silent_at: None,
            commit_at: None,
            questions: BTreeMap::new(),
            closing: Closing::No,
            seen: 0,
            failed: None,
        }
    }

    /// Who it is at present.
    pub(super) fn identity(&self) -> Identity {
        let (generation, member_id) = match &self.member {
            Member::Classic(classic) => (classic.generation, classic.member_id.clone()),
            Member::Reconciling(member) => member.identity(),
        };
        match generation {
            ..0 => Identity { generation: -1, ..Identity::default() },
            _ => Identity { generation, member_id, instance_id: self.settings.instance_id.clone() },
        }
    }

    pub(super) fn ask(&mut self, ticket: Ticket, node: i32, question: Question) {
        self.questions.insert(ticket, (node, question));
    }

    /// Whether a question of this kind is under way.
    pub(super) fn is_asking(&self, kind: impl Fn(&Question) -> bool) -> bool {
        self.questions.values().any(|(_, question)| kind(question))
    }

    /// Answers to what has been asked as a member are of no use any more.
    pub(super) fn forget_questions(&mut self) {
        let other = |question: &Question| {
            matches!(question, Question::Coordinator | Question::Commit | Question::Offsets(_))
        };
        self.questions.retain(|_, (_, question)| other(question));
    }

    /// Whether a join is under way, whose answer tells more than any to an older question.
    fn is_joining(&self) -> bool {
        match &self.member {
            Member::Classic(classic) => classic.is_joining(),
            Member::Reconciling(_) => false,
        }
    }

    /// Whether it wants to be a member and is none at present.
    fn is_outsider(&self) -> bool {
        self.subscription.is_some() && self.identity().generation < 0
    }

    /// Whether somebody must be found to speak to.
    fn wants_coordinator(&self, offsets_wanted: bool) -> bool {
        let member = self.subscription.is_some() && self.failed.is_none();
        (member || offsets_wanted || !self.commits.is_empty()) && self.closing != Closing::Left
    }
}

impl Consumer {
    /// Joins the group with these topics; the partitions come with `attend`. Replaces an earlier subscription. Without a
    /// `group.id`, nothing happens.
    pub fn subscribe(&mut self, now: Now, cluster: &mut Cluster, subscription: Subscription) {
        let Some(group) = &mut self.group else { return };
        if group.closing != Closing::No {
            return;
        }
        if group.plan.contains(&Act::Leave) {
            // Nobody waits for the end of the farewell any more.
            group.plan.clear();
            group.told = None;
            let all: Vec<_> = self.partitions.keys().cloned().collect();
            self.let_go(now, cluster, all);
            self.leave(now, cluster);
        }
        let Some(group) = &mut self.group else { return };
        if !group.subscription.is_some() {
            // Partitions that were assigned by hand are the group's business from now on.
            self.partitions.clear();
            self.ready.clear();
        }
        let all = subscription.wants_all_topics();
        group.subscription = subscription;
        group.silent_at = Some(now.after(group.settings.max_poll_interval));
        cluster.interest(now, if all { Interest::All } else { Interest::Named });
        self.meant_topics(cluster);
        self.watch(now, cluster);
        self.step(now, cluster);
    }

    /// Lets go of everything and leaves the group, as far as the protocol wants that; goes on with `attend`.
    pub fn unsubscribe(&mut self, now: Now, cluster: &mut Cluster) {
        self.plan_leaving(now);
        self.attend(now, cluster);
    }

    /// What is subscribed.
    #[must_use]
    pub fn subscription(&self) -> Option<&Subscription> {
        self.group.as_ref().map(|group| &group.subscription).filter(|subscription| subscription.is_some())
    }

    /// Who this member is at present, for a transactional producer; `None` without a `group.id`.
    #[must_use]
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        let group = self.group.as_ref()?;
        Some(GroupMetadata { group_id: group.settings.id.clone(), member: group.identity() })
    }

    /// Whether the owner wants to be told of rebalances by [`rebalance`](Self::rebalance).
    pub fn hooks(&mut self, hooks: Hooks) {
        if let Some(group) = &mut self.group {
            group.hooks = hooks;
        }
    }

    /// What a rebalance takes or gives at this moment; it goes on when that has been answered with
    /// [`rebalanced`](Self::rebalanced).
    #[must_use]
    pub fn rebalance(&self) -> Option<&Rebalance> {
        self.group.as_ref()?.told.as_ref()
    }

    /// Commits offsets; of the end tells [`committed`](Self::committed). `None` without a `group.id`.
    pub fn commit(
        &mut self,
        now: Now,
        cluster: &mut Cluster,
        offsets: BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Option<CommitId> {
        let group = self.group.as_mut()?;
        let give_up = now.after(group.settings.api_timeout);
        let id = group.commits.push(offsets, give_up, By::Owner);
        self.step(now, cluster);
        Some(id)
    }

    /// The positions of all partitions, as `commit` wants them.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<TopicPartition, CommittedOffset> {
        let position = |(partition, assigned): (&TopicPartition, &Assigned)| {
            let Position::At(offset) = assigned.position else { return None };
            let committed =
                CommittedOffset { offset, leader_epoch: assigned.leader_epoch, metadata: String::new() };
            Some((partition.clone(), committed))
        };
        self.partitions.iter().filter_map(position).collect()
    }

    /// The next commit that has come to its end.
    pub fn committed(&mut self) -> Option<(CommitId, Result<(), ClientError>)> {
        self.group.as_mut()?.commits.ended.pop_front()
    }

    /// Whether a commit waits or is under way.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        self.group.as_ref().is_some_and(|group| !group.commits.is_empty())
    }

    /// The owner is here: rebalances go on, and positions are committed where that is due. To be called before each
    /// `poll`, since what `poll` gave before counts as read.
    pub fn attend(&mut self, now: Now, cluster: &mut Cluster) {
        let Some(group) = &mut self.group else { return };
        if group.closing == Closing::Left {
            return;
        }
        group.silent_at = Some(now.after(group.settings.max_poll_interval));
        self.commit_when_due(now);
        self.carry_out(now, cluster);
        if self.group.as_ref().is_some_and(|group| group.plan.is_empty() && group.failed.is_none()) {
            match self.group.as_ref().map(|group| &group.member) {
                Some(Member::Classic(_)) => self.attend_classic(cluster),
                Some(Member::Reconciling(_)) => self.attend_reconciling(now, cluster),
                None => {}
            }
            self.carry_out(now, cluster);
        }
        self.step(now, cluster);
    }

    /// Leaves the group after a last commit; `is_closed` tells when that is done. Goes on with `attend`.
    pub fn close(&mut self, now: Now, cluster: &mut Cluster) {
        if let Some(group) = self.group.as_mut().filter(|group| group.closing == Closing::No) {
            group.closing = Closing::Begun;
            self.plan_leaving(now);
        }
        self.attend(now, cluster);
    }

    /// Whether there is nothing left to be said to the group.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.group.as_ref().is_none_or(|group| group.closing == Closing::Left)
    }

    /// Whatever concerns the group and needs no owner.
    pub(super) fn step_group(&mut self, now: Now, cluster: &mut Cluster) {
        let Some(group) = &mut self.group else { return };
        group.commits.expire(now);
        group.search.wait_over(now);
        let silent = group.silent_at.take_if(|silent| now.reached(*silent)).is_some();
        if silent && group.closing == Closing::No {
            self.owner_is_silent(now, cluster);
        }
        let Some(group) = &mut self.group else { return };
        if group.seen != cluster.metadata().updates {
            group.seen = cluster.metadata().updates;
            self.meant_topics(cluster);
            self.watch(now, cluster);
        }
        self.find_coordinator(now, cluster);
        match self.group.as_ref().map(|group| &group.member) {
            Some(Member::Classic(_)) => self.step_classic(now, cluster),
            Some(Member::Reconciling(_)) => self.step_reconciling(now, cluster),
            None => {}
        }
        self.send_commit(now, cluster);
        self.ask_offsets(now, cluster);
    }

    /// When the group wants to be stepped.
    pub(super) fn group_deadline(&self) -> Option<Deadline> {
        let group = self.group.as_ref()?;
        let (beat, other) = match &group.member {
            Member::Classic(classic) => (classic.beat_at(), classic.deadline()),
            Member::Reconciling(member) => (member.beat_at(), None),
        };
        // A heartbeat that cannot be sent waits for something else to happen.
        let beating = group.is_asking(|question| matches!(question, Question::Heartbeat));
        let beat = beat.filter(|_| !beating && group.search.node().is_some());
        let all = [beat, other, group.search.deadline(), group.commits.deadline(), group.silent_at];
        all.into_iter().flatten().min()
    }

    /// When the owner should call [`attend`](Self::attend) although nothing else happens.
    #[must_use]
    pub fn attend_by(&self) -> Option<Deadline> {
        let group = self.group.as_ref()?;
        let plan = group.plan.front().and_then(Act::deadline);
        let commit = group.commit_at.filter(|_| group.closing == Closing::No);
        [plan, commit].into_iter().flatten().min()
    }

    /// Takes the end of a call to the coordinator; false if it is none.
    pub(super) fn group_done(
        &mut self,
        now: Now,
        cluster: &mut Cluster,
        ticket: Ticket,
        outcome: Outcome,
    ) -> bool {
        let Some(group) = &mut self.group else { return false };
        let Some((node, question)) = group.questions.remove(&ticket) else { return false };
        if let Err(ClientError::Disconnected(_) | ClientError::TimedOut(_)) = &outcome {
            group.search.forget(node);
        }
        match question {
            Question::Coordinator => self.found_coordinator(now, outcome),
            Question::Join => self.joined(now, cluster, node, outcome),
            Question::Sync => self.synced(now, node, outcome),
            Question::Heartbeat => match &group.member {
                Member::Classic(_) => self.heard(now, node, outcome),
                Member::Reconciling(_) => self.reconcile(now, cluster, node, outcome),
            },
            Question::Leave => self.left(outcome),
            Question::Commit => self.commit_answered(now, node, outcome),
            Question::Offsets(asked) => self.offsets_answered(now, cluster, node, asked, outcome),
        }
        self.step(now, cluster);
        true
    }

    /// The owner has not polled for so long that others get its partitions.
    fn owner_is_silent(&mut self, now: Now, cluster: &mut Cluster) {
        let Some(group) = &mut self.group else { return };
        if group.identity().generation < 0 {
            return;
        }
        tracing::warn!("consumer poll timeout has expired: nobody has polled for max.poll.interval.ms");
        match &group.member {
            Member::Classic(_) if group.settings.instance_id.is_some() => {}
            Member::Classic(_) => drop(self.send_leave(now, cluster)),
            Member::Reconciling(_) => drop(self.beat_farewell(now, cluster)),
        }
        if let Some(group) = &mut self.group {
            match &mut group.member {
                Member::Classic(classic) if group.settings.instance_id.is_none() => classic.member_id.clear(),
                _ => {}
            }
        }
        self.membership_lost(now);
    }

    /// Looks up what the subscription means now.
    fn meant_topics(&mut self, cluster: &Cluster) {
        let Some(group) = &mut self.group else { return };
        group.topics = group.subscription.topics(cluster.metadata(), group.settings.exclude_internal);
    }

    /// Sees to it that metadata is kept of every topic that is read or subscribed.
    pub(super) fn watch(&mut self, now: Now, cluster: &mut Cluster) {
        let read = self.partitions.keys().map(|partition| partition.topic.clone());
        let mut wanted: BTreeSet<Arc<str>> = read.collect();
        if let Some(group) = &self.group {
            wanted.extend(group.topics.iter().cloned());
            if let Member::Classic(classic) = &group.member {
                wanted.extend(classic.topics_to_divide());
            }
        }
        for topic in self.watched.difference(&wanted) {
            cluster.unwatch(topic);
        }
        for topic in wanted.difference(&self.watched) {
            cluster.watch(now, topic);
        }
        self.watched = wanted;
    }

    fn find_coordinator(&mut self, now: Now, cluster: &mut Cluster) {
        let offsets_wanted =
            self.partitions.values().any(|assigned| assigned.position == Position::Committed);
        let Some(group) = &mut self.group else { return };
        if !group.wants_coordinator(offsets_wanted) || !group.search.may_ask(now) {
            return;
        }
        let call = CoordinatorKind::Group.find(&group.settings.id);
        let give_up = now.after(group.settings.request_timeout);
        let ticket = cluster.submit(now, Target::Any, call, give_up);
        group.search = Search::Asked;
        group.ask(ticket, -1, Question::Coordinator);
    }

    fn found_coordinator(&mut self, now: Now, outcome: Outcome) {
        let random = self.random.next();
        let Some(group) = &mut self.group else { return };
        match outcome.and_then(|reply| Coordinator::read(&reply)) {
            Ok(found) => group.search = Search::Known(found.node),
            Err(error) => {
                let wait = group.settings.retry_backoff.wait(1, random);
                group.search = Search::Unknown { not_before: Some(now.after(wait)) };
                if !error.is_retriable() {
                    self.group_failed(error);
                }
            }
        }
    }

    /// There can be no membership any more; the owner is told.
    pub(super) fn group_failed(&mut self, error: ClientError) {
        if let Some(group) = &mut self.group {
            group.failed = Some(error.clone());
            group.forget_questions();
        }
        self.tell(ConsumeError::Group(error));
    }

    /// Commits the positions if that is to be done now and then, and now is such a moment.
    fn commit_when_due(&mut self, now: Now) {
        let Some(group) = &mut self.group else { return };
        let Some(interval) = group.settings.auto_commit else { return };
        let due = group.commit_at.get_or_insert_with(|| now.after(interval));
        if !now.reached(*due) || group.closing != Closing::No {
            return;
        }
        *due = now.after(interval);
        self.commit_positions(now, None);
    }

    /// Commits positions that have changed since, of these partitions or of all.
    fn commit_positions(&mut self, now: Now, only: Option<&BTreeSet<TopicPartition>>) -> Option<CommitId> {
        let mut positions = self.positions();
        let group = self.group.as_mut()?;
        positions.retain(|partition, position| {
            only.is_none_or(|only| only.contains(partition))
                && group.commits.last.get(partition) != Some(&position.offset)
        });
        // Who was thrown out has nothing to say any more.
        if positions.is_empty() || group.is_outsider() {
            return None;
        }
        let give_up = now.after(group.settings.max_poll_interval.min(group.settings.api_timeout));
        Some(group.commits.push(positions, give_up, By::Itself))
    }

    fn send_commit(&mut self, now: Now, cluster: &mut Cluster) {
        let Some(group) = &mut self.group else { return };
        let commits = &mut group.commits;
        commits.not_before = commits.not_before.filter(|pause| !now.reached(*pause));
        if commits.asked || commits.not_before.is_some() {
            return;
        }
        if group.is_outsider() {
            while group.commits.first().is_some() {
                group.commits.end(Err(commits::moved_on(ottla_protocol::Refusal::UnknownMemberId)));
            }
            return;
        }
        let (Some(node), Some(commit)) = (group.search.node(), group.commits.first()) else { return };
        let call = commits::call(&group.settings.id, &group.identity(), commit, cluster.metadata());
        let ticket = cluster.submit(now, Target::Coordinator(node), call, commit.give_up);
        group.commits.asked = true;
        group.ask(ticket, node, Question::Commit);
    }

    fn commit_answered(&mut self, now: Now, node: i32, outcome: Outcome) {
        use ottla_protocol::Refusal;
        let random = self.random.next();
        let Some(group) = &mut self.group else { return };
        group.commits.asked = false;
        let again = match outcome.and_then(|reply| commits::read(&reply)) {
            Ok(Verdict::Done) => return group.commits.end(Ok(())),
            Ok(Verdict::Failed(error)) => {
                let refusal = error.refusal();
                group.commits.end(Err(error));
                match refusal {
                    _ if group.is_joining() => {}
                    Some(Refusal::UnknownMemberId | Refusal::IllegalGeneration) => self.membership_lost(now),
                    Some(Refusal::RebalanceInProgress) => self.rejoin_wanted(),
                    _ => {}
                }
                return;
            }
            Ok(Verdict::Again(error)) => {
                if matches!(
                    error.refusal,
                    Refusal::NotCoordinator | Refusal::CoordinatorNotAvailable | Refusal::RequestTimedOut
                ) {
                    group.search.forget(node);
                }
                // Under an epoch that is behind, the next heartbeat brings the right one.
                if error.refusal == Refusal::StaleMemberEpoch && group.identity().generation < 0 {
                    return group.commits.end(Err(error.into()));
                }
                let topic =
                    matches!(error.refusal, Refusal::UnknownTopicOrPartition | Refusal::UnknownTopicId);
                if topic && group.commits.first().is_some_and(|commit| commit.by == By::Itself) {
                    return group.commits.end(Err(error.into()));
                }
                ClientError::from(error)
            }
            Err(error) if error.is_retriable() => error,
            Err(error) => return group.commits.end(Err(error)),
        };
        if group.commits.first().is_some_and(|commit| now.reached(commit.give_up)) {
            return group.commits.end(Err(again));
        }
        group.commits.failures = group.commits.failures.saturating_add(1);
        let wait = group.settings.retry_backoff.wait(group.commits.failures, random);
        group.commits.not_before = Some(now.after(wait));
    }
}

#[cfg(test)]
mod tests;
