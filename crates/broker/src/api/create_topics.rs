//! CreateTopics (19), versions 0–7: the controller's decision.
//!
//! v1 validate-only, v4 defaults by −1 (KIP-464), v5 returns the configuration (KIP-525), v7 the topic's id.
//! Versions 0 and 1 were dropped by Kafka 4.0; kafka-go and ruby-kafka still send them.

use ottla_controller::{Command, Describable, Reply};
use ottla_protocol::messages::create_topics::CreatableTopicResult;
use ottla_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use crate::answer::Answer;
use crate::api::forward;
use crate::context::Context;

/// Passes it on; every topic is told where the controller cannot be reached.
pub fn answer(request: CreateTopicsRequest, context: &mut Context<'_>) -> Answer<CreateTopicsResponse> {
    let deadline = Some(context.now.after_ms(i64::from(request.timeout_ms)));
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let refuse = move |refusal: ottla_protocol::Refusal| CreateTopicsResponse {
        topics: names
            .into_iter()
            .map(|name| CreatableTopicResult {
                name,
                error_code: refusal.code(),
                error_message: None,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let pick = |reply| match reply {
        Reply::CreateTopics(response) => Some(response),
        _ => None,
    };
    let command = Command::CreateTopics { request, describable: Describable::All };
    forward::ask(command, deadline, pick, refuse)
}
