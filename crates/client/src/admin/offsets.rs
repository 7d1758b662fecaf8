//! What only a partition's leader can say or do: offsets by time, and deleting records from the front.

use std::collections::BTreeMap;

use ottla_protocol::Refusal;
use ottla_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::metadata::MetadataRequestTopic;
use ottla_protocol::messages::{DeleteRecordsRequest, ListOffsetsRequest, MetadataRequest};

use super::{CHANGE_TIMEOUT_MS, ItemResult};
use crate::call::{Call, Reply};
use crate::cluster::Target;
use crate::error::{ApiError, ClientError};
use crate::operation::{Operation, Outcome, Turn};

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
    PerLeader::new("listOffsets", wanted, list_offsets_call, list_offsets_reply)
}

/// Deletes the records before an offset (−1: all there are) and answers the new first offsets.
pub fn delete_records(
    before: BTreeMap<(String, i32), i64>,
) -> impl Operation<Answer = BTreeMap<(String, i32), ItemResult<i64>>> {
    PerLeader::new("deleteRecords", before, delete_records_call, delete_records_reply)
}

type Key = (String, i32);

/// What one leader said of its partitions.
type Rows<A> = Vec<(Key, ItemResult<A>)>;

/// An operation that sends each partition's part to its leader, and again to the new one where it moved.
struct PerLeader<W, A> {
    name: &'static str,
    left: BTreeMap<Key, W>,
    found: BTreeMap<Key, ItemResult<A>>,
    /// Where each partition goes in this round; `None` while metadata is asked for.
    leaders: Option<BTreeMap<i32, BTreeMap<Key, W>>>,
    call: fn(&BTreeMap<Key, W>) -> Call,
    reply: fn(&Reply) -> Result<Rows<A>, ClientError>,
}

impl<W, A> PerLeader<W, A> {
    fn new(
        name: &'static str,
        left: BTreeMap<Key, W>,
        call: fn(&BTreeMap<Key, W>) -> Call,
        reply: fn(&Reply) -> Result<Rows<A>, ClientError>,
    ) -> Self {
        Self { name, left, found: BTreeMap::new(), leaders: None, call, reply }
    }

    /// Sorts what is left by leader. Topics that do not exist are answered at once, others may be tried again.
    fn assign(&mut self, outcome: Outcome) -> Turn<BTreeMap<Key, ItemResult<A>>>
    where
        W: Copy,
    {
        let response = match outcome.and_then(|reply| reply.decode::<MetadataRequest>()) {
            Ok(response) => response,
            Err(error) => return Turn::from_result(Err(error)),
        };
        let mut leaders: BTreeMap<i32, BTreeMap<Key, W>> = BTreeMap::new();
        let mut unclear = ApiError { refusal: Refusal::UnknownTopicOrPartition, message: None };
        let mut settled = Vec::new();
        for (key, wanted) in &self.left {
            let topic = response.topics.iter().find(|topic| topic.name.as_deref() == Some(key.0.as_str()));
            let partition = topic.and_then(|t| t.partitions.iter().find(|p| p.partition_index == key.1));
            match (topic.and_then(|topic| Refusal::from_code(topic.error_code)), partition) {
                (None, Some(partition)) if partition.leader_id >= 0 => {
                    leaders.entry(partition.leader_id).or_default().insert(key.clone(), *wanted);
                }
                (None, Some(_)) => unclear.refusal = Refusal::LeaderNotAvailable,
                (Some(refusal), _) if !refusal.is_retriable() => {
                    settled.push((key.clone(), ApiError { refusal, message: None }));
                }
                _ => {}
            }
        }
        for (key, error) in settled {
            self.left.remove(&key);
            self.found.insert(key, Err(error));
        }
        match (self.left.is_empty(), leaders.is_empty()) {
            (true, _) => Turn::Done(Ok(std::mem::take(&mut self.found))),
            (false, true) => Turn::Retry(unclear.into()),
            (false, false) => {
                self.leaders = Some(leaders);
                Turn::Next
            }
        }
    }

    fn gather(&mut self, outcomes: Vec<Outcome>) -> Turn<BTreeMap<Key, ItemResult<A>>> {
        let asked = self.leaders.take().unwrap_or_default();
        let mut passing = None;
        for (outcome, asked) in outcomes.into_iter().zip(asked.into_values()) {
            match outcome.and_then(|reply| (self.reply)(&reply)) {
                Ok(rows) => {
                    for (key, result) in rows {
                        match result {
                            Err(error) if error.refusal.is_retriable() => passing = Some(error.into()),
                            result => {
                                self.left.remove(&key);
                                self.found.insert(key, result);
                            }
                        }
                    }
                }
                Err(ClientError::UnsupportedVersion(why)) => {
                    for key in asked.into_keys() {
                        self.left.remove(&key);
                        let message = Some(why.clone());
                        self.found
                            .insert(key, Err(ApiError { refusal: Refusal::UnsupportedVersion, message }));
                    }
                }
                Err(error) if error.is_retriable() => passing = Some(error),
                Err(error) => return Turn::Done(Err(error)),
            }
        }
        if self.left.is_empty() {
            return Turn::Done(Ok(std::mem::take(&mut self.found)));
        }
        Turn::Retry(
            passing.unwrap_or_else(|| ClientError::TimedOut("a partition was not answered".to_owned())),
        )
    }
}

impl<W: Copy + Send, A: Send> Operation for PerLeader<W, A> {
    type Answer = BTreeMap<Key, ItemResult<A>>;

    fn name(&self) -> &'static str {
        self.name
    }

    fn calls(&mut self) -> Vec<(Target, Call)> {
        if let Some(leaders) = &self.leaders {
            return leaders.iter().map(|(id, part)| (Target::Node(*id), (self.call)(part))).collect();
        }
        let mut names: Vec<&String> = self.left.keys().map(|(topic, _)| topic).collect();
        names.dedup();
        let topic = |name: &String| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(names.into_iter().map(topic).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        vec![(Target::Any, Call::new(request))]
    }

    fn round(&mut self, mut outcomes: Vec<Outcome>) -> Turn<Self::Answer> {
        match self.leaders {
            Some(_) => self.gather(outcomes),
            None => self.assign(outcomes.pop().unwrap_or(Err(ClientError::Closed))),
        }
    }
}

fn list_offsets_call(part: &BTreeMap<Key, OffsetSpec>) -> Call {
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    let mut least = 1;
    for ((name, index), spec) in part {
        let (timestamp, since) = spec.on_the_wire();
        least = least.max(since);
        let partition = ListOffsetsPartition { partition_index: *index, timestamp, ..Default::default() };
        match topics.last_mut() {
            Some(topic) if topic.name == *name => topic.partitions.push(partition),
            _ => topics.push(ListOffsetsTopic { name: name.clone(), partitions: vec![partition] }),
        }
    }
    let request =
        ListOffsetsRequest { replica_id: -1, topics, timeout_ms: CHANGE_TIMEOUT_MS, ..Default::default() };
    Call::new(request).within(least, i16::MAX)
}

fn list_offsets_reply(reply: &Reply) -> Result<Rows<Offsets>, ClientError> {
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

fn delete_records_reply(reply: &Reply) -> Result<Rows<i64>, ClientError> {
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
