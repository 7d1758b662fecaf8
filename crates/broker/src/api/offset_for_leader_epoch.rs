//! OffsetForLeaderEpoch (23), versions 0–4: where a leader epoch ends, so that a reader can tell that its log has
//! taken another way (KIP-101, KIP-320).

use ottla_partition::{Question as Ask, Reply};
use ottla_protocol::messages::offset_for_leader_epoch::{EpochEndOffset, OffsetForLeaderTopicResult};
use ottla_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use ottla_protocol::{LeaderEpoch, PartitionId, Refusal, Uuid};

use crate::answer::Answer;
use crate::api::scatter::{Place, Scatter};
use crate::context::Context;
use crate::topics::Key;

/// Asks the owner of each partition.
pub fn answer(
    request: OffsetForLeaderEpochRequest,
    context: &mut Context<'_>,
) -> Answer<OffsetForLeaderEpochResponse> {
    let mut response = OffsetForLeaderEpochResponse::default();
    let mut scatter = Scatter::default();
    for topic in request.topics {
        let found = context.topics.resolve(context.image, &topic.topic, Uuid::ZERO, Key::Name);
        let mut rows = OffsetForLeaderTopicResult { topic: topic.topic, ..Default::default() };
        for wanted in topic.partitions {
            let index = wanted.partition;
            let mut row =
                EpochEndOffset { partition: index, leader_epoch: -1, end_offset: -1, ..Default::default() };
            match &found {
                Ok(found) if found.has_partition(index) => {
                    let id = PartitionId { topic: found.id, index };
                    let epoch = wanted.current_leader_epoch;
                    let current_leader_epoch = (epoch >= 0).then_some(LeaderEpoch(epoch));
                    let place = Place { topic: response.topics.len(), partition: rows.partitions.len(), id };
                    let epoch = LeaderEpoch(wanted.leader_epoch);
                    scatter.ask(place, Ask::EpochEnd { current_leader_epoch, epoch });
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
                Some(Reply::EpochEnd(Some(end))) => {
                    row.leader_epoch = end.epoch.0;
                    row.end_offset = end.end.0;
                }
                Some(Reply::EpochEnd(None)) => {}
                Some(Reply::Refused(refusal)) => row.error_code = refusal.code(),
                _ => row.error_code = Refusal::UnknownServerError.code(),
            }
        }
        Answer::reply(response)
    })
}
