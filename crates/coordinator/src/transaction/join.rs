//! AddPartitionsToTxn and AddOffsetsToTxn: partitions take part in a transaction, which begins with the first of them;
//! and the question whether they do (KIP-890).

use std::sync::Arc;

use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal, Ticket};

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
        let exists = |topic: &str, index: i32| super::ending::leader(around.image, topic, index).is_some();
        if !partitions(&asked).iter().all(|(topic, index)| exists(topic, *index)) {
            // One that is not there spoils all.
            let outcome = |topic: &str, index: i32| {
                let there = exists(topic, index);
                Some(if there { Refusal::OperationNotAttempted } else { Refusal::UnknownTopicOrPartition })
            };
            return Decision::reply(ticket, answer(asked, outcome));
        }
        let checked = self.check(&asked);
        let (id, entry) = match checked {
            Ok(found) => found,
            Err(refusal) => return Decision::reply(ticket, answer(asked, |_, _| Some(refusal))),
        };
        if asked.verify_only {
            let takes_part = |topic: &str, index: i32| {
                let there = entry.partitions.contains(&(topic.to_owned(), index));
                let taken = there || self.planted.has(Mutant::EverythingVerified);
                (!taken).then_some(Refusal::TransactionAbortable)
            };
            return Decision::reply(ticket, answer(asked, takes_part));
        }
        let partitions = partitions(&asked);
        let reply = answer(asked, |_, _| None);
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

fn partitions(asked: &AddPartitionsToTxnTransaction) -> Partitions {
    let of = asked.topics.iter().flat_map(|topic| topic.partitions.iter().map(|index| (&topic.name, *index)));
    of.map(|(name, index)| (name.clone(), index)).collect()
}

/// The result for each partition that was asked for.
fn answer(asked: AddPartitionsToTxnTransaction, outcome: impl Fn(&str, i32) -> Option<Refusal>) -> Reply {
    let topics = asked.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|&index| AddPartitionsToTxnPartitionResult {
            partition_index: index,
            partition_error_code: outcome(&topic.name, index).map_or(0, Refusal::code),
        });
        AddPartitionsToTxnTopicResult { results_by_partition: partitions.collect(), name: topic.name.clone() }
    });
    Reply::AddPartitions(AddPartitionsToTxnResult {
        topic_results: topics.collect(),
        transactional_id: asked.transactional_id,
    })
}
