//! What the sticky assignors of members write for the one at the leader, byte for byte as Java does.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::codec::{Reader, Writer};

use super::by_topic;
use crate::consumer::TopicPartition;

/// A member's last assignment and its generation.
pub(super) fn sticky(partitions: &[TopicPartition], generation: i32) -> Bytes {
    let mut writer = Writer::new();
    let topics = by_topic(partitions);
    writer.i32(i32::try_from(topics.len()).unwrap_or(0));
    for (topic, partitions) in topics {
        writer.string(topic);
        writer.i32s(&partitions);
    }
    writer.i32(generation);
    writer.into_bytes().freeze()
}

/// The same, read; the generation is missing in what clients before 2.3 wrote.
pub(super) fn read_sticky(bytes: &Bytes) -> Option<(Vec<TopicPartition>, Option<i32>)> {
    let mut reader = Reader::new(bytes.clone());
    let mut partitions = Vec::new();
    let count = reader.i32();
    for _ in 0..count {
        let topic: Arc<str> = reader.string().into();
        let indexes = reader.i32s();
        if reader.check().is_err() {
            return None;
        }
        let partition = |partition| TopicPartition { topic: topic.clone(), partition };
        partitions.extend(indexes.into_iter().map(partition));
    }
    reader.check().ok()?;
    let generation = reader.i32();
    Some((partitions, reader.check().ok().map(|()| generation)))
}

/// A member's last generation.
pub(super) fn cooperative(generation: i32) -> Bytes {
    Bytes::copy_from_slice(&generation.to_be_bytes())
}

/// The same, read.
pub(super) fn read_cooperative(bytes: &Bytes) -> Option<i32> {
    let bytes: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    Some(i32::from_be_bytes(bytes))
}
