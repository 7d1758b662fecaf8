//! No two processes are the same producer, and whoever has been replaced commits nothing any more.

use std::collections::BTreeMap;

use ottla_coordinator::Producer;

use super::{Violation, violation};

/// Remembers who was told to be which producer.
#[derive(Debug, Default)]
pub struct Producers {
    owners: BTreeMap<Producer, (usize, u64)>,
    /// By name: the process that was given a producer last.
    newest: BTreeMap<usize, (usize, u64)>,
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

    /// A process has been given its producer: those before it are fenced from now on.
    pub fn began(&mut self, name: usize, process: (usize, u64)) {
        self.newest.insert(name, process);
    }

    /// A process is told that its transaction is committed.
    ///
    /// # Errors
    /// If it was fenced before it asked.
    pub fn committed(
        &self,
        process: (usize, u64),
        newest_when_asked: Option<(usize, u64)>,
    ) -> Result<(), Violation> {
        match newest_when_asked {
            Some(newest) if newest != process => {
                let what = format!("{process:?} commits after {newest:?} has begun");
                violation("whoever is fenced commits nothing", what)
            }
            _ => Ok(()),
        }
    }

    /// The process of this name that was given a producer last.
    #[must_use]
    pub fn newest(&self, name: usize) -> Option<(usize, u64)> {
        self.newest.get(&name).copied()
    }
}
