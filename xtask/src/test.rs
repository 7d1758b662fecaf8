//! `cargo xtask test`: the quick tests, then the suites that run real Apache Kafka and real clients.
//!
//! A suite is a file in `suites/`. Each runs against Ottla, and with `--against apache-kafka` against Apache Kafka
//! 4.4.0 itself, which is how a suite is known to be right.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};

use crate::node::Server;
use crate::report::Report;
use crate::suites::{self, Stage};

const USAGE: &str = "\
cargo xtask test [SUITE…] [--all] [--against apache-kafka] [--dev | --binary PATH] [--list]

Without a SUITE: the quick tests (cargo test --workspace), then every suite.
--all                     a suite that could not run counts as failed
--against apache-kafka    the suites against Apache Kafka 4.4.0 instead of Ottla
--dev                     Ottla from the dev profile; without it from the release profile
--binary PATH             this binary, as it is";

/// What was asked for.
#[derive(Default)]
struct Options {
    suites: Vec<String>,
    all: bool,
    apache_kafka: bool,
    dev: bool,
    binary: Option<PathBuf>,
}

/// Runs what was asked for and prints the closing table.
pub fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    if arguments.iter().any(|argument| argument == "--help" || argument == "--list") {
        println!("{USAGE}\n");
        for suite in suites::ALL {
            println!("{:<13} {}", suite.name, suite.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let options = parse(arguments)?;
    let mut report = Report::default();
    if options.suites.is_empty() && !options.apache_kafka {
        quick(&mut report)?;
    }
    let stage = stage(&options)?;
    for suite in suites::ALL {
        let is_named = options.suites.iter().any(|name| name == suite.name);
        if is_named || options.suites.is_empty() {
            (suite.run)(&stage, &mut report);
        }
    }
    Ok(if report.close(options.all) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parse(arguments: &[String]) -> anyhow::Result<Options> {
    let mut options = Options::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--all" => options.all = true,
            "--dev" => options.dev = true,
            "--binary" => options.binary = Some(arguments.next().context("--binary PATH")?.into()),
            "--against" => {
                let server = arguments.next().context("--against apache-kafka")?;
                ensure!(["apache-kafka", "apache"].contains(&server.as_str()), "--against apache-kafka");
                options.apache_kafka = true;
            }
            name if suites::ALL.iter().any(|suite| suite.name == name) => {
                options.suites.push(name.to_owned())
            }
            other => bail!("{other:?} is neither a suite nor an option\n{USAGE}"),
        }
    }
    Ok(options)
}

/// Ottla's binary is built even where Apache Kafka is tested: our tools are clients too.
fn stage(options: &Options) -> anyhow::Result<Stage> {
    let binary = match &options.binary {
        Some(binary) => binary.canonicalize().with_context(|| format!("{}", binary.display()))?,
        None => build(options.dev)?,
    };
    let server = if options.apache_kafka { Server::apache_kafka()? } else { Server::ottla(&binary) };
    Ok(Stage { server, ottla: binary })
}

/// Builds `ottla` and answers where it is.
pub fn build(dev: bool) -> anyhow::Result<PathBuf> {
    build_package("ottla", if dev { "dev" } else { "release" })
}

/// Builds a package of the workspace that has a program of its own name, and answers where that is.
pub fn build_package(package: &str, profile: &str) -> anyhow::Result<PathBuf> {
    let status = cargo().args(["build", "--quiet", "--package", package, "--profile", profile]).status()?;
    ensure!(status.success(), "{package} does not build");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::workspace().join("target"), PathBuf::from);
    Ok(target.join(if profile == "dev" { "debug" } else { profile }).join(package))
}

/// `cargo test --workspace`, each test counted.
fn quick(report: &mut Report) -> anyhow::Result<()> {
    let output =
        cargo().args(["test", "--workspace", "--no-fail-fast"]).output().context("running cargo test")?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    let passed = text.lines().filter(|line| line.starts_with("test ") && line.ends_with("... ok")).count();
    let mut failed: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .map(str::to_owned)
        .collect();
    if !output.status.success() && failed.is_empty() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        failed.push("cargo test --workspace".to_owned());
    }
    report.counted("quick", passed, &failed);
    Ok(())
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.current_dir(crate::workspace());
    command
}
