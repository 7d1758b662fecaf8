//! Records of the coordinators' topics as JSON, field by field as Kafka's formatters write them.
//!
//! A field is there in the versions that have it; tagged ones only where they say something.

use ottla_protocol::Uuid;
use ottla_protocol::codec::DecodeError;
use ottla_protocol::records::coordinator::group_metadata::MemberMetadata;
use ottla_protocol::records::coordinator::{
    GroupMetadataValue, Key as GroupKey, LegacyOffsetCommitValue, OffsetCommitValue,
};
use ottla_protocol::records::decode_versioned;
use ottla_protocol::records::transaction::transaction_log::PartitionsSchema;
use ottla_protocol::records::transaction::{Key as TransactionKey, TransactionLogValue};

/// Which records are shown; all others are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// Committed offsets.
    Offsets,
    /// Groups of the classic protocol.
    Groups,
    /// Transactions.
    Transactions,
}

impl Records {
    /// The formatter's class without its package.
    pub fn of_class(name: &str) -> Option<Self> {
        match name {
            "OffsetsMessageFormatter" => Some(Self::Offsets),
            "GroupMetadataMessageFormatter" => Some(Self::Groups),
            "TransactionLogMessageFormatter" => Some(Self::Transactions),
            _ => None,
        }
    }

    /// The record, or nothing if it is of another kind.
    ///
    /// # Errors
    /// The bytes are no such record.
    pub fn json(self, key: &[u8], value: Option<&[u8]>) -> Result<Option<String>, DecodeError> {
        let number = key.get(..2).map(|bytes| i16::from_be_bytes([bytes[0], bytes[1]]));
        match (self, number) {
            (Self::Offsets, Some(0 | 1)) | (Self::Groups, Some(2)) => group_record(key, value),
            (Self::Transactions, Some(0)) => transaction_record(key, value).map(Some),
            _ => Ok(None),
        }
    }
}

fn group_record(key: &[u8], value: Option<&[u8]>) -> Result<Option<String>, DecodeError> {
    let place = |group: &str, topic: &str, partition: i32| {
        object(&[("group", text(group)), ("topic", text(topic)), ("partition", partition.to_string())])
    };
    Ok(Some(match GroupKey::decode(key)? {
        GroupKey::LegacyOffsetCommit(key) => {
            let value = value.map(decode_versioned::<LegacyOffsetCommitValue>).transpose()?;
            let value = value.map(|(value, version)| {
                let fields = [
                    ("offset", value.offset.to_string()),
                    ("metadata", text(&value.metadata)),
                    ("commitTimestamp", value.commit_timestamp.to_string()),
                ];
                (object(&fields), version)
            });
            record(0, &place(&key.group, &key.topic, key.partition), value)
        }
        GroupKey::OffsetCommit(key) => {
            let value = value.map(decode_versioned::<OffsetCommitValue>).transpose()?;
            let value = value.map(|(value, version)| (offset_commit(&value, version), version));
            record(1, &place(&key.group, &key.topic, key.partition), value)
        }
        GroupKey::GroupMetadata(key) => {
            let value = value.map(decode_versioned::<GroupMetadataValue>).transpose()?;
            let value = value.map(|(value, version)| (group_metadata(&value, version), version));
            record(2, &object(&[("group", text(&key.group))]), value)
        }
        _ => return Ok(None),
    }))
}

fn transaction_record(key: &[u8], value: Option<&[u8]>) -> Result<String, DecodeError> {
    let TransactionKey::TransactionLog(key) = TransactionKey::decode(key)?;
    let value = value.map(decode_versioned::<TransactionLogValue>).transpose()?;
    let value = value.map(|(value, version)| (transaction(&value), version));
    Ok(record(0, &object(&[("transactionalId", text(&key.transactional_id))]), value))
}

/// Key and value, each with what says how it is to be read.
fn record(number: i16, key: &str, value: Option<(String, i16)>) -> String {
    let key = object(&[("type", number.to_string()), ("data", key.to_owned())]);
    let value = match value {
        Some((data, version)) => object(&[("version", version.to_string()), ("data", data)]),
        None => "null".to_owned(),
    };
    object(&[("key", key), ("value", value)])
}

fn offset_commit(value: &OffsetCommitValue, version: i16) -> String {
    let mut fields = vec![("offset", value.offset.to_string())];
    if version >= 3 {
        fields.push(("leaderEpoch", value.leader_epoch.to_string()));
    }
    fields.push(("metadata", text(&value.metadata)));
    fields.push(("commitTimestamp", value.commit_timestamp.to_string()));
    if version == 1 {
        fields.push(("expireTimestamp", value.expire_timestamp.to_string()));
    }
    if version >= 4 && value.topic_id != Uuid::ZERO {
        fields.push(("topicId", text(&value.topic_id.to_string())));
    }
    object(&fields)
}

fn group_metadata(value: &GroupMetadataValue, version: i16) -> String {
    let mut fields = vec![
        ("protocolType", text(&value.protocol_type)),
        ("generation", value.generation.to_string()),
        ("protocol", text_or_null(value.protocol.as_deref())),
        ("leader", text_or_null(value.leader.as_deref())),
    ];
    if version >= 2 {
        fields.push(("currentStateTimestamp", value.current_state_timestamp.to_string()));
    }
    fields.push(("members", array(value.members.iter().map(|member| group_member(member, version)))));
    object(&fields)
}

fn group_member(member: &MemberMetadata, version: i16) -> String {
    let mut fields = vec![("memberId", text(&member.member_id))];
    if version >= 3 {
        fields.push(("groupInstanceId", text_or_null(member.group_instance_id.as_deref())));
    }
    fields.push(("clientId", text(&member.client_id)));
    fields.push(("clientHost", text(&member.client_host)));
    if version >= 1 {
        fields.push(("rebalanceTimeout", member.rebalance_timeout.to_string()));
    }
    fields.push(("sessionTimeout", member.session_timeout.to_string()));
    fields.push(("subscription", text(&base64(&member.subscription))));
    fields.push(("assignment", text(&base64(&member.assignment))));
    object(&fields)
}

fn transaction(value: &TransactionLogValue) -> String {
    let tagged = |name, number: i64, absent: i64| (number != absent).then(|| (name, number.to_string()));
    let partitions = value.transaction_partitions.as_ref().map(|topics| {
        array(topics.iter().map(|PartitionsSchema { topic, partition_ids }| {
            let ids = array(partition_ids.iter().map(i32::to_string));
            object(&[("topic", text(topic)), ("partitionIds", ids)])
        }))
    });
    let fields = [
        Some(("producerId", value.producer_id.to_string())),
        tagged("previousProducerId", value.previous_producer_id, -1),
        tagged("nextProducerId", value.next_producer_id, -1),
        Some(("producerEpoch", value.producer_epoch.to_string())),
        tagged("nextProducerEpoch", value.next_producer_epoch.into(), -1),
        Some(("transactionTimeoutMs", value.transaction_timeout_ms.to_string())),
        Some(("transactionStatus", text(&status(value.transaction_status)))),
        Some(("transactionPartitions", partitions.unwrap_or_else(|| "null".to_owned()))),
        Some(("transactionLastUpdateTimestampMs", value.transaction_last_update_timestamp_ms.to_string())),
        Some(("transactionStartTimestampMs", value.transaction_start_timestamp_ms.to_string())),
        tagged("clientTransactionVersion", value.client_transaction_version.into(), 0),
    ];
    object(&fields.into_iter().flatten().collect::<Vec<_>>())
}

/// The states of a transaction, by their numbers.
const STATUSES: &[&str] = &[
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

fn status(number: i8) -> String {
    let name = usize::try_from(number).ok().and_then(|number| STATUSES.get(number));
    name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn array(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn text_or_null(value: Option<&str>) -> String {
    value.map_or_else(|| "null".to_owned(), text)
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at)) as usize & 63;
            text.push(if at > chunk.len() { '=' } else { char::from(ALPHABET[index]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_protocol::records::coordinator::{GroupMetadataKey, OffsetCommitKey};
    use ottla_protocol::records::encode_versioned;
    use ottla_protocol::records::transaction::TransactionLogKey;

    use super::*;

    fn offset_key() -> Bytes {
        let key = OffsetCommitKey { group: "g\"".to_owned(), topic: "t".to_owned(), partition: 1 };
        GroupKey::OffsetCommit(key).encode().unwrap()
    }

    #[test]
    fn offsets_have_the_fields_of_their_version() {
        let value = OffsetCommitValue {
            offset: 100,
            leader_epoch: 10,
            metadata: "m".to_owned(),
            commit_timestamp: 1234,
            ..OffsetCommitValue::default()
        };
        let json = |version| {
            let value = encode_versioned(&value, version).unwrap();
            Records::Offsets.json(&offset_key(), Some(&value)).unwrap().unwrap()
        };
        let key = r#"{"key":{"type":1,"data":{"group":"g\"","topic":"t","partition":1}},"value":"#;
        assert_eq!(
            json(2),
            format!(
                r#"{key}{{"version":2,"data":{{"offset":100,"metadata":"m","commitTimestamp":1234}}}}}}"#
            )
        );
        assert_eq!(
            json(4),
            format!(
                r#"{key}{{"version":4,"data":{{"offset":100,"leaderEpoch":10,"metadata":"m","commitTimestamp":1234}}}}}}"#
            )
        );
        assert_eq!(Records::Offsets.json(&offset_key(), None).unwrap(), Some(format!("{key}null}}")));
        assert_eq!(Records::Groups.json(&offset_key(), None).unwrap(), None);
        assert_eq!(Records::Offsets.json(&[127, 255], None).unwrap(), None);
        assert!(Records::Offsets.json(&offset_key(), Some(&[0, 9])).is_err());
    }

    #[test]
    fn groups_show_their_members() {
        let key = GroupKey::GroupMetadata(GroupMetadataKey { group: "g".to_owned() }).encode().unwrap();
        let member = MemberMetadata {
            member_id: "m".to_owned(),
            group_instance_id: None,
            client_id: "c".to_owned(),
            client_host: "h".to_owned(),
            rebalance_timeout: 1000,
            session_timeout: 1500,
            subscription: Bytes::from_static(&[0, 1]),
            assignment: Bytes::from_static(&[1, 2]),
        };
        let value = GroupMetadataValue {
            protocol_type: "consumer".to_owned(),
            generation: 1,
            protocol: Some("range".to_owned()),
            leader: None,
            current_state_timestamp: 1234,
            members: vec![member],
        };
        let value = encode_versioned(&value, 3).unwrap();
        assert_eq!(
            Records::Groups.json(&key, Some(&value)).unwrap().unwrap(),
            r#"{"key":{"type":2,"data":{"group":"g"}},"value":{"version":3,"data":{"protocolType":"consumer","generation":1,"protocol":"range","leader":null,"currentStateTimestamp":1234,"members":[{"memberId":"m","groupInstanceId":null,"clientId":"c","clientHost":"h","rebalanceTimeout":1000,"sessionTimeout":1500,"subscription":"AAE=","assignment":"AQI="}]}}}"#
        );
    }

    #[test]
    fn transactions_show_the_name_of_their_state() {
        let key = TransactionKey::TransactionLog(TransactionLogKey { transactional_id: "id".to_owned() });
        let partitions = PartitionsSchema { topic: "t".to_owned(), partition_ids: vec![0, 2] };
        let value = TransactionLogValue {
            producer_id: 100,
            producer_epoch: 50,
            transaction_timeout_ms: 500,
            transaction_status: 4,
            transaction_partitions: Some(vec![partitions]),
            transaction_last_update_timestamp_ms: 1000,
            transaction_start_timestamp_ms: 750,
            client_transaction_version: 2,
            ..TransactionLogValue::default()
        };
        let value = encode_versioned(&value, 1).unwrap();
        assert_eq!(
            Records::Transactions.json(&key.encode().unwrap(), Some(&value)).unwrap().unwrap(),
            r#"{"key":{"type":0,"data":{"transactionalId":"id"}},"value":{"version":1,"data":{"producerId":100,"producerEpoch":50,"transactionTimeoutMs":500,"transactionStatus":"CompleteCommit","transactionPartitions":[{"topic":"t","partitionIds":[0,2]}],"transactionLastUpdateTimestampMs":1000,"transactionStartTimestampMs":750,"clientTransactionVersion":2}}}"#
        );
    }

    #[test]
    fn base64_is_padded() {
        assert_eq!(
            ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes())),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
    }
}
