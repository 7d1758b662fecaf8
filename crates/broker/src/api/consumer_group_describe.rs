//! ConsumerGroupDescribe (69), versions 0–1: consumer groups, their epochs and members (KIP-848).
//!
//! v1 which protocol each member speaks (KIP-1099).

use ottla_coordinator::group::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::consumer_group_describe::DescribedGroup;
use ottla_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

use crate::answer::Answer;
use crate::api::coordinate::{self, NO_OPERATIONS};
use crate::context::Context;

/// Asks the coordinator of each group.
pub fn answer(
    request: ConsumerGroupDescribeRequest,
    context: &mut Context<'_>,
) -> Answer<ConsumerGroupDescribeResponse> {
    if !coordinate::serves_consumer_groups(context) {
        let groups = request.group_ids.into_iter();
        let groups = groups.map(|name| refused(name, Refusal::UnsupportedVersion)).collect();
        return Answer::reply(ConsumerGroupDescribeResponse { groups, ..Default::default() });
    }
    let operations = coordinate::operations(request.include_authorized_operations);
    let (named, unnamed): (Vec<_>, Vec<_>) = request.group_ids.into_iter().partition(|name| !name.is_empty());
    let command = |name: &String| Command::ConsumerDescribe(name.clone());
    coordinate::ask_each(context, named, command, move |rows| {
        let named = rows.into_iter().map(|(name, reply)| match reply {
            Ok(Reply::ConsumerDescribe(group)) if group.error_code == 0 => {
                DescribedGroup { authorized_operations: operations, ..group }
            }
            Ok(Reply::ConsumerDescribe(group)) => group,
            Ok(_) => refused(name, Refusal::UnknownServerError),
            Err(refusal) => refused(name, refusal),
        });
        let unnamed = unnamed.into_iter().map(|name| refused(name, Refusal::InvalidGroupId));
        ConsumerGroupDescribeResponse { groups: unnamed.chain(named).collect(), ..Default::default() }
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
