//! Tickets that wait for an offset: produce requests for the high watermark, fetches for growth.

use std::collections::VecDeque;

use ottla_protocol::Offset;

use crate::input::{Isolation, Ticket};
use crate::output::Appended;

/// Who waits for what. Deadlines are kept by the askers, who ignore a reply that comes too late.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Appends, by rising offset, until the high watermark reaches `until`.
    appends: VecDeque<(Offset, Ticket, Appended)>,
    /// Readers; at most one for each asker, so their number is bounded by that of the sessions.
    readers: Vec<Reader>,
}

#[derive(Debug)]
struct Reader {
    ticket: Ticket,
    beyond: Offset,
    isolation: Isolation,
}

impl Waiting {
    /// Parks an append until the high watermark has come to `until`.
    pub fn park_append(&mut self, until: Offset, ticket: Ticket, appended: Appended) {
        debug_assert!(self.appends.back().is_none_or(|(last, ..)| *last <= until));
        self.appends.push_back((until, ticket, appended));
    }

    /// Parks a reader; an older wait of the same asker ends silently.
    pub fn park_reader(&mut self, ticket: Ticket, beyond: Offset, isolation: Isolation) {
        self.readers.retain(|reader| reader.ticket.asker != ticket.asker);
        self.readers.push(Reader { ticket, beyond, isolation });
    }

    /// Takes an append that the high watermark has reached.
    pub fn next_acknowledged(&mut self, high_watermark: Offset) -> Option<(Ticket, Appended)> {
        if self.appends.front()?.0 > high_watermark {
            return None;
        }
        self.appends.pop_front().map(|(_, ticket, appended)| (ticket, appended))
    }

    /// Takes every reader that can now see more.
    pub fn take_grown(&mut self, high_watermark: Offset, last_stable: Offset) -> Vec<Ticket> {
        if self.readers.is_empty() {
            return Vec::new();
        }
        let end = |isolation| match isolation {
            Isolation::ReadUncommitted => high_watermark,
            Isolation::ReadCommitted => last_stable,
        };
        self.readers
            .extract_if(.., |reader| end(reader.isolation) > reader.beyond)
            .map(|reader| reader.ticket)
            .collect()
    }

    /// Takes everybody: leadership has moved.
    pub fn take_all(&mut self) -> Vec<Ticket> {
        let appends = self.appends.drain(..).map(|(_, ticket, _)| ticket);
        appends.chain(self.readers.drain(..).map(|reader| reader.ticket)).collect()
    }
}
