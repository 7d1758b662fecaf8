//! DescribeGroups (15), versions 0–6: classic groups, their states and members.
//!
//! v3 authorized operations (KIP-430), v4 static members, v6 a group that is not there is an error (KIP-1043).

use ottla_coordinator::group::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::describe_groups::DescribedGroup;
use ottla_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::answer::Answer;
use crate::api::coordinate::{self, NO_OPERATIONS};
use crate::context::Context;

/// The first version with a message for people.
const MESSAGES_SINCE: i16 = 6;

/// Asks the coordinator of each group.
pub fn answer(request: DescribeGroupsRequest, context: &mut Context<'_>) -> Answer<DescribeGroupsResponse> {
    let version = context.version;
    let operations = coordinate::operations(request.include_authorized_operations);
    let caller = coordinate::caller(context);
    let command = |name: &String| Command::Describe(caller.clone(), name.clone());
    coordinate::ask_each(context, request.groups, command, move |rows| {
        let groups = rows.into_iter().map(|(name, reply)| {
            let mut group = match reply {
                Ok(Reply::Describe(group)) => group,
                Ok(_) => refused(name, Refusal::UnknownServerError),
                Err(refusal) => refused(name, refusal),
            };
            if group.error_code == 0 {
                group.authorized_operations = operations;
            }
            if version < MESSAGES_SINCE {
                group.error_message = None;
            }
            group
        });
        DescribeGroupsResponse { groups: groups.collect(), ..Default::default() }
    })
}

fn refused(group_id: String, refusal: Refusal) -> DescribedGroup {
    DescribedGroup {
        group_id,
        error_code: refusal.code(),
        authorized_operations: NO_OPERATIONS,
        ..Default::default()
    }
}
