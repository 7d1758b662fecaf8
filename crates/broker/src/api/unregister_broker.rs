//! UnregisterBroker (64), version 0: a broker that will not come back (KIP-631); the controller's decision.

use ottla_controller::{Command, Reply};
use ottla_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use crate::answer::Answer;
use crate::api::forward;
use crate::context::Context;

/// Passes it on.
pub fn answer(
    request: UnregisterBrokerRequest,
    context: &mut Context<'_>,
) -> Answer<UnregisterBrokerResponse> {
    let deadline = Some(context.now.after_ms(60_000));
    let pick = |reply| match reply {
        Reply::UnregisterBroker(response) => Some(response),
        _ => None,
    };
    let command = Command::UnregisterBroker(request);
    forward::ask(command, deadline, pick, |refusal| UnregisterBrokerResponse {
        error_code: refusal.code(),
        ..Default::default()
    })
}
