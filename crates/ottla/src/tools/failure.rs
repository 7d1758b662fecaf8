//! How a tool ends other than well: what is said, where, and the exit code.
//!
//! Kafka's tools know the codes 0 and 1 only; what differs is whether the message goes to stdout or stderr and
//! whether usage follows it.

use std::io;

use ottla_client::{ApiError, ClientError};

use super::options::OptionError;

/// A tool's end before its time.
#[derive(Debug)]
pub enum Failure {
    /// The message, then usage, on stderr; exit code 1. `--help` is one of these, as in Kafka.
    Usage(String),
    /// The message on stderr; exit code 1.
    Error(String),
    /// The message on stdout; exit code 1.
    Printed(String),
    /// The version on stdout; exit code 0.
    Version,
    /// What was asked for on stdout; exit code 0. `--help` of tools with subcommands.
    Help(String),
    /// Everything has been said; exit code 1.
    Told,
    /// A signal ended it; the exit code a shell gives to such a death.
    Signal(u8),
    /// Nobody reads what we print any more: not an error.
    ClosedPipe,
}

impl Failure {
    /// The message without its place, for tools that give every error one frame.
    pub fn message(&self) -> &str {
        match self {
            Self::Usage(text) | Self::Error(text) | Self::Printed(text) | Self::Help(text) => text,
            Self::Version | Self::Told | Self::Signal(_) | Self::ClosedPipe => "",
        }
    }
}

impl From<OptionError> for Failure {
    fn from(error: OptionError) -> Self {
        Self::Error(error.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Error(error.to_string())
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Error(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Error(error.to_string()),
        }
    }
}
