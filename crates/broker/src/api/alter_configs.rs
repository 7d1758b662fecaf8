//! IncrementalAlterConfigs (44), versions 0–1 (KIP-339), and the older AlterConfigs (33), versions 0–2, which replaces
//! everything and which librdkafka, kafkajs and ruby-kafka still send: the controller's decisions.
//!
//! A broker first refuses what is not for it: other brokers' resources, and kinds that nobody can change.

use std::collections::{BTreeMap, BTreeSet};

use ottla_controller::{Command, Origin, Reply};
use ottla_metadata::ResourceKind;
use ottla_protocol::Refusal;
use ottla_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use ottla_protocol::messages::{alter_configs as whole, incremental_alter_configs as incremental};

use crate::answer::Answer;
use crate::api::forward;
use crate::context::Context;
use crate::node::ListenerKind;

/// Neither request says how long it may take; Kafka gives a forwarded one a minute.
const TIMEOUT_MS: i64 = 60_000;

/// Kafka's number of brokers among the resources.
const BROKER: i8 = 4;

/// Operations beyond this one are on lists.
const DELETE: i8 = 1;

/// Kind and name of a resource.
type Name = (i8, String);

/// Why a resource is not changed, with a sentence for people.
type NotChanged = (Refusal, String);

/// Changes single keys.
pub fn change(
    request: IncrementalAlterConfigsRequest,
    context: &mut Context<'_>,
) -> Answer<IncrementalAlterConfigsResponse> {
    let row = |(resource_type, resource_name): Name, (refusal, message): (Refusal, Option<String>)| {
        incremental::AlterConfigsResourceResponse {
            error_code: refusal.code(),
            error_message: message,
            resource_type,
            resource_name,
        }
    };
    let names = request.resources.iter();
    let names: Vec<Name> = names.map(|r| (r.resource_type, r.resource_name.clone())).collect();
    let (refused, passed) = look_through(names, request.resources, context);
    let names: Vec<Name> = passed.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
    let forwarded = origin(context) == Origin::Forwarded;
    let lists = passed.iter().filter(|r| r.configs.iter().any(|config| config.config_operation > DELETE));
    let lists: BTreeSet<String> = lists.map(|r| r.resource_name.clone()).collect();
    let request = IncrementalAlterConfigsRequest { resources: passed, validate_only: request.validate_only };
    let answer = if names.is_empty() {
        Answer::reply(IncrementalAlterConfigsResponse::default())
    } else {
        let refuse = move |refusal| IncrementalAlterConfigsResponse {
            responses: names.into_iter().map(|name| row(name, (refusal, None))).collect(),
            ..Default::default()
        };
        let pick = |reply| match reply {
            Reply::IncrementalAlterConfigs(response) => Some(response),
            _ => None,
        };
        let deadline = Some(context.now.after_ms(TIMEOUT_MS));
        let command = Command::IncrementalAlterConfigs { request, origin: origin(context) };
        forward::ask(command, deadline, pick, refuse)
    };
    answer.map(move |mut response| {
        let of_brokers = response.responses.iter_mut().filter(|row| row.resource_type == BROKER);
        for row in of_brokers.filter(|row| forwarded && !lists.contains(&row.resource_name)) {
            row.error_code = as_brokers_say_it(row.error_code);
        }
        for (place, name, (refusal, message)) in refused {
            response.responses.insert(place, row(name, (refusal, Some(message))));
        }
        response
    })
}

/// Replaces everything that was set on a resource.
pub fn replace(request: AlterConfigsRequest, context: &mut Context<'_>) -> Answer<AlterConfigsResponse> {
    let row = |(resource_type, resource_name): Name, (refusal, message): (Refusal, Option<String>)| {
        whole::AlterConfigsResourceResponse {
            error_code: refusal.code(),
            error_message: message,
            resource_type,
            resource_name,
        }
    };
    let names = request.resources.iter();
    let names: Vec<Name> = names.map(|r| (r.resource_type, r.resource_name.clone())).collect();
    let (refused, passed) = look_through(names, request.resources, context);
    let names: Vec<Name> = passed.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
    let forwarded = origin(context) == Origin::Forwarded;
    let request = AlterConfigsRequest { resources: passed, validate_only: request.validate_only };
    let answer = if names.is_empty() {
        Answer::reply(AlterConfigsResponse::default())
    } else {
        let refuse = move |refusal| AlterConfigsResponse {
            responses: names.into_iter().map(|name| row(name, (refusal, None))).collect(),
            ..Default::default()
        };
        let pick = |reply| match reply {
            Reply::AlterConfigs(response) => Some(response),
            _ => None,
        };
        let deadline = Some(context.now.after_ms(TIMEOUT_MS));
        let command = Command::AlterConfigs { request, origin: origin(context) };
        forward::ask(command, deadline, pick, refuse)
    };
    answer.map(move |mut response| {
        let of_brokers = response.responses.iter_mut().filter(|row| row.resource_type == BROKER);
        for row in of_brokers.filter(|_| forwarded) {
            row.error_code = as_brokers_say_it(row.error_code);
        }
        for (place, name, (refusal, message)) in refused {
            response.responses.insert(place, row(name, (refusal, Some(message))));
        }
        response
    })
}

/// A broker that finds fault with its own configuration calls the request invalid, not the configuration (KAFKA-13609).
fn as_brokers_say_it(code: i16) -> i16 {
    if code == Refusal::InvalidConfig.code() { Refusal::InvalidRequest.code() } else { code }
}

fn origin(context: &Context<'_>) -> Origin {
    match context.node.listeners[context.listener].kind {
        ListenerKind::Broker => Origin::Forwarded,
        ListenerKind::Controller => Origin::Direct,
    }
}

/// What is refused here, by rising place in the response, and what is left for the controller.
fn look_through<R>(
    names: Vec<Name>,
    resources: Vec<R>,
    context: &Context<'_>,
) -> (Vec<(usize, Name, NotChanged)>, Vec<R>) {
    if origin(context) == Origin::Direct {
        return (Vec::new(), resources);
    }
    let mut times: BTreeMap<Name, usize> = BTreeMap::new();
    for name in &names {
        *times.entry(name.clone()).or_default() += 1;
    }
    let (mut refused, mut passed) = (Vec::new(), Vec::new());
    for (place, (name, resource)) in names.into_iter().zip(resources).enumerate() {
        match check(&name, times[&name], context) {
            Ok(()) => passed.push(resource),
            Err(why) => refused.push((place, name, why)),
        }
    }
    (refused, passed)
}

fn check((kind, name): &Name, times: usize, context: &Context<'_>) -> Result<(), NotChanged> {
    let refuse = |text: String| Err((Refusal::InvalidRequest, text));
    if times > 1 {
        return refuse("Each resource must appear at most once.".into());
    }
    match ResourceKind::from_code(*kind) {
        None => refuse(format!("Unknown resource type {kind}")),
        Some(ResourceKind::BrokerLogger) => {
            refuse("The levels of loggers cannot be changed on this node".into())
        }
        Some(ResourceKind::Broker) if !name.is_empty() => match name.parse::<i32>() {
            Ok(id) if id == context.node.id.0 => Ok(()),
            Ok(id) => {
                refuse(format!("Unexpected broker id, expected {}, but received {id}", context.node.id))
            }
            Err(_) => refuse(format!("Node id must be an integer, but it is: {name}")),
        },
        Some(_) => Ok(()),
    }
}
