//! Requests that a transaction coordinator answers: which partition it stands on, and how it is asked.

use ottla_coordinator::transaction::{Command, Reply};
use ottla_protocol::time::Deadline;
use ottla_protocol::{PartitionId, Refusal};

use crate::answer::{Answer, Question, Replies};
use crate::api::coordinate;
use crate::context::Context;
use crate::coordinators::{self, TRANSACTIONS_TOPIC};

/// When a request is given up: `request.timeout.ms` from now.
#[must_use]
pub fn patience(context: &Context<'_>) -> Deadline {
    context.now.after_ms(i64::from(context.node.settings.node().int("request.timeout.ms")))
}

/// A question to the coordinator of a transactional id, whoever leads its partition.
///
/// # Errors
/// There is none.
pub fn question(context: &Context<'_>, id: &str, command: Command) -> Result<Question, Refusal> {
    Ok(question_on(coordinate::partition(context, TRANSACTIONS_TOPIC, id)?, command))
}

/// A question to the coordinator on this partition.
#[must_use]
pub fn question_on(partition: PartitionId, command: Command) -> Question {
    Question::Coordinator(partition, coordinators::Command::Transaction(Box::new(command)))
}

/// A transaction coordinator's reply to a question.
///
/// # Errors
/// The refusal, also where no reply came in time.
pub fn reply(replies: &mut Replies, index: usize) -> Result<Reply, Refusal> {
    match replies.coordinator(index) {
        Some(
            coordinators::Reply::Transaction(Reply::Refused(refusal)) | coordinators::Reply::Refused(refusal),
        ) => Err(refusal),
        Some(coordinators::Reply::Transaction(reply)) => Ok(reply),
        Some(reply @ coordinators::Reply::Group(_)) => {
            tracing::error!(?reply, "not a transaction coordinator's reply");
            Err(Refusal::UnknownServerError)
        }
        // What has been decided is not committed yet, and may be later: the client asks again.
        None => Err(Refusal::CoordinatorNotAvailable),
    }
}

/// Asks the coordinator of a transactional id. `pick` takes the response out of the reply, `refuse` makes one out of a
/// refusal.
pub fn ask<T: 'static>(
    context: &Context<'_>,
    id: &str,
    command: Command,
    pick: fn(Reply) -> Option<T>,
    refuse: impl FnOnce(Refusal) -> T + 'static,
) -> Answer<T> {
    match question(context, id, command) {
        Err(refusal) => Answer::reply(refuse(refusal)),
        Ok(question) => Answer::ask_all(vec![question], Some(patience(context)), move |_, mut replies| {
            let response =
                reply(&mut replies, 0).and_then(|reply| pick(reply).ok_or(Refusal::UnknownServerError));
            Answer::reply(response.unwrap_or_else(refuse))
        }),
    }
}

/// An error code in words that clients of this version know: before `known_since` there was no PRODUCER_FENCED.
#[must_use]
pub fn as_told(code: i16, version: i16, known_since: i16) -> i16 {
    if version < known_since && code == Refusal::ProducerFenced.code() {
        return Refusal::InvalidProducerEpoch.code();
    }
    code
}
