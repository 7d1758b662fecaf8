//! DeleteGroups (42), versions 0–3: forget groups without members, and their offsets (KIP-229).
//!
//! v3 a message for people (KIP-1331).

use std::collections::BTreeSet;

use ottla_coordinator::group::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::delete_groups::DeletableGroupResult;
use ottla_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::answer::Answer;
use crate::api::coordinate;
use crate::context::Context;

/// Asks the coordinator of each group, once.
pub fn answer(mut request: DeleteGroupsRequest, context: &mut Context<'_>) -> Answer<DeleteGroupsResponse> {
    let mut seen = BTreeSet::new();
    request.groups_names.retain(|name| seen.insert(name.clone()));
    let command = |name: &String| Command::Delete(name.clone());
    coordinate::ask_each(context, request.groups_names, command, |rows| {
        let results = rows.into_iter().map(|(group_id, reply)| {
            let refusal = match reply {
                Ok(Reply::Done) => None,
                Ok(_) => Some(Refusal::UnknownServerError),
                Err(refusal) => Some(refusal),
            };
            DeletableGroupResult { group_id, error_code: Refusal::code_of(refusal), ..Default::default() }
        });
        DeleteGroupsResponse { results: results.collect(), ..Default::default() }
    })
}
