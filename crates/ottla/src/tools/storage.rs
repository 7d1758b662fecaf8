//! kafka-storage: format a node's directories, look into them, and tell what features need.

mod features;
mod formatting;
mod information;

use std::path::PathBuf;

use ottla_metadata::config::{NodeConfig, parse_properties};
use ottla_protocol::Uuid;

use super::Out;
use super::failure::Failure;
use super::options::Usage;
use super::subcommands::{Command, Kind, Opt, Program};

/// The tool has no options of the other kind.
pub static USAGE: Usage = Usage { about: "The Kafka storage tool.", flags: &[] };

const CONFIG: Opt =
    Opt { long: "config", short: Some('c'), kind: Kind::Required, text: "The node's server.properties." };

const RELEASE: Opt = Opt {
    long: "release-version",
    short: Some('r'),
    kind: Kind::Value,
    text: "The release whose features a new cluster begins with, such as 4.1 or 4.1-IV1.",
};

static PROGRAM: Program = Program {
    name: "kafka-storage",
    about: "The Kafka storage tool.",
    globals: &[],
    commands: &[
        Command { name: "info", about: "Tell what the node's log directories hold.", options: &[CONFIG] },
        Command {
            name: "format",
            about: "Format the node's log directories.",
            options: &[
                CONFIG,
                Opt { long: "cluster-id", short: Some('t'), kind: Kind::Required, text: "The cluster's id." },
                Opt {
                    long: "add-scram",
                    short: Some('S'),
                    kind: Kind::Many,
                    text: "A SCRAM credential that the cluster begins with.",
                },
                Opt {
                    long: "ignore-formatted",
                    short: Some('g'),
                    kind: Kind::Switch,
                    text: "Leave directories alone that are formatted already.",
                },
                RELEASE,
                Opt {
                    long: "feature",
                    short: Some('f'),
                    kind: Kind::Many,
                    text: "A feature's level, as name=level.",
                },
                Opt {
                    long: "standalone",
                    short: Some('s'),
                    kind: Kind::ExclusiveSwitch,
                    text: "This controller is the quorum's first and only voter.",
                },
                Opt {
                    long: "no-initial-controllers",
                    short: Some('N'),
                    kind: Kind::ExclusiveSwitch,
                    text: "The node will join a quorum that others make.",
                },
                Opt {
                    long: "initial-controllers",
                    short: Some('I'),
                    kind: Kind::ExclusiveValue,
                    text: "The quorum's first voters, as id@host:port:directory-id,...; the same on every node.",
                },
            ],
        },
        Command { name: "version-mapping", about: "Tell the features of a release.", options: &[RELEASE] },
        Command {
            name: "feature-dependencies",
            about: "Tell what a feature's level depends on.",
            options: &[Opt {
                long: "feature",
                short: Some('f'),
                kind: Kind::RequiredMany,
                text: "A feature's level, as name=level.",
            }],
        },
        Command { name: "random-uuid", about: "Print a random id.", options: &[] },
    ],
};

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    let chosen = PROGRAM.parse(words)?;
    match chosen.command {
        "info" => information::run(&config(chosen.value("config"))?, out),
        "format" => formatting::run(&config(chosen.value("config"))?, &chosen, out),
        "version-mapping" => {
            Ok(out.write_all(features::mapping(chosen.value("release-version"))?.as_bytes())?)
        }
        "feature-dependencies" => {
            for feature in chosen.values("feature") {
                out.write_all(features::dependencies(feature)?.as_bytes())?;
            }
            Ok(())
        }
        _ => Ok(writeln!(out, "{}", random_uuid())?),
    }
}

/// The configuration in a file.
fn config(path: Option<&str>) -> Result<NodeConfig, Failure> {
    let path = path.unwrap_or_default();
    let bytes = std::fs::read(path).map_err(|error| Failure::Error(format!("{path}: {error}")))?;
    let config = parse_properties(&bytes).and_then(NodeConfig::new);
    config.map_err(|error| Failure::Error(error.to_string()))
}

/// Every directory that is formatted, in the order of their names.
fn directories(config: &NodeConfig) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        config.log_dirs.iter().chain([&config.metadata_log_dir]).map(PathBuf::from).collect();
    all.sort();
    all.dedup();
    all
}

/// An id that is none of Kafka's own, and does not look like an option.
fn random_uuid() -> Uuid {
    loop {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system gives random numbers");
        let id = Uuid::from_random(bytes);
        if !id.is_reserved() && !id.to_string().starts_with('-') {
            return id;
        }
    }
}
