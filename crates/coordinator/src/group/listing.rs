//! What operators see of groups: ListGroups (16), DescribeGroups (15); and DeleteGroups (42).

use ottla_protocol::Refusal;
use ottla_protocol::messages::ListGroupsRequest;
use ottla_protocol::messages::describe_groups::{DescribedGroup, DescribedGroupMember};
use ottla_protocol::messages::list_groups::ListedGroup;

use super::any::{Group, GroupMap};
use super::classic::{ClassicGroup, Member, State};
use super::command::Caller;
use super::offsets::Offsets;
use super::record::Record;

/// From this version on, a group that does not exist is an error; before, it was a dead one.
const KNOWS_GROUP_ID_NOT_FOUND: i16 = 6;

/// The groups that fit the filters (KIP-518, KIP-848); names of states and types are told apart by letters only.
pub(super) fn list(groups: &GroupMap, filters: &ListGroupsRequest) -> Vec<ListedGroup> {
    let fits = |filter: &[String], is: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(is))
    };
    let wanted = |group: &Group| {
        fits(&filters.states_filter, group.state_name()) && fits(&filters.types_filter, group.kind())
    };
    let listed = |(name, group): (&String, &Group)| ListedGroup {
        group_id: name.clone(),
        protocol_type: group.protocol_type().to_owned(),
        group_state: group.state_name().to_owned(),
        group_type: group.kind().to_owned(),
    };
    groups.iter().filter(|(_, group)| wanted(group)).map(listed).collect()
}

/// A classic group as it is described.
pub(super) fn describe(groups: &GroupMap, caller: &Caller, name: String) -> DescribedGroup {
    let message = match groups.get(&name) {
        Some(Group::Classic(group)) => return describe_classic(group),
        Some(_) => format!("Group {name} is not a classic group."),
        None => format!("Group {name} not found."),
    };
    let mut described =
        DescribedGroup { group_id: name, group_state: "Dead".to_owned(), ..Default::default() };
    if caller.version >= KNOWS_GROUP_ID_NOT_FOUND {
        described.error_code = Refusal::GroupIdNotFound.code();
        described.error_message = Some(message);
    }
    described
}

fn describe_classic(group: &ClassicGroup) -> DescribedGroup {
    let protocol = group.protocol().filter(|_| group.state() == State::Stable);
    let describe = |member: &Member| DescribedGroupMember {
        member_id: member.id.clone(),
        group_instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        member_metadata: protocol.and_then(|protocol| member.metadata(protocol).cloned()).unwrap_or_default(),
        member_assignment: member.assignment.clone(),
    };
    DescribedGroup {
        group_id: group.id().to_owned(),
        group_state: group.state().name().to_owned(),
        protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
        protocol_data: protocol.unwrap_or_default().to_owned(),
        members: group.members().map(describe).collect(),
        ..Default::default()
    }
}

/// What makes a group and its offsets forgotten.
///
/// # Errors
/// `GROUP_ID_NOT_FOUND`, or `NON_EMPTY_GROUP`.
pub(super) fn delete(groups: &GroupMap, offsets: &Offsets, name: &str) -> Result<Vec<Record>, Refusal> {
    let group = groups.get(name).ok_or(Refusal::GroupIdNotFound)?;
    if !group.is_empty() {
        return Err(Refusal::NonEmptyGroup);
    }
    let mut records = offsets.delete_all(name);
    records.extend(group.tombstones());
    Ok(records)
}
