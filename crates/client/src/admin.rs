//! What an administrator asks of a cluster: each question is an `Operation`, to be run on a `Cluster`.
//!
//! Answers are Kafka's own wire structs where those say it well, each item with its own refusal or none.

mod cluster;
mod configs;
mod coordinated;
mod every_broker;
pub mod groups;
mod offsets;
mod per_leader;
mod quotas;
mod topics;
pub mod transactions;

pub use cluster::{api_versions, describe_cluster, list_config_resources, list_reassignments};
pub use configs::{
    Change, ConfigSource, Described, ResourceType, alter_configs, describe_configs, incremental_alter_configs,
};
pub use groups::{
    CommittedOffset, Describe, GroupDescription, GroupFilter, GroupKind, GroupOffsets, MemberDescription,
    MemberToRemove, OffsetsOf, Stability, alter_group_offsets, delete_group_offsets, delete_groups,
    describe_classic_groups, describe_consumer_groups, list_group_offsets, list_groups, remove_members,
};
pub use offsets::{OffsetSpec, Offsets, delete_records, list_offsets, list_offsets_as};
pub use quotas::{alter_quotas, alter_scram_credentials, describe_quotas, describe_scram_credentials};
pub use topics::{
    Limit, PartitionDescription, TopicDescription, TopicListing, create_partitions, create_topics,
    delete_topics, describe_topics, list_topics,
};
pub use transactions::{
    AbortTransaction, ProducerState, Replica, TransactionDescription, TransactionFilter, TransactionListing,
    abort_transaction, describe_producers, describe_transactions, fence_producers, list_transactions,
    terminate_transaction,
};

use crate::error::ApiError;

/// What came of one of several items.
pub type ItemResult<T> = Result<T, ApiError>;

/// How long brokers may take over a change, as requests carry it; the client's own deadline ends the wait first.
const CHANGE_TIMEOUT_MS: i32 = 30_000;
