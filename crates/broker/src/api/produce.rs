//! Produce (0), versions 0–13: append record batches.
//!
//! Versions 0–2 carry message sets of the old formats, which are refused as Kafka refuses them; they are advertised all
//! the same, because librdkafka before 2.11 switches features by them (KAFKA-18659). v3 record batches, v7 zstd,
//! v8 per-record errors (KIP-467), v10 leader hints (KIP-951), v11 abortable transactions, v12 transactions to which the
//! leader adds partitions (KIP-890), v13 topic ids (KIP-516).

use std::sync::Arc;

use bytes::Bytes;
use ottla_metadata::topic_name::is_internal;
use ottla_partition::{Acks, Append, Question as Ask, Reply, VerificationGuard};
use ottla_protocol::batch::{BatchHeader, Validated};
use ottla_protocol::codec::Records;
use ottla_protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, TopicProduceData,
    TopicProduceResponse,
};
use ottla_protocol::messages::{ProduceRequest, ProduceResponse};
use ottla_protocol::{PartitionId, Refusal};

use crate::answer::{Answer, Replies};
use crate::api::leader_hint;
use crate::api::produce::check::checked;
use crate::api::produce::transaction::Transaction;
use crate::api::scatter::{Place, Places, Scatter};
use crate::context::Context;
use crate::topics::{Key, Topic};

mod check;
mod transaction;

/// The oldest version with record batches.
const FIRST_WITH_BATCHES: i16 = 3;

/// Whoever calls himself so may write to internal topics.
const ADMIN_CLIENT: &str = "__admin_client";

/// The shortest time-out, so that one of 0 leaves the owner of a partition the time to answer.
const PATIENCE_MS: i64 = 250;

/// A request of which the batches have been looked at.
struct Produce {
    response: ProduceResponse,
    /// The batches that may be appended as far as they tell themselves.
    wanted: Vec<Wanted>,
    /// The client waits for no answer.
    silent: bool,
    /// How long replicas may take, in ms, where they count.
    patience_ms: Option<i64>,
}

/// A batch for a partition.
struct Wanted {
    place: Place,
    /// The topic's name.
    topic: Arc<str>,
    batch: Validated,
    acks: Acks,
    /// Whether the partition insists on the coordinator's word for a transaction.
    verifies: bool,
    guard: Option<VerificationGuard>,
}

/// Validates each partition's batch here, on the connection's core, and asks the partitions' owners to append.
pub fn answer(request: ProduceRequest, context: &mut Context<'_>) -> Answer<ProduceResponse> {
    let transaction = match transaction_of(&request) {
        Ok(transaction) => transaction,
        Err(refusal) => return refuse_all(request, refusal),
    };
    // The time-out is that of the replicas: the leader's own append takes as long as it takes.
    let patience_ms = i64::from(request.timeout_ms).max(PATIENCE_MS);
    let mut produce = Produce {
        response: ProduceResponse::default(),
        wanted: Vec::new(),
        silent: request.acks == 0,
        patience_ms: (acks(request.acks) == Ok(Acks::All)).then_some(patience_ms),
    };
    for topic in request.topic_data {
        produce.look_at(topic, request.acks, context);
    }
    match transaction {
        Some(transaction) => transaction::verify(produce, transaction, context),
        None => produce.append(context),
    }
}

/// The transaction that the batches are part of, by their headers.
fn transaction_of(request: &ProduceRequest) -> Result<Option<Transaction>, (Refusal, Option<String>)> {
    let batches = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let headers = batches.filter_map(|data| match &data.records {
        Some(Records::Bytes(bytes)) => BatchHeader::parse(bytes).ok(),
        _ => None,
    });
    let mut found: Option<Transaction> = None;
    for header in headers.filter(BatchHeader::is_transactional) {
        let Some(id) = &request.transactional_id else {
            return Err((Refusal::TransactionalIdAuthorizationFailed, None));
        };
        if !header.has_producer_id() {
            continue;
        }
        let transaction = Transaction {
            id: id.clone(),
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
        };
        let is_other = |found: &Transaction| {
            (found.producer_id, found.producer_epoch) != (header.producer_id, header.producer_epoch)
        };
        if found.as_ref().is_some_and(is_other) {
            let why = "Transactional records contained more than one producer ID";
            return Err((Refusal::InvalidProducerIdMapping, Some(why.to_owned())));
        }
        found = Some(transaction);
    }
    Ok(found)
}

/// The same refusal for every partition: nothing of the request is looked at.
fn refuse_all(
    request: ProduceRequest,
    (refusal, message): (Refusal, Option<String>),
) -> Answer<ProduceResponse> {
    let silent = request.acks == 0;
    let topics = request.topic_data.into_iter().map(|topic| {
        let rows = topic.partition_data.iter().map(|data| PartitionProduceResponse {
            index: data.index,
            error_code: refusal.code(),
            error_message: message.clone(),
            ..unanswered()
        });
        TopicProduceResponse {
            partition_responses: rows.collect(),
            name: topic.name,
            topic_id: topic.topic_id,
        }
    });
    finish(ProduceResponse { responses: topics.collect(), ..Default::default() }, silent)
}

impl Produce {
    /// Checks the batches for one topic.
    fn look_at(&mut self, topic: TopicProduceData, acks_asked: i16, context: &mut Context<'_>) {
        let by = Key::since(context.version, 13);
        let found = context.topics.resolve(context.image, &topic.name, topic.topic_id, by);
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
                let acks = acks(acks_asked)?;
                let name = name_of(topic, context);
                if is_closed(&name, context) {
                    return Err(Refusal::InvalidTopicException.into());
                }
                let batch = checked(&bytes, &topic.settings, context)?;
                Ok((id, name, batch, acks, topic.settings.verifies_transactions))
            });
            match outcome {
                Ok((id, topic, batch, acks, verifies)) => {
                    let (topics, partitions) =
                        (self.response.responses.len(), rows.partition_responses.len());
                    let place = Place { topic: topics, partition: partitions, id };
                    self.wanted.push(Wanted { place, topic, batch, acks, verifies, guard: None });
                }
                Err(refused) => refused.write(&mut row),
            }
            rows.partition_responses.push(row);
        }
        self.response.responses.push(rows);
    }

    /// Asks the partitions' owners to append what is wanted.
    fn append(self, context: &Context<'_>) -> Answer<ProduceResponse> {
        let Self { mut response, wanted, silent, patience_ms } = self;
        let mut scatter = Scatter::default();
        for Wanted { place, batch, acks, guard, .. } in wanted {
            scatter.ask(place, Ask::Append(Append::by_client(batch, acks, guard)));
        }
        let deadline = patience_ms.map(|patience_ms| context.now.after_ms(patience_ms));
        let (questions, places) = scatter.into_parts();
        Answer::ask_all(questions, deadline, move |context, replies| {
            fill(&mut response, places, replies, context);
            finish(response, silent)
        })
    }

    /// Refuses the batch of one place.
    fn refuse(&mut self, place: Place, refused: Refused, context: &Context<'_>) {
        let row = &mut self.response.responses[place.topic].partition_responses[place.partition];
        refused.write_with_hint(place, row, context);
    }
}

impl Wanted {
    fn is_transactional(&self) -> bool {
        self.batch.header.is_transactional() && self.batch.header.has_producer_id()
    }
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
fn is_closed(name: &str, context: &Context<'_>) -> bool {
    is_internal(name) && context.client_id != ADMIN_CLIENT
}

fn name_of(topic: &Topic, context: &Context<'_>) -> Arc<str> {
    context.image.topics.get(topic.id).map_or_else(|| Arc::from(""), |topic| Arc::clone(&topic.name))
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
            Some(Reply::Refused(refusal)) => Refused::from(refusal).write_with_hint(place, row, context),
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
    fn saying(refusal: Refusal, message: String) -> Self {
        Self { message: Some(message), ..Self::from(refusal) }
    }

    fn write_with_hint(self, place: Place, row: &mut PartitionProduceResponse, context: &Context<'_>) {
        if self.refusal == Refusal::NotLeaderOrFollower && context.version >= 10 {
            leader_hint::produce(context, place.id, &mut row.current_leader);
        }
        self.write(row);
    }

    fn write(self, row: &mut PartitionProduceResponse) {
        row.error_code = self.refusal.code();
        row.base_offset = -1;
        row.error_message = self.message;
        row.record_errors = self.records;
    }
}
