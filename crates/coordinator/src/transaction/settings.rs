//! The configuration of the transaction coordinator.

use ottla_metadata::config::Settings as NodeSettings;

/// See the module. All times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `transaction.max.timeout.ms`.
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`.
    pub expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    pub abort_interval_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub expiration_interval_ms: i64,
    /// `request.timeout.ms`: after that long without an answer, markers are sent again.
    pub request_timeout_ms: i64,
    /// `transaction.two.phase.commit.enable` (KIP-939).
    pub two_phase_commit: TwoPhaseCommit,
}

/// Whether transactions without a timeout may be steered from outside (KIP-939).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwoPhaseCommit {
    /// They may.
    Enabled,
    /// They may not: the default.
    Disabled,
}

impl Settings {
    /// Reads them off a node's settings.
    #[must_use]
    pub fn of(settings: &NodeSettings) -> Self {
        let node = settings.node();
        let two_phase_commit = if node.boolean("transaction.two.phase.commit.enable") {
            TwoPhaseCommit::Enabled
        } else {
            TwoPhaseCommit::Disabled
        };
        Self {
            max_timeout_ms: node.int("transaction.max.timeout.ms"),
            expiration_ms: i64::from(node.int("transactional.id.expiration.ms")),
            abort_interval_ms: i64::from(
                node.int("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            ),
            expiration_interval_ms: i64::from(
                node.int("transaction.remove.expired.transaction.cleanup.interval.ms"),
            ),
            request_timeout_ms: i64::from(node.int("request.timeout.ms")),
            two_phase_commit,
        }
    }
}

impl Default for Settings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            max_timeout_ms: 900_000,
            expiration_ms: 604_800_000,
            abort_interval_ms: 10_000,
            expiration_interval_ms: 3_600_000,
            request_timeout_ms: 30_000,
            two_phase_commit: TwoPhaseCommit::Disabled,
        }
    }
}
