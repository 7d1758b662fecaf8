//! What the coordinators' answers mean for a transaction.

use std::time::Duration;

use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest,
    TxnOffsetCommitRequest,
};
use ottla_protocol::{Now, ProducerEpoch, ProducerId, Refusal};

use super::questions::Question;
use super::{Stage, Transact, Transaction, TransactionError};
use crate::call::{Reply, Ticket};
use crate::cluster::Cluster;
use crate::consumer::group::search::Search;
use crate::coordinator::Coordinator;
use crate::error::{ApiError, ClientError};
use crate::operation::Outcome;
use crate::producer::queue::Identity;
use crate::producer::{Place, Producer};

/// The feature that says which version of the protocol is spoken, and the level of the second.
const FEATURE: &str = "transaction.version";
const SECOND_VERSION: i16 = 2;

/// The wait before the first partition is announced again: the transaction before is about to end.
const CONCURRENT_WAIT: Duration = Duration::from_millis(20);

impl Producer {
    /// Takes the end of a call to a coordinator; false if it is none.
    pub(in crate::producer) fn transaction_done(
        &mut self,
        now: Now,
        cluster: &Cluster,
        ticket: Ticket,
        outcome: &Outcome,
    ) -> bool {
        let Some(transaction) = &mut self.transaction else { return false };
        let Some((_, node, question)) = transaction.asked.take_if(|(asked, ..)| *asked == ticket) else {
            return false;
        };
        if matches!(transaction.stage, Stage::Over(_)) {
            return true;
        }
        let answer = outcome.clone().and_then(|reply| self.take_answer(cluster, node, &question, &reply));
        let Some(transaction) = &mut self.transaction else { return true };
        match answer {
            Ok(()) => (transaction.failures, transaction.not_before) = (0, None),
            Err(error) => {
                let random = self.random.next();
                let failures = transaction.failures.saturating_add(1);
                let wait = self.settings.retry_backoff.wait(failures, random);
                if transaction.failed(&question, node, error) == Then::Again {
                    transaction.pause(now, failures, wait);
                }
            }
        }
        true
    }

    fn take_answer(
        &mut self,
        cluster: &Cluster,
        node: i32,
        question: &Question,
        reply: &Reply,
    ) -> Result<(), ClientError> {
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        match question {
            Question::Coordinator => {
                transaction.coordinator = Search::Known(Coordinator::read(reply)?.node);
            }
            Question::GroupCoordinator => {
                transaction.group_coordinator = Search::Known(Coordinator::read(reply)?.node);
            }
            Question::Identity => {
                let response = reply.decode::<InitProducerIdRequest>()?;
                ApiError::check(response.error_code, None)?;
                let (id, epoch) = (ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch));
                transaction.close();
                transaction.implicit = speaks_second_version(cluster, node);
                transaction.finish(Ok(()));
                self.adopt(Identity { id, epoch });
            }
            Question::Partitions(places) => transaction.announced(places, reply)?,
            Question::Group => {
                let response = reply.decode::<AddOffsetsToTxnRequest>()?;
                ApiError::check(response.error_code, None)?;
                (transaction.started, transaction.group_added) = (true, true);
            }
            Question::Offsets => {
                let response = reply.decode::<TxnOffsetCommitRequest>()?;
                let rows = response.topics.iter().flat_map(|topic| &topic.partitions);
                for row in rows {
                    ApiError::check(row.error_code, None)?;
                }
                transaction.started = true;
                // Unless the transaction is being aborted by now.
                if matches!(transaction.under_way, Some(Transact::Offsets(..))) {
                    transaction.finish(Ok(()));
                }
            }
            Question::End => {
                let response = reply.decode::<EndTxnRequest>()?;
                ApiError::check(response.error_code, None)?;
                let (id, epoch) = (ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch));
                let bumped = response.producer_id >= 0;
                if transaction.doubt && !bumped && transaction.under_way == Some(Transact::Abort) {
                    transaction.started = false;
                    transaction.bumping = true;
                    return Ok(());
                }
                transaction.close();
                transaction.implicit = speaks_second_version(cluster, node);
                transaction.finish(Ok(()));
                if bumped {
                    self.adopt(Identity { id, epoch });
                }
            }
        }
        Ok(())
    }
}

impl Transaction {
    /// Partitions have been announced, or not.
    fn announced(&mut self, places: &[Place], reply: &Reply) -> Result<(), ClientError> {
        let response = reply.decode::<AddPartitionsToTxnRequest>()?;
        let rows =
            response.results_by_topic_v3_and_below.iter().flat_map(|topic| &topic.results_by_partition);
        let errors = rows.filter_map(|row| ApiError::from_code(row.partition_error_code, None));
        // Where one partition is refused the others were not attempted: that is not the reason.
        if let Some(error) = errors.min_by_key(|error| error.refusal == Refusal::OperationNotAttempted) {
            return Err(error.into());
        }
        self.added.extend(places.iter().copied());
        self.unannounced.retain(|place| !places.contains(place));
        self.started = true;
        Ok(())
    }

    /// What an error means: the same question once more, or the end of something.
    fn failed(&mut self, question: &Question, node: i32, error: ClientError) -> Then {
        match (question, error.refusal()) {
            (_, Some(Refusal::InvalidProducerEpoch | Refusal::ProducerFenced)) => {
                self.fail(TransactionError::Fenced);
                return Then::Over;
            }
            (Question::Coordinator, _) if error.is_retriable() => self.coordinator = Search::new(),
            (Question::GroupCoordinator, _) if error.is_retriable() => self.group_coordinator = Search::new(),
            (_, Some(Refusal::NotCoordinator | Refusal::CoordinatorNotAvailable)) => {
                self.coordinator.forget(node);
                self.group_coordinator.forget(node);
            }
            (_, None) if error.is_retriable() => {
                self.coordinator.forget(node);
                self.group_coordinator.forget(node);
            }
            (Question::Offsets, Some(Refusal::RequestTimedOut)) => self.group_coordinator.forget(node),
            _ if error.is_retriable() => {}
            _ => return self.given_up(question, error),
        }
        Then::Again
    }

    /// What an error means that does not pass.
    fn given_up(&mut self, question: &Question, error: ClientError) -> Then {
        let aborts = self.under_way == Some(Transact::Abort);
        match (question, error.refusal()) {
            // An abort that has to be aborted would go round and round.
            (_, Some(Refusal::TransactionAbortable)) if aborts => self.fail(TransactionError::Fatal(error)),
            (_, Some(refusal)) if self.stage == Stage::Open && is_abortable(question, refusal) => {
                self.doubt |= refusal == Refusal::UnknownProducerId;
                self.spoil(error);
            }
            // Nothing is open that could be aborted, but it may be tried once more.
            (
                Question::Identity,
                Some(
                    Refusal::TransactionalIdAuthorizationFailed
                    | Refusal::ClusterAuthorizationFailed
                    | Refusal::TransactionAbortable,
                ),
            ) if self.stage == Stage::New => self.finish(Err(TransactionError::Abortable(error))),
            _ => self.fail(TransactionError::Fatal(error)),
        }
        Then::Over
    }

    fn pause(&mut self, now: Now, failures: u32, wait: Duration) {
        let first = self.added.is_empty() && !self.unannounced.is_empty();
        let wait = if first { wait.min(CONCURRENT_WAIT) } else { wait };
        self.failures = failures;
        self.not_before = Some(now.after(wait));
    }
}

/// What follows on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The same question, after a pause.
    Again,
    /// Nothing: what was under way has come to its end.
    Over,
}

/// Whether the transaction may be aborted and another begun, after this answer to that question.
fn is_abortable(question: &Question, refusal: Refusal) -> bool {
    match refusal {
        Refusal::TransactionAbortable | Refusal::UnknownProducerId => true,
        Refusal::GroupAuthorizationFailed => !matches!(question, Question::Partitions(_)),
        Refusal::FencedInstanceId
        | Refusal::UnknownMemberId
        | Refusal::IllegalGeneration
        | Refusal::GroupIdNotFound
        | Refusal::StaleMemberEpoch => *question == Question::Offsets,
        Refusal::TransactionalIdAuthorizationFailed
        | Refusal::InvalidTxnState
        | Refusal::InvalidProducerIdMapping => false,
        _ => matches!(question, Question::Partitions(_)),
    }
}

fn speaks_second_version(cluster: &Cluster, node: i32) -> bool {
    cluster.broker_versions(node).is_some_and(|versions| {
        let level = versions.finalized_features.iter().find(|feature| feature.name == FEATURE);
        level.is_some_and(|feature| feature.max_version_level >= SECOND_VERSION)
    })
}
