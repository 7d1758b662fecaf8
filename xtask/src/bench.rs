//! `cargo xtask bench`: Ottla and Apache Kafka 4.4.0 in turn, in one run, with the same foreign clients.
//!
//! A figure is a ratio from one run on one machine: both servers, the same cells, again and again, medians. The client
//! shares the cores and is often the ceiling, so the CPU time of the server's process counts for more than MB/s.

mod cell;
mod machine;
mod results;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::node::{Node, Server};
use crate::tools::{self, Jars};
use cell::{Cell, Clients, Measured};
use machine::Ballast;

const USAGE: &str = "\
cargo xtask bench [--quick] [--runs N] [--cell WORD] [--binary PATH]

--quick         small cells and one run, without filling the page cache: to see that it works, not to be quoted
--runs N        how often each server is measured, in turn (3)
--cell WORD     only cells whose name contains WORD
--binary PATH   this binary of Ottla, as it is
Writes bench/RESULTS.md unless --quick or --cell is given.";

/// What was asked for.
struct Options {
    quick: bool,
    runs: usize,
    word: String,
    binary: Option<PathBuf>,
}

/// Measures both servers and prints the comparison.
pub fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let options = parse(arguments)?;
    let binary = match &options.binary {
        Some(binary) => binary.canonicalize()?,
        None => crate::test::build(false)?,
    };
    let heap = "-Xms1G -Xmx1G".to_owned();
    let apache = Server::ApacheKafka { jars: tools::jars(Jars::Broker)?, heap };
    let clients = Clients::ready()?;
    let cells: Vec<Cell> =
        cell::all(options.quick).into_iter().filter(|cell| cell.name.contains(&options.word)).collect();
    let ballast = (!options.quick).then(Ballast::fill).transpose()?;
    let mut measured = Vec::new();
    for run in 0..options.runs {
        for server in [&apache, &Server::ottla(&binary)] {
            measured.extend(one_run(run, server, &cells, &clients, ballast.as_ref())?);
        }
    }
    drop(ballast);
    let text = results::text(&cells, &measured, options.runs);
    println!("\n{text}");
    if !options.quick && options.word.is_empty() {
        let path = crate::workspace().join("bench/RESULTS.md");
        std::fs::write(&path, text).with_context(|| format!("{}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(arguments: &[String]) -> anyhow::Result<Options> {
    let mut options = Options { quick: false, runs: 3, word: String::new(), binary: None };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--quick" => (options.quick, options.runs) = (true, 1),
            "--runs" => options.runs = value()?.parse()?,
            "--cell" => options.word = value()?.clone(),
            "--binary" => options.binary = Some(value()?.into()),
            other => bail!("{other:?} is no option\n{USAGE}"),
        }
    }
    Ok(options)
}

/// All cells against one fresh node.
fn one_run(
    run: usize,
    server: &Server,
    cells: &[Cell],
    clients: &Clients,
    ballast: Option<&Ballast>,
) -> anyhow::Result<Vec<Measured>> {
    let mut measured = Vec::new();
    let mut note = |cell: &str, figure: &'static str, value: f64| {
        measured.push(Measured { is_ottla: server.is_ottla(), cell: cell.to_owned(), figure, value });
    };
    let begin = Instant::now();
    // No cell shall meet the deletion of another's segments.
    let mut node = Node::start(server, &[("log.retention.ms", "-1"), ("log.segment.bytes", "1073741824")])?;
    note("start", "exec to serving, ms", node.ready_in.as_secs_f64() * 1000.0);
    clients.first_record(&node)?;
    note("start", "exec to the first acknowledged record, ms", begin.elapsed().as_secs_f64() * 1000.0);
    note("memory", "resident, idle, MiB", machine::resident_mib(&node)?);
    clients.warm_up(&node)?;
    for cell in cells {
        ballast.map(Ballast::refill).transpose()?;
        println!(
            "run {} · {} · {} (free memory {} MiB)",
            run + 1,
            server.name(),
            cell.name,
            machine::free_mib()
        );
        // A topic just made may not be known yet to a client that comes at once; then on a new one.
        let figures = clients.measure(cell, &node).or_else(|error| {
            println!("    once more: {error:#}");
            clients.measure(cell, &node)
        });
        for (figure, value) in figures.with_context(|| cell.name.clone())? {
            println!("    {figure}: {value:.2}");
            note(&cell.name, figure, value);
        }
    }
    note("memory", "resident, after the load, MiB", machine::resident_mib(&node)?);
    node.stop()?;
    Ok(measured)
}
