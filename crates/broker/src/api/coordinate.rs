//! Requests that a coordinator answers: which partition it stands on, and how it is asked.

use ottla_coordinator::{group, place};
use ottla_protocol::time::Deadline;
use ottla_protocol::{PartitionId, Refusal};

use crate::answer::{Answer, Question, Replies};
use crate::context::Context;
use crate::coordinators::{Command, GROUPS_TOPIC, Reply};

/// What is said of a client's address, as Kafka writes it.
#[must_use]
pub fn caller(context: &Context<'_>) -> group::Caller {
    group::Caller {
        client_id: context.client_id.into(),
        client_host: format!("/{}", context.client_host),
        version: context.version,
    }
}

/// The partition of an internal topic on which the coordinator of a key stands, whoever leads it.
///
/// # Errors
/// There is no such topic yet.
pub fn partition(context: &Context<'_>, topic: &str, key: &str) -> Result<PartitionId, Refusal> {
    let topic = context.image.topics.named(topic).ok_or(Refusal::NotCoordinator)?;
    Ok(PartitionId { topic: topic.id, index: place::partition_for(key, topic.partition_count) })
}

/// When a request that writes is given up: `offsets.commit.timeout.ms` from now.
#[must_use]
pub fn patience(context: &Context<'_>) -> Deadline {
    context.now.after_ms(i64::from(context.node.settings.node().int("offsets.commit.timeout.ms")))
}

/// A question to a group's coordinator.
///
/// # Errors
/// There is none.
pub fn question(context: &Context<'_>, group: &str, command: group::Command) -> Result<Question, Refusal> {
    let partition = partition(context, GROUPS_TOPIC, group)?;
    Ok(Question::Coordinator(partition, Command::Group(Box::new(command), None)))
}

/// A group coordinator's reply to a question.
///
/// # Errors
/// The refusal, also where no reply came in time.
pub fn reply(replies: &mut Replies, index: usize) -> Result<group::Reply, Refusal> {
    match replies.coordinator(index) {
        Some(Reply::Group(group::Reply::Refused(refusal)) | Reply::Refused(refusal)) => Err(refusal),
        Some(Reply::Group(reply)) => Ok(reply),
        Some(reply @ Reply::Transaction(_)) => {
            tracing::error!(?reply, "not a group coordinator's reply");
            Err(Refusal::UnknownServerError)
        }
        // The write has not been committed yet, and may be later.
        None => Err(Refusal::CoordinatorNotAvailable),
    }
}

/// Asks a group's coordinator. `pick` takes the response out of the reply, `refuse` makes one out of a refusal.
pub fn ask<T: 'static>(
    context: &Context<'_>,
    group: &str,
    command: group::Command,
    deadline: Option<Deadline>,
    pick: fn(group::Reply) -> Option<T>,
    refuse: impl FnOnce(Refusal) -> T + 'static,
) -> Answer<T> {
    match question(context, group, command) {
        Err(refusal) => Answer::reply(refuse(refusal)),
        Ok(question) => Answer::ask_all(vec![question], deadline, move |_, mut replies| {
            let response =
                reply(&mut replies, 0).and_then(|reply| pick(reply).ok_or(Refusal::UnknownServerError));
            Answer::reply(response.unwrap_or_else(refuse))
        }),
    }
}

/// Asks the coordinators of several groups at once. `then` makes the response of the replies, in the order of the
/// groups.
pub fn ask_each<T: 'static>(
    context: &Context<'_>,
    groups: Vec<String>,
    command: impl Fn(&String) -> group::Command,
    then: impl FnOnce(Vec<(String, Result<group::Reply, Refusal>)>) -> T + 'static,
) -> Answer<T> {
    let mut questions = Vec::with_capacity(groups.len());
    let asked: Vec<Result<usize, Refusal>> = groups
        .iter()
        .map(|name| {
            questions.push(question(context, name, command(name))?);
            Ok(questions.len() - 1)
        })
        .collect();
    Answer::ask_all(questions, Some(patience(context)), move |_, mut replies| {
        let rows = groups.into_iter().zip(asked).map(|(name, asked)| {
            let reply = asked.and_then(|index| reply(&mut replies, index));
            (name, reply)
        });
        let rows = rows.collect();
        Answer::reply(then(rows))
    })
}

/// "Not asked for."
pub const NO_OPERATIONS: i32 = i32::MIN;

/// What anyone may do with a group while there is no authorizer: read, delete, describe, describe-configs,
/// alter-configs, as the bits of their ACL operation numbers; or nothing where the client does not want to know.
#[must_use]
pub fn operations(wanted: bool) -> i32 {
    if wanted { 0b1101_0100_1000 } else { NO_OPERATIONS }
}

/// Whether members of consumer groups (KIP-848) are served: the protocol is enabled here and the cluster's
/// `group.version` knows of it.
#[must_use]
pub fn serves_consumer_groups(context: &Context<'_>) -> bool {
    let protocols = context.node.settings.node().list("group.coordinator.rebalance.protocols");
    let level = context.image.features.get("group.version").copied().unwrap_or(0);
    level >= 1 && protocols.iter().any(|protocol| protocol.eq_ignore_ascii_case("consumer"))
}
