//! JoinGroup (11), versions 0–9: a member of a classic group wants to take part in the next rebalance.
//!
//! v1 rebalance timeout (KIP-62), v4 the member's id is given out first (KIP-394), v5 static members (KIP-345), v7 the
//! protocol's type (KIP-559), v8 a reason (KIP-800), v9 the leader may have nothing to assign (KIP-814).

use ottla_coordinator::group::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use crate::answer::Answer;
use crate::api::coordinate;
use crate::context::Context;

/// The first version with a rebalance timeout of its own.
const REBALANCE_TIMEOUT_SINCE: i16 = 1;

/// The first version in which there may be no protocol.
const NO_PROTOCOL_SINCE: i16 = 7;

/// The first version in which the leader may be told to assign nothing.
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

/// Asks the group's coordinator, and waits as long as it takes until all members have come.
pub fn answer(mut request: JoinGroupRequest, context: &mut Context<'_>) -> Answer<JoinGroupResponse> {
    let version = context.version;
    let refuse = |member_id: String| {
        move |refusal: Refusal| JoinGroupResponse {
            error_code: refusal.code(),
            member_id,
            generation_id: -1,
            ..Default::default()
        }
    };
    if request.group_id.is_empty() {
        return Answer::reply(fit(refuse(request.member_id)(Refusal::InvalidGroupId), version));
    }
    if version < REBALANCE_TIMEOUT_SINCE {
        request.rebalance_timeout_ms = request.session_timeout_ms;
    }
    let group = request.group_id.clone();
    let refuse = refuse(request.member_id.clone());
    let command = Command::Join(coordinate::caller(context), request);
    let pick = |reply| match reply {
        Reply::Join(response) => Some(response),
        _ => None,
    };
    coordinate::ask(context, &group, command, None, pick, refuse).map(move |response| fit(response, version))
}

fn fit(mut response: JoinGroupResponse, version: i16) -> JoinGroupResponse {
    let name = response.protocol_name.take().filter(|name| !name.is_empty());
    response.protocol_name = if version >= NO_PROTOCOL_SINCE { name } else { Some(name.unwrap_or_default()) };
    response.skip_assignment &= version >= SKIP_ASSIGNMENT_SINCE;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kafka 4.4 turns an empty name into none where there may be none, and none into an empty one before that.
    #[test]
    fn an_empty_name_of_a_protocol_is_none_where_there_may_be_none() {
        for version in 0..=9 {
            for name in [None, Some(String::new())] {
                let response = JoinGroupResponse { protocol_name: name, ..Default::default() };
                let expected = (version < 7).then(String::new);
                assert_eq!(fit(response, version).protocol_name, expected, "version {version}");
            }
            let response =
                JoinGroupResponse { protocol_name: Some("range".to_owned()), ..Default::default() };
            assert_eq!(fit(response, version).protocol_name.as_deref(), Some("range"));
        }
    }
}
