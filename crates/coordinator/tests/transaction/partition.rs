//! A partition as the coordinator of transactions sees it: who writes in a transaction, and how it ended.

use std::collections::BTreeMap;

use ottla_protocol::Refusal;
use ottla_protocol::messages::write_txn_markers::WritableTxnMarker;

/// One record: which transaction of which client it was meant for.
pub type Value = u32;

/// See the module.
#[derive(Debug, Default)]
pub struct Partition {
    producers: BTreeMap<i64, Writer>,
    pub committed: Vec<Value>,
    pub aborted: Vec<Value>,
}

#[derive(Debug)]
struct Writer {
    epoch: i16,
    coordinator_epoch: i32,
    open: Vec<Value>,
    markers: u32,
}

impl Default for Writer {
    fn default() -> Self {
        Self { epoch: -1, coordinator_epoch: -1, open: Vec::new(), markers: 0 }
    }
}

impl Partition {
    /// What a write that follows a question to the coordinator must show: no marker has come since.
    pub fn guard(&self, producer: (i64, i16)) -> u32 {
        self.producers.get(&producer.0).map_or(0, |writer| writer.markers)
    }

    /// Whether the coordinator need not be asked.
    pub fn is_open(&self, producer: (i64, i16)) -> bool {
        let writer = self.producers.get(&producer.0);
        writer.is_some_and(|writer| writer.epoch == producer.1 && !writer.open.is_empty())
    }

    pub fn write(&mut self, producer: (i64, i16), guard: Option<u32>, value: Value) -> Result<(), Refusal> {
        let writer = self.producers.entry(producer.0).or_default();
        if producer.1 < writer.epoch {
            return Err(Refusal::InvalidProducerEpoch);
        }
        if guard.is_some_and(|guard| guard != writer.markers) {
            return Err(Refusal::InvalidTxnState);
        }
        assert!(
            writer.open.is_empty() || writer.epoch == producer.1,
            "an older transaction of {producer:?} is open: {writer:?}"
        );
        assert!(guard.is_some() || !writer.open.is_empty(), "the first write asks");
        writer.epoch = producer.1;
        writer.open.push(value);
        Ok(())
    }

    pub fn mark(&mut self, marker: &WritableTxnMarker) -> Result<(), Refusal> {
        let writer = self.producers.entry(marker.producer_id).or_default();
        if marker.coordinator_epoch < writer.coordinator_epoch {
            return Err(Refusal::TransactionCoordinatorFenced);
        }
        let repeats = marker.producer_epoch == writer.epoch && writer.open.is_empty();
        let stale = match marker.transaction_version {
            2.. => marker.producer_epoch <= writer.epoch && !repeats,
            _ => marker.producer_epoch < writer.epoch,
        };
        if stale {
            return Err(Refusal::InvalidProducerEpoch);
        }
        let end = if marker.transaction_result { &mut self.committed } else { &mut self.aborted };
        end.append(&mut writer.open);
        writer.epoch = marker.producer_epoch;
        writer.coordinator_epoch = marker.coordinator_epoch;
        writer.markers += 1;
        Ok(())
    }

    pub fn has_open(&self) -> bool {
        self.producers.values().any(|writer| !writer.open.is_empty())
    }
}
