//! What the tests share: batches, and a log on a disk in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::batch::{
    Attributes, BatchBuilder, BatchFields, Batches, ControlType, RecordParts, StampedBatch, TransactionMarker,
};
use ottla_protocol::compression::Codecs;
use ottla_protocol::{LeaderEpoch, Now, Offset, PartitionId, ProducerEpoch, ProducerId, Uuid};

use crate::disk::{Disk, MemoryDisk};
use crate::{DiskError, Log, LogConfig, OpenHint, ReadLimit};

pub(crate) const DIR: &str = "/data/topic-0";

/// A batch to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub base: i64,
    pub records: i32,
    pub epoch: i32,
    pub timestamp: i64,
    /// Bytes of each record's value.
    pub body: usize,
    /// Id, epoch, first sequence.
    pub producer: Option<(i64, i16, i32)>,
    pub transactional: bool,
}

impl Recipe {
    pub fn at(base: i64) -> Self {
        Self {
            base,
            records: 1,
            epoch: 0,
            timestamp: 1000 + base,
            body: 32,
            producer: None,
            transactional: false,
        }
    }

    pub fn batch(self) -> StampedBatch {
        let mut builder = BatchBuilder::new();
        for i in 0..self.records {
            let value: Vec<u8> = (0..self.body).map(|j| (self.base as u8) ^ (i as u8) ^ (j as u8)).collect();
            let timestamp = self.timestamp - i64::from(i % 2);
            let record = RecordParts { timestamp, value: Some(&value), ..RecordParts::default() };
            builder.append(&record).unwrap();
        }
        let (id, epoch, sequence) = self.producer.unwrap_or((-1, -1, -1));
        let attributes = Attributes::default();
        let fields = BatchFields {
            base_offset: Offset(self.base),
            leader_epoch: LeaderEpoch(self.epoch),
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: sequence,
            attributes: if self.transactional { attributes.transactional() } else { attributes },
            ..BatchFields::default()
        };
        builder.finish(&fields, &mut Codecs::new())
    }
}

/// The end of a producer's transaction.
pub(crate) fn marker(
    at: (i64, i32),
    producer: (i64, i16),
    end: ControlType,
    coordinator: i32,
) -> StampedBatch {
    let marker = TransactionMarker {
        producer_id: ProducerId(producer.0),
        producer_epoch: ProducerEpoch(producer.1),
        end,
        coordinator_epoch: coordinator,
    };
    marker.batch(1000 + at.0).at(Offset(at.0), LeaderEpoch(at.1))
}

/// A disk with a log directory on it.
pub(crate) fn disk() -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create_dir("/data".as_ref()).unwrap();
    disk.sync_dir("/".as_ref()).unwrap();
    disk
}

pub(crate) fn now() -> Now {
    Now { monotonic_us: 0, wall_ms: 1_000_000 }
}

pub(crate) fn try_open(disk: &MemoryDisk, config: LogConfig, hint: OpenHint) -> Result<Log, DiskError> {
    Log::open(Arc::new(disk.clone()), PathBuf::from(DIR), config, hint, now())
}

pub(crate) fn open(disk: &MemoryDisk, config: LogConfig, hint: OpenHint) -> Log {
    try_open(disk, config, hint).unwrap()
}

/// A log with small segments and dense indexes, in which much happens.
pub(crate) fn small() -> LogConfig {
    LogConfig { segment_bytes: 700, index_interval_bytes: 150, ..LogConfig::default() }
}

/// Every batch of the log from its start on, read through slices.
pub(crate) fn contents(log: &mut Log) -> Vec<u8> {
    let mut all = Vec::new();
    let mut from = log.start_offset();
    while from < log.end_offset() {
        let found = log.read(from, ReadLimit::bytes(10_000)).unwrap();
        assert!(found.next > from, "reading does not get on at {from}");
        all.extend_from_slice(&found.read().unwrap());
        from = found.next;
    }
    all
}

/// The batches as they would lie one behind the other.
pub(crate) fn joined<'a>(batches: impl IntoIterator<Item = &'a StampedBatch>) -> Vec<u8> {
    batches.into_iter().flat_map(|batch| batch.to_bytes()).collect()
}

pub(crate) fn bases(bytes: &[u8]) -> Vec<i64> {
    Batches::new(bytes).map(|batch| batch.unwrap().header.base_offset.0).collect()
}

/// Whose log it is.
pub(crate) fn partition() -> PartitionId {
    PartitionId { topic: Uuid::from_random([3; 16]), index: 0 }
}

/// The path of one of the log's files.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// The names of the log's files.
pub(crate) fn names(disk: &MemoryDisk) -> Vec<String> {
    disk.list(DIR.as_ref()).unwrap().into_iter().map(|entry| entry.name).collect()
}

/// Numbers that look random and are always the same.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}
