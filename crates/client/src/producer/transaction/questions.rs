//! What the coordinators are asked, and when: one question at a time.

use std::collections::BTreeMap;

use ottla_protocol::Now;
use ottla_protocol::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use ottla_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest,
    TxnOffsetCommitRequest,
};

use super::{Stage, Transact, Transaction};
use crate::admin::CommittedOffset;
use crate::call::Call;
use crate::cluster::{Cluster, Target};
use crate::consumer::group::search::Search;
use crate::consumer::{GroupMetadata, TopicPartition};
use crate::coordinator::CoordinatorKind;
use crate::producer::{Place, Producer};

/// What has been asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Coordinator,
    GroupCoordinator,
    Identity,
    Partitions(Vec<Place>),
    Group,
    Offsets,
    End,
}

/// The versions of the requests that both versions of the protocol have.
const END_FIRST: (i16, i16) = (0, 4);
const END_SECOND: (i16, i16) = (5, i16::MAX);
const OFFSETS_FIRST: (i16, i16) = (0, 4);
const OFFSETS_SECOND: (i16, i16) = (5, 5);
/// The first version of TxnOffsetCommit that knows members.
const OFFSETS_MIN_MEMBER: i16 = 3;
/// The last version of AddPartitionsToTxn for clients.
const ADD_MAX: i16 = 3;
/// The first version of InitProducerId that bumps a given epoch, and the last stable one.
const INIT_MIN_BUMP: i16 = 3;
const INIT_MAX: i16 = 5;

impl Producer {
    /// Asks the next question, unless one is under way, or nothing is to be asked.
    pub(super) fn ask_coordinator(&mut self, now: Now, cluster: &mut Cluster) {
        let idle = self.open.is_empty();
        let Some(transaction) = &mut self.transaction else { return };
        if transaction.asked.is_some() || transaction.not_before.is_some() {
            return;
        }
        let Some(question) = transaction.next_question(idle) else {
            return self.end_without_question(idle);
        };
        let give_up = now.after(self.settings.request_timeout);
        let group = matches!(question, Question::Offsets);
        let search = if group { transaction.group_coordinator } else { transaction.coordinator };
        let (target, question, call) = match search.node() {
            Some(node) => {
                let names = |at: Place| (self.topics.list[at.0].name.to_string(), at.1 as i32);
                (node, question.clone(), transaction.call(&question, names))
            }
            None if search.may_ask(now) => {
                let question = if group { Question::GroupCoordinator } else { Question::Coordinator };
                (-1, question.clone(), transaction.find(&question))
            }
            None => return,
        };
        match question {
            Question::Coordinator => transaction.coordinator = Search::Asked,
            Question::GroupCoordinator => transaction.group_coordinator = Search::Asked,
            // Whatever becomes of the offsets, the group may be part of the transaction from now on.
            Question::Offsets => transaction.started |= transaction.implicit,
            _ => {}
        }
        let to = if target < 0 { Target::Any } else { Target::Node(target) };
        let ticket = cluster.submit(now, to, call, give_up);
        transaction.asked = Some((ticket, target, question));
    }

    /// A commit or an abort of nothing needs no coordinator.
    fn end_without_question(&mut self, idle: bool) {
        let Some(transaction) = &mut self.transaction else { return };
        let ends = matches!(transaction.under_way, Some(Transact::Commit | Transact::Abort));
        let spoilt = matches!(transaction.stage, Stage::Over(_));
        let aborts = transaction.under_way == Some(Transact::Abort);
        let unannounced = !transaction.unannounced.is_empty() && !aborts;
        if ends && idle && !spoilt && !transaction.started && !unannounced {
            transaction.close();
            transaction.finish(Ok(()));
        }
    }
}

impl Transaction {
    /// What is to be asked now, if anything; `idle` says that no record waits or is under way.
    fn next_question(&self, idle: bool) -> Option<Question> {
        if matches!(self.stage, Stage::Over(_)) {
            return None;
        }
        let aborts = self.under_way == Some(Transact::Abort);
        if self.stage == Stage::Open && !aborts && !self.unannounced.is_empty() {
            return Some(Question::Partitions(self.unannounced.iter().copied().collect()));
        }
        match &self.under_way {
            Some(Transact::Init) => Some(Question::Identity),
            Some(Transact::Abort) if self.bumping => Some(Question::Identity),
            Some(Transact::Offsets(..)) if !self.implicit && !self.group_added => Some(Question::Group),
            Some(Transact::Offsets(..)) => Some(Question::Offsets),
            Some(Transact::Commit | Transact::Abort) if idle && self.started => Some(Question::End),
            // Nothing was begun, but numbers were spent.
            Some(Transact::Abort) if idle && self.doubt => Some(Question::Identity),
            _ => None,
        }
    }

    fn find(&self, question: &Question) -> Call {
        match (question, &self.under_way) {
            (Question::GroupCoordinator, Some(Transact::Offsets(group, _))) => {
                CoordinatorKind::Group.find(&group.group_id)
            }
            _ => CoordinatorKind::Transaction.find(&self.id),
        }
    }

    fn call(&self, question: &Question, names: impl Fn(Place) -> (String, i32)) -> Call {
        let (producer_id, producer_epoch) =
            self.identity.map_or((-1, -1), |identity| (identity.id.0, identity.epoch.0));
        let transactional_id = self.id.clone();
        match question {
            Question::Partitions(places) => {
                let call = AddPartitionsToTxnRequest {
                    v3_and_below_transactional_id: transactional_id,
                    v3_and_below_producer_id: producer_id,
                    v3_and_below_producer_epoch: producer_epoch,
                    v3_and_below_topics: by_topic(places.iter().map(|at| names(*at))),
                    ..AddPartitionsToTxnRequest::default()
                };
                Call::new(call).within(0, ADD_MAX)
            }
            Question::Group => {
                let group_id = self.offsets().map(|(group, _)| group.group_id.clone()).unwrap_or_default();
                Call::new(AddOffsetsToTxnRequest { transactional_id, producer_id, producer_epoch, group_id })
            }
            Question::Offsets => self.commit_offsets(transactional_id, (producer_id, producer_epoch)),
            Question::End => {
                let committed = self.under_way == Some(Transact::Commit);
                let (least, most) = if self.implicit { END_SECOND } else { END_FIRST };
                let request = EndTxnRequest { transactional_id, producer_id, producer_epoch, committed };
                Call::new(request).within(least, most)
            }
            Question::Identity | Question::Coordinator | Question::GroupCoordinator => {
                let bumps = self.under_way == Some(Transact::Abort);
                let timeout = i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX);
                let request = InitProducerIdRequest {
                    transactional_id: Some(transactional_id),
                    transaction_timeout_ms: timeout,
                    producer_id: if bumps { producer_id } else { -1 },
                    producer_epoch: if bumps { producer_epoch } else { -1 },
                    ..InitProducerIdRequest::default()
                };
                Call::new(request).within(if bumps { INIT_MIN_BUMP } else { 0 }, INIT_MAX)
            }
        }
    }

    fn offsets(&self) -> Option<(&GroupMetadata, &BTreeMap<TopicPartition, CommittedOffset>)> {
        match &self.under_way {
            Some(Transact::Offsets(group, offsets)) => Some((group, offsets)),
            _ => None,
        }
    }

    fn commit_offsets(&self, transactional_id: String, (producer_id, producer_epoch): (i64, i16)) -> Call {
        let mut request = TxnOffsetCommitRequest {
            transactional_id,
            producer_id,
            producer_epoch,
            ..TxnOffsetCommitRequest::default()
        };
        let Some((group, offsets)) = self.offsets() else { return Call::new(request) };
        request.group_id.clone_from(&group.group_id);
        request.generation_id_or_member_epoch = group.member.generation;
        request.member_id.clone_from(&group.member.member_id);
        request.group_instance_id.clone_from(&group.member.instance_id);
        for (partition, committed) in offsets {
            if request.topics.last().is_none_or(|topic| *topic.name != *partition.topic) {
                let name = partition.topic.to_string();
                request.topics.push(TxnOffsetCommitRequestTopic { name, ..Default::default() });
            }
            let Some(topic) = request.topics.last_mut() else { continue };
            topic.partitions.push(TxnOffsetCommitRequestPartition {
                partition_index: partition.partition,
                committed_offset: committed.offset,
                committed_leader_epoch: committed.leader_epoch.unwrap_or(-1),
                committed_metadata: Some(committed.metadata.clone()),
            });
        }
        let is_member = group.member.generation >= 0 || !group.member.member_id.is_empty();
        let (least, most) = if self.implicit { OFFSETS_SECOND } else { OFFSETS_FIRST };
        Call::new(request).within(if is_member { least.max(OFFSETS_MIN_MEMBER) } else { least }, most)
    }
}

fn by_topic(partitions: impl Iterator<Item = (String, i32)>) -> Vec<AddPartitionsToTxnTopic> {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition);
    }
    topics.into_iter().map(|(name, partitions)| AddPartitionsToTxnTopic { name, partitions }).collect()
}
