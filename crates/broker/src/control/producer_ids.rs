//! This node's block of producer ids: handed out one by one, with the next block fetched in time (KIP-730).

use std::collections::VecDeque;
use std::ops::Range;

use ottla_partition::Ticket;
use ottla_protocol::ProducerId;

use crate::core::CoreId;

/// The next block is fetched when a tenth of this one is left.
const PREFETCH_BELOW: i64 = 100;

/// Sessions that wait for an id; more are refused.
const WAITING_MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub struct ProducerIds {
    current: Range<i64>,
    next: Option<Range<i64>>,
    asked: bool,
    waiting: VecDeque<(CoreId, Ticket)>,
}

impl ProducerIds {
    /// Somebody wants an id. Gives the ticket back where too many wait already.
    pub fn want(&mut self, core: CoreId, ticket: Ticket) -> Result<(), (CoreId, Ticket)> {
        if self.waiting.len() >= WAITING_MAX {
            return Err((core, ticket));
        }
        self.waiting.push_back((core, ticket));
        Ok(())
    }

    /// Takes a waiting session with an id of its own.
    pub fn serve(&mut self) -> Option<(CoreId, Ticket, ProducerId)> {
        if self.waiting.is_empty() {
            return None;
        }
        if self.current.is_empty() {
            self.current = self.next.take()?;
        }
        let id = self.current.next()?;
        let (core, ticket) = self.waiting.pop_front()?;
        Some((core, ticket, ProducerId(id)))
    }

    /// Whether to ask the controller for a block now; asks once until it is answered.
    pub fn wants_block(&mut self) -> bool {
        let left = self.current.end - self.current.start;
        let low = self.next.is_none() && left < PREFETCH_BELOW && (left > 0 || !self.waiting.is_empty());
        if low && !self.asked {
            self.asked = true;
            return true;
        }
        false
    }

    /// The controller has given a block of `count` ids from `first` on, or nothing.
    pub fn granted(&mut self, block: Option<(i64, i32)>) {
        self.asked = false;
        if let Some((first, count)) = block {
            self.next = Some(first..first.saturating_add(i64::from(count)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(question: u64) -> Ticket {
        Ticket { asker: 0, question }
    }

    #[test]
    fn ids_are_handed_out_once_across_blocks() {
        let mut ids = ProducerIds::default();
        assert!(!ids.wants_block(), "nobody has asked yet");
        ids.want(CoreId(0), ticket(0)).unwrap();
        assert!(ids.serve().is_none());
        assert!(ids.wants_block());
        assert!(!ids.wants_block(), "one request at a time");
        ids.granted(Some((1000, 150)));
        let mut given = Vec::new();
        for question in 1..=200 {
            ids.want(CoreId(0), ticket(question)).unwrap();
        }
        loop {
            while let Some((_, _, id)) = ids.serve() {
                given.push(id.0);
            }
            if !ids.wants_block() {
                break;
            }
            ids.granted(Some((5000, 150)));
            if given.len() == 201 {
                break;
            }
        }
        assert_eq!(given.len(), 201);
        assert_eq!(given[..150], (1000..1150).collect::<Vec<_>>()[..]);
        assert_eq!(given[150..], (5000..5051).collect::<Vec<_>>()[..]);
    }
}
