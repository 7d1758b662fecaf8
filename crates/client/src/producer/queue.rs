//! The records of one partition on their way: the batch being filled, those that wait, and the sequence numbers that
//! keep retries from repeating or reordering them.
//!
//! Invariant: batches stand in the order of their ids, and of two batches under way the earlier has the earlier sequence.
//! After a loss (`gap`) nothing new is numbered until every numbered batch has come to its end; only then is it certain
//! what the broker has, and the partition goes on under the next epoch, from sequence 0.

use std::collections::VecDeque;

use ottla_protocol::batch::{BatchBuilder, PackedBatch, sequence_after};
use ottla_protocol::time::Deadline;
use ottla_protocol::{ProducerEpoch, ProducerId};

use crate::producer::delivery::BatchId;

/// Who a producer is to the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
}

/// A batch that still takes records.
#[derive(Debug)]
pub(super) struct Filling {
    pub id: BatchId,
    pub builder: BatchBuilder,
    pub created: Deadline,
    /// Bytes taken from `buffer.memory`.
    pub charged: usize,
}

/// A batch that waits to be sent, or to be sent again.
#[derive(Debug)]
pub(super) struct Waiting {
    pub key: BatchKey,
    pub count: i32,
    pub batch: PackedBatch,
    /// Who it was numbered by, and its first number, once it has been sent.
    pub sequence: Option<(Identity, i32)>,
    pub created: Deadline,
    pub charged: usize,
    pub attempts: u32,
    pub not_before: Option<Deadline>,
    /// The leader of the last attempt: a new one may be tried at once.
    pub last_leader: Option<(i32, i32)>,
}

/// A batch, or the part of a divided one that begins with the record at this index.
pub(super) type BatchKey = (BatchId, i32);

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub filling: Option<Filling>,
    pub waiting: VecDeque<Waiting>,
    /// Batches that have been sent and not been answered, in order.
    pub in_flight: Vec<BatchKey>,
    pub sequences: Sequences,
}

/// The numbers of one partition.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    identity: Option<Identity>,
    /// An id whose epochs are used up for this partition.
    worn_out: Option<ProducerId>,
    /// For the next new batch.
    next: i32,
    /// The number after the last that the broker has acknowledged.
    acknowledged: i32,
    /// The broker has acknowledged a batch under this identity. Until then one batch is sent at a time: a broker that does
    /// not know a producer takes any number from it, so a second batch could get in before a refused first.
    proven: bool,
    /// A numbered batch was lost, so the broker may wait for numbers that will never come.
    gap: bool,
}

/// What the numbers allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Nothing,
    /// The waiting batch at this place.
    Waiting(usize),
    /// The batch that is being filled.
    Filling,
    /// First an identity, for there is none or its epochs are used up.
    Identity,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.filling.is_none() && self.waiting.is_empty()
    }

    /// Batches that wait, for the partitioner.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.filling.is_some())
    }

    /// What may be sent next as far as order goes; `identity` is the producer's, if sequence numbers are wanted.
    pub(super) fn next(&mut self, identity: Option<Option<Identity>>) -> Next {
        if self.is_empty() {
            return Next::Nothing;
        }
        let Some(identity) = identity else {
            return if self.waiting.is_empty() { Next::Filling } else { Next::Waiting(0) };
        };
        if let Some(place) = self.waiting.iter().position(|waiting| waiting.sequence.is_some()) {
            // A numbered batch is sent again only as the earliest of all that are open.
            let earliest = self.in_flight.iter().all(|key| *key > self.waiting[place].key);
            return if earliest { Next::Waiting(place) } else { Next::Nothing };
        }
        if self.sequences.gap {
            if !self.in_flight.is_empty() {
                return Next::Nothing;
            }
            self.sequences.close_gap();
        }
        if self.sequences.identity.is_none() {
            self.sequences.adopt(identity);
        }
        if !self.sequences.proven && !self.in_flight.is_empty() {
            return Next::Nothing;
        }
        match (self.sequences.identity, self.waiting.is_empty()) {
            (None, _) => Next::Identity,
            (Some(_), true) => Next::Filling,
            (Some(_), false) => Next::Waiting(0),
        }
    }

    /// A new identity: numbers begin anew. Nothing that is numbered waits or is under way.
    pub(super) fn forget_numbers(&mut self) {
        self.sequences = Sequences::default();
    }

    /// Puts a batch back where its id belongs.
    pub(super) fn put_back(&mut self, batch: Waiting) {
        let place = self.waiting.partition_point(|waiting| waiting.key < batch.key);
        self.waiting.insert(place, batch);
    }

    /// Whether a batch older than this one is still open.
    pub(super) fn has_open_before(&self, key: BatchKey) -> bool {
        let numbered = self.waiting.iter().any(|waiting| waiting.sequence.is_some() && waiting.key < key);
        numbered || self.in_flight.iter().any(|open| *open < key)
    }
}

impl Sequences {
    /// Numbers a batch of `count` records.
    ///
    /// # Panics
    /// When there is no identity; `Queue::next` sees to it.
    pub(super) fn take(&mut self, count: i32) -> (Identity, i32) {
        let identity = self.identity.expect("a batch is numbered under an identity");
        let first = self.next;
        self.next = sequence_after(first, count);
        (identity, first)
    }

    /// The broker has this batch.
    pub(super) fn acknowledge(&mut self, (identity, first): (Identity, i32), count: i32) {
        if self.identity == Some(identity) {
            self.acknowledged = sequence_after(first, count);
            self.proven = true;
        }
    }

    /// A numbered batch will not be sent again.
    pub(super) fn lose(&mut self) {
        self.gap = true;
    }

    fn adopt(&mut self, identity: Option<Identity>) {
        self.identity = identity.filter(|identity| Some(identity.id) != self.worn_out);
        (self.next, self.acknowledged, self.proven) = (0, 0, false);
    }

    /// Every numbered batch has ended: if some are missing, go on under the next epoch, which begins at 0 (KIP-360). The
    /// brokers keep epochs by partition, so the others need not follow.
    fn close_gap(&mut self) {
        self.gap = false;
        if self.acknowledged == self.next {
            return;
        }
        let old = self.identity.take();
        self.worn_out = old.map(|old| old.id);
        self.identity = old.and_then(|old| {
            let epoch = old.epoch.0.checked_add(1).filter(|epoch| *epoch < i16::MAX)?;
            Some(Identity { epoch: ProducerEpoch(epoch), ..old })
        });
        (self.next, self.acknowledged, self.proven) = (0, 0, false);
    }
}
