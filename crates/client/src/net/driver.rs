//! One cluster with its sockets, turned by whoever owns it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use ottla_protocol::Now;
use ottla_protocol::time::Deadline;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::socket::{self, Event, Socket};
use super::{SLEEP_MAX, seed, settings};
use crate::cluster::{Cluster, Link, Output};
use crate::connection::Finished;
use crate::error::ClientError;
use crate::settings::Properties;

/// How many events of sockets may wait for the driver.
const EVENTS_MAX: usize = 256;

/// How many events are taken in one turn before the answers are handed out.
const EVENTS_PER_TURN: usize = 64;

/// Tells the time: the monotonic clock counts from the moment it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

/// A cluster and its sockets.
#[derive(Debug)]
pub struct Driver {
    /// The machine; call it as you like, then `turn`.
    pub cluster: Cluster,
    clock: Clock,
    sockets: BTreeMap<Link, Socket>,
    sender: mpsc::Sender<(Link, Event)>,
    events: mpsc::Receiver<(Link, Event)>,
    /// Wakes whoever polls, when something is due.
    alarm: Pin<Box<tokio::time::Sleep>>,
}

impl Clock {
    /// Starts at zero.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The present moment.
    #[must_use]
    #[expect(
        clippy::disallowed_types,
        clippy::disallowed_methods,
        reason = "the shell is where the clock is read"
    )]
    pub fn now(&self) -> Now {
        let wall = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            monotonic_us: u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX),
            wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// The instant of a deadline.
    #[must_use]
    pub fn instant(&self, deadline: Deadline) -> Instant {
        self.0 + Duration::from_micros(deadline.0).min(Duration::from_secs(u64::from(u32::MAX)))
    }
}

impl Driver {
    /// A driver for the cluster these properties name.
    ///
    /// # Errors
    /// Settings that make no client, or no bootstrap address whose host can be resolved.
    pub async fn open(properties: &Properties) -> Result<Self, ClientError> {
        let settings = settings(properties)?;
        socket::check_bootstrap(&settings.bootstrap).await?;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        Ok(Self {
            cluster: Cluster::new(settings, seed()),
            clock: Clock::start(),
            sockets: BTreeMap::new(),
            sender,
            events,
            alarm: Box::pin(tokio::time::sleep(Duration::ZERO)),
        })
    }

    /// The present moment on the driver's clock.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The driver's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Does what the cluster wants done, then waits for something to happen, or for `until`; returns the calls that
    /// have come to their end, often none. Dropping the future loses nothing.
    pub async fn turn(&mut self, until: Option<Deadline>) -> Vec<Finished> {
        let finished = self.flush();
        if !finished.is_empty() {
            return finished;
        }
        let now = self.now();
        let due = [until, self.cluster.deadline()].into_iter().flatten().fold(now.after(SLEEP_MAX), Ord::min);
        let due = self.clock.instant(due);
        tokio::select! {
            biased;
            event = self.events.recv() => {
                let mut event = event;
                for _ in 0..EVENTS_PER_TURN {
                    let Some((link, happened)) = event else { break };
                    self.happened(link, happened);
                    event = self.events.try_recv().ok();
                }
                if let Some((link, happened)) = event {
                    self.happened(link, happened);
                }
            }
            () = tokio::time::sleep_until(due) => {
                let now = self.now();
                self.cluster.step(now);
            }
        }
        self.flush()
    }

    /// As `turn`, for those who share the driver: only whoever has polled it last is woken.
    pub fn poll_turn(&mut self, context: &mut Context<'_>, until: Option<Deadline>) -> Poll<Vec<Finished>> {
        let finished = self.flush();
        if !finished.is_empty() {
            return Poll::Ready(finished);
        }
        if let Poll::Ready(event) = self.events.poll_recv(context) {
            if let Some((link, happened)) = event {
                self.happened(link, happened);
            }
            return Poll::Ready(self.sweep());
        }
        let now = self.now();
        let due = [until, self.cluster.deadline()].into_iter().flatten().fold(now.after(SLEEP_MAX), Ord::min);
        if !now.reached(due) {
            let due = self.clock.instant(due);
            self.alarm.as_mut().reset(due);
            if self.alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        let now = self.now();
        self.cluster.step(now);
        Poll::Ready(self.flush())
    }

    /// Does what the cluster wants done and takes what has happened, without waiting.
    pub fn sweep(&mut self) -> Vec<Finished> {
        let mut finished = self.flush();
        for _ in 0..EVENTS_PER_TURN {
            let Ok((link, happened)) = self.events.try_recv() else { break };
            self.happened(link, happened);
        }
        let now = self.now();
        if self.cluster.deadline().is_some_and(|due| now.reached(due)) {
            self.cluster.step(now);
        }
        finished.extend(self.flush());
        finished
    }

    /// As `turn`, without waiting: for whoever has something else to do but wants what it asked for to be on its way. (A
    /// timer, even one that is due, costs a millisecond.)
    pub async fn glance(&mut self) -> Vec<Finished> {
        let mut finished = self.flush();
        tokio::task::yield_now().await;
        finished.extend(self.sweep());
        finished
    }

    fn happened(&mut self, link: Link, event: Event) {
        let now = self.now();
        match event {
            Event::Connected => self.cluster.connected(now, link),
            Event::Frame(frame) => self.cluster.frame(now, link, frame),
            Event::Lost(why) => {
                self.sockets.remove(&link);
                self.cluster.disconnected(now, link, &why);
            }
        }
    }

    /// Carries out what the cluster asks for.
    fn flush(&mut self) -> Vec<Finished> {
        let mut finished = Vec::new();
        while let Some(output) = self.cluster.poll() {
            match output {
                Output::Connect { link, address } => {
                    self.sockets.insert(link, Socket::connect(link, address, self.sender.clone()));
                }
                Output::Send { link, frame } => {
                    if let Some(socket) = self.sockets.get(&link) {
                        socket.send(frame);
                    }
                }
                Output::Close { link } => {
                    self.sockets.remove(&link);
                }
                Output::Done(done) => finished.push(done),
            }
        }
        finished
    }
}
