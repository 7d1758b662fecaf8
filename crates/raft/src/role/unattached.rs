//! Unattached: the epoch is known, but there is nobody to fetch from.

use ottla_protocol::time::Deadline;

/// The state of an unattached replica.
#[derive(Clone, Debug)]
pub struct Unattached {
    /// When it asks for pre-votes; never, if it does not vote.
    pub election: Option<Deadline>,
}
