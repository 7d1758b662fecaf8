//! What the log says of a consumer group, and how each record changes it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ottla_protocol::records::coordinator::{
    ConsumerGroupMetadataKey, ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey,
};

use super::member::{Member, current_key, metadata_key};
use super::owners::Owners;
use super::subscriptions::{Matches, Subscriptions, pattern_tombstone};
use super::target::{self, Target};
use crate::group::record::Record;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Roster {
    pub id: String,
    /// Counts what makes another target necessary.
    pub epoch: i32,
    /// What the topics were like; see [`super::hash`].
    pub metadata_hash: i64,
    pub members: BTreeMap<String, Member>,
    /// Who bears a static name.
    pub static_members: BTreeMap<String, String>,
    /// How many members prefer each assignor.
    pub assignors: BTreeMap<String, usize>,
    pub classic: ClassicMembers,
    pub subscriptions: Subscriptions,
    pub owners: Owners,
    pub target: Target,
    /// Whether a record of the topics still stands in the log, as Kafka wrote it before 4.1.
    pub has_partition_metadata: bool,
}

/// The members that speak the classic protocol.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ClassicMembers {
    pub count: usize,
    /// How many of them know each protocol.
    pub protocols: BTreeMap<String, usize>,
}

/// What a group is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupState {
    /// Nobody is there.
    Empty,
    /// The target is not reckoned yet.
    Assigning,
    /// Members are on their way.
    Reconciling,
    /// Everybody has arrived.
    Stable,
}

impl GroupState {
    /// What clients call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

impl Roster {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            epoch: 1,
            metadata_hash: 0,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            assignors: BTreeMap::new(),
            classic: ClassicMembers::default(),
            subscriptions: Subscriptions::default(),
            owners: Owners::default(),
            target: Target::default(),
            has_partition_metadata: false,
        }
    }

    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::ConsumerGroupMetadata(_, Some(value)) => {
                (self.epoch, self.metadata_hash) = (value.epoch, value.metadata_hash);
            }
            Record::ConsumerGroupPartitionMetadata(_, value) => self.has_partition_metadata = value.is_some(),
            Record::ConsumerGroupMemberMetadata(key, Some(value)) => {
                let mut member = self.member_or_new(&key.member_id);
                member.set_metadata(value);
                self.put_member(member);
            }
            Record::ConsumerGroupMemberMetadata(key, None) => self.remove_member(&key.member_id),
            Record::ConsumerGroupCurrentMemberAssignment(key, value) => {
                if value.is_none() && !self.members.contains_key(&key.member_id) {
                    return;
                }
                let mut member = self.member_or_new(&key.member_id);
                member.set_current(value);
                self.put_member(member);
            }
            Record::ConsumerGroupTargetAssignmentMember(key, value) => {
                self.target.set_member(key.member_id, value);
            }
            Record::ConsumerGroupTargetAssignmentMetadata(_, value) => {
                self.target.set_metadata(value.as_ref());
            }
            Record::ConsumerGroupRegularExpression(key, value) => {
                self.subscriptions.set_matches(&key.regular_expression, value.map(Matches::read));
            }
            Record::ConsumerGroupMetadata(_, None) | Record::GroupMetadata(..) | Record::OffsetCommit(..) => {
            }
        }
    }

    fn member_or_new(&self, id: &str) -> Member {
        self.members.get(id).cloned().unwrap_or_else(|| Member::new(id))
    }

    pub(super) fn put_member(&mut self, member: Member) {
        let old = self.members.insert(member.id.clone(), member.clone());
        self.replace(old.as_ref(), Some(&member));
    }

    fn remove_member(&mut self, id: &str) {
        if let Some(old) = self.members.remove(id) {
            self.replace(Some(&old), None);
        }
    }

    /// Keeps everything that is counted over the members.
    fn replace(&mut self, old: Option<&Member>, new: Option<&Member>) {
        self.owners.replace(old, new);
        if let (Some(old), Some(new)) = (old, new)
            && old.metadata == new.metadata
        {
            return;
        }
        self.subscriptions.replace(old, new);
        if let Some(old) = old {
            if let Some(instance) = &old.metadata.instance_id
                && self.static_members.get(instance) == Some(&old.id)
            {
                self.static_members.remove(instance);
            }
            discount(&mut self.assignors, old.metadata.server_assignor.as_deref());
            self.classic.remove(old);
        }
        if let Some(new) = new {
            if let Some(instance) = &new.metadata.instance_id {
                self.static_members.insert(instance.clone(), new.id.clone());
            }
            count(&mut self.assignors, new.metadata.server_assignor.as_deref());
            self.classic.add(new);
        }
    }

    pub(super) fn state(&self) -> GroupState {
        let target = self.target.epoch;
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.epoch > target {
            GroupState::Assigning
        } else if self.members.values().all(|member| member.is_reconciled_to(target)) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// The member that bears a static name.
    pub(super) fn static_member(&self, instance: &str) -> Option<&Member> {
        self.static_members.get(instance).and_then(|id| self.members.get(id))
    }

    /// The assignor that most members prefer, if one became another; of several the last by name.
    pub(super) fn preferred_assignor(&self, old: Option<&Member>, new: Option<&Member>) -> Option<String> {
        let mut counts = self.assignors.clone();
        discount(&mut counts, old.and_then(|member| member.metadata.server_assignor.as_deref()));
        count(&mut counts, new.and_then(|member| member.metadata.server_assignor.as_deref()));
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name)
    }

    /// The record of the group's epoch.
    pub(super) fn epoch_record(&self, epoch: i32, metadata_hash: i64) -> Record {
        (group_key(&self.id), Some(ConsumerGroupMetadataValue { epoch, metadata_hash })).into()
    }

    /// The tombstone of the old record of the topics.
    pub(super) fn partition_metadata_tombstone(&self) -> Record {
        (ConsumerGroupPartitionMetadataKey { group_id: self.id.clone() }, None).into()
    }

    /// The records that take a member away.
    pub(super) fn remove_records(&self, id: &str, records: &mut Vec<Record>) {
        records.push((current_key(&self.id, id), None).into());
        records.push((target::member_key(&self.id, id), None).into());
        records.push((metadata_key(&self.id, id), None).into());
    }

    /// The records that end the group; `rename` says under which ids the members have been written.
    pub(super) fn end<'a>(&'a self, rename: impl Fn(&'a str) -> &'a str, records: &mut Vec<Record>) {
        let ids: Vec<&str> = self.members.keys().map(|id| rename(id)).collect();
        records.extend(ids.iter().map(|id| Record::from((current_key(&self.id, id), None))));
        records.extend(ids.iter().map(|id| Record::from((target::member_key(&self.id, id), None))));
        records.push((target::metadata_key(&self.id), None).into());
        records.extend(ids.iter().map(|id| Record::from((metadata_key(&self.id, id), None))));
        let patterns = self.subscriptions.matches.keys();
        records.extend(patterns.map(|pattern| pattern_tombstone(&self.id, pattern)));
        records.push(self.partition_metadata_tombstone());
        records.push((group_key(&self.id), None).into());
    }

    /// The records that make the group, as it comes out of a classic one.
    pub(super) fn begin(&self, records: &mut Vec<Record>) {
        records.extend(self.members.values().map(|member| member.metadata_record(&self.id)));
        records.push(self.epoch_record(self.epoch, self.metadata_hash));
        let targets = self.members.keys();
        records.extend(targets.map(|id| target::member_record(&self.id, id, &self.target.of(id))));
        records.push(target::metadata_record(&self.id, self.target.epoch, self.target.timestamp_ms));
        records.extend(self.members.values().map(|member| member.current_record(&self.id)));
    }
}

impl ClassicMembers {
    fn add(&mut self, member: &Member) {
        let Some(classic) = member.classic() else { return };
        self.count += 1;
        for protocol in &classic.supported_protocols {
            count(&mut self.protocols, Some(&protocol.name));
        }
    }

    fn remove(&mut self, member: &Member) {
        let Some(classic) = member.classic() else { return };
        self.count -= 1;
        for protocol in &classic.supported_protocols {
            discount(&mut self.protocols, Some(&protocol.name));
        }
    }
}

fn group_key(group: &str) -> ConsumerGroupMetadataKey {
    ConsumerGroupMetadataKey { group_id: group.to_owned() }
}

fn count(counts: &mut BTreeMap<String, usize>, name: Option<&str>) {
    if let Some(name) = name {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
}

fn discount(counts: &mut BTreeMap<String, usize>, name: Option<&str>) {
    let Some(name) = name else { return };
    if let Entry::Occupied(mut count) = counts.entry(name.to_owned()) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}
