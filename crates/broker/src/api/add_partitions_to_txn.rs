//! AddPartitionsToTxn (24), versions 0–5: partitions take part in a transaction.
//!
//! Up to v3 clients ask, each for one transaction; from v4 on brokers ask for several, and may only want to know whether
//! the partitions take part (KIP-890). v2 PRODUCER_FENCED, v5 TRANSACTION_ABORTABLE.

use ottla_coordinator::transaction::{Command, Reply, TransactionVersion};
use ottla_protocol::Refusal;
use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use crate::answer::{Answer, Question};
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
                    Ok(_) => result(&transaction, Refusal::UnknownServerError),
                    Err(refusal) => result(&transaction, refusal),
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

/// The question to a transaction's coordinator, or the result where there is nobody to ask.
fn ask(
    transaction: &AddPartitionsToTxnTransaction,
    protocol: TransactionVersion,
    context: &Context<'_>,
) -> Result<Question, AddPartitionsToTxnResult> {
    let command = Command::AddPartitions(protocol, transaction.clone());
    let question = transact::question(context, &transaction.transactional_id, command);
    question.map_err(|refusal| result(transaction, refusal))
}

/// The same refusal for every partition.
fn result(transaction: &AddPartitionsToTxnTransaction, refusal: Refusal) -> AddPartitionsToTxnResult {
    let topics = transaction.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|&index| AddPartitionsToTxnPartitionResult {
            partition_index: index,
            partition_error_code: refusal.code(),
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
