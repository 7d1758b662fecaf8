//! ListPartitionReassignments (46), version 0: reassignments that are under way (KIP-455); the controller's decision.

use ottla_controller::{Command, Reply};
use ottla_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::answer::Answer;
use crate::api::forward;
use crate::context::Context;

/// Passes it on.
pub fn answer(
    request: ListPartitionReassignmentsRequest,
    context: &mut Context<'_>,
) -> Answer<ListPartitionReassignmentsResponse> {
    let deadline = Some(context.now.after_ms(i64::from(request.timeout_ms)));
    let pick = |reply| match reply {
        Reply::ListPartitionReassignments(response) => Some(response),
        _ => None,
    };
    let command = Command::ListPartitionReassignments(request);
    forward::ask(command, deadline, pick, |refusal| ListPartitionReassignmentsResponse {
        error_code: refusal.code(),
        ..Default::default()
    })
}
