//! What the tests of consumer groups share.

pub mod cluster;
pub mod host;
pub mod tell;
pub mod world;
