//! The target assignment: what each member shall have in the end, and in which epoch of the group it was reckoned.
//!
//! A new target is written as records of those members alone for whom it is another.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_metadata::Image;
use ottla_protocol::TopicId;
use ottla_protocol::records::coordinator::consumer_group_target_assignment_member::TopicPartition;
use ottla_protocol::records::coordinator::{
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue,
};

use super::member::Member;
use super::subscriptions::Subscriptions;
use crate::assign::{Assignor, MemberSpec, Partitions, Spec, Subscriptions as Kind};
use crate::group::record::Record;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub epoch: i32,
    /// When it was reckoned; 0 if that does not matter.
    pub timestamp_ms: i64,
    pub members: BTreeMap<String, Arc<Partitions>>,
}

/// A target that is to be reckoned: the members as they will be.
pub(super) struct Plan<'a> {
    pub group: &'a str,
    /// The epoch of the group that it is for.
    pub epoch: i32,
    pub kind: Kind,
    pub subscriptions: &'a Subscriptions,
    /// Each with what it was to have until now; `None` for one that never had a target.
    pub members: BTreeMap<&'a str, (&'a Member, Option<&'a Partitions>)>,
}

impl Default for Target {
    fn default() -> Self {
        Self { epoch: 1, timestamp_ms: 0, members: BTreeMap::new() }
    }
}

impl Target {
    /// What a member shall have.
    pub(super) fn of(&self, member: &str) -> Arc<Partitions> {
        self.members.get(member).cloned().unwrap_or_default()
    }

    /// Takes in a record about a member.
    pub(super) fn set_member(
        &mut self,
        member: String,
        value: Option<ConsumerGroupTargetAssignmentMemberValue>,
    ) {
        match value {
            Some(value) => self.members.insert(member, Arc::new(read(value))),
            None => self.members.remove(&member),
        };
    }

    /// Takes in a record about the target as a whole.
    pub(super) fn set_metadata(&mut self, value: Option<&ConsumerGroupTargetAssignmentMetadataValue>) {
        (self.epoch, self.timestamp_ms) =
            value.map_or((-1, 0), |value| (value.assignment_epoch, value.assignment_timestamp));
    }
}

impl Plan<'_> {
    /// Reckons the target; adds its records, and returns what a member shall have.
    pub(super) fn carry_out(
        &self,
        assignor: Assignor,
        (image, now_ms): (&Image, i64),
        member: &str,
        records: &mut Vec<Record>,
    ) -> Arc<Partitions> {
        static NOTHING: Partitions = Partitions::new();
        let mut lookup = Lookup { image, subscriptions: self.subscriptions, found: BTreeMap::new() };
        let specs = self.members.iter().map(|(id, (member, had))| MemberSpec {
            id,
            instance: member.metadata.instance_id.as_deref(),
            topics: lookup.topics(member),
            had: had.unwrap_or(&NOTHING),
        });
        let members: Vec<MemberSpec<'_>> = specs.collect();
        let topics = members.iter().flat_map(|member| &*member.topics);
        let count = |topic: &TopicId| Some((*topic, image.topics.get(*topic)?.partition_count));
        let partition_counts = match self.kind {
            Kind::Alike => members.first().into_iter().flat_map(|m| &*m.topics).filter_map(count).collect(),
            Kind::Mixed => topics.filter_map(count).collect(),
        };
        let assigned = assignor.assign(&Spec { members, subscriptions: self.kind, partition_counts });
        let mut wanted = Arc::default();
        for ((id, (_, had)), new) in self.members.iter().zip(assigned) {
            if let Some(changed) = new.as_ref().or_else(|| had.is_none().then_some(&NOTHING)) {
                records.push(member_record(self.group, id, changed));
            }
            if *id == member {
                wanted = new.map_or_else(|| Arc::new(had.cloned().unwrap_or_default()), Arc::new);
            }
        }
        records.push(metadata_record(self.group, self.epoch, now_ms));
        wanted
    }
}

/// The names and the pattern by which a member says what it wants.
type WantedBy<'a> = (&'a [String], Option<&'a str>);

/// Members that want the same by the same names share one list of topics.
struct Lookup<'a> {
    image: &'a Image,
    subscriptions: &'a Subscriptions,
    found: BTreeMap<WantedBy<'a>, Arc<[TopicId]>>,
}

impl<'a> Lookup<'a> {
    fn topics(&mut self, member: &'a Member) -> Arc<[TopicId]> {
        let wish = (&*member.metadata.subscribed_topic_names, member.pattern());
        if let Some(found) = self.found.get(&wish) {
            return found.clone();
        }
        let topics: Arc<[TopicId]> = topic_ids(self.image, self.subscriptions, member).into();
        self.found.insert(wish, topics.clone());
        topics
    }
}

/// The topics that a member wants and that exist, sorted.
pub(super) fn topic_ids(image: &Image, subscriptions: &Subscriptions, member: &Member) -> Vec<TopicId> {
    let topics = subscriptions.of(member).filter_map(|name| image.topics.named(name));
    let mut ids: Vec<TopicId> = topics.map(|topic| topic.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The record of what a member shall have.
pub(super) fn member_record(group: &str, member: &str, partitions: &Partitions) -> Record {
    let topics = partitions.iter().map(|(topic, partitions)| TopicPartition {
        topic_id: *topic,
        partitions: partitions.iter().copied().collect(),
    });
    let value = ConsumerGroupTargetAssignmentMemberValue { topic_partitions: topics.collect() };
    (member_key(group, member), Some(value)).into()
}

/// The record of the target's epoch, and of when it was reckoned.
pub(super) fn metadata_record(group: &str, epoch: i32, timestamp_ms: i64) -> Record {
    let value = ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: epoch,
        assignment_timestamp: timestamp_ms,
    };
    (metadata_key(group), Some(value)).into()
}

pub(super) fn member_key(group: &str, member: &str) -> ConsumerGroupTargetAssignmentMemberKey {
    ConsumerGroupTargetAssignmentMemberKey { group_id: group.to_owned(), member_id: member.to_owned() }
}

pub(super) fn metadata_key(group: &str) -> ConsumerGroupTargetAssignmentMetadataKey {
    ConsumerGroupTargetAssignmentMetadataKey { group_id: group.to_owned() }
}

fn read(value: ConsumerGroupTargetAssignmentMemberValue) -> Partitions {
    let topics = value.topic_partitions.into_iter();
    topics.map(|topic| (topic.topic_id, topic.partitions.into_iter().collect())).collect()
}
