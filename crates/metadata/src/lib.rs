//! What the cluster is: image, delta and the configuration table.
//!
//! A value with no clock, no file and no thread in it. Records go in, a new image comes out; nothing here decides.

pub mod config;
pub mod delta;
pub mod directory;
pub mod features;
pub mod image;
pub mod replay;
mod snapshot;
pub mod topic_name;

pub use delta::Delta;
pub use features::MetadataVersion;
pub use image::access::{Acl, DelegationToken, QuotaEntity, ScramCredential, ScramUser};
pub use image::brokers::{Broker, RegisteredController, RegisteredEndpoint};
pub use image::configs::{Configs, Resource, ResourceKind};
pub use image::topics::{Partition, Recovery, Topic, Topics};
pub use image::{Image, ReplayError};
pub use replay::Replay;
