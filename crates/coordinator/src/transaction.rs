//! The transaction coordinator: transactional ids and their transactions, on one partition of `__transaction_state`.
//!
//! Each id has one entry, and each step of it is one record. Markers in the partitions of a transaction are written by
//! others: the coordinator says which, and hears what has come of it. Invariant: a transaction whose end is decided has
//! an ending, which is gone on with until every partition has its marker or is gone.

mod command;
mod end;
mod ending;
mod entry;
mod ids;
mod init;
mod join;
mod listing;
mod record;
mod settings;
mod state;
mod upkeep;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::time::Deadline;
use ottla_protocol::{LeaderEpoch, ProducerId, Refusal, Ticket};

pub use command::{Command, Effect, Markers, MarkersWritten, Reply};
pub use entry::{Entry, Partitions};
pub use listing::{pattern, unknown_states};
pub use record::Record;
pub use settings::{Settings, TwoPhaseCommit};
pub use state::{State, TransactionVersion};

use crate::decider::{Around, Decider, Decision, Outcome, Producer, Written};
use crate::mutant::{Mutant, Planted};
use ending::Endings;
use ids::Ids;
use upkeep::Upkeep;

type Decided = Decision<Record, Reply, Effect>;

/// See the module.
#[derive(Debug)]
pub struct Transactions {
    /// The leader epoch of the partition: partitions refuse markers of earlier ones.
    epoch: LeaderEpoch,
    settings: Settings,
    /// What is in the log.
    entries: BTreeMap<Arc<str>, Entry>,
    endings: Endings,
    ids: Ids,
    upkeep: Upkeep,
    planted: Planted,
}

impl Transactions {
    /// A coordinator on a partition that is led in this epoch; its log is still to be read.
    #[must_use]
    pub fn new(epoch: LeaderEpoch, settings: Settings) -> Self {
        Self {
            epoch,
            settings,
            entries: BTreeMap::new(),
            endings: Endings::new(epoch),
            ids: Ids::default(),
            upkeep: Upkeep::default(),
            planted: Planted::default(),
        }
    }

    /// Plants a bug, for tests.
    pub fn plant(&mut self, planted: Planted) {
        self.planted = planted;
    }

    /// What is known of each transactional id.
    pub fn entries(&self) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        self.entries.iter()
    }

    /// Lets a command wait for a producer id.
    fn park(&mut self, ticket: Ticket, command: Command) -> Decided {
        match self.ids.park(ticket, command) {
            Ok(()) => Decision { effects: vec![Effect::ProducerId], ..Decision::nothing() },
            Err((ticket, command)) => {
                Decision::reply(ticket, refuse(&command, Refusal::CoordinatorLoadInProgress))
            }
        }
    }

    fn granted(&mut self, around: Around<'_>, granted: Result<ProducerId, Refusal>) -> Decided {
        let parked = self.ids.next_parked();
        match (granted, parked) {
            (Ok(id), parked) => {
                self.ids.add(id);
                let Some((ticket, command)) = parked else { return Decision::nothing() };
                self.decide(around, ticket, command)
            }
            (Err(refusal), Some((ticket, command))) => Decision::reply(ticket, refuse(&command, refusal)),
            (Err(_), None) => Decision::nothing(),
        }
    }

    /// Takes an id out of everything that knows of it.
    fn remove(&mut self, id: &Arc<str>) {
        let old = self.entries.remove(id);
        if let Some(times_out_ms) = old.and_then(|old| old.times_out_ms()) {
            self.upkeep.closed(id, times_out_ms);
        }
        self.endings.finish(id);
    }
}

impl Decider for Transactions {
    type Command = Command;
    type Reply = Reply;
    type Record = Record;
    type Effect = Effect;

    fn decide(&mut self, around: Around<'_>, ticket: Ticket, command: Command) -> Decided {
        match command {
            Command::InitProducerId(request) => self.init(around, ticket, request),
            Command::AddPartitions(version, transaction) => self.join(around, ticket, version, transaction),
            Command::End(version, request) => self.end(around, ticket, version, request),
            Command::Describe(id) => self.describe(ticket, id),
            Command::List(request) => self.list(around.now, ticket, &request),
            Command::ProducerIdGranted(granted) => self.granted(around, granted),
            Command::MarkersWritten(written) => self.marked(around, written),
        }
    }

    fn tick(&mut self, around: Around<'_>) -> Option<Decided> {
        self.go_on_ending(around).or_else(|| self.keep_up(around))
    }

    fn deadline(&self) -> Option<Deadline> {
        [self.endings.deadline(), self.upkeep.deadline()].into_iter().flatten().min()
    }

    fn apply(&mut self, _: Written, record: Record) {
        self.remove(record.id());
        let Record::Changed { id, entry, .. } = record else { return };
        if let Some(times_out_ms) = entry.times_out_ms() {
            self.upkeep.opened(&id, times_out_ms);
        }
        if let State::Prepare(_) = entry.state {
            self.endings.begin(&id, &entry.partitions);
        }
        self.entries.insert(id, *entry);
    }

    fn apply_marker(&mut self, _: Producer, _: Outcome) {
        // Nothing in this log is part of a transaction.
    }

    fn loaded(&mut self, around: Around<'_>) {
        if self.planted.has(Mutant::EndingsForgotten) {
            self.endings = Endings::new(self.epoch);
        }
        self.begin_upkeep(around.now);
    }

    fn unwritten(&mut self, around: Around<'_>, records: Vec<Record>, _: Refusal) -> Vec<(Ticket, Reply)> {
        for record in records {
            if matches!(&record, Record::Changed { entry, .. } if matches!(entry.state, State::Complete(_))) {
                self.rewrite(around, record.id());
            }
        }
        Vec::new()
    }

    fn take_tickets(&mut self) -> Vec<Ticket> {
        self.ids.take_tickets()
    }

    fn whose(record: &Record) -> &str {
        record.id()
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Option<Record> {
        Record::decode(key, value)
    }

    fn encode(record: &Record) -> (Bytes, Option<Bytes>) {
        record.encode()
    }
}

/// The record of a step, in the version that the cluster writes.
fn changed(around: Around<'_>, id: &Arc<str>, entry: Entry) -> Record {
    let version = TransactionVersion::of(around.image).record_version();
    Record::Changed { id: Arc::clone(id), entry: Box::new(entry), version }
}

/// No, in the shape of the answer to this command.
fn refuse(command: &Command, refusal: Refusal) -> Reply {
    match command {
        Command::InitProducerId(_) => init::refused(refusal),
        Command::End(..) => end::refused(refusal),
        _ => Reply::Refused(refusal),
    }
}
