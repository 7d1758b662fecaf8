//! What an administrator asks of a cluster: each question is an `Operation`, to be run on a `Cluster`.
//!
//! Answers are Kafka's own wire structs where those say it well, each item with its own refusal or none.

mod cluster;
mod configs;
mod offsets;
mod quotas;
mod topics;

pub use cluster::{api_versions, describe_cluster, list_config_resources, list_groups, list_reassignments};
pub use configs::{
    Change, ConfigSource, Described, ResourceType, alter_configs, describe_configs, incremental_alter_configs,
};
pub use offsets::{OffsetSpec, Offsets, delete_records, list_offsets};
pub use quotas::{alter_quotas, alter_scram_credentials, describe_quotas, describe_scram_credentials};
pub use topics::{
    Limit, PartitionDescription, TopicDescription, TopicListing, create_partitions, create_topics,
    delete_topics, describe_topics, list_topics,
};

use crate::error::ApiError;

/// What came of one of several items.
pub type ItemResult<T> = Result<T, ApiError>;

/// How long brokers may take over a change, as requests carry it; the client's own deadline ends the wait first.
const CHANGE_TIMEOUT_MS: i32 = 30_000;
