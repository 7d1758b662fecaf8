//! DeleteRecords (21), versions 0–2: forget the records before an offset (KIP-107).

use ottla_metadata::topic_name::is_internal;
use ottla_partition::{Question as Ask, Reply};
use ottla_protocol::messages::delete_records::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use ottla_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use ottla_protocol::{Offset, PartitionId, Refusal, Uuid};

use crate::answer::Answer;
use crate::api::scatter::{Place, Scatter};
use crate::context::Context;
use crate::topics::Key;

/// An offset of −1 means the high watermark.
const HIGH_WATERMARK: i64 = -1;

/// How long the leader may take whatever the client says: its limit is for the replicas, and Kafka, too, answers one of
/// 0 ms once the leader has done its part.
const PATIENCE_MS: i64 = 5_000;

/// Asks the owner of each partition.
pub fn answer(request: DeleteRecordsRequest, context: &mut Context<'_>) -> Answer<DeleteRecordsResponse> {
    let deadline = context.now.after_ms(i64::from(request.timeout_ms).max(PATIENCE_MS));
    let mut response = DeleteRecordsResponse::default();
    let mut scatter = Scatter::default();
    for topic in request.topics {
        let found = context.topics.resolve(context.image, &topic.name, Uuid::ZERO, Key::Name);
        let internal = is_internal(&topic.name);
        let mut rows = DeleteRecordsTopicResult { name: topic.name, ..Default::default() };
        for wanted in topic.partitions {
            let index = wanted.partition_index;
            let mut row = DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark: -1,
                ..Default::default()
            };
            let target = match &found {
                Ok(found) if !found.has_partition(index) => Err(Refusal::UnknownTopicOrPartition),
                Ok(_) if internal => Err(Refusal::InvalidTopicException),
                Ok(found) if found.settings.compacted && !found.settings.deletes => {
                    Err(Refusal::PolicyViolation)
                }
                Ok(_) if wanted.offset < HIGH_WATERMARK => Err(Refusal::OffsetOutOfRange),
                Ok(found) => Ok(PartitionId { topic: found.id, index }),
                Err(refusal) => Err(*refusal),
            };
            match target {
                Ok(id) => {
                    let before = (wanted.offset != HIGH_WATERMARK).then_some(Offset(wanted.offset));
                    let place = Place { topic: response.topics.len(), partition: rows.partitions.len(), id };
                    scatter.ask(place, Ask::DeleteRecords { before });
                }
                Err(refusal) => row.error_code = refusal.code(),
            }
            rows.partitions.push(row);
        }
        response.topics.push(rows);
    }
    let (questions, places) = scatter.into_parts();
    Answer::ask_all(questions, Some(deadline), move |_, replies| {
        for (place, reply) in places.gather(replies) {
            let row = &mut response.topics[place.topic].partitions[place.partition];
            match reply {
                Some(Reply::LowWatermark(low)) => row.low_watermark = low.0,
                Some(Reply::Refused(refusal)) => row.error_code = refusal.code(),
                None => row.error_code = Refusal::RequestTimedOut.code(),
                Some(_) => row.error_code = Refusal::UnknownServerError.code(),
            }
        }
        Answer::reply(response)
    })
}
