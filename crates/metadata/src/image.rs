//! The cluster as the metadata log tells it, up to an offset. Cheap to clone, never changed once it is published.
//!
//! [`Image::replay`] applies one record, strictly: a record that cannot follow from the image is an error, since
//! then this log and this code disagree about the cluster. Transactions are handled by [`crate::Replay`].

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use ottla_protocol::records::metadata::{
    BrokerRegistrationChangeRecord, ClearElrRecord, ClientQuotaRecord, ConfigRecord, FeatureLevelRecord,
    MetadataRecord, PartitionChangeRecord, PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord,
    TopicRecord, UnregisterBrokerRecord,
};
use ottla_protocol::{NodeId, Offset, PartitionId, ProducerId, TopicId, Uuid};

pub mod access;
pub mod brokers;
pub mod configs;
pub mod topics;

use access::{Acl, DelegationToken, QuotaEntity, Quotas, ScramCredential, ScramUser};
use brokers::{Broker, RegisteredController};
use configs::{Configs, Resource, ResourceKind};
use topics::{Partition, Topics};

use crate::delta::Delta;
use crate::features::{KRAFT_VERSION, METADATA_VERSION, MetadataVersion, supported};

/// A record that cannot follow from the image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot replay {record} at offset {offset}: {reason}")]
pub struct ReplayError {
    /// The record's name.
    pub record: &'static str,
    /// Its offset.
    pub offset: i64,
    /// Why not.
    pub reason: String,
}

/// The cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// The offset after the last record that was applied.
    pub end_offset: Offset,
    /// The finalized level of `metadata.version`; `None` on an empty log.
    pub metadata_version: Option<MetadataVersion>,
    /// The finalized levels of the other features, all above 0.
    pub features: Arc<BTreeMap<String, i16>>,
    /// The registered brokers.
    pub brokers: OrdMap<NodeId, Arc<Broker>>,
    /// The registered controllers.
    pub controllers: OrdMap<NodeId, Arc<RegisteredController>>,
    /// The topics and their partitions.
    pub topics: Topics,
    /// What was set at run time.
    pub configs: Configs,
    /// Limits of clients.
    pub quotas: OrdMap<QuotaEntity, Arc<Quotas>>,
    /// The first producer id that is not given away.
    pub next_producer_id: ProducerId,
    /// Access control entries by id.
    pub acls: OrdMap<Uuid, Arc<Acl>>,
    /// SCRAM credentials.
    pub scram: OrdMap<ScramUser, Arc<ScramCredential>>,
    /// Delegation tokens by id.
    pub tokens: OrdMap<String, Arc<DelegationToken>>,
}

impl Image {
    /// The level of `metadata.version`, or the least one where none is finalized.
    #[must_use]
    pub fn version(&self) -> MetadataVersion {
        self.metadata_version.unwrap_or(MetadataVersion::MINIMUM)
    }

    /// The finalized level of a feature other than `metadata.version`; 0 where it is off.
    #[must_use]
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// Whether a broker is registered, unfenced and not on its way out.
    #[must_use]
    pub fn is_active(&self, broker: NodeId) -> bool {
        self.brokers.get(&broker).is_some_and(|broker| broker.is_active())
    }

    /// The image and the delta after `records`, of which the first has the offset `first`. Transactions are not
    /// looked at: a caller that may meet one uses [`crate::Replay`].
    ///
    /// # Errors
    /// At the first record that cannot follow.
    pub fn apply(&self, first: Offset, records: &[MetadataRecord]) -> Result<(Self, Delta), ReplayError> {
        let mut image = self.clone();
        let mut delta = Delta::from(self);
        for (at, record) in records.iter().enumerate() {
            let offset = first.plus(i64::try_from(at).unwrap_or(i64::MAX));
            image.replay(offset, record, &mut delta)?;
        }
        Ok((image, delta))
    }

    /// Applies one record, and notes in `delta` what it changed.
    ///
    /// # Errors
    /// If the record cannot follow from the image; the image is then unchanged.
    pub fn replay(
        &mut self,
        offset: Offset,
        record: &MetadataRecord,
        delta: &mut Delta,
    ) -> Result<(), ReplayError> {
        self.replay_record(record, delta).map_err(|reason| ReplayError {
            record: record.name(),
            offset: offset.0,
            reason,
        })?;
        self.end_offset = offset.plus(1);
        Ok(())
    }

    fn replay_record(&mut self, record: &MetadataRecord, delta: &mut Delta) -> Result<(), String> {
        match record {
            MetadataRecord::RegisterBroker(record) => self.register_broker(record, delta),
            MetadataRecord::UnregisterBroker(record) => self.unregister_broker(record, delta),
            MetadataRecord::BrokerRegistrationChange(record) => self.change_registration(record, delta),
            MetadataRecord::FenceBroker(record) => {
                self.change_registration(&fencing(record.id, record.epoch, 1), delta)
            }
            MetadataRecord::UnfenceBroker(record) => {
                self.change_registration(&fencing(record.id, record.epoch, -1), delta)
            }
            MetadataRecord::Topic(record) => self.create_topic(record, delta),
            MetadataRecord::RemoveTopic(record) => self.remove_topic(record.topic_id, delta),
            MetadataRecord::Partition(record) => self.put_partition(record, delta),
            MetadataRecord::PartitionChange(record) => self.change_partition(record, delta),
            MetadataRecord::ClearElr(record) => self.clear_elr(record, delta),
            MetadataRecord::Config(record) => self.set_config(record, delta),
            MetadataRecord::FeatureLevel(record) => self.set_feature(record, delta),
            MetadataRecord::ClientQuota(record) => {
                self.set_quota(record, delta);
                Ok(())
            }
            MetadataRecord::ProducerIds(record) => self.set_producer_ids(record, delta),
            MetadataRecord::RegisterController(record) => {
                let controller = RegisteredController::from_record(record);
                delta.controllers.insert(controller.id);
                self.controllers.insert(controller.id, Arc::new(controller));
                Ok(())
            }
            MetadataRecord::UnregisterController(record) => {
                let id = NodeId(record.controller_id);
                self.controllers.remove(&id).ok_or_else(|| format!("controller {id} is not registered"))?;
                delta.controllers.insert(id);
                Ok(())
            }
            MetadataRecord::NoOp(_)
            | MetadataRecord::ZkMigrationState(_)
            | MetadataRecord::BeginTransaction(_)
            | MetadataRecord::EndTransaction(_)
            | MetadataRecord::AbortTransaction(_) => Ok(()),
            access => self.replay_access(access, delta),
        }
    }

    fn replay_access(&mut self, record: &MetadataRecord, delta: &mut Delta) -> Result<(), String> {
        match record {
            MetadataRecord::AccessControlEntry(record) => {
                if self.acls.contains_key(&record.id) {
                    return Err(format!("there is an access control entry with the id {}", record.id));
                }
                self.acls.insert(record.id, Arc::new(Acl::from_record(record)));
                delta.acls.insert(record.id);
            }
            MetadataRecord::RemoveAccessControlEntry(record) => {
                let missing = || format!("there is no access control entry with the id {}", record.id);
                self.acls.remove(&record.id).ok_or_else(missing)?;
                delta.acls.insert(record.id);
            }
            MetadataRecord::UserScramCredential(record) => {
                let user = ScramUser { mechanism: record.mechanism, name: record.name.clone() };
                self.scram.insert(user.clone(), Arc::new(ScramCredential::from_record(record)));
                delta.scram.insert(user);
            }
            MetadataRecord::RemoveUserScramCredential(record) => {
                let user = ScramUser { mechanism: record.mechanism, name: record.name.clone() };
                let missing = || format!("user {} has no such credential", record.name);
                self.scram.remove(&user).ok_or_else(missing)?;
                delta.scram.insert(user);
            }
            MetadataRecord::DelegationToken(record) => {
                self.tokens.insert(record.token_id.clone(), Arc::new(DelegationToken::from_record(record)));
                delta.tokens.insert(record.token_id.clone());
            }
            MetadataRecord::RemoveDelegationToken(record) => {
                let missing = || format!("there is no delegation token {}", record.token_id);
                self.tokens.remove(&record.token_id).ok_or_else(missing)?;
                delta.tokens.insert(record.token_id.clone());
            }
            other => return Err(format!("{} is not a record of access control", other.name())),
        }
        Ok(())
    }

    fn register_broker(&mut self, record: &RegisterBrokerRecord, delta: &mut Delta) -> Result<(), String> {
        let broker = Broker::from_record(record);
        for directory in &broker.directories {
            let owner = |other: &&Arc<Broker>| other.id != broker.id && other.directories.contains(directory);
            if let Some(other) = self.brokers.values().find(owner) {
                return Err(format!("directory {directory} belongs to broker {}", other.id));
            }
        }
        delta.brokers.insert(broker.id);
        self.brokers.insert(broker.id, Arc::new(broker));
        Ok(())
    }

    fn unregister_broker(
        &mut self,
        record: &UnregisterBrokerRecord,
        delta: &mut Delta,
    ) -> Result<(), String> {
        let broker = self.broker_of_epoch(record.broker_id, record.broker_epoch)?;
        let id = broker.id;
        self.brokers.remove(&id);
        delta.brokers.insert(id);
        Ok(())
    }

    fn broker_of_epoch(&self, id: i32, epoch: i64) -> Result<Arc<Broker>, String> {
        let broker = self.brokers.get(&NodeId(id)).ok_or_else(|| format!("broker {id} is not registered"))?;
        if broker.epoch != epoch {
            return Err(format!("broker {id} has the epoch {}, not {epoch}", broker.epoch));
        }
        Ok(broker.clone())
    }

    fn change_registration(
        &mut self,
        record: &BrokerRegistrationChangeRecord,
        delta: &mut Delta,
    ) -> Result<(), String> {
        let mut broker = Broker::clone(&*self.broker_of_epoch(record.broker_id, record.broker_epoch)?);
        match record.fenced {
            0 => {}
            1 => broker.fenced = true,
            -1 => broker.fenced = false,
            other => return Err(format!("{other} is no change of fencing")),
        }
        match record.in_controlled_shutdown {
            0 => {}
            1 => broker.in_controlled_shutdown = true,
            other => return Err(format!("{other} is no change of controlled shutdown")),
        }
        if !record.log_dirs.is_empty() {
            broker.directories.clone_from(&record.log_dirs);
        }
        if record.cordoned_log_dirs.is_some() {
            broker.cordoned_directories.clone_from(&record.cordoned_log_dirs);
        }
        delta.brokers.insert(broker.id);
        self.brokers.insert(broker.id, Arc::new(broker));
        Ok(())
    }

    fn create_topic(&mut self, record: &TopicRecord, delta: &mut Delta) -> Result<(), String> {
        if let Some(topic) = self.topics.named(&record.name) {
            return Err(format!("there is a topic {} with the id {}", record.name, topic.id));
        }
        if let Some(topic) = self.topics.get(record.topic_id) {
            return Err(format!("topic {} has the id {}", topic.name, record.topic_id));
        }
        self.topics.insert(record.topic_id, &record.name);
        delta.note_topic_created(record.topic_id);
        Ok(())
    }

    fn remove_topic(&mut self, id: TopicId, delta: &mut Delta) -> Result<(), String> {
        let topic = self.topics.remove(id).ok_or_else(|| format!("there is no topic with the id {id}"))?;
        let resource = Resource::topic(&topic.name);
        if self.configs.forget(&resource) {
            delta.configs.insert(resource);
        }
        delta.note_topic_removed(&topic);
        Ok(())
    }

    fn put_partition(&mut self, record: &PartitionRecord, delta: &mut Delta) -> Result<(), String> {
        let id = PartitionId { topic: record.topic_id, index: record.partition_id };
        if self.topics.get(id.topic).is_none() {
            return Err(format!("there is no topic with the id {}", id.topic));
        }
        if id.index < 0 {
            return Err(format!("{} is no number of a partition", id.index));
        }
        self.topics.put(id, Partition::from_record(record)?);
        delta.partitions.insert(id);
        Ok(())
    }

    fn change_partition(&mut self, record: &PartitionChangeRecord, delta: &mut Delta) -> Result<(), String> {
        let id = PartitionId { topic: record.topic_id, index: record.partition_id };
        let partition = self.topics.partition(id).ok_or_else(|| format!("there is no partition {id}"))?;
        let next = partition.merge(record)?;
        self.topics.put(id, next);
        delta.partitions.insert(id);
        Ok(())
    }

    fn clear_elr(&mut self, record: &ClearElrRecord, delta: &mut Delta) -> Result<(), String> {
        let has_elr = |(id, partition): (PartitionId, &Arc<Partition>)| {
            (!partition.elr.is_empty() || !partition.last_known_elr.is_empty()).then_some(id)
        };
        let affected: Vec<PartitionId> = if record.topic_name.is_empty() {
            self.topics.all_partitions().filter_map(has_elr).collect()
        } else {
            let missing = || format!("there is no topic {}", record.topic_name);
            let topic = self.topics.named(&record.topic_name).ok_or_else(missing)?.id;
            self.topics.partitions(topic).filter_map(has_elr).collect()
        };
        for id in affected {
            let change = PartitionChangeRecord {
                partition_id: id.index,
                topic_id: id.topic,
                eligible_leader_replicas: Some(Vec::new()),
                last_known_elr: Some(Vec::new()),
                ..Default::default()
            };
            self.change_partition(&change, delta)?;
        }
        Ok(())
    }

    fn set_config(&mut self, record: &ConfigRecord, delta: &mut Delta) -> Result<(), String> {
        let kind = ResourceKind::from_code(record.resource_type)
            .ok_or_else(|| format!("{} is no type of a resource", record.resource_type))?;
        let resource = Resource::new(kind, record.resource_name.clone());
        self.configs.set(resource.clone(), &record.name, record.value.as_deref());
        delta.configs.insert(resource);
        Ok(())
    }

    fn set_feature(&mut self, record: &FeatureLevelRecord, delta: &mut Delta) -> Result<(), String> {
        let (name, level) = (record.name.as_str(), record.feature_level);
        match name {
            METADATA_VERSION => {
                let range = supported(name);
                let version = MetadataVersion::from_level(level).filter(|_| range.contains(level));
                let refuse = || format!("metadata.version {level} is not among {range}");
                self.metadata_version = Some(version.ok_or_else(refuse)?);
            }
            // KAFKA-18979: older controllers wrote it by mistake; the quorum keeps it in control records.
            KRAFT_VERSION => return Ok(()),
            _ if level < 0 => return Err(format!("{level} is no level of {name}")),
            _ => {
                let features = Arc::make_mut(&mut self.features);
                match level {
                    0 => features.remove(name),
                    level => features.insert(name.to_owned(), level),
                };
            }
        }
        delta.features.insert(record.name.clone());
        Ok(())
    }

    fn set_quota(&mut self, record: &ClientQuotaRecord, delta: &mut Delta) {
        let entity = QuotaEntity::from_record(record);
        let mut quotas = self.quotas.get(&entity).map_or_else(Quotas::new, |quotas| Quotas::clone(quotas));
        if record.remove {
            quotas.remove(&record.key);
        } else {
            quotas.insert(record.key.clone(), record.value);
        }
        delta.quotas.insert(entity.clone());
        if quotas.is_empty() {
            self.quotas.remove(&entity);
        } else {
            self.quotas.insert(entity, Arc::new(quotas));
        }
    }

    fn set_producer_ids(&mut self, record: &ProducerIdsRecord, delta: &mut Delta) -> Result<(), String> {
        let next = record.next_producer_id;
        if next <= self.next_producer_id.0 && self.next_producer_id.0 != 0 {
            return Err(format!("producer id {next} does not lie after {}", self.next_producer_id));
        }
        self.next_producer_id = ProducerId(next);
        delta.producer_ids = true;
        Ok(())
    }
}

fn fencing(id: i32, epoch: i64, fenced: i8) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord { broker_id: id, broker_epoch: epoch, fenced, ..Default::default() }
}

#[cfg(test)]
mod tests;
