//! DescribeTransactions (65), version 0: transactional ids and the transactions they are in (KIP-664).

use ottla_coordinator::transaction::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::describe_transactions::TransactionState;
use ottla_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};

use crate::answer::Answer;
use crate::api::transact;
use crate::context::Context;

/// Asks the coordinator of each id.
pub fn answer(
    request: DescribeTransactionsRequest,
    context: &mut Context<'_>,
) -> Answer<DescribeTransactionsResponse> {
    let mut questions = Vec::with_capacity(request.transactional_ids.len());
    let rows: Vec<(String, Result<usize, Refusal>)> = request
        .transactional_ids
        .into_iter()
        .map(|id| {
            let question = transact::question(context, &id, Command::Describe(id.clone()));
            let asked = question.map(|question| {
                questions.push(question);
                questions.len() - 1
            });
            (id, asked)
        })
        .collect();
    Answer::ask_all(questions, Some(transact::patience(context)), move |_, mut replies| {
        let states = rows.into_iter().map(|(id, asked)| {
            match asked.and_then(|index| transact::reply(&mut replies, index)) {
                Ok(Reply::Describe(state)) => state,
                Ok(_) => refused(id, Refusal::UnknownServerError),
                Err(refusal) => refused(id, refusal),
            }
        });
        Answer::reply(DescribeTransactionsResponse {
            transaction_states: states.collect(),
            ..Default::default()
        })
    })
}

fn refused(transactional_id: String, refusal: Refusal) -> TransactionState {
    TransactionState { transactional_id, error_code: refusal.code(), ..Default::default() }
}
