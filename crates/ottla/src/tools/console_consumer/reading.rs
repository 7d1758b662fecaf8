//! From partitions to lines on standard output, until enough was read, too little came, or nobody listens.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_client::cluster::Interest;
use ottla_client::consumer::{ConsumeError, Consumer, ConsumerSettings, Polled, Start, TopicPartition};
use ottla_client::net::Driver;
use ottla_client::{ClientError, Properties};
use ottla_protocol::Now;
use ottla_protocol::time::Deadline;
use regex::Regex;

use super::format::{Formatter, Shown};
use crate::tools::Out;
use crate::tools::failure::Failure;
use crate::tools::signals::Signals;

/// What is read.
#[derive(Clone, Debug)]
pub enum Source {
    /// One partition.
    Partition(String, i32),
    /// Every partition of a topic, also those it gets later.
    Topic(String),
    /// Every topic whose whole name matches.
    Pattern(Regex),
}

/// What the tool does.
#[derive(Debug)]
pub struct Reading {
    /// What is read.
    pub source: Source,
    /// Where a single partition is begun; elsewhere `auto.offset.reset` says it.
    pub start: Start,
    /// How records are shown.
    pub formatter: Formatter,
    /// How many, if not all.
    pub max_messages: Option<u64>,
    /// Whether records that cannot be shown are passed over.
    pub skip: bool,
    /// How long to wait for the next record, if not for ever.
    pub timeout_ms: Option<i64>,
}

/// Why reading came to its end.
enum End {
    Enough,
    /// Told on stderr; the exit code is 0 nevertheless, as in Kafka.
    Trouble(String),
    Signal(Failure),
    Unreadable(Failure),
    NobodyListens,
}

impl Reading {
    /// Reads until the end, then says how many records there were.
    pub async fn run(self, properties: &Properties, out: Out<'_>) -> Result<(), Failure> {
        let settings = ConsumerSettings::from_properties(properties).map_err(ClientError::from)?;
        let mut driver = Driver::open(properties).await?;
        let seed = driver.cluster.random();
        let mut consumer = Consumer::new(settings, seed);
        let mut signals = Signals::catch()?;
        self.begin(&mut driver, &mut consumer);
        let mut count = 0;
        let end = tokio::select! {
            end = self.read(&mut driver, &mut consumer, out, &mut count) => end,
            signal = signals.caught() => End::Signal(signal),
        };
        let flushed = out.flush();
        let told = match end {
            End::Enough => Ok(()),
            End::Trouble(why) => {
                eprintln!("ERROR Error processing message, terminating consumer process: {why}");
                Ok(())
            }
            End::NobodyListens => {
                eprintln!("Unable to write to standard out, closing consumer.");
                Ok(())
            }
            End::Signal(signal) => Err(signal),
            End::Unreadable(failure) => Err(failure),
        };
        eprintln!("Processed a total of {count} messages");
        told.and(flushed.map_err(Failure::from))
    }

    fn begin(&self, driver: &mut Driver, consumer: &mut Consumer) {
        let now = driver.now();
        match &self.source {
            Source::Partition(topic, partition) => {
                let partition = TopicPartition::new(topic, *partition);
                consumer.assign(now, &mut driver.cluster, [partition.clone()]);
                consumer.seek(now, &mut driver.cluster, &partition, self.start);
            }
            Source::Topic(topic) => driver.cluster.watch(now, topic),
            Source::Pattern(_) => driver.cluster.interest(now, Interest::All),
        }
    }

    async fn read(&self, driver: &mut Driver, consumer: &mut Consumer, out: Out<'_>, count: &mut u64) -> End {
        let patience = self.timeout_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        let wait_until = |now: Now| patience.map(|patience| now.after(patience));
        let mut give_up = wait_until(driver.now());
        let mut known = 0;
        loop {
            let left = self.max_messages.map_or(u64::MAX, |most| most.saturating_sub(*count));
            if left == 0 {
                return End::Enough;
            }
            match self.show(consumer, out, left) {
                Err(end) => return end,
                Ok(0) => {}
                Ok(shown) => {
                    *count += shown;
                    give_up = wait_until(driver.now());
                    continue;
                }
            }
            if out.flush().is_err() {
                return End::NobodyListens;
            }
            let now = driver.now();
            if give_up.is_some_and(|deadline| now.reached(deadline)) {
                return End::Trouble("no record came in time (--timeout-ms)".to_owned());
            }
            turn(driver, consumer, give_up).await;
            if driver.cluster.metadata().updates != known {
                known = driver.cluster.metadata().updates;
                self.assign(driver, consumer);
            }
        }
    }

    /// Shows what is there already; the number of records.
    fn show(&self, consumer: &mut Consumer, out: Out<'_>, left: u64) -> Result<u64, End> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(consumer.settings().max_poll_records);
        let polled =
            consumer.poll_up_to(most).map_err(|error: ConsumeError| End::Trouble(error.to_string()))?;
        let mut lines = Vec::new();
        let mut count = 0;
        for Polled { partition, records, stamped_by } in &polled {
            for record in records {
                let shown = Shown { partition: partition.partition, stamped_by: *stamped_by, record };
                if let Err(failure) = self.formatter.write(&shown, &mut lines) {
                    if !self.skip {
                        let _ = out.write_all(&lines);
                        return Err(End::Unreadable(failure));
                    }
                    tracing::error!("Error processing message, skipping this message: {}", failure.message());
                }
                count += 1;
            }
        }
        out.write_all(&lines).map_err(|_| End::NobodyListens)?;
        Ok(count)
    }

    /// Reads every partition that the metadata shows now.
    fn assign(&self, driver: &mut Driver, consumer: &mut Consumer) {
        let topics = &driver.cluster.metadata().topics;
        let wanted = topics.iter().filter(|(name, topic)| match &self.source {
            Source::Partition(..) => false,
            Source::Topic(wanted) => *name == wanted,
            Source::Pattern(pattern) => !topic.internal && pattern.is_match(name),
        });
        let wanted: BTreeSet<TopicPartition> = wanted
            .flat_map(|(name, topic)| topic.partitions.iter().map(|p| TopicPartition::new(name, p.index)))
            .collect();
        let same = consumer.assignment().eq(wanted.iter());
        if !wanted.is_empty() && !same {
            consumer.assign(driver.now(), &mut driver.cluster, wanted);
        }
    }
}

async fn turn(driver: &mut Driver, consumer: &mut Consumer, give_up: Option<Deadline>) {
    let until = [consumer.deadline(), give_up].into_iter().flatten().min();
    let finished = driver.turn(until).await;
    let now = driver.now();
    for done in finished {
        consumer.done(now, &mut driver.cluster, done.ticket, done.outcome);
    }
    consumer.step(now, &mut driver.cluster);
}
