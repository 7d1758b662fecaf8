//! What a group is at present, of either protocol.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::Refusal;
use ottla_protocol::messages::consumer_group_describe::{Assignment, DescribedGroup, Member};
use ottla_protocol::messages::describe_groups::{self, DescribedGroupMember};
use ottla_protocol::messages::{ConsumerGroupDescribeRequest, DescribeGroupsRequest};
use ottla_protocol::records::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::records::decode_versioned;

use crate::admin::ItemResult;
use crate::admin::coordinated::{Coordinated, Question, Rows};
use crate::call::{Call, Reply};
use crate::coordinator::{Coordinator, CoordinatorKind};
use crate::error::{ApiError, ClientError};
use crate::operation::Operation;

/// The protocol type of groups of consumers.
const CONSUMER: &str = "consumer";

/// The number that stands for authorized operations that were not asked for.
const OPERATIONS_OMITTED: i32 = i32::MIN;

/// Which protocol a group follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// JoinGroup and SyncGroup: the members assign.
    Classic,
    /// ConsumerGroupHeartbeat: the broker assigns (KIP-848).
    Consumer,
}

impl GroupKind {
    /// As Kafka's tools print it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "Classic",
            Self::Consumer => "Consumer",
        }
    }
}

/// A group in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub id: String,
    /// Its protocol.
    pub kind: GroupKind,
    /// Its state, by Kafka's name: `Stable`, `Empty`, `PreparingRebalance`, `Reconciling` and so on.
    pub state: String,
    /// What its members are to each other: `consumer`, another word, or empty for a group of offsets alone.
    pub protocol_type: String,
    /// Who assigns: the assignor all members agreed on, or the broker's. Empty while nobody does.
    pub assignor: String,
    /// The broker that coordinates it.
    pub coordinator: Coordinator,
    /// Counts its changes; consumer protocol only.
    pub group_epoch: Option<i32>,
    /// The group epoch that the target assignment was made for; consumer protocol only.
    pub assignment_epoch: Option<i32>,
    /// Its members, in the broker's order.
    pub members: Vec<MemberDescription>,
    /// What the caller may do with it, as a bit field of ACL operations, where that was asked for.
    pub authorized_operations: Option<i32>,
}

/// A member of a group in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: String,
    /// The id it was given by its owner, if it is a static member.
    pub instance_id: Option<String>,
    /// The rack it is in.
    pub rack: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it connects from, as `/address`.
    pub host: String,
    /// Its epoch; consumer protocol only.
    pub epoch: Option<i32>,
    /// The topics it asks for by name.
    pub subscribed: Vec<String>,
    /// The topics it asks for by expression; consumer protocol only.
    pub subscribed_regex: Option<String>,
    /// The partitions it has, by topic.
    pub assignment: BTreeMap<String, Vec<i32>>,
    /// Those it is to have; consumer protocol only.
    pub target: Option<BTreeMap<String, Vec<i32>>>,
    /// Whether it speaks the protocol of its group itself (true), or joined in the classic one (false).
    pub upgraded: Option<bool>,
}

/// What else is told of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Describe {
    /// Nothing.
    #[default]
    Plainly,
    /// What the caller may do with it.
    WithAuthorizedOperations,
}

/// Groups of consumers in full, of either protocol. A group of something else is refused with `InvalidGroupId`.
pub fn describe_consumer_groups(
    ids: Vec<String>,
    describe: Describe,
) -> impl Operation<Answer = BTreeMap<String, ItemResult<GroupDescription>>> {
    let question = DescribeGroups {
        describe,
        consumers_only: true,
        classic: BTreeSet::new(),
        all_classic: false,
        words: BTreeMap::new(),
    };
    Coordinated::new(question, ids)
}

/// Classic groups in full, whatever their protocol type; members of other types than `consumer` show no partitions.
pub fn describe_classic_groups(
    ids: Vec<String>,
    describe: Describe,
) -> impl Operation<Answer = BTreeMap<String, ItemResult<GroupDescription>>> {
    let question = DescribeGroups {
        describe,
        consumers_only: false,
        classic: BTreeSet::new(),
        all_classic: true,
        words: BTreeMap::new(),
    };
    Coordinated::new(question, ids)
}

struct DescribeGroups {
    describe: Describe,
    consumers_only: bool,
    /// Groups that the consumer protocol does not know.
    classic: BTreeSet<String>,
    all_classic: bool,
    /// What the consumer protocol said of those: better words than the classic one has.
    words: BTreeMap<String, String>,
}

impl DescribeGroups {
    fn is_classic(&self, group: &str) -> bool {
        self.all_classic || self.classic.contains(group)
    }

    fn consumer_rows(&mut self, at: &Coordinator, groups: Vec<DescribedGroup>) -> Rows<GroupDescription> {
        let row = |mut group: DescribedGroup| {
            let id = group.group_id.clone();
            match ApiError::from_code(group.error_code, group.error_message.take()) {
                None => (id, Some(Ok(consumer_group(at, group)))),
                Some(error)
                    if matches!(error.refusal, Refusal::GroupIdNotFound | Refusal::UnsupportedVersion) =>
                {
                    self.classic.insert(id.clone());
                    if let Some(words) = error.message {
                        self.words.insert(id.clone(), words);
                    }
                    (id, None)
                }
                Some(error) => (id, Some(Err(error))),
            }
        };
        groups.into_iter().map(row).collect()
    }

    fn classic_row(
        &mut self,
        at: &Coordinator,
        mut group: describe_groups::DescribedGroup,
    ) -> ItemResult<GroupDescription> {
        if let Some(mut error) = ApiError::from_code(group.error_code, group.error_message.take()) {
            if error.refusal == Refusal::GroupIdNotFound {
                error.message = self.words.remove(&group.group_id).or(error.message);
            }
            return Err(error);
        }
        let kind = &group.protocol_type;
        if self.consumers_only && !kind.is_empty() && kind != CONSUMER {
            let message = format!("GroupId {} is not a consumer group ({kind}).", group.group_id);
            return Err(ApiError { refusal: Refusal::InvalidGroupId, message: Some(message) });
        }
        Ok(classic_group(at, group))
    }
}

impl Question for DescribeGroups {
    type Answer = GroupDescription;

    const NAME: &'static str = "describeConsumerGroups";
    const KIND: CoordinatorKind = CoordinatorKind::Group;

    fn calls(&self, keys: &[String]) -> Vec<(Vec<String>, Call)> {
        let include_authorized_operations = self.describe == Describe::WithAuthorizedOperations;
        let (classic, consumer): (Vec<String>, Vec<String>) =
            keys.iter().cloned().partition(|key| self.is_classic(key));
        let mut calls = Vec::new();
        if !consumer.is_empty() {
            let group_ids = consumer.clone();
            let request = ConsumerGroupDescribeRequest { group_ids, include_authorized_operations };
            calls.push((consumer, Call::new(request)));
        }
        if !classic.is_empty() {
            let request = DescribeGroupsRequest { groups: classic.clone(), include_authorized_operations };
            let least = if include_authorized_operations { 3 } else { 0 };
            calls.push((classic, Call::new(request).within(least, i16::MAX)));
        }
        calls
    }

    fn read(
        &mut self,
        coordinator: &Coordinator,
        keys: &[String],
        reply: &Reply,
    ) -> Result<Rows<GroupDescription>, ClientError> {
        if keys.first().is_some_and(|key| self.is_classic(key)) {
            let response = reply.decode::<DescribeGroupsRequest>()?;
            let row = |group: describe_groups::DescribedGroup| {
                (group.group_id.clone(), Some(self.classic_row(coordinator, group)))
            };
            return Ok(response.groups.into_iter().map(row).collect());
        }
        let response = reply.decode::<ConsumerGroupDescribeRequest>()?;
        Ok(self.consumer_rows(coordinator, response.groups))
    }

    fn is_unsupported(&mut self, keys: &[String]) -> bool {
        let fresh = keys.iter().any(|key| !self.is_classic(key));
        self.classic.extend(keys.iter().cloned());
        fresh
    }
}

fn consumer_group(coordinator: &Coordinator, group: DescribedGroup) -> GroupDescription {
    let member = |member: Member| MemberDescription {
        member_id: member.member_id,
        instance_id: member.instance_id,
        rack: member.rack_id,
        client_id: member.client_id,
        host: member.client_host,
        epoch: Some(member.member_epoch),
        subscribed: member.subscribed_topic_names,
        subscribed_regex: member.subscribed_topic_regex.filter(|regex| !regex.is_empty()),
        assignment: by_name(member.assignment),
        target: Some(by_name(member.target_assignment)),
        upgraded: Some(member.member_type == 1).filter(|_| member.member_type >= 0),
    };
    GroupDescription {
        id: group.group_id,
        kind: GroupKind::Consumer,
        state: group.group_state,
        protocol_type: CONSUMER.to_owned(),
        assignor: group.assignor_name,
        coordinator: coordinator.clone(),
        group_epoch: Some(group.group_epoch),
        assignment_epoch: Some(group.assignment_epoch),
        members: group.members.into_iter().map(member).collect(),
        authorized_operations: Some(group.authorized_operations).filter(|bits| *bits != OPERATIONS_OMITTED),
    }
}

fn by_name(assignment: Assignment) -> BTreeMap<String, Vec<i32>> {
    sorted(assignment.topic_partitions.into_iter().map(|topic| (topic.topic_name, topic.partitions)))
}

fn sorted(topics: impl Iterator<Item = (String, Vec<i32>)>) -> BTreeMap<String, Vec<i32>> {
    let mut all: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, partitions) in topics {
        all.entry(topic).or_default().extend(partitions);
    }
    for partitions in all.values_mut() {
        partitions.sort_unstable();
    }
    all
}

fn classic_group(coordinator: &Coordinator, group: describe_groups::DescribedGroup) -> GroupDescription {
    let consumers = group.protocol_type == CONSUMER;
    let member = |member: DescribedGroupMember| {
        let (mut assignment, mut subscribed, mut rack) = (BTreeMap::new(), Vec::new(), None);
        if consumers {
            // Members may write what they like: what cannot be read is shown as nothing.
            if let Ok((read, _)) = decode_versioned::<ConsumerProtocolAssignment>(&member.member_assignment) {
                let topics = read.assigned_partitions.into_iter();
                assignment = sorted(topics.map(|topic| (topic.topic, topic.partitions)));
            }
            if let Ok((read, _)) = decode_versioned::<ConsumerProtocolSubscription>(&member.member_metadata) {
                (subscribed, rack) = (read.topics, read.rack_id);
            }
        }
        MemberDescription {
            member_id: member.member_id,
            instance_id: member.group_instance_id,
            rack,
            client_id: member.client_id,
            host: member.client_host,
            assignment,
            subscribed,
            ..MemberDescription::default()
        }
    };
    GroupDescription {
        id: group.group_id,
        kind: GroupKind::Classic,
        state: group.group_state,
        protocol_type: group.protocol_type,
        assignor: group.protocol_data,
        coordinator: coordinator.clone(),
        group_epoch: None,
        assignment_epoch: None,
        members: group.members.into_iter().map(member).collect(),
        authorized_operations: Some(group.authorized_operations).filter(|bits| *bits != OPERATIONS_OMITTED),
    }
}
