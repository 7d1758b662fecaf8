//! A cluster as far as groups see it: topics with partitions, on brokers with racks.

use std::collections::BTreeMap;

use ottla_metadata::Image;
use ottla_protocol::records::metadata::{
    MetadataRecord, PartitionRecord, RegisterBrokerRecord, RemoveTopicRecord, TopicRecord,
};
use ottla_protocol::{Offset, TopicId, Uuid};

/// See the module.
#[derive(Default)]
pub struct Cluster {
    pub image: Image,
    names: BTreeMap<TopicId, String>,
    made: u8,
}

impl Cluster {
    /// Brokers from 1 on, in these racks.
    pub fn brokers(&mut self, racks: &[&str]) {
        for (id, rack) in (1..).zip(racks) {
            self.apply(RegisterBrokerRecord {
                broker_id: id,
                broker_epoch: id.into(),
                incarnation_id: Uuid([u8::try_from(id).unwrap(); 16]),
                rack: Some((*rack).to_owned()),
                ..Default::default()
            });
        }
    }

    /// A new topic.
    pub fn create(&mut self, name: &str, partitions: i32) {
        self.made += 1;
        let topic_id = Uuid([self.made; 16]);
        self.names.insert(topic_id, name.to_owned());
        self.apply(TopicRecord { name: name.to_owned(), topic_id });
        self.grow(name, partitions);
    }

    /// The topic has so many partitions from now on.
    pub fn grow(&mut self, name: &str, partitions: i32) {
        let topic = self.image.topics.named(name).unwrap().clone();
        for partition_id in topic.partition_count..partitions {
            self.apply(PartitionRecord {
                partition_id,
                topic_id: topic.id,
                replicas: vec![1, 2],
                isr: vec![1, 2],
                leader: 1,
                leader_epoch: 0,
                partition_epoch: 0,
                ..Default::default()
            });
        }
    }

    /// The topic is gone.
    pub fn delete(&mut self, name: &str) {
        let topic_id = self.id(name);
        self.apply(RemoveTopicRecord { topic_id });
    }

    pub fn id(&self, name: &str) -> TopicId {
        self.image.topics.named(name).map_or(Uuid([0xEE; 16]), |topic| topic.id)
    }

    /// A topic's name, also of one that is gone.
    pub fn name(&self, id: TopicId) -> &str {
        self.names.get(&id).map_or("?", String::as_str)
    }

    fn apply(&mut self, record: impl Into<MetadataRecord>) {
        let end = self.image.end_offset;
        let (image, _) = self.image.apply(end, &[record.into()]).unwrap();
        self.image = image;
        assert_eq!(self.image.end_offset, Offset(end.0 + 1));
    }
}
