//! A group with one member, and what such a member says: it joins and commits.

use anyhow::ensure;
use bytes::Bytes;
use ottla_protocol::messages::join_group::JoinGroupRequestProtocol;
use ottla_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_protocol::messages::sync_group::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, JoinGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};
use ottla_protocol::records::consumer_protocol::consumer_protocol_assignment::TopicPartition;
use ottla_protocol::records::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::records::encode_versioned;
use ottla_protocol::{Refusal, TopicId, Uuid};

use super::Protocol;
use crate::bench::wire::Wire;

/// Longer than any cell, for nobody sends heartbeats where they are not measured.
pub const SESSION_TIMEOUT_MS: i32 = 300_000;

/// The topic that all groups read.
pub const TOPIC: &str = "read-by-groups";

/// A member of a group that has nobody else.
pub struct Member {
    pub group: String,
    pub id: String,
    /// Its generation or member epoch.
    pub generation: i32,
}

impl Member {
    /// Joins.
    pub async fn join(wire: &mut Wire, group: String, protocol: Protocol) -> anyhow::Result<Member> {
        match protocol {
            Protocol::Classic => Member::join_classic(wire, group).await,
            Protocol::Consumer => Member::join_consumer(wire, group).await,
        }
    }

    async fn join_classic(wire: &mut Wire, group: String) -> anyhow::Result<Member> {
        let mut request = join_request(&group, "")?;
        let mut joined = wire.ask_until_there(&request, 9, |response| response.error_code).await?;
        if joined.error_code == Refusal::MemberIdRequired.code() {
            request.member_id = joined.member_id;
            joined = wire.ask(&request, 9).await?;
        }
        ensure!(joined.error_code == 0, "JoinGroup: {}", joined.error_code);
        let member = Member { group, id: joined.member_id, generation: joined.generation_id };
        let assignment = assignment((0..10).collect())?;
        let assignments = vec![SyncGroupRequestAssignment { member_id: member.id.clone(), assignment }];
        let synced = wire.ask(&sync_request(&member, assignments), 5).await?;
        ensure!(synced.error_code == 0, "SyncGroup: {}", synced.error_code);
        Ok(member)
    }

    async fn join_consumer(wire: &mut Wire, group: String) -> anyhow::Result<Member> {
        let request = first_heartbeat(&group, &unique_id(&group));
        let joined = wire.ask_until_there(&request, 1, |response| response.error_code).await?;
        ensure!(joined.error_code == 0, "ConsumerGroupHeartbeat: {}", joined.error_code);
        Ok(Member { group, id: request.member_id, generation: joined.member_epoch })
    }

    /// Commits an offset in each of the first partitions.
    pub async fn commit(&self, wire: &mut Wire, place: Place, offset: i64) -> anyhow::Result<()> {
        let partition = |index| OffsetCommitRequestPartition {
            partition_index: index,
            committed_offset: offset,
            ..OffsetCommitRequestPartition::default()
        };
        let request = OffsetCommitRequest {
            group_id: self.group.clone(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.clone(),
            topics: vec![OffsetCommitRequestTopic {
                topic_id: place.topic,
                partitions: (0..place.partitions).map(partition).collect(),
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        let response = wire.ask(&request, 10).await?;
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            ensure!(partition.error_code == 0, "OffsetCommit of {}: {}", self.group, partition.error_code);
        }
        Ok(())
    }
}

/// Where a commit is made.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub topic: TopicId,
    pub partitions: i32,
}

/// How a member asks to be let in; with an empty id it is given one first.
pub fn join_request(group: &str, member: &str) -> anyhow::Result<JoinGroupRequest> {
    let subscription = ConsumerProtocolSubscription {
        topics: vec![TOPIC.to_owned()],
        ..ConsumerProtocolSubscription::default()
    };
    Ok(JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: SESSION_TIMEOUT_MS,
        rebalance_timeout_ms: SESSION_TIMEOUT_MS,
        member_id: member.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: encode_versioned(&subscription, 3)?,
        }],
        ..JoinGroupRequest::default()
    })
}

/// How a member says that it has joined and what, as the leader, it gives to whom.
pub fn sync_request(member: &Member, assignments: Vec<SyncGroupRequestAssignment>) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: member.group.clone(),
        generation_id: member.generation,
        member_id: member.id.clone(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments,
        ..SyncGroupRequest::default()
    }
}

/// Partitions of the topic in the words of the classic protocol.
pub fn assignment(partitions: Vec<i32>) -> anyhow::Result<Bytes> {
    let assigned_partitions = vec![TopicPartition { topic: TOPIC.to_owned(), partitions }];
    let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
    Ok(encode_versioned(&assignment, 3)?)
}

/// What a member says first in the consumer protocol.
pub fn first_heartbeat(group: &str, member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch: 0,
        rebalance_timeout_ms: SESSION_TIMEOUT_MS,
        subscribed_topic_names: Some(vec![TOPIC.to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

/// An id as clients make them, the same in each run: from the name of the member.
pub fn unique_id(name: &str) -> String {
    let mut bytes = [0_u8; 16];
    for (at, byte) in name.bytes().enumerate() {
        bytes[at % 16] = bytes[at % 16].wrapping_mul(31).wrapping_add(byte);
    }
    Uuid::from_random(bytes).to_string()
}
