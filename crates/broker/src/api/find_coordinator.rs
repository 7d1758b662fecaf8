//! FindCoordinator (10), versions 0–6: who coordinates a group, a transaction or a share partition.
//!
//! The internal topic is made when it is first asked for. v1 transactions, v4 several keys at once (KIP-699), v6 share
//! partitions (KIP-932), for which there is no coordinator on this node yet.

use std::collections::BTreeSet;

use ottla_controller::Describable;
use ottla_coordinator::place;
use ottla_protocol::Refusal;
use ottla_protocol::messages::find_coordinator::Coordinator;
use ottla_protocol::messages::{CreateTopicsRequest, FindCoordinatorRequest, FindCoordinatorResponse};

use crate::answer::{Answer, Question};
use crate::context::Context;
use crate::control::{Command, Reply};
use crate::coordinators::{GROUPS_TOPIC, TRANSACTIONS_TOPIC};
use crate::topics::create_internal;

/// The first version with several keys.
const BATCHED_SINCE: i16 = 4;

/// The first version that knows of share partitions.
const SHARES_SINCE: i16 = 6;

/// How long the making of the topic may take before the client has to ask again.
const CREATE_TIMEOUT_MS: i32 = 5_000;

/// Makes the topic where there is none, then reads the leader off the image.
pub fn answer(request: FindCoordinatorRequest, context: &mut Context<'_>) -> Answer<FindCoordinatorResponse> {
    let version = context.version;
    let keys = if version < BATCHED_SINCE { vec![request.key] } else { request.coordinator_keys };
    let topic = match request.key_type {
        0 => GROUPS_TOPIC,
        1 => TRANSACTIONS_TOPIC,
        2 if version >= SHARES_SINCE => return refuse(keys, version, Refusal::CoordinatorNotAvailable),
        _ => return refuse(keys, version, Refusal::InvalidRequest),
    };
    if keys.is_empty() {
        return respond(&keys, topic, context);
    }
    with_topic(topic, context, move |context| respond(&keys, topic, context))
}

/// Goes on when the internal topic is there, or cannot be made.
pub fn with_topic<T: 'static>(
    topic: &'static str,
    context: &mut Context<'_>,
    then: impl FnOnce(&mut Context<'_>) -> Answer<T> + 'static,
) -> Answer<T> {
    if context.image.topics.named(topic).is_some() {
        return then(context);
    }
    let Some(creatable) = create_internal(topic, context.node) else { return then(context) };
    let request =
        CreateTopicsRequest { topics: vec![creatable], timeout_ms: CREATE_TIMEOUT_MS, ..Default::default() };
    let describable = Describable::Only(BTreeSet::new());
    let create = ottla_controller::Command::CreateTopics { request, describable };
    let deadline = Some(context.now.after_ms(i64::from(CREATE_TIMEOUT_MS)));
    let question = Question::Control(Command::Controller(Box::new(create)));
    Answer::ask_all(vec![question], deadline, move |context, mut replies| {
        complain(topic, replies.control(0));
        then(context)
    })
}

/// The client hears only that there is no coordinator; why is for the log.
fn complain(topic: &str, reply: Option<Reply>) {
    let Some(Reply::Controller(reply)) = reply else { return };
    let ottla_controller::Reply::CreateTopics(response) = *reply else { return };
    for row in response.topics {
        match Refusal::from_code(row.error_code) {
            None | Some(Refusal::TopicAlreadyExists) => {}
            Some(refusal) => {
                let why = row.error_message.unwrap_or_default();
                tracing::warn!(topic, refusal = refusal.name(), why, "an internal topic cannot be made");
            }
        }
    }
}

fn respond(keys: &[String], topic: &str, context: &Context<'_>) -> Answer<FindCoordinatorResponse> {
    let rows =
        keys.iter().map(|key| find(key, topic, context).unwrap_or_else(|refusal| refused(key, refusal)));
    fit(rows.collect(), context.version)
}

fn find(key: &str, topic: &str, context: &Context<'_>) -> Result<Coordinator, Refusal> {
    let partition = context.image.topics.named(topic).and_then(|topic| {
        let index = place::partition_for(key, topic.partition_count);
        context.image.topics.partition(ottla_protocol::PartitionId { topic: topic.id, index })
    });
    let leader = partition.and_then(|partition| partition.leader).ok_or(Refusal::CoordinatorNotAvailable)?;
    let listener = &context.node.listeners[context.listener].name;
    let broker = context.image.brokers.get(&leader).filter(|broker| !broker.fenced);
    let endpoint = broker.and_then(|broker| broker.endpoint(listener));
    let endpoint = endpoint.ok_or(Refusal::CoordinatorNotAvailable)?;
    Ok(Coordinator {
        key: key.into(),
        node_id: leader.0,
        host: endpoint.host.clone(),
        port: i32::from(endpoint.port),
        error_code: 0,
        error_message: Some(String::new()),
    })
}

fn refused(key: &str, refusal: Refusal) -> Coordinator {
    Coordinator {
        key: key.into(),
        node_id: -1,
        port: -1,
        error_code: refusal.code(),
        error_message: Some(String::new()),
        ..Default::default()
    }
}

fn refuse(keys: Vec<String>, version: i16, refusal: Refusal) -> Answer<FindCoordinatorResponse> {
    fit(keys.iter().map(|key| refused(key, refusal)).collect(), version)
}

/// Puts the rows into the shape of the version.
fn fit(mut rows: Vec<Coordinator>, version: i16) -> Answer<FindCoordinatorResponse> {
    if version >= BATCHED_SINCE {
        return Answer::reply(FindCoordinatorResponse { coordinators: rows, ..Default::default() });
    }
    let Coordinator { node_id, host, port, error_code, .. } = rows.pop().unwrap_or_default();
    // Kafka says the error's name here, and "NONE" where there is no error.
    let error_message = Refusal::from_code(error_code).map_or("NONE", Refusal::name);
    Answer::reply(FindCoordinatorResponse {
        error_code,
        error_message: Some(error_message.into()),
        node_id,
        host,
        port,
        ..Default::default()
    })
}
