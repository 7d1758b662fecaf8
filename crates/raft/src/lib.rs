//! One log kept alike on a quorum: KRaft (KIP-595, 630, 853, 996), in Kafka's messages and files.

pub mod message;
pub mod mutant;
pub mod quorum;
pub mod random;
pub mod voters;
