//! Honest requests of every version with ten thousand topics of two letters are read, though such a topic is 4 bytes in an
//! old request and ten times that in memory (docs/decisions/0014). There are 4,225 such names, so they come again; to the
//! decoder that is the same.

use ottla_protocol::Message;
use ottla_protocol::codec::{Reader, Writer};
use ottla_protocol::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use ottla_protocol::messages::create_topics::CreatableTopic;
use ottla_protocol::messages::describe_configs::DescribeConfigsResource;
use ottla_protocol::messages::fetch::{FetchPartition, FetchTopic};
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::metadata::MetadataRequestTopic;
use ottla_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_protocol::messages::offset_fetch::OffsetFetchRequestTopic;
use ottla_protocol::messages::offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use ottla_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    AddPartitionsToTxnRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, OffsetForLeaderEpochRequest, TxnOffsetCommitRequest,
};

const TOPICS: usize = 10_000;

fn two_letters<T>(of: impl Fn(String) -> T) -> Vec<T> {
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    let name =
        |n: usize| [n / letters.len() % letters.len(), n % letters.len()].map(|at| char::from(letters[at]));
    (0..TOPICS).map(|n| of(name(n).iter().collect())).collect()
}

/// Writes and reads it in every version up to this one.
fn is_read<M: Message>(name: &str, message: &M, up_to: i16) {
    for version in M::MIN..=up_to.min(M::MAX) {
        let mut writer = Writer::new();
        message.encode(&mut writer, version).unwrap_or_else(|error| panic!("{name} v{version}: {error}"));
        let frame = writer.into_bytes().freeze();
        let length = frame.len();
        if let Err(error) = M::decode(&mut Reader::new(frame), version) {
            panic!("{name} v{version}, {length} bytes: {error}");
        }
    }
}

#[test]
fn who_asks_for_ten_thousand_topics_is_served() {
    let topics = two_letters(|name| MetadataRequestTopic { name: Some(name), ..Default::default() });
    is_read("Metadata", &MetadataRequest { topics: Some(topics), ..Default::default() }, 9);
    let topics = two_letters(|name| OffsetFetchRequestTopic { name, partition_indexes: vec![0] });
    is_read("OffsetFetch", &OffsetFetchRequest { topics: Some(topics), ..Default::default() }, 7);
    let topics =
        two_letters(|name| ListOffsetsTopic { name, partitions: vec![ListOffsetsPartition::default()] });
    is_read("ListOffsets", &ListOffsetsRequest { topics, ..Default::default() }, 10);
    let partition = OffsetForLeaderPartition::default;
    let topics = two_letters(|topic| OffsetForLeaderTopic { topic, partitions: vec![partition()] });
    is_read("OffsetForLeaderEpoch", &OffsetForLeaderEpochRequest { topics, ..Default::default() }, 4);
    let partition = FetchPartition::default;
    let topics =
        two_letters(|topic| FetchTopic { topic, partitions: vec![partition()], ..Default::default() });
    is_read("Fetch", &FetchRequest { topics, ..Default::default() }, 12);
    let resource = |resource_name| DescribeConfigsResource { resource_name, ..Default::default() };
    let resources = two_letters(resource);
    is_read("DescribeConfigs", &DescribeConfigsRequest { resources, ..Default::default() }, 4);
    let groups = two_letters(|name| name);
    is_read("DescribeGroups", &DescribeGroupsRequest { groups, ..Default::default() }, 6);
}

#[test]
fn who_changes_something_in_ten_thousand_topics_is_served() {
    let partition = OffsetCommitRequestPartition::default;
    let topics = two_letters(|name| OffsetCommitRequestTopic {
        name,
        partitions: vec![partition()],
        ..Default::default()
    });
    is_read("OffsetCommit", &OffsetCommitRequest { topics, ..Default::default() }, 9);
    let partition = TxnOffsetCommitRequestPartition::default;
    let topics = two_letters(|name| TxnOffsetCommitRequestTopic {
        name,
        partitions: vec![partition()],
        ..Default::default()
    });
    is_read("TxnOffsetCommit", &TxnOffsetCommitRequest { topics, ..Default::default() }, 5);
    let topics = two_letters(|name| AddPartitionsToTxnTopic { name, partitions: vec![0] });
    let request = AddPartitionsToTxnRequest { v3_and_below_topics: topics, ..Default::default() };
    is_read("AddPartitionsToTxn", &request, 3);
    let topics = two_letters(|name| CreatableTopic { name, num_partitions: 1, ..Default::default() });
    is_read("CreateTopics", &CreateTopicsRequest { topics, ..Default::default() }, 7);
    let topic_names = two_letters(|name| name);
    is_read("DeleteTopics", &DeleteTopicsRequest { topic_names, ..Default::default() }, 5);
}
