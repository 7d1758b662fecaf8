//! Fetch (1), versions 4–18: read records.
//!
//! v4 record batches and isolation, v7 sessions (KIP-227), v9 leader epochs (KIP-320), v12 diverging epochs,
//! v13 topic ids (KIP-516), v16 leader hints (KIP-951). Versions 0–3 would need the old message formats.

use ottla_log::FirstBatch;
use ottla_partition::{Isolation, Question as Ask, Read, ReadRequest, Reply};
use ottla_protocol::codec::Records;
use ottla_protocol::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
};
use ottla_protocol::messages::{FetchRequest, FetchResponse};
use ottla_protocol::time::Deadline;
use ottla_protocol::{LeaderEpoch, Offset, PartitionId, Refusal};

use crate::answer::{Answer, Question, Replies, Response};
use crate::api::leader_hint;
use crate::context::Context;
use crate::fetch_session::{Plan, Wanted};
use crate::topics::Key;

/// The first version whose clients know KAFKA_STORAGE_ERROR (KIP-112).
const KNOWS_STORAGE_ERRORS: i16 = 6;

/// The first version whose clients look at the error of the whole response first.
const ONE_ERROR_FOR_ALL: i16 = 13;

/// What one fetch is after, over all its rounds of reading and waiting.
struct Fetch {
    plan: Plan,
    /// For each wanted partition its id, or why it cannot be read.
    targets: Vec<Result<PartitionId, Refusal>>,
    isolation: Isolation,
    min_bytes: u64,
    max_bytes: u64,
    deadline: Deadline,
}

/// One round's outcome for one partition.
type Outcome = Result<Read, Refusal>;

/// Reads; where there is too little, waits for growth and reads again, until there is enough or time is up.
pub fn answer(mut request: FetchRequest, context: &mut Context<'_>) -> Answer<FetchResponse> {
    let isolation = match isolation(request.isolation_level) {
        Ok(isolation) => isolation,
        Err(refusal) => return refuse_all(request, refusal, context.version),
    };
    let fresh_id = context.fresh_fetch_session_id();
    let by = Key::since(context.version, 13);
    let plan = match context.fetch_session.plan(&mut request, by, fresh_id) {
        Ok(plan) => plan,
        Err(refusal) => {
            return Answer::reply(FetchResponse { error_code: refusal.code(), ..Default::default() });
        }
    };
    let replica = request.replica_id >= 0 || request.replica_state.replica_id >= 0;
    let targets = plan
        .wanted
        .iter()
        .map(|wanted| {
            let topic = context.topics.resolve(context.image, &wanted.topic, wanted.topic_id, by)?;
            if !topic.has_partition(wanted.partition.partition) {
                return Err(Refusal::UnknownTopicOrPartition);
            }
            if replica {
                // Every partition has this node as its only replica, so nobody can be following.
                return Err(Refusal::NotLeaderOrFollower);
            }
            Ok(PartitionId { topic: topic.id, index: wanted.partition.partition })
        })
        .collect();
    let max_bytes = u64::try_from(request.max_bytes).unwrap_or(0).min(context.node.limits.fetch_max_bytes);
    let fetch = Fetch {
        plan,
        targets,
        isolation,
        min_bytes: u64::try_from(request.min_bytes).unwrap_or(0).min(max_bytes),
        max_bytes,
        deadline: context.now.after_ms(i64::from(request.max_wait_ms)),
    };
    read(fetch, context)
}

/// The isolation level on the wire.
///
/// # Errors
/// What Kafka, which has no word for it, answers to any other.
pub fn isolation(level: i8) -> Result<Isolation, Refusal> {
    match level {
        0 => Ok(Isolation::ReadUncommitted),
        1 => Ok(Isolation::ReadCommitted),
        _ => Err(Refusal::UnknownServerError),
    }
}

/// The same refusal for the whole request, and for each partition where the version has no other place for it.
fn refuse_all(request: FetchRequest, refusal: Refusal, version: i16) -> Answer<FetchResponse> {
    let mut body =
        FetchResponse { error_code: refusal.code(), session_id: request.session_id, ..Default::default() };
    let topics = request.topics.into_iter().filter(|_| version < ONE_ERROR_FOR_ALL);
    body.responses.extend(topics.map(|topic| {
        let rows = topic.partitions.iter().map(|partition| PartitionData {
            partition_index: partition.partition,
            error_code: refusal.code(),
            high_watermark: -1,
            records: Some(Records::Bytes(bytes::Bytes::new())),
            ..Default::default()
        });
        FetchableTopicResponse { partitions: rows.collect(), topic: topic.topic, ..Default::default() }
    }));
    Answer::reply(body)
}

fn read(fetch: Fetch, context: &mut Context<'_>) -> Answer<FetchResponse> {
    let mut questions = Vec::new();
    for (target, wanted) in fetch.targets.iter().zip(&fetch.plan.wanted) {
        if let Ok(id) = target {
            questions.push(Question::Partition(*id, Ask::Read(fetch.read_request(wanted))));
        }
    }
    if questions.is_empty() {
        return respond(&fetch, Vec::new(), context);
    }
    Answer::ask_all(questions, None, move |context, replies| {
        let outcomes = outcomes(&fetch, replies);
        if fetch.is_enough(&outcomes) || context.now.reached(fetch.deadline) {
            return trim(fetch, outcomes, context);
        }
        wait(fetch, &outcomes)
    })
}

/// Reads less of the first partition that goes beyond the response's limit, so that the response is filled up.
fn trim(fetch: Fetch, mut outcomes: Vec<Outcome>, context: &mut Context<'_>) -> Answer<FetchResponse> {
    let Some((index, left)) = fetch.first_beyond(&outcomes) else {
        return respond(&fetch, outcomes, context);
    };
    let mut asked = fetch
        .targets
        .iter()
        .zip(&fetch.plan.wanted)
        .filter_map(|(target, wanted)| target.as_ref().ok().map(|&id| (id, fetch.read_request(wanted))));
    let Some((id, request)) = asked.nth(index) else { return respond(&fetch, outcomes, context) };
    let max_bytes = u32::try_from(left).unwrap_or(u32::MAX);
    let request = ReadRequest { max_bytes, first_batch: FirstBatch::WithinLimit, ..request };
    let question = Question::Partition(id, Ask::Read(request));
    drop(asked);
    Answer::ask_all(vec![question], None, move |context, mut replies| {
        if let Some(Reply::Read(read)) = replies.partition(0) {
            outcomes[index] = Ok(read);
        }
        respond(&fetch, outcomes, context)
    })
}

fn wait(fetch: Fetch, outcomes: &[Outcome]) -> Answer<FetchResponse> {
    let questions = fetch.targets.iter().flatten().zip(outcomes).filter_map(|(&id, outcome)| {
        let beyond = outcome.as_ref().ok()?.readable_end;
        Some(Question::Partition(
            id,
            Ask::AwaitGrowth { beyond, isolation: fetch.isolation, until: fetch.deadline },
        ))
    });
    let questions: Vec<Question> = questions.collect();
    let deadline = Some(fetch.deadline);
    Answer::ask_any(questions, deadline, move |context, _| read(fetch, context))
}

impl Fetch {
    fn read_request(&self, wanted: &Wanted) -> ReadRequest {
        let partition = &wanted.partition;
        let epoch = |epoch: i32| (epoch >= 0).then_some(LeaderEpoch(epoch));
        let limit = u64::try_from(partition.partition_max_bytes).unwrap_or(0).min(self.max_bytes);
        ReadRequest {
            from: Offset(partition.fetch_offset),
            max_bytes: u32::try_from(limit).unwrap_or(u32::MAX),
            first_batch: FirstBatch::AnySize,
            isolation: self.isolation,
            current_leader_epoch: epoch(partition.current_leader_epoch),
            last_fetched_epoch: epoch(partition.last_fetched_epoch),
        }
    }

    /// The first partition of those asked that does not fit into the response behind those before it, and the bytes that
    /// they leave for it.
    fn first_beyond(&self, outcomes: &[Outcome]) -> Option<(usize, u64)> {
        let mut left = self.max_bytes;
        for (index, read) in outcomes.iter().enumerate() {
            let bytes = read.as_ref().map_or(0, Read::bytes);
            if bytes > left && left < self.max_bytes {
                return (left > 0).then_some((index, left));
            }
            left = left.saturating_sub(bytes);
        }
        None
    }

    /// Whether the response may leave now: enough bytes, or something that the client has to hear at once.
    fn is_enough(&self, outcomes: &[Outcome]) -> bool {
        // Partitions that do not exist are no reason to hurry, or a client that has not heard yet that a topic is gone
        // would fetch in circles.
        let urgent = |outcome: &Outcome| outcome.as_ref().map_or(true, |read| read.diverging.is_some());
        outcomes.iter().any(urgent)
            || outcomes.iter().flatten().map(Read::bytes).sum::<u64>() >= self.min_bytes
    }
}

/// The replies in the order of the partitions that were asked.
fn outcomes(fetch: &Fetch, mut replies: Replies) -> Vec<Outcome> {
    let asked = fetch.targets.iter().flatten().count();
    (0..asked)
        .map(|index| match replies.partition(index) {
            Some(Reply::Read(read)) => Ok(read),
            Some(Reply::Refused(refusal)) => Err(refusal),
            _ => Err(Refusal::UnknownServerError),
        })
        .collect()
}

fn respond(fetch: &Fetch, outcomes: Vec<Outcome>, context: &mut Context<'_>) -> Answer<FetchResponse> {
    let mut body = FetchResponse { session_id: fetch.plan.session_id, ..Default::default() };
    let mut slices = Vec::new();
    let mut left = fetch.max_bytes;
    let mut outcomes = outcomes.into_iter();
    for (wanted, target) in fetch.plan.wanted.iter().zip(&fetch.targets) {
        let outcome = match target {
            Ok(_) => outcomes.next().unwrap_or(Err(Refusal::UnknownServerError)),
            Err(refusal) => Err(*refusal),
        };
        let mut row = PartitionData { partition_index: wanted.partition.partition, ..Default::default() };
        row.records = Some(Records::Bytes(bytes::Bytes::new()));
        let news = match outcome {
            Ok(mut read) => {
                // Only the first records of a response may exceed its limit, so that a large batch gets through.
                if read.bytes() > left && !slices.is_empty() {
                    read.slices.clear();
                }
                left = left.saturating_sub(read.bytes());
                let has_records = read.bytes() > 0;
                fill(&mut row, read, &mut slices);
                let news =
                    context.fetch_session.tell(wanted, row.high_watermark, row.log_start_offset, has_records);
                news || row.diverging_epoch != EpochEndOffset::default()
            }
            Err(refusal) => {
                context.fetch_session.tell_error(wanted);
                refuse(&mut row, refusal, target.ok(), context);
                true
            }
        };
        if news || !fetch.plan.incremental {
            push(&mut body, wanted, row);
        }
    }
    Answer::Reply(Response { body, slices })
}

fn fill(row: &mut PartitionData, read: Read, slices: &mut Vec<Vec<ottla_log::Slice>>) {
    row.high_watermark = read.high_watermark.0;
    row.last_stable_offset = read.last_stable.0;
    row.log_start_offset = read.log_start.0;
    row.aborted_transactions = read.aborted.as_ref().map(|aborted| {
        let row = |a: &ottla_partition::AbortedTransaction| AbortedTransaction {
            producer_id: a.producer.0,
            first_offset: a.first_offset.0,
        };
        aborted.iter().map(row).collect()
    });
    if let Some(diverging) = read.diverging {
        row.diverging_epoch = EpochEndOffset { epoch: diverging.epoch.0, end_offset: diverging.end.0 };
    }
    let length = u32::try_from(read.bytes()).unwrap_or(u32::MAX);
    if length > 0 {
        row.records = Some(Records::Gap { length, slot: slices.len() as u32 });
        slices.push(read.slices);
    }
}

fn refuse(row: &mut PartitionData, refusal: Refusal, id: Option<PartitionId>, context: &Context<'_>) {
    // Consumers of old look for another leader when they hear this, and give up when they hear the truth.
    let unheard_of = refusal == Refusal::KafkaStorageError && context.version < KNOWS_STORAGE_ERRORS;
    let refusal = if unheard_of { Refusal::NotLeaderOrFollower } else { refusal };
    row.error_code = refusal.code();
    row.high_watermark = -1;
    row.last_stable_offset = -1;
    row.log_start_offset = -1;
    let moved = matches!(refusal, Refusal::NotLeaderOrFollower | Refusal::FencedLeaderEpoch);
    if let (true, Some(id)) = (moved && context.version >= 16, id) {
        leader_hint::fetch(context, id, &mut row.current_leader);
    }
}

fn push(body: &mut FetchResponse, wanted: &Wanted, row: PartitionData) {
    match body.responses.last_mut() {
        Some(topic) if topic.topic == *wanted.topic && topic.topic_id == wanted.topic_id => {
            topic.partitions.push(row);
        }
        _ => body.responses.push(FetchableTopicResponse {
            topic: String::from(&*wanted.topic),
            topic_id: wanted.topic_id,
            partitions: vec![row],
        }),
    }
}
