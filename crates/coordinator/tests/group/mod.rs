//! What the tests of the group coordinator share.

pub mod words;
pub mod world;
