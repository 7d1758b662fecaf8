//! One node as a value: sessions, API functions, shards, control.
//!
//! A node is some [`Core`]s and one [`Control`]. Each takes inputs and gives outputs; what carries them between threads,
//! sockets and files is crate `server`, and in the simulator the seeded world. Nothing here waits, and no lock exists.

pub mod answer;
pub mod api;
mod context;
pub mod control;
pub mod coordinators;
pub mod core;
pub mod disk_work;
mod errands;
mod fetch_session;
mod frame;
pub mod home;
mod log_config;
pub mod node;
mod session;
mod shard;
mod topic_settings;
mod topics;

pub use context::Context;
pub use control::Control;
pub use core::Core;
pub use node::Node;
pub use shard::Shard;
