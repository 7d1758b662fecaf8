//! Groups and transactions: deciders that stand on the partitions of Kafka's internal topics.
//!
//! A coordinator lives with the leader of its partition. It never touches a log or a socket: a host turns what a
//! [`Decider`] decides into batches to be appended, and lets the replies go when they are committed.

pub mod assign;
pub mod decider;
pub mod group;
pub mod hosted;
pub mod mutant;
pub mod place;
pub mod transaction;

pub use decider::{Around, Decider, Decision, Outcome, Producer, Written};
pub use hosted::{Hosted, Journal, Released};
