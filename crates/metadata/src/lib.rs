//! What the cluster is: image, delta and the configuration table.
//!
//! A value with no clock, no file and no thread in it. Records go in, a new image comes out; nothing here decides.

pub mod config;
