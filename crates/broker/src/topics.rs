//! Topics as API functions and partitions need them: found by name or id, with their settings resolved and typed.
//!
//! Settings are worked out once for each change of the image and kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_metadata::topic_name::is_internal;
use ottla_metadata::{Delta, Image, ResourceKind};
use ottla_partition::TopicSettings;
use ottla_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::{Refusal, TopicId};

use crate::node::Node;
use crate::topic_settings;

/// One topic, ready for use.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has, numbered from 0.
    pub partitions: i32,
    /// Its settings.
    pub settings: Arc<TopicSettings>,
}

impl Topic {
    /// Whether there is a partition of this number.
    #[must_use]
    pub fn has_partition(&self, index: i32) -> bool {
        (0..self.partitions).contains(&index)
    }
}

/// See the module.
pub struct Topics {
    node: Arc<Node>,
    settings: BTreeMap<TopicId, Arc<TopicSettings>>,
}

impl Topics {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(node: Arc<Node>) -> Self {
        Self { node, settings: BTreeMap::new() }
    }

    /// Finds a topic by id, where the version of the request says so, or by name.
    ///
    /// # Errors
    /// What Kafka answers where there is no such topic.
    pub fn resolve(&mut self, image: &Image, name: &str, id: TopicId, by: Key) -> Result<Topic, Refusal> {
        let topic = match by {
            Key::Id => image.topics.get(id).ok_or(Refusal::UnknownTopicId)?,
            Key::Name => image.topics.named(name).ok_or(Refusal::UnknownTopicOrPartition)?,
        };
        let (id, partitions) = (topic.id, topic.partition_count);
        let settings = self.settings(image, id).ok_or(Refusal::UnknownTopicOrPartition)?;
        Ok(Topic { id, partitions, settings })
    }

    /// The settings of a topic, if there is one.
    pub fn settings(&mut self, image: &Image, id: TopicId) -> Option<Arc<TopicSettings>> {
        if let Some(settings) = self.settings.get(&id) {
            return Some(Arc::clone(settings));
        }
        let topic = image.topics.get(id)?;
        let settings = image.configs.settings(&self.node.settings, self.node.id);
        let mut settings = topic_settings::resolve(&settings, image.configs.topic(&topic.name));
        if is_internal(&topic.name) {
            // What a coordinator says is on the disk, whatever is configured.
            settings.flush_messages = 1;
        }
        let settings = Arc::new(settings);
        self.settings.insert(id, Arc::clone(&settings));
        Some(settings)
    }

    /// Forgets what a change of the image has made wrong.
    pub fn refresh(&mut self, image: &Image, delta: &Delta) {
        for resource in &delta.configs {
            match resource.kind {
                ResourceKind::Broker => self.settings.clear(),
                ResourceKind::Topic => {
                    if let Some(topic) = image.topics.named(&resource.name) {
                        self.settings.remove(&topic.id);
                    }
                }
                ResourceKind::BrokerLogger | ResourceKind::ClientMetrics | ResourceKind::Group => {}
            }
        }
        for id in delta.topics_deleted.keys() {
            self.settings.remove(id);
        }
    }

    /// The topics whose settings may have changed with `delta`.
    #[must_use]
    pub fn reconfigured(image: &Image, delta: &Delta) -> Vec<TopicId> {
        if delta.configs.iter().any(|resource| resource.kind == ResourceKind::Broker) {
            return image.topics.iter().map(|topic| topic.id).collect();
        }
        let topics = delta.configs.iter().filter(|resource| resource.kind == ResourceKind::Topic);
        topics.filter_map(|resource| image.topics.named(&resource.name)).map(|topic| topic.id).collect()
    }
}

/// How a request names its topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// By name.
    Name,
    /// By id (KIP-516).
    Id,
}

impl Key {
    /// By id from the version `since` on.
    #[must_use]
    pub fn since(version: i16, since: i16) -> Self {
        if version >= since { Self::Id } else { Self::Name }
    }
}

/// How an internal topic is made, since it is not made like others; `None` for ordinary names.
#[must_use]
pub fn create_internal(name: &str, node: &Node) -> Option<CreatableTopic> {
    if !is_internal(name) {
        return None;
    }
    let settings = node.settings.node();
    let prefix = match name {
        "__consumer_offsets" => "offsets.topic",
        "__transaction_state" => "transaction.state.log",
        _ => "share.coordinator.state.topic",
    };
    let config =
        |name: &str, value: &str| CreatableTopicConfig { name: name.into(), value: Some(value.into()) };
    let segment = settings.int(&format!("{prefix}.segment.bytes")).to_string();
    let mut configs = vec![
        config("cleanup.policy", if name == "__share_group_state" { "delete" } else { "compact" }),
        config("compression.type", if name == "__transaction_state" { "uncompressed" } else { "producer" }),
        config("segment.bytes", &segment),
    ];
    match name {
        "__transaction_state" => {
            configs.push(config("unclean.leader.election.enable", "false"));
            configs.push(config(
                "min.insync.replicas",
                &settings.int("transaction.state.log.min.isr").to_string(),
            ));
        }
        "__share_group_state" => {
            configs.push(config("retention.ms", "-1"));
            let isr = settings.int("share.coordinator.state.topic.min.isr").to_string();
            configs.push(config("min.insync.replicas", &isr));
        }
        _ => {}
    }
    Some(CreatableTopic {
        name: name.into(),
        num_partitions: settings.int(&format!("{prefix}.num.partitions")),
        replication_factor: i16::try_from(settings.int(&format!("{prefix}.replication.factor")))
            .unwrap_or(-1),
        configs,
        assignments: Vec::new(),
    })
}
