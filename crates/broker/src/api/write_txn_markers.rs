//! WriteTxnMarkers (27), versions 1–2: a transaction's coordinator has the transaction's end written where its records
//! are.
//!
//! v2 tells the version of the transaction, by which the leader knows which epochs a marker may have (KIP-1228). Where a
//! group coordinator stands on the partition, it hears of the marker from the partition itself, in the order of the log.

use std::collections::{BTreeMap, BTreeSet};

use ottla_partition::{Mark, Question as Ask, Reply, TransactionProtocol};
use ottla_protocol::batch::{ControlType, TransactionMarker};
use ottla_protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopic,
    WritableTxnMarkerTopicResult,
};
use ottla_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use ottla_protocol::{PartitionId, ProducerEpoch, ProducerId, Refusal, Uuid};

use crate::answer::{Answer, Question, Replies};
use crate::context::Context;
use crate::topics::Key;

/// What has become of each marker: by producer, topic and partition, as the response tells it.
type Outcomes = BTreeMap<i64, BTreeMap<String, BTreeMap<i32, Result<(), Refusal>>>>;

/// Asks the owner of each partition.
pub fn answer(request: WriteTxnMarkersRequest, context: &mut Context<'_>) -> Answer<WriteTxnMarkersResponse> {
    let timeout_ms = context.node.settings.node().int("request.timeout.ms");
    let deadline = context.now.after_ms(i64::from(timeout_ms));
    let mut outcomes = Outcomes::new();
    let mut questions = Vec::new();
    let mut places = Vec::new();
    for marker in request.markers {
        let mark = mark(&marker);
        for (name, indexes) in places_of(marker.topics) {
            let found = context.topics.resolve(context.image, &name, Uuid::ZERO, Key::Name);
            for index in indexes {
                match &found {
                    Ok(found) if found.has_partition(index) => {
                        let id = PartitionId { topic: found.id, index };
                        questions.push(Question::Partition(id, Ask::Mark(mark)));
                        places.push((marker.producer_id, name.clone(), index));
                    }
                    _ => {
                        let place = (marker.producer_id, name.clone(), index);
                        note(&mut outcomes, place, Err(Refusal::UnknownTopicOrPartition));
                    }
                }
            }
        }
    }
    Answer::ask_all(questions, Some(deadline), move |_, mut replies: Replies| {
        for (index, place) in places.into_iter().enumerate() {
            let outcome = match replies.partition(index) {
                Some(Reply::Appended(_)) => Ok(()),
                Some(Reply::Refused(refusal)) => Err(refusal),
                Some(_) => Err(Refusal::UnknownServerError),
                None => Err(Refusal::RequestTimedOut),
            };
            note(&mut outcomes, place, outcome);
        }
        Answer::reply(told(outcomes))
    })
}

/// The partitions of a marker. Whichever is named more than once is marked once.
fn places_of(topics: Vec<WritableTxnMarkerTopic>) -> BTreeMap<String, BTreeSet<i32>> {
    let mut places: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for topic in topics {
        places.entry(topic.name).or_default().extend(topic.partition_indexes);
    }
    places
}

/// What a marker of a request has a partition write.
#[must_use]
pub fn mark(marker: &WritableTxnMarker) -> Mark {
    Mark {
        marker: TransactionMarker {
            producer_id: ProducerId(marker.producer_id),
            producer_epoch: ProducerEpoch(marker.producer_epoch),
            end: if marker.transaction_result { ControlType::Commit } else { ControlType::Abort },
            coordinator_epoch: marker.coordinator_epoch,
        },
        protocol: TransactionProtocol::of_version(marker.transaction_version),
    }
}

fn note(outcomes: &mut Outcomes, (producer, topic, index): (i64, String, i32), outcome: Result<(), Refusal>) {
    outcomes.entry(producer).or_default().entry(topic).or_default().insert(index, outcome);
}

fn told(outcomes: Outcomes) -> WriteTxnMarkersResponse {
    let markers = outcomes.into_iter().map(|(producer_id, topics)| {
        let topics = topics.into_iter().map(|(name, partitions)| {
            let partitions =
                partitions.into_iter().map(|(partition_index, outcome)| WritableTxnMarkerPartitionResult {
                    partition_index,
                    error_code: Refusal::code_of(outcome.err()),
                });
            WritableTxnMarkerTopicResult { name, partitions: partitions.collect() }
        });
        WritableTxnMarkerResult { producer_id, topics: topics.collect() }
    });
    WriteTxnMarkersResponse { markers: markers.collect() }
}
