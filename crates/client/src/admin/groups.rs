//! Groups: list, describe, delete; their offsets; their members.
//!
//! Everything here but the list goes to the group's coordinator, which is found first and found again where it moved.

mod description;
mod offsets;

use std::collections::BTreeMap;

use ottla_protocol::messages::leave_group::MemberIdentity;
use ottla_protocol::messages::list_groups::ListedGroup;
use ottla_protocol::messages::{DeleteGroupsRequest, LeaveGroupRequest, ListGroupsRequest};

pub use description::{
    Describe, GroupDescription, GroupKind, MemberDescription, describe_classic_groups,
    describe_consumer_groups,
};
pub use offsets::{
    CommittedOffset, GroupOffsets, OffsetsOf, Stability, alter_group_offsets, delete_group_offsets,
    list_group_offsets,
};

use super::ItemResult;
use super::coordinated::{Coordinated, Question, Rows, alone};
use super::every_broker::EveryBroker;
use crate::call::{Call, Reply};
use crate::coordinator::{Coordinator, CoordinatorKind};
use crate::error::{ApiError, ClientError};
use crate::operation::{Mapped, Operation};

/// Which groups are listed; empty lists mean all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFilter {
    /// Only groups in these states, by Kafka's names (`Stable`, `Empty`, …; from Kafka 2.6).
    pub states: Vec<String>,
    /// Only groups of these types (`classic`, `consumer`, `share`, `streams`; from Kafka 3.8).
    pub types: Vec<String>,
}

/// Every group on every broker that passes the filter, by id. A broker too old for the filter refuses.
pub fn list_groups(filter: GroupFilter) -> impl Operation<Answer = Vec<ListedGroup>> {
    let least = match (filter.types.is_empty(), filter.states.is_empty()) {
        (false, _) => 5,
        (true, false) => 4,
        (true, true) => 0,
    };
    let call = move || {
        let request =
            ListGroupsRequest { states_filter: filter.states.clone(), types_filter: filter.types.clone() };
        Call::new(request).within(least, i16::MAX)
    };
    let read = |reply: &Reply| {
        let response = reply.decode::<ListGroupsRequest>()?;
        ApiError::check(response.error_code, None)?;
        Ok(response.groups)
    };
    Mapped::new(EveryBroker::new("listGroups", call, read), |found| {
        let mut groups: Vec<ListedGroup> = found.into_values().flatten().collect();
        groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        // A group that moved between two answers is in both.
        groups.dedup_by(|a, b| a.group_id == b.group_id);
        Ok(groups)
    })
}

/// Deletes groups that have no members; each tells whether it is gone.
pub fn delete_groups(ids: Vec<String>) -> impl Operation<Answer = BTreeMap<String, ItemResult<()>>> {
    Coordinated::new(DeleteGroups, ids)
}

struct DeleteGroups;

impl Question for DeleteGroups {
    type Answer = ();

    const NAME: &'static str = "deleteConsumerGroups";
    const KIND: CoordinatorKind = CoordinatorKind::Group;

    fn calls(&self, keys: &[String]) -> Vec<(Vec<String>, Call)> {
        vec![(keys.to_vec(), Call::new(DeleteGroupsRequest { groups_names: keys.to_vec() }))]
    }

    fn read(&mut self, _: &Coordinator, _: &[String], reply: &Reply) -> Result<Rows<()>, ClientError> {
        let response = reply.decode::<DeleteGroupsRequest>()?;
        let row = |row: ottla_protocol::messages::delete_groups::DeletableGroupResult| {
            (row.group_id, Some(ApiError::check(row.error_code, row.error_message)))
        };
        Ok(response.results.into_iter().map(row).collect())
    }
}

/// A member as LeaveGroup names it: by its id, or by its instance id with an empty member id (KIP-345).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberToRemove {
    /// The member's id; empty for whoever holds the instance id.
    pub member_id: String,
    /// The instance id of a static member.
    pub instance_id: Option<String>,
}

/// Takes members out of a group; each tells whether it is out. For all of them, describe the group first.
pub fn remove_members(
    group: String,
    members: Vec<MemberToRemove>,
    reason: Option<String>,
) -> impl Operation<Answer = Vec<(MemberToRemove, ItemResult<()>)>> {
    let reason = match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("member was removed by an admin: {reason}"),
        None => "member was removed by an admin".to_owned(),
    };
    alone(RemoveMembers { members, reason }, group)
}

struct RemoveMembers {
    members: Vec<MemberToRemove>,
    reason: String,
}

impl Question for RemoveMembers {
    type Answer = Vec<(MemberToRemove, ItemResult<()>)>;

    const NAME: &'static str = "leaveGroup";
    const KIND: CoordinatorKind = CoordinatorKind::Group;

    fn calls(&self, keys: &[String]) -> Vec<(Vec<String>, Call)> {
        let member = |member: &MemberToRemove| MemberIdentity {
            member_id: member.member_id.clone(),
            group_instance_id: member.instance_id.clone(),
            reason: Some(self.reason.clone()),
        };
        let call = |group: &String| {
            let members = self.members.iter().map(member).collect();
            let request =
                LeaveGroupRequest { group_id: group.clone(), members, ..LeaveGroupRequest::default() };
            (vec![group.clone()], Call::new(request).within(3, i16::MAX))
        };
        keys.iter().map(call).collect()
    }

    fn read(
        &mut self,
        _: &Coordinator,
        keys: &[String],
        reply: &Reply,
    ) -> Result<Rows<Self::Answer>, ClientError> {
        let response = reply.decode::<LeaveGroupRequest>()?;
        let answer = ApiError::check(response.error_code, None).map(|()| {
            let row = |row: ottla_protocol::messages::leave_group::MemberResponse| {
                let member = MemberToRemove { member_id: row.member_id, instance_id: row.group_instance_id };
                (member, ApiError::check(row.error_code, None))
            };
            response.members.into_iter().map(row).collect()
        });
        Ok(keys.iter().take(1).map(|key| (key.clone(), Some(answer.clone()))).collect())
    }
}

#[cfg(test)]
mod tests;
