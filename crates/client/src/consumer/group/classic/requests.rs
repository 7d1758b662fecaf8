//! What a classic member sends.

use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::Request;
use ottla_protocol::messages::join_group::JoinGroupRequestProtocol;
use ottla_protocol::messages::sync_group::SyncGroupRequestAssignment;
use ottla_protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};

use super::{Classic, dividing};
use crate::assignor::{Assignor, Me};
use crate::call::Call;
use crate::consumer::TopicPartition;
use crate::consumer::group::{GroupSettings, Identity};

/// The protocol type of consumers.
const CONSUMER: &str = "consumer";

/// The first version of JoinGroup with an instance id.
const JOIN_MIN_INSTANCE: i16 = 5;
/// The same of SyncGroup and Heartbeat.
const MIN_INSTANCE: i16 = 3;
/// The last version of LeaveGroup that names one member by its id.
const LEAVE_MAX_SINGLE: i16 = 2;

/// How much longer than the rebalance may take its answer may.
const JOIN_SLACK: Duration = Duration::from_secs(5);

/// A request that names a static member only from version `since` on.
pub(super) trait Static: Request + Send + 'static {
    fn instance_id(&self) -> Option<&String>;
}

impl Static for HeartbeatRequest {
    fn instance_id(&self) -> Option<&String> {
        self.group_instance_id.as_ref()
    }
}

impl Static for SyncGroupRequest {
    fn instance_id(&self) -> Option<&String> {
        self.group_instance_id.as_ref()
    }
}

impl Static for JoinGroupRequest {
    fn instance_id(&self) -> Option<&String> {
        self.group_instance_id.as_ref()
    }
}

/// The call, in versions that can say what the request says.
pub(super) fn versioned<R: Static>(request: R, since: i16) -> Call {
    let least = if request.instance_id().is_some() { since } else { 0 };
    Call::new(request).within(least, i16::MAX)
}

pub(super) fn join(settings: &GroupSettings, classic: &Classic, owned: &[TopicPartition]) -> Call {
    let protocol = |assignor: &Assignor| {
        let me = Me {
            topics: &classic.joined_with,
            owned,
            generation: classic.generation,
            rack: settings.rack.as_deref(),
            last: classic.last.as_ref().map(|(partitions, generation)| (partitions.as_slice(), *generation)),
        };
        JoinGroupRequestProtocol { name: assignor.name().to_owned(), metadata: assignor.subscription(&me) }
    };
    let request = JoinGroupRequest {
        group_id: settings.id.clone(),
        session_timeout_ms: ms(settings.session_timeout),
        rebalance_timeout_ms: ms(settings.max_poll_interval),
        member_id: classic.member_id.clone(),
        group_instance_id: settings.instance_id.clone(),
        protocol_type: CONSUMER.to_owned(),
        protocols: settings.assignors.iter().map(protocol).collect(),
        reason: None,
    };
    let patience = settings.max_poll_interval.saturating_add(JOIN_SLACK).max(settings.request_timeout);
    versioned(request, JOIN_MIN_INSTANCE).timeout(patience)
}

pub(super) fn sync(
    settings: &GroupSettings,
    who: &Identity,
    assignor: Assignor,
    assignments: Vec<dividing::Encoded>,
) -> Call {
    let assignment =
        |(member_id, assignment): (String, Bytes)| SyncGroupRequestAssignment { member_id, assignment };
    let request = SyncGroupRequest {
        group_id: settings.id.clone(),
        generation_id: who.generation,
        member_id: who.member_id.clone(),
        group_instance_id: who.instance_id.clone(),
        protocol_type: Some(CONSUMER.to_owned()),
        protocol_name: Some(assignor.name().to_owned()),
        assignments: assignments.into_iter().map(assignment).collect(),
    };
    let patience = settings.max_poll_interval.saturating_add(JOIN_SLACK).max(settings.request_timeout);
    versioned(request, MIN_INSTANCE).timeout(patience)
}

pub(super) fn leave(request: LeaveGroupRequest) -> Call {
    Call::new(request).within(0, LEAVE_MAX_SINGLE)
}

fn ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
