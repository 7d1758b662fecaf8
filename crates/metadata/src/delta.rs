//! What records changed between two images: names of things, not their contents, which the images have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::{NodeId, PartitionId, TopicId, Uuid};

use crate::Image;
use crate::features::METADATA_VERSION;
use crate::image::access::{QuotaEntity, ScramUser};
use crate::image::configs::Resource;
use crate::image::topics::Topic;

/// What changed since an image. What came and went in between is not in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// The image before the changes.
    pub before: Image,
    /// Features whose level was set, `metadata.version` among them.
    pub features: BTreeSet<String>,
    /// Brokers that registered, changed or went.
    pub brokers: BTreeSet<NodeId>,
    /// Controllers that registered, changed or went.
    pub controllers: BTreeSet<NodeId>,
    /// Topics that are new.
    pub topics_created: BTreeSet<TopicId>,
    /// Topics that are gone.
    pub topics_deleted: BTreeMap<TopicId, Arc<Topic>>,
    /// Partitions that are new or changed, of topics that are there.
    pub partitions: BTreeSet<PartitionId>,
    /// Resources on which something was set or unset.
    pub configs: BTreeSet<Resource>,
    /// Entities whose limits changed.
    pub quotas: BTreeSet<QuotaEntity>,
    /// Access control entries that came or went.
    pub acls: BTreeSet<Uuid>,
    /// Credentials that were set or went.
    pub scram: BTreeSet<ScramUser>,
    /// Tokens that were made, renewed or went.
    pub tokens: BTreeSet<String>,
    /// Whether producer ids were given away.
    pub producer_ids: bool,
}

impl From<&Image> for Delta {
    /// Nothing has changed since `image`.
    fn from(image: &Image) -> Self {
        Self { before: image.clone(), ..Self::default() }
    }
}

impl Delta {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            before: _,
            features,
            brokers,
            controllers,
            topics_created,
            topics_deleted,
            partitions,
            configs,
            quotas,
            acls,
            scram,
            tokens,
            producer_ids,
        } = self;
        let access = acls.is_empty() && scram.is_empty() && tokens.is_empty() && quotas.is_empty();
        let nodes = features.is_empty() && brokers.is_empty() && controllers.is_empty();
        let topics = topics_created.is_empty() && topics_deleted.is_empty() && partitions.is_empty();
        access && nodes && topics && configs.is_empty() && !producer_ids
    }

    /// Whether the level of `metadata.version` was set.
    #[must_use]
    pub fn sets_metadata_version(&self) -> bool {
        self.features.contains(METADATA_VERSION)
    }

    /// The difference between two images, for a snapshot that replaces everything at once.
    #[must_use]
    pub fn between(before: &Image, after: &Image) -> Self {
        let mut delta = Self::from(before);
        let levels = before.features.iter().chain(after.features.iter());
        delta.features.extend(
            levels
                .filter(|(name, _)| before.feature(name) != after.feature(name))
                .map(|(name, _)| name.clone()),
        );
        if before.metadata_version != after.metadata_version {
            delta.features.insert(METADATA_VERSION.to_owned());
        }
        differing(&before.brokers, &after.brokers, &mut delta.brokers);
        differing(&before.controllers, &after.controllers, &mut delta.controllers);
        differing(&before.quotas, &after.quotas, &mut delta.quotas);
        differing(&before.acls, &after.acls, &mut delta.acls);
        differing(&before.scram, &after.scram, &mut delta.scram);
        differing(&before.tokens, &after.tokens, &mut delta.tokens);
        delta.producer_ids = before.next_producer_id != after.next_producer_id;
        for (resource, overrides) in before.configs.iter() {
            if after.configs.get(resource) != overrides {
                delta.configs.insert(resource.clone());
            }
        }
        for (resource, overrides) in after.configs.iter() {
            if before.configs.get(resource) != overrides {
                delta.configs.insert(resource.clone());
            }
        }
        for topic in before.topics.iter().filter(|topic| after.topics.get(topic.id).is_none()) {
            delta.topics_deleted.insert(topic.id, topic.clone());
        }
        for topic in after.topics.iter().filter(|topic| before.topics.get(topic.id).is_none()) {
            delta.topics_created.insert(topic.id);
        }
        for (id, partition) in after.topics.all_partitions() {
            if before.topics.partition(id) != Some(partition) {
                delta.partitions.insert(id);
            }
        }
        delta
    }

    pub(crate) fn note_topic_created(&mut self, id: TopicId) {
        self.topics_created.insert(id);
    }

    /// KAFKA-19497: a topic that was made since `before` leaves no trace.
    pub(crate) fn note_topic_removed(&mut self, topic: &Arc<Topic>) {
        let first = PartitionId { topic: topic.id, index: i32::MIN };
        let last = PartitionId { topic: topic.id, index: i32::MAX };
        let partitions: Vec<PartitionId> = self.partitions.range(first..=last).copied().collect();
        for partition in partitions {
            self.partitions.remove(&partition);
        }
        if !self.topics_created.remove(&topic.id) {
            self.topics_deleted.insert(topic.id, topic.clone());
        }
    }
}

fn differing<K, V>(before: &imbl::OrdMap<K, V>, after: &imbl::OrdMap<K, V>, into: &mut BTreeSet<K>)
where
    K: Ord + Clone,
    V: PartialEq + Clone,
{
    into.extend(
        before.iter().filter(|(key, value)| after.get(*key) != Some(*value)).map(|(key, _)| key.clone()),
    );
    into.extend(after.keys().filter(|key| !before.contains_key(*key)).cloned());
}
