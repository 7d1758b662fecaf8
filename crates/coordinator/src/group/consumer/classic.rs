//! Members of the classic protocol inside a consumer group: while consumers are moved from the one to the other, some
//! still speak JoinGroup, SyncGroup and Heartbeat (KIP-848, migration).
//!
//! For them a step towards the target is a rebalance of their own: a heartbeat tells them to join again, the join takes
//! the step, the sync brings what they then have. Their generation is their member epoch.

use std::sync::Arc;

use bytes::Bytes;
use ottla_metadata::Image;
use ottla_protocol::Refusal;
use ottla_protocol::messages::consumer_group_heartbeat::RequestTopicPartitions;
use ottla_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use ottla_protocol::records::consumer_protocol::ConsumerProtocolSubscription;
use ottla_protocol::records::coordinator::consumer_group_member_metadata::{
    ClassicMemberMetadata, ClassicProtocol,
};

use super::heartbeat::{Bump, Change};
use super::member::{Member, MemberState, Owned, sort_names};
use super::patterns::PatternChange;
use super::reconcile::Wish;
use super::timers::{Timer, What};
use super::{ConsumerGroup, Denied, Step};
use crate::group::command::Caller;
use crate::group::migration::{self, Policy, embedded};
use crate::group::scene::Scene;

/// From this version on, a new dynamic member has to come back with the id that it is given (KIP-394).
const KNOWN_MEMBER_ID: i16 = 4;

impl ConsumerGroup {
    /// JoinGroup: a new member, or one that takes its next step.
    ///
    /// # Errors
    /// If it may not be in the group.
    pub(super) fn join_step(
        &mut self,
        scene: &mut Scene<'_>,
        caller: &Caller,
        request: &JoinGroupRequest,
    ) -> Result<Step<JoinGroupResponse>, Denied> {
        if Policy::of(scene) == Policy::Disabled {
            let group = &request.group_id;
            let message = format!(
                "Cannot join the consumer group {group} with the classic protocol because the group \
                 migration is disabled."
            );
            return Err(Denied::new(Refusal::InconsistentGroupProtocol, message));
        }
        let is_new = request.member_id.is_empty();
        let id = if is_new { scene.random.uuid().to_string() } else { request.member_id.clone() };
        let instance = request.group_instance_id.as_deref();
        self.check_room(scene, &id, instance)?;
        self.check_protocols(&id, request)?;
        if is_new && instance.is_none() && caller.version >= KNOWN_MEMBER_ID {
            let error_code = Refusal::MemberIdRequired.code();
            let answer = JoinGroupResponse { error_code, member_id: id, ..Default::default() };
            return Ok(Step::write(Vec::new(), answer));
        }
        let mut change = match instance {
            None => self.take_over(&id, None),
            Some(instance) if is_new => self.take_over(&id, self.roster.static_member(instance)),
            Some(instance) => Change::of(self.known_static(&id, instance)?.clone()),
        };
        let replaced = instance.and_then(|instance| self.roster.static_member(instance));
        let downgrades = replaced.is_some_and(|replaced| self.may_downgrade_with(scene, replaced));
        let subscription = first_subscription(request)?;
        change.after = described(&change.before, caller, request, &subscription);
        let names = self.note_metadata(&mut change);
        let pattern = self.note_pattern(scene, &mut change)?;
        let wish =
            if names == Wish::New || pattern != PatternChange::None { Wish::New } else { Wish::Unchanged };
        let outcome = self.look_at_topics(scene, Bump::when(wish == Wish::New), &mut change);
        let reported = reported(scene.image, &subscription);
        let mut downgrade = None;
        if downgrades {
            if self.roster.target.epoch == outcome.epoch {
                let target = self.last_target(&change.after);
                let target = (self.roster.target.epoch, &*target);
                self.reconcile(scene, &mut change, target, wish, Some(&reported))?;
            }
            let Change { after, records, .. } = &mut change;
            downgrade = Some(self.downgrade_with(scene, (&*after, outcome.epoch), records)?);
        } else {
            let (target_epoch, target) = self.find_target(scene, outcome, &mut change);
            self.reconcile(scene, &mut change, (target_epoch, &target), wish, Some(&reported))?;
            self.has_joined(scene, request, &id);
        }
        let answer = JoinGroupResponse {
            generation_id: change.after.epoch,
            protocol_type: Some(migration::CONSUMER.to_owned()),
            protocol_name: request.protocols.first().map(|protocol| protocol.name.clone()),
            member_id: id,
            ..Default::default()
        };
        Ok(Step { records: change.records, answer, downgrade })
    }

    fn check_protocols(&self, id: &str, request: &JoinGroupRequest) -> Result<(), Denied> {
        let classic = &self.roster.classic;
        let all_speak = |name: &str| classic.protocols.get(name).copied().unwrap_or(0) == classic.count;
        if request.protocol_type == migration::CONSUMER
            && request.protocols.iter().any(|protocol| all_speak(&protocol.name))
        {
            return Ok(());
        }
        let message = format!("Member {id}'s protocols are not supported.");
        Err(Denied::new(Refusal::InconsistentGroupProtocol, message))
    }

    fn has_joined(&mut self, scene: &Scene<'_>, request: &JoinGroupRequest, id: &str) {
        let rebalance_ms = match request.rebalance_timeout_ms {
            -1 => request.session_timeout_ms,
            timeout_ms => timeout_ms,
        };
        self.timers.cancel(&Timer::of(id, What::Join));
        let session = scene.now.after_ms(request.session_timeout_ms.into());
        self.timers.set(Timer::of(id, What::Session), session);
        self.timers.set(Timer::of(id, What::Sync), scene.now.after_ms(rebalance_ms.into()));
    }

    /// SyncGroup: the member is told what it has.
    ///
    /// # Errors
    /// If it is not a member of this generation, or is to join again.
    pub(super) fn sync_step(
        &mut self,
        scene: &Scene<'_>,
        request: &SyncGroupRequest,
    ) -> Result<SyncGroupResponse, Denied> {
        let instance = request.group_instance_id.as_deref();
        let (member, classic) = self.classic_member(&request.member_id, instance, request.generation_id)?;
        let protocol = classic.supported_protocols.first();
        let differs = |asked: &Option<String>, is: Option<&str>| {
            asked.as_deref().is_some_and(|asked| Some(asked) != is)
        };
        if differs(&request.protocol_type, Some(migration::CONSUMER))
            || differs(&request.protocol_name, protocol.map(|protocol| &*protocol.name))
        {
            let message = "The protocol is not the one of the join response.";
            return Err(Denied::new(Refusal::InconsistentGroupProtocol, message));
        }
        let (id, epoch, state) = (member.id.clone(), member.epoch, member.state);
        let session = scene.now.after_ms(classic.session_timeout_ms.into());
        if self.roster.target.epoch > epoch && state != MemberState::UnrevokedPartitions {
            self.await_join(scene, &id);
            let message = "A new rebalance is triggered, and the member should rejoin to catch up.";
            return Err(Denied::new(Refusal::RebalanceInProgress, message));
        }
        let version = protocol.and_then(|protocol| embedded::version(&protocol.metadata)).unwrap_or(0);
        let assignment = embedded::assignment(scene.image, version, owned_numbers(&member.assigned));
        self.timers.cancel(&Timer::of(&id, What::Sync));
        self.timers.set(Timer::of(&id, What::Session), session);
        Ok(SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..Default::default()
        })
    }

    /// Heartbeat: the member is alive, and is told whether to join again.
    ///
    /// # Errors
    /// If it is not a member of this generation.
    pub(super) fn classic_heartbeat_step(
        &mut self,
        scene: &Scene<'_>,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatResponse, Denied> {
        let instance = request.group_instance_id.as_deref();
        let (member, classic) = self.classic_member(&request.member_id, instance, request.generation_id)?;
        let session = scene.now.after_ms(classic.session_timeout_ms.into());
        let id = member.id.clone();
        let has_a_step_to_take = member.epoch < self.roster.target.epoch
            || match member.state {
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !self.waits_for_others(member),
                MemberState::Stable | MemberState::Unknown => false,
            };
        self.timers.set(Timer::of(&id, What::Session), session);
        let mut answer = HeartbeatResponse::default();
        if has_a_step_to_take {
            self.await_join(scene, &id);
            answer.error_code = Refusal::RebalanceInProgress.code();
        }
        Ok(answer)
    }

    /// Whether some of what the member shall have is still in the hands of others.
    fn waits_for_others(&self, member: &Member) -> bool {
        let target = self.roster.target.of(&member.id);
        target.iter().any(|(topic, partitions)| {
            let has = member.assigned.get(topic);
            partitions.iter().any(|partition| {
                !has.is_some_and(|has| has.contains_key(partition))
                    && self.roster.owners.has(*topic, *partition)
            })
        })
    }

    fn await_join(&mut self, scene: &Scene<'_>, id: &str) {
        let Some(member) = self.roster.members.get(id) else { return };
        let deadline = scene.now.after_ms(member.metadata.rebalance_timeout_ms.into());
        self.timers.set_if_absent(Timer::of(id, What::Join), deadline);
    }

    fn classic_member(
        &self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(&Member, &ClassicMemberMetadata), Denied> {
        let member = match instance {
            None => self.roster.members.get(id).ok_or_else(|| self.unknown(id))?,
            Some(instance) => self.known_static(id, instance)?,
        };
        let Some(classic) = member.classic() else {
            let message = format!("Member {id} does not use the classic protocol.");
            return Err(Denied::new(Refusal::UnknownMemberId, message));
        };
        if member.epoch == generation {
            return Ok((member, classic));
        }
        let message = format!(
            "The request generation id {generation} is not equal to the member epoch {} of member {id}.",
            member.epoch
        );
        Err(Denied::new(Refusal::IllegalGeneration, message))
    }
}

/// What the member wants, in the words of its dearest protocol.
fn first_subscription(request: &JoinGroupRequest) -> Result<ConsumerProtocolSubscription, Denied> {
    let first = request.protocols.first().and_then(|protocol| embedded::subscription(&protocol.metadata));
    first.ok_or_else(|| {
        let message = "Malformed embedded consumer protocol in subscription deserialization.";
        Denied::new(Refusal::InconsistentGroupProtocol, message)
    })
}

/// The member as the request says it is.
fn described(
    member: &Member,
    caller: &Caller,
    request: &JoinGroupRequest,
    subscription: &ConsumerProtocolSubscription,
) -> Member {
    let mut metadata = member.metadata.as_ref().clone();
    if request.group_instance_id.is_some() {
        metadata.instance_id.clone_from(&request.group_instance_id);
    }
    if let Some(rack) = subscription.rack_id.as_ref().filter(|rack| !rack.is_empty()) {
        metadata.rack_id = Some(rack.clone());
    }
    if request.rebalance_timeout_ms != -1 {
        metadata.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    metadata.subscribed_topic_names.clone_from(&subscription.topics);
    sort_names(&mut metadata.subscribed_topic_names);
    // There are no patterns in the classic protocol.
    metadata.subscribed_topic_regex = Some(String::new());
    metadata.client_id.clone_from(&caller.client_id);
    metadata.client_host.clone_from(&caller.client_host);
    let protocols = request.protocols.iter().map(|protocol| ClassicProtocol {
        name: protocol.name.clone(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    metadata.classic_member_metadata = Some(ClassicMemberMetadata {
        session_timeout_ms: request.session_timeout_ms,
        supported_protocols: protocols.collect(),
    });
    Member { metadata: Arc::new(metadata), ..member.clone() }
}

/// What the member says that it has.
fn reported(image: &Image, subscription: &ConsumerProtocolSubscription) -> Vec<RequestTopicPartitions> {
    let topics = subscription.owned_partitions.iter().filter_map(|topic| {
        let topic_id = image.topics.named(&topic.topic)?.id;
        Some(RequestTopicPartitions { topic_id, partitions: topic.partitions.clone() })
    });
    topics.collect()
}

fn owned_numbers(owned: &Owned) -> impl Iterator<Item = (ottla_protocol::TopicId, Vec<i32>)> {
    owned.iter().map(|(topic, partitions)| (*topic, partitions.keys().copied().collect()))
}

/// A refused JoinGroup, as clients of the version can read it.
pub(super) fn refused_join(version: i16, refusal: Refusal) -> JoinGroupResponse {
    // Before version 7 the protocol's name may not be null.
    let protocol_name = (version < 7).then(String::new);
    JoinGroupResponse { error_code: refusal.code(), protocol_name, ..Default::default() }
}

/// A refused SyncGroup.
pub(super) fn refused_sync(refusal: Refusal) -> SyncGroupResponse {
    SyncGroupResponse { error_code: refusal.code(), assignment: Bytes::new(), ..Default::default() }
}
