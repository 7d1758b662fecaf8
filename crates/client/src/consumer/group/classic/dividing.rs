//! The leader's work: what all members want, and who gets what of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::join_group::JoinGroupResponseMember;
use ottla_protocol::time::Deadline;

use crate::assignor::{self, Assignor, Member, Topics};
use crate::metadata::{Metadata, Topic};

/// A member's id and what it is told.
pub(super) type Encoded = (String, Bytes);

/// How many partitions the divided topics had.
pub(super) type Divided = BTreeMap<Arc<str>, usize>;

/// Members that wait for their share.
#[derive(Debug)]
pub(super) struct Dividing {
    pub assignor: Assignor,
    pub give_up: Deadline,
    members: Vec<Member>,
}

impl Dividing {
    pub(super) fn new(assignor: Assignor, members: Vec<JoinGroupResponseMember>, give_up: Deadline) -> Self {
        let member = |row: JoinGroupResponseMember| {
            let (id, instance_id) = (row.member_id.clone(), row.group_instance_id.clone());
            Member::read(id, instance_id, &row.metadata).unwrap_or_else(|| {
                // Whatever it wrote, it waits for an answer: nothing, then.
                tracing::warn!("what member {} subscribes to cannot be read", row.member_id);
                Member { id: row.member_id, instance_id: row.group_instance_id, ..Member::default() }
            })
        };
        Self { assignor, give_up, members: members.into_iter().map(member).collect() }
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = Arc<str>> + '_ {
        self.members.iter().flat_map(|member| member.topics.iter().cloned())
    }

    /// Whether every topic is known, or known not to be there.
    pub(super) fn is_ready(&self, metadata: &Metadata) -> bool {
        self.members.iter().flat_map(|member| &member.topics).all(|t| metadata.topics.contains_key(&**t))
    }

    /// What every member is told, and the partition counts that went into it.
    pub(super) fn divide(&self, metadata: &Metadata) -> (Vec<Encoded>, Divided) {
        let wanted: BTreeSet<Arc<str>> = self.topics().collect();
        let mut topics = Topics::new();
        let mut divided = Divided::new();
        for name in wanted {
            let found = metadata.topics.get(&*name).filter(|topic| topic.error.is_none());
            let racks = found.map(|topic| racks(metadata, topic)).unwrap_or_default();
            divided.insert(name.clone(), racks.len());
            topics.insert(name, racks);
        }
        let assignment = self.assignor.assign(&topics, &self.members);
        let encoded = assignment.into_iter().map(|(id, partitions)| (id, assignor::encode(&partitions)));
        (encoded.collect(), divided)
    }
}

fn racks(metadata: &Metadata, topic: &Topic) -> Vec<BTreeSet<String>> {
    let rack = |id: &i32| metadata.brokers.get(id)?.rack.clone();
    topic.partitions.iter().map(|partition| partition.replicas.iter().filter_map(rack).collect()).collect()
}
