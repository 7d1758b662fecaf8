//! The tokio shell around the machines: sockets, the clock, a seed, and `Client`, which programs hold.
//!
//! One task owns the cluster and everything that stands on it; each connection has one task that reads and one that
//! writes. `Driver` is that middle part for machines that want the cluster to themselves (producer, consumer).

mod consumer;
mod driver;
mod producer;
mod socket;

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ottla_protocol::Now;
use ottla_protocol::message::Request;
use ottla_protocol::time::Deadline;
use tokio::sync::{mpsc, oneshot};

pub use consumer::{Consumer, RebalanceListener, Seat};
pub use driver::{Clock, Driver};
pub use producer::{Delivery, Observer, Producer, Written};

use crate::call::Ticket;
use crate::cluster::{Cluster, Target};
use crate::error::ClientError;
use crate::operation::{Ask, Operation, Outcome, Running};
use crate::settings::{Properties, Settings};

/// How many questions may stand before the client's task.
const COMMANDS_MAX: usize = 1024;

/// A connection to a cluster, to be asked things. Clones share it; the last one to go closes it.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Box<dyn Question>>,
}

impl Client {
    /// Starts a client; names that mean nothing to any Kafka client are warned of. At least one bootstrap address must
    /// have a known host, but nobody need listen there yet.
    ///
    /// # Errors
    /// Settings that make no client, or no bootstrap address that can be resolved.
    pub async fn connect(properties: &Properties) -> Result<Self, ClientError> {
        let driver = Driver::open(properties).await?;
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        tokio::spawn(serve(driver, inbox));
        Ok(Self { commands })
    }

    /// Runs an operation of the admin, or any other, to its end.
    ///
    /// # Errors
    /// Those of the operation; `TimedOut` after `default.api.timeout.ms`; `Closed`.
    pub async fn run<O: Operation + 'static>(&self, operation: O) -> Result<O::Answer, ClientError> {
        let (sender, answer) = oneshot::channel();
        let question = Asked { operation: Some(operation), running: None, sender: Some(sender) };
        self.commands.send(Box::new(question)).await.map_err(|_| ClientError::Closed)?;
        answer.await.map_err(|_| ClientError::Closed)?
    }

    /// Sends one request and waits for its response, whatever error codes are in it.
    ///
    /// # Errors
    /// As `run`.
    pub async fn call<R: Request + Send + 'static>(
        &self,
        target: Target,
        request: R,
    ) -> Result<R::Response, ClientError>
    where
        R::Response: Send,
    {
        self.run(Ask::new(R::KEY.name(), target, request, Ok)).await
    }
}

/// An operation whose answer goes to somebody.
trait Question: Any + Send {
    fn start(&mut self, now: Now, cluster: &mut Cluster);
    fn owns(&self, ticket: Ticket) -> bool;
    fn done(&mut self, now: Now, cluster: &mut Cluster, ticket: Ticket, outcome: Outcome);
    fn step(&mut self, now: Now, cluster: &mut Cluster);
    fn deadline(&self) -> Option<Deadline>;
    fn is_over(&self) -> bool;
}

impl std::fmt::Debug for dyn Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Question")
    }
}

struct Asked<O: Operation> {
    operation: Option<O>,
    running: Option<Running<O>>,
    sender: Option<oneshot::Sender<Result<O::Answer, ClientError>>>,
}

impl<O: Operation> Asked<O> {
    fn answer(&mut self, answer: Option<Result<O::Answer, ClientError>>) {
        if let (Some(answer), Some(sender)) = (answer, self.sender.take_if(|_| true)) {
            // Whoever asked may have stopped waiting.
            let _ = sender.send(answer);
        }
    }
}

impl<O: Operation + 'static> Question for Asked<O> {
    fn start(&mut self, now: Now, cluster: &mut Cluster) {
        self.running = self.operation.take().map(|operation| Running::start(operation, now, cluster));
    }

    fn owns(&self, ticket: Ticket) -> bool {
        self.running.as_ref().is_some_and(|running| running.owns(ticket))
    }

    fn done(&mut self, now: Now, cluster: &mut Cluster, ticket: Ticket, outcome: Outcome) {
        let answer = self.running.as_mut().and_then(|running| running.done(now, cluster, ticket, outcome));
        if answer.is_some() {
            self.answer(answer);
        }
    }

    fn step(&mut self, now: Now, cluster: &mut Cluster) {
        let answer = self.running.as_mut().and_then(|running| running.step(now, cluster));
        if answer.is_some() {
            self.answer(answer);
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        self.running.as_ref().and_then(Running::deadline)
    }

    fn is_over(&self) -> bool {
        self.sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

/// The task behind a `Client`: ends when the last clone is gone.
async fn serve(mut driver: Driver, mut inbox: mpsc::Receiver<Box<dyn Question>>) {
    let mut questions: Vec<Box<dyn Question>> = Vec::new();
    loop {
        let until = questions.iter().filter_map(|question| question.deadline()).min();
        tokio::select! {
            finished = driver.turn(until) => {
                let now = driver.now();
                for done in finished {
                    if let Some(question) = questions.iter_mut().find(|question| question.owns(done.ticket)) {
                        question.done(now, &mut driver.cluster, done.ticket, done.outcome);
                    }
                }
                for question in &mut questions {
                    question.step(now, &mut driver.cluster);
                }
            }
            question = inbox.recv() => {
                let Some(mut question) = question else { return };
                let now = driver.now();
                question.start(now, &mut driver.cluster);
                questions.push(question);
            }
        }
        questions.retain(|question| !question.is_over());
    }
}

/// The same settings with a name for the client where they give none, as Java does: what it is and whose, or a number.
fn named(properties: &Properties, what: &str) -> Properties {
    static MADE: AtomicU32 = AtomicU32::new(1);
    let mut properties = properties.clone();
    if properties.get("client.id").is_none_or(str::is_empty) {
        let group = properties.get("group.id").filter(|_| what == "consumer");
        let owner = match what {
            "consumer" => properties.get("group.instance.id"),
            _ => properties.get("transactional.id"),
        };
        let number = || MADE.fetch_add(1, Ordering::Relaxed).to_string();
        let last = owner.map_or_else(number, str::to_owned);
        let words: Vec<&str> = [Some(what), group, Some(&last)].into_iter().flatten().collect();
        let name = words.join("-");
        properties.set("client.id", name);
    }
    properties
}

/// Warns of settings nobody knows, as Java does, and makes the others into settings.
fn settings(properties: &Properties) -> Result<Settings, ClientError> {
    for key in properties.unknown_keys() {
        tracing::warn!("The configuration '{key}' was supplied but is not known to any Kafka client");
    }
    Ok(Settings::from_properties(properties)?)
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness clients would merely back off in step.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// The longest a turn sleeps when nothing is due.
const SLEEP_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
