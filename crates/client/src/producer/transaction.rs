//! Transactions of a producer: everything in one is seen by readers of committed records, or nothing.
//!
//! One question at a time goes to a coordinator. By the first version of the protocol each partition is announced before
//! it is written to; by the second (KIP-890, `transaction.version` 2) writing announces it, and each transaction has an
//! epoch of its own. After an error that can be aborted nothing is sent until the abort; where a batch may or may not
//! have been written, the epoch is bumped with it, and numbers begin anew (KIP-360).

mod answers;
mod questions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Refusal};

use crate::admin::CommittedOffset;
use crate::call::Ticket;
use crate::cluster::Cluster;
use crate::consumer::group::search::Search;
use crate::consumer::{GroupMetadata, TopicPartition};
use crate::error::ClientError;
use crate::producer::queue::Identity;
use crate::producer::{Place, Producer, State, Who};
use questions::Question;

/// Why a transaction does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Another producer has taken over the transactional id: this one must be closed.
    #[error("There is a newer producer with the same transactionalId which fences the current one.")]
    Fenced,
    /// The transaction can only be aborted; then another may begin.
    #[error("{0}")]
    Abortable(ClientError),
    /// This producer must be closed.
    #[error("{0}")]
    Fatal(ClientError),
    /// It was asked for something that cannot be at this moment; nothing has changed.
    #[error("{0}")]
    Misused(&'static str),
    /// It takes longer than `max.block.ms`; asking for the same again goes on waiting.
    #[error("{0}")]
    TimedOut(String),
}

/// What can be asked of a transactional producer, beside `begin` and `send`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transact {
    /// Takes over the transactional id and ends what was left open under it.
    Init,
    /// Commits offsets of a group as part of the transaction (KIP-447).
    Offsets(GroupMetadata, BTreeMap<TopicPartition, CommittedOffset>),
    /// Commits, when everything sent has been written.
    Commit,
    /// Aborts, and gives up what has not been sent.
    Abort,
}

/// A producer's transactions.
#[derive(Debug)]
pub(super) struct Transaction {
    id: String,
    timeout: Duration,
    stage: Stage,
    pub identity: Option<Identity>,
    /// Whether the second version of the protocol is spoken.
    implicit: bool,
    /// The coordinator knows of a transaction.
    started: bool,
    /// Partitions that the coordinator knows of, and those it has to be told of.
    added: BTreeSet<Place>,
    unannounced: BTreeSet<Place>,
    under_way: Option<Transact>,
    /// The coordinator has been told of the group whose offsets are to be committed.
    group_added: bool,
    /// Numbers are in doubt: the epoch must be bumped with the abort.
    doubt: bool,
    /// The abort is done, and the epoch is being bumped.
    bumping: bool,
    coordinator: Search,
    group_coordinator: Search,
    asked: Option<(Ticket, i32, Question)>,
    failures: u32,
    not_before: Option<Deadline>,
    ended: VecDeque<Result<(), TransactionError>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Not initialized.
    New,
    /// Between transactions.
    Ready,
    Open,
    /// There is nothing to do but to abort.
    Abortable(ClientError),
    /// Nothing can be done any more.
    Over(TransactionError),
}

impl Transaction {
    pub(super) fn new(id: String, timeout: Duration) -> Self {
        Self {
            id,
            timeout,
            stage: Stage::New,
            identity: None,
            implicit: false,
            started: false,
            added: BTreeSet::new(),
            unannounced: BTreeSet::new(),
            under_way: None,
            group_added: false,
            doubt: false,
            bumping: false,
            coordinator: Search::new(),
            group_coordinator: Search::new(),
            asked: None,
            failures: 0,
            not_before: None,
            ended: VecDeque::new(),
        }
    }

    /// The transactional id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether records may be taken.
    pub(super) fn check_open(&self) -> Result<(), ClientError> {
        let why = match (&self.stage, &self.under_way) {
            (Stage::Open, None | Some(Transact::Offsets(..))) => return Ok(()),
            (Stage::Open, _) => "Cannot send while the transaction is being completed",
            (Stage::New | Stage::Ready, _) => "Cannot send to a transaction before beginTransaction",
            (Stage::Abortable(error), _) => {
                let why = format!("Cannot send because the transaction must be aborted: {error}");
                return Err(ClientError::Invalid(why));
            }
            (Stage::Over(error), _) => {
                return Err(ClientError::Invalid(format!("The producer has failed: {error}")));
            }
        };
        Err(ClientError::Invalid(why.to_owned()))
    }

    /// A record has been put in line for a partition.
    pub(super) fn appended(&mut self, at: Place) {
        if !self.implicit && !self.added.contains(&at) {
            self.unannounced.insert(at);
        }
    }

    /// Whether batches of a partition may go out.
    pub(super) fn may_send(&self, at: Place) -> bool {
        let open = self.stage == Stage::Open && self.under_way != Some(Transact::Abort);
        open && (self.implicit || self.added.contains(&at))
    }

    /// A batch goes out.
    pub(super) fn sent(&mut self) {
        self.started |= self.implicit;
    }

    /// The versions of Produce that say which version of the protocol is meant.
    pub(super) fn produce_versions(&self) -> (i16, i16) {
        if self.implicit { (12, i16::MAX) } else { (3, 11) }
    }

    /// Whether what has not been sent is to be given up.
    fn gives_up(&self) -> bool {
        matches!(self.stage, Stage::Abortable(_) | Stage::Over(_)) || self.under_way == Some(Transact::Abort)
    }

    /// A batch has been lost, numbered or not.
    pub(super) fn lost(&mut self, error: &ClientError, numbered: bool) {
        self.doubt |= numbered;
        if self.under_way == Some(Transact::Abort) || !matches!(self.stage, Stage::Open) {
            return;
        }
        match error.refusal() {
            Some(Refusal::ProducerFenced) => self.fail(TransactionError::Fenced),
            Some(
                Refusal::ClusterAuthorizationFailed
                | Refusal::TransactionalIdAuthorizationFailed
                | Refusal::UnsupportedVersion
                | Refusal::InvalidProducerIdMapping,
            ) => self.fail(TransactionError::Fatal(error.clone())),
            _ => self.spoil(error.clone()),
        }
    }

    /// The transaction can only be aborted.
    fn spoil(&mut self, error: ClientError) {
        tracing::info!("the transaction of {} has to be aborted: {error}", self.id);
        self.stage = Stage::Abortable(error.clone());
        if matches!(self.under_way, Some(Transact::Commit | Transact::Offsets(..))) {
            self.finish(Err(TransactionError::Abortable(error)));
        }
    }

    /// Nothing goes on any more.
    fn fail(&mut self, error: TransactionError) {
        tracing::warn!("the transactional producer of {} has failed: {error}", self.id);
        self.stage = Stage::Over(error.clone());
        if self.under_way.is_some() {
            self.finish(Err(error));
        }
    }

    /// What is under way has come to its end.
    fn finish(&mut self, result: Result<(), TransactionError>) {
        self.under_way = None;
        self.group_added = false;
        (self.failures, self.not_before) = (0, None);
        self.ended.push_back(result);
    }

    /// There is no transaction any more.
    fn close(&mut self) {
        self.stage = Stage::Ready;
        self.started = false;
        self.added.clear();
        self.unannounced.clear();
        (self.doubt, self.bumping) = (false, false);
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let searches = [self.coordinator.deadline(), self.group_coordinator.deadline()];
        searches.into_iter().chain([self.not_before]).flatten().min()
    }
}

impl Producer {
    /// Begins a transaction: what is sent from now on belongs to it.
    ///
    /// # Errors
    /// The producer is not a transactional one, not initialized, or has a transaction already.
    pub fn begin(&mut self) -> Result<(), TransactionError> {
        let Some(transaction) = &mut self.transaction else { return Err(not_transactional()) };
        match &transaction.stage {
            Stage::Over(error) => Err(error.clone()),
            Stage::Ready if transaction.under_way.is_none() => {
                transaction.stage = Stage::Open;
                Ok(())
            }
            Stage::Ready | Stage::Open | Stage::Abortable(_) => {
                Err(TransactionError::Misused("A transaction is open already"))
            }
            Stage::New => Err(TransactionError::Misused("initTransactions has not been called")),
        }
    }

    /// Begins what is asked; of its end tells [`transacted`](Self::transacted). To ask for the same once more while it is
    /// under way is to wait on.
    ///
    /// # Errors
    /// It cannot be at this moment.
    pub fn transact(
        &mut self,
        now: Now,
        cluster: &mut Cluster,
        act: Transact,
    ) -> Result<(), TransactionError> {
        let Some(transaction) = &mut self.transaction else { return Err(not_transactional()) };
        if let Some(under_way) = &transaction.under_way {
            match (*under_way == act, under_way, &act) {
                (true, ..) => return Ok(()),
                // Offsets that cannot be committed need not be.
                (false, Transact::Offsets(..), Transact::Abort) => {}
                _ => {
                    let why = "Another operation of the transaction is under way";
                    return Err(TransactionError::Misused(why));
                }
            }
        }
        match (&transaction.stage, &act) {
            (Stage::Over(error), _) => return Err(error.clone()),
            (Stage::Abortable(error), Transact::Commit | Transact::Offsets(..)) => {
                return Err(TransactionError::Abortable(error.clone()));
            }
            (Stage::New, Transact::Init)
            | (Stage::Open, Transact::Offsets(..) | Transact::Commit)
            | (Stage::Open | Stage::Abortable(_), Transact::Abort) => {}
            (Stage::New, _) => {
                return Err(TransactionError::Misused("initTransactions has not been called"));
            }
            (_, Transact::Init) => {
                return Err(TransactionError::Misused("initTransactions has been called already"));
            }
            _ => return Err(TransactionError::Misused("No transaction is open")),
        }
        if act == Transact::Commit {
            self.flush();
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.under_way = Some(act);
            transaction.group_coordinator = Search::new();
        }
        self.step(now, cluster);
        Ok(())
    }

    /// The end of what was asked last, once.
    pub fn transacted(&mut self) -> Option<Result<(), TransactionError>> {
        self.transaction.as_mut()?.ended.pop_front()
    }

    /// Whether a transaction is open, or about to end. A closed producer aborts it when its records have come to their
    /// end.
    #[must_use]
    pub fn has_transaction(&self) -> bool {
        let open = |transaction: &Transaction| matches!(transaction.stage, Stage::Open | Stage::Abortable(_));
        !matches!(self.state, State::Failed(_))
            && self.transaction.as_ref().is_some_and(|open_one| open(open_one))
    }

    /// Whether it is a transactional producer.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.transaction.is_some()
    }

    /// Whatever the transaction needs now.
    pub(super) fn step_transaction(&mut self, now: Now, cluster: &mut Cluster) {
        let Some(transaction) = &mut self.transaction else { return };
        transaction.coordinator.wait_over(now);
        transaction.group_coordinator.wait_over(now);
        transaction.not_before = transaction.not_before.filter(|pause| !now.reached(*pause));
        let open = matches!(transaction.stage, Stage::Open | Stage::Abortable(_));
        let forsaken = matches!(self.state, State::Closing) && self.open.is_empty();
        if forsaken && open && transaction.under_way.is_none() {
            transaction.under_way = Some(Transact::Abort);
        }
        if transaction.gives_up() {
            let error = match &transaction.stage {
                Stage::Abortable(error) => error.clone(),
                _ => ClientError::Invalid("Failing batch since transaction was aborted".to_owned()),
            };
            self.drop_waiting(&error);
        }
        self.ask_coordinator(now, cluster);
    }

    /// A new identity holds from now on; numbers begin anew.
    fn adopt(&mut self, identity: Identity) {
        for topic in &mut self.topics.list {
            topic.queues.iter_mut().for_each(super::queue::Queue::forget_numbers);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.identity = Some(identity);
        }
        self.who = Who::Transactional(Some(identity));
    }
}

fn not_transactional() -> TransactionError {
    TransactionError::Misused(
        "Cannot use transactional methods without enabling transactions by setting the transactional.id configuration property",
    )
}

#[cfg(test)]
mod tests;
