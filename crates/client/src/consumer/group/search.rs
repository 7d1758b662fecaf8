//! The search for the group's coordinator.

use ottla_protocol::Now;
use ottla_protocol::time::Deadline;

/// Where the search for a coordinator stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    /// Nobody knows; it may be asked for from this moment on.
    Unknown { not_before: Option<Deadline> },
    /// It has been asked for.
    Asked,
    /// It is this node.
    Known(i32),
}

impl Search {
    /// Nobody knows yet.
    pub(crate) fn new() -> Self {
        Self::Unknown { not_before: None }
    }

    /// The coordinator, if it is known.
    pub(crate) fn node(self) -> Option<i32> {
        match self {
            Self::Known(node) => Some(node),
            _ => None,
        }
    }

    /// Whether it is time to ask.
    pub(crate) fn may_ask(self, now: Now) -> bool {
        match self {
            Self::Unknown { not_before } => not_before.is_none_or(|pause| now.reached(pause)),
            _ => false,
        }
    }

    /// When it will be time to ask.
    pub(crate) fn deadline(self) -> Option<Deadline> {
        match self {
            Self::Unknown { not_before } => not_before,
            _ => None,
        }
    }

    /// Looks at the clock: a pause may be over.
    pub(crate) fn wait_over(&mut self, now: Now) {
        if self.may_ask(now) {
            *self = Self::new();
        }
    }

    /// This node is the coordinator no more.
    pub(crate) fn forget(&mut self, node: i32) {
        if *self == Self::Known(node) {
            *self = Self::new();
        }
    }
}
