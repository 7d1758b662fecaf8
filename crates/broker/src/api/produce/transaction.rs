//! What happens before records of a transaction are appended (KIP-890): the leader must know, from the transaction's
//! coordinator, that the partition belongs to it.
//!
//! First the partitions are asked which of them do not know yet; those the coordinator is asked about (up to version
//! 11, where the client has added them itself), or told of (from version 12 on). The partitions' guards see to it that
//! an answer which comes after the transaction's end is worth nothing.

use std::collections::BTreeMap;

use ottla_coordinator::transaction::{Command, Reply as CoordinatorReply, TransactionVersion};
use ottla_partition::{Question as Ask, Reply, TransactionProtocol, VerificationGuard, Verify};
use ottla_protocol::messages::ProduceResponse;
use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::time::Deadline;
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal};

use super::{Produce, Refused, Wanted};
use crate::answer::{Answer, Question, Replies};
use crate::api::transact;
use crate::context::Context;

/// The first version whose clients know TRANSACTION_ABORTABLE.
const KNOWS_ABORTABLE: i16 = 11;

/// The first version whose clients leave it to the leader to add partitions to the transaction.
const LEADER_ADDS: i16 = 12;

/// The transaction that a produce request is part of.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Its transactional id.
    pub id: String,
    /// Its producer.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
}

/// One round of asking.
struct Round {
    produce: Produce,
    transaction: Transaction,
    protocol: TransactionProtocol,
    /// Until when a coordinator that is still busy with the transaction before is asked again.
    patient_until: Deadline,
}

/// What is known of one partition: why its batch is not appended, or that it may be, under this guard.
type Outcome = Result<Option<VerificationGuard>, Refusal>;

/// Has the partitions verified and appends to those that are.
pub fn verify(
    produce: Produce,
    transaction: Transaction,
    context: &mut Context<'_>,
) -> Answer<ProduceResponse> {
    let adds = context.version >= LEADER_ADDS;
    let node = context.node.settings.node();
    let protocol = if adds { TransactionProtocol::OwnEpoch } else { TransactionProtocol::SharedEpoch };
    let is_checked = produce.wanted.iter().any(|wanted| wanted.verifies && wanted.is_transactional());
    if !adds && !is_checked {
        return produce.append(context);
    }
    let patience_ms = node.int("add.partitions.to.txn.retry.backoff.max.ms");
    let patience_ms = i64::from(patience_ms.min(node.int("request.timeout.ms")));
    let patient_until = context.now.after_ms(patience_ms);
    Round { produce, transaction, protocol, patient_until }.begin()
}

impl Round {
    /// Asks the partitions which of them do not know of the transaction yet.
    fn begin(self) -> Answer<ProduceResponse> {
        let questions = self.transactional().map(|(_, wanted)| {
            let header = &wanted.batch.header;
            let verify = Verify {
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
                protocol: self.protocol,
            };
            Question::Partition(wanted.place.id, Ask::Verify(verify))
        });
        let questions = questions.collect();
        Answer::ask_all(questions, None, move |context, mut replies: Replies| {
            let places: Vec<usize> = self.transactional().map(|(place, _)| place).collect();
            let outcomes = places.into_iter().enumerate().map(|(index, place)| {
                let outcome = match replies.partition(index) {
                    Some(Reply::Verification(guard)) => Ok(guard),
                    Some(Reply::Refused(refusal)) => Err(refusal),
                    _ => Err(Refusal::UnknownServerError),
                };
                (place, outcome)
            });
            let outcomes = outcomes.collect();
            self.consult(outcomes, context)
        })
        .alone()
    }

    /// Asks the coordinator about the partitions that gave out a guard.
    fn consult(
        self,
        outcomes: BTreeMap<usize, Outcome>,
        context: &mut Context<'_>,
    ) -> Answer<ProduceResponse> {
        let unverified = outcomes.iter().filter(|(_, outcome)| matches!(outcome, Ok(Some(_))));
        let unverified: Vec<usize> = unverified.map(|(&place, _)| place).collect();
        if unverified.is_empty() {
            return self.end(outcomes, context);
        }
        let question = match self.question(&unverified, context) {
            Ok(question) => question,
            Err(refusal) => {
                return self.judge(outcomes, |_, _| Err(refusal), context);
            }
        };
        Answer::ask_all(
            vec![question],
            Some(transact::patience(context)),
            move |context, mut replies: Replies| {
                let result = match transact::reply(&mut replies, 0) {
                    Ok(CoordinatorReply::AddPartitions(result)) => Ok(result),
                    Ok(_) => Err(Refusal::UnknownServerError),
                    Err(refusal) => Err(refusal),
                };
                let said = |name: &str, index| match &result {
                    Ok(result) => said(result, name, index),
                    Err(refusal) => Err(*refusal),
                };
                self.judge(outcomes, said, context)
            },
        )
        .alone()
    }

    fn question(&self, unverified: &[usize], context: &Context<'_>) -> Result<Question, Refusal> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for &place in unverified {
            let wanted = &self.produce.wanted[place];
            topics.entry(&wanted.topic).or_default().push(wanted.place.id.index);
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| AddPartitionsToTxnTopic { name: name.to_owned(), partitions });
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: self.transaction.id.clone(),
            producer_id: self.transaction.producer_id.0,
            producer_epoch: self.transaction.producer_epoch.0,
            verify_only: self.protocol == TransactionProtocol::SharedEpoch,
            topics: topics.collect(),
        };
        let command = Command::AddPartitions(TransactionVersion::V2, transaction);
        transact::question(context, &self.transaction.id, command)
    }

    /// Goes on with what the coordinator has said of each partition that it was asked about.
    fn judge(
        self,
        mut outcomes: BTreeMap<usize, Outcome>,
        said: impl Fn(&str, i32) -> Result<(), Refusal>,
        context: &mut Context<'_>,
    ) -> Answer<ProduceResponse> {
        let mut busy = false;
        for (&place, outcome) in &mut outcomes {
            if !matches!(outcome, Ok(Some(_))) {
                continue;
            }
            let wanted = &self.produce.wanted[place];
            if let Err(refusal) = said(&wanted.topic, wanted.place.id.index) {
                busy |= refusal == Refusal::ConcurrentTransactions;
                *outcome = Err(refusal);
            }
        }
        let may_retry =
            self.protocol == TransactionProtocol::OwnEpoch && !context.now.reached(self.patient_until);
        if busy && may_retry {
            // The markers of the transaction before are on their way: the client would wait far longer than they take.
            let pause_ms = context.node.settings.node().int("add.partitions.to.txn.retry.backoff.ms");
            return Answer::pause(context.now.after_ms(i64::from(pause_ms)), move |_, _| self.begin())
                .alone();
        }
        self.end(outcomes, context)
    }

    /// Appends what may be appended, and refuses the rest.
    fn end(self, outcomes: BTreeMap<usize, Outcome>, context: &mut Context<'_>) -> Answer<ProduceResponse> {
        let Self { mut produce, protocol, .. } = self;
        let wanted = std::mem::take(&mut produce.wanted);
        for (place, mut wanted) in wanted.into_iter().enumerate() {
            match outcomes.get(&place) {
                None => produce.wanted.push(wanted),
                Some(Ok(guard)) => {
                    wanted.guard = *guard;
                    produce.wanted.push(wanted);
                }
                Some(Err(refusal)) => {
                    let refused = as_told(*refusal, protocol, context.version);
                    produce.refuse(wanted.place, refused, context);
                }
            }
        }
        produce.append(context)
    }

    /// The batches of the transaction, by their index in what is wanted.
    fn transactional(&self) -> impl Iterator<Item = (usize, &Wanted)> {
        self.produce.wanted.iter().enumerate().filter(|(_, wanted)| wanted.is_transactional())
    }
}

fn said(result: &AddPartitionsToTxnResult, name: &str, index: i32) -> Result<(), Refusal> {
    let topic = result.topic_results.iter().find(|topic| topic.name == name);
    let partition = topic.and_then(|topic| {
        topic.results_by_partition.iter().find(|partition| partition.partition_index == index)
    });
    match partition.map(|partition| partition.partition_error_code) {
        None | Some(0) => Ok(()),
        Some(code) => Err(Refusal::from_code(code).unwrap_or(Refusal::UnknownServerError)),
    }
}

/// The coordinator's refusals in words that a producer of this version understands.
fn as_told(refusal: Refusal, protocol: TransactionProtocol, version: i16) -> Refused {
    let refusal = match refusal {
        Refusal::ProducerFenced => Refusal::InvalidProducerEpoch,
        Refusal::TransactionAbortable if version < KNOWS_ABORTABLE => Refusal::InvalidTxnState,
        Refusal::ClusterAuthorizationFailed => Refusal::InvalidTxnState,
        other => other,
    };
    let shared = protocol == TransactionProtocol::SharedEpoch;
    match refusal {
        Refusal::InvalidTxnState => {
            Refused::saying(refusal, "Partition was not added to the transaction".to_owned())
        }
        Refusal::ConcurrentTransactions if !shared => Refused::from(refusal),
        // Producers try again when they hear this, without asking first who leads.
        Refusal::ConcurrentTransactions
        | Refusal::NetworkException
        | Refusal::CoordinatorLoadInProgress
        | Refusal::CoordinatorNotAvailable
        | Refusal::NotCoordinator => Refused::saying(
            Refusal::NotEnoughReplicas,
            format!(
                "Unable to verify the partition has been added to the transaction. Underlying error: {}",
                refusal.name()
            ),
        ),
        other => Refused::from(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_as_the_version_knows_them() {
        let told = |refusal, version: i16| {
            let protocol = if version >= LEADER_ADDS {
                TransactionProtocol::OwnEpoch
            } else {
                TransactionProtocol::SharedEpoch
            };
            as_told(refusal, protocol, version).refusal
        };
        assert_eq!(told(Refusal::TransactionAbortable, 10), Refusal::InvalidTxnState);
        assert_eq!(told(Refusal::TransactionAbortable, 11), Refusal::TransactionAbortable);
        assert_eq!(told(Refusal::ConcurrentTransactions, 11), Refusal::NotEnoughReplicas);
        assert_eq!(told(Refusal::ConcurrentTransactions, 12), Refusal::ConcurrentTransactions);
        assert_eq!(told(Refusal::ProducerFenced, 12), Refusal::InvalidProducerEpoch);
        assert_eq!(told(Refusal::NotCoordinator, 12), Refusal::NotEnoughReplicas);
        assert_eq!(told(Refusal::InvalidProducerEpoch, 9), Refusal::InvalidProducerEpoch);
    }
}
