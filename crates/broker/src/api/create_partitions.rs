//! CreatePartitions (37), versions 0–3: the controller's decision (KIP-195).

use ottla_controller::{Command, Reply};
use ottla_protocol::messages::create_partitions::CreatePartitionsTopicResult;
use ottla_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use crate::answer::Answer;
use crate::api::forward;
use crate::context::Context;

/// Passes it on; every topic is told where the controller cannot be reached.
pub fn answer(
    request: CreatePartitionsRequest,
    context: &mut Context<'_>,
) -> Answer<CreatePartitionsResponse> {
    let deadline = Some(context.now.after_ms(i64::from(request.timeout_ms)));
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let refuse = move |refusal: ottla_protocol::Refusal| CreatePartitionsResponse {
        results: names
            .into_iter()
            .map(|name| CreatePartitionsTopicResult {
                name,
                error_code: refusal.code(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let pick = |reply| match reply {
        Reply::CreatePartitions(response) => Some(response),
        _ => None,
    };
    forward::ask(Command::CreatePartitions(request), deadline, pick, refuse)
}
