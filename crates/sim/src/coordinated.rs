//! What the worlds of groups and of transactions share: a log in memory, and whoever hosts a coordinator on it.

pub mod faults;
pub mod host;
pub mod journal;
