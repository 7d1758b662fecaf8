//! A consumer with sockets: whoever polls it drives it.
//!
//! Between polls the sockets are read, but nothing new is asked for; so `poll` sends the next fetch before it returns.

use std::time::Duration;

use ottla_protocol::time::Deadline;

use super::driver::Driver;
use super::seed;
use crate::connection::Finished;
use crate::consumer::{
    ConsumeError, Consumer as Machine, ConsumerSettings, Counters, Marks, Polled, Start, TopicPartition,
};
use crate::error::ClientError;
use crate::metadata::Metadata;
use crate::settings::Properties;

/// Reads records of partitions that are assigned by hand.
#[derive(Debug)]
pub struct Consumer {
    driver: Driver,
    machine: Machine,
}

impl Consumer {
    /// A consumer without partitions; nobody need listen at the bootstrap addresses yet.
    ///
    /// # Errors
    /// Settings that make no consumer, or no bootstrap address that can be resolved.
    pub async fn start(properties: &Properties) -> Result<Self, ClientError> {
        let settings = ConsumerSettings::from_properties(properties)?;
        Ok(Self { driver: Driver::open(properties).await?, machine: Machine::new(settings, seed()) })
    }

    /// Reads these partitions and no others; those that were assigned before keep their positions.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.machine.assign(self.driver.now(), &mut self.driver.cluster, partitions);
    }

    /// Goes elsewhere in a partition that is assigned.
    pub fn seek(&mut self, partition: &TopicPartition, start: Start) {
        self.machine.seek(self.driver.now(), &mut self.driver.cluster, partition, start);
    }

    /// Neither fetches nor hands out this partition until it is resumed.
    pub fn pause(&mut self, partition: &TopicPartition) {
        self.machine.pause(partition);
    }

    /// Ends a pause.
    pub fn resume(&mut self, partition: &TopicPartition) {
        self.machine.resume(self.driver.now(), &mut self.driver.cluster, partition);
    }

    /// The offset of the next record of a partition; `None` while it is not known.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.machine.position(partition)
    }

    /// What the broker said last about the ends of a partition.
    #[must_use]
    pub fn marks(&self, partition: &TopicPartition) -> Option<Marks> {
        self.machine.marks(partition)
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.machine.counters()
    }

    /// What is known of the cluster.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        self.driver.cluster.metadata()
    }

    /// The partitions of a topic, as soon as they are known; `None` if they are not by the timeout.
    pub async fn partitions_of(&mut self, topic: &str, timeout: Duration) -> Option<Vec<TopicPartition>> {
        let due = self.driver.now().after(timeout);
        self.driver.cluster.watch(self.driver.now(), topic);
        while self.metadata().partition_count(topic).is_none() {
            if self.driver.now().reached(due) {
                return None;
            }
            self.turn(Some(due)).await;
        }
        let found = self.metadata().topics.get(topic)?;
        Some(found.partitions.iter().map(|partition| TopicPartition::new(topic, partition.index)).collect())
    }

    /// Up to `max.poll.records` records, as soon as there is one; none after `timeout`.
    ///
    /// # Errors
    /// What the reader must know, each thing once; it may go on.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<Polled>, ConsumeError> {
        let due = self.driver.now().after(timeout);
        loop {
            let polled = self.machine.poll();
            let now = self.driver.now();
            self.machine.step(now, &mut self.driver.cluster);
            if polled.as_ref().map_or(true, |polled| !polled.is_empty()) {
                // Whatever was asked goes out before the reader turns to its records.
                let finished = self.driver.glance().await;
                self.take(finished);
                return polled;
            }
            if now.reached(due) {
                return polled;
            }
            let until = self.machine.deadline().map_or(due, |deadline| deadline.min(due));
            self.turn(Some(until)).await;
        }
    }

    async fn turn(&mut self, until: Option<Deadline>) {
        let finished = self.driver.turn(until).await;
        self.take(finished);
    }

    fn take(&mut self, finished: Vec<Finished>) {
        let now = self.driver.now();
        for done in finished {
            self.machine.done(now, &mut self.driver.cluster, done.ticket, done.outcome);
        }
    }
}
