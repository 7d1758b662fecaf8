//! One client connection: which requests are in progress, what they wait for, and in which order they are answered.
//!
//! Responses leave in the order in which the requests came. A request is begun only when those before it are done,
//! but Produce may follow Produce as soon as that has asked for its appends: these reach a partition in the order in
//! which they were asked.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ottla_metadata::Image;
use ottla_partition::Ticket;
use ottla_protocol::compression::Codecs;
use ottla_protocol::time::Deadline;
use ottla_protocol::{ApiKey, Now};

use crate::answer::{Answer, Answered, Ask, Behind, Encodable, Question, Replies, Response, Then, Until};
use crate::api;
use crate::context::Context;
use crate::core::{Chunk, CoreId, SessionId};
use crate::fetch_session::FetchSession;
use crate::frame;
use crate::node::Node;
use crate::topics::Topics;

/// Frames that have come but are not yet begun; a client that sends more is disconnected. The server stops reading
/// from a connection long before.
const QUEUED_FRAMES_MAX: usize = 10_000;

/// Produce requests of one connection in progress at once.
const IN_PROGRESS_MAX: usize = 64;

/// What the core lends a session while it acts.
pub struct Surroundings<'a> {
    /// The present moment.
    pub now: Now,
    /// The cluster.
    pub image: &'a Arc<Image>,
    /// This node.
    pub node: &'a Arc<Node>,
    /// Topic settings.
    pub topics: &'a mut Topics,
    /// Compressors, with their contexts.
    pub codecs: &'a mut Codecs,
}

/// See the module.
pub struct Session {
    core: CoreId,
    id: SessionId,
    listener: usize,
    host: String,
    fetch_session: FetchSession,
    queued: VecDeque<Bytes>,
    /// In order of arrival.
    in_progress: VecDeque<InProgress>,
    next_request: u32,
    closing: Option<&'static str>,
}

/// A request that has been begun.
struct InProgress {
    number: u32,
    head: frame::Head,
    state: State,
}

enum State {
    Waiting(Waiting),
    Done(Vec<Chunk>),
}

struct Waiting {
    replies: Vec<Option<Answered>>,
    missing: usize,
    deadline: Option<Deadline>,
    behind: Behind,
    then: Then<Box<dyn Encodable>>,
}

type Asks = Vec<(Ticket, Question)>;

impl Session {
    /// A connection that has just been made.
    #[must_use]
    pub fn new(core: CoreId, id: SessionId, listener: usize, host: String) -> Self {
        Self {
            core,
            id,
            listener,
            host,
            fetch_session: FetchSession::default(),
            queued: VecDeque::new(),
            in_progress: VecDeque::new(),
            next_request: 0,
            closing: None,
        }
    }

    /// The session that a ticket belongs to.
    #[must_use]
    pub fn of(ticket: Ticket) -> SessionId {
        SessionId(ticket.asker as u32)
    }

    /// The core that a ticket belongs to.
    #[must_use]
    pub fn core_of(ticket: Ticket) -> CoreId {
        CoreId((ticket.asker >> 32) as u16)
    }

    /// Takes a frame, and begins it if nothing stands before it.
    pub fn receive(&mut self, around: &mut Surroundings<'_>, frame: Bytes, asks: &mut Asks) {
        if self.queued.len() >= QUEUED_FRAMES_MAX {
            self.closing = Some("too many requests sent ahead");
            return;
        }
        self.queued.push_back(frame);
        self.advance(around, asks);
    }

    /// Takes a reply to one of this session's questions. Replies that come too late are dropped.
    pub fn answered(
        &mut self,
        around: &mut Surroundings<'_>,
        ticket: Ticket,
        answered: Answered,
        asks: &mut Asks,
    ) {
        let number = (ticket.question >> 32) as u32;
        let Some(place) = self.in_progress.iter().position(|request| request.number == number) else {
            return;
        };
        let State::Waiting(waiting) = &mut self.in_progress[place].state else { return };
        // The low half is the place in this round; a round of its own number does not see replies to an earlier one.
        let Some(slot) = waiting.replies.get_mut((ticket.question & 0xffff_ffff) as usize) else { return };
        if slot.is_none() {
            waiting.missing = waiting.missing.saturating_sub(1);
        }
        *slot = Some(answered);
        if waiting.missing == 0 {
            self.go_on(around, place, asks);
            self.advance(around, asks);
        }
    }

    /// Goes on with every request whose deadline has come.
    pub fn expire(&mut self, around: &mut Surroundings<'_>, asks: &mut Asks) {
        let now = around.now;
        while let Some(place) = self.in_progress.iter().position(|request| {
            matches!(&request.state, State::Waiting(w) if w.deadline.is_some_and(|deadline| now.reached(deadline)))
        }) {
            self.go_on(around, place, asks);
        }
        self.advance(around, asks);
    }

    /// The earliest deadline among the requests in progress.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        let deadline = |request: &InProgress| match &request.state {
            State::Waiting(waiting) => waiting.deadline,
            State::Done(_) => None,
        };
        self.in_progress.iter().filter_map(deadline).min()
    }

    /// Takes the responses that may leave now.
    pub fn take_ready(&mut self) -> Vec<Chunk> {
        let mut ready = Vec::new();
        while matches!(self.in_progress.front(), Some(InProgress { state: State::Done(_), .. })) {
            if let Some(InProgress { state: State::Done(chunks), .. }) = self.in_progress.pop_front() {
                ready.extend(chunks);
            }
        }
        ready
    }

    /// How many frames wait for those before them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queued.len()
    }

    /// Why the connection has to be closed, if it has.
    #[must_use]
    pub fn closing(&self) -> Option<&'static str> {
        self.closing
    }

    /// Begins queued frames as far as the order of responses allows.
    fn advance(&mut self, around: &mut Surroundings<'_>, asks: &mut Asks) {
        while self.closing.is_none() {
            let Some(frame) = self.queued.front() else { return };
            if !self.may_begin(frame) {
                return;
            }
            let Some(frame) = self.queued.pop_front() else { return };
            self.begin(around, frame, asks);
        }
    }

    fn may_begin(&self, frame: &Bytes) -> bool {
        let mut waiting = self.in_progress.iter().filter_map(|request| match &request.state {
            State::Waiting(waiting) => Some((request.head.key, waiting.behind)),
            State::Done(_) => None,
        });
        if waiting.clone().next().is_none() {
            return true;
        }
        frame::peek_key(frame) == Some(ApiKey::Produce.code())
            && self.in_progress.len() < IN_PROGRESS_MAX
            && waiting.all(|before| before == (ApiKey::Produce, Behind::MayBegin))
    }

    fn begin(&mut self, around: &mut Surroundings<'_>, frame: Bytes, asks: &mut Asks) {
        let (mut head, body) = match frame::split(frame) {
            Ok(parts) => parts,
            Err(why) => {
                self.closing = Some(why);
                return;
            }
        };
        let number = self.next_request;
        self.next_request = self.next_request.wrapping_add(1);
        let answer = {
            let asked = head.clone();
            api::serve(&mut self.context(around, &asked), &mut head, body)
        };
        self.in_progress.push_back(InProgress { number, head, state: State::Done(Vec::new()) });
        let place = self.in_progress.len() - 1;
        self.settle(around, place, answer, asks);
    }

    /// Runs the rest of a request with the replies that have come.
    fn go_on(&mut self, around: &mut Surroundings<'_>, place: usize, asks: &mut Asks) {
        let request = &mut self.in_progress[place];
        let State::Waiting(waiting) = std::mem::replace(&mut request.state, State::Done(Vec::new())) else {
            return;
        };
        // Replies to the questions of this round that are still to come must not be taken for those of the next.
        let head = request.head.clone();
        request.number = self.next_request;
        self.next_request = self.next_request.wrapping_add(1);
        let answer = (waiting.then)(&mut self.context(around, &head), Replies(waiting.replies));
        self.settle(around, place, answer, asks);
    }

    fn settle(
        &mut self,
        around: &mut Surroundings<'_>,
        place: usize,
        answer: Answer<Box<dyn Encodable>>,
        asks: &mut Asks,
    ) {
        match answer {
            Answer::Reply(response) => self.respond(place, response),
            Answer::Silent => self.in_progress[place].state = State::Done(Vec::new()),
            Answer::Close(why) => self.closing = Some(why),
            Answer::Ask(ask) => {
                let asker = u64::from(self.core.0) << 32 | u64::from(self.id.0);
                let round = u64::from(self.in_progress[place].number) << 32;
                let count = ask.questions.len();
                for (index, question) in ask.questions.into_iter().enumerate() {
                    asks.push((Ticket { asker, question: round | index as u64 }, question));
                }
                let missing = match ask.until {
                    Until::All => count,
                    Until::Any => count.min(1),
                    Until::Deadline => 1,
                };
                let replies = std::iter::repeat_with(|| None).take(count).collect();
                let Ask { deadline, behind, then, .. } = ask;
                let waiting = Waiting { replies, missing, deadline, behind, then };
                self.in_progress[place].state = State::Waiting(waiting);
                if missing == 0 {
                    self.go_on(around, place, asks);
                }
            }
        }
    }

    fn respond(&mut self, place: usize, response: Response<Box<dyn Encodable>>) {
        let request = &mut self.in_progress[place];
        match frame::respond(&request.head, &*response.body, response.slices) {
            Ok(chunks) => request.state = State::Done(chunks),
            Err(error) => {
                tracing::error!(%error, key = request.head.key.name(), version = request.head.version, "response cannot be written");
                self.closing = Some("the response cannot be written in this version");
            }
        }
    }

    fn context<'a>(&'a mut self, around: &'a mut Surroundings<'_>, head: &'a frame::Head) -> Context<'a> {
        Context {
            now: around.now,
            image: around.image,
            node: around.node,
            topics: around.topics,
            codecs: around.codecs,
            session: self.id,
            listener: self.listener,
            version: head.version,
            client_id: head.client_id.as_deref().unwrap_or(""),
            client_host: &self.host,
            fetch_session: &mut self.fetch_session,
        }
    }
}
