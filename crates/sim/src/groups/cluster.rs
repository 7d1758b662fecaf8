//! The topics that groups read. They may get more partitions.

use ottla_metadata::Image;
use ottla_protocol::records::metadata::{MetadataRecord, PartitionRecord, TopicRecord};
use ottla_protocol::{TopicId, Uuid};

/// A partition of one of the topics: the topic's number, and the partition's.
pub type Place = (usize, i32);

/// See the module.
#[derive(Debug)]
pub struct Cluster {
    /// The cluster as the coordinator sees it.
    pub image: Image,
    counts: Vec<i32>,
}

impl Cluster {
    /// Topics with so many partitions each.
    #[must_use]
    pub fn new(counts: &[i32]) -> Self {
        let mut cluster = Self { image: Image::default(), counts: vec![0; counts.len()] };
        for (topic, count) in counts.iter().enumerate() {
            let record = TopicRecord { name: Self::name(topic), topic_id: Self::id(topic) };
            cluster.take(&[record.into()]);
            for _ in 0..*count {
                cluster.grow(topic);
            }
        }
        cluster
    }

    /// One partition more.
    pub fn grow(&mut self, topic: usize) {
        let record = PartitionRecord {
            partition_id: self.counts[topic],
            topic_id: Self::id(topic),
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![Uuid([0x42; 16])],
            ..Default::default()
        };
        self.counts[topic] += 1;
        self.take(&[record.into()]);
    }

    /// How many topics there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many partitions a topic has.
    #[must_use]
    pub fn count(&self, topic: usize) -> i32 {
        self.counts[topic]
    }

    /// A topic's id.
    #[must_use]
    pub fn id(topic: usize) -> TopicId {
        Uuid([u8::try_from(topic + 1).unwrap_or(u8::MAX); 16])
    }

    /// A topic's name.
    #[must_use]
    pub fn name(topic: usize) -> String {
        format!("t{topic}")
    }

    /// Which topic has this id.
    #[must_use]
    pub fn with_id(&self, id: TopicId) -> Option<usize> {
        (0..self.len()).find(|topic| Self::id(*topic) == id)
    }

    /// Which topic has this name.
    #[must_use]
    pub fn with_name(&self, name: &str) -> Option<usize> {
        (0..self.len()).find(|topic| Self::name(*topic) == name)
    }

    /// Takes in records of the metadata log.
    ///
    /// # Panics
    /// If they do not follow.
    pub fn take(&mut self, records: &[MetadataRecord]) {
        let (image, _) = self.image.apply(self.image.end_offset, records).expect("such records follow");
        self.image = image;
    }
}
