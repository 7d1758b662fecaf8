//! Heartbeat (12), versions 0–4: a member of a classic group is alive, and hears when the group rebalances.
//!
//! v3 static members (KIP-345).

use ottla_coordinator::group::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::answer::Answer;
use crate::api::coordinate;
use crate::context::Context;

/// Asks the group's coordinator.
pub fn answer(request: HeartbeatRequest, context: &mut Context<'_>) -> Answer<HeartbeatResponse> {
    let refuse = |refusal: Refusal| match refusal {
        // Sessions begin anew when the groups have been loaded, so nobody is late.
        Refusal::CoordinatorLoadInProgress => HeartbeatResponse::default(),
        refusal => HeartbeatResponse { error_code: refusal.code(), ..Default::default() },
    };
    if request.group_id.is_empty() {
        return Answer::reply(refuse(Refusal::InvalidGroupId));
    }
    let group = request.group_id.clone();
    let command = Command::Heartbeat(coordinate::caller(context), request);
    let pick = |reply| match reply {
        Reply::Heartbeat(response) => Some(response),
        _ => None,
    };
    coordinate::ask(context, &group, command, Some(coordinate::patience(context)), pick, refuse)
}
