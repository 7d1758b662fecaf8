//! What a coordinator is: a machine that decides on records, and changes by applying them.
//!
//! Only [`Decider::apply`] changes what is in the log. [`Decider::decide`] may change soft state alone: who waits for a
//! join, when a session ends. So a record that cannot be written has changed nothing, and a node that takes the
//! partition over reads the same state out of the log.

use ottla_metadata::Image;
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Offset, ProducerEpoch, ProducerId, Refusal, Ticket};

/// What a decider may know besides the command.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The present moment.
    pub now: Now,
    /// The cluster as this core knows it.
    pub image: &'a Image,
}

/// A machine on one partition of an internal topic. See the module.
pub trait Decider {
    /// What it can be told and asked.
    type Command;
    /// What it answers.
    type Reply: From<Refusal>;
    /// A record of its log.
    type Record;
    /// What it wants done by others once the records are committed.
    type Effect;

    /// Decides upon a command. The reply may come with a later decision: the ticket is then kept.
    fn decide(
        &mut self,
        around: Around<'_>,
        ticket: Ticket,
        command: Self::Command,
    ) -> Decision<Self::Record, Self::Reply, Self::Effect>;

    /// Decides what time has brought. Asked again until it has nothing more to say.
    fn tick(&mut self, around: Around<'_>) -> Option<Decision<Self::Record, Self::Reply, Self::Effect>>;

    /// When it wants to be asked again by [`Decider::tick`].
    fn deadline(&self) -> Option<Deadline>;

    /// Takes in a record of the log: one just appended, or an old one while loading.
    fn apply(&mut self, written: Written, record: Self::Record);

    /// Takes in the end of a transaction whose records stand in this log.
    fn apply_marker(&mut self, producer: Producer, outcome: Outcome);

    /// The log has been read to its end: from now on commands come.
    fn loaded(&mut self, around: Around<'_>);

    /// The records of a decision could not be appended; its tickets are refused by the host. Soft state that
    /// counted on them is put right here, and others who waited for them are answered.
    fn unwritten(
        &mut self,
        around: Around<'_>,
        records: Vec<Self::Record>,
        refusal: Refusal,
    ) -> Vec<(Ticket, Self::Reply)>;

    /// Leadership has moved: everybody who waits.
    fn take_tickets(&mut self) -> Vec<Ticket>;

    /// Whose record it is, as log lines name it: a group, a transactional id.
    fn whose(record: &Self::Record) -> &str;

    /// A record out of the log; `None` for those that this version does not know and passes over.
    fn decode(key: &[u8], value: Option<&[u8]>) -> Option<Self::Record>;

    /// Key and value of a record; a value of `None` is a tombstone.
    fn encode(record: &Self::Record) -> (bytes::Bytes, Option<bytes::Bytes>);
}

/// What a decider has decided: written and answered as a whole, or not at all.
#[derive(Debug)]
pub struct Decision<Record, Reply, Effect> {
    /// To be appended in one batch, no larger than the topic's `max.message.bytes`: more is said bit by bit, by
    /// [`Decider::tick`].
    pub records: Vec<Record>,
    /// The batch is part of this producer's transaction.
    pub transaction: Option<Producer>,
    /// To be sent when all that has been written so far is committed; so nobody hears of anything that could be lost.
    pub replies: Vec<(Ticket, Reply)>,
    /// To be done when the records are committed.
    pub effects: Vec<Effect>,
}

/// A producer in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Producer {
    /// Its id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

/// How a transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All of it counts.
    Committed,
    /// None of it counts.
    Aborted,
}

/// Where and when a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its offset.
    pub offset: Offset,
    /// Its batch's time.
    pub timestamp_ms: i64,
    /// The transaction that it is part of.
    pub transaction: Option<Producer>,
}

impl<Record, Reply, Effect> Decision<Record, Reply, Effect> {
    /// Nothing to write, nobody to answer: the ticket is kept.
    #[must_use]
    pub fn nothing() -> Self {
        Self { records: Vec::new(), transaction: None, replies: Vec::new(), effects: Vec::new() }
    }

    /// Only an answer.
    pub fn reply(ticket: Ticket, reply: impl Into<Reply>) -> Self {
        Self { replies: vec![(ticket, reply.into())], ..Self::nothing() }
    }

    /// Records, and an answer when they are committed.
    pub fn write(records: Vec<Record>, ticket: Ticket, reply: impl Into<Reply>) -> Self {
        Self { records, ..Self::reply(ticket, reply) }
    }
}
