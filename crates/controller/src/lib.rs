//! What the cluster may become: the decisions of the active controller.
//!
//! A command goes in with the time; records and a reply come out. The records are the caller's to append, the reply is
//! the caller's to hold until they are committed. No clock, no file, no thread; chance comes from a seed.

mod activation;
mod brokers;
pub mod command;
mod configs;
mod controller;
mod features;
mod heartbeats;
mod partitions;
mod placement;
mod producer_ids;
mod random;
mod refused;
mod view;

pub use command::{Atomicity, Command, Decision, Describable, Origin, Registrant, Reply};
pub use controller::{Controller, ControllerConfig};
