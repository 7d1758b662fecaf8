//! The states of a transaction, with Kafka's numbers and names, and the versions of the protocol.

use ottla_metadata::Image;
use ottla_metadata::features::TRANSACTION_VERSION;

use crate::decider::Outcome;

/// The state of a transactional id. `Dead` and `PrepareEpochFence` are names that a filter may use: here a dead id is
/// gone at once, and fencing is one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// No transaction since the producer was initialized.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// It is decided that the transaction ends so; the markers are being written.
    Prepare(Outcome),
    /// The transaction has ended so everywhere.
    Complete(Outcome),
}

use Outcome::{Aborted, Committed};
use State::{Complete, Empty, Ongoing, Prepare};

/// Every state that is written.
const ALL: [State; 6] =
    [Empty, Ongoing, Prepare(Committed), Prepare(Aborted), Complete(Committed), Complete(Aborted)];

/// Names that Kafka knows for states that are never written.
const PASSING: [&str; 2] = ["Dead", "PrepareEpochFence"];

impl State {
    /// Its number in `__transaction_state`.
    #[must_use]
    pub fn number(self) -> i8 {
        match self {
            Empty => 0,
            Ongoing => 1,
            Prepare(Committed) => 2,
            Prepare(Aborted) => 3,
            Complete(Committed) => 4,
            Complete(Aborted) => 5,
        }
    }

    /// The state with this number.
    #[must_use]
    pub fn from_number(number: i8) -> Option<Self> {
        ALL.into_iter().find(|state| state.number() == number)
    }

    /// Its name in DescribeTransactions and ListTransactions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Empty => "Empty",
            Ongoing => "Ongoing",
            Prepare(Committed) => "PrepareCommit",
            Prepare(Aborted) => "PrepareAbort",
            Complete(Committed) => "CompleteCommit",
            Complete(Aborted) => "CompleteAbort",
        }
    }

    /// Whether Kafka has a state of this name.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        ALL.into_iter().any(|state| state.name() == name) || PASSING.contains(&name)
    }

    /// Whether an id in this state may be forgotten when it has not been used for long.
    #[must_use]
    pub fn may_expire(self) -> bool {
        matches!(self, Empty | Complete(_))
    }
}

/// How transactions are spoken about: the levels of the feature `transaction.version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransactionVersion {
    /// The original protocol.
    #[default]
    V0,
    /// Records have flexible fields.
    V1,
    /// Each transaction has an epoch of its own (KIP-890).
    V2,
}

impl TransactionVersion {
    /// What the cluster has finalized.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        Self::from_level(image.feature(TRANSACTION_VERSION))
    }

    /// The version of a level; later levels are taken for the newest known.
    #[must_use]
    pub fn from_level(level: i16) -> Self {
        match level {
            ..=0 => Self::V0,
            1 => Self::V1,
            2.. => Self::V2,
        }
    }

    /// The level.
    #[must_use]
    pub fn level(self) -> i16 {
        self as i16
    }

    /// Whether the end of a transaction bumps the producer's epoch.
    #[must_use]
    pub fn bumps_epoch(self) -> bool {
        self >= Self::V2
    }

    /// The version in which records are written.
    #[must_use]
    pub fn record_version(self) -> i16 {
        i16::from(self >= Self::V1)
    }
}
