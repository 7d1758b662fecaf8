//! Kafka's internal records: what brokers, controllers and coordinators write into logs for one another.

pub mod consumer_protocol;
pub mod control;
pub mod coordinator;
pub mod framing;
pub mod metadata;
pub mod principal;
pub mod shape;
pub mod shapes;
pub mod share;
pub mod storage;
pub mod transaction;

pub use framing::{decode_versioned, encode_versioned};
