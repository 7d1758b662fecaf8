//! A group coordinator on a log in memory, with a clock that is turned by hand. What is decided is committed at once,
//! unless the log refuses it.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_coordinator::group::{Command, Decided, Groups, Record, Reply};
use ottla_coordinator::{Around, Decider, Written};
use ottla_metadata::Image;
use ottla_metadata::config::Settings;
use ottla_protocol::{Now, Offset, Refusal, Ticket};

/// See the module.
pub struct Host {
    settings: BTreeMap<String, String>,
    pub groups: Groups,
    pub now: Now,
    pub log: Vec<(Bytes, Option<Bytes>)>,
    tickets: u64,
    /// The log takes nothing.
    pub refuses: bool,
}

/// What came of something.
#[derive(Default)]
pub struct Outcome {
    pub records: Vec<Record>,
    pub replies: Vec<(u64, Reply)>,
}

impl Host {
    pub fn new(settings: BTreeMap<String, String>, image: &Image) -> Self {
        let mut host = Self {
            groups: Groups::new(Settings::new(settings.clone()).unwrap(), 1),
            settings,
            now: Now { monotonic_us: 1_000_000, wall_ms: 1_700_000_000_000 },
            log: Vec::new(),
            tickets: 0,
            refuses: false,
        };
        host.groups.loaded(Around { now: host.now, image });
        host
    }

    /// Asks; the reply has the number that is returned.
    pub fn ask(&mut self, image: &Image, command: Command) -> (u64, Outcome) {
        self.tickets += 1;
        let ticket = Ticket { asker: 0, question: self.tickets };
        let decided = self.groups.decide(Around { now: self.now, image }, ticket, command);
        let mut outcome = Outcome::default();
        self.carry_out(image, decided, &mut outcome);
        self.tick(image, &mut outcome);
        (self.tickets, outcome)
    }

    fn tick(&mut self, image: &Image, outcome: &mut Outcome) {
        for _ in 0..10_000 {
            if !self.groups.deadline().is_some_and(|deadline| self.now.reached(deadline)) {
                return;
            }
            match self.groups.tick(Around { now: self.now, image }) {
                Some(decided) => self.carry_out(image, decided, outcome),
                None => return,
            }
        }
        panic!("it always has something to say");
    }

    fn carry_out(&mut self, image: &Image, decided: Decided, outcome: &mut Outcome) {
        let mut replies: Vec<(u64, Reply)> =
            decided.replies.into_iter().map(|(ticket, reply)| (ticket.question, reply)).collect();
        if self.refuses && !decided.records.is_empty() {
            let refusal = Refusal::NotCoordinator;
            for (_, reply) in &mut replies {
                *reply = Reply::Refused(refusal);
            }
            let around = Around { now: self.now, image };
            let more = self.groups.unwritten(around, decided.records, refusal);
            replies.extend(more.into_iter().map(|(ticket, reply)| (ticket.question, reply)));
            outcome.replies.extend(replies);
            return;
        }
        for record in decided.records {
            let (key, value) = Groups::encode(&record);
            assert_eq!(Groups::decode(&key, value.as_deref()).as_ref(), Some(&record));
            let offset = Offset(i64::try_from(self.log.len()).unwrap());
            self.log.push((key, value));
            outcome.records.push(record.clone());
            let timestamp_ms = self.now.wall_ms;
            self.groups.apply(Written { offset, timestamp_ms, transaction: decided.transaction }, record);
        }
        outcome.replies.extend(replies);
    }

    /// Time passes; what happens meanwhile happens at its time, and is told with it.
    pub fn wait(&mut self, image: &Image, ms: u64) -> Vec<(u64, Outcome)> {
        let (start, until) = (self.now.monotonic_us, self.now.monotonic_us + ms * 1000);
        let mut happened = Vec::new();
        for _ in 0..100_000 {
            let next = self.groups.deadline().map_or(until, |d| d.0.clamp(self.now.monotonic_us, until));
            let passed = i64::try_from((next - self.now.monotonic_us) / 1000).unwrap();
            self.now = Now { monotonic_us: next, wall_ms: self.now.wall_ms + passed };
            let mut outcome = Outcome::default();
            self.tick(image, &mut outcome);
            if !outcome.records.is_empty() || !outcome.replies.is_empty() {
                happened.push(((next - start) / 1000, outcome));
            }
            let is_due = self.groups.deadline().is_some_and(|deadline| self.now.reached(deadline));
            if next >= until && !is_due {
                return happened;
            }
        }
        panic!("time stands still");
    }

    /// Another node reads the log.
    pub fn restart(&mut self, image: &Image) -> Outcome {
        let refused = self.groups.take_tickets().into_iter();
        let replies = refused.map(|ticket| (ticket.question, Reply::Refused(Refusal::NotCoordinator)));
        let mut outcome = Outcome { records: Vec::new(), replies: replies.collect() };
        self.groups = self.reload(image, self.log.iter());
        self.tick(image, &mut outcome);
        outcome
    }

    /// What a node reads out of these records.
    pub fn reload<'a>(&self, image: &Image, log: impl Iterator<Item = &'a (Bytes, Option<Bytes>)>) -> Groups {
        let mut groups = Groups::new(Settings::new(self.settings.clone()).unwrap(), self.tickets + 100);
        for (offset, (key, value)) in (0..).zip(log) {
            let record = Groups::decode(key, value.as_deref()).unwrap();
            let written =
                Written { offset: Offset(offset), timestamp_ms: self.now.wall_ms, transaction: None };
            groups.apply(written, record);
        }
        groups.loaded(Around { now: self.now, image });
        groups
    }

    /// The log as compaction leaves it: the last record of each key, tombstones and all.
    pub fn compacted(&self) -> Vec<(Bytes, Option<Bytes>)> {
        let last: BTreeMap<&Bytes, usize> =
            self.log.iter().enumerate().map(|(at, (key, _))| (key, at)).collect();
        let is_last = |(at, (key, _)): &(usize, &(Bytes, Option<Bytes>))| last[key] == *at;
        self.log.iter().enumerate().filter(is_last).map(|(_, record)| record.clone()).collect()
    }
}
