//! The suites: each runs real clients or real Apache Kafka against a node that it starts itself.

mod messages;
mod tools;

use std::path::PathBuf;

use crate::node::{Node, Server};
use crate::report::Report;

/// A suite by name.
pub struct Suite {
    pub name: &'static str,
    pub about: &'static str,
    pub run: fn(&Stage, &mut Report),
}

/// In the order in which they run.
pub const ALL: &[Suite] = &[
    Suite {
        name: "messages",
        about: "every message at every version against Apache Kafka's own classes, byte by byte",
        run: messages::run,
    },
    Suite {
        name: "tools",
        about: "Apache Kafka's command line tools and ours of the same names, against one node, outputs compared",
        run: tools::run,
    },
];

/// What every suite is given.
pub struct Stage {
    /// The server under test.
    pub server: Server,
    /// Our command, for our tools.
    pub ottla: PathBuf,
}

impl Stage {
    /// A running node of the server under test.
    pub fn node(&self, properties: &[(&str, &str)]) -> anyhow::Result<Node> {
        Node::start(&self.server, properties)
    }
}
