//! `cargo xtask bench`: Ottla and Apache Kafka 4.4.0 in turn, in one run, with the same clients.
//!
//! A figure is a ratio from one run on one machine: both servers, the same cells, again and again, medians. The client
//! shares the cores and is often the ceiling, so the CPU time of the server's process counts for more than MB/s.
//! Records are written and read by foreign clients (`cell`), the coordinators get a load of our own (`coordination`);
//! so that the load is not the ceiling, the whole program is built with optimizations and run anew.

mod cell;
mod coordination;
mod machine;
mod results;
mod wire;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::node::{Node, Server};
use crate::tools::{self, Jars};
use cell::{Cell, Clients, Measured};
use machine::Ballast;

const USAGE: &str = "\
cargo xtask bench [--quick] [--runs N] [--cell WORD] [--server WORD] [--binary PATH]

--quick         small cells and one run, without filling the page cache: to see that it works, not to be quoted
--runs N        how often each server is measured, in turn (3)
--cell WORD     only cells whose name contains WORD; may be given several times
--server WORD   only the server whose name contains WORD: for looking into one of them
--binary PATH   this binary of Ottla, as it is
Writes bench/RESULTS.md unless --quick, --cell or --server is given.";

/// What was asked for.
struct Options {
    quick: bool,
    runs: usize,
    words: Vec<String>,
    server: String,
    binary: Option<PathBuf>,
}

impl Options {
    /// Whether a cell is to be measured.
    fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word))
    }

    /// That each word names a cell: a run that measures nothing is no success.
    fn check(&self) -> anyhow::Result<()> {
        let mut names: Vec<String> = cell::all(self.quick).into_iter().map(|cell| cell.name).collect();
        names.extend(coordination::all(self.quick).into_iter().map(|cell| cell.name));
        for word in &self.words {
            let named = names.iter().any(|name| name.contains(word));
            ensure!(named, "no cell is named {word:?}, but\n{}", names.join("\n"));
        }
        Ok(())
    }
}

/// The cells to be measured.
struct Plan {
    records: Vec<Cell>,
    coordination: Vec<coordination::Cell>,
}

/// Measures both servers and prints the comparison.
pub fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let options = parse(arguments)?;
    options.check()?;
    if cfg!(debug_assertions) {
        return optimized(arguments);
    }
    let binary = match &options.binary {
        Some(binary) => binary.canonicalize()?,
        None => crate::test::build(false)?,
    };
    let heap = "-Xms1G -Xmx1G".to_owned();
    let apache = Server::ApacheKafka { jars: tools::jars(Jars::Broker)?, heap };
    let mut servers = vec![apache, Server::ottla(&binary)];
    servers.retain(|server| server.name().contains(&options.server));
    ensure!(!servers.is_empty(), "no server is named {:?}", options.server);
    let plan = Plan {
        records: cell::all(options.quick).into_iter().filter(|cell| options.wants(&cell.name)).collect(),
        coordination: coordination::all(options.quick)
            .into_iter()
            .filter(|cell| options.wants(&cell.name))
            .collect(),
    };
    let clients = (!plan.records.is_empty()).then(Clients::ready).transpose()?;
    // What the coordinators write fits into little memory.
    let needs_ballast = !options.quick && !plan.records.is_empty();
    let ballast = needs_ballast.then(Ballast::fill).transpose()?;
    let mut measured = Vec::new();
    for run in 0..options.runs {
        for server in &servers {
            if let Some(clients) = &clients {
                measured.extend(one_run(run, server, &plan.records, clients, ballast.as_ref())?);
            }
            measured.extend(coordinated(run, server, &plan.coordination, ballast.as_ref())?);
        }
    }
    drop(ballast);
    let text = results::text(&measured, options.runs);
    println!("\n{text}");
    if !options.quick && options.words.is_empty() && options.server.is_empty() {
        let path = crate::workspace().join("bench/RESULTS.md");
        std::fs::write(&path, text).with_context(|| format!("{}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds this program with optimizations, and has that do it.
fn optimized(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let program = crate::test::build_package("xtask", "release")?;
    let status = Command::new(program).arg("bench").args(arguments).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parse(arguments: &[String]) -> anyhow::Result<Options> {
    let mut options =
        Options { quick: false, runs: 3, words: Vec::new(), server: String::new(), binary: None };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--quick" => (options.quick, options.runs) = (true, 1),
            "--runs" => options.runs = value()?.parse()?,
            "--cell" => options.words.push(value()?.clone()),
            "--server" => options.server = value()?.clone(),
            "--binary" => options.binary = Some(value()?.into()),
            other => bail!("{other:?} is no option\n{USAGE}"),
        }
    }
    Ok(options)
}

/// All cells of records against one fresh node.
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
    // No cell shall meet the deletion of another's segments.
    let mut node = Node::start(server, &[("log.retention.ms", "-1"), ("log.segment.bytes", "1073741824")])?;
    note("start", "exec to serving, ms", node.ready_in.as_secs_f64() * 1000.0);
    // The first client makes the topic by asking for it; the second finds it, on a node that starts again.
    let on_demand = node.ready_in + timed(|| clients.first_record(&node))?;
    note("start", "exec to the first record of a topic made on demand, ms", on_demand.as_secs_f64() * 1000.0);
    node.restart()?;
    let again = node.ready_in + timed(|| clients.first_record(&node))?;
    note("start", "exec to the first acknowledged record, ms", again.as_secs_f64() * 1000.0);
    note("memory", "resident, idle, MiB", machine::resident_mib(&node)?);
    clients.warm_up(&node)?;
    for cell in cells {
        begin_cell(run, server, &cell.name, ballast)?;
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

/// How long it takes.
fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    work().map(|()| begin.elapsed())
}

/// The cells of the coordinators, each against a fresh node.
fn coordinated(
    run: usize,
    server: &Server,
    cells: &[coordination::Cell],
    ballast: Option<&Ballast>,
) -> anyhow::Result<Vec<Measured>> {
    let mut measured = Vec::new();
    for cell in cells {
        begin_cell(run, server, &cell.name, ballast)?;
        let begin = Instant::now();
        for (figure, value) in coordination::measure(cell, server)? {
            println!("    {figure}: {value:.2}");
            let (is_ottla, cell) = (server.is_ottla(), cell.name.clone());
            measured.push(Measured { is_ottla, cell, figure, value });
        }
        println!("    ({:.0} s)", begin.elapsed().as_secs_f64());
    }
    Ok(measured)
}

/// Makes all cells begin alike, and says which one begins.
fn begin_cell(run: usize, server: &Server, name: &str, ballast: Option<&Ballast>) -> anyhow::Result<()> {
    ballast.map(Ballast::refill).transpose()?;
    let (server, free) = (server.name(), machine::free_mib());
    println!("run {} · {server} · {name} (free memory {free} MiB)", run + 1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_word_that_names_no_cell_is_an_error() {
        let check = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            parse(&words).and_then(|options| options.check())
        };
        assert!(check(&[]).is_ok());
        assert!(check(&["--cell", "rebalance", "--cell", "idle"]).is_ok());
        let error = check(&["--cell", "rebalance", "--cell", "rebalanec"]).unwrap_err().to_string();
        assert!(error.contains("rebalanec") && error.contains("transactions"), "{error}");
    }
}
