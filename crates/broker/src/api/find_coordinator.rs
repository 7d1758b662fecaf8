//! FindCoordinator (10), versions 0–6: who coordinates a group, transaction or share partition.
//!
//! No coordinator runs on this node yet, and that is what clients are told. Librdkafka reads from this row whether a
//! broker knows LZ4, so it has to be there. v4 asks for several keys at once (KIP-699).

use ottla_protocol::Refusal;
use ottla_protocol::messages::find_coordinator::Coordinator;
use ottla_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use crate::answer::Answer;
use crate::context::Context;

/// The first version with several keys.
const BATCHED_SINCE: i16 = 4;

/// Says that there is none.
pub fn answer(request: FindCoordinatorRequest, context: &mut Context<'_>) -> Answer<FindCoordinatorResponse> {
    let error_code = Refusal::CoordinatorNotAvailable.code();
    let error_message = Some(String::from("this node does not coordinate groups or transactions yet"));
    if context.version < BATCHED_SINCE {
        return Answer::reply(FindCoordinatorResponse {
            error_code,
            error_message,
            node_id: -1,
            port: -1,
            ..Default::default()
        });
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code,
        error_message: error_message.clone(),
        ..Default::default()
    });
    Answer::reply(FindCoordinatorResponse { coordinators: coordinators.collect(), ..Default::default() })
}
