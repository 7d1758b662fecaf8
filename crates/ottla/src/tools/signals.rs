//! Ctrl-C and SIGTERM, for tools that have something to finish first.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;

/// The signals that end a tool.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on they do not kill the process.
    pub fn catch() -> Result<Self, Failure> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one; the answer is the tool's end, with the exit code a shell gives to such a death.
    pub async fn caught(&mut self) -> Failure {
        tokio::select! {
            _ = self.interrupt.recv() => Failure::Signal(130),
            _ = self.terminate.recv() => Failure::Signal(143),
        }
    }
}
