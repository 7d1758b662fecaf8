//! All of a transaction counts or nothing of it: in every partition its records end in the same way, and in the way that
//! its client was told.

use std::collections::BTreeMap;

use ottla_coordinator::{Outcome, Producer};

use super::{Violation, violation};
use crate::transactions::partition::{Entry, Partition, TransactionKey};

/// Remembers what was told, and how what was written has ended.
#[derive(Debug, Default)]
pub struct AllOrNothing {
    told: BTreeMap<TransactionKey, Outcome>,
    ended: BTreeMap<TransactionKey, Outcome>,
    /// How many records of each transaction were acknowledged in each partition.
    acknowledged: BTreeMap<(TransactionKey, usize), usize>,
}

impl AllOrNothing {
    /// A client has been told how its transaction ends.
    ///
    /// # Errors
    /// If it has ended otherwise.
    pub fn told(&mut self, key: TransactionKey, outcome: Outcome) -> Result<(), Violation> {
        self.told.insert(key, outcome);
        match self.ended.get(&key) {
            Some(ended) if *ended != outcome => violation(
                "a transaction ends as was told",
                format!("{key:?}: told {outcome:?}, but {ended:?}"),
            ),
            _ => Ok(()),
        }
    }

    /// A record was acknowledged.
    pub fn acknowledged(&mut self, key: TransactionKey, partition: usize) {
        *self.acknowledged.entry((key, partition)).or_insert(0) += 1;
    }

    /// A marker was appended to a partition.
    ///
    /// # Errors
    /// If it ends a record otherwise than another of the same transaction, or than was told.
    pub fn marked(&mut self, partition: &Partition) -> Result<(), Violation> {
        let Some((Entry::Marker(producer, outcome), before)) = partition.entries.split_last() else {
            return Ok(());
        };
        for key in open(before, *producer) {
            let ended = *self.ended.entry(key).or_insert(*outcome);
            let told = self.told.get(&key).copied().unwrap_or(ended);
            if ended != *outcome || told != *outcome {
                let what =
                    format!("{key:?} is {outcome:?} here, elsewhere {ended:?}, its client heard {told:?}");
                return violation("all or nothing of a transaction", what);
            }
        }
        Ok(())
    }

    /// In the end: what was acknowledged of a transaction that was committed is there, once.
    ///
    /// # Errors
    /// If it is not.
    pub fn complete(&self, partitions: &[Partition]) -> Result<(), Violation> {
        for ((key, partition), count) in &self.acknowledged {
            if self.told.get(key) != Some(&Outcome::Committed) {
                continue;
            }
            let found = partitions[*partition]
                .entries
                .iter()
                .filter(|entry| matches!(entry, Entry::Data(_, of) if of == key))
                .count();
            if found != *count {
                let what =
                    format!("{key:?} has {found} records in partition {partition}, {count} acknowledged");
                return violation("what was acknowledged of a committed transaction is there", what);
            }
        }
        Ok(())
    }
}

/// The transactions of a producer that a marker behind these entries ends.
fn open(entries: &[Entry], producer: Producer) -> Vec<TransactionKey> {
    let since = entries
        .iter()
        .rev()
        .take_while(|entry| !matches!(entry, Entry::Marker(marked, _) if marked.id == producer.id));
    let mut keys: Vec<TransactionKey> = since
        .filter_map(|entry| match entry {
            Entry::Data(of, key) if of.id == producer.id => Some(*key),
            _ => None,
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
