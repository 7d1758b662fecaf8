//! Metadata (3), versions 0–13: brokers, topics, leaders, in-sync replicas.
//!
//! v4 lets the client forbid auto-creation, v5 offline replicas, v7 leader epochs, v8 authorized operations (KIP-430),
//! v10 topic ids, v12 topics asked for by id (KIP-516), v13 a top-level error (KIP-1102).

use std::collections::BTreeSet;

use ottla_controller::Describable;
use ottla_metadata::topic_name::{self, is_internal};
use ottla_metadata::{Broker, Partition, Topic};
use ottla_protocol::messages::create_topics::CreatableTopic;
use ottla_protocol::messages::metadata::{
    MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::messages::{CreateTopicsRequest, MetadataRequest, MetadataResponse};
use ottla_protocol::{NodeId, Refusal, Uuid};

use crate::answer::{Answer, Question};
use crate::context::Context;
use crate::control::Command;
use crate::topics::create_internal;

/// What anyone may do with a topic while there is no authorizer: read, write, create, delete, alter, describe,
/// describe-configs, alter-configs, as the bits of their ACL operation numbers.
pub const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// What anyone may do with the cluster while there is no authorizer: create, alter, describe, cluster-action,
/// describe-configs, alter-configs, idempotent-write.
pub const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// "Not asked for."
const NO_OPERATIONS: i32 = i32::MIN;

/// The first version in which topics may be asked for by their ids.
const BY_ID_SINCE: i16 = 12;

/// The first version that tells a leader without this listener from one that is not there.
const LISTENER_NOT_FOUND_SINCE: i16 = 6;

/// How long an automatic creation may take before the client hears that there is no such topic yet.
const AUTO_CREATE_TIMEOUT_MS: i64 = 5_000;

/// Reads it off the image; topics that are to be created by being asked for are created first.
pub fn answer(request: MetadataRequest, context: &mut Context<'_>) -> Answer<MetadataResponse> {
    let missing = missing(&request, context);
    if missing.is_empty() {
        return Answer::reply(respond(&request, context));
    }
    let topics = missing.into_iter().map(|name| creatable(name, context)).collect();
    let create =
        CreateTopicsRequest { topics, timeout_ms: AUTO_CREATE_TIMEOUT_MS as i32, ..Default::default() };
    // Nobody is told of the configurations.
    let describable = Describable::Only(BTreeSet::new());
    let create = ottla_controller::Command::CreateTopics { request: create, describable };
    let deadline = Some(context.now.after_ms(AUTO_CREATE_TIMEOUT_MS));
    // Whoever asks first is told UNKNOWN_TOPIC_OR_PARTITION, as by Kafka: clients that delete a topic and look whether
    // it is gone rely on it. The topic is there when he asks again.
    let first = respond(&request, context);
    let create = vec![Question::Control(Command::Controller(Box::new(create)))];
    Answer::ask_all(create, deadline, move |_, _| Answer::reply(first))
}

/// Topics asked for by name that do not exist and may be created.
fn missing(request: &MetadataRequest, context: &Context<'_>) -> Vec<String> {
    let allowed = context.version < 4 || request.allow_auto_topic_creation;
    if !allowed || !context.node.limits.auto_create_topics {
        return Vec::new();
    }
    let asked = request.topics.iter().flatten().filter_map(|topic| topic.name.as_deref());
    let mut missing: Vec<String> = asked
        .filter(|name| topic_name::check(name).is_ok() && context.image.topics.named(name).is_none())
        .map(Into::into)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn creatable(name: String, context: &Context<'_>) -> CreatableTopic {
    create_internal(&name, context.node).unwrap_or_else(|| CreatableTopic {
        name,
        num_partitions: -1,
        replication_factor: -1,
        ..Default::default()
    })
}

fn respond(request: &MetadataRequest, context: &Context<'_>) -> MetadataResponse {
    let listener = &context.node.listeners[context.listener].name;
    let brokers =
        context.image.brokers.values().filter(|broker| is_named(broker, context)).filter_map(|broker| {
            let endpoint = broker.endpoint(listener)?;
            Some(MetadataResponseBroker {
                node_id: broker.id.0,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: broker.rack.clone(),
            })
        });
    let operations = |wanted| if wanted { TOPIC_OPERATIONS } else { NO_OPERATIONS };
    let operations = operations(request.include_topic_authorized_operations);
    let cluster_wanted = request.include_cluster_authorized_operations;
    MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: Some(context.node.cluster_id.clone()),
        controller_id: controller(context),
        topics: topics(request, operations, context),
        cluster_authorized_operations: if cluster_wanted { CLUSTER_OPERATIONS } else { NO_OPERATIONS },
        ..Default::default()
    }
}

/// Whether clients are told of a broker. This one, which answers, names itself while it leaves as the last of all:
/// librdkafka forgets everybody that an answer does not name, and would have nobody left to ask.
pub fn is_named(broker: &Broker, context: &Context<'_>) -> bool {
    let is_last = || broker.id == context.node.id && context.image.brokers.values().all(|other| other.fenced);
    !broker.fenced || is_last()
}

/// Where clients are to send what only the controller can do: any broker forwards it, so this node, once it serves.
pub fn controller(context: &Context<'_>) -> i32 {
    let this = context.image.brokers.get(&context.node.id).filter(|this| is_named(this, context));
    this.map_or(-1, |this| this.id.0)
}

fn topics(request: &MetadataRequest, operations: i32, context: &Context<'_>) -> Vec<MetadataResponseTopic> {
    // An empty list meant "all" before null could be said.
    let all = request.topics.as_ref().is_none_or(|topics| context.version == 0 && topics.is_empty());
    if all {
        return context.image.topics.iter().map(|topic| describe(topic, operations, context)).collect();
    }
    let asked = request.topics.as_deref().unwrap_or_default();
    if context.version < BY_ID_SINCE
        && asked.iter().any(|topic| topic.name.is_none() || !topic.topic_id.is_zero())
    {
        return asked.iter().map(|topic| refused(topic, Refusal::InvalidRequest, context)).collect();
    }
    // Whoever asks for one topic by its id asks for all by their ids.
    let by_id = asked.iter().any(|topic| !topic.topic_id.is_zero());
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    for topic in asked {
        let (id, name) = (topic.topic_id, topic.name.as_deref());
        if by_id == id.is_zero() || !seen.insert((id, if by_id { None } else { name })) {
            continue;
        }
        let found = match name {
            _ if by_id => context.image.topics.get(id).ok_or(Refusal::UnknownTopicId),
            Some(name) if topic_name::check(name).is_err() => Err(Refusal::InvalidTopicException),
            Some(name) => context.image.topics.named(name).ok_or(Refusal::UnknownTopicOrPartition),
            None => Err(Refusal::InvalidRequest),
        };
        rows.push(match found {
            Ok(topic) => describe(topic, operations, context),
            Err(Refusal::UnknownTopicId) => refused(topic, Refusal::UnknownTopicId, context),
            Err(refusal) => MetadataResponseTopic {
                topic_authorized_operations: operations,
                ..refused(topic, refusal, context)
            },
        });
    }
    rows
}

/// The row of a topic that there is nothing to say of.
fn refused(asked: &MetadataRequestTopic, refusal: Refusal, context: &Context<'_>) -> MetadataResponseTopic {
    let by_id = refusal == Refusal::UnknownTopicId;
    let name = asked.name.clone().filter(|_| !by_id);
    MetadataResponseTopic {
        error_code: refusal.code(),
        is_internal: name.as_deref().is_some_and(is_internal),
        name: name.or_else(|| (context.version < BY_ID_SINCE).then(String::new)),
        topic_id: if by_id { asked.topic_id } else { Uuid::ZERO },
        topic_authorized_operations: NO_OPERATIONS,
        ..Default::default()
    }
}

fn describe(topic: &Topic, operations: i32, context: &Context<'_>) -> MetadataResponseTopic {
    let partitions = context.image.topics.partitions(topic.id).map(|(id, partition)| {
        let leader = present_leader(partition, context);
        MetadataResponsePartition {
            error_code: Refusal::code_of(trouble(partition, leader, context)),
            partition_index: id.index,
            leader_id: leader.map_or(-1, |leader| leader.0),
            leader_epoch: partition.leader_epoch.0,
            replica_nodes: shown(&partition.replicas, context),
            isr_nodes: shown(&partition.isr, context),
            offline_replicas: offline(partition, context),
        }
    });
    MetadataResponseTopic {
        error_code: 0,
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations: operations,
    }
}

/// What a client is told to be wrong with a partition.
fn trouble(partition: &Partition, leader: Option<NodeId>, context: &Context<'_>) -> Option<Refusal> {
    match (leader, partition.leader) {
        // The leader is there, but not for those who come in by this listener.
        (None, Some(leader))
            if is_unfenced(leader, context) && context.version >= LISTENER_NOT_FOUND_SINCE =>
        {
            Some(Refusal::ListenerNotFound)
        }
        (None, _) => Some(Refusal::LeaderNotAvailable),
        (Some(_), _) => {
            let all = [&partition.replicas, &partition.isr].into_iter().flatten();
            let missing = |id: &NodeId| !is_reachable(*id, context);
            (context.version == 0 && all.into_iter().any(missing)).then_some(Refusal::ReplicaNotAvailable)
        }
    }
}

/// Version 0 is told of replicas only that can be reached.
fn shown(replicas: &[NodeId], context: &Context<'_>) -> Vec<i32> {
    let shown = |id: &&NodeId| context.version > 0 || is_reachable(**id, context);
    replicas.iter().filter(shown).map(|id| id.0).collect()
}

/// The leader, if it is there and can be reached.
pub fn present_leader(partition: &Partition, context: &Context<'_>) -> Option<NodeId> {
    partition.leader.filter(|&leader| is_reachable(leader, context))
}

/// Replicas on brokers that are gone, fenced or not on this listener, and on directories that have failed.
pub fn offline(partition: &Partition, context: &Context<'_>) -> Vec<i32> {
    let is_offline = |id: &&NodeId| {
        let broker = context.image.brokers.get(*id);
        !is_reachable(**id, context)
            || broker.is_some_and(|broker| !broker.has_online(partition.directory(broker.id)))
    };
    partition.replicas.iter().filter(is_offline).map(|id| id.0).collect()
}

fn is_unfenced(id: NodeId, context: &Context<'_>) -> bool {
    context.image.brokers.get(&id).is_some_and(|broker| !broker.fenced)
}

/// Whether a client of this listener can reach a broker.
fn is_reachable(id: NodeId, context: &Context<'_>) -> bool {
    let listener = &context.node.listeners[context.listener].name;
    let broker = context.image.brokers.get(&id);
    broker.is_some_and(|broker| !broker.fenced && broker.endpoint(listener).is_some())
}
