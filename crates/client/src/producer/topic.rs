//! One topic of a producer: a queue for each partition, the partition that keyless records stick to, and how well the
//! topic's records compress.

use std::sync::Arc;

use ottla_protocol::batch::{BatchBuilder, HEADER_LEN, RecordParts};
use ottla_protocol::compression::{Codecs, Compression};
use ottla_protocol::time::Deadline;

use crate::error::{ApiError, ClientError};
use crate::metadata::Metadata;
use crate::partitioner::{Load, Sticky};
use crate::producer::delivery::{BatchId, Unsent};
use crate::producer::queue::{Filling, Queue, Waiting};
use crate::producer::{ProducerSettings, fields};
use crate::random::Random;

/// What memory a batch is given at first, whatever `batch.size` says: most topics are quiet.
const CAPACITY_MAX: usize = 64 << 10;
/// How many times `batch.size` the plain records of a batch may be, however well they compress.
const PLAIN_PER_BATCH: usize = 32;
/// How the expected ratio follows the measured one: bad news at once and with something to spare, good news by this share.
const RATIO_SHARE_BETTER: f64 = 0.2;
const RATIO_STEP_WORSE: f64 = 0.05;

#[derive(Debug)]
pub(super) struct Topic {
    pub name: Arc<str>,
    pub queues: Vec<Queue>,
    pub sticky: Sticky,
    /// What compression is expected to leave of the records.
    ratio: f64,
    /// The metadata that `queues` agrees with.
    seen: u64,
}

impl Topic {
    pub(super) fn new(name: &str, settings: &ProducerSettings) -> Self {
        Self {
            name: name.into(),
            queues: Vec::new(),
            sticky: Sticky::new(settings.batch_size),
            ratio: 1.0,
            seen: 0,
        }
    }

    /// Whether the partitions are known. Partitions are added and never taken away; a topic that was deleted and made
    /// anew with fewer loses its records to the delivery timeout.
    pub(super) fn is_known(&mut self, metadata: &Metadata) -> Result<bool, Unsent> {
        if self.seen != metadata.updates {
            let found = metadata.topics.get(&*self.name);
            if let Some(refusal) = found.and_then(|topic| topic.error).filter(|error| !error.is_retriable()) {
                let message = Some(format!("{}: {}", self.name, refusal.name()));
                return Err(Unsent::Never(ClientError::Refused(ApiError { refusal, message })));
            }
            let count = metadata.partition_count(&self.name).unwrap_or(0);
            if count > self.queues.len() {
                self.queues.resize_with(count, Queue::default);
            }
            self.seen = metadata.updates;
        }
        Ok(!self.queues.is_empty())
    }

    /// The partition for a record that belongs to none.
    pub(super) fn stick(
        &mut self,
        metadata: &Metadata,
        random: &mut Random,
        settings: &ProducerSettings,
    ) -> usize {
        let (queues, name) = (&self.queues, &self.name);
        self.sticky.partition(queues.len(), random, || {
            let Some(topic) = metadata.topics.get(&**name) else { return Vec::new() };
            let led = topic.partitions.iter().filter(|partition| partition.leader.is_some());
            led.filter_map(|partition| {
                let partition = usize::try_from(partition.index).ok()?;
                let queue = queues.get(partition)?;
                let queued =
                    if settings.adaptive { u32::try_from(queue.len()).unwrap_or(u32::MAX) } else { 0 };
                Some(Load { partition, queued })
            })
            .collect()
        })
    }

    /// Bytes by which the partition's batch would grow.
    pub(super) fn cost_of(&self, partition: usize, parts: &RecordParts<'_>) -> usize {
        match &self.queues[partition].filling {
            Some(filling) => filling.builder.cost_of(parts),
            None => parts.size(0, 0).unwrap_or(usize::MAX),
        }
    }

    /// Whether `more` bytes would make the partition's batch too large. A batch takes one record whatever its size.
    pub(super) fn is_full_for(&self, partition: usize, more: usize, settings: &ProducerSettings) -> bool {
        let Some(filling) = &self.queues[partition].filling else { return false };
        let builder = &filling.builder;
        let plain = builder.plain_size().saturating_add(more);
        let stored = match settings.effort.compression {
            Compression::None => plain,
            codec => {
                builder.estimated_size(codec, self.ratio).saturating_add((more as f64 * self.ratio) as usize)
            }
        };
        !builder.is_empty()
            && (stored > settings.batch_size || plain > settings.batch_size.saturating_mul(PLAIN_PER_BATCH))
    }

    pub(super) fn begin(
        &mut self,
        partition: usize,
        id: BatchId,
        created: Deadline,
        settings: &ProducerSettings,
    ) {
        let builder = BatchBuilder::with_capacity(settings.batch_size.min(CAPACITY_MAX));
        self.queues[partition].filling = Some(Filling { id, builder, created, charged: 0 });
    }

    /// Adds a record to the batch that is being filled.
    ///
    /// # Panics
    /// When there is none, or the record is larger than was checked.
    pub(super) fn append(
        &mut self,
        partition: usize,
        parts: &RecordParts<'_>,
        size: usize,
    ) -> (BatchId, i32) {
        let filling = self.queues[partition].filling.as_mut().expect("a batch has been begun");
        let index = filling.builder.append(parts).expect("the record's size has been checked");
        filling.charged += size;
        (filling.id, index)
    }

    /// Ends the batch that is being filled, if there is one: compresses it and puts it in line.
    pub(super) fn pack(&mut self, partition: usize, settings: &ProducerSettings, codecs: &mut Codecs) {
        let Some(filling) = self.queues[partition].filling.take() else { return };
        let plain = filling.builder.plain_size() - HEADER_LEN;
        let count = filling.builder.len() as i32;
        let batch = filling.builder.pack(&fields(settings), codecs);
        if settings.effort.compression != Compression::None {
            self.observe((batch.size() - HEADER_LEN) as f64 / plain.max(1) as f64);
        }
        self.queues[partition].waiting.push_back(Waiting {
            key: (filling.id, 0),
            count,
            batch,
            sequence: None,
            created: filling.created,
            charged: filling.charged,
            attempts: 0,
            not_before: None,
            last_leader: None,
        });
    }

    /// A batch has been compressed to this share of its size.
    fn observe(&mut self, ratio: f64) {
        if ratio > self.ratio {
            self.ratio = (self.ratio + RATIO_STEP_WORSE).max(ratio);
        } else {
            self.ratio += (ratio - self.ratio) * RATIO_SHARE_BETTER;
        }
    }

    /// A batch was larger than the broker takes: expect nothing of compression for a while.
    pub(super) fn distrust_ratio(&mut self) {
        self.ratio = self.ratio.max(1.0);
    }
}
