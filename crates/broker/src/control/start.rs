//! How control comes to life: out of a configuration, a home on disk, and a seed.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_controller::{Controller, ControllerConfig};
use ottla_log::directory::METADATA_DIR;
use ottla_metadata::config::NodeConfig;
use ottla_metadata::config::node::Quorum;
use ottla_metadata::features::SUPPORTED;
use ottla_protocol::messages::BrokerRegistrationRequest;
use ottla_protocol::messages::broker_registration::{Feature, Listener};
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_protocol::{NodeId, Now, Uuid};
use ottla_raft::config::{Retention, Timing};
use ottla_raft::voters::{Endpoint, ReplicaKey, Voter, Voters};
use ottla_raft::{RaftConfig, format};

use crate::control::checkpoints::Checkpoints;
use crate::control::metadata_log::MetadataLog;
use crate::control::pending::Pending;
use crate::control::places::Places;
use crate::control::producer_ids::ProducerIds;
use crate::control::publish::Publishing;
use crate::control::registration::Registration;
use crate::control::run::Control;
use crate::home::{Home, HomeError};
use crate::node::{ListenerKind, Node};

impl Control {
    /// Opens the metadata log and begins the broker's registration. `seed` decides everything that is random here.
    ///
    /// # Errors
    /// The disk's, and bootstrap records that cannot be read.
    pub fn open(
        config: &NodeConfig,
        node: Arc<Node>,
        home: &Home,
        seed: u64,
        now: Now,
    ) -> Result<Self, HomeError> {
        let dir = home.metadata_directory.join(METADATA_DIR);
        let me = ReplicaKey { id: node.id, directory: home.metadata_directory_id };
        let mut raft = RaftConfig::new(dir, me, configured_voters(config));
        raft.cluster_id = Some(node.cluster_id.clone());
        raft.listeners = controller_endpoints(&node);
        raft.may_vote = config.roles.has_controller();
        raft.timing = timing(&node);
        raft.retention = retention(&node);
        let log = MetadataLog::open(raft, &home.disk, &node.settings, seed, now)?;
        let bootstrap = format::read_bootstrap(&*home.disk, &home.metadata_directory)?.unwrap_or_default();
        let bootstrap =
            bootstrap.iter().map(|value| MetadataRecord::decode(value)).collect::<Result<_, _>>().map_err(
                |error| HomeError::Disagreement {
                    path: home.metadata_directory.clone(),
                    what: format!("a bootstrap record cannot be read: {error}"),
                },
            )?;
        let registration =
            Registration::new(registration_request(&node, home), node.limits.heartbeat_interval_ms, now);
        let controller = ControllerConfig {
            node_id: node.id,
            cluster_id: node.cluster_id.clone(),
            settings: node.settings.clone(),
        };
        Ok(Self {
            controller: Controller::new(controller, seed),
            log,
            leading: None,
            registration,
            pending: Pending::new(node.cores),
            producer_ids: ProducerIds::default(),
            directories: Arc::clone(&home.directories),
            metadata_directory: home.metadata_directory.clone(),
            checkpoints: Checkpoints::new(Arc::clone(&home.directories)),
            places: Places::new(Arc::clone(&home.directories)),
            publishing: Publishing::default(),
            next_checkpoint: now.after_ms(0),
            next_controller_tick: now.after_ms(0),
            stopped: BTreeSet::new(),
            finished: false,
            bootstrap,
            node,
        })
    }
}

fn configured_voters(config: &NodeConfig) -> Voters {
    let Quorum::Fixed(voters) = &config.quorum else { return Voters::default() };
    let listener = config.controller_listeners.first().cloned().unwrap_or_default();
    let voter = |(&id, address): (&i32, &ottla_metadata::config::listeners::Address)| {
        let endpoint =
            Endpoint { listener: listener.clone(), host: address.host.clone(), port: address.port };
        let voter = Voter {
            directory: Uuid::ZERO,
            endpoints: vec![endpoint],
            kraft_versions: (0, format::KRAFT_VERSION_MAX),
        };
        (NodeId(id), voter)
    };
    Voters::new(voters.iter().map(voter))
}

fn controller_endpoints(node: &Node) -> Vec<Endpoint> {
    let controllers = node.listeners.iter().filter(|listener| listener.kind == ListenerKind::Controller);
    let endpoint = |listener: &crate::node::Listener| Endpoint {
        listener: listener.name.clone(),
        host: listener.advertised_host.clone(),
        port: listener.advertised_port,
    };
    controllers.map(endpoint).collect()
}

fn timing(node: &Node) -> Timing {
    let settings = node.settings.node();
    let ms = |name: &str| u32::try_from(settings.long(name)).unwrap_or(u32::MAX);
    Timing {
        election_timeout_ms: ms("controller.quorum.election.timeout.ms"),
        fetch_timeout_ms: ms("controller.quorum.fetch.timeout.ms"),
        election_backoff_max_ms: ms("controller.quorum.election.backoff.max.ms"),
        request_timeout_ms: ms("controller.quorum.request.timeout.ms"),
        retry_backoff_ms: ms("controller.quorum.retry.backoff.ms"),
        ..Timing::default()
    }
}

fn retention(node: &Node) -> Retention {
    let settings = node.settings.node();
    Retention {
        max_bytes: settings.long("metadata.max.retention.bytes"),
        max_ms: settings.long("metadata.max.retention.ms"),
    }
}

fn registration_request(node: &Node, home: &Home) -> BrokerRegistrationRequest {
    let brokers = node.listeners.iter().filter(|listener| listener.kind == ListenerKind::Broker);
    let listener = |listener: &crate::node::Listener| Listener {
        name: listener.name.clone(),
        host: listener.advertised_host.clone(),
        port: listener.advertised_port,
        security_protocol: listener.protocol.code(),
    };
    let feature = |&(name, range): &(&str, ottla_metadata::features::Range)| Feature {
        name: name.into(),
        min_supported_version: range.min,
        max_supported_version: range.max,
    };
    let mut log_dirs: Vec<Uuid> = home.directories.all().iter().map(|directory| directory.id).collect();
    log_dirs.sort_unstable();
    BrokerRegistrationRequest {
        broker_id: node.id.0,
        cluster_id: node.cluster_id.clone(),
        incarnation_id: node.incarnation,
        listeners: brokers.map(listener).collect(),
        features: SUPPORTED.iter().map(feature).collect(),
        rack: node.rack.clone(),
        log_dirs,
        previous_broker_epoch: home.directories.previous_broker_epoch(),
        ..Default::default()
    }
}
