//! A producer with sockets: callers append under a short lock, one task sends.
//!
//! The machine has one owner at a time, whoever holds the lock; nothing waits while holding it. A caller that finds no
//! room or no metadata waits outside, for at most `max.block.ms`.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ottla_protocol::Now;
use ottla_protocol::time::Deadline;
use tokio::sync::{Notify, oneshot};

use super::driver::{Clock, Driver};
use super::{named, seed};
use crate::admin::CommittedOffset;
use crate::consumer::{GroupMetadata, TopicPartition};
use crate::error::ClientError;
use crate::metadata::Metadata;
use crate::producer::{
    BatchId, Counters, Delivered, Lack, NewRecord, Producer as Machine, ProducerSettings, Sent, Stir,
    Transact, TransactionError, Unsent,
};
use crate::settings::Properties;

#[expect(clippy::disallowed_types, reason = "callers and the task take turns with one machine")]
type Lock<T> = std::sync::Mutex<T>;

/// Sends records. Clones share it; when the last one goes, what was sent still goes out.
#[derive(Clone, Debug)]
pub struct Producer(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

struct Shared {
    inner: Lock<Inner>,
    clock: Clock,
    /// The task has something to do.
    stirred: Notify,
    /// Callers that wait may look again.
    changed: Notify,
}

struct Inner {
    machine: Machine,
    metadata: Arc<Metadata>,
    /// Who waits for the records of a batch, by their index.
    waiters: BTreeMap<BatchId, Vec<Waiter>>,
    observer: Option<Observer>,
    /// What somebody wants of the transaction, until the task takes it up, and what came of it.
    wanted: Option<Transact>,
    transacted: Option<Result<(), TransactionError>>,
    /// The task has ended.
    over: bool,
}

type Waiter = (i32, oneshot::Sender<Result<Written, ClientError>>);

/// What is told of every batch that has come to its end; called by the task, so it must be quick.
pub type Observer = Box<dyn FnMut(&Delivered) + Send>;

/// Where a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The partition.
    pub partition: i32,
    /// The offset; −1 where the broker does not say.
    pub offset: i64,
    /// The time the broker gave it, in ms, where it does.
    pub log_append_time: Option<i64>,
}

/// A record's end, to be waited for or not.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<Written, ClientError>>);

impl Future for Delivery {
    type Output = Result<Written, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|end| end.unwrap_or(Err(ClientError::Closed)))
    }
}

impl Producer {
    /// Starts a producer; nobody need listen at the bootstrap addresses yet.
    ///
    /// # Errors
    /// Settings that make no producer, or no bootstrap address that can be resolved.
    pub async fn start(properties: &Properties) -> Result<Self, ClientError> {
        Self::start_observed(properties, None).await
    }

    /// The same, with somebody who is told of every batch.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_observed(
        properties: &Properties,
        observer: Option<Observer>,
    ) -> Result<Self, ClientError> {
        let properties = &named(properties, "producer");
        let settings = ProducerSettings::from_properties(properties)?;
        let driver = Driver::open(properties).await?;
        let shared = Arc::new(Shared {
            inner: Lock::new(Inner {
                machine: Machine::new(settings, seed()),
                metadata: Arc::default(),
                waiters: BTreeMap::new(),
                observer,
                wanted: None,
                transacted: None,
                over: false,
            }),
            clock: driver.clock(),
            stirred: Notify::new(),
            changed: Notify::new(),
        });
        tokio::spawn(run(driver, shared.clone()));
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Sends a record; returns once it is in line. What comes back can be awaited, or dropped.
    ///
    /// # Errors
    /// The record is too large or for a partition that is not there; there was no room or no metadata for
    /// `max.block.ms`; the producer is closed.
    pub async fn send(&self, record: &NewRecord<'_>) -> Result<Delivery, ClientError> {
        let (sender, delivery) = oneshot::channel();
        self.append(record, Some(sender)).await?;
        Ok(Delivery(delivery))
    }

    /// Sends a record whose end only the observer is told, batch by batch: the cheapest way.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn post(&self, record: &NewRecord<'_>) -> Result<Sent, ClientError> {
        self.append(record, None).await
    }

    /// Sends what lingers and waits until every record sent before has come to its end.
    pub async fn flush(&self) {
        let shared = &self.0.0;
        let mark = shared.with(|inner| inner.machine.flush());
        shared.stirred.notify_one();
        shared.wait(|inner| inner.over || inner.machine.is_flushed(mark)).await;
    }

    /// Takes over the `transactional.id`: whoever had it is fenced, and what was left open under it is ended. Once, before
    /// anything else.
    ///
    /// # Errors
    /// It is not a transactional producer, or the coordinator refuses it.
    pub async fn init_transactions(&self) -> Result<(), TransactionError> {
        self.transact(Transact::Init).await
    }

    /// Begins a transaction: what is sent from now on belongs to it.
    ///
    /// # Errors
    /// There is one already, or the producer was not initialized.
    pub fn begin_transaction(&self) -> Result<(), TransactionError> {
        self.0.0.with(|inner| inner.machine.begin())
    }

    /// Commits offsets of a group as part of the transaction: they count if it is committed.
    ///
    /// # Errors
    /// The transaction must be aborted, or the producer closed.
    pub async fn send_offsets_to_transaction(
        &self,
        offsets: BTreeMap<TopicPartition, CommittedOffset>,
        group: GroupMetadata,
    ) -> Result<(), TransactionError> {
        if offsets.is_empty() {
            return Ok(());
        }
        self.transact(Transact::Offsets(group, offsets)).await
    }

    /// Waits until everything sent has been written, and commits.
    ///
    /// # Errors
    /// The transaction must be aborted, or the producer closed.
    pub async fn commit_transaction(&self) -> Result<(), TransactionError> {
        self.transact(Transact::Commit).await
    }

    /// Gives up what has not been sent, and aborts.
    ///
    /// # Errors
    /// The producer must be closed.
    pub async fn abort_transaction(&self) -> Result<(), TransactionError> {
        self.transact(Transact::Abort).await
    }

    async fn transact(&self, act: Transact) -> Result<(), TransactionError> {
        let shared = &self.0.0;
        let max_block = shared.with(|inner| {
            (inner.wanted, inner.transacted) = (Some(act), None);
            inner.machine.settings().max_block
        });
        shared.stirred.notify_one();
        let ended = shared.wait(|inner| inner.over || inner.transacted.is_some());
        if tokio::time::timeout(max_block, ended).await.is_err() {
            let ms = max_block.as_millis();
            let why =
                format!("Timeout expired after {ms}ms while awaiting the end of the transaction's operation");
            return Err(TransactionError::TimedOut(why));
        }
        let result = shared.with(|inner| inner.transacted.take());
        result.unwrap_or(Err(TransactionError::Fatal(ClientError::Closed)))
    }

    /// Takes no more records and waits for the ends of those sent; what has not ended after `timeout` is lost.
    pub async fn close(&self, timeout: Duration) {
        let shared = &self.0.0;
        shared.with(|inner| inner.machine.close());
        shared.stirred.notify_one();
        let idle = shared.wait(|inner| inner.over || inner.machine.is_idle());
        if tokio::time::timeout(timeout, idle).await.is_err() {
            shared.with(|inner| inner.machine.abort(&ClientError::Closed));
            shared.stirred.notify_one();
            shared.wait(|inner| inner.over).await;
        }
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.0.0.with(|inner| inner.machine.counters())
    }

    async fn append(
        &self,
        record: &NewRecord<'_>,
        mut waiter: Option<oneshot::Sender<Result<Written, ClientError>>>,
    ) -> Result<Sent, ClientError> {
        let shared = &self.0.0;
        let mut give_up = None;
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let outcome = shared.with(|inner| inner.append(shared.clock.now(), record, &mut waiter));
            let lack = match outcome {
                Ok(sent) => {
                    if sent.stir == Stir::Due {
                        shared.stirred.notify_one();
                        // On a single thread the task would otherwise not run before memory is full.
                        tokio::task::yield_now().await;
                    }
                    return Ok(sent);
                }
                Err(Unsent::Never(error)) => return Err(error),
                Err(Unsent::Later(lack)) => lack,
            };
            shared.stirred.notify_one();
            let max_block = shared.with(|inner| inner.machine.settings().max_block);
            let give_up = *give_up.get_or_insert_with(|| tokio::time::Instant::now() + max_block);
            if tokio::time::timeout_at(give_up, changed).await.is_err() {
                return Err(ClientError::TimedOut(waited_for(lack, record.topic, max_block)));
            }
        }
    }
}

fn waited_for(lack: Lack, topic: &str, max_block: Duration) -> String {
    let ms = max_block.as_millis();
    match lack {
        Lack::Metadata => format!("Topic {topic} not present in metadata after {ms} ms."),
        Lack::Memory => format!("Failed to allocate memory within the configured max blocking time {ms} ms."),
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.with(|inner| inner.machine.close());
        self.0.stirred.notify_one();
    }
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        // Only a panic in the machine poisons the lock, and then every call after it should fail as loudly.
        act(&mut self.inner.lock().expect("the producer has not failed"))
    }

    async fn wait(&self, is_so: impl Fn(&Inner) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.with(|inner| is_so(inner)) {
                return;
            }
            changed.await;
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl Inner {
    fn append(
        &mut self,
        now: Now,
        record: &NewRecord<'_>,
        waiter: &mut Option<oneshot::Sender<Result<Written, ClientError>>>,
    ) -> Result<Sent, Unsent> {
        let sent = self.machine.send(now, &self.metadata, record)?;
        if let Some(waiter) = waiter.take() {
            self.waiters.entry(sent.batch).or_default().push((sent.index, waiter));
        }
        Ok(sent)
    }

    /// Moves the machine on: until when it can be left alone (or that it is over), and whether those who wait should look.
    fn step(&mut self, driver: &mut Driver) -> (Result<Option<Deadline>, ()>, bool) {
        let mut refused = None;
        if let Some(act) = self.wanted.take() {
            let begun = self.machine.transact(driver.now(), &mut driver.cluster, act);
            refused = begun.err();
        }
        self.machine.step(driver.now(), &mut driver.cluster);
        let mut changed = self.tell();
        if let Some(ended) = self.machine.transacted() {
            self.transacted = Some(ended);
            changed = true;
        }
        if let Some(error) = refused {
            self.transacted = Some(Err(error));
            changed = true;
        }
        if self.metadata.updates != driver.cluster.metadata().updates {
            self.metadata = Arc::new(driver.cluster.metadata().clone());
            changed = true;
        }
        self.over = self.machine.is_closed() && self.machine.is_idle() && !self.machine.has_transaction();
        let until = if self.over { Err(()) } else { Ok(self.machine.deadline()) };
        (until, changed || self.over)
    }

    /// Tells everybody what has come to its end; whether anything has.
    fn tell(&mut self) -> bool {
        let mut told = false;
        while let Some(delivered) = self.machine.delivered() {
            told = true;
            if let Some(observer) = &mut self.observer {
                observer(&delivered);
            }
            let Some(waiters) = self.waiters.remove(&delivered.batch) else { continue };
            let mut others = Vec::new();
            for (index, waiter) in waiters {
                match delivered.of(index) {
                    // Whoever sent it may have stopped waiting.
                    Some(end) => drop(waiter.send(end.map(|offset| written(&delivered, offset)))),
                    None => others.push((index, waiter)),
                }
            }
            if !others.is_empty() {
                self.waiters.insert(delivered.batch, others);
            }
        }
        told
    }
}

fn written(delivered: &Delivered, offset: i64) -> Written {
    let log_append_time = delivered.outcome.as_ref().ok().and_then(|placed| placed.log_append_time);
    Written { partition: delivered.partition, offset, log_append_time }
}

/// The task of a producer: ends when it is closed and nothing is left to send.
async fn run(mut driver: Driver, shared: Arc<Shared>) {
    loop {
        let (until, changed) = shared.with(|inner| inner.step(&mut driver));
        // Whoever waits stirs the task in turn, so that needless news would go round and round.
        if changed {
            shared.changed.notify_waiters();
        }
        let Ok(until) = until else { return };
        tokio::select! {
            finished = driver.turn(until) => {
                let now = driver.now();
                shared.with(|inner| {
                    for done in finished {
                        inner.machine.done(now, &mut driver.cluster, done.ticket, done.outcome);
                    }
                });
            }
            () = shared.stirred.notified() => {}
        }
    }
}
