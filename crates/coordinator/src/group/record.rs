//! The records of `__consumer_offsets` that classic and consumer groups and their offsets are made of.
//!
//! Records of share and streams groups and types of later versions are passed over: they stay in the log as they are.

use bytes::Bytes;
use ottla_protocol::codec::DecodeError;
use ottla_protocol::records::coordinator::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue,
    ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue, GroupMetadataKey,
    GroupMetadataValue, Key, LegacyOffsetCommitKey, LegacyOffsetCommitValue, OffsetCommitKey,
    OffsetCommitValue,
};
use ottla_protocol::records::{decode_versioned, encode_versioned};

macro_rules! records {
    ($($name:ident($key:ident, $value:ident) by $group:ident in version $version:expr;)*) => {
        /// A record: what it is about, and what is so from now on; `None` is a tombstone.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "the names are Kafka's own")]
        pub enum Record {
            $($name($key, Option<$value>),)*
        }

        impl Record {
            /// The group that the record belongs to.
            #[must_use]
            pub fn group(&self) -> &str {
                match self {
                    $(Self::$name(key, _) => &key.$group,)*
                }
            }

            /// Whether the record takes something away.
            #[must_use]
            pub fn is_tombstone(&self) -> bool {
                match self {
                    $(Self::$name(_, value) => value.is_none(),)*
                }
            }

            fn of(key: Key, value: Option<&[u8]>) -> Result<Option<Self>, DecodeError> {
                Ok(Some(match key {
                    $(Key::$name(key) => {
                        let value = value.map(decode_versioned::<$value>).transpose()?;
                        Self::$name(key, value.map(|(value, _)| value))
                    })*
                    Key::LegacyOffsetCommit(key) => {
                        let value = value.map(decode_versioned::<LegacyOffsetCommitValue>).transpose()?;
                        Self::OffsetCommit(modern_key(key), value.map(|(value, _)| modern_value(value)))
                    }
                    _ => return Ok(None),
                }))
            }

            /// Key and value as they stand in the log, in the versions that Kafka 4.4 writes.
            ///
            /// # Panics
            /// If a name in it is longer than 32,767 bytes: requests cannot bring one in, and ids made here are cut.
            #[must_use]
            pub fn encode(&self) -> (Bytes, Option<Bytes>) {
                let (key, value) = match self {
                    $(Self::$name(key, value) => (
                        Key::from(key.clone()).encode(),
                        value.as_ref().map(|value| encode_versioned(value, $version(value))),
                    ),)*
                };
                let sound = "no name gets in that cannot be written";
                (key.expect(sound), value.map(|value| value.expect(sound)))
            }
        }

        $(impl From<($key, Option<$value>)> for Record {
            fn from((key, value): ($key, Option<$value>)) -> Self {
                Self::$name(key, value)
            }
        })*
    };
}

records! {
    OffsetCommit(OffsetCommitKey, OffsetCommitValue) by group in version version_of_commit;
    GroupMetadata(GroupMetadataKey, GroupMetadataValue) by group in version three;
    ConsumerGroupMetadata(ConsumerGroupMetadataKey, ConsumerGroupMetadataValue) by group_id in version zero;
    ConsumerGroupPartitionMetadata(
        ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue
    ) by group_id in version zero;
    ConsumerGroupMemberMetadata(
        ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue
    ) by group_id in version zero;
    ConsumerGroupTargetAssignmentMetadata(
        ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue
    ) by group_id in version zero;
    ConsumerGroupTargetAssignmentMember(
        ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue
    ) by group_id in version zero;
    ConsumerGroupCurrentMemberAssignment(
        ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue
    ) by group_id in version zero;
    ConsumerGroupRegularExpression(
        ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue
    ) by group_id in version zero;
}

impl Record {
    /// A record out of the log; `None` for those that are passed over.
    #[must_use]
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Option<Self> {
        let key = Key::decode(key)
            .inspect_err(|error| tracing::warn!(%error, "a record of an unknown type is passed over"))
            .ok()?;
        let number = key.number();
        Self::of(key, value)
            .inspect_err(
                |error| tracing::error!(%error, number, "a record that cannot be read is passed over"),
            )
            .ok()
            .flatten()
    }
}

/// An end that a client of old has asked for can be said by version 1 alone; only version 4 knows the topic's id.
fn version_of_commit(value: &OffsetCommitValue) -> i16 {
    if value.expire_timestamp == -1 { 4 } else { 1 }
}

fn three<Value>(_: &Value) -> i16 {
    3
}

fn zero<Value>(_: &Value) -> i16 {
    0
}

fn modern_key(key: LegacyOffsetCommitKey) -> OffsetCommitKey {
    OffsetCommitKey { group: key.group, topic: key.topic, partition: key.partition }
}

fn modern_value(value: LegacyOffsetCommitValue) -> OffsetCommitValue {
    OffsetCommitValue {
        offset: value.offset,
        metadata: value.metadata,
        commit_timestamp: value.commit_timestamp,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::records::coordinator::{ShareGroupMetadataKey, ShareGroupMetadataValue};

    #[test]
    fn what_is_written_is_read() {
        let key = GroupMetadataKey { group: "g".into() };
        let value = GroupMetadataValue { generation: 3, ..Default::default() };
        let record = Record::from((key.clone(), Some(value)));
        let (bytes, value) = record.encode();
        assert_eq!(&value.as_ref().unwrap()[..2], [0, 3], "Kafka 4.4 writes version 3");
        assert_eq!(Record::decode(&bytes, value.as_deref()), Some(record));
        let tombstone = Record::from((key, None));
        assert_eq!(Record::decode(&bytes, None), Some(tombstone.clone()));
        assert!(tombstone.is_tombstone() && tombstone.group() == "g");
    }

    #[test]
    fn a_commit_is_written_in_version_four_or_one() {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 0 };
        for (expire_timestamp, version) in [(-1, 4), (77, 1)] {
            let value = OffsetCommitValue { expire_timestamp, ..Default::default() };
            let record = Record::OffsetCommit(key.clone(), Some(value));
            let (key, value) = record.encode();
            assert_eq!(value.as_ref().unwrap()[..2], [0, version]);
            assert_eq!(Record::decode(&key, value.as_deref()), Some(record));
        }
    }

    #[test]
    fn commits_of_the_oldest_brokers_are_read() {
        let key = LegacyOffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 2 };
        let value = LegacyOffsetCommitValue { offset: 5, metadata: "m".into(), commit_timestamp: 9 };
        let bytes = (Key::from(key).encode().unwrap(), encode_versioned(&value, 0).unwrap());
        let Some(Record::OffsetCommit(key, Some(value))) = Record::decode(&bytes.0, Some(&bytes.1)) else {
            panic!("not read");
        };
        assert_eq!((key.partition, value.offset, value.commit_timestamp), (2, 5, 9));
        assert_eq!((value.leader_epoch, value.expire_timestamp), (-1, -1));
    }

    #[test]
    fn what_is_not_ours_is_passed_over() {
        let key = Key::from(ShareGroupMetadataKey { group_id: "g".into() }).encode().unwrap();
        let value = encode_versioned(&ShareGroupMetadataValue::default(), 0).unwrap();
        assert_eq!(Record::decode(&key, Some(&value)), None);
        assert_eq!(Record::decode(&[0, 99, 1], None), None, "a type of a later version");
        assert_eq!(Record::decode(&[], None), None);
        let ours = Key::from(GroupMetadataKey { group: "g".into() }).encode().unwrap();
        assert_eq!(Record::decode(&ours, Some(&[0, 9])), None, "a version of a later release");
    }
}
