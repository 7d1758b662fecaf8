//! Those who come by without being members: producers that commit offsets in transactions, and people who ask, describe
//! and delete. They stand beside the coordinator; no network is between.

use std::collections::BTreeMap;

use ottla_coordinator::group::command::FetchOffsets;
use ottla_coordinator::group::{Caller, Command};
use ottla_protocol::batch::{ControlType, StampedBatch, TransactionMarker};
use ottla_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_protocol::messages::offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_protocol::messages::offset_fetch::OffsetFetchRequestGroup;
use ottla_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, TxnOffsetCommitRequest,
};
use ottla_protocol::{ProducerEpoch, ProducerId};
use ottla_raft::random::Random;

use super::cluster::Cluster;

/// The group that has offsets, but never members.
pub const ALONE: &str = "alone";

/// How many producers there are.
const PRODUCERS: u64 = 3;

/// See the module.
#[derive(Debug, Default)]
pub struct Visitors {
    /// Which producers have a transaction open, with their epochs.
    open: BTreeMap<i64, i16>,
    tokens: u64,
}

impl Visitors {
    /// Something that somebody asks.
    pub fn ask(&mut self, cluster: &Cluster, random: &mut Random) -> Command {
        let group = ["classic", "consumer", "mixed", ALONE, "nobody's"]
            [usize::try_from(random.below(5)).unwrap_or(0)];
        let caller = Caller { client_id: "v".to_owned(), client_host: "/127.0.0.1".to_owned(), version: 5 };
        let topic = usize::try_from(random.below(cluster.len() as u64)).unwrap_or(0);
        let partition_index = i32::try_from(random.below(3)).unwrap_or(0);
        match random.below(24) {
            0 => Command::List(ListGroupsRequest::default()),
            1 => Command::Describe(caller, group.to_owned()),
            2 => Command::ConsumerDescribe(group.to_owned()),
            3 => Command::Delete(group.to_owned()),
            4 => Command::TopicsDeleted(vec![(Cluster::id(topic), Cluster::name(topic))]),
            5 => Command::DeleteOffsets(OffsetDeleteRequest {
                group_id: group.to_owned(),
                topics: vec![OffsetDeleteRequestTopic {
                    name: Cluster::name(topic),
                    partitions: vec![OffsetDeleteRequestPartition { partition_index }],
                }],
            }),
            6..10 => {
                let group = OffsetFetchRequestGroup {
                    group_id: if random.below(2) == 0 { group } else { ALONE }.to_owned(),
                    topics: None,
                    ..Default::default()
                };
                let require_stable = random.below(2) == 0;
                Command::FetchOffsets(caller, FetchOffsets { group, require_stable })
            }
            10..13 => self.commit(caller, topic, partition_index, random),
            _ => self.commit_in_transaction(caller, topic, partition_index, random),
        }
    }

    /// Ends a producer's transaction, if one is open.
    pub fn end(&mut self, random: &mut Random) -> Option<StampedBatch> {
        let chosen = i64::try_from(random.below(PRODUCERS)).unwrap_or(0);
        let epoch = self.open.remove(&chosen)?;
        let end = if random.below(3) == 0 { ControlType::Abort } else { ControlType::Commit };
        let marker = TransactionMarker {
            producer_id: ProducerId(chosen),
            producer_epoch: ProducerEpoch(epoch),
            end,
            coordinator_epoch: 0,
        };
        Some(marker.batch(0))
    }

    fn token(&mut self) -> String {
        self.tokens += 1;
        format!("v.{}", self.tokens)
    }

    fn commit(&mut self, caller: Caller, topic: usize, partition_index: i32, random: &mut Random) -> Command {
        let token = self.token();
        let partition = OffsetCommitRequestPartition {
            partition_index,
            committed_offset: i64::try_from(self.tokens).unwrap_or(0),
            committed_metadata: Some(token),
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: Cluster::name(topic),
            topic_id: Cluster::id(topic),
            partitions: vec![partition],
        };
        let request = OffsetCommitRequest {
            group_id: ALONE.to_owned(),
            generation_id_or_member_epoch: -1,
            // Old clients say how long it is to be kept.
            retention_time_ms: if random.below(2) == 0 { 2_000 } else { -1 },
            topics: vec![topic],
            ..Default::default()
        };
        Command::CommitOffsets(Caller { version: 4, ..caller }, request)
    }

    fn commit_in_transaction(
        &mut self,
        caller: Caller,
        topic: usize,
        partition_index: i32,
        random: &mut Random,
    ) -> Command {
        let producer_id = i64::try_from(random.below(PRODUCERS)).unwrap_or(0);
        let producer_epoch = *self.open.entry(producer_id).or_insert(0);
        let token = self.token();
        let partition = TxnOffsetCommitRequestPartition {
            partition_index,
            committed_offset: i64::try_from(self.tokens).unwrap_or(0),
            committed_metadata: Some(token),
            ..Default::default()
        };
        let topic = TxnOffsetCommitRequestTopic {
            name: Cluster::name(topic),
            topic_id: Cluster::id(topic),
            partitions: vec![partition],
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: format!("x{producer_id}"),
            group_id: ALONE.to_owned(),
            producer_id,
            producer_epoch,
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        Command::CommitOffsetsInTransaction(caller, request)
    }
}
