//! AddOffsetsToTxn (25), versions 0–4: a group's offsets are to be committed in a transaction.
//!
//! What takes part is the group's partition of `__consumer_offsets`, which is made where there is none: producers ask
//! this before anybody looks for the group's coordinator. v2 PRODUCER_FENCED.

use ottla_coordinator::place;
use ottla_coordinator::transaction::{Command, Reply, TransactionVersion};
use ottla_protocol::Refusal;
use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use crate::answer::Answer;
use crate::api::{find_coordinator, transact};
use crate::context::Context;
use crate::coordinators::GROUPS_TOPIC;

/// The first version that knows PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;

/// Asks the coordinator, once the groups have their topic.
pub fn answer(request: AddOffsetsToTxnRequest, context: &mut Context<'_>) -> Answer<AddOffsetsToTxnResponse> {
    find_coordinator::with_topic(GROUPS_TOPIC, context, move |context| add(request, context))
}

fn add(request: AddOffsetsToTxnRequest, context: &mut Context<'_>) -> Answer<AddOffsetsToTxnResponse> {
    let version = context.version;
    let refuse =
        |refusal: Refusal| AddOffsetsToTxnResponse { error_code: refusal.code(), ..Default::default() };
    let Some(groups) = context.image.topics.named(GROUPS_TOPIC) else {
        return Answer::reply(refuse(Refusal::CoordinatorNotAvailable));
    };
    let partition = place::partition_for(&request.group_id, groups.partition_count);
    let id = request.transactional_id.clone();
    let transaction = AddPartitionsToTxnTransaction {
        transactional_id: request.transactional_id,
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
        verify_only: false,
        topics: vec![AddPartitionsToTxnTopic { name: GROUPS_TOPIC.into(), partitions: vec![partition] }],
    };
    // Who speaks the newer protocol leaves this to the group's coordinator.
    let command = Command::AddPartitions(TransactionVersion::V0, transaction);
    let pick = |reply| match reply {
        Reply::AddPartitions(result) => {
            let partition = result.topic_results.first()?.results_by_partition.first()?;
            Some(AddOffsetsToTxnResponse { error_code: partition.partition_error_code, ..Default::default() })
        }
        _ => None,
    };
    transact::ask(context, &id, command, pick, refuse).map(move |mut response| {
        response.error_code = transact::as_told(response.error_code, version, FENCED_SINCE);
        response
    })
}
