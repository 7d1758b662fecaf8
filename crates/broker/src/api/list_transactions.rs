//! ListTransactions (66), versions 0–2: the transactional ids that this node coordinates (KIP-664).
//!
//! v1 those whose transaction lasts longer (KIP-994), v2 those of a pattern (KIP-1152).

use ottla_coordinator::transaction::{self, Command, Reply};
use ottla_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use ottla_protocol::{PartitionId, Refusal};

use crate::answer::Answer;
use crate::api::transact;
use crate::context::Context;
use crate::coordinators::TRANSACTIONS_TOPIC;

/// Asks every transaction coordinator of this node.
pub fn answer(
    request: ListTransactionsRequest,
    context: &mut Context<'_>,
) -> Answer<ListTransactionsResponse> {
    if let Err(refusal) = transaction::pattern(&request) {
        return refuse(refusal);
    }
    let questions = led_here(context).map(|id| transact::question_on(id, Command::List(request.clone())));
    let questions: Vec<_> = questions.collect();
    let count = questions.len();
    let unknown_state_filters = transaction::unknown_states(&request);
    Answer::ask_all(questions, Some(transact::patience(context)), move |_, mut replies| {
        let mut response = ListTransactionsResponse { unknown_state_filters, ..Default::default() };
        for index in 0..count {
            match transact::reply(&mut replies, index) {
                Ok(Reply::List(listed)) => response.transaction_states.extend(listed.transaction_states),
                // The partition has just moved away, and its transactions with it.
                Err(Refusal::NotCoordinator) => {}
                Ok(_) => return refuse(Refusal::UnknownServerError),
                Err(refusal) => return refuse(refusal),
            }
        }
        Answer::reply(response)
    })
}

fn led_here<'a>(context: &'a Context<'_>) -> impl Iterator<Item = PartitionId> + 'a {
    let topic = context.image.topics.named(TRANSACTIONS_TOPIC).map(|topic| topic.id);
    let partitions = topic.into_iter().flat_map(|topic| context.image.topics.partitions(topic));
    partitions.filter(|(_, partition)| partition.leader == Some(context.node.id)).map(|(id, _)| id)
}

fn refuse(refusal: Refusal) -> Answer<ListTransactionsResponse> {
    Answer::reply(ListTransactionsResponse { error_code: refusal.code(), ..Default::default() })
}
