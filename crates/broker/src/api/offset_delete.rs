//! OffsetDelete (47), version 0: forget committed offsets (KIP-496).

use ottla_coordinator::group::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::offset_delete::{
    OffsetDeleteRequestTopic, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::answer::Answer;
use crate::api::coordinate;
use crate::context::Context;

/// Asks the group's coordinator about the partitions that there are.
pub fn answer(request: OffsetDeleteRequest, context: &mut Context<'_>) -> Answer<OffsetDeleteResponse> {
    let refuse = |refusal: Refusal| OffsetDeleteResponse { error_code: refusal.code(), ..Default::default() };
    let mut response = OffsetDeleteResponse::default();
    let mut asked = OffsetDeleteRequest { group_id: request.group_id, topics: Vec::new() };
    for topic in request.topics {
        let count = context.image.topics.named(&topic.name).map_or(0, |known| known.partition_count);
        let (there, gone): (Vec<_>, Vec<_>) =
            topic.partitions.into_iter().partition(|row| (0..count).contains(&row.partition_index));
        if !gone.is_empty() {
            let gone = gone.into_iter().map(|row| OffsetDeleteResponsePartition {
                partition_index: row.partition_index,
                error_code: Refusal::UnknownTopicOrPartition.code(),
            });
            let row = OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: gone.collect() };
            response.topics.push(row);
        }
        if !there.is_empty() {
            asked.topics.push(OffsetDeleteRequestTopic { name: topic.name, partitions: there });
        }
    }
    if asked.group_id.is_empty() {
        return Answer::reply(refuse(Refusal::InvalidGroupId));
    }
    let group = asked.group_id.clone();
    let pick = |reply| match reply {
        Reply::DeleteOffsets(response) => Some(response),
        _ => None,
    };
    let deadline = Some(coordinate::patience(context));
    coordinate::ask(context, &group, Command::DeleteOffsets(asked), deadline, pick, refuse)
        .map(move |reply| merge(response, reply))
}

/// What the coordinator says of the group holds for the whole.
fn merge(mut response: OffsetDeleteResponse, reply: OffsetDeleteResponse) -> OffsetDeleteResponse {
    if reply.error_code != 0 {
        return reply;
    }
    for topic in reply.topics {
        match response.topics.iter_mut().find(|row| row.name == topic.name) {
            Some(row) => row.partitions.extend(topic.partitions),
            None => response.topics.push(topic),
        }
    }
    response
}
