//! The group coordinator: groups of every protocol and their committed offsets, on one partition of `__consumer_offsets`.

pub mod command;

pub use command::{Caller, Command, Reply};
