//! A consumer as a value: partitions are assigned by hand or by its group, fetched ahead, and handed out by `poll`.
//!
//! It stands on a [`Cluster`] that its owner keeps: `step` and `done` move things on; as a member of a group it also wants
//! to be attended (`attend`), since only its owner can let go of what it reads. Fetching runs ahead of the position
//! by about `max.partition.fetch.bytes`, so that a reader need not wait for the network. Positions are those of the
//! reader: the next record that `poll` will give.

mod answer;
mod assigned;
mod fetched;
mod fetcher;
pub(crate) mod group;
mod settings;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ottla_protocol::Now;
use ottla_protocol::batch::{Record, TimestampType};
use ottla_protocol::compression::Codecs;
use ottla_protocol::time::Deadline;

pub use assigned::Marks;
pub use group::{
    CommitId, GroupMetadata, GroupProtocol, GroupSettings, Hooks, Identity, Matcher, Rebalance, Subscription,
};
pub use settings::{ConsumerSettings, Isolation, Reset};

use crate::call::Ticket;
use crate::cluster::Cluster;
use crate::consumer::assigned::{Assigned, Flow, Position};
use crate::consumer::fetcher::Question;
use crate::consumer::group::Group;
use crate::error::ClientError;
use crate::random::Random;

/// A partition by the name of its topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    #[must_use]
    pub fn new(topic: &str, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Where `auto.offset.reset` says.
    Default,
    /// At this offset.
    Offset(i64),
    /// At the first record.
    Beginning,
    /// Behind the last.
    End,
    /// At the first record whose timestamp, in ms, is not less.
    Timestamp(i64),
}

/// Records of one partition, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Polled {
    /// The partition.
    pub partition: TopicPartition,
    /// At least one record.
    pub records: Vec<Record>,
    /// Whose time these records carry.
    pub stamped_by: TimestampType,
}

/// What a reader must be told about a partition, or about the whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// `auto.offset.reset=none`, and there is no position.
    #[error("Undefined offset with no reset policy for partition: {0}")]
    NoOffset(TopicPartition),
    /// `auto.offset.reset=none`, and the position is not there any more.
    #[error("Fetch position {offset} is out of range for partition {partition}")]
    OutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: i64,
    },
    /// Bytes that are no records; seek past them to go on.
    #[error(
        "Received exception when fetching the next record from {partition}. If needed, please seek past the record to continue consumption: {why}"
    )]
    Corrupt {
        /// The partition.
        partition: TopicPartition,
        /// What is wrong.
        why: String,
    },
    /// The group does not let this consumer in, or no longer, or not to all it wants; the words are the coordinator's.
    #[error("{0}")]
    Group(ClientError),
    /// The broker refuses to let it be read.
    #[error("{partition}: {error}")]
    Refused {
        /// The partition.
        partition: TopicPartition,
        /// The refusal.
        error: ClientError,
    },
}

/// What a consumer has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records handed out.
    pub records: u64,
    /// Bytes of keys and values handed out.
    pub bytes: u64,
    /// Fetch requests sent.
    pub fetches: u64,
    /// Bytes of batches received.
    pub fetched_bytes: u64,
}

/// A consumer's side of everything.
pub struct Consumer {
    settings: ConsumerSettings,
    random: Random,
    codecs: Codecs,
    partitions: BTreeMap<TopicPartition, Assigned>,
    /// Partitions with something buffered, in the order in which they are handed out.
    ready: VecDeque<TopicPartition>,
    errors: VecDeque<ConsumeError>,
    questions: BTreeMap<Ticket, Question>,
    /// Nodes that have a fetch of ours, and nodes that asked for a pause.
    fetching: BTreeSet<i32>,
    pauses: BTreeMap<i32, Deadline>,
    generation: u64,
    wake: Option<Deadline>,
    counters: Counters,
    /// Its side of its group, where it names one.
    group: Option<Box<Group>>,
    /// Topics that metadata is kept of on its behalf.
    watched: BTreeSet<Arc<str>>,
    /// The coordinator is too old to say which offsets belong to open transactions.
    old_offsets: bool,
}

impl Consumer {
    /// A consumer without partitions.
    #[must_use]
    pub fn new(settings: ConsumerSettings, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let group = settings.group.clone().map(|group| Box::new(Group::new(group, random.next())));
        Self {
            settings,
            random,
            codecs: Codecs::new(),
            partitions: BTreeMap::new(),
            ready: VecDeque::new(),
            errors: VecDeque::new(),
            questions: BTreeMap::new(),
            fetching: BTreeSet::new(),
            pauses: BTreeMap::new(),
            generation: 0,
            wake: None,
            counters: Counters::default(),
            group,
            watched: BTreeSet::new(),
            old_offsets: false,
        }
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &ConsumerSettings {
        &self.settings
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Reads these partitions and no others. Those that were assigned before keep their positions; the others begin where
    /// the group stands, or where the policy says. Not for a consumer that has subscribed.
    pub fn assign(
        &mut self,
        now: Now,
        cluster: &mut Cluster,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) {
        let wanted: BTreeSet<_> = partitions.into_iter().collect();
        self.partitions.retain(|partition, _| wanted.contains(partition));
        self.ready.retain(|partition| wanted.contains(partition));
        for partition in wanted {
            if !self.partitions.contains_key(&partition) {
                let position = match self.group {
                    Some(_) => Position::Committed,
                    None => self.reset(now, &partition),
                };
                let generation = self.next_generation();
                self.partitions.insert(partition, Assigned::new(position, generation));
            }
        }
        self.watch(now, cluster);
        self.step(now, cluster);
    }

    /// The partitions that are read.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// Goes elsewhere in a partition; without effect if it is not assigned.
    pub fn seek(&mut self, now: Now, cluster: &mut Cluster, partition: &TopicPartition, start: Start) {
        let position = match start {
            Start::Default => self.reset(now, partition),
            Start::Offset(offset) => Position::At(offset.max(0)),
            Start::Beginning => Position::Sought(EARLIEST),
            Start::End => Position::Sought(LATEST),
            Start::Timestamp(ms) => Position::Sought(ms.max(0)),
        };
        let generation = self.next_generation();
        if let Some(assigned) = self.partitions.get_mut(partition) {
            assigned.seek(position, generation);
            self.ready.retain(|other| other != partition);
            self.step(now, cluster);
        }
    }

    /// The offset of the next record that `poll` will give of a partition; `None` while it is not known.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        match self.partitions.get(partition)?.position {
            Position::At(offset) => Some(offset),
            Position::Sought(_) | Position::Committed | Position::Lost => None,
        }
    }

    /// What the broker said last about the ends of a partition; −1 where it has not.
    #[must_use]
    pub fn marks(&self, partition: &TopicPartition) -> Option<Marks> {
        self.partitions.get(partition).map(|assigned| assigned.marks)
    }

    /// Neither fetches nor hands out this partition until it is resumed.
    pub fn pause(&mut self, partition: &TopicPartition) {
        if let Some(assigned) = self.partitions.get_mut(partition) {
            assigned.flow = Flow::Paused;
        }
    }

    /// Ends a pause.
    pub fn resume(&mut self, now: Now, cluster: &mut Cluster, partition: &TopicPartition) {
        if let Some(assigned) = self.partitions.get_mut(partition) {
            assigned.flow = Flow::On;
            self.step(now, cluster);
        }
    }

    /// Hands out up to `max.poll.records` records that are here already; none means to wait for `step` or `done`. The
    /// buffers that become free are filled at the next `step`.
    ///
    /// # Errors
    /// What the reader must know, each thing once; it may go on.
    pub fn poll(&mut self) -> Result<Vec<Polled>, ConsumeError> {
        self.poll_up_to(self.settings.max_poll_records)
    }

    /// As [`poll`](Self::poll), with another limit.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn poll_up_to(&mut self, max_records: usize) -> Result<Vec<Polled>, ConsumeError> {
        let mut polled: Vec<Polled> = Vec::new();
        let mut room = max_records;
        for _ in 0..self.ready.len() {
            if room == 0 {
                break;
            }
            let Some(partition) = self.ready.pop_front() else { break };
            let taken = self.take(&partition, room);
            // Whoever has more stays in front, so that a fetched chunk is read in one go.
            let assigned = self.partitions.get(&partition);
            if assigned.is_some_and(|assigned| !assigned.buffered.is_empty()) {
                match taken {
                    Ok((ref records, _)) if records.len() == room => self.ready.push_front(partition.clone()),
                    _ => self.ready.push_back(partition.clone()),
                }
            }
            match taken {
                Ok((records, _)) if records.is_empty() => {}
                Ok((records, stamped_by)) => {
                    room -= records.len();
                    polled.push(Polled { partition, records, stamped_by });
                }
                Err(error) => self.errors.push_back(error),
            }
        }
        match self.errors.pop_front() {
            Some(error) if polled.is_empty() => Err(error),
            Some(error) => {
                self.errors.push_front(error);
                Ok(polled)
            }
            None => match self.group.as_ref().and_then(|group| group.failed.clone()) {
                Some(error) if polled.is_empty() => Err(ConsumeError::Group(error)),
                _ => Ok(polled),
            },
        }
    }

    /// Whether `poll` has something to give.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let on = |partition| self.partitions.get(partition).is_some_and(Assigned::is_on);
        !self.errors.is_empty() || self.ready.iter().any(on)
    }

    /// When `step` wants to be called; besides, whoever owns the cluster calls it after every turn.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        [self.wake, self.group_deadline()].into_iter().flatten().min()
    }

    /// Up to `room` records of one partition, all stamped alike.
    fn take(
        &mut self,
        partition: &TopicPartition,
        room: usize,
    ) -> Result<(Vec<Record>, TimestampType), ConsumeError> {
        let mut records = Vec::new();
        let mut stamped_by = TimestampType::default();
        let Some(assigned) = self.partitions.get_mut(partition) else { return Ok((records, stamped_by)) };
        if !assigned.is_on() {
            return Ok((records, stamped_by));
        }
        while records.len() < room {
            let Some(fetched) = assigned.buffered.front_mut() else { break };
            match fetched.next(&mut self.codecs) {
                Ok(Some(record)) if !records.is_empty() && fetched.stamped_by != stamped_by => {
                    fetched.unread(record);
                    break;
                }
                Ok(Some(record)) => {
                    stamped_by = fetched.stamped_by;
                    assigned.position = Position::At(record.offset.0 + 1);
                    assigned.leader_epoch = fetched.leader_epoch;
                    let len = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
                    self.counters.bytes += (len(&record.key) + len(&record.value)) as u64;
                    records.push(record);
                }
                Ok(None) => {
                    assigned.position = Position::At(fetched.next);
                    assigned.buffered.pop_front();
                }
                Err(_) if !records.is_empty() => break,
                Err(error) => {
                    // The position stays: to fetch again may help, to seek does.
                    assigned.buffered.clear();
                    if let Position::At(offset) = assigned.position {
                        assigned.fetch_from = offset;
                    }
                    let why = error.to_string();
                    return Err(ConsumeError::Corrupt { partition: partition.clone(), why });
                }
            }
        }
        self.counters.records += records.len() as u64;
        Ok((records, stamped_by))
    }

    /// The position that the policy gives, or an error for the reader.
    fn reset(&mut self, now: Now, partition: &TopicPartition) -> Position {
        match self.settings.reset {
            Reset::Earliest => Position::Sought(EARLIEST),
            Reset::Latest => Position::Sought(LATEST),
            Reset::ByDuration(age) => {
                let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                Position::Sought(now.wall_ms.saturating_sub(age).max(0))
            }
            Reset::None => {
                self.errors.push_back(ConsumeError::NoOffset(partition.clone()));
                Position::Lost
            }
        }
    }

    fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }
}

/// ListOffsets' words for the first offset and the end.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("partitions", &self.partitions)
            .field("fetching", &self.fetching)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
