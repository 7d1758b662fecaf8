//! Everything of which a node has one, as a value: the metadata log, the image, the controller when elected, the
//! node's registration with the controller, the log directories.
//!
//! Control runs on a thread of its own, so it may wait for its disk. Client data never passes through it.

mod checkpoints;
mod directories;
mod failures;
mod message;
mod metadata_log;
mod pending;
mod places;
mod producer_ids;
mod publish;
mod quorum;
mod registration;
mod run;
mod start;

pub use directories::{CheckpointRow, Directories, Directory, Recovered};
pub use message::{Command, Input, Output, Reply, Stage};
pub use places::Place;
pub use run::Control;
