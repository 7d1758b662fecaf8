//! Every request is answered once and in time, unless its connection is closed: nobody is forgotten.

use std::collections::BTreeMap;

use ottla_protocol::Ticket;

use super::{Asked, Violation, violation};

/// Remembers who waits.
#[derive(Debug, Default)]
pub struct Answers {
    waiting: BTreeMap<Ticket, Asked>,
}

/// The longest that a request may wait, in µs: for others to join, or to be expelled, and once again.
const LONGEST_US: u64 = 40_000_000;

impl Answers {
    /// A request has reached the coordinator.
    pub fn asked(&mut self, ticket: Ticket, asked: Asked) {
        self.waiting.insert(ticket, asked);
    }

    /// It is answered.
    ///
    /// # Errors
    /// If nobody waits for this.
    pub fn answered(&mut self, ticket: Ticket) -> Result<Asked, Violation> {
        self.waiting.remove(&ticket).ok_or_else(|| Violation {
            invariant: "every request is answered once",
            what: format!("{ticket:?} is answered, but nobody waits"),
        })
    }

    /// The coordinator is gone, and all connections with it.
    pub fn gone(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.waiting).into_values().collect()
    }

    /// The coordinator has resigned, and refuses these.
    ///
    /// # Errors
    /// If it has forgotten somebody, or names somebody who does not wait.
    pub fn resigned(&mut self, mut tickets: Vec<Ticket>) -> Result<Vec<Asked>, Violation> {
        tickets.sort_unstable();
        if !tickets.iter().eq(self.waiting.keys()) {
            let what = format!("those who wait: {:?}, those who are told: {tickets:?}", self.waiting);
            violation("whoever resigns refuses everybody who waits", what)?;
        }
        Ok(self.gone())
    }

    /// Looks whether somebody waits for too long.
    ///
    /// # Errors
    /// If somebody does.
    pub fn in_time(&self, now_us: u64) -> Result<(), Violation> {
        let late = self.waiting.values().find(|asked| asked.at_us + LONGEST_US < now_us);
        late.map_or(Ok(()), |asked| {
            violation("every request is answered in time", format!("at {now_us} still {asked:?}"))
        })
    }
}
