//! Every half-finished transaction is brought to its end: when nobody begins anything any more, nothing is open, neither
//! with the coordinator nor in a partition.

use ottla_coordinator::transaction::{State, Transactions};

use super::{Violation, violation};
use crate::transactions::partition::Partition;

/// Looks at a world in which nobody has begun anything for a while.
///
/// # Errors
/// If something is open.
pub fn recovered(transactions: &Transactions, partitions: &[Partition]) -> Result<(), Violation> {
    for (id, entry) in transactions.entries() {
        if matches!(entry.state, State::Ongoing | State::Prepare(_)) {
            return violation("every transaction comes to its end", format!("{id}: {entry:?}"));
        }
    }
    for (number, partition) in partitions.iter().enumerate() {
        if let Some(producer) = partition.open().next() {
            let what = format!("partition {number} is open for producer {producer}");
            return violation("every transaction comes to its end", what);
        }
    }
    Ok(())
}
