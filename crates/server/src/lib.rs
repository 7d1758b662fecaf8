//! The node with threads, sockets and files.
//!
//! Every core is a thread with a runtime, its share of the connections and a [`broker`](ottla_broker) core; control has
//! a thread of its own, and one more accepts connections. Threads speak through inboxes only. What is decided is
//! decided below; here bytes are moved, and the bounds are kept.

mod admission;
mod clock;
mod connection;
mod control_thread;
mod core_thread;
mod desk;
#[cfg(test)]
mod fake;
mod inbox;
mod limits;
mod link;
mod listener;
mod machine;
mod posts;
mod seldom;
mod server;
mod system;

pub use ottla_broker::Node;
pub use ottla_broker::control::Stage;
pub use ottla_broker::home;
pub use ottla_broker::node::{Listener, ListenerKind};
pub use server::{Facts, Life, Server, StartError};
