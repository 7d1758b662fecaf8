//! A producer as a value: records go into batches by partition, batches go to leaders, and every record has an end.
//!
//! It stands on a [`Cluster`](crate::Cluster) that its owner keeps: `send` takes a record, `step` and `done` move things
//! on, `delivered` tells what became of records. Idempotence is on by default: no retry repeats or reorders records of
//! a partition.
//! Nothing waits in here: where Java's `send` would block, this one says what is lacking.

mod answer;
mod delivery;
mod queue;
mod sender;
mod settings;
mod topic;
mod transaction;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ottla_protocol::batch::{Attributes, BatchFields, Header, RecordParts};
use ottla_protocol::compression::Codecs;
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Refusal};

pub use delivery::{BatchId, Delivered, Lack, Lost, Placed, Sent, Stir, Unsent};
pub use settings::{Acks, ProducerSettings};
pub use transaction::{Transact, TransactionError};

use crate::call::Ticket;
use crate::error::{ApiError, ClientError};
use crate::metadata::Metadata;
use crate::partitioner::partition_of_key;
use crate::producer::queue::{BatchKey, Identity, Waiting};
use crate::producer::sender::Request;
use crate::producer::topic::Topic;
use crate::producer::transaction::Transaction;
use crate::random::Random;

/// A record as it is given to a producer.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// Where to.
    pub topic: &'a str,
    /// The partition; `None` leaves it to the key, or to the partitioner.
    pub partition: Option<i32>,
    /// In ms; `None` is now.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [Header],
}

/// What a producer has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records taken.
    pub records: u64,
    /// Records delivered.
    pub delivered: u64,
    /// Records lost.
    pub lost: u64,
    /// Batches sent, retries included.
    pub batches: u64,
    /// Bytes of those batches.
    pub bytes: u64,
    /// Batches sent again.
    pub retries: u64,
    /// Requests sent.
    pub requests: u64,
}

/// A producer's side of everything.
pub struct Producer {
    settings: ProducerSettings,
    random: Random,
    codecs: Codecs,
    topics: Topics,
    memory: Memory,
    who: Who,
    requests: BTreeMap<Ticket, Request>,
    nodes: BTreeMap<i32, Node>,
    /// Every batch, or part of one, that has not ended.
    open: BTreeSet<BatchKey>,
    next_batch: u64,
    /// Batches up to this one are sent without waiting for more records.
    hurry: Option<BatchId>,
    /// When `step` wants to be called.
    wake: Option<Deadline>,
    state: State,
    delivered: VecDeque<Delivered>,
    counters: Counters,
    /// Its transactions, where `transactional.id` is set.
    transaction: Option<Box<Transaction>>,
}

/// A queue: the places of its topic and its partition in the producer's lists.
type Place = (usize, usize);

/// The topics that have been sent to.
#[derive(Debug, Default)]
struct Topics {
    list: Vec<Topic>,
    by_name: BTreeMap<Arc<str>, usize>,
    /// Topics whose metadata is still to be asked for.
    unwatched: BTreeSet<usize>,
    /// Topic and partition of every queue with something in it.
    busy: BTreeSet<Place>,
}

#[derive(Debug, Default)]
struct Memory {
    used: usize,
    /// Somebody waits for memory: send what there is.
    short: bool,
}

/// The producer's identity among the brokers.
#[derive(Debug)]
enum Who {
    /// Not an idempotent producer.
    Nobody,
    /// An identity is wanted, from this moment on.
    Wanted { not_before: Option<Deadline>, failures: u32 },
    /// It has been asked for.
    Asked { ticket: Ticket, failures: u32 },
    /// This one.
    Known(Identity),
    /// The one that the transaction coordinator gave, once it has.
    Transactional(Option<Identity>),
}

/// What matters about a broker.
#[derive(Debug, Default)]
struct Node {
    requests: usize,
    /// The broker asked for a pause (KIP-219).
    not_before: Option<Deadline>,
    /// Where the last request stopped, so that every partition has its turn.
    resume_at: Place,
}

#[derive(Debug)]
enum State {
    Open,
    Closing,
    /// Nothing can be sent any more, and this is why.
    Failed(ClientError),
}

impl Producer {
    /// A producer that has sent nothing. `seed` decides its choice of partitions.
    #[must_use]
    pub fn new(settings: ProducerSettings, seed: u64) -> Self {
        let wanted = Who::Wanted { not_before: None, failures: 0 };
        let transaction = settings.transactional_id.clone();
        let transaction = transaction.map(|id| Box::new(Transaction::new(id, settings.transaction_timeout)));
        Self {
            who: match (&transaction, settings.idempotence) {
                (Some(_), _) => Who::Transactional(None),
                (None, true) => wanted,
                (None, false) => Who::Nobody,
            },
            transaction,
            settings,
            random: Random::new(seed),
            codecs: Codecs::new(),
            topics: Topics::default(),
            memory: Memory::default(),
            requests: BTreeMap::new(),
            nodes: BTreeMap::new(),
            open: BTreeSet::new(),
            next_batch: 0,
            hurry: None,
            wake: None,
            state: State::Open,
            delivered: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &ProducerSettings {
        &self.settings
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes a record.
    ///
    /// # Errors
    /// [`Unsent::Later`] until metadata or memory is there (the next `step` asks for metadata and sends what waits);
    /// otherwise the record is one that no broker would take, or the producer has come to its end.
    pub fn send(&mut self, now: Now, metadata: &Metadata, record: &NewRecord<'_>) -> Result<Sent, Unsent> {
        match &self.state {
            State::Open => {}
            State::Closing => return Err(Unsent::Never(ClientError::Closed)),
            State::Failed(error) => return Err(Unsent::Never(error.clone())),
        }
        if let Some(transaction) = &self.transaction {
            transaction.check_open().map_err(Unsent::Never)?;
        }
        let place = self.topics.place(record.topic, &self.settings);
        if !self.topics.list[place].is_known(metadata)? {
            self.topics.unwatched.insert(place);
            return Err(Unsent::Later(Lack::Metadata));
        }
        let parts = RecordParts {
            timestamp: record.timestamp.unwrap_or(now.wall_ms),
            key: record.key,
            value: record.value,
            headers: record.headers.into(),
        };
        let size = self.check_size(&parts)?;
        if self.memory.used.saturating_add(size) > self.settings.buffer_memory {
            self.memory.short = true;
            return Err(Unsent::Later(Lack::Memory));
        }
        let partition = self.partition(place, record, metadata)?;
        Ok(self.append(now, (place, partition), &parts, size, record.partition.is_none()))
    }

    /// Makes everything sent so far go out without waiting for more; see [`is_flushed`](Self::is_flushed).
    pub fn flush(&mut self) -> BatchId {
        let last = BatchId(self.next_batch);
        self.hurry = Some(last);
        last
    }

    /// Whether every batch up to this one has come to its end.
    #[must_use]
    pub fn is_flushed(&self, last: BatchId) -> bool {
        self.open.first().is_none_or(|(batch, _)| *batch >= last)
    }

    /// Takes no more records and sends what there is; see [`is_idle`](Self::is_idle).
    pub fn close(&mut self) {
        if matches!(self.state, State::Open) {
            self.state = State::Closing;
        }
        self.flush();
    }

    /// Whether it takes no records any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !matches!(self.state, State::Open)
    }

    /// Whether no record waits or is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Gives up everything that is not delivered yet.
    pub fn abort(&mut self, error: &ClientError) {
        self.state = State::Failed(error.clone());
        self.drop_all(error);
    }

    /// The next batch that has come to its end.
    pub fn delivered(&mut self) -> Option<Delivered> {
        self.delivered.pop_front()
    }

    fn check_size(&self, parts: &RecordParts<'_>) -> Result<usize, Unsent> {
        let cost = parts.size_at_most();
        let size = cost + ottla_protocol::batch::HEADER_LEN;
        let (limit, key) = if size > self.settings.max_request_size {
            (self.settings.max_request_size, "max.request.size")
        } else if size > self.settings.buffer_memory {
            (self.settings.buffer_memory, "buffer.memory")
        } else {
            return Ok(cost);
        };
        let message = format!(
            "The message is {size} bytes when serialized which is larger than {limit}, which is the value of the {key} configuration."
        );
        let refusal = Refusal::MessageTooLarge;
        Err(Unsent::Never(ClientError::Refused(ApiError { refusal, message: Some(message) })))
    }

    fn partition(
        &mut self,
        place: usize,
        record: &NewRecord<'_>,
        metadata: &Metadata,
    ) -> Result<usize, Unsent> {
        let topic = &mut self.topics.list[place];
        let count = topic.queues.len();
        if let Some(partition) = record.partition {
            return usize::try_from(partition).ok().filter(|partition| *partition < count).ok_or_else(|| {
                Unsent::Never(ClientError::Invalid(format!(
                    "Invalid partition given with record: {partition} is not in the range [0...{count})."
                )))
            });
        }
        match record.key.filter(|_| !self.settings.ignore_keys) {
            Some(key) => Ok(partition_of_key(key, count)),
            None => Ok(topic.stick(metadata, &mut self.random, &self.settings)),
        }
    }

    fn append(
        &mut self,
        now: Now,
        (place, partition): Place,
        parts: &RecordParts<'_>,
        size: usize,
        sticky: bool,
    ) -> Sent {
        let topic = &mut self.topics.list[place];
        let mut stir = Stir::Calm;
        let cost = topic.cost_of(partition, parts);
        if topic.is_full_for(partition, cost, &self.settings) {
            topic.pack(partition, &self.settings, &mut self.codecs);
            stir = Stir::Due;
        }
        if topic.queues[partition].filling.is_none() {
            let id = BatchId(self.next_batch);
            self.next_batch += 1;
            self.open.insert((id, 0));
            let created = Deadline(now.monotonic_us);
            topic.begin(partition, id, created, &self.settings);
            let lingers = self.lingers(created);
            self.wake = Some(self.wake.map_or(lingers, |wake| wake.min(lingers)));
            stir = Stir::Due;
        }
        let topic = &mut self.topics.list[place];
        let (batch, index) = topic.append(partition, parts, size);
        if topic.is_full_for(partition, 1, &self.settings) {
            topic.pack(partition, &self.settings, &mut self.codecs);
            stir = Stir::Due;
        }
        if sticky {
            let done = topic.queues[partition].filling.is_none();
            topic.sticky.appended(partition, cost, done);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.appended((place, partition));
        }
        self.topics.busy.insert((place, partition));
        self.memory.used += size;
        self.counters.records += 1;
        Sent { batch, index, partition: partition as i32, stir }
    }

    /// Tells the end of a batch, and frees what it held.
    fn end(&mut self, (place, partition): Place, batch: &Waiting, outcome: Result<Placed, Lost>) {
        self.open.remove(&batch.key);
        self.memory.used = self.memory.used.saturating_sub(batch.charged);
        self.memory.short = false;
        let count = u64::try_from(batch.count).unwrap_or(0);
        match &outcome {
            Ok(_) => self.counters.delivered += count,
            Err(lost) => {
                self.counters.lost += count;
                if let Some(transaction) = &mut self.transaction {
                    transaction.lost(&lost.error, batch.sequence.is_some());
                }
            }
        }
        let (id, first_index) = batch.key;
        self.delivered.push_back(Delivered {
            batch: id,
            first_index,
            count: batch.count,
            topic: self.topics.list[place].name.clone(),
            partition: partition as i32,
            outcome,
        });
    }

    /// Loses every batch that waits or is under way.
    fn drop_all(&mut self, error: &ClientError) {
        let lost = || Err(Lost { error: error.clone(), culprits: Vec::new() });
        for request in std::mem::take(&mut self.requests).into_values() {
            for (at, batch) in request.batches {
                self.topics.list[at.0].queues[at.1].in_flight.retain(|key| *key != batch.key);
                self.end(at, &batch, lost());
            }
        }
        self.drop_waiting(error);
        self.nodes.clear();
    }

    /// Loses every batch that waits.
    fn drop_waiting(&mut self, error: &ClientError) {
        for at in std::mem::take(&mut self.topics.busy) {
            let topic = &mut self.topics.list[at.0];
            topic.pack(at.1, &self.settings, &mut self.codecs);
            for batch in std::mem::take(&mut topic.queues[at.1].waiting) {
                self.end(at, &batch, Err(Lost { error: error.clone(), culprits: Vec::new() }));
            }
        }
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("state", &self.state)
            .field("who", &self.who)
            .field("memory", &self.memory)
            .field("open", &self.open.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Topics {
    fn place(&mut self, name: &str, settings: &ProducerSettings) -> usize {
        if let Some(&place) = self.by_name.get(name) {
            return place;
        }
        let topic = Topic::new(name, settings);
        self.by_name.insert(topic.name.clone(), self.list.len());
        self.list.push(topic);
        self.list.len() - 1
    }
}

fn fields(settings: &ProducerSettings) -> BatchFields {
    let plain = Attributes::default();
    let attributes = if settings.transactional_id.is_some() { plain.transactional() } else { plain };
    BatchFields { effort: settings.effort, attributes, ..BatchFields::default() }
}

#[cfg(test)]
mod tests;
