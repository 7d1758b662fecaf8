//! A consumer with sockets: whoever polls it drives it, and between polls a task of its own keeps it in its group.
//!
//! Machine and driver have one owner at a time, whoever holds the lock; nothing waits while holding it. The task sends
//! heartbeats and fetches ahead; what a rebalance takes is let go by `poll` alone, for only then has the reader done with
//! it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ottla_protocol::time::Deadline;
use tokio::sync::{Notify, oneshot};

use super::driver::{Clock, Driver};
use super::{named, seed};
use crate::admin::{self, CommittedOffset, ItemResult, OffsetSpec, Offsets, OffsetsOf, Stability};
use crate::cluster::Cluster;
use crate::connection::Finished;
use crate::consumer::{
    CommitId, ConsumeError, Consumer as Machine, ConsumerSettings, Counters, GroupMetadata, GroupProtocol,
    Hooks, Marks, Matcher, Polled, Rebalance, Start, Subscription, TopicPartition,
};
use crate::error::ClientError;
use crate::metadata::Metadata;
use crate::operation::{Operation, Running};
use crate::settings::Properties;

#[expect(clippy::disallowed_types, reason = "the reader and the task take turns with one machine")]
type Lock<T> = std::sync::Mutex<T>;

/// Reads records, of partitions assigned by hand or by a group. Dropped without `close`, it leaves its group only when its
/// session ends.
pub struct Consumer {
    shared: Arc<Shared>,
    listener: Option<Box<dyn RebalanceListener>>,
}

struct Shared {
    inner: Lock<Inner>,
    clock: Clock,
    /// The reader has stopped driving, or has gone.
    freed: Notify,
}

struct Inner {
    driver: Driver,
    machine: Machine,
    /// The reader drives.
    busy: bool,
    over: bool,
    commits: BTreeMap<CommitId, oneshot::Sender<Result<(), ClientError>>>,
}

/// What is to happen when partitions come and go. Called by `poll`; nothing of the group happens meanwhile, and neither
/// do heartbeats, so it must come to its end within `session.timeout.ms`.
pub trait RebalanceListener: Send {
    /// These are about to go to others: the last moment to commit what was read of them. The rebalance waits for commits
    /// made here.
    fn revoked(&mut self, seat: &mut Seat<'_>, partitions: &[TopicPartition]) {
        let _ = (seat, partitions);
    }

    /// These are to be read from now on: the moment to seek.
    fn assigned(&mut self, seat: &mut Seat<'_>, partitions: &[TopicPartition]) {
        let _ = (seat, partitions);
    }

    /// These went to others already: nothing can be committed any more.
    fn lost(&mut self, seat: &mut Seat<'_>, partitions: &[TopicPartition]) {
        let _ = (seat, partitions);
    }
}

/// The consumer in the midst of a rebalance.
pub struct Seat<'a> {
    machine: &'a mut Machine,
    cluster: &'a mut Cluster,
    clock: Clock,
}

impl Seat<'_> {
    /// Commits these offsets before the rebalance goes on.
    pub fn commit(&mut self, offsets: BTreeMap<TopicPartition, CommittedOffset>) {
        self.machine.commit(self.clock.now(), self.cluster, offsets);
    }

    /// The positions of all partitions, as `commit` wants them.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<TopicPartition, CommittedOffset> {
        self.machine.positions()
    }

    /// The partitions that are read: the new ones are among them, those about to go still.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.machine.assignment()
    }

    /// Goes elsewhere in a partition.
    pub fn seek(&mut self, partition: &TopicPartition, start: Start) {
        self.machine.seek(self.clock.now(), self.cluster, partition, start);
    }

    /// Neither fetches nor hands out this partition until it is resumed.
    pub fn pause(&mut self, partition: &TopicPartition) {
        self.machine.pause(partition);
    }
}

impl Consumer {
    /// A consumer without partitions; nobody need listen at the bootstrap addresses yet.
    ///
    /// # Errors
    /// Settings that make no consumer, or no bootstrap address that can be resolved.
    pub async fn start(properties: &Properties) -> Result<Self, ClientError> {
        let properties = &named(properties, "consumer");
        let settings = ConsumerSettings::from_properties(properties)?;
        let grouped = settings.group.is_some();
        let driver = Driver::open(properties).await?;
        let shared = Arc::new(Shared {
            clock: driver.clock(),
            inner: Lock::new(Inner {
                driver,
                machine: Machine::new(settings, seed()),
                busy: false,
                over: false,
                commits: BTreeMap::new(),
            }),
            freed: Notify::new(),
        });
        if grouped {
            tokio::spawn(keep(shared.clone()));
        }
        Ok(Self { shared, listener: None })
    }

    /// Tells this listener of partitions that come and go, from now on.
    pub fn listen(&mut self, listener: impl RebalanceListener + 'static) {
        self.listener = Some(Box::new(listener));
        self.shared.with(|inner| inner.machine.hooks(Hooks::Owner));
    }

    /// Joins the group with these topics; the partitions come while it is polled. Replaces an earlier subscription; none
    /// at all is `unsubscribe`'s business.
    ///
    /// # Errors
    /// There is no `group.id`.
    pub fn subscribe<'a>(&mut self, topics: impl IntoIterator<Item = &'a str>) -> Result<(), ClientError> {
        self.subscribe_to(Subscription::Topics(topics.into_iter().map(Arc::from).collect()))
    }

    /// The same with every topic that the function takes, also those to come.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub fn subscribe_matching(
        &mut self,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<(), ClientError> {
        self.subscribe_to(Subscription::Matching(Matcher::new(matches)))
    }

    /// The same with every topic whose whole name matches the expression: under the consumer protocol the broker's
    /// business (RE2, as Java's `SubscriptionPattern`), under the classic one ours.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe), or the expression is none.
    pub fn subscribe_pattern(&mut self, pattern: &str) -> Result<(), ClientError> {
        let protocol = self.shared.with(|inner| {
            inner.machine.settings().group.as_ref().map(|group| group.protocol).unwrap_or_default()
        });
        if protocol == GroupProtocol::Consumer {
            return self.subscribe_to(Subscription::Regex(pattern.to_owned()));
        }
        let whole = regex::Regex::new(&format!("^(?:{pattern})$"));
        let whole = whole.map_err(|error| ClientError::Invalid(error.to_string()))?;
        self.subscribe_matching(move |topic| whole.is_match(topic))
    }

    fn subscribe_to(&mut self, subscription: Subscription) -> Result<(), ClientError> {
        self.shared.with(|inner| {
            inner.needs_group()?;
            let now = inner.driver.now();
            inner.machine.subscribe(now, &mut inner.driver.cluster, subscription);
            Ok::<(), ClientError>(())
        })?;
        self.shared.freed.notify_one();
        Ok(())
    }

    /// Lets go of everything and leaves the group.
    pub async fn unsubscribe(&mut self, timeout: Duration) {
        let due = self.shared.clock.now().after(timeout);
        self.shared.with(|inner| {
            let now = inner.driver.now();
            inner.machine.unsubscribe(now, &mut inner.driver.cluster);
        });
        let _busy = Busy::begin(&self.shared);
        while self.shared.with(|inner| inner.machine.subscription().is_some()) {
            if self.shared.clock.now().reached(due) {
                return;
            }
            self.attend().await;
            self.shared.turn(Some(due)).await;
        }
    }

    /// Reads these partitions and no others; those that were assigned before keep their positions.
    ///
    /// # Errors
    /// It has subscribed.
    pub fn assign(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), ClientError> {
        self.shared.with(|inner| {
            if inner.machine.subscription().is_some() {
                let why = "Subscription to topics, partitions and pattern are mutually exclusive";
                return Err(ClientError::Invalid(why.to_owned()));
            }
            let now = inner.driver.now();
            inner.machine.assign(now, &mut inner.driver.cluster, partitions);
            Ok(())
        })
    }

    /// The partitions that are read.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.with(|inner| inner.machine.assignment().cloned().collect())
    }

    /// Goes elsewhere in a partition that is assigned.
    pub fn seek(&mut self, partition: &TopicPartition, start: Start) {
        self.shared.with(|inner| {
            let now = inner.driver.now();
            inner.machine.seek(now, &mut inner.driver.cluster, partition, start);
        });
    }

    /// Goes to the first record of each, of all partitions where none is named.
    pub fn seek_to_beginning(&mut self, partitions: &[TopicPartition]) {
        self.seek_all(partitions, Start::Beginning);
    }

    /// Goes behind the last record of each, of all partitions where none is named.
    pub fn seek_to_end(&mut self, partitions: &[TopicPartition]) {
        self.seek_all(partitions, Start::End);
    }

    fn seek_all(&mut self, partitions: &[TopicPartition], start: Start) {
        let all = if partitions.is_empty() { self.assignment() } else { partitions.to_vec() };
        for partition in all {
            self.seek(&partition, start);
        }
    }

    /// Neither fetches nor hands out this partition until it is resumed.
    pub fn pause(&mut self, partition: &TopicPartition) {
        self.shared.with(|inner| inner.machine.pause(partition));
    }

    /// Ends a pause.
    pub fn resume(&mut self, partition: &TopicPartition) {
        self.shared.with(|inner| {
            let now = inner.driver.now();
            inner.machine.resume(now, &mut inner.driver.cluster, partition);
        });
    }

    /// The offset of the next record of a partition; `None` while it is not known.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.with(|inner| inner.machine.position(partition))
    }

    /// The positions of all partitions, as `commit_offsets` wants them.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<TopicPartition, CommittedOffset> {
        self.shared.with(|inner| inner.machine.positions())
    }

    /// What the broker said last about the ends of a partition.
    #[must_use]
    pub fn marks(&self, partition: &TopicPartition) -> Option<Marks> {
        self.shared.with(|inner| inner.machine.marks(partition))
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.with(|inner| inner.machine.counters())
    }

    /// What is known of the cluster.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.shared.with(|inner| inner.driver.cluster.metadata().clone())
    }

    /// Who this member is at present, for a transactional producer; `None` without a `group.id`.
    #[must_use]
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        self.shared.with(|inner| inner.machine.group_metadata())
    }

    /// The partitions of a topic, as soon as they are known; `None` if they are not by the timeout.
    pub async fn partitions_of(&mut self, topic: &str, timeout: Duration) -> Option<Vec<TopicPartition>> {
        let due = self.shared.clock.now().after(timeout);
        let _busy = Busy::begin(&self.shared);
        self.shared.with(|inner| {
            let now = inner.driver.now();
            inner.driver.cluster.watch(now, topic);
        });
        loop {
            let found = self.shared.with(|inner| {
                let metadata = inner.driver.cluster.metadata();
                metadata.partition_count(topic)?;
                let partitions = metadata.topics.get(topic)?.partitions.iter();
                Some(partitions.map(|partition| TopicPartition::new(topic, partition.index)).collect())
            });
            if found.is_some() || self.shared.clock.now().reached(due) {
                return found;
            }
            self.shared.turn(Some(due)).await;
        }
    }

    /// Up to `max.poll.records` records, as soon as there is one; none after `timeout`. What the poll before gave counts
    /// as read. Dropping the future loses nothing.
    ///
    /// # Errors
    /// What the reader must know, each thing once; it may go on. Where the group has no place for it any more, the same
    /// each time.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<Polled>, ConsumeError> {
        let due = self.shared.clock.now().after(timeout);
        let _busy = Busy::begin(&self.shared);
        loop {
            self.attend().await;
            let (polled, now) = self.shared.with(|inner| {
                let polled = inner.machine.poll();
                let now = inner.driver.now();
                inner.machine.step(now, &mut inner.driver.cluster);
                inner.told();
                (polled, now)
            });
            if polled.as_ref().map_or(true, |polled| !polled.is_empty()) {
                // Whatever was asked goes out before the reader turns to its records.
                self.shared.with(Inner::sweep);
                tokio::task::yield_now().await;
                self.shared.with(Inner::sweep);
                return polled;
            }
            if now.reached(due) {
                return polled;
            }
            self.shared.turn(Some(due)).await;
        }
    }

    /// Lets rebalances go on, as far as they go.
    async fn attend(&mut self) {
        loop {
            let told = self.shared.with(|inner| {
                let now = inner.driver.now();
                inner.machine.attend(now, &mut inner.driver.cluster);
                inner.machine.rebalance().cloned()
            });
            let (Some(told), Some(listener)) = (told, &mut self.listener) else { return };
            self.shared.with(|inner| {
                let clock = inner.driver.clock();
                let (machine, cluster) = (&mut inner.machine, &mut inner.driver.cluster);
                let mut seat = Seat { machine, cluster, clock };
                match &told {
                    Rebalance::Revoked(partitions) => listener.revoked(&mut seat, partitions),
                    Rebalance::Assigned(partitions) => listener.assigned(&mut seat, partitions),
                    Rebalance::Lost(partitions) => listener.lost(&mut seat, partitions),
                }
            });
            if matches!(told, Rebalance::Revoked(_)) {
                // Each commit has its own end in time.
                while self.shared.with(|inner| inner.machine.is_committing()) {
                    self.shared.turn(None).await;
                }
            }
            self.shared.with(|inner| {
                let now = inner.driver.now();
                inner.machine.rebalanced(now, &mut inner.driver.cluster);
            });
        }
    }

    /// Commits the positions of all partitions and waits for it.
    ///
    /// # Errors
    /// As [`commit_offsets`](Self::commit_offsets).
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        let positions = self.positions();
        self.commit_offsets(positions).await
    }

    /// Commits offsets and waits for it.
    ///
    /// # Errors
    /// There is no `group.id`; the group has moved on without this member; the coordinator refused, or was not to be found
    /// within `default.api.timeout.ms`.
    pub async fn commit_offsets(
        &mut self,
        offsets: BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<(), ClientError> {
        let mut end = self.commit_later(offsets)?;
        let _busy = Busy::begin(&self.shared);
        loop {
            match end.try_recv() {
                Ok(result) => return result,
                Err(oneshot::error::TryRecvError::Closed) => return Err(ClientError::Closed),
                Err(oneshot::error::TryRecvError::Empty) => self.shared.turn(None).await,
            }
        }
    }

    /// Commits offsets without waiting: the end can be waited for, or not. It comes while the consumer is polled, or
    /// between polls.
    ///
    /// # Errors
    /// There is no `group.id`.
    pub fn commit_later(
        &mut self,
        offsets: BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<oneshot::Receiver<Result<(), ClientError>>, ClientError> {
        let (sender, end) = oneshot::channel();
        self.shared.with(|inner| {
            inner.needs_group()?;
            let now = inner.driver.now();
            match inner.machine.commit(now, &mut inner.driver.cluster, offsets) {
                Some(id) => drop(inner.commits.insert(id, sender)),
                None => return Err(ClientError::Closed),
            }
            Ok::<(), ClientError>(())
        })?;
        self.shared.freed.notify_one();
        Ok(end)
    }

    /// What the group has committed for these partitions; those for which it has committed nothing are missing.
    ///
    /// # Errors
    /// There is no `group.id`, or the coordinator refused.
    pub async fn committed(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError> {
        let group = self.shared.with(|inner| inner.needs_group())?;
        let keys = partitions.iter().map(|p| (p.topic.to_string(), p.partition)).collect();
        let wanted = BTreeMap::from([(group, OffsetsOf::Partitions(keys))]);
        let found = self.run(admin::list_group_offsets(wanted, Stability::Stable)).await?;
        let offsets = found.into_values().next().transpose()?.unwrap_or_default();
        let named = |((topic, index), offset): ((String, i32), Option<CommittedOffset>)| {
            Some((TopicPartition::new(&topic, index), offset?))
        };
        Ok(offsets.into_iter().filter_map(named).collect())
    }

    /// The first offsets of these partitions.
    ///
    /// # Errors
    /// The brokers could not be asked.
    pub async fn beginning_offsets(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, ClientError> {
        self.offsets(partitions.iter().map(|p| (p.clone(), OffsetSpec::Earliest))).await
    }

    /// The offsets behind the last records of these partitions that this consumer may read.
    ///
    /// # Errors
    /// The brokers could not be asked.
    pub async fn end_offsets(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, ClientError> {
        self.offsets(partitions.iter().map(|p| (p.clone(), OffsetSpec::Latest))).await
    }

    /// The offsets of the first records that are not older than these times, in ms; partitions without such a record are
    /// missing.
    ///
    /// # Errors
    /// The brokers could not be asked.
    pub async fn offsets_for_times(
        &mut self,
        times: &BTreeMap<TopicPartition, i64>,
    ) -> Result<BTreeMap<TopicPartition, i64>, ClientError> {
        let mut found =
            self.offsets(times.iter().map(|(p, ms)| (p.clone(), OffsetSpec::Timestamp(*ms)))).await?;
        found.retain(|_, offset| *offset >= 0);
        Ok(found)
    }

    async fn offsets(
        &mut self,
        wanted: impl Iterator<Item = (TopicPartition, OffsetSpec)>,
    ) -> Result<BTreeMap<TopicPartition, i64>, ClientError> {
        let wanted = wanted.map(|(p, spec)| ((p.topic.to_string(), p.partition), spec)).collect();
        let isolation = self.shared.with(|inner| inner.machine.settings().isolation);
        let found = self.run(admin::list_offsets_as(wanted, isolation)).await?;
        let row = |((topic, index), found): ((String, i32), ItemResult<Offsets>)| {
            Ok((TopicPartition::new(&topic, index), found?.offset))
        };
        found.into_iter().map(row).collect()
    }

    /// Runs an operation of the admin on this consumer's connections.
    ///
    /// # Errors
    /// Those of the operation.
    pub async fn run<O: Operation>(&mut self, operation: O) -> Result<O::Answer, ClientError> {
        let _busy = Busy::begin(&self.shared);
        let mut running = self.shared.with(|inner| {
            let now = inner.driver.now();
            Running::start(operation, now, &mut inner.driver.cluster)
        });
        loop {
            let finished = self.shared.finished(running.deadline()).await;
            let answer = self.shared.with(|inner| {
                let now = inner.driver.now();
                let mut answer = None;
                let mut others = Vec::new();
                for done in finished {
                    match running.owns(done.ticket) {
                        true => {
                            answer = running.done(now, &mut inner.driver.cluster, done.ticket, done.outcome);
                        }
                        false => others.push(done),
                    }
                }
                inner.take(others);
                answer.or_else(|| running.step(now, &mut inner.driver.cluster))
            });
            if let Some(answer) = answer {
                return answer;
            }
        }
    }

    /// Commits where that is automatic, lets go of everything, leaves the group and closes; what has not been done after
    /// `timeout` is left undone.
    pub async fn close(mut self, timeout: Duration) {
        let due = self.shared.clock.now().after(timeout);
        let busy = Busy::begin(&self.shared);
        self.shared.with(|inner| {
            let now = inner.driver.now();
            inner.machine.close(now, &mut inner.driver.cluster);
        });
        while !self.shared.with(|inner| inner.machine.is_closed()) {
            if self.shared.clock.now().reached(due) {
                break;
            }
            self.attend().await;
            if self.shared.with(|inner| inner.machine.is_closed()) {
                break;
            }
            self.shared.turn(Some(due)).await;
        }
        drop(busy);
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.with(|inner| inner.over = true);
        self.shared.freed.notify_one();
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shared.with(|inner| f.debug_struct("Consumer").field("machine", &inner.machine).finish())
    }
}

/// While it lives, the reader drives.
struct Busy(Arc<Shared>);

impl Busy {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.with(|inner| inner.busy = true);
        Self(shared.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.with(|inner| inner.busy = false);
        self.0.freed.notify_one();
    }
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        // Only a panic in the machine poisons the lock, and then every call after it should fail as loudly.
        act(&mut self.inner.lock().expect("the consumer has not failed"))
    }

    /// Waits for something to happen, at most until something is due, and hands it to the machine.
    async fn turn(&self, until: Option<Deadline>) {
        let finished = self.finished(until).await;
        self.with(|inner| inner.take(finished));
    }

    async fn finished(&self, until: Option<Deadline>) -> Vec<Finished> {
        let turn = |inner: &mut Inner, context: &mut std::task::Context<'_>| {
            let machine = [inner.machine.deadline(), inner.machine.attend_by()];
            let until = machine.into_iter().chain([until]).flatten().min();
            inner.driver.poll_turn(context, until)
        };
        poll_fn(|context| self.with(|inner| turn(inner, context))).await
    }

    /// The same for the task between polls: it waits while the reader drives.
    async fn turn_between_polls(&self) {
        let finished = poll_fn(|context| {
            self.with(|inner| match inner.busy {
                true => Poll::Pending,
                false => {
                    let until = inner.machine.deadline();
                    inner.driver.poll_turn(context, until)
                }
            })
        });
        let finished = finished.await;
        self.with(|inner| inner.take(finished));
    }
}

impl Inner {
    fn needs_group(&self) -> Result<String, ClientError> {
        let group = self.machine.settings().group.as_ref().map(|group| group.id.clone());
        let why = "To use the group management or offset commit APIs, you must provide a valid group.id in the consumer configuration.";
        group.ok_or_else(|| ClientError::Invalid(why.to_owned()))
    }

    fn take(&mut self, finished: Vec<Finished>) {
        let now = self.driver.now();
        for done in finished {
            self.machine.done(now, &mut self.driver.cluster, done.ticket, done.outcome);
        }
        self.machine.step(now, &mut self.driver.cluster);
        self.told();
    }

    /// Tells those who wait for commits.
    fn told(&mut self) {
        while let Some((id, result)) = self.machine.committed() {
            if let Some(sender) = self.commits.remove(&id) {
                // Whoever committed may have stopped waiting.
                let _ = sender.send(result);
            }
        }
    }

    fn sweep(&mut self) {
        let finished = self.driver.sweep();
        self.take(finished);
    }
}

/// The task between polls: ends with the consumer.
async fn keep(shared: Arc<Shared>) {
    while !shared.with(|inner| inner.over) {
        tokio::select! {
            () = shared.freed.notified() => {}
            () = shared.turn_between_polls() => {}
        }
    }
}
