//! An operation is a question that takes more than one call: rounds of calls, pauses between tries, one answer.
//!
//! `Operation` says what to ask and what to make of the replies; `Running` stands it on a cluster and keeps the
//! retries and the deadline. Both are values; the shell and the simulator drive them alike.

use std::collections::BTreeMap;

use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Request};

use crate::call::{Call, Reply, Ticket};
use crate::cluster::{Cluster, Target};
use crate::error::ClientError;

/// What came of one call of a round.
pub type Outcome = Result<Reply, ClientError>;

/// A question to the cluster.
pub trait Operation: Send {
    /// What is wanted.
    type Answer: Send;

    /// What it is called in messages.
    fn name(&self) -> &'static str;

    /// The calls of the next round; at least one.
    fn calls(&mut self) -> Vec<(Target, Call)>;

    /// What to do now that every call of the round has come to its end; in the order of the calls.
    fn round(&mut self, outcomes: Vec<Outcome>) -> Turn<Self::Answer>;
}

/// How an operation goes on.
#[derive(Debug)]
pub enum Turn<A> {
    /// With another round, at once.
    Next,
    /// With another round, after the pause that is due between tries; with fresh metadata.
    Retry(ClientError),
    /// Not at all: this is the end.
    Done(Result<A, ClientError>),
}

impl<A> Turn<A> {
    /// The end, or another try where the error is one that passes.
    pub fn from_result(result: Result<A, ClientError>) -> Self {
        match result {
            Err(error) if error.is_retriable() => Self::Retry(error),
            result => Self::Done(result),
        }
    }
}

/// An operation under way.
#[derive(Debug)]
pub struct Running<O> {
    operation: O,
    give_up: Deadline,
    tries: u32,
    pause: Option<Deadline>,
    /// The place of each open call in its round.
    open: BTreeMap<Ticket, usize>,
    outcomes: Vec<Option<Outcome>>,
    last_error: Option<ClientError>,
}

impl<O: Operation> Running<O> {
    /// Starts it; it ends by `default.api.timeout.ms` from now.
    pub fn start(operation: O, now: Now, cluster: &mut Cluster) -> Self {
        let give_up = now.after(cluster.settings().api_timeout);
        let mut running = Self {
            operation,
            give_up,
            tries: 1,
            pause: None,
            open: BTreeMap::new(),
            outcomes: Vec::new(),
            last_error: None,
        };
        running.ask(now, cluster);
        running
    }

    /// Takes the end of a call. `None` while the operation goes on, or where the call is not one of its own.
    pub fn done(
        &mut self,
        now: Now,
        cluster: &mut Cluster,
        ticket: Ticket,
        outcome: Outcome,
    ) -> Option<Result<O::Answer, ClientError>> {
        let place = self.open.remove(&ticket)?;
        *self.outcomes.get_mut(place)? = Some(outcome);
        if !self.open.is_empty() {
            return None;
        }
        let outcomes = std::mem::take(&mut self.outcomes).into_iter().flatten().collect();
        match self.operation.round(outcomes) {
            Turn::Done(answer) => return Some(answer),
            Turn::Next => self.ask(now, cluster),
            Turn::Retry(error) => {
                if now.reached(self.give_up) {
                    return Some(Err(self.too_late(error)));
                }
                let wait = cluster.settings().retry_backoff.wait(self.tries, cluster.random());
                self.tries = self.tries.saturating_add(1);
                self.pause = Some(now.after(wait).min(self.give_up));
                self.last_error = Some(error);
                cluster.refresh(now);
            }
        }
        None
    }

    /// Whether this call belongs to it.
    #[must_use]
    pub fn owns(&self, ticket: Ticket) -> bool {
        self.open.contains_key(&ticket)
    }

    /// Looks at the clock. `Some` is the end.
    pub fn step(&mut self, now: Now, cluster: &mut Cluster) -> Option<Result<O::Answer, ClientError>> {
        if !self.pause.is_some_and(|pause| now.reached(pause)) {
            return None;
        }
        self.pause = None;
        if now.reached(self.give_up) {
            let error = self.last_error.take().unwrap_or(ClientError::Closed);
            return Some(Err(self.too_late(error)));
        }
        self.ask(now, cluster);
        None
    }

    /// When `step` wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.pause
    }

    fn ask(&mut self, now: Now, cluster: &mut Cluster) {
        let calls = self.operation.calls();
        self.outcomes = calls.iter().map(|_| None).collect();
        for (place, (target, call)) in calls.into_iter().enumerate() {
            let ticket = cluster.submit(now, target, call, self.give_up);
            self.open.insert(ticket, place);
        }
    }

    fn too_late(&self, last: ClientError) -> ClientError {
        match last {
            ClientError::TimedOut(_) => ClientError::TimedOut(format!(
                "Timed out waiting for a node assignment. Call: {}",
                self.operation.name()
            )),
            other => ClientError::TimedOut(format!(
                "Call {} timed out after {} attempt(s): {other}",
                self.operation.name(),
                self.tries
            )),
        }
    }
}

/// The simplest operation: one request, tried again while the error passes by itself.
pub struct Ask<R, F> {
    name: &'static str,
    target: Target,
    request: R,
    answer: F,
}

impl<R: Request, F> Ask<R, F> {
    /// Sends `request` to `target` and makes the answer with `answer`; a retriable error of it means another try.
    pub fn new<A>(name: &'static str, target: Target, request: R, answer: F) -> Self
    where
        F: FnMut(R::Response) -> Result<A, ClientError>,
    {
        Self { name, target, request, answer }
    }
}

impl<R, A, F> Operation for Ask<R, F>
where
    R: Request + Send + 'static,
    A: Send,
    F: FnMut(R::Response) -> Result<A, ClientError> + Send,
{
    type Answer = A;

    fn name(&self) -> &'static str {
        self.name
    }

    fn calls(&mut self) -> Vec<(Target, Call)> {
        vec![(self.target, Call::new(self.request.clone()))]
    }

    fn round(&mut self, outcomes: Vec<Outcome>) -> Turn<A> {
        let reply = outcomes.into_iter().next().unwrap_or(Err(ClientError::Closed));
        Turn::from_result(reply.and_then(|reply| reply.decode::<R>()).and_then(&mut self.answer))
    }
}

/// An operation whose answer is made into another.
pub struct Mapped<O, F> {
    operation: O,
    make: F,
}

impl<O: Operation, F> Mapped<O, F> {
    /// `make` of the answer of `operation`.
    pub fn new<B>(operation: O, make: F) -> Self
    where
        F: FnMut(O::Answer) -> Result<B, ClientError>,
    {
        Self { operation, make }
    }
}

impl<O, B, F> Operation for Mapped<O, F>
where
    O: Operation,
    B: Send,
    F: FnMut(O::Answer) -> Result<B, ClientError> + Send,
{
    type Answer = B;

    fn name(&self) -> &'static str {
        self.operation.name()
    }

    fn calls(&mut self) -> Vec<(Target, Call)> {
        self.operation.calls()
    }

    fn round(&mut self, outcomes: Vec<Outcome>) -> Turn<B> {
        match self.operation.round(outcomes) {
            Turn::Next => Turn::Next,
            Turn::Retry(error) => Turn::Retry(error),
            Turn::Done(answer) => Turn::Done(answer.and_then(&mut self.make)),
        }
    }
}
