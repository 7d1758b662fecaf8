//! ElectLeaders (43), versions 0–2: preferred or unclean leaders on demand (KIP-183, KIP-460); the controller's decision.

use ottla_controller::{Command, Reply};
use ottla_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use crate::answer::Answer;
use crate::api::forward;
use crate::context::Context;

/// Passes it on.
pub fn answer(request: ElectLeadersRequest, context: &mut Context<'_>) -> Answer<ElectLeadersResponse> {
    let deadline = Some(context.now.after_ms(i64::from(request.timeout_ms)));
    let pick = |reply| match reply {
        Reply::ElectLeaders(response) => Some(response),
        _ => None,
    };
    let command = Command::ElectLeaders(request);
    forward::ask(command, deadline, pick, |refusal| ElectLeadersResponse {
        error_code: refusal.code(),
        ..Default::default()
    })
}
