//! Producer ids that have been granted to this coordinator, and the commands that wait for one.

use std::collections::VecDeque;

use ottla_protocol::{ProducerId, Ticket};

use super::command::Command;

/// Commands that wait for a producer id; more are refused.
const PARKED_MAX: usize = 10_000;

/// See the module. Invariant: while a command waits, no id lies idle; each waiting command has been asked for.
#[derive(Debug, Default)]
pub struct Ids {
    spare: VecDeque<ProducerId>,
    parked: VecDeque<(Ticket, Command)>,
}

impl Ids {
    /// Takes an id to use.
    pub fn take(&mut self) -> Option<ProducerId> {
        self.spare.pop_front()
    }

    /// Puts an id by.
    pub fn add(&mut self, id: ProducerId) {
        self.spare.push_back(id);
    }

    /// Lets a command wait; gives the ticket back where too many wait already.
    pub fn park(&mut self, ticket: Ticket, command: Command) -> Result<(), (Ticket, Command)> {
        if self.parked.len() >= PARKED_MAX {
            return Err((ticket, command));
        }
        self.parked.push_back((ticket, command));
        Ok(())
    }

    /// Takes the command that has waited longest.
    pub fn next_parked(&mut self) -> Option<(Ticket, Command)> {
        self.parked.pop_front()
    }

    /// Everybody who waits.
    pub fn take_tickets(&mut self) -> Vec<Ticket> {
        self.parked.drain(..).map(|(ticket, _)| ticket).collect()
    }
}
