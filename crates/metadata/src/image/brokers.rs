//! Brokers and controllers as they registered.

use std::collections::BTreeMap;

use ottla_protocol::records::metadata::register_broker::{BrokerEndpoint, BrokerFeature};
use ottla_protocol::records::metadata::register_controller::{ControllerEndpoint, ControllerFeature};
use ottla_protocol::records::metadata::{RegisterBrokerRecord, RegisterControllerRecord};
use ottla_protocol::{NodeId, Uuid};

use crate::config::listeners::SecurityProtocol;
use crate::directory;
use crate::features::Range;

/// Where a registered node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredEndpoint {
    /// The listener's name.
    pub listener: String,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Kafka's number of the security protocol.
    pub protocol: i16,
}

impl RegisteredEndpoint {
    /// The security protocol, if it is one we know.
    #[must_use]
    pub fn security_protocol(&self) -> Option<SecurityProtocol> {
        SecurityProtocol::from_code(self.protocol)
    }
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: NodeId,
    /// Counts its registrations; the offset of its first record.
    pub epoch: i64,
    /// Made anew at each start of its process.
    pub incarnation: Uuid,
    /// Where it listens.
    pub endpoints: Vec<RegisteredEndpoint>,
    /// The levels it can run with.
    pub features: BTreeMap<String, Range>,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether it must not lead or be in sync.
    pub fenced: bool,
    /// Whether it is on its way out.
    pub in_controlled_shutdown: bool,
    /// Its directories that work; empty from before directories had ids.
    pub directories: Vec<Uuid>,
    /// Directories that get no new replicas; `None` until it said.
    pub cordoned_directories: Option<Vec<Uuid>>,
    /// A mark of old clusters that moved from ZooKeeper.
    pub is_migrating_zk_broker: bool,
}

impl Broker {
    /// Whether it may lead and be in sync.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// The endpoint of a listener.
    #[must_use]
    pub fn endpoint(&self, listener: &str) -> Option<&RegisteredEndpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }

    /// Whether a replica in this directory can be served.
    #[must_use]
    pub fn has_online(&self, directory: Uuid) -> bool {
        match directory {
            directory::UNASSIGNED | directory::MIGRATING => true,
            directory::LOST => false,
            _ => self.directories.is_empty() || self.directories.contains(&directory),
        }
    }

    /// Whether a new replica has a place.
    #[must_use]
    pub fn has_uncordoned(&self) -> bool {
        let cordoned = self.cordoned_directories.as_deref().unwrap_or(&[]);
        cordoned.is_empty() || self.directories.iter().any(|directory| !cordoned.contains(directory))
    }

    /// The directory a new replica is written down with: the only one, or none yet.
    #[must_use]
    pub fn default_directory(&self) -> Uuid {
        match self.directories[..] {
            [] => directory::MIGRATING,
            [only] => only,
            _ => directory::UNASSIGNED,
        }
    }

    /// The broker of a record.
    #[must_use]
    pub fn from_record(record: &RegisterBrokerRecord) -> Self {
        Self {
            id: NodeId(record.broker_id),
            epoch: record.broker_epoch,
            incarnation: record.incarnation_id,
            endpoints: record
                .end_points
                .iter()
                .map(|e| RegisteredEndpoint {
                    listener: e.name.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    protocol: e.security_protocol,
                })
                .collect(),
            features: record
                .features
                .iter()
                .map(|f| {
                    let range = Range { min: f.min_supported_version, max: f.max_supported_version };
                    (f.name.clone(), range)
                })
                .collect(),
            rack: record.rack.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            directories: record.log_dirs.clone(),
            cordoned_directories: record.cordoned_log_dirs.clone(),
            is_migrating_zk_broker: record.is_migrating_zk_broker,
        }
    }

    /// The record that makes this broker.
    #[must_use]
    pub fn to_record(&self) -> RegisterBrokerRecord {
        RegisterBrokerRecord {
            broker_id: self.id.0,
            is_migrating_zk_broker: self.is_migrating_zk_broker,
            incarnation_id: self.incarnation,
            broker_epoch: self.epoch,
            end_points: self
                .endpoints
                .iter()
                .map(|e| BrokerEndpoint {
                    name: e.listener.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    security_protocol: e.protocol,
                })
                .collect(),
            features: self
                .features
                .iter()
                .map(|(name, range)| BrokerFeature {
                    name: name.clone(),
                    min_supported_version: range.min,
                    max_supported_version: range.max,
                })
                .collect(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: self.directories.clone(),
            cordoned_log_dirs: self.cordoned_directories.clone(),
        }
    }
}

/// A registered controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredController {
    /// Its id.
    pub id: NodeId,
    /// Made anew at each start of its process.
    pub incarnation: Uuid,
    /// A mark of old clusters that moved from ZooKeeper.
    pub zk_migration_ready: bool,
    /// Where it listens.
    pub endpoints: Vec<RegisteredEndpoint>,
    /// The levels it can run with.
    pub features: BTreeMap<String, Range>,
}

impl RegisteredController {
    /// The controller of a record.
    #[must_use]
    pub fn from_record(record: &RegisterControllerRecord) -> Self {
        Self {
            id: NodeId(record.controller_id),
            incarnation: record.incarnation_id,
            zk_migration_ready: record.zk_migration_ready,
            endpoints: record
                .end_points
                .iter()
                .map(|e| RegisteredEndpoint {
                    listener: e.name.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    protocol: e.security_protocol,
                })
                .collect(),
            features: record
                .features
                .iter()
                .map(|f| {
                    let range = Range { min: f.min_supported_version, max: f.max_supported_version };
                    (f.name.clone(), range)
                })
                .collect(),
        }
    }

    /// The record that makes this controller.
    #[must_use]
    pub fn to_record(&self) -> RegisterControllerRecord {
        RegisterControllerRecord {
            controller_id: self.id.0,
            incarnation_id: self.incarnation,
            zk_migration_ready: self.zk_migration_ready,
            end_points: self
                .endpoints
                .iter()
                .map(|e| ControllerEndpoint {
                    name: e.listener.clone(),
                    host: e.host.clone(),
                    port: e.port,
                    security_protocol: e.protocol,
                })
                .collect(),
            features: self
                .features
                .iter()
                .map(|(name, range)| ControllerFeature {
                    name: name.clone(),
                    min_supported_version: range.min,
                    max_supported_version: range.max,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(directories: &[u8], cordoned: Option<&[u8]>) -> Broker {
        let ids = |bytes: &[u8]| bytes.iter().map(|&b| Uuid([b; 16])).collect::<Vec<_>>();
        let record = RegisterBrokerRecord {
            log_dirs: ids(directories),
            cordoned_log_dirs: cordoned.map(ids),
            ..Default::default()
        };
        Broker::from_record(&record)
    }

    #[test]
    fn directories_are_online_or_not() {
        let one = broker(&[9], None);
        assert!(one.has_online(Uuid([9; 16])) && !one.has_online(Uuid([8; 16])));
        assert!(one.has_online(directory::UNASSIGNED) && one.has_online(directory::MIGRATING));
        assert!(!one.has_online(directory::LOST));
        assert!(broker(&[], None).has_online(Uuid([8; 16])));
        assert_eq!(one.default_directory(), Uuid([9; 16]));
        assert_eq!(broker(&[8, 9], None).default_directory(), directory::UNASSIGNED);
        assert_eq!(broker(&[], None).default_directory(), directory::MIGRATING);
    }

    #[test]
    fn a_broker_is_full_when_all_its_directories_are_cordoned() {
        assert!(broker(&[8, 9], None).has_uncordoned());
        assert!(broker(&[8, 9], Some(&[8])).has_uncordoned());
        assert!(!broker(&[8, 9], Some(&[8, 9])).has_uncordoned());
        assert!(broker(&[8, 9], Some(&[])).has_uncordoned());
    }
}
