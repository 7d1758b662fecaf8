//! The log as a whole, on disks that behave and on disks that do not.

mod bad_bytes;
mod crash;
mod damage;
mod faults;
mod golden;
mod log;
mod model;
mod segments;
mod session;
pub(crate) mod support;
