//! Reads from one topic, writes to another, and commits both in one transaction: each record counts exactly once.
//!
//! `cargo run -p ottla-client --features net --example transactions -- BOOTSTRAP GROUP FROM TO [SETTING=VALUE]…`

use std::time::Duration;

use ottla_client::Properties;
use ottla_client::net::{Consumer, Producer};
use ottla_client::producer::{NewRecord, TransactionError};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or_else(|| format!("{what} is missing"));
    let (bootstrap, group) = (next("BOOTSTRAP")?, next("GROUP")?);
    let (from, to) = (next("FROM")?, next("TO")?);
    let mut settings = Properties::default();
    settings.set("bootstrap.servers", bootstrap);
    let mut idle_max = 10;
    let mut abort_every = 0;
    for setting in arguments {
        let (key, value) = setting.split_once('=').ok_or("a setting is KEY=VALUE")?;
        match key {
            "idle.seconds" => idle_max = value.parse()?,
            "abort.every" => abort_every = value.parse()?,
            _ => settings.set(key, value),
        }
    }

    let mut reading = settings.clone();
    reading.set("group.id", group.clone());
    reading.set("auto.offset.reset", "earliest");
    reading.set("enable.auto.commit", "false");
    reading.set("isolation.level", "read_committed");
    let mut consumer = Consumer::start(&reading).await?;
    consumer.subscribe([from.as_str()])?;
    settings.set("transactional.id", format!("{group}-copies"));
    let producer = Producer::start(&settings).await?;
    producer.init_transactions().await?;

    let (mut idle, mut round) = (0, 0);
    while idle < idle_max {
        // Where the transaction is aborted, reading goes on where it began.
        let before = consumer.positions();
        let polled = consumer.poll(Duration::from_secs(1)).await?;
        idle = if polled.is_empty() { idle + 1 } else { 0 };
        if polled.is_empty() {
            continue;
        }
        round += 1;
        producer.begin_transaction()?;
        for record in polled.iter().flat_map(|of_partition| &of_partition.records) {
            let copy = NewRecord {
                topic: &to,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                ..NewRecord::default()
            };
            producer.send(&copy).await?;
        }
        let group = consumer.group_metadata().ok_or("the consumer has a group")?;
        let offsets = producer.send_offsets_to_transaction(consumer.positions(), group).await;
        let ended = match offsets {
            Ok(()) if abort_every > 0 && round % abort_every == 0 => {
                Err(TransactionError::Misused("aborted for the sake of the example"))
            }
            Ok(()) => producer.commit_transaction().await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => println!("committed {}", polled.iter().map(|p| p.records.len()).sum::<usize>()),
            Err(error @ (TransactionError::Fenced | TransactionError::Fatal(_))) => return Err(error.into()),
            Err(error) => {
                println!("aborted: {error}");
                producer.abort_transaction().await?;
                for (partition, position) in before {
                    consumer.seek(&partition, ottla_client::consumer::Start::Offset(position.offset));
                }
            }
        }
    }
    consumer.close(Duration::from_secs(10)).await;
    producer.close(Duration::from_secs(10)).await;
    println!("done");
    Ok(())
}
