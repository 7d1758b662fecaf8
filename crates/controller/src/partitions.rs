//! Topics and partitions: made, grown, deleted, led, kept in sync, moved.

pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod directories;
pub(crate) mod election;
pub(crate) mod isr;
pub(crate) mod reassignment;
pub(crate) mod updates;
