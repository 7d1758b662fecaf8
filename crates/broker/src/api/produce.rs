//! Produce (0), versions 0–13: append record batches.
//!
//! Versions 0–2 carry message sets of the old formats, which are refused as Kafka refuses them; they are advertised all
//! the same, because librdkafka before 2.11 switches features by them (KAFKA-18659). v3 record batches, v7 zstd,
//! v8 per-record errors (KIP-467), v10 leader hints (KIP-951), v13 topic ids (KIP-516).

use bytes::Bytes;
use ottla_metadata::topic_name::is_internal;
use ottla_partition::{Acks, Append, Question as Ask, Reply};
use ottla_protocol::codec::Records;
use ottla_protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, TopicProduceResponse,
};
use ottla_protocol::messages::{ProduceRequest, ProduceResponse};
use ottla_protocol::{PartitionId, Refusal};

use crate::answer::{Answer, Replies};
use crate::api::leader_hint;
use crate::api::produce::check::checked;
use crate::api::scatter::{Place, Places, Scatter};
use crate::context::Context;
use crate::topics::{Key, Topic};

mod check;

/// The oldest version with record batches.
const FIRST_WITH_BATCHES: i16 = 3;

/// Whoever calls himself so may write to internal topics.
const ADMIN_CLIENT: &str = "__admin_client";

/// The shortest time-out, so that one of 0 leaves the owner of a partition the time to answer.
const PATIENCE_MS: i64 = 250;

/// Validates each partition's batch here, on the connection's core, and asks the partitions' owners to append.
pub fn answer(request: ProduceRequest, context: &mut Context<'_>) -> Answer<ProduceResponse> {
    let silent = request.acks == 0;
    let acks = acks(request.acks);
    // The time-out is that of the replicas: the leader's own append takes as long as it takes.
    let patience_ms = i64::from(request.timeout_ms).max(PATIENCE_MS);
    let deadline = (acks == Ok(Acks::All)).then(|| context.now.after_ms(patience_ms));
    let transaction = request.transactional_id.is_some();
    let mut response = ProduceResponse::default();
    let mut scatter = Scatter::default();
    for topic in request.topic_data {
        let found = context.topics.resolve(
            context.image,
            &topic.name,
            topic.topic_id,
            Key::since(context.version, 13),
        );
        let mut rows =
            TopicProduceResponse { name: topic.name, topic_id: topic.topic_id, ..Default::default() };
        for data in topic.partition_data {
            let mut row = PartitionProduceResponse { index: data.index, ..unanswered() };
            let outcome = found.as_ref().map_err(|&refusal| Refused::from(refusal)).and_then(|topic| {
                let id = PartitionId { topic: topic.id, index: data.index };
                if !topic.has_partition(data.index) {
                    return Err(Refusal::UnknownTopicOrPartition.into());
                }
                let bytes = only_records(data, context)?;
                let acks = acks?;
                if is_closed(topic, context) {
                    return Err(Refusal::InvalidTopicException.into());
                }
                let batch = checked(&bytes, &topic.settings, context)?;
                if batch.header.is_transactional() && !transaction {
                    return Err(Refusal::TransactionalIdAuthorizationFailed.into());
                }
                if batch.header.is_transactional() {
                    // Only the transaction coordinator could say that this partition belongs to the transaction.
                    return Err(Refusal::InvalidTxnState.into());
                }
                Ok((id, Append { batch, acks }))
            });
            match outcome {
                Ok((id, append)) => {
                    let place = Place {
                        topic: response.responses.len(),
                        partition: rows.partition_responses.len(),
                        id,
                    };
                    scatter.ask(place, Ask::Append(append));
                }
                Err(refused) => refused.write(&mut row),
            }
            rows.partition_responses.push(row);
        }
        response.responses.push(rows);
    }
    let (questions, places) = scatter.into_parts();
    Answer::ask_all(questions, deadline, move |context, replies| {
        fill(&mut response, places, replies, context);
        finish(response, silent)
    })
}

/// A row before its reply: what a partition that does not answer in time gets.
fn unanswered() -> PartitionProduceResponse {
    PartitionProduceResponse {
        error_code: 0,
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        ..Default::default()
    }
}

fn acks(acks: i16) -> Result<Acks, Refusal> {
    match acks {
        // Errors close the connection of a client that does not wait, so somebody has to hear of them.
        0 | 1 => Ok(Acks::Leader),
        -1 => Ok(Acks::All),
        _ => Err(Refusal::InvalidRequiredAcks),
    }
}

/// Coordinators alone write to the internal topics, and tools that say that they know what they do.
fn is_closed(topic: &Topic, context: &Context<'_>) -> bool {
    let name = context.image.topics.get(topic.id).map(|topic| &topic.name);
    name.is_some_and(|name| is_internal(name)) && context.client_id != ADMIN_CLIENT
}

fn only_records(data: PartitionProduceData, context: &Context<'_>) -> Result<Bytes, Refused> {
    if context.version < FIRST_WITH_BATCHES {
        return Err(Refusal::UnsupportedVersion.into());
    }
    match data.records {
        Some(Records::Bytes(bytes)) if !bytes.is_empty() => Ok(bytes),
        _ => Err(Refused {
            refusal: Refusal::InvalidRecord,
            message: Some("a produce request must carry one record batch for each partition".into()),
            records: Vec::new(),
        }),
    }
}

fn fill(response: &mut ProduceResponse, places: Places, replies: Replies, context: &Context<'_>) {
    for (place, reply) in places.gather(replies) {
        let row = &mut response.responses[place.topic].partition_responses[place.partition];
        match reply {
            Some(Reply::Appended(appended)) => {
                row.base_offset = appended.base_offset.0;
                row.log_append_time_ms = appended.log_append_time_ms.unwrap_or(-1);
                row.log_start_offset = appended.log_start.0;
            }
            Some(Reply::Refused(refusal)) => {
                Refused::from(refusal).write(row);
                if refusal == Refusal::NotLeaderOrFollower && context.version >= 10 {
                    leader_hint::produce(context, place.id, &mut row.current_leader);
                }
            }
            None => Refused::from(Refusal::RequestTimedOut).write(row),
            Some(other) => {
                tracing::error!(?other, "not a reply to an append");
                Refused::from(Refusal::UnknownServerError).write(row);
            }
        }
    }
}

fn finish(response: ProduceResponse, silent: bool) -> Answer<ProduceResponse> {
    let failed = || {
        let mut rows = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        rows.any(|row| row.error_code != 0)
    };
    match (silent, silent && failed()) {
        (false, _) => Answer::reply(response),
        (true, false) => Answer::Silent,
        (true, true) => Answer::Close("a produce request with acks=0 failed"),
    }
}

/// Why a partition's records were not taken.
pub(super) struct Refused {
    refusal: Refusal,
    message: Option<String>,
    records: Vec<BatchIndexAndErrorMessage>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, message: None, records: Vec::new() }
    }
}

impl Refused {
    fn write(self, row: &mut PartitionProduceResponse) {
        row.error_code = self.refusal.code();
        row.base_offset = -1;
        row.error_message = self.message;
        row.record_errors = self.records;
    }
}
