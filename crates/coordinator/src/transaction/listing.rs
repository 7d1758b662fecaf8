//! DescribeTransactions and ListTransactions (KIP-664, KIP-994, KIP-1152).

use ottla_protocol::messages::describe_transactions::{TopicData, TransactionState as Described};
use ottla_protocol::messages::list_transactions::TransactionState as Listed;
use ottla_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use ottla_protocol::{Now, Refusal, Ticket};
use regex::Regex;

use super::command::Reply;
use super::entry::Entry;
use super::state::State;
use super::{Decided, Transactions, record};
use crate::decider::Decision;

impl Transactions {
    pub(super) fn describe(&self, ticket: Ticket, id: String) -> Decided {
        let described = match self.entries.get(id.as_str()) {
            _ if id.is_empty() => refused(id, Refusal::InvalidRequest),
            None => refused(id, Refusal::TransactionalIdNotFound),
            Some(entry) => {
                let unmarked = self.endings.unmarked(&id);
                let topics = record::by_topic(unmarked.as_ref().unwrap_or(&entry.partitions));
                let topics = topics
                    .into_iter()
                    .map(|topic| TopicData { topic: topic.topic, partitions: topic.partition_ids });
                Described {
                    error_code: 0,
                    transactional_id: id,
                    transaction_state: entry.state.name().to_owned(),
                    transaction_timeout_ms: entry.timeout_ms,
                    transaction_start_time_ms: entry.start_ms,
                    producer_id: entry.producer.id.0,
                    producer_epoch: entry.producer.epoch.0,
                    topics: topics.collect(),
                }
            }
        };
        Decision::reply(ticket, Reply::Describe(described))
    }

    pub(super) fn list(&self, now: Now, ticket: Ticket, request: &ListTransactionsRequest) -> Decided {
        let pattern = match pattern(request) {
            Ok(pattern) => pattern,
            Err(refusal) => {
                let response = ListTransactionsResponse { error_code: refusal.code(), ..Default::default() };
                return Decision::reply(ticket, Reply::List(response));
            }
        };
        let wanted = |entry: &Entry| {
            let states = &request.state_filters;
            let ids = &request.producer_id_filters;
            let is_of = |name: &String| name == entry.state.name();
            let lasted_ms = now.wall_ms.saturating_sub(entry.start_ms);
            (ids.is_empty() || ids.contains(&entry.producer.id.0))
                && (states.is_empty() || states.iter().any(is_of))
                && (request.duration_filter < 0 || lasted_ms > request.duration_filter)
        };
        let listed = self.entries.iter().filter(|(id, entry)| {
            wanted(entry) && pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
        });
        let listed = listed.map(|(id, entry)| Listed {
            transactional_id: id.to_string(),
            producer_id: entry.producer.id.0,
            transaction_state: entry.state.name().to_owned(),
        });
        let response = ListTransactionsResponse {
            unknown_state_filters: unknown_states(request),
            transaction_states: listed.collect(),
            ..Default::default()
        };
        Decision::reply(ticket, Reply::List(response))
    }
}

/// Filters for states that Kafka does not have.
#[must_use]
pub fn unknown_states(request: &ListTransactionsRequest) -> Vec<String> {
    request.state_filters.iter().filter(|name| !State::is_name(name)).cloned().collect()
}

/// The pattern that whole ids must match. What only Java's expressions can say (looking around, references back) is
/// refused like anything else that is no expression.
///
/// # Errors
/// `InvalidRegularExpression`.
pub fn pattern(request: &ListTransactionsRequest) -> Result<Option<Regex>, Refusal> {
    match request.transactional_id_pattern.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => {
            // First on its own: two halves of brackets must not close around ours.
            Regex::new(text).map_err(|_| Refusal::InvalidRegularExpression)?;
            let whole = Regex::new(&format!("^(?:{text})$"));
            whole.map(Some).map_err(|_| Refusal::InvalidRegularExpression)
        }
    }
}

fn refused(transactional_id: String, refusal: Refusal) -> Described {
    Described { error_code: refusal.code(), transactional_id, ..Default::default() }
}
