//! The log as a whole, on disks that behave and on disks that do not.

mod crash;
mod log;
mod model;
mod session;
mod support;
