//! `ottla [server.properties] [--override key=value]…`: a node in the foreground until SIGTERM or Ctrl-C.
//!
//! Settings come from the file; where none is given from the `KAFKA_*` variables that the official image takes; and
//! what neither says is chosen for a node alone on this machine. Exit codes: 0 clean, 1 failed while running, 2 bad
//! arguments or configuration.

mod greeting;
pub mod log_lines;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::process::ExitCode;
use std::task::Poll;

use anyhow::Context as _;
use ottla_metadata::config::{self, NodeConfig};
use ottla_server::{Life, Server, Stage, StartError};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::invocation::ServerArguments;

/// Bad arguments or configuration.
const BAD_CONFIGURATION: u8 = 2;

/// Component names that Kafka's log has on lines which harnesses wait for.
const LIFECYCLE: &str = "org.apache.kafka.server.BrokerLifecycleManager";
const RAFT_SERVER: &str = "kafka.server.KafkaRaftServer";

/// Runs a node.
pub fn run(arguments: &ServerArguments) -> ExitCode {
    let variables: BTreeMap<String, String> = std::env::vars().collect();
    let log = log_lines::start(&variables);
    let config = match configuration(arguments, &variables) {
        Ok(config) => config,
        Err(error) => {
            drop(log);
            eprintln!("{error:#}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let cores =
        std::thread::available_parallelism().map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(1));
    let outcome = match Server::start(&config, cores) {
        Ok(server) => serve(server).map_err(StartError::Failed),
        Err(error) => Err(error),
    };
    // Everything that was logged is out before the last word is.
    drop(log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            match error {
                StartError::Configuration(_) => ExitCode::from(BAD_CONFIGURATION),
                StartError::Failed(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn configuration(
    arguments: &ServerArguments,
    variables: &BTreeMap<String, String>,
) -> anyhow::Result<NodeConfig> {
    let overrides = arguments.overrides.iter().cloned();
    let Some(path) = &arguments.properties else {
        let pairs = variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut properties = config::from_environment(pairs);
        properties.extend(overrides);
        return Ok(NodeConfig::standalone(properties)?);
    };
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let mut properties =
        config::parse_properties(&bytes).with_context(|| format!("cannot understand {shown}"))?;
    properties.extend(overrides);
    Ok(NodeConfig::new(properties)?)
}

/// Follows the node through its life; stops it when asked to.
fn serve(server: Server) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(follow(server))
}

async fn follow(mut server: Server) -> anyhow::Result<()> {
    let mut wishes = Wishes::listen()?;
    let mut is_stopping = false;
    loop {
        tokio::select! {
            life = server.next() => match life {
                Life::Stage(from, to) => report_stage(&server, from, to),
                Life::Serving => {
                    greeting::print(server.facts());
                    let id = server.facts().node.id;
                    tracing::info!(target: RAFT_SERVER, "[KafkaRaftServer nodeId={id}] Kafka Server started");
                }
                Life::Finished => {
                    server.end();
                    tracing::info!(target: RAFT_SERVER, "the node has stopped; everything is closed");
                    return Ok(());
                }
                Life::Failed(why) => {
                    tracing::error!(target: RAFT_SERVER, "{why}");
                    server.end();
                    anyhow::bail!(why);
                }
            },
            wish = wishes.next() => {
                if is_stopping {
                    anyhow::bail!("stopped at once by a second {wish}; the next start looks through all logs");
                }
                is_stopping = true;
                tracing::info!(target: RAFT_SERVER, "{wish}: stopping; a second one stops at once");
                server.stop();
            }
        }
    }
}

fn report_stage(server: &Server, from: Stage, to: Stage) {
    let why = match to {
        Stage::Recovery => "The broker has caught up. ",
        Stage::Running => "The broker has been unfenced. ",
        _ => "",
    };
    let id = server.facts().node.id;
    let (from, to) = (from.name(), to.name());
    tracing::info!(
        target: LIFECYCLE,
        "[BrokerLifecycleManager id={id}] {why}Transitioning from {from} to {to}."
    );
}

/// The signals that ask a node to stop. One that was ignored when the process began stays so: that is how `nohup`,
/// and a shell that starts something in the background, say that it is to live on.
struct Wishes {
    signals: Vec<(&'static str, Signal)>,
    /// Listened to only so that it does not end the process: a file that may not grow is a disk error like others.
    _file_size: Signal,
}

/// A write beyond the limit on the size of files (`ulimit -f`).
const SIGXFSZ: i32 = 25;

impl Wishes {
    fn listen() -> std::io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = ignored_signals(&status);
        let mut signals = Vec::new();
        for (name, kind) in [
            ("SIGTERM", SignalKind::terminate()),
            ("SIGINT", SignalKind::interrupt()),
            ("SIGHUP", SignalKind::hangup()),
        ] {
            if ignored >> (kind.as_raw_value() - 1) & 1 == 0 {
                signals.push((name, signal(kind)?));
            }
        }
        Ok(Self { signals, _file_size: signal(SignalKind::from_raw(SIGXFSZ))? })
    }

    async fn next(&mut self) -> &'static str {
        poll_fn(|cx| {
            let come = self
                .signals
                .iter_mut()
                .find_map(|(name, signal)| signal.poll_recv(cx).is_ready().then_some(*name));
            come.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// The signals that a process ignores, as bits, out of Linux's `/proc/self/status`.
fn ignored_signals(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(overrides: &[(&str, &str)]) -> ServerArguments {
        let overrides = overrides.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
        ServerArguments { properties: None, overrides: overrides.collect() }
    }

    #[test]
    fn overrides_count_more_than_the_environment() {
        let variables = [("KAFKA_NODE_ID", "7"), ("KAFKA_LOG_DIRS", "/a"), ("HOME", "/b")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let config = configuration(&arguments(&[("log.dirs", "/c")]), &variables).unwrap();
        assert_eq!((config.node_id.0, config.log_dirs), (7, vec!["/c".to_owned()]));
    }

    #[test]
    fn ignored_signals_are_read() {
        assert_eq!(ignored_signals("Name:\tx\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(ignored_signals(""), 0);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let arguments =
            ServerArguments { properties: Some("/nowhere/x.properties".into()), overrides: vec![] };
        let error = configuration(&arguments, &BTreeMap::new()).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/x.properties"), "{error:#}");
    }
}
