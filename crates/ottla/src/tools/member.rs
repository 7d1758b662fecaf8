//! A consumer and its sockets, driven by the tool itself, so that it sees rebalances as they happen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_client::admin::CommittedOffset;
use ottla_client::consumer::{
    ConsumeError, Consumer, ConsumerSettings, Hooks, Polled, Rebalance, Subscription, TopicPartition,
};
use ottla_client::net::Driver;
use ottla_client::{ClientError, Properties};
use ottla_protocol::time::Deadline;

/// How long leaving a group may take, as with Java's consumer.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// See the module.
pub struct Member {
    /// The sockets, and the clock.
    pub driver: Driver,
    /// The machine.
    pub consumer: Consumer,
}

/// What a member sees next.
#[derive(Debug)]
pub enum Seen {
    /// Records, at least one.
    Records(Vec<Polled>),
    /// Partitions that come or go; reading goes on with the next look.
    Rebalance(Rebalance),
    /// Nothing until the moment that was given.
    Nothing,
}

impl Member {
    /// A member of nothing yet; nobody need listen at the bootstrap addresses.
    ///
    /// # Errors
    /// Settings that make no consumer, or no bootstrap address that can be resolved.
    pub async fn open(properties: &Properties, hooks: Hooks) -> Result<Self, ClientError> {
        let settings = ConsumerSettings::from_properties(properties)?;
        let mut driver = Driver::open(properties).await?;
        let seed = driver.cluster.random();
        let mut consumer = Consumer::new(settings, seed);
        consumer.hooks(hooks);
        Ok(Self { driver, consumer })
    }

    /// Joins the group.
    pub fn subscribe(&mut self, subscription: Subscription) {
        self.consumer.subscribe(self.driver.now(), &mut self.driver.cluster, subscription);
    }

    /// Joins the group to read one topic.
    pub fn subscribe_to(&mut self, topic: &str) {
        self.subscribe(Subscription::Topics([Arc::from(topic)].into()));
    }

    /// Waits for the next thing to be seen, until a moment or for ever.
    ///
    /// # Errors
    /// What the reader must know.
    pub async fn next(&mut self, until: Option<Deadline>) -> Result<Seen, ConsumeError> {
        loop {
            self.consumer.attend(self.driver.now(), &mut self.driver.cluster);
            if let Some(rebalance) = self.rebalance() {
                return Ok(Seen::Rebalance(rebalance));
            }
            let polled = self.consumer.poll()?;
            if !polled.is_empty() {
                return Ok(Seen::Records(polled));
            }
            if until.is_some_and(|until| self.driver.now().reached(until)) {
                return Ok(Seen::Nothing);
            }
            self.turn(until).await;
        }
    }

    /// What a rebalance takes or gives at this moment; it goes on.
    fn rebalance(&mut self) -> Option<Rebalance> {
        let rebalance = self.consumer.rebalance()?.clone();
        self.consumer.rebalanced(self.driver.now(), &mut self.driver.cluster);
        Some(rebalance)
    }

    /// Commits, and waits for the end of it.
    ///
    /// # Errors
    /// Those of the commit; there is no group.
    pub async fn commit(
        &mut self,
        offsets: BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<(), ClientError> {
        let commit = self.consumer.commit(self.driver.now(), &mut self.driver.cluster, offsets);
        let commit = commit.ok_or(ClientError::Closed)?;
        loop {
            while let Some((ended, result)) = self.consumer.committed() {
                if ended == commit {
                    return result;
                }
            }
            self.turn(None).await;
        }
    }

    /// Leaves the group after a last commit; what its partitions' end looks like is told.
    pub async fn leave(&mut self, timeout: Duration, mut told: impl FnMut(Rebalance)) {
        let give_up = self.driver.now().after(timeout);
        self.consumer.close(self.driver.now(), &mut self.driver.cluster);
        loop {
            while let Some(rebalance) = self.rebalance() {
                told(rebalance);
            }
            if self.consumer.is_closed() || self.driver.now().reached(give_up) {
                return;
            }
            self.turn(Some(give_up)).await;
            self.consumer.attend(self.driver.now(), &mut self.driver.cluster);
        }
    }

    /// Lets the sockets work until something happens.
    pub async fn turn(&mut self, until: Option<Deadline>) {
        let until = [self.consumer.deadline(), until].into_iter().flatten().min();
        let finished = self.driver.turn(until).await;
        let now = self.driver.now();
        for done in finished {
            self.consumer.done(now, &mut self.driver.cluster, done.ticket, done.outcome);
        }
        self.consumer.step(now, &mut self.driver.cluster);
    }
}
