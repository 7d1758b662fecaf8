//! AddPartitionsToTxn and AddOffsetsToTxn: partitions take part in a transaction, which begins with the first of them;
//! and the question whether they do (KIP-890).

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
};
use ottla_protocol::{PartitionId, ProducerEpoch, ProducerId, Refusal, Ticket};

use super::command::Reply;
use super::entry::{Entry, Partitions};
use super::state::{State, TransactionVersion};
use super::{Decided, Transactions};
use crate::decider::{Around, Decision};
use crate::mutant::Mutant;

impl Transactions {
    pub(super) fn join(
        &self,
        around: Around<'_>,
        ticket: Ticket,
        version: TransactionVersion,
        asked: AddPartitionsToTxnTransaction,
    ) -> Decided {
        // Against the image from which the markers will be sent: what is not in it when the end comes counts as deleted.
        let topics = &around.image.topics;
        let exists = |topic: &str| {
            let topic = topics.named(topic).map(|topic| topic.id);
            move |index| topic.is_some_and(|topic| topics.partition(PartitionId { topic, index }).is_some())
        };
        let known = asked.topics.iter().all(|topic| topics.named(&topic.name).is_some());
        let wanted = if known { distinct(&asked) } else { BTreeMap::new() };
        if !known || !wanted.iter().all(|(topic, indexes)| indexes.iter().copied().all(exists(topic))) {
            // One that is not there spoils all.
            let outcome = |topic: &str| {
                let exists = exists(topic);
                move |index| {
                    let there = exists(index);
                    Some(if there {
                        Refusal::OperationNotAttempted
                    } else {
                        Refusal::UnknownTopicOrPartition
                    })
                }
            };
            return Decision::reply(ticket, answer(asked, outcome));
        }
        let checked = self.check(&asked);
        let (id, entry) = match checked {
            Ok(found) => found,
            Err(refusal) => return Decision::reply(ticket, answer(asked, |_| move |_| Some(refusal))),
        };
        if asked.verify_only {
            let all_taken = self.planted.has(Mutant::EverythingVerified);
            let takes_part = |topic: &str| {
                // Nothing is done for a row but what its own partitions need: there may be very many rows.
                let mut key = (topic.to_owned(), 0);
                move |index| {
                    key.1 = index;
                    (!all_taken && !entry.partitions.contains(&key)).then_some(Refusal::TransactionAbortable)
                }
            };
            return Decision::reply(ticket, answer(asked, takes_part));
        }
        let partitions = named(wanted);
        let reply = answer(asked, |_| |_| None);
        if entry.state == State::Ongoing && partitions.is_subset(&entry.partitions) {
            return Decision::reply(ticket, reply);
        }
        if self.planted.has(Mutant::JoinUnwritten) && entry.state == State::Ongoing {
            return Decision::reply(ticket, reply);
        }
        let next = entry.joined(partitions, version, around.now.wall_ms);
        Decision::write(vec![super::changed(around, id, next)], ticket, reply)
    }

    fn check(&self, asked: &AddPartitionsToTxnTransaction) -> Result<(&Arc<str>, &Entry), Refusal> {
        if asked.transactional_id.is_empty() {
            return Err(Refusal::InvalidRequest);
        }
        let found = self.entries.get_key_value(asked.transactional_id.as_str());
        let (id, entry) = found.ok_or(Refusal::InvalidProducerIdMapping)?;
        if entry.producer.id != ProducerId(asked.producer_id) {
            return Err(Refusal::InvalidProducerIdMapping);
        }
        if entry.producer.epoch != ProducerEpoch(asked.producer_epoch) {
            return Err(Refusal::ProducerFenced);
        }
        match entry.state {
            State::Prepare(_) => Err(Refusal::ConcurrentTransactions),
            State::Empty | State::Ongoing | State::Complete(_) => Ok((id, entry)),
        }
    }
}

/// What is asked for, once each: a request may name a million rows and mean one partition.
fn distinct(asked: &AddPartitionsToTxnTransaction) -> BTreeMap<&str, Vec<i32>> {
    let mut wanted: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for topic in &asked.topics {
        wanted.entry(&topic.name).or_default().extend(&topic.partitions);
    }
    for indexes in wanted.values_mut() {
        indexes.sort_unstable();
        indexes.dedup();
    }
    wanted
}

fn named(wanted: BTreeMap<&str, Vec<i32>>) -> Partitions {
    let each = |(name, indexes): (&str, Vec<i32>)| {
        let name = name.to_owned();
        indexes.into_iter().map(move |index| (name.clone(), index))
    };
    wanted.into_iter().flat_map(each).collect()
}

/// The result for each partition that was asked for; `outcome` is asked for each topic, and what it gives for each of
/// the topic's partitions.
fn answer<F: FnMut(i32) -> Option<Refusal>>(
    asked: AddPartitionsToTxnTransaction,
    outcome: impl Fn(&str) -> F,
) -> Reply {
    let topics = asked.topics.into_iter().map(|topic| {
        let mut outcome = outcome(&topic.name);
        let partitions = topic.partitions.iter().map(|&index| AddPartitionsToTxnPartitionResult {
            partition_index: index,
            partition_error_code: outcome(index).map_or(0, Refusal::code),
        });
        AddPartitionsToTxnTopicResult { results_by_partition: partitions.collect(), name: topic.name.clone() }
    });
    Reply::AddPartitions(AddPartitionsToTxnResult {
        topic_results: topics.collect(),
        transactional_id: asked.transactional_id,
    })
}
