//! No two processes are the same producer, and whoever has been replaced commits nothing any more.

use std::collections::BTreeMap;

use ottla_coordinator::Producer;

use super::{Violation, violation};

/// Remembers who was told to be which producer.
#[derive(Debug, Default)]
pub struct Producers {
    owners: BTreeMap<Producer, (usize, u64)>,
    /// The newest process of each client that has been given a producer.
    newest: BTreeMap<usize, u64>,
}

impl Producers {
    /// A process is told that it is this producer.
    ///
    /// # Errors
    /// If another was told the same.
    pub fn told(&mut self, producer: Producer, process: (usize, u64)) -> Result<(), Violation> {
        let first = *self.owners.entry(producer).or_insert(process);
        if first != process {
            let what = format!("{producer:?} is {first:?} and {process:?}");
            return violation("no two processes are the same producer", what);
        }
        Ok(())
    }

    /// A process has begun: those before it are fenced from now on.
    pub fn began(&mut self, (client, process): (usize, u64)) {
        let newest = self.newest.entry(client).or_insert(process);
        *newest = (*newest).max(process);
    }

    /// A process is told that its transaction is committed.
    ///
    /// # Errors
    /// If it was fenced before it asked.
    pub fn committed(
        &self,
        (client, process): (usize, u64),
        newest_when_asked: u64,
    ) -> Result<(), Violation> {
        if newest_when_asked > process {
            let what =
                format!("process {process} of client {client} commits after {newest_when_asked} has begun");
            return violation("whoever is fenced commits nothing", what);
        }
        Ok(())
    }

    /// The newest process of a client.
    #[must_use]
    pub fn newest(&self, client: usize) -> u64 {
        self.newest.get(&client).copied().unwrap_or(0)
    }
}
