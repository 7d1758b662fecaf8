//! What is known of one transactional id, and the steps that it may take.
//!
//! A step makes a new entry out of the old one; whether it may be taken is decided elsewhere. Invariant: with every
//! step `previous_id` becomes the producer id before it, as in Apache Kafka.

use std::collections::BTreeSet;

use ottla_protocol::{ProducerEpoch, ProducerId};

use super::state::{State, TransactionVersion};
use crate::decider::{Outcome, Producer};

/// No epoch: the producer has not been initialized, or no earlier epoch counts.
pub const NO_EPOCH: ProducerEpoch = ProducerEpoch(-1);

/// The last epoch that a client is given. One more is left for fencing it.
pub const LAST_EPOCH: ProducerEpoch = ProducerEpoch(i16::MAX - 1);

/// Partitions by name: a topic's name and the partition's number. A transaction outlives no topic of its name.
pub type Partitions = BTreeSet<(String, i32)>;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The producer that may write.
    pub producer: Producer,
    /// The producer id before the last step.
    pub previous_id: ProducerId,
    /// The producer id that takes over when the transaction has ended, or none.
    pub next_id: ProducerId,
    /// The epoch before the last bump, if its owner may still repeat what bumped it (KIP-360). It is not in the log.
    pub last_epoch: ProducerEpoch,
    /// How long a transaction may be open; the greatest number means for ever (KIP-939).
    pub timeout_ms: i32,
    /// Where the transaction stands.
    pub state: State,
    /// What takes part in it.
    pub partitions: Partitions,
    /// When it began, on the wall clock; −1 for none.
    pub start_ms: i64,
    /// When the last step was taken, on the wall clock.
    pub update_ms: i64,
    /// How the client spoke when it took part last.
    pub version: TransactionVersion,
}

impl Entry {
    /// An id nobody has asked for before, with its first producer.
    #[must_use]
    pub fn first(id: ProducerId, timeout_ms: i32, now_ms: i64) -> Self {
        let unborn = Self {
            producer: Producer { id, epoch: NO_EPOCH },
            previous_id: ProducerId::NONE,
            next_id: ProducerId::NONE,
            last_epoch: NO_EPOCH,
            timeout_ms,
            state: State::Empty,
            partitions: Partitions::new(),
            start_ms: -1,
            update_ms: now_ms,
            version: TransactionVersion::V0,
        };
        unborn.initialized(Producer { id, epoch: ProducerEpoch(0) }, NO_EPOCH, timeout_ms, now_ms)
    }

    /// Whether the producer has used up its epochs.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.producer.epoch >= LAST_EPOCH
    }

    /// When an open transaction is to be aborted, on the wall clock.
    #[must_use]
    pub fn times_out_ms(&self) -> Option<i64> {
        let limited = self.state == State::Ongoing && self.timeout_ms != i32::MAX;
        limited.then(|| self.start_ms.saturating_add(i64::from(self.timeout_ms)))
    }

    /// The producer begins anew as `producer`.
    #[must_use]
    pub fn initialized(
        &self,
        producer: Producer,
        last_epoch: ProducerEpoch,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Self {
        Self {
            producer,
            last_epoch,
            timeout_ms,
            partitions: Partitions::new(),
            start_ms: -1,
            ..self.stepped(State::Empty, now_ms)
        }
    }

    /// More partitions take part; the first ones open the transaction.
    #[must_use]
    pub fn joined(&self, partitions: Partitions, version: TransactionVersion, now_ms: i64) -> Self {
        let mut next = Self { version, ..self.stepped(State::Ongoing, now_ms) };
        next.partitions.extend(partitions);
        if self.state != State::Ongoing {
            next.start_ms = now_ms;
        }
        next
    }

    /// It is decided how the transaction ends. `next_id` is given where the epochs are used up.
    #[must_use]
    pub fn prepared(
        &self,
        outcome: Outcome,
        version: TransactionVersion,
        next_id: Option<ProducerId>,
        now_ms: i64,
    ) -> Self {
        let mut next = Self {
            version,
            next_id: next_id.unwrap_or(ProducerId::NONE),
            ..self.stepped(State::Prepare(outcome), now_ms)
        };
        if version.bumps_epoch() {
            next.last_epoch = self.producer.epoch;
            next.producer.epoch = bumped(self.producer.epoch);
        }
        if self.state != State::Ongoing {
            // Nothing was added, yet the end of a transaction has a beginning.
            next.start_ms = now_ms;
        }
        next
    }

    /// The producer of an open transaction is shut out of it, and the transaction is aborted.
    #[must_use]
    pub fn fenced(&self, version: TransactionVersion, next_id: Option<ProducerId>, now_ms: i64) -> Self {
        if version.bumps_epoch() {
            return self.prepared(Outcome::Aborted, version, next_id, now_ms);
        }
        let epoch = bumped(self.producer.epoch);
        let shut_out =
            Self { producer: Producer { epoch, ..self.producer }, last_epoch: NO_EPOCH, ..self.clone() };
        shut_out.prepared(Outcome::Aborted, TransactionVersion::V0, None, now_ms)
    }

    /// Every marker is written.
    #[must_use]
    pub fn completed(&self, outcome: Outcome, now_ms: i64) -> Self {
        let rotates = self.version.bumps_epoch() && self.next_id != ProducerId::NONE;
        let producer =
            if rotates { Producer { id: self.next_id, epoch: ProducerEpoch(0) } } else { self.producer };
        Self {
            producer,
            next_id: ProducerId::NONE,
            partitions: Partitions::new(),
            ..self.stepped(State::Complete(outcome), now_ms)
        }
    }

    fn stepped(&self, state: State, now_ms: i64) -> Self {
        Self { previous_id: self.producer.id, state, update_ms: now_ms, ..self.clone() }
    }
}

/// The next epoch. The greatest one has none: it stays, so that even a broken state can be aborted.
fn bumped(epoch: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch(epoch.0.saturating_add(1))
}
