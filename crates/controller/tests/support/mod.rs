//! A controller to be told things, and how to write down what it did.

pub mod trace;
pub mod world;
