//! Many nodes in one thread, in a made-up world: a network that fails, disks that forget, clocks that drift.
//!
//! Everything follows from a seed. After every event the checkers look; in the end the world is healed and has to
//! work again. `cargo test` runs a few seeds, the binary as many as one likes.

pub mod check;
pub mod clock;
pub mod coordinated;
pub mod faults;
pub mod groups;
pub mod network;
pub mod replica;
pub mod trace;
pub mod transactions;
pub mod world;

pub use check::Violation;
pub use faults::Figures;
pub use groups::GroupsWorld;
pub use trace::Trace;
pub use transactions::TransactionsWorld;
pub use world::{Shape, World};
