//! The verbs of `tests/clients/groups/README.md`, by this client: what `cargo xtask test` asks of every client library.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use ottla_client::Properties;
use ottla_client::consumer::{Polled, Start, TopicPartition};
use ottla_client::net::{Consumer, Producer, RebalanceListener, Seat};
use ottla_client::producer::NewRecord;
use tokio::io::AsyncReadExt;

type Failure = Box<dyn Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["produce", broker, topic, from, count] => {
            produce(broker, topic, from.parse()?, count.parse()?).await
        }
        ["member", broker, group, topic, protocol] => member(broker, group, topic, protocol).await,
        ["copy", broker, group, from, to, id, protocol] => {
            copy((broker, group, protocol), (from, to), id).await
        }
        ["committed", broker, topic] => committed(broker, topic).await,
        _ => Err("produce, member, copy or committed, with their arguments".into()),
    }
}

async fn produce(broker: &str, topic: &str, from: u32, count: u32) -> Result<(), Failure> {
    let producer = Producer::start(&settings(broker, &[])).await?;
    let mut deliveries = Vec::new();
    for n in from..from + count {
        let (key, value) = (format!("key-{}", n % 100), n.to_string());
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        deliveries.push(producer.send(&NewRecord { topic, key, value, ..NewRecord::default() }).await?);
    }
    producer.flush().await;
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

async fn member(broker: &str, group: &str, topic: &str, protocol: &str) -> Result<(), Failure> {
    let mut consumer = joined(broker, group, topic, protocol).await?;
    let mut ending = Ending::new();
    while !ending.has_come() {
        let polled = consumer.poll(Duration::from_millis(100)).await?;
        show(&polled);
        if !polled.is_empty() {
            match consumer.commit().await {
                Err(error) => eprintln!("{error}"),
                Ok(_) => said(&polled),
            }
        }
    }
    consumer.close(Duration::from_secs(10)).await;
    Ok(())
}

async fn copy(
    (broker, group, protocol): (&str, &str, &str),
    (from, to): (&str, &str),
    id: &str,
) -> Result<(), Failure> {
    let mut consumer = joined(broker, group, from, protocol).await?;
    let producer = Producer::start(&settings(broker, &[("transactional.id", id)])).await?;
    producer.init_transactions().await?;
    let mut ending = Ending::new();
    let mut number = 0;
    while !ending.has_come() {
        let polled = consumer.poll(Duration::from_millis(100)).await?;
        if polled.is_empty() {
            continue;
        }
        if number % 3 == 0 {
            transact(&producer, &consumer, to, &polled).await?;
            producer.abort_transaction().await?;
        }
        number += 1;
        transact(&producer, &consumer, to, &polled).await?;
        producer.commit_transaction().await?;
        show(&polled);
    }
    consumer.close(Duration::from_secs(10)).await;
    producer.close(Duration::from_secs(10)).await;
    Ok(())
}

/// Everything that belongs to one transaction but its end.
async fn transact(
    producer: &Producer,
    consumer: &Consumer,
    topic: &str,
    polled: &[Polled],
) -> Result<(), Failure> {
    producer.begin_transaction()?;
    for record in polled.iter().flat_map(|of_partition| &of_partition.records) {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        producer.send(&NewRecord { topic, key, value, ..NewRecord::default() }).await?;
    }
    let group = consumer.group_metadata().ok_or("the consumer has a group")?;
    producer.send_offsets_to_transaction(consumer.positions(), group).await?;
    Ok(())
}

async fn committed(broker: &str, topic: &str) -> Result<(), Failure> {
    let mut consumer = Consumer::start(&settings(broker, &[("isolation.level", "read_committed")])).await?;
    let partitions =
        consumer.partitions_of(topic, Duration::from_secs(30)).await.ok_or("the topic is not known")?;
    let mut ends: BTreeMap<TopicPartition, i64> = consumer.end_offsets(&partitions).await?;
    consumer.assign(partitions.clone())?;
    for partition in &partitions {
        consumer.seek(partition, Start::Beginning);
    }
    while !ends.is_empty() {
        show(&consumer.poll(Duration::from_millis(200)).await?);
        ends.retain(|partition, end| consumer.position(partition).is_none_or(|position| position < *end));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program may read its environment")]
async fn joined(broker: &str, group: &str, topic: &str, protocol: &str) -> Result<Consumer, Failure> {
    let session = std::env::var("SESSION_MS").unwrap_or_else(|_| "10000".to_owned());
    let mut pairs = vec![
        ("group.id", group),
        ("group.protocol", protocol),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("isolation.level", "read_committed"),
        ("fetch.max.wait.ms", "100"),
    ];
    if protocol == "classic" {
        pairs.extend([("session.timeout.ms", session.as_str()), ("heartbeat.interval.ms", "500")]);
    }
    let mut consumer = Consumer::start(&settings(broker, &pairs)).await?;
    consumer.listen(Owned);
    consumer.subscribe([topic])?;
    Ok(consumer)
}

/// Says what the member owns when that has changed.
struct Owned;

impl RebalanceListener for Owned {
    fn assigned(&mut self, seat: &mut Seat<'_>, _: &[TopicPartition]) {
        let owned: Vec<String> = seat.assignment().map(|partition| partition.partition.to_string()).collect();
        println!("owns {}", owned.join(" "));
    }
}

fn show(polled: &[Polled]) {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    for of_partition in polled {
        for record in &of_partition.records {
            let (key, value) = (text(record.key.as_deref()), text(record.value.as_deref()));
            println!("{} {} {key} {value}", of_partition.partition.partition, record.offset.0);
        }
    }
}

/// Says what has been committed.
fn said(polled: &[Polled]) {
    for of_partition in polled {
        if let Some(last) = of_partition.records.last() {
            println!("committed {} {}", of_partition.partition.partition, last.offset.0 + 1);
        }
    }
}

fn settings(broker: &str, pairs: &[(&str, &str)]) -> Properties {
    let mut properties = Properties::default();
    properties.set("bootstrap.servers", broker);
    for (key, value) in pairs {
        properties.set(key, *value);
    }
    properties
}

/// The end of standard input.
struct Ending(tokio::task::JoinHandle<()>);

impl Ending {
    fn new() -> Self {
        Self(tokio::spawn(async {
            let mut input = Vec::new();
            let _ = tokio::io::stdin().read_to_end(&mut input).await;
        }))
    }

    fn has_come(&mut self) -> bool {
        self.0.is_finished()
    }
}
