//! What an API function gives back: the response, or questions whose replies it needs first.
//!
//! Waiting is a value: an [`Ask`] holds the commands, the deadline and the rest of the function as a closure, so a
//! handler reads from top to bottom without being `async`.

use ottla_log::Slice;
use ottla_partition::Reply;

use ottla_protocol::codec::{EncodeError, Writer};
use ottla_protocol::time::Deadline;
use ottla_protocol::{Message, PartitionId};

use crate::context::Context;
use crate::{control, coordinators};

/// The outcome of an API function.
pub enum Answer<T> {
    /// Send this.
    Reply(Response<T>),
    /// Ask others first.
    Ask(Ask<T>),
    /// Send nothing: Produce with acks=0.
    Silent,
    /// Close the connection, for this reason.
    Close(&'static str),
}

/// A response body and the slices of files that fill the gaps in its records.
pub struct Response<T> {
    /// The message.
    pub body: T,
    /// For gap `slot`: the slices that stand there, in order.
    pub slices: Vec<Vec<Slice>>,
}

/// Questions to others, and how to go on when the replies are in.
pub struct Ask<T> {
    /// What is asked; replies come back under the same index.
    pub questions: Vec<Question>,
    /// How many replies are enough.
    pub until: Until,
    /// When to go on with what has come.
    pub deadline: Option<Deadline>,
    /// Whether the connection's next requests have to wait.
    pub behind: Behind,
    /// The rest of the function.
    pub then: Then<T>,
}

/// What becomes of requests that have come behind one in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Those may begin of which [`crate::session`] says so: what they ask comes behind what this one has asked.
    MayBegin,
    /// None begins, for what this one has still to ask must come before what they ask.
    Waits,
}

/// The rest of an API function: from replies to the next answer.
pub type Then<T> = Box<dyn FnOnce(&mut Context<'_>, Replies) -> Answer<T>>;

/// How many replies an [`Ask`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// All of them.
    All,
    /// The first one.
    Any,
    /// None: only the deadline counts.
    Deadline,
}

/// One question of an [`Ask`].
pub enum Question {
    /// To the owner of a partition.
    Partition(PartitionId, ottla_partition::Question),
    /// To the coordinator that stands on a partition.
    Coordinator(PartitionId, coordinators::Command),
    /// To the node's control.
    Control(control::Command),
}

/// One reply to a [`Question`].
#[derive(Debug)]
pub enum Answered {
    /// From a partition.
    Partition(Reply),
    /// From a coordinator.
    Coordinator(Box<coordinators::Reply>),
    /// From control.
    Control(control::Reply),
}

/// Replies by the index of their question; `None` where none came in time.
#[derive(Debug, Default)]
pub struct Replies(pub Vec<Option<Answered>>);

impl Replies {
    /// The partition's reply to question `index`.
    pub fn partition(&mut self, index: usize) -> Option<Reply> {
        match self.0.get_mut(index).and_then(Option::take) {
            Some(Answered::Partition(reply)) => Some(reply),
            _ => None,
        }
    }

    /// The coordinator's reply to question `index`.
    pub fn coordinator(&mut self, index: usize) -> Option<coordinators::Reply> {
        match self.0.get_mut(index).and_then(Option::take) {
            Some(Answered::Coordinator(reply)) => Some(*reply),
            _ => None,
        }
    }

    /// Control's reply to question `index`.
    pub fn control(&mut self, index: usize) -> Option<control::Reply> {
        match self.0.get_mut(index).and_then(Option::take) {
            Some(Answered::Control(reply)) => Some(reply),
            _ => None,
        }
    }
}

/// A message whose type is no longer of interest: it only has to be written.
pub trait Encodable {
    /// Writes the message at `version`.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

impl<M: Message> Encodable for M {
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        Message::encode(self, writer, version)
    }
}

impl<T> Answer<T> {
    /// A response without records from files.
    pub fn reply(body: T) -> Self {
        Self::Reply(Response { body, slices: Vec::new() })
    }

    /// Asks and goes on when every reply is in, or at the deadline.
    pub fn ask_all(
        questions: Vec<Question>,
        deadline: Option<Deadline>,
        then: impl FnOnce(&mut Context<'_>, Replies) -> Self + 'static,
    ) -> Self {
        Self::ask(questions, Until::All, deadline, then)
    }

    /// Asks and goes on with the first reply, or at the deadline.
    pub fn ask_any(
        questions: Vec<Question>,
        deadline: Option<Deadline>,
        then: impl FnOnce(&mut Context<'_>, Replies) -> Self + 'static,
    ) -> Self {
        Self::ask(questions, Until::Any, deadline, then)
    }

    /// Goes on at the deadline.
    pub fn pause(deadline: Deadline, then: impl FnOnce(&mut Context<'_>, Replies) -> Self + 'static) -> Self {
        Self::ask(Vec::new(), Until::Deadline, Some(deadline), then)
    }

    fn ask(
        questions: Vec<Question>,
        until: Until,
        deadline: Option<Deadline>,
        then: impl FnOnce(&mut Context<'_>, Replies) -> Self + 'static,
    ) -> Self {
        Self::Ask(Ask { questions, until, deadline, behind: Behind::MayBegin, then: Box::new(then) })
    }

    /// Lets the connection's next requests wait until this one asks nothing more, or asks again without this.
    #[must_use]
    pub fn alone(mut self) -> Self {
        if let Self::Ask(ask) = &mut self {
            ask.behind = Behind::Waits;
        }
        self
    }
}

impl<T: 'static> Answer<T> {
    /// Changes the response, now or when there is one.
    pub fn map(self, change: impl FnOnce(T) -> T + 'static) -> Self {
        match self {
            Self::Reply(response) => {
                Self::Reply(Response { body: change(response.body), slices: response.slices })
            }
            Self::Ask(ask) => {
                let then = ask.then;
                let then =
                    Box::new(move |context: &mut Context<'_>, replies| then(context, replies).map(change));
                Self::Ask(Ask {
                    questions: ask.questions,
                    until: ask.until,
                    deadline: ask.deadline,
                    behind: ask.behind,
                    then,
                })
            }
            Self::Silent => Self::Silent,
            Self::Close(why) => Self::Close(why),
        }
    }
}

impl<T: Message + 'static> Answer<T> {
    /// Forgets the type of the message.
    pub fn erase(self) -> Answer<Box<dyn Encodable>> {
        match self {
            Self::Reply(response) => {
                Answer::Reply(Response { body: Box::new(response.body), slices: response.slices })
            }
            Self::Ask(ask) => {
                let then = ask.then;
                Answer::Ask(Ask {
                    questions: ask.questions,
                    until: ask.until,
                    deadline: ask.deadline,
                    behind: ask.behind,
                    then: Box::new(move |context, replies| then(context, replies).erase()),
                })
            }
            Self::Silent => Answer::Silent,
            Self::Close(why) => Answer::Close(why),
        }
    }
}
