//! Transactions and the producers behind them: list, describe, abort, fence.

use std::collections::BTreeMap;

use ottla_protocol::messages::describe_producers::TopicRequest;
use ottla_protocol::messages::describe_transactions::TransactionState;
use ottla_protocol::messages::list_transactions;
use ottla_protocol::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic};
use ottla_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, InitProducerIdRequest, ListTransactionsRequest,
    WriteTxnMarkersRequest,
};

use super::ItemResult;
use super::coordinated::{Coordinated, Question, Rows, alone};
use super::every_broker::EveryBroker;
use super::per_leader::{PartitionRows, PerLeader};
use crate::call::{Call, Reply};
use crate::coordinator::{Coordinator, CoordinatorKind};
use crate::error::{ApiError, ClientError};
use crate::operation::{Mapped, Operation};

/// A partition: its topic and its number.
type Key = (String, i32);

/// How long the transactions of a fenced id may last; no such transaction begins before its owner says otherwise.
const FENCING_TIMEOUT_MS: i32 = 60_000;

/// The first offset of the open transaction of a producer that has none.
const NO_TRANSACTION: i64 = -1;

/// Which transactions are listed; empty lists and `None` mean all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// Only those in these states, by Kafka's names (`Ongoing`, `CompleteCommit`, …).
    pub states: Vec<String>,
    /// Only those of these producers.
    pub producer_ids: Vec<i64>,
    /// Only those that have been open for longer, in ms (KIP-994).
    pub longer_than_ms: Option<i64>,
    /// Only those whose id matches this expression as a whole (KIP-1152).
    pub id_pattern: Option<String>,
}

/// A transactional id in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransactionListing {
    /// The id.
    pub transactional_id: String,
    /// The broker that coordinates it.
    pub coordinator: i32,
    /// Its producer.
    pub producer_id: i64,
    /// Its state, by Kafka's name.
    pub state: String,
}

/// A transactional id in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The broker that coordinates it.
    pub coordinator: i32,
    /// Its state, by Kafka's name.
    pub state: String,
    /// Its producer.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// How long its transactions may last.
    pub timeout_ms: i32,
    /// When the open one began, in ms since 1970; `None` while none is open.
    pub started_ms: Option<i64>,
    /// The partitions in it.
    pub partitions: Vec<Key>,
}

/// What a partition's leader knows of a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i32,
    /// The number of its last record; −1 if there is none.
    pub last_sequence: i32,
    /// The greatest timestamp of its last batch; −1 if there is none.
    pub last_timestamp: i64,
    /// The epoch of the coordinator that wrote its last marker, if one did.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins in this partition, if one is open.
    pub transaction_start: Option<i64>,
}

/// Who is asked about producers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replica {
    /// The partition's leader.
    #[default]
    Leader,
    /// This broker, which has a replica.
    Broker(i32),
}

/// The open transaction of a partition that is to be aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortTransaction {
    /// The partition.
    pub partition: Key,
    /// Its producer.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The epoch that the marker is written under; the partition refuses a lower one than it has seen.
    pub coordinator_epoch: i32,
}

/// Every transactional id on every broker that passes the filter, with those states of the filter that no broker knows.
pub fn list_transactions(
    filter: TransactionFilter,
) -> impl Operation<Answer = (Vec<TransactionListing>, Vec<String>)> {
    let least = match (&filter.id_pattern, filter.longer_than_ms) {
        (Some(_), _) => 2,
        (None, Some(_)) => 1,
        (None, None) => 0,
    };
    let call = move || {
        let request = ListTransactionsRequest {
            state_filters: filter.states.clone(),
            producer_id_filters: filter.producer_ids.clone(),
            duration_filter: filter.longer_than_ms.unwrap_or(-1),
            transactional_id_pattern: filter.id_pattern.clone(),
        };
        Call::new(request).within(least, i16::MAX)
    };
    let read = |reply: &Reply| {
        let response = reply.decode::<ListTransactionsRequest>()?;
        ApiError::check(response.error_code, None)?;
        Ok((response.transaction_states, response.unknown_state_filters))
    };
    Mapped::new(EveryBroker::new("listTransactions", call, read), |found| {
        let mut listed = Vec::new();
        let mut unknown = Vec::new();
        for (coordinator, (states, filters)) in found {
            let listing = |row: list_transactions::TransactionState| TransactionListing {
                transactional_id: row.transactional_id,
                coordinator,
                producer_id: row.producer_id,
                state: row.transaction_state,
            };
            listed.extend(states.into_iter().map(listing));
            unknown.extend(filters);
        }
        listed.sort();
        unknown.sort();
        unknown.dedup();
        Ok((listed, unknown))
    })
}

/// Transactional ids in full.
pub fn describe_transactions(
    ids: Vec<String>,
) -> impl Operation<Answer = BTreeMap<String, ItemResult<TransactionDescription>>> {
    Coordinated::new(DescribeTransactions, ids)
}

struct DescribeTransactions;

impl Question for DescribeTransactions {
    type Answer = TransactionDescription;

    const NAME: &'static str = "describeTransactions";
    const KIND: CoordinatorKind = CoordinatorKind::Transaction;

    fn calls(&self, keys: &[String]) -> Vec<(Vec<String>, Call)> {
        let request = DescribeTransactionsRequest { transactional_ids: keys.to_vec() };
        vec![(keys.to_vec(), Call::new(request))]
    }

    fn read(
        &mut self,
        coordinator: &Coordinator,
        _: &[String],
        reply: &Reply,
    ) -> Result<Rows<Self::Answer>, ClientError> {
        let response = reply.decode::<DescribeTransactionsRequest>()?;
        let row = |row: TransactionState| {
            let id = row.transactional_id.clone();
            let answer = ApiError::check(row.error_code, None).map(|()| described(coordinator.node, row));
            (id, Some(answer))
        };
        Ok(response.transaction_states.into_iter().map(row).collect())
    }
}

fn described(coordinator: i32, row: TransactionState) -> TransactionDescription {
    let partitions = row.topics.into_iter().flat_map(|topic| {
        let name = topic.topic;
        topic.partitions.into_iter().map(move |partition| (name.clone(), partition))
    });
    let mut partitions: Vec<Key> = partitions.collect();
    partitions.sort();
    TransactionDescription {
        coordinator,
        state: row.transaction_state,
        producer_id: row.producer_id,
        producer_epoch: row.producer_epoch,
        timeout_ms: row.transaction_timeout_ms,
        started_ms: Some(row.transaction_start_time_ms).filter(|ms| *ms >= 0),
        partitions,
    }
}

/// Takes the epoch of each transactional id away from whoever has it, and aborts what it had open. Each tells the
/// producer id and the new epoch.
pub fn fence_producers(
    ids: Vec<String>,
) -> impl Operation<Answer = BTreeMap<String, ItemResult<(i64, i16)>>> {
    Coordinated::new(FenceProducers, ids)
}

/// The same for one id, for the sake of the transaction it has open (KIP-939's forced termination).
pub fn terminate_transaction(id: String) -> impl Operation<Answer = (i64, i16)> {
    alone(FenceProducers, id)
}

struct FenceProducers;

impl Question for FenceProducers {
    type Answer = (i64, i16);

    const NAME: &'static str = "fenceProducer";
    const KIND: CoordinatorKind = CoordinatorKind::Transaction;

    fn calls(&self, keys: &[String]) -> Vec<(Vec<String>, Call)> {
        let call = |id: &String| {
            let request = InitProducerIdRequest {
                transactional_id: Some(id.clone()),
                transaction_timeout_ms: FENCING_TIMEOUT_MS,
                ..InitProducerIdRequest::default()
            };
            (vec![id.clone()], Call::new(request).within(0, 5))
        };
        keys.iter().map(call).collect()
    }

    fn read(
        &mut self,
        _: &Coordinator,
        keys: &[String],
        reply: &Reply,
    ) -> Result<Rows<Self::Answer>, ClientError> {
        let response = reply.decode::<InitProducerIdRequest>()?;
        let checked = ApiError::check(response.error_code, None);
        let answer = checked.map(|()| (response.producer_id, response.producer_epoch));
        Ok(keys.iter().take(1).map(|key| (key.clone(), Some(answer.clone()))).collect())
    }
}

/// The producers that partitions remember.
pub fn describe_producers(
    partitions: Vec<Key>,
    replica: Replica,
) -> impl Operation<Answer = BTreeMap<Key, ItemResult<Vec<ProducerState>>>> {
    let wanted = partitions.into_iter().map(|key| (key, ())).collect();
    let asked =
        PerLeader::new("describeProducers", wanted, describe_producers_call, describe_producers_reply);
    match replica {
        Replica::Leader => asked,
        Replica::Broker(id) => asked.at(id),
    }
}

fn describe_producers_call(part: &BTreeMap<Key, ()>) -> Call {
    let mut topics: Vec<TopicRequest> = Vec::new();
    for (name, index) in part.keys() {
        match topics.last_mut() {
            Some(topic) if topic.name == *name => topic.partition_indexes.push(*index),
            _ => topics.push(TopicRequest { name: name.clone(), partition_indexes: vec![*index] }),
        }
    }
    Call::new(DescribeProducersRequest { topics })
}

fn describe_producers_reply(reply: &Reply) -> Result<PartitionRows<Vec<ProducerState>>, ClientError> {
    use ottla_protocol::messages::describe_producers as wire;
    let producer = |row: wire::ProducerState| ProducerState {
        producer_id: row.producer_id,
        producer_epoch: row.producer_epoch,
        last_sequence: row.last_sequence,
        last_timestamp: row.last_timestamp,
        coordinator_epoch: Some(row.coordinator_epoch).filter(|epoch| *epoch >= 0),
        transaction_start: Some(row.current_txn_start_offset).filter(|offset| *offset > NO_TRANSACTION),
    };
    let response = reply.decode::<DescribeProducersRequest>()?;
    let rows = response.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |row| {
            let checked = ApiError::check(row.error_code, row.error_message);
            let producers = row.active_producers.into_iter().map(producer).collect();
            ((name.clone(), row.partition_index), checked.map(|()| producers))
        })
    });
    Ok(rows.collect())
}

/// Writes the abort marker of a transaction that its coordinator has forgotten, at the partition's leader.
pub fn abort_transaction(abort: AbortTransaction) -> impl Operation<Answer = ()> {
    let key = abort.partition.clone();
    let wanted = [(key, (abort.producer_id, abort.producer_epoch, abort.coordinator_epoch))];
    let asked = PerLeader::new("abortTransaction", wanted.into(), abort_call, abort_reply);
    Mapped::new(asked, |found| Ok(found.into_values().collect::<Result<(), _>>()?))
}

type Marker = (i64, i16, i32);

fn abort_call(part: &BTreeMap<Key, Marker>) -> Call {
    let marker = |((name, index), (producer_id, producer_epoch, epoch)): (&Key, &Marker)| WritableTxnMarker {
        producer_id: *producer_id,
        producer_epoch: *producer_epoch,
        transaction_result: false,
        coordinator_epoch: *epoch,
        topics: vec![WritableTxnMarkerTopic { name: name.clone(), partition_indexes: vec![*index] }],
        ..WritableTxnMarker::default()
    };
    Call::new(WriteTxnMarkersRequest { markers: part.iter().map(marker).collect() })
}

fn abort_reply(reply: &Reply) -> Result<PartitionRows<()>, ClientError> {
    let response = reply.decode::<WriteTxnMarkersRequest>()?;
    let topics = response.markers.into_iter().flat_map(|marker| marker.topics);
    let rows = topics.flat_map(|topic| {
        let name = topic.name;
        let row = move |index, code| ((name.clone(), index), ApiError::check(code, None));
        topic.partitions.into_iter().map(move |p| row(p.partition_index, p.error_code))
    });
    Ok(rows.collect())
}
