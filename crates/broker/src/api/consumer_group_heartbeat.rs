//! ConsumerGroupHeartbeat (68), versions 0–1: a member of a consumer group joins, stays or leaves, and hears what it is
//! assigned (KIP-848).
//!
//! v1 regular expressions, and ids made by the member itself (KIP-1082).

use ottla_coordinator::group::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use crate::answer::Answer;
use crate::api::coordinate;
use crate::context::Context;

/// Asks the group's coordinator.
pub fn answer(
    request: ConsumerGroupHeartbeatRequest,
    context: &mut Context<'_>,
) -> Answer<ConsumerGroupHeartbeatResponse> {
    let refuse = |refusal: Refusal| ConsumerGroupHeartbeatResponse {
        error_code: refusal.code(),
        ..Default::default()
    };
    if !coordinate::serves_consumer_groups(context) {
        return Answer::reply(refuse(Refusal::UnsupportedVersion));
    }
    let group = request.group_id.clone();
    let command = Command::ConsumerHeartbeat(coordinate::caller(context), request);
    let pick = |reply| match reply {
        Reply::ConsumerHeartbeat(response) => Some(response),
        _ => None,
    };
    coordinate::ask(context, &group, command, Some(coordinate::patience(context)), pick, refuse)
}
