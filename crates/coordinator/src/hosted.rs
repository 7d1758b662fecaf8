//! A decider and its log: loads it, has its decisions written, and lets nobody hear of what could be lost.
//!
//! It touches no disk: it is handed the bytes of its log while loading, and a [`Journal`] to append to afterwards.
//! Invariants: everything below [`Hosted::next`] has been applied; a reply or effect leaves when everything that had
//! been appended when it was decided lies below the high watermark.

mod replay;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use ottla_protocol::batch::{Attributes, BatchBuilder, BatchFields, RecordParts, StampedBatch};
use ottla_protocol::compression::{Codecs, Effort};
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Offset, Refusal, Ticket};

use crate::decider::{Around, Decider, Decision, Producer, Written};
use crate::mutant::{Mutant, Planted};

/// How long a decider rests after a decision of its own that could not be written, in ms.
const AFTER_UNWRITTEN_MS: i64 = 500;

/// How long it rests when it wanted to be asked and had nothing to say, in ms.
const AFTER_NOTHING_MS: i64 = 10;

/// How many decisions of its own a decider may make before others have their turn.
const DECISIONS_AT_ONCE: usize = 32;

/// Decisions that wait for the high watermark at once: many more than there are clients, unless a disk or a replica hangs
/// and clients come again and again.
const WAITING_MAX: usize = 100_000;

/// Where a coordinator's records go: the partition that it stands on.
pub trait Journal {
    /// Appends a batch behind the last; gives the offset of its first record.
    ///
    /// # Errors
    /// The partition's refusal; nothing has been appended then.
    fn append(&mut self, batch: StampedBatch) -> Result<Offset, Refusal>;

    /// The partition, as log lines name it.
    fn name(&self) -> String;
}

/// What may leave now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released<Reply, Effect> {
    /// This is the reply to a ticket.
    Reply(Ticket, Reply),
    /// This is to be done.
    Effect(Effect),
}

/// See the module.
pub struct Hosted<D: Decider> {
    decider: D,
    /// How batches are compressed.
    effort: Effort,
    codecs: Codecs,
    stage: Stage,
    /// Everything below has been applied.
    next: Offset,
    high_watermark: Offset,
    /// By rising offset: what waits until the high watermark has come there.
    waiting: VecDeque<Waiting<D>>,
    released: VecDeque<Released<D::Reply, D::Effect>>,
    /// The decider is not asked for decisions of its own before this.
    rests_until: Option<Deadline>,
    planted: Planted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The log is being read; nobody is served.
    Loading,
    Serving,
}

struct Waiting<D: Decider> {
    until: Offset,
    replies: Vec<(Ticket, D::Reply)>,
    effects: Vec<D::Effect>,
}

impl<D: Decider> Hosted<D> {
    /// A coordinator that has read nothing of its log yet, which begins at `start`.
    #[must_use]
    pub fn new(decider: D, start: Offset, effort: Effort) -> Self {
        Self {
            decider,
            effort,
            codecs: Codecs::new(),
            stage: Stage::Loading,
            next: start,
            high_watermark: start,
            waiting: VecDeque::new(),
            released: VecDeque::new(),
            rests_until: None,
            planted: Planted::default(),
        }
    }

    /// Plants a bug, for tests.
    pub fn plant(&mut self, planted: Planted) {
        self.planted = planted;
    }

    /// The first offset that has not been applied.
    #[must_use]
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Whether the log is still being read.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.stage == Stage::Loading
    }

    /// The decider, to look at.
    #[must_use]
    pub fn decider(&self) -> &D {
        &self.decider
    }

    /// The log has been read to its end: commands are taken from now on.
    pub fn loaded(&mut self, around: Around<'_>) {
        if self.stage == Stage::Loading {
            self.stage = Stage::Serving;
            self.decider.loaded(around);
        }
    }

    /// Takes a command to its end, but for the reply: see [`Hosted::next_released`].
    pub fn ask(
        &mut self,
        around: Around<'_>,
        journal: &mut dyn Journal,
        ticket: Ticket,
        command: D::Command,
    ) {
        if self.is_loading() {
            self.released.push_back(Released::Reply(ticket, Refusal::CoordinatorLoadInProgress.into()));
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            self.released.push_back(Released::Reply(ticket, Refusal::CoordinatorNotAvailable.into()));
            return;
        }
        let decision = self.decider.decide(around, ticket, command);
        self.carry_out(around, journal, decision);
        if self.deadline().is_some_and(|deadline| around.now.reached(deadline)) {
            // One decision may be the cause of another.
            self.tick(around, journal);
        }
    }

    /// When it wants [`Hosted::tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        if self.is_loading() {
            return None;
        }
        let due = self.decider.deadline()?;
        Some(self.rests_until.map_or(due, |rest| due.max(rest)))
    }

    /// Carries out what time has brought.
    pub fn tick(&mut self, around: Around<'_>, journal: &mut dyn Journal) {
        if self.is_loading() || self.rests_until.is_some_and(|rest| !around.now.reached(rest)) {
            return;
        }
        self.rests_until = None;
        for _ in 0..DECISIONS_AT_ONCE {
            let Some(decision) = self.decider.tick(around) else {
                // Whoever has nothing to say at his time is not asked again within the same moment.
                let is_due = self.decider.deadline().is_some_and(|due| around.now.reached(due));
                self.rests_until = is_due.then(|| around.now.after_ms(AFTER_NOTHING_MS));
                return;
            };
            if !self.carry_out(around, journal, decision) {
                // The same would be decided again at once, and would fail again.
                self.rests_until = Some(around.now.after_ms(AFTER_UNWRITTEN_MS));
                return;
            }
        }
    }

    /// The high watermark is here now.
    pub fn advance(&mut self, high_watermark: Offset) {
        self.high_watermark = self.high_watermark.max(high_watermark);
        while self.waiting.front().is_some_and(|waiting| waiting.until <= self.high_watermark) {
            if let Some(Waiting { replies, effects, .. }) = self.waiting.pop_front() {
                self.release(replies, effects);
            }
        }
    }

    /// Takes something that may leave.
    pub fn next_released(&mut self) -> Option<Released<D::Reply, D::Effect>> {
        self.released.pop_front()
    }

    /// Gives up: the partition is led elsewhere. Everybody who still waits is to be refused.
    #[must_use]
    pub fn unload(mut self) -> Vec<Ticket> {
        if self.planted.has(Mutant::HeldRepliesForgotten) {
            self.waiting.clear();
        }
        let held = self.waiting.into_iter().flat_map(|waiting| waiting.replies);
        let mut tickets: Vec<Ticket> = held.map(|(ticket, _)| ticket).collect();
        tickets.extend(self.released.into_iter().filter_map(|released| match released {
            Released::Reply(ticket, _) => Some(ticket),
            Released::Effect(_) => None,
        }));
        tickets.extend(self.decider.take_tickets());
        tickets
    }

    /// Writes a decision down and holds what follows from it; whether it could be written.
    fn carry_out(
        &mut self,
        around: Around<'_>,
        journal: &mut dyn Journal,
        decision: Decision<D::Record, D::Reply, D::Effect>,
    ) -> bool {
        let Decision { records, transaction, replies, effects } = decision;
        if records.is_empty() && self.planted.has(Mutant::ReadsDoNotWait) {
            self.release(replies, effects);
            return true;
        }
        if !records.is_empty() {
            match self.append(around.now, journal, &records, transaction) {
                Ok(first) => self.apply(around.now, first, records, transaction),
                Err(refusal) => {
                    let (partition, refusal_name) = (journal.name(), refusal.name());
                    tracing::warn!(
                        partition,
                        whose = whose::<D>(&records),
                        refusal = refusal_name,
                        "a coordinator's records could not be written"
                    );
                    let refusal = as_told(refusal);
                    let refused = replies.into_iter().map(|(ticket, _)| (ticket, refusal.into()));
                    self.release(refused.collect(), Vec::new());
                    // What is said to others may follow from what is not on the disk yet.
                    let replies = self.decider.unwritten(around, records, refusal);
                    self.hold(replies, Vec::new());
                    return false;
                }
            }
        }
        self.hold(replies, effects);
        true
    }

    fn append(
        &mut self,
        now: Now,
        journal: &mut dyn Journal,
        records: &[D::Record],
        transaction: Option<Producer>,
    ) -> Result<Offset, Refusal> {
        let mut builder = BatchBuilder::new();
        for record in records {
            let (key, value) = D::encode(record);
            let parts = RecordParts {
                timestamp: now.wall_ms,
                key: Some(&key),
                value: value.as_deref(),
                ..RecordParts::default()
            };
            builder.append(&parts).map_err(|_| Refusal::RecordListTooLarge)?;
        }
        let mut fields = BatchFields { effort: self.effort, ..BatchFields::default() };
        if let Some(producer) = transaction {
            fields.attributes = Attributes::default().transactional();
            fields.producer_id = producer.id;
            fields.producer_epoch = producer.epoch;
        }
        journal.append(builder.finish(&fields, &mut self.codecs))
    }

    fn apply(&mut self, now: Now, first: Offset, records: Vec<D::Record>, transaction: Option<Producer>) {
        for (offset, record) in (first.0..).map(Offset).zip(records) {
            self.next = offset.plus(1);
            self.decider.apply(Written { offset, timestamp_ms: now.wall_ms, transaction }, record);
        }
    }

    /// Lets replies and effects go when all that has been appended so far is committed.
    fn hold(&mut self, replies: Vec<(Ticket, D::Reply)>, effects: Vec<D::Effect>) {
        if replies.is_empty() && effects.is_empty() {
            return;
        }
        if self.next <= self.high_watermark || self.planted.has(Mutant::RepliesBeforeCommitted) {
            self.release(replies, effects);
        } else {
            self.waiting.push_back(Waiting { until: self.next, replies, effects });
        }
    }

    fn release(&mut self, replies: Vec<(Ticket, D::Reply)>, effects: Vec<D::Effect>) {
        let replies = replies.into_iter().map(|(ticket, reply)| Released::Reply(ticket, reply));
        self.released.extend(replies.chain(effects.into_iter().map(Released::Effect)));
    }
}

/// Who is named where records could not be written.
fn whose<D: Decider>(records: &[D::Record]) -> String {
    let mut names = records.iter().map(D::whose);
    let first = names.next().unwrap_or_default();
    if names.all(|name| name == first) { first.to_owned() } else { format!("{first} and others") }
}

/// What a client of a coordinator hears when the partition has refused an append, as Kafka translates it.
#[must_use]
pub fn as_told(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::UnknownTopicOrPartition | Refusal::NotEnoughReplicas | Refusal::RequestTimedOut => {
            Refusal::CoordinatorNotAvailable
        }
        Refusal::NotLeaderOrFollower | Refusal::KafkaStorageError => Refusal::NotCoordinator,
        Refusal::MessageTooLarge | Refusal::RecordListTooLarge | Refusal::InvalidFetchSize => {
            Refusal::UnknownServerError
        }
        other => other,
    }
}
