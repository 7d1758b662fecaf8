//! InitProducerId with a transactional id: a producer takes the id over, and whoever had it is fenced (KIP-98, KIP-360).

use std::sync::Arc;

use ottla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal, Ticket};

use super::command::{Command, Reply};
use super::entry::{Entry, LAST_EPOCH, NO_EPOCH};
use super::record::ID_LEN_MAX;
use super::settings::{Settings, TwoPhaseCommit};
use super::state::State;
use super::{Decided, Transactions};
use crate::decider::{Around, Decision, Producer};
use crate::mutant::Mutant;

/// What an initialization comes to.
enum Verdict {
    /// The entry as it is to be, and its producer is the answer.
    Step(Entry),
    /// The id of the producer is used up: a new one is needed. The epoch is to be remembered as the last one.
    Rotate(ProducerEpoch),
    /// A transaction is open: it is aborted first, and the client asks again.
    Fence,
    /// No.
    Refuse(Refusal),
}

impl Transactions {
    pub(super) fn init(
        &mut self,
        around: Around<'_>,
        ticket: Ticket,
        request: InitProducerIdRequest,
    ) -> Decided {
        let timeout_ms = match timeout(&self.settings, &request) {
            Ok(timeout_ms) => timeout_ms,
            Err(refusal) => return Decision::reply(ticket, refused(refusal)),
        };
        let expected = match expected(&request) {
            Ok(expected) => expected,
            Err(refusal) => return Decision::reply(ticket, refused(refusal)),
        };
        let name = request.transactional_id.as_deref().unwrap_or_default();
        let now_ms = around.now.wall_ms;
        let Some((id, entry)) = self.entries.get_key_value(name) else {
            let id: Arc<str> = Arc::from(name);
            return match self.ids.take() {
                Some(producer_id) => {
                    self.initialize(around, ticket, &id, Entry::first(producer_id, timeout_ms, now_ms))
                }
                None => self.park(ticket, Command::InitProducerId(request)),
            };
        };
        let (id, entry) = (Arc::clone(id), entry);
        let bumped = ProducerEpoch(entry.producer.epoch.0.saturating_add(1));
        match judge(entry, expected, timeout_ms, now_ms) {
            Verdict::Refuse(Refusal::ConcurrentTransactions) if self.planted.has(Mutant::InitDoesNotWait) => {
                let next = Producer { epoch: bumped, ..entry.producer };
                let next = entry.initialized(next, NO_EPOCH, timeout_ms, now_ms);
                self.initialize(around, ticket, &id, next)
            }
            Verdict::Step(next) if self.planted.has(Mutant::InitKeepsEpoch) => {
                let next = Entry { producer: entry.producer, ..next };
                self.initialize(around, ticket, &id, next)
            }
            Verdict::Step(next) => self.initialize(around, ticket, &id, next),
            Verdict::Rotate(last_epoch) => {
                let Some(producer_id) = self.ids.take() else {
                    return self.park(ticket, Command::InitProducerId(request));
                };
                let producer = Producer { id: producer_id, epoch: ProducerEpoch(0) };
                let next = self.entries[&id].initialized(producer, last_epoch, timeout_ms, now_ms);
                self.initialize(around, ticket, &id, next)
            }
            Verdict::Fence => match self.fence(around, &id) {
                Some(records) => Decision::write(records, ticket, refused(Refusal::ConcurrentTransactions)),
                None => self.park(ticket, Command::InitProducerId(request)),
            },
            Verdict::Refuse(refusal) => Decision::reply(ticket, refused(refusal)),
        }
    }

    fn initialize(&self, around: Around<'_>, ticket: Ticket, id: &Arc<str>, next: Entry) -> Decided {
        let Producer { id: producer_id, epoch } = next.producer;
        let response = InitProducerIdResponse {
            producer_id: producer_id.0,
            producer_epoch: epoch.0,
            ..Default::default()
        };
        Decision::write(vec![super::changed(around, id, next)], ticket, Reply::InitProducerId(response))
    }
}

/// The timeout that the transactions of this producer will have.
fn timeout(settings: &Settings, request: &InitProducerIdRequest) -> Result<i32, Refusal> {
    let name = request.transactional_id.as_deref().unwrap_or_default();
    if name.is_empty() || name.len() > ID_LEN_MAX {
        return Err(Refusal::InvalidRequest);
    }
    if request.enable2_pc && settings.two_phase_commit == TwoPhaseCommit::Disabled {
        return Err(Refusal::TransactionalIdAuthorizationFailed);
    }
    if request.keep_prepared_txn {
        // Apache Kafka 4.4 knows the field and does not serve it yet (KIP-939).
        return Err(Refusal::UnsupportedVersion);
    }
    match request.transaction_timeout_ms {
        _ if request.enable2_pc => Ok(i32::MAX),
        timeout_ms if (1..=settings.max_timeout_ms).contains(&timeout_ms) => Ok(timeout_ms),
        _ => Err(Refusal::InvalidTransactionTimeout),
    }
}

/// The producer that the client believes to be; who has an id has an epoch.
fn expected(request: &InitProducerIdRequest) -> Result<Option<Producer>, Refusal> {
    let expected =
        Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) };
    match (expected.id == ProducerId::NONE, expected.epoch == NO_EPOCH) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(expected)),
        _ => Err(Refusal::InvalidRequest),
    }
}

fn judge(entry: &Entry, expected: Option<Producer>, timeout_ms: i32, now_ms: i64) -> Verdict {
    if expected.is_some_and(|expected| !may_be(entry, expected)) {
        return Verdict::Refuse(Refusal::ProducerFenced);
    }
    match entry.state {
        State::Prepare(_) => Verdict::Refuse(Refusal::ConcurrentTransactions),
        // Apache Kafka looks at the id alone here, and so lets a fenced producer abort the transaction of another.
        State::Ongoing if expected.is_some_and(|expected| expected != entry.producer) => {
            Verdict::Refuse(Refusal::ProducerFenced)
        }
        State::Ongoing => Verdict::Fence,
        State::Empty | State::Complete(_) => {
            let current = entry.producer;
            if expected.is_some_and(|expected| is_retry(entry, expected)) {
                // What it asks for has been done already. Another producer would have wiped the last epoch out.
                let mut same = entry.initialized(current, entry.last_epoch, timeout_ms, now_ms);
                same.previous_id = entry.previous_id;
                return Verdict::Step(same);
            }
            let last_epoch = expected.map_or(NO_EPOCH, |_| current.epoch);
            match expected {
                Some(expected) if expected.epoch != current.epoch => Verdict::Refuse(Refusal::ProducerFenced),
                _ if entry.is_exhausted() => Verdict::Rotate(last_epoch),
                _ => {
                    let next = Producer { epoch: ProducerEpoch(current.epoch.0 + 1), ..current };
                    Verdict::Step(entry.initialized(next, last_epoch, timeout_ms, now_ms))
                }
            }
        }
    }
}

/// Whether a client with this producer may go on: it has the id, or had it until its epochs were used up.
fn may_be(entry: &Entry, expected: Producer) -> bool {
    expected.id == entry.producer.id || (expected.id == entry.previous_id && expected.epoch >= LAST_EPOCH)
}

/// Whether the client has not heard what it has been given.
fn is_retry(entry: &Entry, expected: Producer) -> bool {
    expected.epoch != entry.producer.epoch && expected.epoch == entry.last_epoch
}

pub(super) fn refused(refusal: Refusal) -> Reply {
    Reply::InitProducerId(InitProducerIdResponse {
        error_code: refusal.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    })
}
