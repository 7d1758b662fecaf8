//! The rows of the API table.

use ottla_protocol::codec::{DecodeError, Reader};
use ottla_protocol::{ApiKey, Message as _};

use super::{
    add_offsets_to_txn, add_partitions_to_txn, alter_configs, alter_partition_reassignments, api_versions,
    consumer_group_describe, consumer_group_heartbeat, create_partitions, create_topics, delete_groups,
    delete_records, delete_topics, describe_cluster, describe_configs, describe_groups, describe_producers,
    describe_quorum, describe_topic_partitions, describe_transactions, elect_leaders, end_txn, fetch,
    find_coordinator, heartbeat, init_producer_id, join_group, leave_group, list_config_resources,
    list_groups, list_offsets, list_partition_reassignments, list_transactions, metadata, offset_commit,
    offset_delete, offset_fetch, offset_for_leader_epoch, produce, sync_group, txn_offset_commit,
    unregister_broker, update_features, write_txn_markers,
};
use crate::answer::{Answer, Encodable};
use crate::context::Context;
use crate::node::ListenerKind;

/// One API that this node serves.
pub struct Row {
    /// The API.
    pub key: ApiKey,
    /// The oldest version served.
    pub min: i16,
    /// The newest version served.
    pub max: i16,
    /// Where it may be called.
    pub listeners: Listeners,
    /// Who may call it.
    pub access: Access,
    /// Decodes the body and answers.
    pub serve: Serve,
}

/// Decodes a request and answers it.
pub type Serve = fn(&mut Context<'_>, Reader) -> Result<Answer<Box<dyn Encodable>>, DecodeError>;

/// The kinds of listener on which an API may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listeners {
    /// Those for clients and brokers.
    Broker,
    /// Those of the controllers.
    Controller,
    /// Both.
    Both,
}

impl Listeners {
    /// Whether a listener of this kind is among them.
    #[must_use]
    pub fn include(self, kind: ListenerKind) -> bool {
        match self {
            Self::Both => true,
            Self::Broker => kind == ListenerKind::Broker,
            Self::Controller => kind == ListenerKind::Controller,
        }
    }
}

/// What a caller must be allowed to do, in the words of Kafka's access control lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone, before authentication too.
    Anyone,
    /// Checked for each resource that the request names.
    Resources,
    /// This operation on the cluster.
    Cluster(&'static str),
}

/// The row of a key; `None` for keys that this node does not serve.
#[must_use]
pub fn row(key: ApiKey) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.key == key)
}

/// All rows, by rising key.
#[must_use]
pub fn rows() -> &'static [Row] {
    ROWS
}

/// Writes the function that decodes a request and hands it to the API's own function.
macro_rules! serve {
    ($request:ident, $answer:path) => {
        |context, mut reader| {
            let request = ottla_protocol::messages::$request::decode(&mut reader, context.version)?;
            Ok($answer(request, context).erase())
        }
    };
}

use Access::{Anyone, Cluster, Resources};
use Listeners::{Both, Broker};

#[rustfmt::skip]
static ROWS: &[Row] = &[
    Row { key: ApiKey::Produce, min: 0, max: 13, listeners: Broker, access: Resources, serve: serve!(ProduceRequest, produce::answer) },
    Row { key: ApiKey::Fetch, min: 4, max: 18, listeners: Broker, access: Resources, serve: serve!(FetchRequest, fetch::answer) },
    Row { key: ApiKey::ListOffsets, min: 0, max: 11, listeners: Broker, access: Resources, serve: serve!(ListOffsetsRequest, list_offsets::answer) },
    Row { key: ApiKey::Metadata, min: 0, max: 13, listeners: Broker, access: Resources, serve: serve!(MetadataRequest, metadata::answer) },
    Row { key: ApiKey::OffsetCommit, min: 0, max: 10, listeners: Broker, access: Resources, serve: serve!(OffsetCommitRequest, offset_commit::answer) },
    Row { key: ApiKey::OffsetFetch, min: 0, max: 10, listeners: Broker, access: Resources, serve: serve!(OffsetFetchRequest, offset_fetch::answer) },
    Row { key: ApiKey::FindCoordinator, min: 0, max: 6, listeners: Broker, access: Resources, serve: serve!(FindCoordinatorRequest, find_coordinator::answer) },
    Row { key: ApiKey::JoinGroup, min: 0, max: 9, listeners: Broker, access: Resources, serve: serve!(JoinGroupRequest, join_group::answer) },
    Row { key: ApiKey::Heartbeat, min: 0, max: 4, listeners: Broker, access: Resources, serve: serve!(HeartbeatRequest, heartbeat::answer) },
    Row { key: ApiKey::LeaveGroup, min: 0, max: 5, listeners: Broker, access: Resources, serve: serve!(LeaveGroupRequest, leave_group::answer) },
    Row { key: ApiKey::SyncGroup, min: 0, max: 5, listeners: Broker, access: Resources, serve: serve!(SyncGroupRequest, sync_group::answer) },
    Row { key: ApiKey::DescribeGroups, min: 0, max: 6, listeners: Broker, access: Resources, serve: serve!(DescribeGroupsRequest, describe_groups::answer) },
    Row { key: ApiKey::ListGroups, min: 0, max: 5, listeners: Broker, access: Resources, serve: serve!(ListGroupsRequest, list_groups::answer) },
    Row { key: ApiKey::ApiVersions, min: 0, max: 5, listeners: Both, access: Anyone, serve: serve!(ApiVersionsRequest, api_versions::answer) },
    Row { key: ApiKey::CreateTopics, min: 0, max: 7, listeners: Both, access: Resources, serve: serve!(CreateTopicsRequest, create_topics::answer) },
    Row { key: ApiKey::DeleteTopics, min: 0, max: 6, listeners: Both, access: Resources, serve: serve!(DeleteTopicsRequest, delete_topics::answer) },
    Row { key: ApiKey::DeleteRecords, min: 0, max: 2, listeners: Broker, access: Resources, serve: serve!(DeleteRecordsRequest, delete_records::answer) },
    Row { key: ApiKey::InitProducerId, min: 0, max: 5, listeners: Broker, access: Resources, serve: serve!(InitProducerIdRequest, init_producer_id::answer) },
    Row { key: ApiKey::OffsetForLeaderEpoch, min: 0, max: 4, listeners: Broker, access: Resources, serve: serve!(OffsetForLeaderEpochRequest, offset_for_leader_epoch::answer) },
    Row { key: ApiKey::AddPartitionsToTxn, min: 0, max: 5, listeners: Broker, access: Resources, serve: serve!(AddPartitionsToTxnRequest, add_partitions_to_txn::answer) },
    Row { key: ApiKey::AddOffsetsToTxn, min: 0, max: 4, listeners: Broker, access: Resources, serve: serve!(AddOffsetsToTxnRequest, add_offsets_to_txn::answer) },
    Row { key: ApiKey::EndTxn, min: 0, max: 5, listeners: Broker, access: Resources, serve: serve!(EndTxnRequest, end_txn::answer) },
    Row { key: ApiKey::WriteTxnMarkers, min: 1, max: 2, listeners: Broker, access: Cluster("CLUSTER_ACTION"), serve: serve!(WriteTxnMarkersRequest, write_txn_markers::answer) },
    Row { key: ApiKey::TxnOffsetCommit, min: 0, max: 6, listeners: Broker, access: Resources, serve: serve!(TxnOffsetCommitRequest, txn_offset_commit::answer) },
    Row { key: ApiKey::DescribeConfigs, min: 0, max: 4, listeners: Both, access: Resources, serve: serve!(DescribeConfigsRequest, describe_configs::answer) },
    Row { key: ApiKey::AlterConfigs, min: 0, max: 2, listeners: Both, access: Resources, serve: serve!(AlterConfigsRequest, alter_configs::replace) },
    Row { key: ApiKey::CreatePartitions, min: 0, max: 3, listeners: Both, access: Resources, serve: serve!(CreatePartitionsRequest, create_partitions::answer) },
    Row { key: ApiKey::DeleteGroups, min: 0, max: 3, listeners: Broker, access: Resources, serve: serve!(DeleteGroupsRequest, delete_groups::answer) },
    Row { key: ApiKey::ElectLeaders, min: 0, max: 2, listeners: Both, access: Cluster("ALTER"), serve: serve!(ElectLeadersRequest, elect_leaders::answer) },
    Row { key: ApiKey::IncrementalAlterConfigs, min: 0, max: 1, listeners: Both, access: Resources, serve: serve!(IncrementalAlterConfigsRequest, alter_configs::change) },
    Row { key: ApiKey::AlterPartitionReassignments, min: 0, max: 1, listeners: Both, access: Cluster("ALTER"), serve: serve!(AlterPartitionReassignmentsRequest, alter_partition_reassignments::answer) },
    Row { key: ApiKey::ListPartitionReassignments, min: 0, max: 0, listeners: Both, access: Cluster("DESCRIBE"), serve: serve!(ListPartitionReassignmentsRequest, list_partition_reassignments::answer) },
    Row { key: ApiKey::OffsetDelete, min: 0, max: 0, listeners: Broker, access: Resources, serve: serve!(OffsetDeleteRequest, offset_delete::answer) },
    Row { key: ApiKey::DescribeQuorum, min: 0, max: 2, listeners: Both, access: Cluster("DESCRIBE"), serve: serve!(DescribeQuorumRequest, describe_quorum::answer) },
    Row { key: ApiKey::UpdateFeatures, min: 0, max: 2, listeners: Both, access: Cluster("ALTER"), serve: serve!(UpdateFeaturesRequest, update_features::answer) },
    Row { key: ApiKey::DescribeCluster, min: 0, max: 2, listeners: Both, access: Cluster("DESCRIBE"), serve: serve!(DescribeClusterRequest, describe_cluster::answer) },
    Row { key: ApiKey::DescribeProducers, min: 0, max: 0, listeners: Broker, access: Resources, serve: serve!(DescribeProducersRequest, describe_producers::answer) },
    Row { key: ApiKey::UnregisterBroker, min: 0, max: 0, listeners: Both, access: Cluster("ALTER"), serve: serve!(UnregisterBrokerRequest, unregister_broker::answer) },
    Row { key: ApiKey::DescribeTransactions, min: 0, max: 0, listeners: Broker, access: Resources, serve: serve!(DescribeTransactionsRequest, describe_transactions::answer) },
    Row { key: ApiKey::ListTransactions, min: 0, max: 2, listeners: Broker, access: Resources, serve: serve!(ListTransactionsRequest, list_transactions::answer) },
    Row { key: ApiKey::ConsumerGroupHeartbeat, min: 0, max: 1, listeners: Broker, access: Resources, serve: serve!(ConsumerGroupHeartbeatRequest, consumer_group_heartbeat::answer) },
    Row { key: ApiKey::ConsumerGroupDescribe, min: 0, max: 1, listeners: Broker, access: Resources, serve: serve!(ConsumerGroupDescribeRequest, consumer_group_describe::answer) },
    Row { key: ApiKey::ListConfigResources, min: 0, max: 1, listeners: Broker, access: Cluster("DESCRIBE_CONFIGS"), serve: serve!(ListConfigResourcesRequest, list_config_resources::answer) },
    Row { key: ApiKey::DescribeTopicPartitions, min: 0, max: 0, listeners: Broker, access: Resources, serve: serve!(DescribeTopicPartitionsRequest, describe_topic_partitions::answer) },
];
