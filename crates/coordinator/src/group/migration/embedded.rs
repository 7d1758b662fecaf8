//! What consumers of the classic protocol say inside of JoinGroup and SyncGroup. A version that is not known yet is
//! read as the last known one: later versions only add to the end.

use bytes::Bytes;
use ottla_metadata::Image;
use ottla_protocol::codec::Reader;
use ottla_protocol::records::consumer_protocol::consumer_protocol_assignment::TopicPartition;
use ottla_protocol::records::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::records::encode_versioned;
use ottla_protocol::{Message, TopicId};

/// The version that a consumer speaks; `None` for none.
pub(crate) fn version(metadata: &Bytes) -> Option<i16> {
    let mut reader = Reader::new(metadata.clone());
    let version = reader.i16();
    reader.check().ok()?;
    (version >= 0).then_some(version)
}

/// What a member wants.
pub(crate) fn subscription(metadata: &Bytes) -> Option<ConsumerProtocolSubscription> {
    read(metadata)
}

/// What a member has been given by its group's leader; nothing at all is nothing.
pub(crate) fn given(assignment: &Bytes) -> Option<ConsumerProtocolAssignment> {
    if assignment.is_empty() { Some(ConsumerProtocolAssignment::default()) } else { read(assignment) }
}

fn read<M: Message>(bytes: &Bytes) -> Option<M> {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.i16();
    reader.check().ok()?;
    if version < 0 {
        return None;
    }
    M::decode(&mut reader, version.min(M::MAX)).ok()
}

/// What a member has, in the words of its version. Topics that are gone have no name.
pub(crate) fn assignment(
    image: &Image,
    version: i16,
    topics: impl Iterator<Item = (TopicId, Vec<i32>)>,
) -> Bytes {
    let named = topics.filter_map(|(topic, partitions)| {
        let topic = image.topics.get(topic)?.name.to_string();
        Some(TopicPartition { topic, partitions })
    });
    let assignment = ConsumerProtocolAssignment { assigned_partitions: named.collect(), user_data: None };
    // Names of topics are short.
    encode_versioned(&assignment, version.min(ConsumerProtocolAssignment::MAX)).unwrap_or_default()
}
