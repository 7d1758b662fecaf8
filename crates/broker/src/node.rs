//! What a node is for as long as it lives: its ids, listeners and limits.

use ottla_metadata::config::listeners::SecurityProtocol;
use ottla_metadata::config::{NodeConfig, Settings};
use ottla_protocol::{NodeId, Uuid};

/// See the module.
#[derive(Clone, Debug)]
pub struct Node {
    /// The node's id.
    pub id: NodeId,
    /// The cluster's id.
    pub cluster_id: String,
    /// Names this start of the process.
    pub incarnation: Uuid,
    /// Where the node listens; sessions name their listener by its index here.
    pub listeners: Vec<Listener>,
    /// The rack.
    pub rack: Option<String>,
    /// How many cores there are.
    pub cores: u16,
    /// Numbers that requests are held against.
    pub limits: Limits,
    /// Every configuration key's value, as the node was started.
    pub settings: Settings,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name, in capitals.
    pub name: String,
    /// Whom it is for.
    pub kind: ListenerKind,
    /// What it speaks below Kafka's protocol.
    pub protocol: SecurityProtocol,
    /// The host that clients are told.
    pub advertised_host: String,
    /// The port that clients are told.
    pub advertised_port: u16,
}

/// Whom a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// Clients and brokers.
    Broker,
    /// Controllers, and brokers that talk to them.
    Controller,
}

/// Numbers out of the configuration that are looked at often.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: u64,
    /// `max.request.partition.size.limit`: rows in one page of DescribeTopicPartitions.
    pub partitions_per_response: i32,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub checkpoint_interval_ms: i64,
    /// `log.initial.task.delay.ms`.
    pub retention_initial_delay_ms: i64,
    /// `log.retention.check.interval.ms`.
    pub retention_interval_ms: i64,
    /// `broker.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: i64,
}

impl Limits {
    /// Reads them off the settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let node = settings.node();
        Self {
            fetch_max_bytes: u64::try_from(node.int("fetch.max.bytes")).unwrap_or(0),
            partitions_per_response: node.int("max.request.partition.size.limit"),
            auto_create_topics: node.boolean("auto.create.topics.enable"),
            delete_topics: node.boolean("delete.topic.enable"),
            checkpoint_interval_ms: node.long("replica.high.watermark.checkpoint.interval.ms"),
            retention_initial_delay_ms: node.long("log.initial.task.delay.ms"),
            retention_interval_ms: node.long("log.retention.check.interval.ms"),
            heartbeat_interval_ms: i64::from(node.int("broker.heartbeat.interval.ms")),
        }
    }
}

/// What is known of a node only when it starts.
#[derive(Clone, Debug)]
pub struct Birth {
    /// The cluster's id, from `meta.properties`.
    pub cluster_id: String,
    /// Names this start of the process.
    pub incarnation: Uuid,
    /// How many cores there are.
    pub cores: u16,
    /// The port that each listener really has, in the order of [`NodeConfig::listeners`].
    pub ports: Vec<u16>,
    /// What an endpoint that names no host is known by.
    pub host: String,
}

impl Node {
    /// The node that a configuration describes.
    #[must_use]
    pub fn new(config: &NodeConfig, birth: Birth) -> Self {
        let listeners = config.listeners.iter().zip(&birth.ports).map(|(bound, &port)| {
            let kind = if config.is_controller_listener(&bound.listener) {
                ListenerKind::Controller
            } else {
                ListenerKind::Broker
            };
            let mut said = config.advertised.iter().chain(&config.advertised_controller);
            let said = said.find(|endpoint| endpoint.listener == bound.listener).unwrap_or(bound);
            Listener {
                name: bound.listener.clone(),
                kind,
                protocol: bound.protocol,
                advertised_host: said.host.clone().unwrap_or_else(|| birth.host.clone()),
                // A port of 0, bound or advertised after it, means the one that the system chose.
                advertised_port: if said.port == 0 || said.port == bound.port { port } else { said.port },
            }
        });
        Self {
            id: config.node_id,
            cluster_id: birth.cluster_id,
            incarnation: birth.incarnation,
            listeners: listeners.collect(),
            rack: config.rack.clone(),
            cores: birth.cores,
            limits: Limits::of(&config.settings),
            settings: config.settings.clone(),
        }
    }
}
