//! The developer's commands: `cargo xtask tidy | generate | test | bench`.
//!
//! Each command is a module with a `run(arguments)`. Nothing here is part of the product.

mod apache_tools;
mod bench;
mod generate;
mod namespace;
mod node;
mod report;
mod suites;
mod test;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask tidy                    the project's rules, beyond what rustfmt and clippy check
cargo xtask generate [--check]      the protocol's messages and records from their schemas
cargo xtask test [SUITE…] [OPTIONS] quick tests, then the suites with real clients and real Apache Kafka
cargo xtask bench [OPTIONS]         Ottla and Apache Kafka in turn, with the same clients";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    let done = match command {
        "tidy" => tidy::run(rest),
        "generate" => generate::run(rest),
        "test" => test::run(rest),
        "bench" => bench::run(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => Err(anyhow::anyhow!("there is no command {other:?}\n{USAGE}")),
    };
    done.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::from(2)
    })
}

/// The folder of the workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
