//! AddPartitionsToTxn (24), versions 0–5: partitions take part in a transaction.
//!
//! Up to v3 clients ask, each for one transaction; from v4 on brokers ask for several, and may only want to know whether
//! the partitions take part (KIP-890). v2 PRODUCER_FENCED, v5 TRANSACTION_ABORTABLE.

use ottla_coordinator::transaction::{Command, Reply, TransactionVersion};
use ottla_metadata::Image;
use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use ottla_protocol::{PartitionId, Refusal};

use crate::answer::Answer;
use crate::api::transact;
use crate::context::Context;

/// The first version that brokers speak.
const BROKERS_SINCE: i16 = 4;

/// The first version that knows PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;

/// Asks the coordinator of each transaction.
pub fn answer(
    request: AddPartitionsToTxnRequest,
    context: &mut Context<'_>,
) -> Answer<AddPartitionsToTxnResponse> {
    let version = context.version;
    let protocol = if version >= BROKERS_SINCE { TransactionVersion::V2 } else { TransactionVersion::V0 };
    let mut questions = Vec::new();
    let mut rows = Vec::new();
    for transaction in transactions(request, version) {
        let row = ask(&transaction, protocol, context).map(|question| {
            questions.push(question);
            (questions.len() - 1, transaction)
        });
        rows.push(row);
    }
    Answer::ask_all(questions, Some(transact::patience(context)), move |_, mut replies| {
        let results = rows.into_iter().map(|row| {
            row.map_or_else(
                |result| result,
                |(index, transaction)| match transact::reply(&mut replies, index) {
                    Ok(Reply::AddPartitions(result)) => result,
                    Ok(_) => result(&transaction, |_, _| Some(Refusal::UnknownServerError)),
                    Err(refusal) => result(&transaction, |_, _| Some(refusal)),
                },
            )
        });
        Answer::reply(shape(results.collect(), version))
    })
}

/// The transactions of a request of any version.
fn transactions(request: AddPartitionsToTxnRequest, version: i16) -> Vec<AddPartitionsToTxnTransaction> {
    if version >= BROKERS_SINCE {
        return request.transactions;
    }
    vec![AddPartitionsToTxnTransaction {
        transactional_id: request.v3_and_below_transactional_id,
        producer_id: request.v3_and_below_producer_id,
        producer_epoch: request.v3_and_below_producer_epoch,
        verify_only: false,
        topics: request.v3_and_below_topics,
    }]
}

/// The question to a transaction's coordinator, or the result where it need not be asked: one partition that is not
/// there spoils all.
fn ask(
    transaction: &AddPartitionsToTxnTransaction,
    protocol: TransactionVersion,
    context: &Context<'_>,
) -> Result<crate::answer::Question, AddPartitionsToTxnResult> {
    let is_there = |topic: &str, index: i32| exists(context.image, topic, index);
    let named = transaction.topics.iter();
    let all = named.flat_map(|topic| topic.partitions.iter().map(|index| (topic.name.as_str(), *index)));
    if !all.clone().all(|(topic, index)| is_there(topic, index)) {
        let outcome = |topic: &str, index: i32| {
            let there = is_there(topic, index);
            Some(if there { Refusal::OperationNotAttempted } else { Refusal::UnknownTopicOrPartition })
        };
        return Err(result(transaction, outcome));
    }
    let command = Command::AddPartitions(protocol, transaction.clone());
    let question = transact::question(context, &transaction.transactional_id, command);
    question.map_err(|refusal| result(transaction, |_, _| Some(refusal)))
}

fn exists(image: &Image, topic: &str, index: i32) -> bool {
    let topic = image.topics.named(topic);
    topic.is_some_and(|topic| image.topics.partition(PartitionId { topic: topic.id, index }).is_some())
}

fn result(
    transaction: &AddPartitionsToTxnTransaction,
    outcome: impl Fn(&str, i32) -> Option<Refusal>,
) -> AddPartitionsToTxnResult {
    let topics = transaction.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|&index| AddPartitionsToTxnPartitionResult {
            partition_index: index,
            partition_error_code: outcome(&topic.name, index).map_or(0, Refusal::code),
        });
        AddPartitionsToTxnTopicResult { name: topic.name.clone(), results_by_partition: partitions.collect() }
    });
    AddPartitionsToTxnResult {
        transactional_id: transaction.transactional_id.clone(),
        topic_results: topics.collect(),
    }
}

/// Puts the results into the shape of the version.
fn shape(mut results: Vec<AddPartitionsToTxnResult>, version: i16) -> AddPartitionsToTxnResponse {
    let topics = results.iter_mut().flat_map(|result| &mut result.topic_results);
    for partition in topics.flat_map(|topic| &mut topic.results_by_partition) {
        partition.partition_error_code =
            transact::as_told(partition.partition_error_code, version, FENCED_SINCE);
    }
    if version >= BROKERS_SINCE {
        return AddPartitionsToTxnResponse { results_by_transaction: results, ..Default::default() };
    }
    let topics = results.pop().map(|result| result.topic_results).unwrap_or_default();
    AddPartitionsToTxnResponse { results_by_topic_v3_and_below: topics, ..Default::default() }
}
