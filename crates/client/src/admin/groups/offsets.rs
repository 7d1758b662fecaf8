//! What groups have committed: list, set, delete.

use std::collections::BTreeMap;

use ottla_protocol::Refusal;
use ottla_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_protocol::messages::offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest};

use crate::admin::ItemResult;
use crate::admin::coordinated::{Coordinated, Question, Rows, alone};
use crate::call::{Call, Reply};
use crate::coordinator::{Coordinator, CoordinatorKind};
use crate::error::{ApiError, ClientError};
use crate::operation::Operation;

/// A partition: its topic and its number.
type Key = (String, i32);

/// What a group has committed for a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record the group wants.
    pub offset: i64,
    /// The leader epoch of the last record it read, where it said so.
    pub leader_epoch: Option<i32>,
    /// Whatever the group wrote beside it.
    pub metadata: String,
}

/// What was committed, by partition; `None` where the group has committed nothing for a partition that was asked for.
pub type GroupOffsets = BTreeMap<Key, Option<CommittedOffset>>;

/// Whose offsets are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OffsetsOf {
    /// Of every partition for which the group has committed something.
    All,
    /// Of these.
    Partitions(Vec<Key>),
}

/// Whether offsets of open transactions are waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stability {
    /// No: what is committed now.
    #[default]
    Any,
    /// Yes (KIP-447).
    Stable,
}

/// What groups have committed, group by group. A group that does not exist has committed nothing.
pub fn list_group_offsets(
    groups: BTreeMap<String, OffsetsOf>,
    stability: Stability,
) -> impl Operation<Answer = BTreeMap<String, ItemResult<GroupOffsets>>> {
    let ids: Vec<String> = groups.keys().cloned().collect();
    Coordinated::new(ListOffsets { groups, stability, one_group_only: false }, ids)
}

struct ListOffsets {
    groups: BTreeMap<String, OffsetsOf>,
    stability: Stability,
    /// The broker knows only the form for one group (before Kafka 3.0).
    one_group_only: bool,
}

impl ListOffsets {
    fn topics(&self, group: &str) -> Option<BTreeMap<String, Vec<i32>>> {
        match self.groups.get(group) {
            Some(OffsetsOf::Partitions(keys)) => Some(by_topic(keys.iter().map(|(topic, p)| (topic, *p)))),
            _ => None,
        }
    }

    fn one(&self, group: &str) -> Call {
        let topics = self.topics(group).map(|topics| {
            let topic = |(name, partition_indexes)| OffsetFetchRequestTopic { name, partition_indexes };
            topics.into_iter().map(topic).collect::<Vec<_>>()
        });
        let require_stable = self.stability == Stability::Stable;
        let least = match (require_stable, &topics) {
            (true, _) => 7,
            (false, None) => 2,
            (false, Some(_)) => 1,
        };
        let request = OffsetFetchRequest {
            group_id: group.to_owned(),
            topics,
            require_stable,
            ..OffsetFetchRequest::default()
        };
        Call::new(request).within(least, 7)
    }

    fn many(&self, groups: &[String]) -> Call {
        let group = |id: &String| OffsetFetchRequestGroup {
            group_id: id.clone(),
            topics: self.topics(id).map(|topics| {
                let topic = |(name, partition_indexes)| OffsetFetchRequestTopics {
                    name,
                    partition_indexes,
                    ..OffsetFetchRequestTopics::default()
                };
                topics.into_iter().map(topic).collect()
            }),
            ..OffsetFetchRequestGroup::default()
        };
        let request = OffsetFetchRequest {
            groups: groups.iter().map(group).collect(),
            require_stable: self.stability == Stability::Stable,
            ..OffsetFetchRequest::default()
        };
        // From version 10 topics have ids alone, and a deleted topic could not be asked for.
        Call::new(request).within(8, 9)
    }
}

/// What is said of one partition: its key, the offset, its epoch, the words beside it, and the error code.
type Row = (Key, i64, i32, Option<String>, i16);

fn offsets(rows: impl Iterator<Item = Row>) -> ItemResult<GroupOffsets> {
    let mut found = GroupOffsets::new();
    for (key, offset, epoch, metadata, code) in rows {
        match ApiError::from_code(code, None) {
            // The group is asked again as a whole.
            Some(error) if error.refusal.is_retriable() => return Err(error),
            Some(error) => {
                tracing::warn!("no committed offset of {}-{}: {error}", key.0, key.1);
            }
            None => {
                let committed = CommittedOffset {
                    offset,
                    leader_epoch: Some(epoch).filter(|epoch| *epoch >= 0),
                    metadata: metadata.unwrap_or_default(),
                };
                found.insert(key, Some(committed).filter(|_| offset >= 0));
            }
        }
    }
    Ok(found)
}

impl Question for ListOffsets {
    type Answer = GroupOffsets;

    const NAME: &'static str = "listConsumerGroupOffsets";
    const KIND: CoordinatorKind = CoordinatorKind::Group;

    fn calls(&self, keys: &[String]) -> Vec<(Vec<String>, Call)> {
        match self.one_group_only {
            true => keys.iter().map(|key| (vec![key.clone()], self.one(key))).collect(),
            false => vec![(keys.to_vec(), self.many(keys))],
        }
    }

    fn read(
        &mut self,
        _: &Coordinator,
        keys: &[String],
        reply: &Reply,
    ) -> Result<Rows<GroupOffsets>, ClientError> {
        let response = reply.decode::<OffsetFetchRequest>()?;
        if reply.version < 8 {
            let answer = ApiError::check(response.error_code, None).and_then(|()| {
                offsets(response.topics.into_iter().flat_map(|topic| {
                    let name = topic.name;
                    topic.partitions.into_iter().map(move |p| {
                        let key = (name.clone(), p.partition_index);
                        (key, p.committed_offset, p.committed_leader_epoch, p.metadata, p.error_code)
                    })
                }))
            });
            return Ok(keys.iter().take(1).map(|key| (key.clone(), Some(answer.clone()))).collect());
        }
        let rows = response.groups.into_iter().map(|group| {
            let answer = ApiError::check(group.error_code, None).and_then(|()| {
                offsets(group.topics.into_iter().flat_map(|topic| {
                    let name = topic.name;
                    topic.partitions.into_iter().map(move |p| {
                        let key = (name.clone(), p.partition_index);
                        (key, p.committed_offset, p.committed_leader_epoch, p.metadata, p.error_code)
                    })
                }))
            });
            (group.group_id, Some(answer))
        });
        Ok(rows.collect())
    }

    fn is_unsupported(&mut self, _: &[String]) -> bool {
        !std::mem::replace(&mut self.one_group_only, true)
    }
}

/// Sets what a group without members has committed; each partition tells whether it is set.
pub fn alter_group_offsets(
    group: String,
    offsets: BTreeMap<Key, CommittedOffset>,
) -> impl Operation<Answer = BTreeMap<Key, ItemResult<()>>> {
    alone(AlterOffsets { offsets }, group)
}

struct AlterOffsets {
    offsets: BTreeMap<Key, CommittedOffset>,
}

impl Question for AlterOffsets {
    type Answer = BTreeMap<Key, ItemResult<()>>;

    const NAME: &'static str = "offsetCommit";
    const KIND: CoordinatorKind = CoordinatorKind::Group;

    fn calls(&self, keys: &[String]) -> Vec<(Vec<String>, Call)> {
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for ((name, index), committed) in &self.offsets {
            if topics.last().is_none_or(|topic| topic.name != *name) {
                topics.push(OffsetCommitRequestTopic { name: name.clone(), ..Default::default() });
            }
            let Some(topic) = topics.last_mut() else { continue };
            topic.partitions.push(OffsetCommitRequestPartition {
                partition_index: *index,
                committed_offset: committed.offset,
                committed_leader_epoch: committed.leader_epoch.unwrap_or(-1),
                committed_metadata: Some(committed.metadata.clone()),
                ..OffsetCommitRequestPartition::default()
            });
        }
        let call = |group: &String| {
            let (group_id, topics) = (group.clone(), topics.clone());
            let request = OffsetCommitRequest { group_id, topics, ..OffsetCommitRequest::default() };
            (vec![group.clone()], Call::new(request).within(2, 9))
        };
        keys.iter().map(call).collect()
    }

    fn read(
        &mut self,
        _: &Coordinator,
        keys: &[String],
        reply: &Reply,
    ) -> Result<Rows<Self::Answer>, ClientError> {
        let response = reply.decode::<OffsetCommitRequest>()?;
        let mut answer = BTreeMap::new();
        let mut passing = None;
        for topic in response.topics {
            for row in topic.partitions {
                let checked = ApiError::check(row.error_code, None);
                if let Err(error) = &checked {
                    let coordinator = matches!(
                        error.refusal,
                        Refusal::CoordinatorLoadInProgress
                            | Refusal::CoordinatorNotAvailable
                            | Refusal::NotCoordinator
                            | Refusal::RebalanceInProgress
                    );
                    passing = passing.or(coordinator.then(|| error.clone()));
                }
                answer.insert((topic.name.clone(), row.partition_index), checked);
            }
        }
        if let Some(ApiError { refusal: Refusal::RebalanceInProgress, message }) = passing {
            // It passes with the rebalance, though Kafka does not count it among those that pass.
            passing = Some(ApiError { refusal: Refusal::CoordinatorLoadInProgress, message });
        }
        let answer = passing.map_or(Ok(answer), Err);
        Ok(keys.iter().take(1).map(|key| (key.clone(), Some(answer.clone()))).collect())
    }
}

/// Forgets what a group has committed for partitions that none of its members reads; each tells whether it is gone.
pub fn delete_group_offsets(
    group: String,
    partitions: Vec<Key>,
) -> impl Operation<Answer = BTreeMap<Key, ItemResult<()>>> {
    alone(DeleteOffsets { partitions }, group)
}

struct DeleteOffsets {
    partitions: Vec<Key>,
}

impl Question for DeleteOffsets {
    type Answer = BTreeMap<Key, ItemResult<()>>;

    const NAME: &'static str = "offsetDelete";
    const KIND: CoordinatorKind = CoordinatorKind::Group;

    fn calls(&self, keys: &[String]) -> Vec<(Vec<String>, Call)> {
        let topics = by_topic(self.partitions.iter().map(|(topic, partition)| (topic, *partition)));
        let topic = |(name, partitions): (String, Vec<i32>)| OffsetDeleteRequestTopic {
            name,
            partitions: partitions
                .into_iter()
                .map(|partition_index| OffsetDeleteRequestPartition { partition_index })
                .collect(),
        };
        let topics: Vec<_> = topics.into_iter().map(topic).collect();
        let call = |group: &String| {
            let request = OffsetDeleteRequest { group_id: group.clone(), topics: topics.clone() };
            (vec![group.clone()], Call::new(request))
        };
        keys.iter().map(call).collect()
    }

    fn read(
        &mut self,
        _: &Coordinator,
        keys: &[String],
        reply: &Reply,
    ) -> Result<Rows<Self::Answer>, ClientError> {
        let response = reply.decode::<OffsetDeleteRequest>()?;
        let answer = ApiError::check(response.error_code, None).map(|()| {
            let rows = response.topics.into_iter().flat_map(|topic| {
                let name = topic.name;
                topic.partitions.into_iter().map(move |row| {
                    ((name.clone(), row.partition_index), ApiError::check(row.error_code, None))
                })
            });
            rows.collect::<BTreeMap<_, _>>()
        });
        Ok(keys.iter().take(1).map(|key| (key.clone(), Some(answer.clone()))).collect())
    }
}

fn by_topic<'a>(keys: impl Iterator<Item = (&'a String, i32)>) -> BTreeMap<String, Vec<i32>> {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in keys {
        topics.entry(topic.clone()).or_default().push(partition);
    }
    topics
}
