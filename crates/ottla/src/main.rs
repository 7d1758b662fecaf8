//! The command: the server and every tool.
//!
//! One binary under many names. What was typed is turned into what is meant in `invocation`; this file only says
//! which part of the program does it.

mod allocator;
mod install;
mod invocation;
mod server;
mod tools;

use std::process::ExitCode;

use invocation::Invocation;

/// The version of Kafka that is spoken, then our own.
pub const VERSION: &str = concat!("4.4.0 (Ottla ", env!("CARGO_PKG_VERSION"), ")");

fn main() -> ExitCode {
    match Invocation::read(std::env::args()) {
        Ok(Invocation::Tool(tool, words)) => {
            warnings_to_stderr();
            tools::run(tool, &words)
        }
        Ok(Invocation::InstallTools(folder)) => install::run(&folder),
        Ok(Invocation::Server(arguments)) => server::run(&arguments),
        Ok(Invocation::Version) => {
            println!("{VERSION}");
            ExitCode::SUCCESS
        }
        Ok(Invocation::Help) => {
            println!("{}", invocation::help());
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}\n{}", invocation::help());
            ExitCode::from(2)
        }
    }
}

/// What Kafka's tools log by default: warnings, on stderr.
fn warnings_to_stderr() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .event_format(server::log_lines::Layout)
        .init();
}
