//! ListPartitionReassignments (46), version 0: reassignments that are under way (KIP-455); the controller's decision.

use ottla_controller::{Command, Reply};
use ottla_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::answer::Answer;
use crate::api::forward;
use crate::context::Context;

/// Passes it on. Kafka does not look at the time limit, which some clients leave at 0.
pub fn answer(
    request: ListPartitionReassignmentsRequest,
    _: &mut Context<'_>,
) -> Answer<ListPartitionReassignmentsResponse> {
    let pick = |reply| match reply {
        Reply::ListPartitionReassignments(response) => Some(response),
        _ => None,
    };
    let command = Command::ListPartitionReassignments(request);
    forward::ask(command, None, pick, |refusal| ListPartitionReassignmentsResponse {
        error_code: refusal.code(),
        ..Default::default()
    })
}
