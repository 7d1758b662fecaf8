//! Tickets that wait for an offset: produce requests for the high watermark, fetches for growth.

use std::collections::{BTreeMap, VecDeque};

use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Offset, Ticket};

use crate::input::Isolation;
use crate::output::Appended;

/// Who waits for what. Deadlines are kept by the askers, who ignore a reply that comes too late.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Appends, by rising offset, until the high watermark reaches `until`.
    appends: VecDeque<(Offset, Ticket, Appended)>,
    /// Readers by asker, at most one for each. Those of sessions that are gone are forgotten after their deadline.
    readers: BTreeMap<u64, Reader>,
}

#[derive(Debug)]
struct Reader {
    ticket: Ticket,
    beyond: Offset,
    isolation: Isolation,
    until: Deadline,
}

impl Waiting {
    /// Parks an append until the high watermark has come to `until`.
    pub fn park_append(&mut self, until: Offset, ticket: Ticket, appended: Appended) {
        // A batch that is sent again waits for what it waited for the first time, which may come before others.
        let place = self.appends.partition_point(|(other, ..)| *other <= until);
        self.appends.insert(place, (until, ticket, appended));
    }

    /// Parks a reader; an older wait of the same asker ends silently.
    pub fn park_reader(&mut self, ticket: Ticket, beyond: Offset, isolation: Isolation, until: Deadline) {
        self.readers.insert(ticket.asker, Reader { ticket, beyond, isolation, until });
    }

    /// Forgets readers whose time is up: their sessions have gone on, or are gone.
    pub fn forget_late(&mut self, now: Now) {
        self.readers.retain(|_, reader| !now.reached(reader.until));
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
            .extract_if(.., |_, reader| end(reader.isolation) > reader.beyond)
            .map(|(_, reader)| reader.ticket)
            .collect()
    }

    /// Takes everybody: leadership has moved.
    pub fn take_all(&mut self) -> Vec<Ticket> {
        let appends = self.appends.drain(..).map(|(_, ticket, _)| ticket);
        let readers = std::mem::take(&mut self.readers);
        appends.chain(readers.into_values().map(|reader| reader.ticket)).collect()
    }
}
