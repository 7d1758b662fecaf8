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
    let limit =
        request.response_partition_limit.clamp(1, context.node.limits.partitions_per_response) as usize;
    let (from_topic, from_partition) = match request.cursor {
        Some(cursor) if cursor.partition_index < 0 => return invalid(),
        Some(cursor) => (cursor.topic_name, cursor.partition_index),
        None => (String::new(), 0),
    };
    let mut names: Vec<String> = if request.topics.is_empty() {
        context.image.topics.names().map(|(name, _)| name.into()).collect()
    } else {
        request.topics.into_iter().map(|topic| topic.name).collect()
    };
    names.sort_unstable();
    names.dedup();
    names.retain(|name| *name >= from_topic);
    let mut response = DescribeTopicPartitionsResponse::default();
    let mut left = limit;
    for name in names {
        let first = if name == from_topic { from_partition } else { 0 };
        if left == 0 {
            response.next_cursor = Some(ResponseCursor { topic_name: name, partition_index: first });
            break;
        }
        let (row, next) = describe(name.clone(), first, left, context);
        left -= row.partitions.len().max(usize::from(row.error_code != 0)).min(left);
        response.topics.push(row);
        if let Some(partition_index) = next {
            response.next_cursor = Some(ResponseCursor { topic_name: name, partition_index });
            break;
        }
    }
    Answer::reply(response)
}

fn invalid() -> Answer<DescribeTopicPartitionsResponse> {
    // The response has no error of its own, so Kafka closes the connection of a client with such a cursor.
    Answer::Close("DescribeTopicPartitions with a negative partition in its cursor")
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
            name: Some(name),
            ..Default::default()
        };
        return (row, None);
    };
    let partitions = context.image.topics.partitions(topic.id);
    let mut partitions = partitions.filter(|(id, _)| id.index >= first);
    let rows = partitions.by_ref().take(limit).map(|(id, partition)| {
        let ids = |ids: &[ottla_protocol::NodeId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
        let leader = present_leader(partition, context);
        let error = if leader.is_none() { Some(Refusal::LeaderNotAvailable) } else { None };
        DescribeTopicPartitionsResponsePartition {
            error_code: Refusal::code_of(error),
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
