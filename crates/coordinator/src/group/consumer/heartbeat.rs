//! A member's heartbeat: it joins, says what it wants and has, and is told what it shall have (KIP-848).
//!
//! One pass: the member as it says it is, the group's epoch if the wishes or the topics have changed, a new target if
//! the epoch asks for one, and the member's next step towards it. Each adds its records, in Kafka's order.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::Refusal;
use ottla_protocol::messages::consumer_group_heartbeat::{
    Assignment, RequestTopicPartitions, ResponseTopicPartitions,
};
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::member::{LEFT_FOR_A_WHILE, Member, MemberState, Owned, sort_names};
use super::owners::Owners;
use super::patterns::PatternChange;
use super::reconcile::{self, Wish};
use super::subscriptions::Outlook;
use super::target::{self, Plan};
use super::timers::{Timer, What};
use super::{ConsumerGroup, Denied, Refresh, Step};
use crate::assign::{Assignor, Partitions, Subscriptions as Kind};
use crate::group::command::Caller;
use crate::group::record::Record;
use crate::group::scene::Scene;
use crate::mutant::Mutant;

/// The topics are looked at after so many milliseconds, though none has changed; Kafka's number.
const REFRESH_MS: i64 = i32::MAX as i64;

/// A member before and after a request, and what is to be written for it.
pub(super) struct Change {
    pub before: Member,
    pub after: Member,
    pub records: Vec<Record>,
}

/// The group's epoch and what goes with it, once the topics have been looked at.
#[derive(Clone, Copy)]
pub(super) struct Outcome {
    pub epoch: i32,
    pub kind: Kind,
}

/// Whether something asks for a new epoch of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bump {
    Needed,
    OnlyIfTopicsChanged,
}

impl Bump {
    pub(super) fn when(needed: bool) -> Self {
        if needed { Self::Needed } else { Self::OnlyIfTopicsChanged }
    }
}

impl ConsumerGroup {
    /// A heartbeat other than the last one.
    ///
    /// # Errors
    /// If the member may not be in the group, or not in this epoch.
    pub fn heartbeat(
        &mut self,
        scene: &mut Scene<'_>,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<Step<ConsumerGroupHeartbeatResponse>, Denied> {
        let instance = request.instance_id.as_deref();
        self.check_room(scene, &request.member_id, instance)?;
        let id = match &*request.member_id {
            "" => scene.random.uuid().to_string(),
            id => id.to_owned(),
        };
        let mut change = match instance {
            None => self.dynamic_member(&id, request)?,
            Some(instance) => self.named_member(&id, instance, request)?,
        };
        change.after = described(&change.before, caller, request);
        let names = self.note_metadata(&mut change);
        let pattern = self.note_pattern(scene, &mut change)?;
        let prefers_other = self.prefers_other_assignor(scene, &change);
        let bump = names == Wish::New || pattern == PatternChange::Matched || prefers_other;
        let wish =
            if names == Wish::New || pattern != PatternChange::None { Wish::New } else { Wish::Unchanged };
        let outcome = self.look_at_topics(scene, Bump::when(bump), &mut change);
        let (target_epoch, target) = self.find_target(scene, outcome, &mut change);
        let reported = request.topic_partitions.as_deref();
        self.reconcile(scene, &mut change, (target_epoch, &target), wish, reported)?;
        let times = scene.settings.consumer_times(scene.image, &self.roster.id);
        let session = scene.now.after_ms(times.session_timeout_ms.into());
        self.timers.set(Timer::of(&id, What::Session), session);
        if change.before.classic().is_some() {
            self.timers.cancel(&Timer::of(&id, What::Join));
            self.timers.cancel(&Timer::of(&id, What::Sync));
        }
        let has_new = change.before.assigned != change.after.assigned;
        let tells = request.member_epoch == 0 || is_full(request) || has_new;
        let answer = ConsumerGroupHeartbeatResponse {
            member_id: Some(id),
            member_epoch: change.after.epoch,
            heartbeat_interval_ms: times.heartbeat_interval_ms,
            assignment: tells.then(|| assignment(&change.after.assigned)),
            ..Default::default()
        };
        Ok(Step::write(change.records, answer))
    }

    /// Whether there is room for one more, if it is one more.
    pub(super) fn check_room(
        &self,
        scene: &Scene<'_>,
        member: &str,
        instance: Option<&str>,
    ) -> Result<(), Denied> {
        let members = &self.roster.members;
        let most = scene.settings.consumer.members_max;
        let returns = instance.is_some_and(|instance| self.roster.static_members.contains_key(instance));
        if returns || members.len() < most || members.contains_key(member) {
            return Ok(());
        }
        let message = format!("The consumer group has reached its maximum capacity of {most} members.");
        Err(Denied::new(Refusal::GroupMaxSizeReached, message))
    }

    fn dynamic_member(&self, id: &str, request: &ConsumerGroupHeartbeatRequest) -> Result<Change, Denied> {
        let member = match self.roster.members.get(id) {
            Some(member) => member.clone(),
            None if request.member_epoch == 0 => Member::new(id),
            None => return Err(self.unknown(id)),
        };
        check_epoch(&member, request)?;
        Ok(Change::of(member))
    }

    fn named_member(
        &self,
        id: &str,
        instance: &str,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<Change, Denied> {
        let existing = self.roster.static_member(instance);
        if request.member_epoch == 0 {
            let is_released =
                |member: &Member| member.classic().is_some() || member.epoch == LEFT_FOR_A_WHILE;
            return match existing {
                Some(existing) if !is_released(existing) => Err(Denied::new(
                    Refusal::UnreleasedInstanceId,
                    format!(
                        "Static member {id} with instance id {instance} cannot join the group because the \
                         instance id is owned by {} member.",
                        existing.id
                    ),
                )),
                existing => Ok(self.take_over(id, existing)),
            };
        }
        let member = self.known_static(id, instance)?.clone();
        check_epoch(&member, request)?;
        Ok(Change::of(member))
    }

    /// A new member, in the place of the one that bore its static name, if there was one.
    pub(super) fn take_over(&self, id: &str, existing: Option<&Member>) -> Change {
        let Some(existing) = existing else {
            return Change::of(self.roster.members.get(id).cloned().unwrap_or_else(|| Member::new(id)));
        };
        let member = existing.replaced_by(id);
        let group = &self.roster.id;
        let mut records = Vec::new();
        self.roster.remove_records(&existing.id, &mut records);
        records.push(member.metadata_record(group));
        records.push(target::member_record(group, id, &self.roster.target.of(&existing.id)));
        records.push(member.current_record(group));
        Change { records, ..Change::of(member) }
    }

    /// The bearer of a static name, who has to have this id.
    pub(super) fn known_static(&self, id: &str, instance: &str) -> Result<&Member, Denied> {
        let Some(member) = self.roster.static_member(instance) else {
            let message = format!("Instance id {instance} is unknown.");
            return Err(Denied::new(Refusal::UnknownMemberId, message));
        };
        if member.id == id {
            return Ok(member);
        }
        let message =
            format!("Static member {id} with instance id {instance} was fenced by member {}.", member.id);
        Err(Denied::new(Refusal::FencedInstanceId, message))
    }

    pub(super) fn unknown(&self, id: &str) -> Denied {
        let message = format!("Member {id} is not a member of group {}.", self.roster.id);
        Denied::new(Refusal::UnknownMemberId, message)
    }

    /// Writes down what the member says about itself, if it is new; says whether it names other topics.
    pub(super) fn note_metadata(&self, change: &mut Change) -> Wish {
        if change.before == change.after {
            return Wish::Unchanged;
        }
        change.records.push(change.after.metadata_record(&self.roster.id));
        let names = |member: &Member| member.metadata.subscribed_topic_names.clone();
        if names(&change.before) == names(&change.after) { Wish::Unchanged } else { Wish::New }
    }

    fn prefers_other_assignor(&self, scene: &Scene<'_>, change: &Change) -> bool {
        let default = default_assignor(scene).name();
        let name = |preferred: Option<String>| preferred.unwrap_or_else(|| default.to_owned());
        let now = self.roster.preferred_assignor(None, None);
        let then = self.roster.preferred_assignor(Some(&change.before), Some(&change.after));
        name(now) != name(then)
    }

    /// Looks at the topics if they or the wishes have changed, and gives the group a new epoch if that is needed.
    pub(super) fn look_at_topics(&mut self, scene: &Scene<'_>, bump: Bump, change: &mut Change) -> Outcome {
        let Self { roster, topics, refresh, .. } = self;
        if topics.look(scene.image, |name| roster.subscriptions.topics.contains(name)) {
            *refresh = Refresh::DUE;
        }
        let is_due = scene.now.reached(refresh.deadline) || roster.epoch < refresh.epoch;
        if bump == Bump::OnlyIfTopicsChanged && !is_due {
            let kind = roster.subscriptions.kind(roster.members.len());
            return Outcome { epoch: roster.epoch, kind };
        }
        let outlook: Outlook = roster.subscriptions.outlook(&change.before, &change.after);
        let metadata_hash = topics.hash(scene.image, outlook.topics.names());
        let is_known = roster.members.contains_key(&change.after.id)
            || change
                .after
                .metadata
                .instance_id
                .as_ref()
                .is_some_and(|i| roster.static_members.contains_key(i));
        let kind = outlook.kind(roster.members.len() + usize::from(!is_known));
        let mut epoch = roster.epoch;
        if bump == Bump::Needed || metadata_hash != roster.metadata_hash {
            epoch += i32::from(!scene.settings.planted.has(Mutant::GroupEpochStays));
            change.records.push(roster.epoch_record(epoch, metadata_hash));
            tracing::debug!(group = %roster.id, epoch, "a consumer group has a new epoch");
        }
        *refresh = Refresh { deadline: scene.now.after_ms(REFRESH_MS), epoch };
        if roster.has_partition_metadata {
            change.records.push(roster.partition_metadata_tombstone());
        }
        Outcome { epoch, kind }
    }

    /// What the member shall have, and from which epoch; reckons a new target for all if the group's epoch asks for
    /// one and the last is old enough.
    pub(super) fn find_target(
        &self,
        scene: &Scene<'_>,
        outcome: Outcome,
        change: &mut Change,
    ) -> (i32, Arc<Partitions>) {
        let target = &self.roster.target;
        let after = &change.after;
        if target.epoch >= outcome.epoch || !self.may_reckon(scene) {
            return (target.epoch, self.last_target(after));
        }
        let preferred = self.roster.preferred_assignor(Some(&change.before), Some(after));
        let assignor = preferred.as_deref().and_then(Assignor::named).unwrap_or(default_assignor(scene));
        let had = |id: &str| target.members.get(id).map(|partitions| &**partitions);
        let mut members: BTreeMap<&str, (&Member, Option<&Partitions>)> =
            self.roster.members.iter().map(|(id, member)| (&**id, (member, had(id)))).collect();
        let mut own = had(&after.id);
        if let Some(previous) = self.bearer(after).filter(|previous| *previous != after.id) {
            members.remove(previous);
            own = had(previous).or(own);
        }
        members.insert(&after.id, (after, own));
        let subscriptions = &self.roster.subscriptions;
        let plan =
            Plan { group: &self.roster.id, epoch: outcome.epoch, kind: outcome.kind, subscriptions, members };
        let cluster = (scene.image, scene.now.wall_ms);
        (outcome.epoch, plan.carry_out(assignor, cluster, &after.id, &mut change.records))
    }

    /// Who bears the member's static name up to now.
    fn bearer(&self, member: &Member) -> Option<&str> {
        let instance = member.metadata.instance_id.as_ref()?;
        self.roster.static_members.get(instance).map(String::as_str)
    }

    /// What the member was to have up to now; a static one inherits it.
    pub(super) fn last_target(&self, member: &Member) -> Arc<Partitions> {
        let target = &self.roster.target;
        match &member.metadata.instance_id {
            None => target.of(&member.id),
            Some(_) => self.bearer(member).map(|id| target.of(id)).unwrap_or_default(),
        }
    }

    /// Targets have to lie some time apart (KIP-1263). A clock that was put back does not count.
    fn may_reckon(&self, scene: &Scene<'_>) -> bool {
        let last_ms = self.roster.target.timestamp_ms;
        let times = scene.settings.consumer_times(scene.image, &self.roster.id);
        let interval_ms = i64::from(times.assignment_interval_ms);
        let now_ms = scene.now.wall_ms;
        last_ms == 0 || interval_ms == 0 || now_ms < last_ms || now_ms - last_ms >= interval_ms
    }

    /// The member takes its next step.
    pub(super) fn reconcile(
        &mut self,
        scene: &Scene<'_>,
        change: &mut Change,
        (target_epoch, target): (i32, &Partitions),
        wish: Wish,
        reported: Option<&[RequestTopicPartitions]>,
    ) -> Result<(), Denied> {
        let member = &change.after;
        if wish == Wish::Unchanged && member.is_reconciled_to(target_epoch) {
            return Ok(());
        }
        let topics = target::topic_ids(scene.image, &self.roster.subscriptions, member);
        let nobody = Owners::default();
        let free = scene.settings.planted.has(Mutant::GivenBeforeReleased);
        let owners = if free { &nobody } else { &self.roster.owners };
        let given_back = scene.settings.planted.has(Mutant::RevocationUnawaited);
        let reported = if given_back { Some(&[][..]) } else { reported };
        let step = reconcile::Step { target_epoch, target, wish, topics: &topics, owners, reported };
        let next = step.take(member)?;
        if next == *member {
            return Ok(());
        }
        change.records.push(next.current_record(&self.roster.id));
        if next.classic().is_none() {
            let timer = Timer::of(&next.id, What::Rebalance);
            if next.state == MemberState::UnrevokedPartitions {
                let deadline = scene.now.after_ms(next.metadata.rebalance_timeout_ms.into());
                self.timers.set_for_epoch(timer, deadline, next.epoch);
            } else {
                self.timers.cancel(&timer);
            }
        }
        change.after = next;
        Ok(())
    }
}

impl Change {
    pub(super) fn of(member: Member) -> Self {
        Self { before: member.clone(), after: member, records: Vec::new() }
    }
}

/// The first of the configured ones.
pub(super) fn default_assignor(scene: &Scene<'_>) -> Assignor {
    let names = scene.settings.consumer.assignors.iter();
    names.filter_map(|name| Assignor::named(name)).next().unwrap_or(Assignor::ALL[0])
}

/// The member as the request says it is; what it does not say stays.
fn described(member: &Member, caller: &Caller, request: &ConsumerGroupHeartbeatRequest) -> Member {
    let mut metadata = member.metadata.as_ref().clone();
    let keep = |new: &Option<String>, old: &mut Option<String>| {
        if new.is_some() {
            old.clone_from(new);
        }
    };
    keep(&request.instance_id, &mut metadata.instance_id);
    keep(&request.rack_id, &mut metadata.rack_id);
    keep(&request.server_assignor, &mut metadata.server_assignor);
    keep(&request.subscribed_topic_regex, &mut metadata.subscribed_topic_regex);
    if request.rebalance_timeout_ms != -1 {
        metadata.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(names) = &request.subscribed_topic_names {
        metadata.subscribed_topic_names.clone_from(names);
        sort_names(&mut metadata.subscribed_topic_names);
    }
    metadata.client_id.clone_from(&caller.client_id);
    metadata.client_host.clone_from(&caller.client_host);
    metadata.classic_member_metadata = None;
    Member { metadata: Arc::new(metadata), ..member.clone() }
}

/// A member of another epoch is fenced, unless it has missed the last reply and has nothing that it should not have.
fn check_epoch(member: &Member, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Denied> {
    let (claimed, known) = (request.member_epoch, member.epoch);
    let missed_a_reply = || {
        claimed == member.previous_epoch
            && request.topic_partitions.as_deref().is_some_and(|owned| is_within(owned, &member.assigned))
    };
    if claimed == 0 || claimed == known || (claimed < known && missed_a_reply()) {
        return Ok(());
    }
    let than = if claimed > known { "greater" } else { "smaller" };
    let message = format!(
        "The consumer group member has a {than} member epoch ({claimed}) than the one known by the group \
         coordinator ({known}). The member must abandon all its partitions and rejoin."
    );
    Err(Denied::new(Refusal::FencedMemberEpoch, message))
}

fn is_within(reported: &[RequestTopicPartitions], assigned: &Owned) -> bool {
    reported.iter().all(|topic| {
        let partitions = assigned.get(&topic.topic_id);
        partitions.is_some_and(|has| topic.partitions.iter().all(|number| has.contains_key(number)))
    })
}

/// A heartbeat that says everything is answered with everything.
fn is_full(request: &ConsumerGroupHeartbeatRequest) -> bool {
    request.rebalance_timeout_ms != -1
        && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
        && request.topic_partitions.is_some()
}

fn assignment(assigned: &Owned) -> Assignment {
    let topics = assigned.iter().map(|(topic, partitions)| ResponseTopicPartitions {
        topic_id: *topic,
        partitions: partitions.keys().copied().collect(),
    });
    Assignment { topic_partitions: topics.collect() }
}
