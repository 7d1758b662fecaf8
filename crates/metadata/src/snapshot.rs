//! The records of a snapshot: those that make the image anew, in the order Kafka writes them.

use ottla_protocol::records::metadata::{
    ConfigRecord, FeatureLevelRecord, MetadataRecord, ProducerIdsRecord, TopicRecord,
};

use crate::Image;
use crate::features::METADATA_VERSION;

impl Image {
    /// The records of a snapshot of this image: features, brokers, controllers, each topic with its partitions,
    /// configurations, quotas, producer ids, ACLs, credentials, tokens. `metadata.version` comes first, since it
    /// says how to read the rest.
    pub fn snapshot(&self) -> impl Iterator<Item = MetadataRecord> + '_ {
        let version = self.metadata_version.map(|version| (METADATA_VERSION, version.level()));
        let features = self.features.iter().map(|(name, level)| (name.as_str(), *level));
        let features = version.into_iter().chain(features).map(|(name, level)| {
            MetadataRecord::from(FeatureLevelRecord { name: name.to_owned(), feature_level: level })
        });
        let brokers = self.brokers.values().map(|broker| MetadataRecord::from(broker.to_record()));
        let controllers =
            self.controllers.values().map(|controller| MetadataRecord::from(controller.to_record()));
        features
            .chain(brokers)
            .chain(controllers)
            .chain(self.topic_records())
            .chain(self.config_records())
            .chain(self.access_records())
    }

    fn topic_records(&self) -> impl Iterator<Item = MetadataRecord> + '_ {
        let with_directories = self.version().has_directories();
        let with_elr = self.version().has_elr();
        self.topics.iter().flat_map(move |topic| {
            let record = TopicRecord { name: topic.name.to_string(), topic_id: topic.id };
            let partitions = self.topics.partitions(topic.id).map(move |(id, partition)| {
                let mut record = partition.to_record(id);
                if !with_directories {
                    record.directories.clear();
                }
                if !with_elr {
                    record.eligible_leader_replicas = None;
                    record.last_known_elr = None;
                }
                MetadataRecord::from(record)
            });
            std::iter::once(MetadataRecord::from(record)).chain(partitions)
        })
    }

    fn config_records(&self) -> impl Iterator<Item = MetadataRecord> + '_ {
        self.configs.iter().flat_map(|(resource, overrides)| {
            overrides.iter().map(|(name, value)| {
                MetadataRecord::from(ConfigRecord {
                    resource_type: resource.kind.code(),
                    resource_name: resource.name.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                })
            })
        })
    }

    fn access_records(&self) -> impl Iterator<Item = MetadataRecord> + '_ {
        let quotas = self.quotas.iter().flat_map(|(entity, quotas)| {
            quotas.iter().map(|(key, value)| MetadataRecord::from(entity.to_record(key, *value)))
        });
        let next = self.next_producer_id.0;
        let producer_ids = (next > 0).then(|| {
            MetadataRecord::from(ProducerIdsRecord {
                broker_id: -1,
                broker_epoch: -1,
                next_producer_id: next,
            })
        });
        let acls = self.acls.iter().map(|(id, acl)| MetadataRecord::from(acl.to_record(*id)));
        let scram =
            self.scram.iter().map(|(user, credential)| MetadataRecord::from(credential.to_record(user)));
        let tokens = self.tokens.iter().map(|(id, token)| MetadataRecord::from(token.to_record(id)));
        quotas.chain(producer_ids).chain(acls).chain(scram).chain(tokens)
    }
}
