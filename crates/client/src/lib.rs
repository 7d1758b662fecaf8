//! A Kafka client: machines, and under feature net a tokio shell.
//!
//! `Connection` is one broker's socket as a value, `Cluster` a client's side of a whole cluster, `Operation` a question
//! of several calls; `admin` holds the questions, `consumer` and `producer` the machines that read and write. `net` gives
//! them sockets, a clock and a seed: its `Client`, `Consumer` and `Producer` are what programs hold. Settings have Kafka's
//! names and Java's defaults.
//!
//! The examples are whole programs: `group` is a member of a group, `transactions` copies records exactly once, `verbs`
//! is what every client library is asked. The suites `clients` and `groups` of `cargo xtask test` run them.

pub mod admin;
pub mod assignor;
pub mod call;
pub mod cluster;
pub mod connection;
pub mod consumer;
pub mod coordinator;
pub mod error;
pub mod metadata;
#[cfg(feature = "net")]
pub mod net;
pub mod operation;
pub mod partitioner;
pub mod producer;
pub mod random;
pub mod settings;
#[cfg(test)]
mod testing;

pub use call::{Call, Reply, Ticket};
pub use cluster::{Cluster, Target};
pub use error::{ApiError, ClientError};
pub use metadata::Metadata;
pub use settings::{Properties, Settings};
