//! The suites: each runs real clients or real Apache Kafka against a node that it starts itself.

pub mod clients;
mod exchange;
mod foreign;
mod groups;
mod hostile;
mod kill;
mod messages;
mod mixed;
mod once;
mod script;
mod tools;
mod transactions;
mod walkthrough;

use std::path::PathBuf;

use anyhow::ensure;

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
    Suite {
        name: "walkthrough",
        about: "what introductions to Kafka have their readers type, with Apache Kafka's tools and with ours",
        run: walkthrough::run,
    },
    Suite {
        name: "clients",
        about: "clients of five libraries: each writes in every codec, each reads what each other wrote",
        run: clients::run,
    },
    Suite {
        name: "groups",
        about: "groups and transactions with clients of every kind, in both protocols; docs/clients.md",
        run: groups::run,
    },
    Suite {
        name: "mixed",
        about: "Java and Ottla in one group, members and node killed again and again: no commit lost, none goes back",
        run: mixed::run,
    },
    Suite {
        name: "once",
        about: "exactly once: a chain of transactional copies under kill -9",
        run: once::run,
    },
    Suite {
        name: "transactions",
        about: "transactions with Java's client and librdkafka: ends, fencing, offsets, timeouts; then under kill -9",
        run: transactions::run,
    },
    Suite {
        name: "foreign",
        about: "the tests that other clients ship: librdkafka, kafka-go, rust-rdkafka, rskafka; tests/foreign",
        run: foreign::run,
    },
    Suite {
        name: "kill",
        about: "kill -9 under load, again and again: what was acknowledged is there, once",
        run: kill::run,
    },
    Suite {
        name: "exchange",
        about: "one data directory handed to and fro between Ottla and Apache Kafka, every file dumped by its tool",
        run: exchange::run,
    },
    Suite {
        name: "hostile",
        about: "hostile bytes on the port: no panic, no growth, others served meanwhile",
        run: hostile::run,
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

/// A node's log must not tell of a broken invariant.
fn no_panic(node: &Node) -> anyhow::Result<()> {
    let log = node.log();
    let panic = log.lines().find(|line| line.contains("panicked at"));
    ensure!(panic.is_none(), "{}\n{}", panic.unwrap_or_default(), node.log_tail());
    Ok(())
}
