//! TxnOffsetCommit (28), versions 0–6: a group has come this far, if a transaction is committed.
//!
//! v3 members and generations (KIP-447), v4 TRANSACTION_ABORTABLE, v5 the group's partition is added to the transaction
//! by its leader (KIP-890), v6 topic ids (KIP-1319). The coordinator of the transaction has to know of the group's
//! partition before the first offset is written, as with records.

use ottla_coordinator::group::{self, Reply};
use ottla_coordinator::transaction::{self, TransactionVersion};
use ottla_partition::{Question as Ask, Reply as Said, TransactionProtocol, VerificationGuard, Verify};
use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequestTopic, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use ottla_protocol::{PartitionId, ProducerEpoch, ProducerId, Refusal};

use crate::answer::{Answer, Question, Replies};
use crate::api::coordinate;
use crate::context::Context;
use crate::coordinators::{self, Command, GROUPS_TOPIC, TRANSACTIONS_TOPIC};
use crate::topics::Key;

/// The first version whose clients survive COORDINATOR_LOAD_IN_PROGRESS (KAFKA-7296).
const KNOWS_LOADING: i16 = 2;

/// The first version whose clients know TRANSACTION_ABORTABLE.
const KNOWS_ABORTABLE: i16 = 4;

/// The first version whose clients leave it to the leader to add the partition to the transaction.
const LEADER_ADDS: i16 = 5;

/// The first version that names topics by their ids.
const BY_ID_SINCE: i16 = 6;

/// Has the group's partition verified, then asks the group's coordinator about the partitions that there are.
pub fn answer(
    mut request: TxnOffsetCommitRequest,
    context: &mut Context<'_>,
) -> Answer<TxnOffsetCommitResponse> {
    let mut response = TxnOffsetCommitResponse::default();
    let mut asked = Vec::new();
    let topics = std::mem::take(&mut request.topics);
    request.topics =
        topics.into_iter().filter_map(|topic| sort(topic, &mut response, &mut asked, context)).collect();
    let commit = Commit { response, asked, version: context.version };
    if request.topics.is_empty() {
        return Answer::reply(commit.response);
    }
    if request.group_id.is_empty() {
        return commit.refuse(Refusal::InvalidGroupId);
    }
    match coordinate::partition(context, GROUPS_TOPIC, &request.group_id) {
        Ok(partition) => commit.verify(partition, request, context),
        Err(refusal) => commit.refuse(refusal),
    }
}

/// Makes the rows of a topic; what is left is to be asked about.
fn sort(
    topic: TxnOffsetCommitRequestTopic,
    response: &mut TxnOffsetCommitResponse,
    asked: &mut Vec<(usize, usize)>,
    context: &mut Context<'_>,
) -> Option<TxnOffsetCommitRequestTopic> {
    let by = Key::since(context.version, BY_ID_SINCE);
    let found = context.topics.resolve(context.image, &topic.name, topic.topic_id, by);
    let mut rows = Vec::with_capacity(topic.partitions.len());
    let mut left = Vec::with_capacity(topic.partitions.len());
    for partition in topic.partitions {
        let partition_index = partition.partition_index;
        let refusal = match &found {
            Ok(found) if found.has_partition(partition_index) => None,
            Ok(_) => Some(Refusal::UnknownTopicOrPartition),
            Err(refusal) => Some(*refusal),
        };
        if refusal.is_none() {
            asked.push((response.topics.len(), rows.len()));
            left.push(partition);
        }
        rows.push(TxnOffsetCommitResponsePartition {
            partition_index,
            error_code: Refusal::code_of(refusal),
        });
    }
    let topic_id = found.as_ref().map_or(topic.topic_id, |found| found.id);
    let name = context.image.topics.get(topic_id).map_or(topic.name, |known| known.name.to_string());
    response.topics.push(TxnOffsetCommitResponseTopic { name: name.clone(), topic_id, partitions: rows });
    (!left.is_empty()).then_some(TxnOffsetCommitRequestTopic { name, topic_id, partitions: left })
}

/// The response, and which of its rows the coordinator is asked about, in the order in which it is asked.
struct Commit {
    response: TxnOffsetCommitResponse,
    /// Index of the topic, index of the partition.
    asked: Vec<(usize, usize)>,
    version: i16,
}

impl Commit {
    /// Asks the group's partition whether it knows of the transaction.
    fn verify(
        self,
        partition: PartitionId,
        request: TxnOffsetCommitRequest,
        context: &Context<'_>,
    ) -> Answer<TxnOffsetCommitResponse> {
        let adds = self.version >= LEADER_ADDS;
        let verifies = context.node.settings.node().boolean("transaction.partition.verification.enable");
        if !adds && !verifies {
            return self.commit(partition, request, None, context);
        }
        let verify = Verify {
            producer_id: ProducerId(request.producer_id),
            producer_epoch: ProducerEpoch(request.producer_epoch),
            base_sequence: ottla_protocol::batch::NO_SEQUENCE,
            protocol: if adds { TransactionProtocol::OwnEpoch } else { TransactionProtocol::SharedEpoch },
        };
        let question = Question::Partition(partition, Ask::Verify(verify));
        Answer::ask_all(vec![question], None, move |context, mut replies| match replies.partition(0) {
            Some(Said::Verification(None)) => self.commit(partition, request, None, context),
            Some(Said::Verification(Some(guard))) => self.consult(partition, request, guard, context),
            Some(Said::Refused(refusal)) => self.refuse(ottla_coordinator::hosted::as_told(refusal)),
            _ => self.refuse(Refusal::UnknownServerError),
        })
    }

    /// Asks the transaction's coordinator whether the partition belongs to it, or tells it so.
    fn consult(
        self,
        partition: PartitionId,
        request: TxnOffsetCommitRequest,
        guard: VerificationGuard,
        context: &Context<'_>,
    ) -> Answer<TxnOffsetCommitResponse> {
        let topic = AddPartitionsToTxnTopic { name: GROUPS_TOPIC.into(), partitions: vec![partition.index] };
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.transactional_id.clone(),
            producer_id: request.producer_id,
            producer_epoch: request.producer_epoch,
            verify_only: self.version < LEADER_ADDS,
            topics: vec![topic],
        };
        let coordinator =
            match coordinate::partition(context, TRANSACTIONS_TOPIC, &transaction.transactional_id) {
                Ok(coordinator) => coordinator,
                Err(_) => return self.refuse(Refusal::CoordinatorNotAvailable),
            };
        let version = TransactionVersion::of(context.image);
        let command = Box::new(transaction::Command::AddPartitions(version, transaction));
        let question = Question::Coordinator(coordinator, Command::Transaction(command));
        Answer::ask_all(vec![question], Some(coordinate::patience(context)), move |context, mut replies| {
            match verdict(&mut replies) {
                None => self.commit(partition, request, Some(guard), context),
                Some(refusal) => {
                    let refusal = as_told(refusal, self.version);
                    self.refuse(refusal)
                }
            }
        })
    }

    /// Asks the group's coordinator.
    fn commit(
        mut self,
        partition: PartitionId,
        request: TxnOffsetCommitRequest,
        guard: Option<VerificationGuard>,
        context: &Context<'_>,
    ) -> Answer<TxnOffsetCommitResponse> {
        let command = group::Command::CommitOffsetsInTransaction(coordinate::caller(context), request);
        let question = Question::Coordinator(partition, Command::Group(Box::new(command), guard));
        let deadline = Some(coordinate::patience(context));
        Answer::ask_all(vec![question], deadline, move |_, mut replies| {
            match coordinate::reply(&mut replies, 0) {
                Ok(Reply::CommitOffsetsInTransaction(reply)) => {
                    let rows = reply.topics.into_iter().flat_map(|topic| topic.partitions);
                    for (&(topic, partition), row) in self.asked.iter().zip(rows) {
                        let row = Refusal::from_code(row.error_code);
                        let code = Refusal::code_of(row.map(|refusal| self.told(refusal)));
                        self.response.topics[topic].partitions[partition].error_code = code;
                    }
                    Answer::reply(self.response)
                }
                Ok(_) => self.refuse(Refusal::UnknownServerError),
                Err(refusal) => self.refuse(refusal),
            }
        })
    }

    fn refuse(mut self, refusal: Refusal) -> Answer<TxnOffsetCommitResponse> {
        let code = self.told(refusal).code();
        for (topic, partition) in self.asked {
            self.response.topics[topic].partitions[partition].error_code = code;
        }
        Answer::reply(self.response)
    }

    /// Old clients end when they hear of loading.
    fn told(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::CoordinatorLoadInProgress if self.version < KNOWS_LOADING => {
                Refusal::CoordinatorNotAvailable
            }
            other => other,
        }
    }
}

/// Why the transaction's coordinator does not agree; `None` where it does.
fn verdict(replies: &mut Replies) -> Option<Refusal> {
    match replies.coordinator(0) {
        Some(coordinators::Reply::Transaction(transaction::Reply::AddPartitions(result))) => {
            let rows = result.topic_results.into_iter().flat_map(|topic| topic.results_by_partition);
            rows.map(|row| row.partition_error_code).find_map(Refusal::from_code)
        }
        Some(coordinators::Reply::Transaction(transaction::Reply::Refused(refusal))) => Some(refusal),
        Some(coordinators::Reply::Refused(refusal)) => Some(refusal),
        Some(reply) => {
            tracing::error!(?reply, "not an answer about partitions of a transaction");
            Some(Refusal::UnknownServerError)
        }
        None => Some(Refusal::NetworkException),
    }
}

/// The transaction coordinator's refusals in words that a client of this version understands.
fn as_told(refusal: Refusal, version: i16) -> Refusal {
    match refusal {
        Refusal::ProducerFenced => Refusal::InvalidProducerEpoch,
        Refusal::TransactionAbortable if version < KNOWS_ABORTABLE => Refusal::InvalidTxnState,
        // The same request may be sent again, and to the same coordinator.
        Refusal::NetworkException => Refusal::CoordinatorLoadInProgress,
        other => other,
    }
}
