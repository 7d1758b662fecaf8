//! Records of the coordinators' topics as JSON, as Kafka's formatters write them.

use ottla_protocol::records::shape::{Role, Shape};

use crate::tools::json::Json;
use crate::tools::record_json;

/// Which records are shown; all others are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// Committed offsets.
    Offsets,
    /// Groups of the classic protocol.
    Groups,
    /// Share groups.
    ShareGroups,
    /// Transactions.
    Transactions,
    /// Where share groups stand.
    ShareStates,
}

/// The numbers of the records of share groups.
const SHARE_GROUPS: std::ops::RangeInclusive<i16> = 10..=15;

impl Records {
    /// The formatter's class without its package.
    pub fn of_class(name: &str) -> Option<Self> {
        match name {
            "OffsetsMessageFormatter" => Some(Self::Offsets),
            "GroupMetadataMessageFormatter" => Some(Self::Groups),
            "ShareGroupMessageFormatter" => Some(Self::ShareGroups),
            "TransactionLogMessageFormatter" => Some(Self::Transactions),
            "ShareGroupStateMessageFormatter" => Some(Self::ShareStates),
            _ => None,
        }
    }

    /// The record, or nothing if it is of another kind.
    ///
    /// # Errors
    /// The bytes are no such record; the text says why.
    pub fn json(self, key: &[u8], value: Option<&[u8]>) -> Result<Option<String>, String> {
        let Some((number, rest)) = number_of(key) else { return Ok(None) };
        let Some(folder) = self.folder_of(number) else { return Ok(None) };
        let shapes = Shape::find(folder, Role::Key(number)).zip(Shape::find(folder, Role::Value(number)));
        let Some((key_shape, value_shape)) = shapes else { return Ok(None) };
        let (key, _) = record_json::read(key_shape, 0, rest).map_err(|error| error.to_string())?;
        let key = Json::object([("type", Json::Int(number.into())), ("data", key)]);
        let value = match value {
            None => Json::Null,
            Some(value) => {
                let (version, rest) = number_of(value).ok_or("the value is too short")?;
                let (mut data, _) =
                    record_json::read(value_shape, version, rest).map_err(|error| error.to_string())?;
                if self == Self::Transactions {
                    record_json::name_state(&mut data);
                }
                Json::object([("version", Json::Int(version.into())), ("data", data)])
            }
        };
        Ok(Some(Json::object([("key", key), ("value", value)]).to_string()))
    }

    /// The folder of the record's schema, if it is one that is shown.
    fn folder_of(self, number: i16) -> Option<&'static str> {
        match self {
            Self::Offsets => matches!(number, 0 | 1).then_some("coordinator"),
            Self::Groups => (number == 2).then_some("coordinator"),
            Self::ShareGroups => SHARE_GROUPS.contains(&number).then_some("coordinator"),
            Self::Transactions => (number == 0).then_some("transaction"),
            Self::ShareStates => Some("share"),
        }
    }
}

/// The number in front, which says what follows.
fn number_of(bytes: &[u8]) -> Option<(i16, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((i16::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_protocol::records::coordinator::group_metadata::MemberMetadata;
    use ottla_protocol::records::coordinator::{
        GroupMetadataKey, GroupMetadataValue, Key as GroupKey, OffsetCommitKey, OffsetCommitValue,
    };
    use ottla_protocol::records::encode_versioned;
    use ottla_protocol::records::transaction::transaction_log::PartitionsSchema;
    use ottla_protocol::records::transaction::{
        Key as TransactionKey, TransactionLogKey, TransactionLogValue,
    };

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
}
