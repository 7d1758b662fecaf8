//! SyncGroup (14), versions 0–5: the leader of a classic group brings the assignment, each member takes its own.
//!
//! v3 static members (KIP-345), v5 the protocol's type and name (KIP-559).

use ottla_coordinator::group::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::answer::Answer;
use crate::api::coordinate;
use crate::context::Context;

/// The first version that has to name the protocol.
const PROTOCOL_SINCE: i16 = 5;

/// Asks the group's coordinator, and waits until the leader has spoken.
pub fn answer(request: SyncGroupRequest, context: &mut Context<'_>) -> Answer<SyncGroupResponse> {
    let refuse = |refusal: Refusal| SyncGroupResponse { error_code: refusal.code(), ..Default::default() };
    let unnamed = request.protocol_type.is_none() || request.protocol_name.is_none();
    if context.version >= PROTOCOL_SINCE && unnamed {
        return Answer::reply(refuse(Refusal::InconsistentGroupProtocol));
    }
    if request.group_id.is_empty() {
        return Answer::reply(refuse(Refusal::InvalidGroupId));
    }
    let group = request.group_id.clone();
    let command = Command::Sync(coordinate::caller(context), request);
    let pick = |reply| match reply {
        Reply::Sync(response) => Some(response),
        _ => None,
    };
    coordinate::ask(context, &group, command, None, pick, refuse)
}
