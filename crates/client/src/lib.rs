//! A Kafka client: machines, and under feature net a tokio shell.
//!
//! `Connection` is one broker's socket as a value, `Cluster` a client's side of a whole cluster, `Operation` a question
//! of several calls; `admin` holds the questions. `net` gives them sockets, a clock and a seed.

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
