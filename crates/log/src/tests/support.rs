//! What the tests share: batches without real records, and a log on a disk in memory.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::batch::{Attributes, BatchHeader, Batches, StampedBatch};
use ottla_protocol::{LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId};

use crate::disk::{Disk, MemoryDisk};
use crate::{Log, LogConfig, OpenHint, ReadLimit};

pub(super) const DIR: &str = "/data/topic-0";

/// A batch to be made; its records are noise of `body` bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    pub base: i64,
    pub records: i32,
    pub epoch: i32,
    pub timestamp: i64,
    pub body: usize,
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
            body: 40,
            producer: None,
            transactional: false,
        }
    }

    pub fn batch(self) -> StampedBatch {
        let noise = (0..self.body).map(|i| (self.base as u8).wrapping_mul(31).wrapping_add(i as u8));
        let (id, epoch, sequence) = self.producer.unwrap_or((-1, -1, -1));
        let attributes = Attributes::default();
        let header = BatchHeader {
            base_offset: Offset(self.base),
            leader_epoch: LeaderEpoch(self.epoch),
            attributes: if self.transactional { attributes.transactional() } else { attributes },
            last_offset_delta: self.records - 1,
            base_timestamp: self.timestamp,
            max_timestamp: self.timestamp,
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: sequence,
            record_count: self.records,
            ..BatchHeader::default()
        };
        sealed(header, noise.collect())
    }
}

/// An abort or commit marker of a producer.
pub(super) fn marker(base: i64, producer: (i64, i16), kind: u8, coordinator_epoch: i32) -> StampedBatch {
    let mut record = vec![0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0];
    record.extend_from_slice(&coordinator_epoch.to_be_bytes());
    record.push(0);
    let mut body = vec![(record.len() * 2) as u8];
    body.append(&mut record);
    let header = BatchHeader {
        base_offset: Offset(base),
        leader_epoch: LeaderEpoch(0),
        attributes: Attributes::default().transactional().control(),
        base_timestamp: 1000 + base,
        max_timestamp: 1000 + base,
        producer_id: ProducerId(producer.0),
        producer_epoch: ProducerEpoch(producer.1),
        record_count: 1,
        ..BatchHeader::default()
    };
    sealed(header, body)
}

fn sealed(header: BatchHeader, body: Vec<u8>) -> StampedBatch {
    let body = Bytes::from(body);
    let mut header = StampedBatch::new(header, body.clone()).header();
    header.crc = header.checksum(&body);
    StampedBatch::new(header, body)
}

/// A disk with a log directory on it.
pub(super) fn disk() -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create_dir("/data".as_ref()).unwrap();
    disk.sync_dir("/".as_ref()).unwrap();
    disk
}

pub(super) fn now() -> Now {
    Now { monotonic_us: 0, wall_ms: 1_000_000 }
}

pub(super) fn open(disk: &MemoryDisk, config: LogConfig, hint: OpenHint) -> Log {
    Log::open(Arc::new(disk.clone()), PathBuf::from(DIR), config, hint, now()).unwrap()
}

/// Every batch of the log, read through slices.
pub(super) fn contents(log: &mut Log) -> Vec<u8> {
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

pub(super) fn bases(bytes: &[u8]) -> Vec<i64> {
    Batches::new(bytes).map(|batch| batch.unwrap().header.base_offset.0).collect()
}
