//! The records of `__transaction_state`.
//!
//! `transaction.version` decides in which version values are written; both are read. Of an entry, the last epoch stays
//! behind: Apache Kafka has no field for it.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::records::transaction::transaction_log::PartitionsSchema;
use ottla_protocol::records::transaction::{Key, TransactionLogKey, TransactionLogValue};
use ottla_protocol::records::{decode_versioned, encode_versioned};
use ottla_protocol::{ProducerEpoch, ProducerId};

use super::entry::{Entry, NO_EPOCH, Partitions};
use super::state::{State, TransactionVersion};
use crate::decider::Producer;

/// The longest transactional id: the key's text has a length of two bytes.
pub const ID_LEN_MAX: usize = i16::MAX as usize;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A transactional id has taken a step.
    Changed {
        /// Which.
        id: Arc<str>,
        /// What it is now.
        entry: Box<Entry>,
        /// The version of the value: 0 or 1.
        version: i16,
    },
    /// A transactional id is forgotten.
    Gone(Arc<str>),
}

impl Record {
    /// Whose record it is.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        match self {
            Self::Changed { id, .. } | Self::Gone(id) => id,
        }
    }

    /// Reads a record; `None` for those that are not known here.
    #[must_use]
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Option<Self> {
        let key = match Key::decode(key) {
            Ok(key) => key,
            Err(error) => {
                tracing::warn!(%error, "a record of the transaction log with an unknown key is passed over");
                return None;
            }
        };
        let Key::TransactionLog(TransactionLogKey { transactional_id }) = key;
        let id = Arc::from(transactional_id);
        let Some(bytes) = value else { return Some(Self::Gone(id)) };
        match decode_versioned(bytes) {
            Ok((value, version)) => {
                let Some(entry) = from_value(value) else {
                    tracing::warn!(%id, "a record of the transaction log with an unknown state is passed over");
                    return None;
                };
                Some(Self::Changed { id, entry: Box::new(entry), version })
            }
            Err(error) => {
                tracing::warn!(%id, %error, "a record of the transaction log is passed over");
                None
            }
        }
    }

    /// Key and value as they stand in the log.
    ///
    /// # Panics
    /// If the id is longer than [`ID_LEN_MAX`]; no such id is ever taken in.
    #[must_use]
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        let key = Key::from(TransactionLogKey { transactional_id: self.id().to_string() });
        let key = key.encode().expect("ids that are too long are refused at the door");
        let value = match self {
            Self::Gone(_) => None,
            Self::Changed { entry, version, .. } => {
                let value = encode_versioned(&to_value(entry, *version), *version);
                Some(value.expect("names of topics and the version fit"))
            }
        };
        (key, value)
    }
}

fn to_value(entry: &Entry, version: i16) -> TransactionLogValue {
    let mut value = TransactionLogValue {
        producer_id: entry.producer.id.0,
        producer_epoch: entry.producer.epoch.0,
        transaction_timeout_ms: entry.timeout_ms,
        transaction_status: entry.state.number(),
        transaction_partitions: (entry.state != State::Empty).then(|| by_topic(&entry.partitions)),
        transaction_last_update_timestamp_ms: entry.update_ms,
        transaction_start_timestamp_ms: entry.start_ms,
        ..TransactionLogValue::default()
    };
    if version >= 1 {
        value.previous_producer_id = entry.previous_id.0;
        value.next_producer_id = entry.next_id.0;
        value.client_transaction_version = entry.version.level();
    }
    value
}

fn from_value(value: TransactionLogValue) -> Option<Entry> {
    let state = State::from_number(value.transaction_status)?;
    let topics = value.transaction_partitions.unwrap_or_default();
    let partitions = topics.into_iter().flat_map(|topic| {
        let PartitionsSchema { topic, partition_ids } = topic;
        partition_ids.into_iter().map(move |index| (topic.clone(), index))
    });
    Some(Entry {
        producer: Producer { id: ProducerId(value.producer_id), epoch: ProducerEpoch(value.producer_epoch) },
        previous_id: ProducerId(value.previous_producer_id),
        next_id: ProducerId(value.next_producer_id),
        last_epoch: NO_EPOCH,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions: if state == State::Empty { Partitions::new() } else { partitions.collect() },
        start_ms: value.transaction_start_timestamp_ms,
        update_ms: value.transaction_last_update_timestamp_ms,
        version: TransactionVersion::from_level(value.client_transaction_version),
    })
}

/// The partitions of each topic, in order.
pub(super) fn by_topic(partitions: &Partitions) -> Vec<PartitionsSchema> {
    let mut topics: Vec<PartitionsSchema> = Vec::new();
    for (topic, index) in partitions {
        match topics.last_mut().filter(|last| last.topic == *topic) {
            Some(last) => last.partition_ids.push(*index),
            None => topics.push(PartitionsSchema { topic: topic.clone(), partition_ids: vec![*index] }),
        }
    }
    topics
}
