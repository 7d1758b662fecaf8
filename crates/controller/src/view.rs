//! What a decision looks at: the image with everything decided so far, and the settings in effect.

use ottla_metadata::config::Settings;
use ottla_metadata::features::ELR_VERSION;
use ottla_metadata::{Broker, Image, MetadataVersion, Partition};
use ottla_protocol::{NodeId, Uuid};

use ottla_metadata::config::validate::Rejected;
use ottla_metadata::directory;
use ottla_protocol::Refusal;

use crate::refused::refused;

/// The most records one command of a user may make.
pub(crate) const RECORDS_PER_COMMAND_MAX: usize = 10_000;

/// The cluster as a decision sees it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub image: Image,
    /// The file of this node with what was set at run time.
    pub settings: Settings,
}

impl View {
    pub fn version(&self) -> MetadataVersion {
        self.image.version()
    }

    /// Whether partitions have eligible leader replicas (KIP-966).
    pub fn has_elr(&self) -> bool {
        self.image.feature(ELR_VERSION) > 0 && self.version().has_elr()
    }

    pub fn broker(&self, id: NodeId) -> Option<&Broker> {
        self.image.brokers.get(&id).map(|broker| &**broker)
    }

    /// The broker, if this is its epoch.
    pub fn broker_of_epoch(&self, id: i32, epoch: i64) -> Result<&Broker, Rejected> {
        let broker = self.broker(NodeId(id)).ok_or_else(|| {
            refused(Refusal::StaleBrokerEpoch, format!("No broker registration found for broker id {id}"))
        })?;
        if broker.epoch != epoch {
            let text = format!("Expected broker epoch {}, but got broker epoch {epoch}", broker.epoch);
            return Err(refused(Refusal::StaleBrokerEpoch, text));
        }
        Ok(broker)
    }

    pub fn is_active(&self, broker: NodeId) -> bool {
        self.image.is_active(broker)
    }

    /// Whether the broker's directory of this replica works.
    pub fn has_online_replica(&self, broker: NodeId, partition: &Partition) -> bool {
        self.broker(broker).is_some_and(|broker| broker.has_online(partition.directory(broker.id)))
    }

    /// The directory a new replica is written down with.
    pub fn default_directory(&self, broker: NodeId) -> Uuid {
        self.broker(broker).map_or(directory::UNASSIGNED, Broker::default_directory)
    }

    /// How many replicas must be in sync; never more than there are.
    pub fn min_isr(&self, topic: &str, replicas: usize) -> usize {
        let own = self.image.configs.topic(topic);
        self.settings.topic(own).size("min.insync.replicas").min(replicas)
    }

    /// Whether a replica that was not in sync may lead.
    pub fn allows_unclean(&self, topic: &str) -> bool {
        let own = self.image.configs.topic(topic);
        self.settings.topic(own).boolean("unclean.leader.election.enable")
    }
}
