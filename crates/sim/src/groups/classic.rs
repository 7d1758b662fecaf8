//! A member of the classic protocol, as far as its membership goes: joins, assigns if it leads, syncs, and says that it
//! lives. It is of the eager kind: whoever joins owns nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_coordinator::group::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::join_group::{JoinGroupRequestProtocol, JoinGroupResponseMember};
use ottla_protocol::messages::leave_group::MemberIdentity;
use ottla_protocol::messages::sync_group::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use ottla_protocol::records::consumer_protocol::consumer_protocol_assignment::TopicPartition;
use ottla_protocol::records::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::records::{decode_versioned, encode_versioned};
use ottla_raft::random::Random;

use super::client::{Change, Client, Move, PATIENCE_US, refusal_of};
use super::cluster::{Cluster, Place};

/// A member is expelled when it has been silent for so long.
pub const SESSION_MS: i32 = 4_000;
/// A member is expelled when it has not joined again for so long.
pub const REBALANCE_MS: i32 = 3_000;
const HEARTBEAT_US: u64 = 1_000_000;
const BACKOFF_US: u64 = 200_000;
/// Which version of the consumer protocol it speaks.
const PROTOCOL_VERSION: i16 = 1;

/// See the module.
#[derive(Debug)]
pub struct Classic {
    member_id: String,
    generation: i32,
    stage: Stage,
    /// What it reads, as it said when it joined.
    joined_for: Vec<usize>,
    /// It has to join again, for what it reads has changed.
    rejoins: bool,
    leaves: bool,
}

#[derive(Debug)]
enum Stage {
    Out,
    /// Has joined: what it gives as leader, if it leads.
    Joined(Vec<SyncGroupRequestAssignment>),
    Stable,
}

impl Classic {
    /// A new member.
    #[must_use]
    pub fn new() -> Self {
        Self {
            member_id: String::new(),
            generation: -1,
            stage: Stage::Out,
            joined_for: Vec::new(),
            rejoins: false,
            leaves: false,
        }
    }

    pub(super) fn member_id(&self) -> &str {
        &self.member_id
    }

    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    /// Whether it has its part of the assignment.
    #[must_use]
    pub fn is_stable(&self) -> bool {
        matches!(self.stage, Stage::Stable)
    }

    pub(super) fn rejoin_soon(&mut self) {
        self.rejoins = true;
    }

    pub(super) fn leave_soon(&mut self) {
        self.leaves = true;
    }

    pub(super) fn failed(&mut self) {
        // Whether the SyncGroup has arrived is not known: begin again.
        if matches!(self.stage, Stage::Joined(_)) {
            self.stage = Stage::Out;
        }
    }

    pub(super) fn act(&mut self, client: &Client, _: &Cluster, _: &mut Random) -> (Move, Change) {
        if std::mem::take(&mut self.leaves) && !self.member_id.is_empty() {
            let command = Command::Leave(client.caller(5), self.leaving(client));
            *self = Self::new();
            return (Move::Ask(Box::new(command), PATIENCE_US), Change::Own(Vec::new()));
        }
        if std::mem::take(&mut self.rejoins) {
            self.stage = Stage::Out;
        }
        match &self.stage {
            Stage::Out => {
                self.joined_for.clone_from(&client.topics);
                let command = Command::Join(client.caller(9), self.joining(client));
                // An answer may take as long as the others take to join, and those who come after them.
                let patience_us = 1_000 * u64::from(REBALANCE_MS.unsigned_abs()) + 3 * PATIENCE_US;
                (Move::Ask(Box::new(command), patience_us), Change::Own(Vec::new()))
            }
            Stage::Joined(assignments) => {
                let request = SyncGroupRequest {
                    group_id: client.group.clone(),
                    generation_id: self.generation,
                    member_id: self.member_id.clone(),
                    group_instance_id: client.instance.clone(),
                    protocol_type: Some("consumer".to_owned()),
                    protocol_name: Some("range".to_owned()),
                    assignments: assignments.clone(),
                };
                (Move::Ask(Box::new(Command::Sync(client.caller(5), request)), 2 * PATIENCE_US), Change::Keep)
            }
            Stage::Stable => {
                let request = HeartbeatRequest {
                    group_id: client.group.clone(),
                    generation_id: self.generation,
                    member_id: self.member_id.clone(),
                    group_instance_id: client.instance.clone(),
                };
                (
                    Move::Ask(Box::new(Command::Heartbeat(client.caller(4), request)), PATIENCE_US),
                    Change::Keep,
                )
            }
        }
    }

    pub(super) fn hear(
        &mut self,
        client: &mut Client,
        reply: Reply,
        cluster: &Cluster,
        random: &mut Random,
    ) -> (u64, Change) {
        let backoff_us = BACKOFF_US + random.below(BACKOFF_US);
        let refusal = match &reply {
            Reply::Join(response) => refusal_of(response.error_code),
            Reply::Sync(response) => refusal_of(response.error_code),
            Reply::Heartbeat(response) => refusal_of(response.error_code),
            Reply::Refused(refusal) => Some(*refusal),
            _ => None,
        };
        if let Some(refusal) = refusal {
            return self.refused(client, refusal, &reply, backoff_us);
        }
        match reply {
            Reply::Join(response) => self.joined(client, response, cluster),
            Reply::Sync(response) => {
                self.stage = Stage::Stable;
                client.assigned_for.clone_from(&self.joined_for);
                client.forget_positions();
                (HEARTBEAT_US, Change::Own(assigned(&response, cluster)))
            }
            Reply::Heartbeat(_) => (HEARTBEAT_US, Change::Keep),
            _ => (backoff_us, Change::Keep),
        }
    }

    fn refused(
        &mut self,
        client: &mut Client,
        refusal: Refusal,
        reply: &Reply,
        backoff_us: u64,
    ) -> (u64, Change) {
        match (refusal, reply) {
            (Refusal::MemberIdRequired, Reply::Join(response)) => {
                self.member_id.clone_from(&response.member_id);
                (0, Change::Keep)
            }
            (Refusal::UnknownMemberId | Refusal::FencedInstanceId, _) => {
                *self = Self::new();
                client.forget_positions();
                (backoff_us, Change::Own(Vec::new()))
            }
            (Refusal::IllegalGeneration | Refusal::RebalanceInProgress, _) => {
                self.stage = Stage::Out;
                (backoff_us / 10, Change::Own(Vec::new()))
            }
            // The coordinator is not there now: what is owned is owned still, but a SyncGroup is lost.
            _ => {
                self.failed();
                (backoff_us, Change::Keep)
            }
        }
    }

    fn joined(
        &mut self,
        client: &mut Client,
        response: JoinGroupResponse,
        cluster: &Cluster,
    ) -> (u64, Change) {
        self.member_id = response.member_id;
        self.generation = response.generation_id;
        let counts: Vec<i32> = (0..cluster.len()).map(|topic| cluster.count(topic)).collect();
        let leads = self.member_id == response.leader && !response.skip_assignment;
        if response.skip_assignment {
            // A leader that comes back is not asked again. What has grown meanwhile is nobody's until it joins anew.
            self.rejoins = client.assigned_of != counts;
        } else if leads {
            client.assigned_of = counts;
        }
        self.stage = Stage::Joined(if leads { assign(&response.members, cluster) } else { Vec::new() });
        (0, Change::Keep)
    }

    fn joining(&self, client: &Client) -> JoinGroupRequest {
        let subscription = ConsumerProtocolSubscription {
            topics: client.topics.iter().map(|topic| Cluster::name(*topic)).collect(),
            ..Default::default()
        };
        let metadata = encode_versioned(&subscription, PROTOCOL_VERSION).expect("names are short");
        JoinGroupRequest {
            group_id: client.group.clone(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: self.member_id.clone(),
            group_instance_id: client.instance.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), metadata }],
            reason: None,
        }
    }

    fn leaving(&self, client: &Client) -> LeaveGroupRequest {
        let member = MemberIdentity {
            member_id: self.member_id.clone(),
            group_instance_id: client.instance.clone(),
            reason: None,
        };
        LeaveGroupRequest { group_id: client.group.clone(), members: vec![member], ..Default::default() }
    }
}

impl Default for Classic {
    fn default() -> Self {
        Self::new()
    }
}

/// What the leader thinks up: each topic's partitions in turn for those that read it.
fn assign(members: &[JoinGroupResponseMember], cluster: &Cluster) -> Vec<SyncGroupRequestAssignment> {
    let mut assignments: BTreeMap<&str, BTreeMap<usize, Vec<i32>>> =
        members.iter().map(|member| (member.member_id.as_str(), BTreeMap::new())).collect();
    for topic in 0..cluster.len() {
        let readers: Vec<&str> = members
            .iter()
            .filter(|member| {
                decode_versioned::<ConsumerProtocolSubscription>(&member.metadata)
                    .is_ok_and(|(subscription, _)| subscription.topics.contains(&Cluster::name(topic)))
            })
            .map(|member| member.member_id.as_str())
            .collect();
        for (partition, reader) in (0..cluster.count(topic)).zip(readers.iter().cycle()) {
            assignments.entry(reader).or_default().entry(topic).or_default().push(partition);
        }
    }
    let written = assignments.into_iter().map(|(member_id, topics)| SyncGroupRequestAssignment {
        member_id: member_id.to_owned(),
        assignment: written(topics),
    });
    written.collect()
}

fn written(topics: BTreeMap<usize, Vec<i32>>) -> Bytes {
    let assigned_partitions = topics
        .into_iter()
        .map(|(topic, partitions)| TopicPartition { topic: Cluster::name(topic), partitions })
        .collect();
    let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
    encode_versioned(&assignment, PROTOCOL_VERSION).expect("names are short")
}

/// The partitions that a SyncGroup has brought.
#[must_use]
pub fn assigned(response: &SyncGroupResponse, cluster: &Cluster) -> Vec<Place> {
    let Ok((assignment, _)) = decode_versioned::<ConsumerProtocolAssignment>(&response.assignment) else {
        return Vec::new();
    };
    let places = assignment.assigned_partitions.iter().filter_map(|topic| {
        let number = cluster.with_name(&topic.topic)?;
        Some(topic.partitions.iter().map(move |partition| (number, *partition)))
    });
    places.flatten().collect()
}
