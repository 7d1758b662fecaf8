//! A member of a consumer group: what it has said about itself, and where it stands on the way to its assignment.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::TopicId;
use ottla_protocol::records::coordinator::consumer_group_current_member_assignment::TopicPartitions;
use ottla_protocol::records::coordinator::consumer_group_member_metadata::ClassicMemberMetadata;
use ottla_protocol::records::coordinator::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue,
};

use crate::group::record::Record;

/// The epoch of a member that is gone.
pub(crate) const LEFT: i32 = -1;

/// The epoch of a static member that will be back (KIP-345).
pub(crate) const LEFT_FOR_A_WHILE: i32 = -2;

/// Partitions by topic, each with the epoch in which the member got it (KIP-1251).
pub(crate) type Owned = BTreeMap<TopicId, BTreeMap<i32, i32>>;

/// See the module. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub id: String,
    /// What it has said about itself. The topics are sorted, and each is there once.
    pub metadata: Arc<ConsumerGroupMemberMetadataValue>,
    pub epoch: i32,
    /// The epoch before; a member that has not got the last reply still uses it.
    pub previous_epoch: i32,
    pub state: MemberState,
    pub assigned: Arc<Owned>,
    /// What it has been told to give back, and has not said that it did.
    pub revoking: Arc<Owned>,
}

/// Where a member stands on the way to its assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It is there, in its epoch.
    Stable,
    /// It has to give partitions back before it may go on.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given back.
    UnreleasedPartitions,
    /// A state of a later version.
    Unknown,
}

impl MemberState {
    fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }

    fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown => 127,
        }
    }
}

impl Member {
    /// One of which nothing is known.
    pub fn new(id: &str) -> Self {
        let metadata = ConsumerGroupMemberMetadataValue {
            instance_id: None,
            rack_id: None,
            subscribed_topic_regex: Some(String::new()),
            server_assignor: None,
            ..Default::default()
        };
        Self {
            id: id.to_owned(),
            metadata: Arc::new(metadata),
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: Arc::default(),
            revoking: Arc::default(),
        }
    }

    /// Whether it has arrived at a target.
    pub fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    /// The pattern it subscribes by; an empty one is none.
    pub fn pattern(&self) -> Option<&str> {
        self.metadata.subscribed_topic_regex.as_deref().filter(|pattern| !pattern.is_empty())
    }

    /// What it says as a member of the classic protocol, if it speaks that.
    pub fn classic(&self) -> Option<&ClassicMemberMetadata> {
        self.metadata.classic_member_metadata.as_ref()
    }

    /// Goes on to an epoch.
    pub fn advance(&mut self, epoch: i32) {
        self.previous_epoch = std::mem::replace(&mut self.epoch, epoch);
    }

    /// In which epoch it got a partition that it has, or has still to give back.
    pub fn assignment_epoch(&self, topic: TopicId, partition: i32) -> Option<i32> {
        let find =
            |owned: &Owned| owned.get(&topic).and_then(|partitions| partitions.get(&partition)).copied();
        find(&self.assigned).or_else(|| find(&self.revoking))
    }

    /// The member with another id and at the start of its way, for a static one that has come back.
    pub fn replaced_by(&self, id: &str) -> Self {
        Self { id: id.to_owned(), epoch: 0, previous_epoch: 0, ..self.clone() }
    }

    /// A static member that will be back.
    pub fn gone_for_a_while(&self) -> Self {
        let mut assigned = Owned::clone(&self.assigned);
        for epoch in assigned.values_mut().flat_map(BTreeMap::values_mut) {
            *epoch = 0;
        }
        Self {
            epoch: LEFT_FOR_A_WHILE,
            assigned: Arc::new(assigned),
            revoking: Arc::default(),
            ..self.clone()
        }
    }

    /// Takes in what a record says about it.
    pub fn set_metadata(&mut self, mut metadata: ConsumerGroupMemberMetadataValue) {
        sort_names(&mut metadata.subscribed_topic_names);
        self.metadata = Arc::new(metadata);
    }

    /// Takes in where a record says that it stands; `None` is a tombstone.
    pub fn set_current(&mut self, current: Option<ConsumerGroupCurrentMemberAssignmentValue>) {
        let Some(current) = current else {
            (self.epoch, self.previous_epoch) = (LEFT, LEFT);
            (self.assigned, self.revoking) = Default::default();
            return;
        };
        self.epoch = current.member_epoch;
        self.previous_epoch = current.previous_member_epoch;
        self.state = MemberState::from_code(current.state);
        self.assigned = Arc::new(read_owned(current.assigned_partitions, current.member_epoch));
        self.revoking = Arc::new(read_owned(current.partitions_pending_revocation, current.member_epoch));
    }

    /// The record of what it has said about itself.
    pub fn metadata_record(&self, group: &str) -> Record {
        (metadata_key(group, &self.id), Some(ConsumerGroupMemberMetadataValue::clone(&self.metadata))).into()
    }

    /// The record of where it stands.
    pub fn current_record(&self, group: &str) -> Record {
        let value = ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state.code(),
            assigned_partitions: write_owned(&self.assigned),
            partitions_pending_revocation: write_owned(&self.revoking),
        };
        (current_key(group, &self.id), Some(value)).into()
    }
}

/// In order, and each once.
pub(super) fn sort_names(names: &mut Vec<String>) {
    names.sort_unstable();
    names.dedup();
}

pub(super) fn metadata_key(group: &str, member: &str) -> ConsumerGroupMemberMetadataKey {
    ConsumerGroupMemberMetadataKey { group_id: group.to_owned(), member_id: member.to_owned() }
}

pub(super) fn current_key(group: &str, member: &str) -> ConsumerGroupCurrentMemberAssignmentKey {
    ConsumerGroupCurrentMemberAssignmentKey { group_id: group.to_owned(), member_id: member.to_owned() }
}

/// Records of before 4.3 have no epochs of partitions: then it is the member's.
fn read_owned(topics: Vec<TopicPartitions>, member_epoch: i32) -> Owned {
    let mut owned = Owned::new();
    for topic in topics {
        let epochs = topic.assignment_epochs.filter(|epochs| epochs.len() == topic.partitions.len());
        let epochs = epochs.unwrap_or_else(|| vec![member_epoch.max(0); topic.partitions.len()]);
        owned.insert(topic.topic_id, topic.partitions.into_iter().zip(epochs).collect());
    }
    owned
}

fn write_owned(owned: &Owned) -> Vec<TopicPartitions> {
    let topic = |(topic, partitions): (&TopicId, &BTreeMap<i32, i32>)| TopicPartitions {
        topic_id: *topic,
        partitions: partitions.keys().copied().collect(),
        assignment_epochs: Some(partitions.values().copied().collect()),
    };
    owned.iter().map(topic).collect()
}
