//! From partitions to lines on standard output, until enough was read, too little came, or nobody listens.

use std::time::Duration;

use ottla_client::Properties;
use ottla_client::consumer::{ConsumeError, Hooks, Matcher, Polled, Start, Subscription, TopicPartition};
use ottla_protocol::Now;
use regex::Regex;

use super::format::{Formatter, Shown};
use crate::tools::Out;
use crate::tools::failure::Failure;
use crate::tools::member::{CLOSE_TIMEOUT, Member};
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
        let mut member = Member::open(properties, Hooks::None).await?;
        let mut signals = Signals::catch()?;
        self.begin(&mut member);
        let mut count = 0;
        let end = tokio::select! {
            end = self.read(&mut member, out, &mut count) => end,
            signal = signals.caught() => End::Signal(signal),
        };
        tokio::select! {
            () = member.leave(CLOSE_TIMEOUT, drop) => {}
            // Whoever asks a second time does not want to wait.
            _ = signals.caught() => {}
        }
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

    fn begin(&self, member: &mut Member) {
        match &self.source {
            Source::Partition(topic, partition) => {
                let Member { driver, consumer } = member;
                let partition = TopicPartition::new(topic, *partition);
                consumer.assign(driver.now(), &mut driver.cluster, [partition.clone()]);
                consumer.seek(driver.now(), &mut driver.cluster, &partition, self.start);
            }
            Source::Topic(topic) => member.subscribe_to(topic),
            Source::Pattern(pattern) => {
                let pattern = pattern.clone();
                let matcher = Matcher::new(move |topic| pattern.is_match(topic));
                member.subscribe(Subscription::Matching(matcher));
            }
        }
    }

    async fn read(&self, member: &mut Member, out: Out<'_>, count: &mut u64) -> End {
        let patience = self.timeout_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        let wait_until = |now: Now| patience.map(|patience| now.after(patience));
        let mut give_up = wait_until(member.driver.now());
        loop {
            let left = self.max_messages.map_or(u64::MAX, |most| most.saturating_sub(*count));
            if left == 0 {
                return End::Enough;
            }
            member.consumer.attend(member.driver.now(), &mut member.driver.cluster);
            match self.show(member, out, left) {
                Err(end) => return end,
                Ok(0) => {}
                Ok(shown) => {
                    *count += shown;
                    give_up = wait_until(member.driver.now());
                    continue;
                }
            }
            if out.flush().is_err() {
                return End::NobodyListens;
            }
            let now = member.driver.now();
            if give_up.is_some_and(|deadline| now.reached(deadline)) {
                return End::Trouble("no record came in time (--timeout-ms)".to_owned());
            }
            member.turn(give_up).await;
        }
    }

    /// Shows what is there already; the number of records.
    fn show(&self, member: &mut Member, out: Out<'_>, left: u64) -> Result<u64, End> {
        let consumer = &mut member.consumer;
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(consumer.settings().max_poll_records);
        let polled =
            consumer.poll_up_to(most).map_err(|error: ConsumeError| End::Trouble(error.to_string()))?;
        let mut lines = Vec::new();
        let mut count = 0;
        for (at, Polled { partition, records, stamped_by }) in polled.iter().enumerate() {
            for (place, record) in records.iter().enumerate() {
                let shown = Shown { partition: partition.partition, stamped_by: *stamped_by, record };
                if let Err(failure) = self.formatter.write(&shown, &mut lines) {
                    if !self.skip {
                        let _ = out.write_all(&lines);
                        unread(member, &polled, (at, place + 1));
                        return Err(End::Unreadable(failure));
                    }
                    tracing::error!("Error processing message, skipping this message: {}", failure.message());
                }
                count += 1;
            }
        }
        if out.write_all(&lines).is_err() {
            unread(member, &polled, (0, 0));
            return Err(End::NobodyListens);
        }
        Ok(count)
    }
}

/// What was not shown is not committed either: back to the first record of each partition, from this place on.
fn unread(member: &mut Member, polled: &[Polled], (from, record): (usize, usize)) {
    let Member { driver, consumer } = member;
    let now = driver.now();
    for (at, Polled { partition, records, .. }) in polled.iter().enumerate().skip(from).rev() {
        let first = if at == from { record } else { 0 };
        if let Some(record) = records.get(first) {
            consumer.seek(now, &mut driver.cluster, partition, Start::Offset(record.offset.0));
        }
    }
}
