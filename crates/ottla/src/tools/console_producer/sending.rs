//! From lines to delivered records: a thread reads standard input, a producer sends what it reads.

use std::io::{self, BufRead, BufReader, Read};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ottla_client::admin::{self, Limit};
use ottla_client::net::{Client, Producer};
use ottla_client::producer::{Delivered, NewRecord};
use ottla_client::{ClientError, Properties};
use tokio::sync::mpsc;

use super::line::{Line, LineReader};
use crate::tools::Out;
use crate::tools::failure::Failure;
use crate::tools::filter::check_topic_name;
use crate::tools::signals::Signals;

/// Whether records wait for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Each is written before the next is read.
    OneByOne,
    /// They go in batches.
    Freely,
}

/// How many chunks of lines may be read ahead.
const CHUNKS_MAX: usize = 4;

/// How many lines one chunk holds at most.
const CHUNK_LINES_MAX: usize = 1024;

/// What is sent has an end of its own (`delivery.timeout.ms`), so closing need not have an earlier one.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(u32::MAX as u64);

/// Sends lines until there are no more, then everything that still waits. A record that cannot be written is reported
/// and does not end the tool, unless records go one by one.
pub async fn run(
    topic: String,
    mut properties: Properties,
    reader: LineReader,
    pace: Pace,
    prompt: Option<Out<'_>>,
) -> Result<(), Failure> {
    check_topic_name(&topic)?;
    let turn = Turn::take(&mut properties)?;
    let turn = turn.counted(&topic, &properties).await?;
    let mut signals = Signals::catch()?;
    let producer = Producer::start_observed(&properties, Some(Box::new(report))).await?;
    let mut sending = Sending { producer, topic, pace, turn, reader };
    let ended = tokio::select! {
        ended = sending.lines(prompt) => ended,
        signal = signals.caught() => Err(signal),
    };
    tokio::select! {
        () = sending.producer.close(CLOSE_TIMEOUT) => ended,
        // Whoever asks a second time does not want to wait.
        signal = signals.caught() => Err(signal),
    }
}

struct Sending {
    producer: Producer,
    topic: String,
    pace: Pace,
    turn: Turn,
    reader: LineReader,
}

/// How partitions are chosen, where the producer does not choose by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// By key, or a while the same.
    Producer,
    /// One of so many after the other (RoundRobinPartitioner).
    RoundRobin { next: i32, count: i32 },
}

impl Turn {
    /// Takes `partitioner.class` out of the properties.
    fn take(properties: &mut Properties) -> Result<Self, Failure> {
        let Some(class) = properties.0.remove("partitioner.class") else { return Ok(Self::Producer) };
        match class.rsplit('.').next() {
            Some("RoundRobinPartitioner") => Ok(Self::RoundRobin { next: 0, count: 0 }),
            Some("DefaultPartitioner" | "UniformStickyPartitioner" | "") => Ok(Self::Producer),
            _ => Err(Failure::Error(format!(
                "Invalid value {class} for configuration partitioner.class: Class {class} could not be found."
            ))),
        }
    }

    /// The same, with the number of partitions, which only turns need to know.
    async fn counted(self, topic: &str, properties: &Properties) -> Result<Self, Failure> {
        let Self::RoundRobin { next, .. } = self else { return Ok(self) };
        let client = Client::connect(properties).await?;
        let described = client.run(admin::describe_topics(vec![topic.to_owned()], Limit::default())).await?;
        // A topic that does not exist may be about to be created: the producer chooses then.
        let count =
            described.into_iter().find_map(|(_, result)| result.ok()).map(|topic| topic.partitions.len());
        let count = count.and_then(|count| i32::try_from(count).ok()).filter(|count| *count > 0);
        Ok(count.map_or(Self::Producer, |count| Self::RoundRobin { next, count }))
    }

    fn next(&mut self) -> Option<i32> {
        let Self::RoundRobin { next, count } = self else { return None };
        let partition = *next;
        *next = (partition + 1) % *count;
        Some(partition)
    }
}

impl Sending {
    async fn lines(&mut self, mut prompt: Option<Out<'_>>) -> Result<(), Failure> {
        let mut lines = standard_input();
        loop {
            if let Some(out) = &mut prompt {
                write!(out, ">")?;
                out.flush()?;
            }
            let Some(chunk) = lines.recv().await else { return Ok(()) };
            for line in chunk? {
                let line = self.reader.read(line)?;
                self.send(&line).await?;
            }
        }
    }

    async fn send(&mut self, line: &Line) -> Result<(), Failure> {
        let record = NewRecord {
            topic: &self.topic,
            partition: self.turn.next(),
            timestamp: None,
            key: line.key.as_deref(),
            value: line.value.as_deref(),
            headers: &line.headers,
        };
        match self.pace {
            Pace::Freely => match self.producer.post(&record).await {
                Ok(_) => Ok(()),
                Err(error) => {
                    eprintln!("ERROR {}", self.lost(line, &error));
                    Ok(())
                }
            },
            Pace::OneByOne => {
                let delivery = self.producer.send(&record).await?;
                self.producer.flush().await;
                delivery.await.map(drop).map_err(|error| Failure::Error(self.lost(line, &error)))
            }
        }
    }

    fn lost(&self, line: &Line, error: &ClientError) -> String {
        let size = |part: &Option<Bytes>| match part {
            Some(part) => format!("{} bytes", part.len()),
            None => "null".to_owned(),
        };
        let (topic, key, value) = (&self.topic, size(&line.key), size(&line.value));
        format!(
            "Error when sending message to topic {topic} with key: {key}, value: {value} with error: {error}"
        )
    }
}

/// Tells of batches that were lost.
fn report(delivered: &Delivered) {
    if let Err(lost) = &delivered.outcome {
        let Delivered { topic, count, .. } = delivered;
        eprintln!("ERROR Error when sending {count} message(s) to topic {topic} with error: {}", lost.error);
        for (_, why) in &lost.culprits {
            eprintln!("ERROR {why}");
        }
    }
}

/// Lines of standard input, in chunks of what is there; the thread ends with its input.
fn standard_input() -> mpsc::Receiver<io::Result<Vec<Bytes>>> {
    let (sender, lines) = mpsc::channel(CHUNKS_MAX);
    thread::spawn(move || {
        let mut input = BufReader::with_capacity(1 << 16, io::stdin());
        loop {
            match chunk(&mut input) {
                Ok(lines) if lines.is_empty() => return,
                read => {
                    let failed = read.is_err();
                    if sender.blocking_send(read).is_err() || failed {
                        return;
                    }
                }
            }
        }
    });
    lines
}

/// At least one line, unless the input has ended, and as many more as need not be waited for.
fn chunk<R: Read>(input: &mut BufReader<R>) -> io::Result<Vec<Bytes>> {
    let mut lines = Vec::new();
    while lines.is_empty() || (lines.len() < CHUNK_LINES_MAX && input.buffer().contains(&b'\n')) {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        lines.push(line.into());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_a_newline_a_carriage_return_or_the_input() {
        let mut input = BufReader::new(&b"one\ntwo\r\n\nlast"[..]);
        let mut lines = Vec::new();
        loop {
            let some = chunk(&mut input).unwrap();
            if some.is_empty() {
                break;
            }
            lines.extend(some);
        }
        assert_eq!(lines, ["one", "two", "", "last"].map(|text| Bytes::from_static(text.as_bytes())));
    }

    #[test]
    fn kafkas_partitioners_are_known_by_name() {
        let take = |class: &str| {
            let mut properties = Properties::default();
            properties.set("partitioner.class", class);
            Turn::take(&mut properties)
        };
        let round_robin = take("org.apache.kafka.clients.producer.RoundRobinPartitioner").unwrap();
        assert_eq!(round_robin, Turn::RoundRobin { next: 0, count: 0 });
        let mut turn = Turn::RoundRobin { next: 0, count: 3 };
        assert_eq!((0..4).filter_map(|_| turn.next()).collect::<Vec<_>>(), [0, 1, 2, 0]);
        assert!(take("my.Partitioner").is_err());
        assert_eq!(Turn::take(&mut Properties::default()).unwrap(), Turn::Producer);
    }
}
