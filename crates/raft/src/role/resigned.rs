//! Resigned: led this epoch and will not do so again. It tells the voters until they have all heard it.
//!
//! A leader that restarts comes up here: records of its epoch that were lost with an unsynced tail must not be made
//! anew under the same offset and epoch (KAFKA-10527).

use std::collections::BTreeSet;

use ottla_protocol::NodeId;
use ottla_protocol::time::Deadline;

use crate::voters::ReplicaKey;

/// The state of a leader that has resigned.
#[derive(Clone, Debug)]
pub struct Resigned {
    /// When it leaves the epoch for the next; `None` while it shuts down.
    pub election: Option<Deadline>,
    /// The voters that have not yet heard.
    pub unacknowledged: BTreeSet<NodeId>,
    /// Who should follow, the most up to date first.
    pub successors: Vec<ReplicaKey>,
}
