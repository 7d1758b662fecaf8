//! The words of Kafka: ids, time, refusals, frames, the API table, messages, record batches, compression.
//!
//! Nothing here touches a file, a socket, a clock or a thread. Bytes come in as slices and leave as bytes.

pub mod api_key;
pub mod batch;
#[cfg(feature = "arbitrary")]
pub mod catalogue;
pub mod codec;
pub mod compression;
pub mod header;
pub mod ids;
pub mod message;
pub mod messages;
pub mod records;
pub mod refusal;
pub mod ticket;
pub mod time;
pub mod uuid;

pub use api_key::ApiKey;
pub use ids::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerEpoch, ProducerId, TopicId};
pub use message::{Message, Request};
pub use refusal::Refusal;
pub use ticket::Ticket;
pub use time::Now;
pub use uuid::Uuid;
