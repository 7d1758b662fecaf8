//! ListGroups (16), versions 0–5: the groups that this node coordinates.
//!
//! v4 states (KIP-518), v5 types (KIP-848).

use ottla_coordinator::group;
use ottla_protocol::messages::{ListGroupsRequest, ListGroupsResponse};
use ottla_protocol::{PartitionId, Refusal};

use crate::answer::{Answer, Question};
use crate::api::coordinate;
use crate::context::Context;
use crate::coordinators::{Command, GROUPS_TOPIC};

/// Asks every group coordinator of this node.
pub fn answer(request: ListGroupsRequest, context: &mut Context<'_>) -> Answer<ListGroupsResponse> {
    let questions: Vec<Question> = led_here(context)
        .map(|partition| {
            let command = Box::new(group::Command::List(request.clone()));
            Question::Coordinator(partition, Command::Group(command, None))
        })
        .collect();
    let count = questions.len();
    Answer::ask_all(questions, Some(coordinate::patience(context)), move |_, mut replies| {
        let mut response = ListGroupsResponse::default();
        for index in 0..count {
            match coordinate::reply(&mut replies, index) {
                Ok(group::Reply::List(groups)) => response.groups.extend(groups),
                // The partition has just moved away, and its groups with it.
                Err(Refusal::NotCoordinator) => {}
                Ok(_) => return refuse(Refusal::UnknownServerError),
                Err(refusal) => return refuse(refusal),
            }
        }
        Answer::reply(response)
    })
}

fn led_here<'a>(context: &'a Context<'_>) -> impl Iterator<Item = PartitionId> + 'a {
    let topic = context.image.topics.named(GROUPS_TOPIC).map(|topic| topic.id);
    let partitions = topic.into_iter().flat_map(|topic| context.image.topics.partitions(topic));
    partitions.filter(|(_, partition)| partition.leader == Some(context.node.id)).map(|(id, _)| id)
}

fn refuse(refusal: Refusal) -> Answer<ListGroupsResponse> {
    Answer::reply(ListGroupsResponse { error_code: refusal.code(), ..Default::default() })
}
