//! A consumer of the consumer protocol, as it sees itself.

use std::collections::{BTreeMap, BTreeSet};

use ottla_coordinator::group::{Command, Groups, Reply};
use ottla_coordinator::{Around, Decider};
use ottla_protocol::messages::consumer_group_describe::DescribedGroup;
use ottla_protocol::messages::consumer_group_heartbeat::RequestTopicPartitions;
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_protocol::{Now, Refusal, Ticket, TopicId};

use super::cluster::Cluster;

pub type Owned = BTreeSet<(TopicId, i32)>;

/// Who has not been answered for so long knows that it is out of the group.
pub const SESSION_US: u64 = 45_000_000;

/// See the module.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub instance: Option<String>,
    /// `None` is out of the group and does not want in.
    pub epoch: Option<i32>,
    pub wish: Wish,
    pub owned: Owned,
    /// What it has been told to have, while it still gives something back.
    pub told: Option<Owned>,
    /// The next heartbeat says everything.
    pub full: bool,
    /// When the last answered heartbeat was sent.
    pub heard_us: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    Names(Vec<String>),
    Pattern(String),
}

impl Client {
    /// It is out, and wants in.
    pub fn start_anew(&mut self) {
        self.epoch = Some(0);
        self.owned.clear();
        self.told = None;
        self.full = true;
    }

    /// Gives back what it has been told to, and takes what it gets.
    pub fn settle(&mut self) {
        if let Some(told) = self.told.take() {
            self.owned = told;
            self.full = true;
        }
    }

    pub fn request(&self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: self.id.clone(),
            member_epoch: epoch,
            instance_id: self.instance.clone(),
            ..Default::default()
        };
        if !self.full && epoch != 0 {
            return request;
        }
        request.rebalance_timeout_ms = 300_000;
        match &self.wish {
            Wish::Names(names) => {
                request.subscribed_topic_names = Some(names.clone());
                request.subscribed_topic_regex = Some(String::new());
            }
            Wish::Pattern(pattern) => {
                request.subscribed_topic_names = Some(Vec::new());
                request.subscribed_topic_regex = Some(pattern.clone());
            }
        }
        let mut owned: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
        for (topic, number) in &self.owned {
            owned.entry(*topic).or_default().push(*number);
        }
        let topics = owned.into_iter();
        let owned = topics.map(|(topic_id, partitions)| RequestTopicPartitions { topic_id, partitions });
        request.topic_partitions = Some(owned.collect());
        request
    }

    pub fn hear(&mut self, response: &ConsumerGroupHeartbeatResponse, sent_us: u64) {
        self.heard_us = sent_us;
        match Refusal::from_code(response.error_code) {
            None => {}
            Some(Refusal::FencedMemberEpoch | Refusal::UnknownMemberId | Refusal::GroupIdNotFound) => {
                self.start_anew();
                return;
            }
            // Its former self is still there.
            Some(Refusal::UnreleasedInstanceId | Refusal::FencedInstanceId) => {
                self.start_anew();
                return;
            }
            Some(other) => panic!("{other:?} {:?}", response.error_message),
        }
        self.full = false;
        self.epoch = Some(response.member_epoch);
        if let Some(assignment) = &response.assignment {
            let told: Owned = assignment
                .topic_partitions
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|number| (topic.topic_id, *number)))
                .collect();
            if self.owned.is_subset(&told) {
                self.full |= self.owned != told;
                self.owned = told;
                self.told = None;
            } else {
                self.told = Some(told);
            }
        }
    }
}

/// ConsumerGroupDescribe of the group `g`.
pub fn describe(cluster: &Cluster, now: Now, groups: &mut Groups) -> DescribedGroup {
    let around = Around { now, image: &cluster.image };
    let ticket = Ticket { asker: 9, question: 0 };
    let decided = groups.decide(around, ticket, Command::ConsumerDescribe("g".into()));
    match decided.replies.into_iter().next() {
        Some((_, Reply::ConsumerDescribe(group))) => group,
        other => panic!("{other:?}"),
    }
}
