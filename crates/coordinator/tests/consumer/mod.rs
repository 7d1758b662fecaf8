//! What the tests of consumer groups share.

#![allow(dead_code, reason = "each test needs another part")]

pub mod client;
pub mod cluster;
pub mod host;
pub mod tell;
pub mod world;
