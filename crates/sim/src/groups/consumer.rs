//! A member of the protocol of KIP-848: it says what it owns, hears what it may own, and gives up the rest first.

use ottla_coordinator::group::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::consumer_group_heartbeat::{Assignment, RequestTopicPartitions};
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_raft::random::Random;

use super::client::{Change, Client, Move, PATIENCE_US, by_topic, refusal_of};
use super::cluster::{Cluster, Place};

const REBALANCE_MS: i32 = 5_000;
const BACKOFF_US: u64 = 200_000;
const LEAVES: i32 = -1;
const LEAVES_FOR_A_WHILE: i32 = -2;

/// See the module.
#[derive(Debug)]
pub struct Consumer {
    member_id: String,
    epoch: i32,
    /// What it is to own.
    target: Vec<Place>,
    /// What of it has not been said yet.
    unsaid: Unsaid,
    leaves: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsaid {
    Nothing,
    Owned,
    Everything,
}

impl Consumer {
    /// A new member of this id.
    #[must_use]
    pub fn new(member_id: String) -> Self {
        Self { member_id, epoch: 0, target: Vec::new(), unsaid: Unsaid::Everything, leaves: false }
    }

    pub(super) fn member_id(&self) -> &str {
        &self.member_id
    }

    pub(super) fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(super) fn say_everything(&mut self) {
        self.unsaid = Unsaid::Everything;
    }

    pub(super) fn leave_soon(&mut self) {
        self.leaves = true;
    }

    pub(super) fn act(&mut self, client: &Client) -> (Move, Change) {
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: client.group.clone(),
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            instance_id: client.instance.clone(),
            rebalance_timeout_ms: -1,
            ..Default::default()
        };
        if std::mem::take(&mut self.leaves) && self.epoch > 0 {
            // A static member that says so comes back and finds its place.
            let forever = client.instance.is_none() || client.connection.is_multiple_of(2);
            request.member_epoch = if forever { LEAVES } else { LEAVES_FOR_A_WHILE };
            self.begin_anew();
            let command = Command::ConsumerHeartbeat(client.caller(1), request);
            return (Move::Ask(Box::new(command), PATIENCE_US), Change::Own(Vec::new()));
        }
        if self.unsaid == Unsaid::Everything {
            request.rebalance_timeout_ms = REBALANCE_MS;
            let names = client.topics.iter().map(|topic| Cluster::name(*topic));
            request.subscribed_topic_names = Some(names.collect());
        }
        if self.unsaid != Unsaid::Nothing {
            let owned: Vec<Place> = client.owned.keys().copied().collect();
            let topics = by_topic(&owned).into_iter();
            let topics = topics.map(|(topic, partitions)| RequestTopicPartitions {
                topic_id: Cluster::id(topic),
                partitions,
            });
            request.topic_partitions = Some(topics.collect());
        }
        self.unsaid = Unsaid::Nothing;
        let command = Command::ConsumerHeartbeat(client.caller(1), request);
        (Move::Ask(Box::new(command), PATIENCE_US), Change::Keep)
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
            Reply::ConsumerHeartbeat(response) => refusal_of(response.error_code),
            Reply::Refused(refusal) => Some(*refusal),
            _ => None,
        };
        match (refusal, reply) {
            // A group that is not found was deleted, or has become a classic one without this member.
            (
                Some(
                    Refusal::FencedMemberEpoch
                    | Refusal::UnknownMemberId
                    | Refusal::FencedInstanceId
                    | Refusal::GroupIdNotFound,
                ),
                _,
            ) => {
                self.begin_anew();
                client.forget_positions();
                (backoff_us, Change::Own(Vec::new()))
            }
            (None, Reply::ConsumerHeartbeat(response)) => self.heard(client, response, cluster),
            _ => {
                self.say_everything();
                (backoff_us, Change::Keep)
            }
        }
    }

    fn heard(
        &mut self,
        client: &Client,
        response: ConsumerGroupHeartbeatResponse,
        cluster: &Cluster,
    ) -> (u64, Change) {
        if response.member_epoch < 0 {
            // It has left, and comes back.
            self.begin_anew();
            return (BACKOFF_US, Change::Keep);
        }
        self.epoch = response.member_epoch;
        let rest_us = 1_000 * u64::try_from(response.heartbeat_interval_ms).unwrap_or(0);
        let Some(assignment) = response.assignment else { return (rest_us, Change::Keep) };
        self.target = assigned(&assignment, cluster);
        if self.target.iter().copied().eq(client.owned.keys().copied()) {
            return (rest_us, Change::Keep);
        }
        if self.unsaid == Unsaid::Nothing {
            self.unsaid = Unsaid::Owned;
        }
        (0, Change::Own(self.target.clone()))
    }

    fn begin_anew(&mut self) {
        self.epoch = 0;
        self.target.clear();
        self.unsaid = Unsaid::Everything;
    }
}

/// The partitions of an assignment, in order.
#[must_use]
pub fn assigned(assignment: &Assignment, cluster: &Cluster) -> Vec<Place> {
    let topics = assignment.topic_partitions.iter();
    let mut places: Vec<Place> = topics
        .filter_map(|topic| Some((cluster.with_id(topic.topic_id)?, topic)))
        .flat_map(|(number, topic)| topic.partitions.iter().map(move |partition| (number, *partition)))
        .collect();
    places.sort_unstable();
    places
}
