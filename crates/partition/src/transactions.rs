//! Transactions in a partition: what may be appended to them, and their ends.
//!
//! What is in the log is known to [`ottla_log::Producers`]. Here is what only a leader knows: which producers' first
//! batch of a transaction waits for the coordinator's word that this partition belongs to it (KIP-890). Invariant: no
//! batch begins a transaction without the guard that was given out for it, and a guard is worth nothing once a batch or
//! a marker of its producer has been written.

use std::collections::BTreeMap;

use ottla_log::DiskError;
use ottla_log::producers::{Origin, ProducerEntry, Verdict};
use ottla_protocol::batch::{BatchHeader, ControlType, TransactionMarker};
use ottla_protocol::{Now, Offset, ProducerEpoch, ProducerId, Refusal, Ticket};

use crate::input::{Acks, Append, Mark, TransactionProtocol, Verify};
use crate::output::{Appended, Output, ProducerState, Reply};
use crate::partition::Partition;

/// Producers whose transactions wait for the coordinator's word at once; beyond, the one that waits longest starts over.
const VERIFICATIONS_MAX: usize = 10_000;

/// Names one verification, and no other for as long as the partition is open, so that an answer which comes after the
/// transaction has ended counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationGuard(u64);

/// The verifications under way.
#[derive(Debug, Default)]
pub struct Verifications {
    by_producer: BTreeMap<ProducerId, Verification>,
    guards_given: u64,
}

#[derive(Debug)]
struct Verification {
    guard: VerificationGuard,
    epoch: ProducerEpoch,
    /// The lowest of the epoch's sequence numbers that has been seen: when its batch is refused for a while, those behind
    /// it must not get in before it.
    lowest_sequence: i32,
    protocol: TransactionProtocol,
    since_ms: i64,
}

impl Verifications {
    /// Begins a verification, or joins the one under way.
    fn begin(&mut self, verify: &Verify, now: Now) -> VerificationGuard {
        if !self.by_producer.contains_key(&verify.producer_id) {
            self.make_room();
            self.guards_given += 1;
        }
        let guard = VerificationGuard(self.guards_given);
        let fresh = Verification {
            guard,
            epoch: verify.producer_epoch,
            lowest_sequence: verify.base_sequence,
            protocol: verify.protocol,
            since_ms: now.wall_ms,
        };
        let verification = self.by_producer.entry(verify.producer_id).or_insert(fresh);
        if verify.producer_epoch > verification.epoch {
            verification.epoch = verify.producer_epoch;
            verification.lowest_sequence = verify.base_sequence;
        } else if verify.producer_epoch == verification.epoch {
            verification.lowest_sequence = verification.lowest_sequence.min(verify.base_sequence);
        }
        verification.guard
    }

    fn make_room(&mut self) {
        if self.by_producer.len() >= VERIFICATIONS_MAX {
            let oldest = self.by_producer.iter().min_by_key(|(_, verification)| verification.guard.0);
            let oldest = oldest.map(|(&id, _)| id);
            oldest.and_then(|id| self.by_producer.remove(&id));
        }
    }

    fn is_guarded_by(&self, producer: ProducerId, guard: Option<VerificationGuard>) -> bool {
        let verification = self.by_producer.get(&producer);
        verification.is_some_and(|verification| Some(verification.guard) == guard)
    }

    /// Whether a client's batch may be the next of a producer that is being verified.
    fn check_sequence(&self, batch: &BatchHeader, known: Option<&ProducerEntry>) -> Result<(), Refusal> {
        let Some(verification) = self.by_producer.get(&batch.producer_id) else { return Ok(()) };
        let nothing_known = known.is_none_or(|entry| entry.batches().is_empty());
        let must_begin = verification.protocol == TransactionProtocol::OwnEpoch && nothing_known;
        let is_too_early = batch.base_sequence > verification.lowest_sequence;
        if is_too_early || (must_begin && batch.base_sequence != 0) {
            return Err(Refusal::OutOfOrderSequenceNumber);
        }
        Ok(())
    }

    /// A batch of the transaction is in the log: from now on the log knows.
    fn appended(&mut self, producer: ProducerId) {
        self.by_producer.remove(&producer);
    }

    /// A transaction has ended. What is being verified is its successor where that has an epoch of its own.
    fn ended(&mut self, marker: &TransactionMarker) {
        let is_next = self.by_producer.get(&marker.producer_id).is_some_and(|verification| {
            verification.protocol == TransactionProtocol::OwnEpoch
                && verification.epoch == marker.producer_epoch
        });
        if !is_next {
            self.by_producer.remove(&marker.producer_id);
        }
    }

    /// Forgets those whose producers have been silent for `expiration_ms`.
    pub fn expire(&mut self, wall_ms: i64, expiration_ms: i64) {
        self.by_producer
            .retain(|_, verification| wall_ms.saturating_sub(verification.since_ms) < expiration_ms);
    }
}

impl Partition {
    /// Whether the coordinator has to be asked before this producer's batch is appended, and under which guard.
    pub(crate) fn verify(&mut self, now: Now, verify: &Verify) -> Result<Option<VerificationGuard>, Refusal> {
        let producers = self.log.producers();
        let known = producers.get(verify.producer_id);
        if known.is_some_and(|entry| verify.producer_epoch < entry.epoch) {
            return Err(Refusal::InvalidProducerEpoch);
        }
        if producers.has_open_transaction(verify.producer_id, verify.producer_epoch) {
            return Ok(None);
        }
        Ok(Some(self.verifications.begin(verify, now)))
    }

    /// Whether a batch may be appended, as far as its producer is concerned.
    pub(crate) fn admit(&self, append: &Append) -> Result<Verdict, Refusal> {
        let header = &append.batch.header;
        let producers = self.log.producers();
        let verdict = producers.check(header, append.origin);
        match verdict {
            Ok(Verdict::Duplicate(_)) | Err(Refusal::InvalidProducerEpoch) => return verdict,
            Ok(Verdict::New) | Err(_) => {}
        }
        let begins = header.is_transactional()
            && header.has_producer_id()
            && !producers.has_open_transaction(header.producer_id, header.producer_epoch);
        if begins
            && self.settings.verifies_transactions
            && !self.verifications.is_guarded_by(header.producer_id, append.guard)
        {
            return Err(Refusal::InvalidTxnState);
        }
        if append.origin == Origin::Client && header.has_producer_id() {
            self.verifications.check_sequence(header, producers.get(header.producer_id))?;
        }
        verdict
    }

    /// Takes note of a batch that has been appended.
    pub(crate) fn note_transaction(&mut self, header: &BatchHeader) {
        if header.is_transactional() {
            self.verifications.appended(header.producer_id);
        }
    }

    /// Writes the end of a transaction, and replies when all in-sync replicas have it.
    pub(crate) fn mark(
        &mut self,
        now: Now,
        ticket: Ticket,
        mark: Mark,
        out: &mut Vec<Output>,
    ) -> Result<(), DiskError> {
        match self.try_mark(now, &mark)? {
            Err(refusal) => out.push(Output::Reply(ticket, Reply::Refused(refusal))),
            Ok(appended) => {
                let end = appended.base_offset.plus(1);
                self.acknowledge(ticket, Acks::All, (appended, end), out)?;
            }
        }
        Ok(())
    }

    fn try_mark(&mut self, now: Now, mark: &Mark) -> Result<Result<Appended, Refusal>, DiskError> {
        if let Err(refusal) = self.check_in_sync(Acks::All) {
            return Ok(Err(refusal));
        }
        let TransactionMarker { producer_id, producer_epoch, coordinator_epoch, .. } = mark.marker;
        let rule = mark.protocol.marker_rule();
        let producers = self.log.producers();
        if let Err(refusal) = producers.check_marker(producer_id, producer_epoch, coordinator_epoch, rule) {
            return Ok(Err(refusal));
        }
        let mut batch = mark.marker.batch(now.wall_ms);
        if self.stamps() {
            batch = batch.with_log_append_time(now.wall_ms);
        }
        let base_offset = match self.write(now, batch)? {
            Ok(base_offset) => base_offset,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.verifications.ended(&mark.marker);
        let committed = mark.marker.end == ControlType::Commit;
        tracing::trace!(partition = %self.id, producer = producer_id.0, committed, "a transaction has ended");
        let log_append_time_ms = self.stamps().then_some(now.wall_ms);
        Ok(Ok(Appended { base_offset, log_append_time_ms, log_start: self.log.start_offset() }))
    }

    /// The end of what no open transaction may still change, as far as it is replicated.
    #[must_use]
    pub fn last_stable(&self) -> Offset {
        let unstable = self.log.producers().first_unstable_offset();
        // Records that were deleted on demand may have been a transaction's.
        let unstable = unstable.map(|first| first.max(self.log.start_offset()));
        unstable.map_or(self.high_watermark, |first| first.min(self.high_watermark))
    }

    /// What is known of every producer.
    pub(crate) fn describe_producers(&self) -> Vec<ProducerState> {
        let describe = |(id, entry): (ProducerId, &ProducerEntry)| ProducerState {
            id,
            epoch: entry.epoch,
            last_sequence: entry.last_sequence(),
            last_timestamp_ms: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            transaction_start: entry.transaction_start,
        };
        self.log.producers().iter().map(describe).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(id: i64, epoch: i16, sequence: i32) -> Verify {
        Verify {
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: sequence,
            protocol: TransactionProtocol::SharedEpoch,
        }
    }

    fn batch(id: i64, epoch: i16, sequence: i32) -> BatchHeader {
        BatchHeader {
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: sequence,
            ..BatchHeader::default()
        }
    }

    #[test]
    fn the_lowest_sequence_of_the_latest_epoch_comes_first() {
        let mut verifications = Verifications::default();
        let now = Now::default();
        let guard = verifications.begin(&verify(7, 0, 5), now);
        assert_eq!(verifications.begin(&verify(7, 0, 3), now), guard);
        assert_eq!(verifications.begin(&verify(7, 0, 9), now), guard);
        let refused = Err(Refusal::OutOfOrderSequenceNumber);
        assert_eq!(verifications.check_sequence(&batch(7, 0, 5), None), refused);
        assert_eq!(verifications.check_sequence(&batch(7, 0, 3), None), Ok(()));
        // A later epoch begins anew; an earlier one changes nothing.
        verifications.begin(&verify(7, 1, 4), now);
        verifications.begin(&verify(7, 0, 0), now);
        assert_eq!(verifications.check_sequence(&batch(7, 1, 4), None), Ok(()));
        assert_eq!(verifications.check_sequence(&batch(7, 1, 5), None), refused);
        assert_eq!(verifications.check_sequence(&batch(8, 0, 99), None), Ok(()), "nobody verifies this one");
    }

    #[test]
    fn verifications_end_with_a_batch_a_marker_or_time_and_are_bounded() {
        let mut verifications = Verifications::default();
        let now = Now { monotonic_us: 0, wall_ms: 1000 };
        let guards: Vec<_> =
            (0..VERIFICATIONS_MAX as i64).map(|id| verifications.begin(&verify(id, 0, 0), now)).collect();
        assert!(verifications.is_guarded_by(ProducerId(0), Some(guards[0])));
        assert!(!verifications.is_guarded_by(ProducerId(0), Some(guards[1])));
        assert!(!verifications.is_guarded_by(ProducerId(0), None));
        let later = Now { wall_ms: 2000, ..now };
        let last = verifications.begin(&verify(VERIFICATIONS_MAX as i64, 0, 0), later);
        assert!(!verifications.is_guarded_by(ProducerId(0), Some(guards[0])), "the oldest made room");
        assert!(verifications.is_guarded_by(ProducerId(1), Some(guards[1])));
        verifications.appended(ProducerId(1));
        assert!(!verifications.is_guarded_by(ProducerId(1), Some(guards[1])));
        assert_ne!(verifications.begin(&verify(1, 0, 0), now), guards[1], "a guard is never given twice");
        verifications.expire(2000, 1000);
        assert!(!verifications.is_guarded_by(ProducerId(2), Some(guards[2])));
        assert!(verifications.is_guarded_by(ProducerId(VERIFICATIONS_MAX as i64), Some(last)));
        let marker = TransactionMarker {
            producer_id: ProducerId(VERIFICATIONS_MAX as i64),
            producer_epoch: ProducerEpoch(0),
            end: ControlType::Abort,
            coordinator_epoch: 0,
        };
        verifications.ended(&marker);
        assert!(!verifications.is_guarded_by(marker.producer_id, Some(last)));
    }
}
