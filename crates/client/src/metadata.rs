//! What a client knows of its cluster: brokers, and the leaders of the topics it asked for.
//!
//! A leader epoch never goes back (KIP-320): an answer from a broker that lags behind does not undo a newer one.

use std::collections::BTreeMap;

use ottla_protocol::messages::{DescribeClusterResponse, MetadataResponse};
use ottla_protocol::{Refusal, TopicId, Uuid};

use crate::settings::Address;

/// A client's picture of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// How many answers have gone into it; 0 means that nothing is known.
    pub updates: u64,
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// Where requests for the controller go. With KRaft that is any broker.
    pub controller: Option<i32>,
    /// The live brokers by id.
    pub brokers: BTreeMap<i32, Broker>,
    /// The topics asked for, by name.
    pub topics: BTreeMap<String, Topic>,
}

/// A live broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Where it listens for us.
    pub address: Address,
    /// Its rack.
    pub rack: Option<String>,
}

/// A topic, or why there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its id; zero where the broker is too old to have one.
    pub id: TopicId,
    /// Why nothing is known about it.
    pub error: Option<Refusal>,
    /// Whether it is one of Kafka's own topics.
    pub internal: bool,
    /// By rising index.
    pub partitions: Vec<Partition>,
}

/// One partition as a broker described it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// Who leads it, if anybody.
    pub leader: Option<i32>,
    /// Counts its leaders; −1 where the broker is too old to say.
    pub leader_epoch: i32,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
    /// Those whose broker or disk is down.
    pub offline: Vec<i32>,
    /// What is wrong with it.
    pub error: Option<Refusal>,
}

impl Metadata {
    /// The leader of a partition and its epoch, if there is one.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<(i32, i32)> {
        let found = self.topics.get(topic)?;
        let place = found.partitions.binary_search_by_key(&partition, |p| p.index).ok()?;
        let found = &found.partitions[place];
        found.leader.map(|leader| (leader, found.leader_epoch))
    }

    /// How many partitions a topic has, once that is known.
    #[must_use]
    pub fn partition_count(&self, topic: &str) -> Option<usize> {
        self.topics.get(topic).filter(|topic| topic.error.is_none()).map(|topic| topic.partitions.len())
    }

    /// The name that belongs to a topic id.
    #[must_use]
    pub fn name_of(&self, id: TopicId) -> Option<&str> {
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name.as_str())
    }

    /// Whether the topic should be asked for again soon: a retriable error, or a partition without a leader.
    #[must_use]
    pub fn is_settled(&self, topic: &str) -> bool {
        let settled = |error: Option<Refusal>| error.is_none_or(|error| !error.is_retriable());
        self.topics.get(topic).is_some_and(|topic| {
            settled(topic.error) && topic.partitions.iter().all(|p| p.leader.is_some() && settled(p.error))
        })
    }

    /// Takes an answer about brokers and some topics.
    pub fn learn(&mut self, response: MetadataResponse) {
        self.updates += 1;
        self.cluster_id = response.cluster_id.or(self.cluster_id.take());
        self.controller = Some(response.controller_id).filter(|&id| id >= 0);
        let brokers = response.brokers.into_iter().map(|b| (b.node_id, b.host, b.port, b.rack));
        self.brokers = brokers.filter_map(broker).collect();
        for topic in response.topics {
            let Some(name) = topic.name else { continue };
            let known = self.topics.remove(&name).filter(|known| known.id == topic.topic_id);
            let partitions = topic.partitions.into_iter().map(|p| Partition {
                index: p.partition_index,
                leader: Some(p.leader_id).filter(|&id| id >= 0),
                leader_epoch: p.leader_epoch,
                replicas: p.replica_nodes,
                isr: p.isr_nodes,
                offline: p.offline_replicas,
                error: Refusal::from_code(p.error_code),
            });
            let mut partitions: Vec<Partition> = partitions.map(|new| newer(new, known.as_ref())).collect();
            partitions.sort_by_key(|p| p.index);
            let error = Refusal::from_code(topic.error_code);
            self.topics
                .insert(name, Topic { id: topic.topic_id, error, internal: topic.is_internal, partitions });
        }
    }

    /// Takes an answer about nodes alone: all that a controller tells.
    pub fn learn_nodes(&mut self, response: DescribeClusterResponse) {
        self.updates += 1;
        self.cluster_id = Some(response.cluster_id);
        self.controller = Some(response.controller_id).filter(|&id| id >= 0);
        let nodes = response.brokers.into_iter().map(|b| (b.broker_id, b.host, b.port, b.rack));
        self.brokers = nodes.filter_map(broker).collect();
    }

    /// Takes a newer leader that a Produce or Fetch answer named (KIP-951).
    pub fn learn_leader(&mut self, topic: &str, partition: i32, leader: i32, leader_epoch: i32) {
        let Some(topic) = self.topics.get_mut(topic) else { return };
        let Ok(place) = topic.partitions.binary_search_by_key(&partition, |p| p.index) else { return };
        let known = &mut topic.partitions[place];
        if leader >= 0 && leader_epoch > known.leader_epoch {
            known.leader = Some(leader);
            known.leader_epoch = leader_epoch;
            known.error = None;
        }
    }

    /// Forgets topics nobody asks for any more.
    pub fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        self.topics.retain(|name, _| wanted(name));
    }
}

fn broker((id, host, port, rack): (i32, String, i32, Option<String>)) -> Option<(i32, Broker)> {
    let port = u16::try_from(port).ok()?;
    Some((id, Broker { id, address: Address { host, port }, rack }))
}

/// What is known stays where the answer is older.
fn newer(new: Partition, known: Option<&Topic>) -> Partition {
    let old = known.and_then(|topic| {
        topic.partitions.binary_search_by_key(&new.index, |p| p.index).ok().map(|at| &topic.partitions[at])
    });
    match old {
        Some(old) if new.leader_epoch >= 0 && new.leader_epoch < old.leader_epoch => old.clone(),
        _ => new,
    }
}

impl Topic {
    /// Whether the broker gave the topic an id.
    #[must_use]
    pub fn has_id(&self) -> bool {
        self.id != Uuid::ZERO
    }
}
