//! A whole node on a memory disk, stepped by hand: frames in, frames out.

#[path = "node/cluster.rs"]
mod cluster;
#[path = "node/configs.rs"]
mod configs;
#[path = "node/crash.rs"]
mod crash;
#[path = "node/directories.rs"]
mod directories;
#[path = "node/fetching.rs"]
mod fetching;
#[path = "node/group_crash.rs"]
mod group_crash;
#[path = "node/groups.rs"]
mod groups;
#[path = "node/life.rs"]
mod life;
#[path = "node/markers.rs"]
mod markers;
#[path = "node/offsets.rs"]
mod offsets;
#[path = "node/producing.rs"]
mod producing;
#[path = "node/redo.rs"]
mod redo;
#[path = "node/requests.rs"]
mod requests;
#[path = "node/support.rs"]
mod support;
#[path = "node/topics.rs"]
mod topics;
#[path = "node/transactions.rs"]
mod transactions;
#[path = "node/traps.rs"]
mod traps;
#[path = "node/verifying.rs"]
mod verifying;
