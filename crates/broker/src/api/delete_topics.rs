//! DeleteTopics (20), versions 0–6: the controller's decision. v6 names topics by id too (KIP-516).

use ottla_controller::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::delete_topics::{DeletableTopicResult, DeleteTopicState};
use ottla_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use crate::answer::Answer;
use crate::api::forward;
use crate::context::Context;

/// The first version with one list for names and ids.
const FIRST_WITH_STATES: i16 = 6;

/// Brings older versions into the newest shape and passes it on.
pub fn answer(mut request: DeleteTopicsRequest, context: &mut Context<'_>) -> Answer<DeleteTopicsResponse> {
    if context.version < FIRST_WITH_STATES {
        let names = std::mem::take(&mut request.topic_names);
        let state = |name| DeleteTopicState { name: Some(name), ..Default::default() };
        request.topics = names.into_iter().map(state).collect();
    }
    if !context.node.limits.delete_topics {
        let refusal =
            if context.version < 3 { Refusal::InvalidRequest } else { Refusal::TopicDeletionDisabled };
        return Answer::reply(refused(request.topics, refusal));
    }
    let deadline = Some(context.now.after_ms(i64::from(request.timeout_ms)));
    let topics = request.topics.clone();
    let pick = |reply| match reply {
        Reply::DeleteTopics(response) => Some(response),
        _ => None,
    };
    let command = Command::DeleteTopics { request, version: context.version };
    forward::ask(command, deadline, pick, move |refusal| refused(topics, refusal))
}

fn refused(topics: Vec<DeleteTopicState>, refusal: Refusal) -> DeleteTopicsResponse {
    let row = |topic: DeleteTopicState| DeletableTopicResult {
        name: topic.name,
        topic_id: topic.topic_id,
        error_code: refusal.code(),
        ..Default::default()
    };
    DeleteTopicsResponse { responses: topics.into_iter().map(row).collect(), ..Default::default() }
}
