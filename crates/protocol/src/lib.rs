//! The words of Kafka: ids, time, refusals, frames, the API table, messages, record batches, compression.
//!
//! Nothing here touches a file, a socket, a clock or a thread. Bytes come in as slices and leave as bytes.

pub mod batch;
pub mod compression;
pub mod ids;
pub mod refusal;
pub mod time;
pub mod uuid;

pub use ids::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerEpoch, ProducerId, TopicId};
pub use refusal::Refusal;
pub use time::Now;
pub use uuid::Uuid;
