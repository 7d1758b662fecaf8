//! DescribeTopicPartitions (75), version 0: topics in pages (KIP-966).

use ottla_metadata::topic_name::{self, is_internal};
use ottla_protocol::Refusal;
use ottla_protocol::messages::describe_topic_partitions::{
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic, ResponseCursor,
};
use ottla_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};

use crate::answer::Answer;
use crate::api::metadata::{TOPIC_OPERATIONS, offline, present_leader};
use crate::context::Context;

/// Topics in the order of their names, from the cursor on, until the page is full.
pub fn answer(
    request: DescribeTopicPartitionsRequest,
    context: &mut Context<'_>,
) -> Answer<DescribeTopicPartitionsResponse> {
    let asked: Vec<String> = request.topics.into_iter().map(|topic| topic.name).collect();
    if let Some(cursor) = &request.cursor
        && (cursor.partition_index < 0 || !(asked.is_empty() || asked.contains(&cursor.topic_name)))
    {
        return invalid(asked);
    }
    let limit = request.response_partition_limit.clamp(1, context.node.limits.partitions_per_response.max(1))
        as usize;
    let (from_topic, from_partition) =
        request.cursor.map_or((String::new(), 0), |cursor| (cursor.topic_name, cursor.partition_index));
    let mut names = asked;
    if names.is_empty() {
        names = context.image.topics.names_from(&from_topic).map(|(name, _)| name.into()).collect();
    }
    names.sort_unstable();
    names.dedup();
    names.retain(|name| *name >= from_topic);
    let mut response = DescribeTopicPartitionsResponse::default();
    let mut left = limit;
    for name in names {
        if left == 0 {
            response.next_cursor = Some(ResponseCursor { topic_name: name, partition_index: 0 });
            break;
        }
        let first = if name == from_topic { from_partition } else { 0 };
        let (row, next) = describe(name.clone(), first, left, context);
        left -= row.partitions.len();
        response.topics.push(row);
        if let Some(partition_index) = next {
            response.next_cursor = Some(ResponseCursor { topic_name: name, partition_index });
            break;
        }
    }
    Answer::reply(response)
}

/// The response has no error of its own, so every topic that was asked for gets it.
fn invalid(asked: Vec<String>) -> Answer<DescribeTopicPartitionsResponse> {
    let row = |name| DescribeTopicPartitionsResponseTopic {
        error_code: Refusal::InvalidRequest.code(),
        name: Some(name),
        ..Default::default()
    };
    let topics = asked.into_iter().map(row).collect();
    Answer::reply(DescribeTopicPartitionsResponse { topics, ..Default::default() })
}

/// At most `limit` partitions of one topic from `first` on, and where to go on if there are more.
fn describe(
    name: String,
    first: i32,
    limit: usize,
    context: &Context<'_>,
) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
    let Some(topic) = context.image.topics.named(&name) else {
        let refusal = if topic_name::check(&name).is_ok() {
            Refusal::UnknownTopicOrPartition
        } else {
            Refusal::InvalidTopicException
        };
        let row = DescribeTopicPartitionsResponseTopic {
            error_code: refusal.code(),
            is_internal: is_internal(&name),
            name: Some(name),
            topic_authorized_operations: TOPIC_OPERATIONS,
            ..Default::default()
        };
        return (row, None);
    };
    let partitions = context.image.topics.partitions(topic.id);
    let mut partitions = partitions.filter(|(id, _)| id.index >= first);
    let rows = partitions.by_ref().take(limit).map(|(id, partition)| {
        let ids = |ids: &[ottla_protocol::NodeId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
        let leader = present_leader(partition, context);
        DescribeTopicPartitionsResponsePartition {
            // That there is no leader is no error here.
            error_code: 0,
            partition_index: id.index,
            leader_id: leader.map_or(-1, |leader| leader.0),
            leader_epoch: partition.leader_epoch.0,
            replica_nodes: ids(&partition.replicas),
            isr_nodes: ids(&partition.isr),
            // Java's admin client fails on null here.
            eligible_leader_replicas: Some(ids(&partition.elr)),
            last_known_elr: Some(ids(&partition.last_known_elr)),
            offline_replicas: offline(partition, context),
        }
    });
    let rows = rows.collect();
    let next = partitions.next().map(|(id, _)| id.index);
    let row = DescribeTopicPartitionsResponseTopic {
        error_code: 0,
        is_internal: is_internal(&name),
        name: Some(name),
        topic_id: topic.id,
        partitions: rows,
        topic_authorized_operations: TOPIC_OPERATIONS,
    };
    (row, next)
}
