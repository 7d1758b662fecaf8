//! The one configuration table: every key of a broker, a topic, a group and a client-metrics subscription, once.
//!
//! Parsing, checks, effective values, DescribeConfigs, dynamic change and the manual all come from the rows.
//! It reads no file and no environment: both are handed in.

use std::sync::LazyLock;

pub mod alter;
mod broker_cluster;
mod broker_group;
mod broker_log;
mod broker_node;
mod broker_remote;
mod broker_security;
mod broker_transaction;
mod client_metrics;
pub mod describe;
mod environment;
mod group;
pub mod key;
pub mod listeners;
mod manual;
pub mod node;
pub mod parse;
mod properties;
pub mod settings;
mod topic;
pub mod validate;

pub use environment::from_environment;
pub use key::{Key, Kind, Scope};
pub use manual::manual;
pub use node::NodeConfig;
pub use parse::{ConfigError, Value};
pub use properties::parse_properties;
pub use settings::{Overrides, Settings, Source};

/// The table, by the files it is cut into.
const TABLES: &[(&str, &[Key])] = &[
    ("Node", broker_node::KEYS),
    ("Log", broker_log::KEYS),
    ("Cluster and replication", broker_cluster::KEYS),
    ("Transactions", broker_transaction::KEYS),
    ("Groups", broker_group::KEYS),
    ("Tiered storage", broker_remote::KEYS),
    ("Security", broker_security::KEYS),
    ("Topics", topic::KEYS),
    ("Groups, one by one", group::KEYS),
    ("Client metrics", client_metrics::KEYS),
];

/// Every key by scope and name.
static SORTED: LazyLock<Vec<&'static Key>> = LazyLock::new(|| {
    let mut keys: Vec<&'static Key> = TABLES.iter().flat_map(|(_, keys)| keys.iter()).collect();
    keys.sort_by_key(|key| (key.scope, key.name));
    keys
});

/// Every key of a scope, by name.
pub fn keys(scope: Scope) -> impl Iterator<Item = &'static Key> {
    SORTED.iter().copied().filter(move |key| key.scope == scope)
}

/// The key of this name in this scope.
#[must_use]
pub fn find(scope: Scope, name: &str) -> Option<&'static Key> {
    let at = SORTED.binary_search_by_key(&(scope, name), |key| (key.scope, key.name)).ok()?;
    Some(SORTED[at])
}
