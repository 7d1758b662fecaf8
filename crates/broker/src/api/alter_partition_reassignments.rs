//! AlterPartitionReassignments (45), versions 0–1: other replicas for partitions (KIP-455, KIP-860); the controller's decision.

use ottla_controller::{Command, Reply};
use ottla_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use crate::answer::Answer;
use crate::api::forward;
use crate::context::Context;

/// Passes it on.
pub fn answer(
    request: AlterPartitionReassignmentsRequest,
    context: &mut Context<'_>,
) -> Answer<AlterPartitionReassignmentsResponse> {
    let deadline = Some(context.now.after_ms(i64::from(request.timeout_ms)));
    let pick = |reply| match reply {
        Reply::AlterPartitionReassignments(response) => Some(response),
        _ => None,
    };
    let command = Command::AlterPartitionReassignments(request);
    forward::ask(command, deadline, pick, |refusal| AlterPartitionReassignmentsResponse {
        error_code: refusal.code(),
        ..Default::default()
    })
}
