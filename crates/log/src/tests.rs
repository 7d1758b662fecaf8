//! The log as a whole, on disks that behave and on disks that do not.

mod log;
mod support;
