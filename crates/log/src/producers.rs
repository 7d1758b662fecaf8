//! What a log knows of its idempotent and transactional producers (KIP-98, KIP-360, KIP-890).
//!
//! It is a function of the batches: [`Producers::check`] asks it, only appending (or replaying) changes it. Each
//! producer's last five batches are remembered, so a client with five requests in flight may repeat any of them.
//! Whether a coordinator has verified a transaction is not known here; that belongs to the partition's leader.

mod marker;
pub(crate) mod snapshot;

pub use marker::{Marker, MarkerKind, MarkerRule};

use std::collections::BTreeMap;

use ottla_protocol::batch::{BatchHeader, NO_SEQUENCE, NO_TIMESTAMP};
use ottla_protocol::{Offset, ProducerEpoch, ProducerId, Refusal};

/// Batches remembered per producer.
pub const BATCHES_REMEMBERED: usize = 5;
const NO_EPOCH: ProducerEpoch = ProducerEpoch(-1);

/// The producers of one log.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    entries: BTreeMap<ProducerId, ProducerEntry>,
    /// First offset of each open transaction, and whose it is.
    open: BTreeMap<Offset, ProducerId>,
    /// Transactions whose marker is not known to be replicated: first offset to marker.
    ended: BTreeMap<Offset, Offset>,
    /// The offset after the last batch taken in.
    end: Offset,
}

/// What is known of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Its epoch; −1 when only unknown.
    pub epoch: ProducerEpoch,
    /// Epoch of the coordinator that wrote its last marker; −1 when there was none.
    pub coordinator_epoch: i32,
    /// Timestamp of its last batch or marker, in ms.
    pub last_timestamp: i64,
    /// Where its open transaction begins.
    pub transaction_start: Option<Offset>,
    batches: [RememberedBatch; BATCHES_REMEMBERED],
    remembered: u8,
}

/// A batch as far as duplicates are concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RememberedBatch {
    /// Sequence number of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// How many offsets lie between its first and its last record.
    pub offset_delta: i32,
    /// Its latest timestamp, in ms.
    pub timestamp: i64,
}

/// Who wants to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A producer: epoch and sequence must be right.
    Client,
    /// A group coordinator on behalf of a producer: the epoch must be right.
    Coordinator,
}

/// Whether a batch may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    New,
    /// It is in the log already; this is its place. The client gets the same answer as the first time.
    Duplicate(RememberedBatch),
}

/// A transaction that a marker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Its first record.
    pub first_offset: Offset,
    /// Its marker.
    pub last_offset: Offset,
    /// How it ended.
    pub kind: MarkerKind,
}

impl Producers {
    /// Whether a batch may be appended next.
    ///
    /// # Errors
    /// Kafka's refusal: `INVALID_PRODUCER_EPOCH`, `OUT_OF_ORDER_SEQUENCE_NUMBER` or `INVALID_TXN_STATE`.
    pub fn check(&self, batch: &BatchHeader, origin: Origin) -> Result<Verdict, Refusal> {
        if !batch.has_producer_id() {
            return Ok(Verdict::New);
        }
        match self.entries.get(&batch.producer_id) {
            Some(entry) => entry.check(batch, origin),
            None => Ok(Verdict::New),
        }
    }

    /// Whether several batches may be appended, one after the other. The first duplicate decides for all.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_all<'a>(
        &self,
        batches: impl IntoIterator<Item = &'a BatchHeader>,
        origin: Origin,
    ) -> Result<Verdict, Refusal> {
        let mut changed: BTreeMap<ProducerId, ProducerEntry> = BTreeMap::new();
        for batch in batches.into_iter().filter(|batch| batch.has_producer_id()) {
            let known = changed.get(&batch.producer_id).or_else(|| self.entries.get(&batch.producer_id));
            let mut entry = known.copied().unwrap_or_default();
            if let Verdict::Duplicate(earlier) = entry.check(batch, origin)? {
                return Ok(Verdict::Duplicate(earlier));
            }
            entry.take(batch);
            changed.insert(batch.producer_id, entry);
        }
        Ok(Verdict::New)
    }

    /// Whether a transaction marker may be appended.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_EPOCH` or `TRANSACTION_COORDINATOR_FENCED`; `UNKNOWN_SERVER_ERROR` where it names no producer
    /// or no epoch, as Kafka, which cannot make a batch of it.
    pub fn check_marker(
        &self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        coordinator_epoch: i32,
        rule: MarkerRule,
    ) -> Result<(), Refusal> {
        // Kafka takes ids below −1, and then knows nothing of what it has written.
        if producer_id.0 < 0 || producer_epoch == NO_EPOCH {
            return Err(Refusal::UnknownServerError);
        }
        let entry = self.entries.get(&producer_id).copied().unwrap_or_default();
        if rule.refuses(&entry, producer_epoch) {
            return Err(Refusal::InvalidProducerEpoch);
        }
        if entry.coordinator_epoch > coordinator_epoch {
            return Err(Refusal::TransactionCoordinatorFenced);
        }
        Ok(())
    }

    /// What is known of a producer.
    #[must_use]
    pub fn get(&self, id: ProducerId) -> Option<&ProducerEntry> {
        self.entries.get(&id)
    }

    /// All producers, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// How many producers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether this producer, in this epoch, has a transaction open here.
    #[must_use]
    pub fn has_open_transaction(&self, id: ProducerId, epoch: ProducerEpoch) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.epoch == epoch && entry.transaction_start.is_some())
    }

    /// The first offset that may not be shown to a `read_committed` consumer; `None` when there is no such. A
    /// transaction counts until its marker is below the high watermark.
    #[must_use]
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let open = self.open.keys().next();
        let ended = self.ended.keys().next();
        open.into_iter().chain(ended).min().copied()
    }

    /// Where the oldest open transaction begins.
    #[must_use]
    pub fn first_open_offset(&self) -> Option<Offset> {
        self.open.keys().next().copied()
    }

    /// Timestamp of the last batch of the producer with the oldest open transaction, in ms.
    #[must_use]
    pub fn oldest_transaction_timestamp(&self) -> Option<i64> {
        let id = self.open.values().next()?;
        Some(self.entries.get(id)?.last_timestamp)
    }

    /// Markers below the high watermark are replicated.
    pub fn high_watermark_moved(&mut self, high_watermark: Offset) {
        self.ended.retain(|_, marker| *marker >= high_watermark);
    }

    /// Forgets producers that have been silent for `expiration_ms` and have no transaction open. How many is the
    /// answer.
    pub fn expire(&mut self, wall_ms: i64, expiration_ms: i64) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| !entry.is_expired(wall_ms, expiration_ms));
        before - self.entries.len()
    }

    /// The offset after the last batch that this state is made of.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// Takes in a batch that has been, or was once, appended.
    pub(crate) fn take(&mut self, batch: &BatchHeader, body: &[u8]) -> Option<EndedTransaction> {
        self.end = batch.next_offset();
        if !batch.has_producer_id() {
            return None;
        }
        if batch.is_control() {
            return Marker::parse(batch, body).and_then(|marker| self.take_marker(batch, marker));
        }
        let entry = self.entries.entry(batch.producer_id).or_default();
        let was_open = entry.transaction_start.is_some();
        entry.take(batch);
        if !was_open && entry.transaction_start.is_some() {
            self.open.insert(batch.base_offset, batch.producer_id);
        }
        None
    }

    /// What the last stable offset becomes when `ended` ends: the next open transaction of anybody else, or the offset
    /// after the marker.
    pub(crate) fn stable_after(&self, ended: &EndedTransaction) -> Offset {
        let next = self.open.iter().find(|&(_, id)| *id != ended.producer_id);
        next.map_or(ended.last_offset.plus(1), |(first, _)| *first)
    }

    fn take_marker(&mut self, batch: &BatchHeader, marker: Marker) -> Option<EndedTransaction> {
        let entry = self.entries.entry(batch.producer_id).or_default();
        let start = entry.transaction_start.take();
        entry.set_epoch(batch.producer_epoch);
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp = marker.timestamp;
        let ended = EndedTransaction {
            producer_id: batch.producer_id,
            first_offset: start?,
            last_offset: batch.base_offset,
            kind: marker.kind,
        };
        self.open.remove(&ended.first_offset);
        self.ended.insert(ended.first_offset, ended.last_offset);
        Some(ended)
    }

    /// Puts in an entry out of a snapshot.
    pub(crate) fn restore(&mut self, id: ProducerId, entry: ProducerEntry) {
        if let Some(first) = entry.transaction_start {
            self.open.insert(first, id);
        }
        self.entries.insert(id, entry);
    }

    /// Moves on over offsets that hold no batches.
    pub(crate) fn skip_to(&mut self, offset: Offset) {
        self.end = self.end.max(offset);
    }

    /// Knows nothing, at `end`.
    pub(crate) fn empty_at(end: Offset) -> Self {
        Self { end, ..Self::default() }
    }
}

impl Default for ProducerEntry {
    fn default() -> Self {
        Self {
            epoch: NO_EPOCH,
            coordinator_epoch: -1,
            last_timestamp: NO_TIMESTAMP,
            transaction_start: None,
            batches: [RememberedBatch::default(); BATCHES_REMEMBERED],
            remembered: 0,
        }
    }
}

impl ProducerEntry {
    /// The remembered batches, the latest last.
    #[must_use]
    pub fn batches(&self) -> &[RememberedBatch] {
        &self.batches[..usize::from(self.remembered)]
    }

    /// Sequence number of the last record; −1 when no batch of this epoch is remembered.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// Offset of the last record; −1 when no batch of this epoch is remembered.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.batches().last().map_or(Offset(-1), |batch| batch.last_offset)
    }

    fn check(&self, batch: &BatchHeader, origin: Origin) -> Result<Verdict, Refusal> {
        let same_epoch = batch.producer_epoch == self.epoch;
        if origin == Origin::Client && same_epoch {
            let (first, last) = (batch.base_sequence, batch.last_sequence());
            let is_it = |b: &&RememberedBatch| b.first_sequence() == first && b.last_sequence == last;
            if let Some(earlier) = self.batches().iter().find(is_it) {
                return Ok(Verdict::Duplicate(*earlier));
            }
        }
        if batch.producer_epoch < self.epoch {
            return Err(Refusal::InvalidProducerEpoch);
        }
        if origin == Origin::Client && self.epoch != NO_EPOCH {
            let expected = if same_epoch { self.next_sequence() } else { 0 };
            if batch.base_sequence != expected {
                return Err(Refusal::OutOfOrderSequenceNumber);
            }
        }
        if self.transaction_start.is_some() && !batch.is_transactional() {
            return Err(Refusal::InvalidTxnState);
        }
        Ok(Verdict::New)
    }

    fn next_sequence(&self) -> i32 {
        // After the largest the numbers begin again at 0; after none they begin at 0.
        self.last_sequence().checked_add(1).unwrap_or(0)
    }

    fn take(&mut self, batch: &BatchHeader) {
        self.remember(
            batch.producer_epoch,
            RememberedBatch {
                last_sequence: batch.last_sequence(),
                last_offset: batch.last_offset(),
                offset_delta: batch.last_offset_delta,
                timestamp: batch.max_timestamp,
            },
        );
        if batch.is_transactional() && self.transaction_start.is_none() {
            self.transaction_start = Some(batch.base_offset);
        }
    }

    fn remember(&mut self, epoch: ProducerEpoch, batch: RememberedBatch) {
        self.set_epoch(epoch);
        self.last_timestamp = batch.timestamp;
        if usize::from(self.remembered) == BATCHES_REMEMBERED {
            self.batches.rotate_left(1);
            self.remembered -= 1;
        }
        self.batches[usize::from(self.remembered)] = batch;
        self.remembered += 1;
    }

    /// Another epoch begins its sequence anew.
    fn set_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.remembered = 0;
        }
    }

    fn is_expired(&self, wall_ms: i64, expiration_ms: i64) -> bool {
        self.transaction_start.is_none() && wall_ms.saturating_sub(self.last_timestamp) >= expiration_ms
    }
}

impl RememberedBatch {
    /// Sequence number of its first record.
    #[must_use]
    pub fn first_sequence(&self) -> i32 {
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        // Below 0 lies the end of the range, for the numbers begin again at 0.
        (if first < 0 && self.last_sequence >= 0 { first + (1 << 31) } else { first }) as i32
    }

    /// Offset of its first record.
    #[must_use]
    pub fn first_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }
}

#[cfg(test)]
mod tests;
