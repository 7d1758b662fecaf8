//! What only a partition's leader can say or do: offsets by time, and deleting records from the front.

use std::collections::BTreeMap;

use ottla_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::{DeleteRecordsRequest, ListOffsetsRequest};

use super::per_leader::{Key, PartitionRows, PerLeader};
use super::{CHANGE_TIMEOUT_MS, ItemResult};
use crate::call::{Call, Reply};
use crate::consumer::Isolation;
use crate::error::{ApiError, ClientError};
use crate::operation::Operation;

/// Which offset of a partition is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffsetSpec {
    /// The offset behind the last record that may be read.
    Latest,
    /// The first one there is.
    Earliest,
    /// That of the record with the greatest timestamp (KIP-734).
    MaxTimestamp,
    /// The first one on the broker's own disk (KIP-405).
    EarliestLocal,
    /// The last one in tiered storage (KIP-1005).
    LatestTiered,
    /// The first one still to be copied to tiered storage (KIP-1023).
    EarliestPendingUpload,
    /// The first one with at least this timestamp.
    Timestamp(i64),
}

impl OffsetSpec {
    /// The number on the wire, and the first version of ListOffsets that knows it.
    #[must_use]
    pub fn on_the_wire(self) -> (i64, i16) {
        match self {
            Self::Latest => (-1, 1),
            Self::Earliest => (-2, 1),
            Self::MaxTimestamp => (-3, 7),
            Self::EarliestLocal => (-4, 8),
            Self::LatestTiered => (-5, 9),
            Self::EarliestPendingUpload => (-6, 11),
            Self::Timestamp(ms) => (ms, 1),
        }
    }
}

/// What a leader said of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// The offset; −1 where there is none.
    pub offset: i64,
    /// The timestamp of its record; −1 where none was asked for.
    pub timestamp: i64,
    /// The epoch of the leader that wrote it; −1 where unknown.
    pub leader_epoch: i32,
}

/// Asks the leaders for offsets.
pub fn list_offsets(
    wanted: BTreeMap<(String, i32), OffsetSpec>,
) -> impl Operation<Answer = BTreeMap<(String, i32), ItemResult<Offsets>>> {
    list_offsets_as(wanted, Isolation::ReadUncommitted)
}

/// The same, as readers of this isolation see them: for those of committed records the end is before the first open
/// transaction.
pub fn list_offsets_as(
    wanted: BTreeMap<(String, i32), OffsetSpec>,
    isolation: Isolation,
) -> impl Operation<Answer = BTreeMap<(String, i32), ItemResult<Offsets>>> {
    let call = match isolation {
        Isolation::ReadUncommitted => |part: &_| list_offsets_call(part, Isolation::ReadUncommitted),
        Isolation::ReadCommitted => |part: &_| list_offsets_call(part, Isolation::ReadCommitted),
    };
    PerLeader::new("listOffsets", wanted, call, list_offsets_reply)
}

/// Deletes the records before an offset (−1: all there are) and answers the new first offsets.
pub fn delete_records(
    before: BTreeMap<(String, i32), i64>,
) -> impl Operation<Answer = BTreeMap<(String, i32), ItemResult<i64>>> {
    PerLeader::new("deleteRecords", before, delete_records_call, delete_records_reply)
}

fn list_offsets_call(part: &BTreeMap<Key, OffsetSpec>, isolation: Isolation) -> Call {
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    // Version 2 is the first that knows isolation levels.
    let mut least = if isolation == Isolation::ReadCommitted { 2 } else { 1 };
    for ((name, index), spec) in part {
        let (timestamp, since) = spec.on_the_wire();
        least = least.max(since);
        let partition = ListOffsetsPartition { partition_index: *index, timestamp, ..Default::default() };
        match topics.last_mut() {
            Some(topic) if topic.name == *name => topic.partitions.push(partition),
            _ => topics.push(ListOffsetsTopic { name: name.clone(), partitions: vec![partition] }),
        }
    }
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation.code(),
        topics,
        timeout_ms: CHANGE_TIMEOUT_MS,
    };
    Call::new(request).within(least, i16::MAX)
}

fn list_offsets_reply(reply: &Reply) -> Result<PartitionRows<Offsets>, ClientError> {
    let response = reply.decode::<ListOffsetsRequest>()?;
    let rows = response.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |p| {
            let offsets = Offsets { offset: p.offset, timestamp: p.timestamp, leader_epoch: p.leader_epoch };
            ((name.clone(), p.partition_index), ApiError::check(p.error_code, None).map(|()| offsets))
        })
    });
    Ok(rows.collect())
}

fn delete_records_call(part: &BTreeMap<Key, i64>) -> Call {
    let mut topics: Vec<DeleteRecordsTopic> = Vec::new();
    for ((name, index), offset) in part {
        let partition = DeleteRecordsPartition { partition_index: *index, offset: *offset };
        match topics.last_mut() {
            Some(topic) if topic.name == *name => topic.partitions.push(partition),
            _ => topics.push(DeleteRecordsTopic { name: name.clone(), partitions: vec![partition] }),
        }
    }
    Call::new(DeleteRecordsRequest { topics, timeout_ms: CHANGE_TIMEOUT_MS })
}

fn delete_records_reply(reply: &Reply) -> Result<PartitionRows<i64>, ClientError> {
    let response = reply.decode::<DeleteRecordsRequest>()?;
    let rows = response.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |p| {
            let low = ApiError::check(p.error_code, None).map(|()| p.low_watermark);
            ((name.clone(), p.partition_index), low)
        })
    });
    Ok(rows.collect())
}
