//! LeaveGroup (13), versions 0–5: members leave a classic group.
//!
//! v3 several members, named by their ids or as static members (KIP-345), v5 a reason (KIP-800).

use ottla_coordinator::group::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::leave_group::MemberIdentity;
use ottla_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::answer::Answer;
use crate::api::coordinate;
use crate::context::Context;

/// The first version with several members.
const BATCHED_SINCE: i16 = 3;

/// Asks the group's coordinator.
pub fn answer(mut request: LeaveGroupRequest, context: &mut Context<'_>) -> Answer<LeaveGroupResponse> {
    let version = context.version;
    let refuse = |refusal: Refusal| LeaveGroupResponse { error_code: refusal.code(), ..Default::default() };
    if request.group_id.is_empty() {
        return Answer::reply(refuse(Refusal::InvalidGroupId));
    }
    if version < BATCHED_SINCE {
        let member_id = std::mem::take(&mut request.member_id);
        request.members = vec![MemberIdentity { member_id, ..Default::default() }];
    }
    let group = request.group_id.clone();
    let command = Command::Leave(coordinate::caller(context), request);
    let pick = |reply| match reply {
        Reply::Leave(response) => Some(response),
        _ => None,
    };
    coordinate::ask(context, &group, command, Some(coordinate::patience(context)), pick, refuse)
        .map(move |response| fit(response, version))
}

/// What has become of the one member is the outcome of the whole in old versions.
fn fit(mut response: LeaveGroupResponse, version: i16) -> LeaveGroupResponse {
    if version < BATCHED_SINCE {
        let members = std::mem::take(&mut response.members);
        if response.error_code == 0 {
            response.error_code = members.first().map_or(0, |member| member.error_code);
        }
    }
    response
}
