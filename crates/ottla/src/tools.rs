//! Kafka's command line tools: names, and how each is run.
//!
//! A tool gets the words behind its name and a place to write to; what it prints and its exit code are Kafka's, for
//! people's scripts read them. Formatting is apart from asking, so that it can be tested without a cluster.

mod broker_api_versions;
mod configs;
mod connect;
mod console_consumer;
mod console_producer;
mod consumer_groups;
mod consumer_perf;
mod dump_log;
mod failure;
mod filter;
mod get_offsets;
mod groups;
mod java;
mod json;
mod member;
mod moment;
mod options;
mod producer_perf;
mod record_json;
mod signals;
mod storage;
mod subcommands;
mod throttle;
mod thrown;
mod topics;
mod transactions;
mod verifiable_consumer;
mod verifiable_producer;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use failure::Failure;
use options::{Options, Usage};

/// What a tool writes to standard output.
type Out<'a> = &'a mut dyn Write;

/// One of Kafka's tools.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Its name without `.sh`.
    pub name: &'static str,
    usage: &'static Usage,
    run: fn(&[String], Out<'_>) -> Result<(), Failure>,
}

/// Every tool there is.
pub const TOOLS: &[Tool] = &[
    Tool {
        name: "kafka-broker-api-versions",
        usage: &broker_api_versions::USAGE,
        run: broker_api_versions::run,
    },
    Tool { name: "kafka-configs", usage: &configs::USAGE, run: configs::run },
    Tool { name: "kafka-console-consumer", usage: &console_consumer::USAGE, run: console_consumer::run },
    Tool { name: "kafka-console-producer", usage: &console_producer::USAGE, run: console_producer::run },
    Tool { name: "kafka-consumer-groups", usage: &consumer_groups::USAGE, run: consumer_groups::run },
    Tool { name: "kafka-consumer-perf-test", usage: &consumer_perf::USAGE, run: consumer_perf::run },
    Tool { name: "kafka-dump-log", usage: &dump_log::USAGE, run: dump_log::run },
    Tool { name: "kafka-get-offsets", usage: &get_offsets::USAGE, run: get_offsets::run },
    Tool { name: "kafka-groups", usage: &groups::USAGE, run: groups::run },
    Tool { name: "kafka-producer-perf-test", usage: &producer_perf::USAGE, run: producer_perf::run },
    Tool { name: "kafka-storage", usage: &storage::USAGE, run: storage::run },
    Tool { name: "kafka-topics", usage: &topics::USAGE, run: topics::run },
    Tool { name: "kafka-transactions", usage: &transactions::USAGE, run: transactions::run },
    Tool {
        name: "kafka-verifiable-consumer",
        usage: &verifiable_consumer::USAGE,
        run: verifiable_consumer::run,
    },
    Tool {
        name: "kafka-verifiable-producer",
        usage: &verifiable_producer::USAGE,
        run: verifiable_producer::run,
    },
];

/// The tool of this name, with or without `.sh`.
pub fn find(name: &str) -> Option<&'static Tool> {
    let name = name.strip_suffix(".sh").unwrap_or(name);
    TOOLS.iter().find(|tool| tool.name == name)
}

/// Runs a tool to its end.
pub fn run(tool: &Tool, words: &[String]) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let ended = (tool.run)(words, &mut out);
    let flushed = out.flush().map_err(Failure::from);
    match ended.and(flushed) {
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(failure) => tell(tool, &failure, &mut out),
    }
}

fn tell(tool: &Tool, failure: &Failure, out: Out<'_>) -> ExitCode {
    match failure {
        Failure::Usage(message) => eprintln!("{message}\n{}", tool.usage.table().trim_end()),
        Failure::Error(message) => eprintln!("{message}"),
        Failure::Printed(message) => {
            // Where stdout is gone there is nobody to tell.
            let _ = writeln!(out, "{message}").and_then(|()| out.flush());
        }
        Failure::Told => {}
        Failure::Help(text) => {
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
            return ExitCode::SUCCESS;
        }
        Failure::Version => {
            let _ = writeln!(out, "{}", crate::VERSION).and_then(|()| out.flush());
            return ExitCode::SUCCESS;
        }
        Failure::Signal(code) => return ExitCode::from(*code),
        Failure::ClosedPipe => return ExitCode::SUCCESS,
    }
    ExitCode::FAILURE
}

/// Reads the words, and turns `--help`, `--version` and no words at all into the tool's end.
fn parse(usage: &'static Usage, words: &[String]) -> Result<Options, Failure> {
    help_or_version(Options::parse(usage, words)?)
}

fn help_or_version(options: Options) -> Result<Options, Failure> {
    if options.empty || options.has("help") {
        return Err(Failure::Usage(options.usage.about.to_owned()));
    }
    if options.has("version") {
        return Err(Failure::Version);
    }
    Ok(options)
}

/// Drives a tool that talks to a cluster.
fn block_on<T>(task: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(task)
}
