//! ListOffsets (2), versions 0–11: the offset of a time or a mark.
//!
//! v0 asks for several offsets and gets a list, v1 one offset (KIP-79), v4 leader epochs, v7 the greatest timestamp
//! (KIP-734), v8 earliest local (KIP-405), v9 latest tiered (KIP-1005), v11 earliest pending upload (KIP-1023).

use std::collections::BTreeSet;

use ottla_partition::{ListedOffset, OffsetSpec, Question as Ask, Reply};
use ottla_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use ottla_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use ottla_protocol::{LeaderEpoch, Refusal, Uuid};

use crate::answer::Answer;
use crate::api::fetch::isolation;
use crate::api::scatter::{Place, Scatter};
use crate::context::Context;
use crate::topics::Key;
use ottla_protocol::PartitionId;

/// Asks the owner of each partition.
pub fn answer(request: ListOffsetsRequest, context: &mut Context<'_>) -> Answer<ListOffsetsResponse> {
    let isolation = match isolation(request.isolation_level) {
        Ok(isolation) => isolation,
        Err(refusal) => return refuse_all(request, refusal),
    };
    let repeated = repeated(&request);
    let mut response = ListOffsetsResponse::default();
    let mut scatter = Scatter::default();
    for topic in request.topics {
        let found = context.topics.resolve(context.image, &topic.name, Uuid::ZERO, Key::Name);
        let mut rows = ListOffsetsTopicResponse { name: topic.name.clone(), ..Default::default() };
        for wanted in topic.partitions {
            let index = wanted.partition_index;
            let mut row = ListOffsetsPartitionResponse { partition_index: index, ..unanswered() };
            let id = match &found {
                _ if repeated.contains(&(rows.name.clone(), index)) => Err(Refusal::InvalidRequest),
                Ok(found) if found.has_partition(index) => Ok(PartitionId { topic: found.id, index }),
                Ok(_) => Err(Refusal::UnknownTopicOrPartition),
                Err(refusal) => Err(*refusal),
            };
            match id.and_then(|id| Ok((id, spec(&wanted, context.version)?))) {
                Ok((id, spec)) => {
                    let epoch = wanted.current_leader_epoch;
                    let current_leader_epoch = (epoch >= 0).then_some(LeaderEpoch(epoch));
                    let place = Place { topic: response.topics.len(), partition: rows.partitions.len(), id };
                    scatter.ask(place, Ask::ListOffset { spec, isolation, current_leader_epoch });
                }
                Err(refusal) => row.error_code = refusal.code(),
            }
            rows.partitions.push(row);
        }
        response.topics.push(rows);
    }
    let (questions, places) = scatter.into_parts();
    Answer::ask_all(questions, None, move |context, replies| {
        for (place, reply) in places.gather(replies) {
            let row = &mut response.topics[place.topic].partitions[place.partition];
            match reply {
                Some(Reply::Listed(Some(listed))) => fill(row, listed, context.version),
                Some(Reply::Listed(None)) => {}
                Some(Reply::Refused(refusal)) => row.error_code = refusal.code(),
                _ => row.error_code = Refusal::UnknownServerError.code(),
            }
        }
        Answer::reply(response)
    })
}

/// The same refusal for every partition.
fn refuse_all(request: ListOffsetsRequest, refusal: Refusal) -> Answer<ListOffsetsResponse> {
    let topics = request.topics.into_iter().map(|topic| {
        let rows = topic.partitions.iter().map(|partition| ListOffsetsPartitionResponse {
            partition_index: partition.partition_index,
            error_code: refusal.code(),
            ..unanswered()
        });
        ListOffsetsTopicResponse { partitions: rows.collect(), name: topic.name }
    });
    Answer::reply(ListOffsetsResponse { topics: topics.collect(), ..Default::default() })
}

/// Partitions that are asked for more than once: none of them is answered.
fn repeated(request: &ListOffsetsRequest) -> BTreeSet<(String, i32)> {
    let mut seen = BTreeSet::new();
    let mut repeated = BTreeSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            if !seen.insert((topic.name.as_str(), partition.partition_index)) {
                repeated.insert((topic.name.clone(), partition.partition_index));
            }
        }
    }
    repeated
}

/// What a row says where no record matches.
fn unanswered() -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse { timestamp: -1, offset: -1, leader_epoch: -1, ..Default::default() }
}

/// Times are not negative; marks are, each from its version on.
fn spec(wanted: &ListOffsetsPartition, version: i16) -> Result<OffsetSpec, Refusal> {
    let (spec, since) = match wanted.timestamp {
        -1 => (OffsetSpec::Latest, 0),
        -2 => (OffsetSpec::Earliest, 0),
        -3 => (OffsetSpec::MaxTimestamp, 7),
        -4 => (OffsetSpec::EarliestLocal, 8),
        -5 => (OffsetSpec::LatestTiered, 9),
        -6 => (OffsetSpec::EarliestPendingUpload, 11),
        time if time >= 0 => (OffsetSpec::Timestamp(time), 0),
        _ => return Err(Refusal::UnsupportedVersion),
    };
    if version >= since { Ok(spec) } else { Err(Refusal::UnsupportedVersion) }
}

fn fill(row: &mut ListOffsetsPartitionResponse, listed: ListedOffset, version: i16) {
    if version == 0 {
        row.old_style_offsets = vec![listed.offset.0];
        return;
    }
    row.offset = listed.offset.0;
    row.timestamp = listed.timestamp_ms;
    if version >= 4 {
        row.leader_epoch = listed.epoch.map_or(-1, |epoch| epoch.0);
    }
}
