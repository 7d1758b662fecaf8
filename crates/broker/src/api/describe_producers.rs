//! DescribeProducers (61), version 0: which idempotent and transactional producers a partition knows (KIP-664).

use ottla_metadata::topic_name;
use ottla_partition::{ProducerState, Question as Ask, Reply};
use ottla_protocol::messages::describe_producers::{
    PartitionResponse, ProducerState as ProducerRow, TopicResponse,
};
use ottla_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};
use ottla_protocol::{PartitionId, Refusal, Uuid};

use crate::answer::Answer;
use crate::api::scatter::{Place, Scatter};
use crate::context::Context;
use crate::topics::Key;

/// Asks the owner of each partition.
pub fn answer(
    request: DescribeProducersRequest,
    context: &mut Context<'_>,
) -> Answer<DescribeProducersResponse> {
    let mut response = DescribeProducersResponse::default();
    let mut scatter = Scatter::default();
    for topic in request.topics {
        let invalid = topic_name::check(&topic.name).err();
        let found = context.topics.resolve(context.image, &topic.name, Uuid::ZERO, Key::Name);
        let mut rows = TopicResponse { name: topic.name, ..Default::default() };
        for index in topic.partition_indexes {
            let mut row = PartitionResponse { partition_index: index, ..Default::default() };
            match &found {
                _ if invalid.is_some() => {
                    row.error_code = Refusal::InvalidTopicException.code();
                    row.error_message.clone_from(&invalid);
                }
                Ok(found) if found.has_partition(index) => {
                    let id = PartitionId { topic: found.id, index };
                    let place = Place { topic: response.topics.len(), partition: rows.partitions.len(), id };
                    scatter.ask(place, Ask::DescribeProducers);
                }
                Ok(_) => row.error_code = Refusal::UnknownTopicOrPartition.code(),
                Err(refusal) => row.error_code = refusal.code(),
            }
            rows.partitions.push(row);
        }
        response.topics.push(rows);
    }
    let (questions, places) = scatter.into_parts();
    Answer::ask_all(questions, None, move |_, replies| {
        for (place, reply) in places.gather(replies) {
            let row = &mut response.topics[place.topic].partitions[place.partition];
            match reply {
                Some(Reply::Producers(producers)) => {
                    row.active_producers = producers.into_iter().map(producer).collect();
                }
                Some(Reply::Refused(refusal)) => row.error_code = refusal.code(),
                _ => row.error_code = Refusal::UnknownServerError.code(),
            }
        }
        Answer::reply(response)
    })
}

fn producer(state: ProducerState) -> ProducerRow {
    ProducerRow {
        producer_id: state.id.0,
        producer_epoch: i32::from(state.epoch.0),
        last_sequence: state.last_sequence,
        last_timestamp: state.last_timestamp_ms,
        coordinator_epoch: state.coordinator_epoch,
        current_txn_start_offset: state.transaction_start.map_or(-1, |offset| offset.0),
    }
}
