//! EndTxn, and the end that a coordinator puts to a transaction itself.
//!
//! In the original protocol an epoch serves for many transactions, so a late request can hit the wrong one. Since
//! KIP-890 each has its own: what names the epoch before is a repetition, and is told what came of the first.

use std::sync::Arc;

use ottla_protocol::messages::{EndTxnRequest, EndTxnResponse};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal, Ticket};

use super::command::{Command, Reply};
use super::entry::{Entry, LAST_EPOCH};
use super::record::Record;
use super::state::{State, TransactionVersion};
use super::{Decided, Transactions};
use crate::decider::{Around, Decision, Outcome, Producer};
use crate::mutant::Mutant;

/// What an EndTxn comes to.
enum Verdict {
    /// The transaction ends.
    End,
    /// It has ended so already.
    Ended,
    /// No.
    Refuse(Refusal),
}

impl Transactions {
    pub(super) fn end(
        &mut self,
        around: Around<'_>,
        ticket: Ticket,
        version: TransactionVersion,
        request: EndTxnRequest,
    ) -> Decided {
        if request.transactional_id.is_empty() {
            return Decision::reply(ticket, refused(Refusal::InvalidRequest));
        }
        let Some((id, entry)) = self.entries.get_key_value(request.transactional_id.as_str()) else {
            return Decision::reply(ticket, refused(Refusal::InvalidProducerIdMapping));
        };
        let producer =
            Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) };
        let outcome = if request.committed { Outcome::Committed } else { Outcome::Aborted };
        let producer = if self.planted.has(Mutant::FencedMayEnd) { entry.producer } else { producer };
        let verdict = if version.bumps_epoch() {
            judge(entry, producer, outcome)
        } else {
            judge_original(entry, producer, outcome)
        };
        match verdict {
            Verdict::Refuse(Refusal::InvalidTxnState) if self.planted.has(Mutant::AnyEndIsTheEnd) => {
                Decision::reply(ticket, ended(version, entry.producer))
            }
            Verdict::Refuse(refusal) => Decision::reply(ticket, refused(refusal)),
            Verdict::Ended => Decision::reply(ticket, ended(version, entry.producer)),
            Verdict::End => {
                let id = Arc::clone(id);
                let Some(next_id) = self.next_id(&id, version) else {
                    return self.park(ticket, Command::End(version, request));
                };
                let prepared = self.entries[&id].prepared(outcome, version, next_id, around.now.wall_ms);
                let producer = prepared.completed(outcome, around.now.wall_ms).producer;
                let records = self.prepare(around, &id, prepared);
                Decision::write(records, ticket, ended(version, producer))
            }
        }
    }

    /// Aborts an open transaction and shuts its producer out; `None` while a producer id is lacking.
    pub(super) fn fence(&mut self, around: Around<'_>, id: &Arc<str>) -> Option<Vec<Record>> {
        let version = TransactionVersion::of(around.image);
        let next_id = self.next_id(id, version)?;
        let mut fenced = self.entries[id].fenced(version, next_id, around.now.wall_ms);
        if self.planted.has(Mutant::FencingKeepsEpoch) {
            fenced.producer = self.entries[id].producer;
        }
        Some(self.prepare(around, id, fenced))
    }

    /// The producer id that takes over after the transaction, if one is needed; `None` while there is none to give.
    #[expect(clippy::option_option, reason = "no id needed and no id there are two things")]
    fn next_id(&mut self, id: &str, version: TransactionVersion) -> Option<Option<ProducerId>> {
        let needed = version.bumps_epoch() && self.entries[id].is_exhausted();
        if needed { self.ids.take().map(Some) } else { Some(None) }
    }

    /// The decision how a transaction ends, and its end where nobody has to be told.
    fn prepare(&self, around: Around<'_>, id: &Arc<str>, prepared: Entry) -> Vec<Record> {
        let State::Prepare(outcome) = prepared.state else { unreachable!("it has just been prepared") };
        let completed =
            prepared.partitions.is_empty().then(|| prepared.completed(outcome, around.now.wall_ms));
        let steps = std::iter::once(prepared).chain(completed);
        steps.map(|step| super::changed(around, id, step)).collect()
    }
}

/// The original protocol.
fn judge_original(entry: &Entry, producer: Producer, outcome: Outcome) -> Verdict {
    if entry.producer.id != producer.id {
        return Verdict::Refuse(Refusal::InvalidProducerIdMapping);
    }
    // Only the coordinator bumps epochs: a client's higher one is as wrong as a lower one (KAFKA-9600).
    if entry.producer.epoch != producer.epoch {
        return Verdict::Refuse(Refusal::ProducerFenced);
    }
    match entry.state {
        State::Ongoing => Verdict::End,
        State::Complete(before) if before == outcome => Verdict::Ended,
        State::Prepare(before) if before == outcome => Verdict::Refuse(Refusal::ConcurrentTransactions),
        State::Complete(_) | State::Prepare(_) | State::Empty => invalid(entry, outcome),
    }
}

/// Since KIP-890.
fn judge(entry: &Entry, producer: Producer, outcome: Outcome) -> Verdict {
    let current = entry.producer;
    let repeats_overflow =
        entry.previous_id == producer.id && producer.epoch == LAST_EPOCH && current.epoch == ProducerEpoch(0);
    let repeats_bump = i32::from(current.epoch.0) == i32::from(producer.epoch.0) + 1;
    if current.id != producer.id && !repeats_overflow {
        return Verdict::Refuse(Refusal::InvalidProducerIdMapping);
    }
    let same = current.epoch == producer.epoch;
    let known = match entry.state {
        State::Ongoing | State::Empty => same,
        State::Prepare(_) => repeats_bump,
        State::Complete(_) => same || repeats_bump || repeats_overflow,
    };
    if !known {
        return Verdict::Refuse(Refusal::ProducerFenced);
    }
    let is_retry = repeats_bump || repeats_overflow;
    match (entry.state, outcome) {
        (State::Ongoing, _) => Verdict::End,
        (State::Prepare(before), _) if before == outcome => Verdict::Refuse(Refusal::ConcurrentTransactions),
        (State::Complete(before), _) if is_retry && before == outcome => Verdict::Ended,
        // The client does not know whether anything was added: it may abort to be sure of its epoch.
        (State::Complete(_), Outcome::Aborted) if !is_retry => Verdict::End,
        (State::Empty, Outcome::Aborted) => Verdict::End,
        _ => invalid(entry, outcome),
    }
}

fn invalid(entry: &Entry, outcome: Outcome) -> Verdict {
    tracing::debug!(state = entry.state.name(), ?outcome, "a transaction cannot end so");
    Verdict::Refuse(Refusal::InvalidTxnState)
}

/// The answer to who may go on as `producer`; the original protocol does not name it.
fn ended(version: TransactionVersion, producer: Producer) -> Reply {
    let response = if version.bumps_epoch() {
        EndTxnResponse { producer_id: producer.id.0, producer_epoch: producer.epoch.0, ..Default::default() }
    } else {
        EndTxnResponse::default()
    };
    Reply::End(response)
}

pub(super) fn refused(refusal: Refusal) -> Reply {
    Reply::End(EndTxnResponse { error_code: refusal.code(), ..Default::default() })
}
