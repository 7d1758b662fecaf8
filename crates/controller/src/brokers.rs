//! Brokers come, stay, and go; controllers register.

use ottla_metadata::config::validate::Rejected;
use ottla_metadata::features::{KRAFT_VERSION, METADATA_VERSION, Range};
use ottla_metadata::{Broker, RegisteredController};
use ottla_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest,
    ControllerRegistrationRequest, ControllerRegistrationResponse, UnregisterBrokerRequest,
    UnregisterBrokerResponse,
};
use ottla_protocol::records::metadata::register_broker::{BrokerEndpoint, BrokerFeature};
use ottla_protocol::records::metadata::register_controller::{ControllerEndpoint, ControllerFeature};
use ottla_protocol::records::metadata::{
    BrokerRegistrationChangeRecord, MetadataRecord, RegisterBrokerRecord, RegisterControllerRecord,
    UnregisterBrokerRecord,
};
use ottla_protocol::time::Now;
use ottla_protocol::{NodeId, Offset, Refusal, Uuid};

use crate::command::Registrant;
use crate::heartbeats::{Heartbeats, Standing};
use crate::partitions::updates::{self, Shutdown};
use crate::refused::{outcome, refused};
use crate::view::View;

/// What a registration needs to know beside the cluster.
pub(crate) struct Registrar<'a> {
    pub cluster_id: &'a str,
    /// The finalized level of `kraft.version`, which the quorum keeps.
    pub kraft_version: i16,
    /// The epoch of a new registration: the offset that is written next.
    pub next_offset: Offset,
    pub now: Now,
    pub registrant: Registrant,
}

impl Registrar<'_> {
    /// The broker's epoch, or why it cannot register.
    pub fn register(
        &self,
        view: &View,
        heartbeats: &mut Heartbeats,
        (request, version): (&BrokerRegistrationRequest, i16),
        records: &mut Vec<MetadataRecord>,
    ) -> Result<i64, Rejected> {
        if request.cluster_id != self.cluster_id {
            let text =
                format!("Expected cluster ID {}, but got cluster ID {}", self.cluster_id, request.cluster_id);
            return Err(refused(Refusal::InconsistentClusterId, text));
        }
        let id = NodeId(request.broker_id);
        if id.0 < 0 {
            return Err(refused(Refusal::InvalidRegistration, "Broker IDs cannot be negative"));
        }
        let existing = view.broker(id);
        let same = existing.is_some_and(|existing| existing.incarnation == request.incarnation_id);
        if let Some(existing) = existing.filter(|_| !same) {
            let alive = heartbeats.is_alive(id, existing.epoch, self.now);
            let elsewhere = self.registrant == Registrant::Elsewhere;
            if alive && elsewhere && !existing.in_controlled_shutdown {
                return Err(refused(
                    Refusal::DuplicateBrokerRegistration,
                    "Another broker is registered with that broker id. If the broker was recently restarted this \
                     should self-resolve once the heartbeat manager expires the broker's session.",
                ));
            }
        }
        if request.is_migrating_zk_broker {
            let text = "Controller does not support registering ZK brokers.";
            return Err(refused(Refusal::BrokerIdNotRegistered, text));
        }
        check_directories(view, request)?;
        self.check_features(view, request)?;
        let mut record = registration(view, request);
        match existing.filter(|_| same) {
            Some(existing) => {
                record.fenced = existing.fenced;
                record.in_controlled_shutdown = existing.in_controlled_shutdown;
                record.broker_epoch = existing.epoch;
            }
            None => {
                let stored = existing.map_or(-2, |existing| existing.epoch);
                let shutdown = match version >= 3 && stored == request.previous_broker_epoch {
                    true => Shutdown::Clean,
                    false => Shutdown::Unclean,
                };
                updates::broker_shut_down(view, id, shutdown, records);
                record.broker_epoch = self.next_offset.0;
            }
        }
        let epoch = record.broker_epoch;
        records.push(record.into());
        heartbeats.register(id, epoch);
        Ok(epoch)
    }

    fn check_features(&self, view: &View, request: &BrokerRegistrationRequest) -> Result<(), Rejected> {
        let claimed = |name: &str| {
            let feature = request.features.iter().find(|feature| feature.name == name)?;
            Some(Range { min: feature.min_supported_version, max: feature.max_supported_version })
        };
        if claimed(METADATA_VERSION).is_none() {
            let text = "Request features do not contain 'metadata.version'";
            return Err(refused(Refusal::InvalidRegistration, text));
        }
        let mut finalized: Vec<(&str, i16)> =
            view.image.features.iter().map(|(name, level)| (name.as_str(), *level)).collect();
        finalized.push((METADATA_VERSION, view.version().level()));
        finalized.push((KRAFT_VERSION, self.kraft_version));
        for feature in &request.features {
            if !finalized.iter().any(|(name, _)| *name == feature.name) {
                finalized.push((&feature.name, 0));
            }
        }
        for (name, level) in finalized {
            let range = claimed(name).unwrap_or(Range { min: 0, max: 0 });
            if !range.contains(level) {
                let text = format!(
                    "Unable to register because the broker does not support finalized version {level} of {name}. \
                     The broker wants a version between {} and {}, inclusive.",
                    range.min, range.max
                );
                return Err(refused(Refusal::UnsupportedVersion, text));
            }
        }
        Ok(())
    }
}

fn check_directories(view: &View, request: &BrokerRegistrationRequest) -> Result<(), Rejected> {
    if !view.version().has_directories() {
        return Ok(());
    }
    let refuse = |text: String| Err(refused(Refusal::InvalidRegistration, text));
    if request.log_dirs.is_empty() {
        return refuse("No directories specified in request".to_owned());
    }
    for (at, directory) in request.log_dirs.iter().enumerate() {
        if directory.is_reserved() {
            return refuse("Reserved directory ID in request".to_owned());
        }
        if request.log_dirs[..at].contains(directory) {
            return refuse("Duplicate directory ID in request".to_owned());
        }
        let owns = |other: &&Broker| other.id.0 != request.broker_id && other.directories.contains(directory);
        if let Some(other) = view.image.brokers.values().map(|broker| &**broker).find(owns) {
            return refuse(format!("Broker {} is already registered with directory {directory}", other.id));
        }
    }
    Ok(())
}

fn registration(view: &View, request: &BrokerRegistrationRequest) -> RegisterBrokerRecord {
    let log_dirs = if view.version().has_directories() { request.log_dirs.clone() } else { Vec::new() };
    let endpoint = |listener: &ottla_protocol::messages::broker_registration::Listener| BrokerEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    };
    let feature = |feature: &ottla_protocol::messages::broker_registration::Feature| BrokerFeature {
        name: feature.name.clone(),
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
    };
    RegisterBrokerRecord {
        broker_id: request.broker_id,
        is_migrating_zk_broker: false,
        incarnation_id: request.incarnation_id,
        broker_epoch: -1,
        end_points: request.listeners.iter().map(endpoint).collect(),
        features: request.features.iter().map(feature).collect(),
        rack: request.rack.clone(),
        fenced: true,
        in_controlled_shutdown: false,
        log_dirs,
        cordoned_log_dirs: None,
    }
}

/// The answer to a heartbeat, and the records of what follows from it.
pub(crate) fn heartbeat(
    view: &View,
    heartbeats: &mut Heartbeats,
    (request, registered_at): (&BrokerHeartbeatRequest, Option<Offset>),
    records: &mut Vec<MetadataRecord>,
) -> Result<BrokerHeartbeatResponse, Rejected> {
    let Some(registered_at) = registered_at else {
        let text = format!("Receive a heartbeat from broker {} before registration", request.broker_id);
        return Err(refused(Refusal::StaleBrokerEpoch, text));
    };
    let broker = view.broker_of_epoch(request.broker_id, request.broker_epoch)?;
    let id = broker.id;
    let current = heartbeats.standing(broker);
    let next = heartbeats.next(&view.image, broker, request, registered_at, || leads_something(view, id));
    if current != next {
        match next {
            Standing::Fenced | Standing::MayStop => fence(view, broker, records),
            Standing::Unfenced => {
                records.push(change(broker, |change| change.fenced = -1));
                updates::broker_unfenced(view, id, records);
            }
            Standing::LeavingInOrder => {
                if !broker.in_controlled_shutdown {
                    records.push(change(broker, |change| change.in_controlled_shutdown = 1));
                }
                updates::broker_leaves(view, id, records);
            }
        }
    }
    directories(view, broker, request, records);
    let last = view.image.end_offset.0 + i64::try_from(records.len()).unwrap_or(0) - 1;
    heartbeats.settle(id, next, request.current_metadata_offset, Offset(last));
    Ok(BrokerHeartbeatResponse {
        is_caught_up: request.current_metadata_offset >= registered_at.0,
        is_fenced: next.is_fenced(),
        should_shut_down: next == Standing::MayStop,
        ..Default::default()
    })
}

fn change(broker: &Broker, set: impl FnOnce(&mut BrokerRegistrationChangeRecord)) -> MetadataRecord {
    let mut record = BrokerRegistrationChangeRecord {
        broker_id: broker.id.0,
        broker_epoch: broker.epoch,
        ..Default::default()
    };
    set(&mut record);
    record.into()
}

/// Takes the broker out of every in-sync set and every lead, then fences it.
pub(crate) fn fence(view: &View, broker: &Broker, records: &mut Vec<MetadataRecord>) {
    updates::broker_leaves(view, broker.id, records);
    records.push(change(broker, |change| change.fenced = 1));
}

fn leads_something(view: &View, broker: NodeId) -> bool {
    view.image.topics.all_partitions().any(|(_, partition)| partition.leader == Some(broker))
}

/// Directories that broke or were cordoned since the broker last said.
fn directories(
    view: &View,
    broker: &Broker,
    request: &BrokerHeartbeatRequest,
    records: &mut Vec<MetadataRecord>,
) {
    if view.version().has_directories() {
        let is_offline = |directory: &Uuid| request.offline_log_dirs.contains(directory);
        let (offline, online): (Vec<Uuid>, Vec<Uuid>) =
            broker.directories.iter().copied().partition(is_offline);
        for directory in &offline {
            updates::directory_failed(view, broker.id, *directory, records);
        }
        // A record cannot say that no directory is left; a broker without any stops by itself.
        if !offline.is_empty() && !online.is_empty() {
            records.push(change(broker, |change| change.log_dirs = online));
        }
    }
    if view.version().has_cordoned_directories()
        && let Some(cordoned) = &request.cordoned_log_dirs
    {
        let sorted = |directories: &[_]| {
            let mut directories = directories.to_vec();
            directories.sort_unstable();
            directories
        };
        if sorted(cordoned) != sorted(broker.cordoned_directories.as_deref().unwrap_or(&[])) {
            records.push(change(broker, |change| change.cordoned_log_dirs = Some(cordoned.clone())));
        }
    }
}

pub(crate) fn unregister(
    view: &View,
    request: &UnregisterBrokerRequest,
    records: &mut Vec<MetadataRecord>,
) -> UnregisterBrokerResponse {
    let id = NodeId(request.broker_id);
    let result = match view.broker(id) {
        Some(broker) => {
            updates::broker_leaves(view, id, records);
            updates::broker_leaves_elr(view, id, records);
            records.push(UnregisterBrokerRecord { broker_id: id.0, broker_epoch: broker.epoch }.into());
            Ok(())
        }
        None => {
            let text = format!("Broker ID {id} is not currently registered");
            Err(refused(Refusal::BrokerIdNotRegistered, text))
        }
    };
    let (error_code, error_message) = outcome(&result);
    UnregisterBrokerResponse { error_code, error_message, ..Default::default() }
}

pub(crate) fn register_controller(
    view: &View,
    request: &ControllerRegistrationRequest,
    records: &mut Vec<MetadataRecord>,
) -> ControllerRegistrationResponse {
    if !view.version().has_controller_registration() {
        let text = "The current MetadataVersion is too old to support controller registrations.";
        return ControllerRegistrationResponse {
            error_code: Refusal::UnsupportedVersion.code(),
            error_message: Some(text.to_owned()),
            ..Default::default()
        };
    }
    let end_points = request.listeners.iter().map(|listener| ControllerEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    });
    let features = request.features.iter().map(|feature| ControllerFeature {
        name: feature.name.clone(),
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
    });
    let record = RegisterControllerRecord {
        controller_id: request.controller_id,
        incarnation_id: request.incarnation_id,
        zk_migration_ready: false,
        end_points: end_points.collect(),
        features: features.collect(),
    };
    let known = view.image.controllers.get(&NodeId(request.controller_id));
    // A controller repeats itself until it sees its record; saying the same twice writes nothing.
    if known.is_none_or(|known| **known != RegisteredController::from_record(&record)) {
        records.push(record.into());
    }
    ControllerRegistrationResponse::default()
}
