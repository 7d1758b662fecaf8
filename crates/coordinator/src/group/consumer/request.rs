//! The requests that a consumer group answers, each turned into a decision; a refusal becomes an answer of its kind.

use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use ottla_protocol::{Refusal, Ticket};

use super::classic::{refused_join, refused_sync};
use super::member::{LEFT, LEFT_FOR_A_WHILE};
use super::{ConsumerGroup, Denied, Step};
use crate::group::any::{Group, GroupMap};
use crate::group::command::{Caller, Reply};
use crate::group::migration;
use crate::group::scene::{Decided, Scene};

/// From this version on, clients bring their own member ids (KIP-1082).
const CLIENTS_MAKE_IDS: i16 = 1;

/// ConsumerGroupHeartbeat: to a group that exists, that is to be, or that is classic yet.
pub(crate) fn heartbeat(
    groups: &mut GroupMap,
    scene: &mut Scene<'_>,
    ticket: Ticket,
    caller: &Caller,
    request: ConsumerGroupHeartbeatRequest,
) -> Decided {
    let outcome = match check(scene, caller.version, &request) {
        Ok(()) => dispatch(groups, scene, ticket, caller, &request),
        Err(denied) => Err(denied),
    };
    outcome.unwrap_or_else(|denied| {
        let answer = ConsumerGroupHeartbeatResponse {
            error_code: denied.refusal.code(),
            error_message: Some(denied.message),
            ..Default::default()
        };
        Decided::reply(ticket, Reply::ConsumerHeartbeat(answer))
    })
}

fn dispatch(
    groups: &mut GroupMap,
    scene: &mut Scene<'_>,
    ticket: Ticket,
    caller: &Caller,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<Decided, Denied> {
    let name = &request.group_id;
    let joins = request.member_epoch == 0;
    match groups.get_mut(name) {
        Some(Group::Consumer(group)) => {
            group.downgrade = None;
            let step = match request.member_epoch {
                LEFT | LEFT_FOR_A_WHILE => group.heartbeat_of_leaving(scene, request)?,
                _ => group.heartbeat(scene, caller, request)?,
            };
            Ok(group.conclude(step, |answer| vec![(ticket, Reply::ConsumerHeartbeat(answer))]))
        }
        Some(Group::Classic(classic)) if joins && !classic.is_empty() => {
            let (mut group, mut records) = migration::upgrade(scene, classic)?;
            let step = group.heartbeat(scene, caller, request)?;
            records.extend(step.records);
            // Whoever waits for the old group has to join again, and does not see that it is another.
            let waiting = classic.take_tickets().into_iter();
            let refused = waiting.map(|ticket| (ticket, Reply::from(Refusal::RebalanceInProgress)));
            let mut replies: Vec<(Ticket, Reply)> = refused.collect();
            replies.push((ticket, Reply::ConsumerHeartbeat(step.answer)));
            Ok(Decided { records, replies, ..Decided::nothing() })
        }
        existing if joins => {
            let tombstones = existing.map(|group| group.tombstones()).unwrap_or_default();
            let step = ConsumerGroup::new(name).heartbeat(scene, caller, request)?;
            let records = tombstones.into_iter().chain(step.records).collect();
            Ok(Decided::write(records, ticket, Reply::ConsumerHeartbeat(step.answer)))
        }
        Some(Group::Classic(_)) => {
            let message = format!("Group {name} is not a consumer group.");
            Err(Denied::new(Refusal::GroupIdNotFound, message))
        }
        None => {
            let message = format!("Consumer group {name} not found.");
            Err(Denied::new(Refusal::GroupIdNotFound, message))
        }
    }
}

/// Whether the request makes sense by itself.
fn check(scene: &Scene<'_>, version: i16, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Denied> {
    let invalid = |why: &str| Err(Denied::new(Refusal::InvalidRequest, why));
    let is_blank = |text: Option<&str>| text.is_some_and(|text| text.trim().is_empty());
    let needs_id = version >= CLIENTS_MAKE_IDS || request.member_epoch > 0 || request.member_epoch == LEFT;
    if needs_id && is_blank(Some(&request.member_id)) {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(Some(&request.group_id)) {
        return invalid("GroupId can't be empty.");
    }
    if is_blank(request.instance_id.as_deref()) {
        return invalid("InstanceId can't be empty.");
    }
    if is_blank(request.rack_id.as_deref()) {
        return invalid("RackId can't be empty.");
    }
    match request.member_epoch {
        0 => check_join(request)?,
        LEFT_FOR_A_WHILE if request.instance_id.is_none() => return invalid("InstanceId can't be null."),
        LEFT_FOR_A_WHILE | LEFT => {}
        epoch if epoch < LEFT_FOR_A_WHILE => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    let known = &scene.settings.consumer.assignors;
    match &request.server_assignor {
        Some(name) if !known.contains(name) => {
            let known = known.join(", ");
            let message = format!("ServerAssignor {name} is not supported. Supported assignors: {known}.");
            Err(Denied::new(Refusal::UnsupportedAssignor, message))
        }
        _ => Ok(()),
    }
}

fn check_join(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Denied> {
    let why = if request.rebalance_timeout_ms == -1 {
        "RebalanceTimeoutMs must be provided in first request."
    } else if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
        "TopicPartitions must be empty when (re-)joining."
    } else if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
        "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
    } else {
        return Ok(());
    };
    Err(Denied::new(Refusal::InvalidRequest, why))
}

impl ConsumerGroup {
    /// JoinGroup of a member of the classic protocol.
    pub fn join(
        &mut self,
        scene: &mut Scene<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: JoinGroupRequest,
    ) -> Decided {
        self.downgrade = None;
        match self.join_step(scene, caller, &request) {
            Ok(step) => self.conclude(step, |answer| vec![(ticket, Reply::Join(answer))]),
            Err(denied) => {
                tracing::debug!(
                    group = request.group_id,
                    why = denied.message,
                    "a consumer group refuses a classic member"
                );
                Decided::reply(ticket, Reply::Join(refused_join(caller.version, denied.refusal)))
            }
        }
    }

    /// SyncGroup of a member of the classic protocol.
    pub fn sync(
        &mut self,
        scene: &mut Scene<'_>,
        ticket: Ticket,
        _: &Caller,
        request: SyncGroupRequest,
    ) -> Decided {
        let answer = if self.is_empty() {
            refused_sync(Refusal::UnknownMemberId)
        } else {
            self.sync_step(scene, &request).unwrap_or_else(|denied| refused_sync(denied.refusal))
        };
        Decided::reply(ticket, Reply::Sync(answer))
    }

    /// Heartbeat of a member of the classic protocol.
    pub fn classic_heartbeat(
        &mut self,
        scene: &mut Scene<'_>,
        ticket: Ticket,
        _: &Caller,
        request: &HeartbeatRequest,
    ) -> Decided {
        let answer = self.classic_heartbeat_step(scene, request).unwrap_or_else(|denied| HeartbeatResponse {
            error_code: denied.refusal.code(),
            ..Default::default()
        });
        Decided::reply(ticket, Reply::Heartbeat(answer))
    }

    /// LeaveGroup of members of any protocol.
    pub fn leave(
        &mut self,
        scene: &mut Scene<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: LeaveGroupRequest,
    ) -> Decided {
        self.downgrade = None;
        let mut step: Step<_> = self.leave_step(scene, &request);
        if caller.version < ANSWERS_EACH
            && let Some(only) = step.answer.members.first()
        {
            step.answer.error_code = only.error_code;
        }
        self.conclude(step, |answer| vec![(ticket, Reply::Leave(answer))])
    }
}

/// From this version on, LeaveGroup answers each member for itself.
const ANSWERS_EACH: i16 = 3;
