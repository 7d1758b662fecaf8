//! A member of a group: reads until nothing comes for a while, tells what its group gave and took, commits and leaves.
//!
//! `cargo run -p ottla-client --features net --example group -- BOOTSTRAP GROUP TOPIC [SETTING=VALUE]…`

use std::time::Duration;

use ottla_client::consumer::TopicPartition;
use ottla_client::net::{Consumer, RebalanceListener, Seat};
use ottla_client::{ClientError, Properties};

/// Says what happens.
struct Loud;

impl RebalanceListener for Loud {
    fn assigned(&mut self, _: &mut Seat<'_>, partitions: &[TopicPartition]) {
        println!("assigned {}", list(partitions));
    }

    fn revoked(&mut self, seat: &mut Seat<'_>, partitions: &[TopicPartition]) {
        // The last moment to commit what was read of them.
        let positions = seat.positions();
        seat.commit(positions);
        println!("revoked {}", list(partitions));
    }

    fn lost(&mut self, _: &mut Seat<'_>, partitions: &[TopicPartition]) {
        println!("lost {}", list(partitions));
    }
}

/// How far the group has come in what this member has.
async fn report(consumer: &mut Consumer) -> Result<(), ClientError> {
    let owned = consumer.assignment();
    let committed = consumer.committed(&owned).await?;
    let (first, end) = (consumer.beginning_offsets(&owned).await?, consumer.end_offsets(&owned).await?);
    // The first record that is not older than 1970 is the first there is.
    let since = consumer.offsets_for_times(&owned.iter().map(|p| (p.clone(), 0)).collect()).await?;
    for partition in &owned {
        let at = committed.get(partition).map_or(first[partition], |committed| committed.offset);
        let from = since.get(partition).copied().unwrap_or(end[partition]);
        println!("{partition}: {at} of {from} to {}", end[partition]);
    }
    Ok(())
}

fn list(partitions: &[TopicPartition]) -> String {
    let words: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    words.join(" ")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or_else(|| format!("{what} is missing"));
    let mut properties = Properties::default();
    properties.set("bootstrap.servers", next("BOOTSTRAP")?);
    properties.set("group.id", next("GROUP")?);
    let topic = next("TOPIC")?;
    properties.set("auto.offset.reset", "earliest");
    properties.set("enable.auto.commit", "false");
    let mut idle_max = 20;
    for setting in arguments {
        let (key, value) = setting.split_once('=').ok_or("a setting is KEY=VALUE")?;
        match key {
            "idle.seconds" => idle_max = value.parse()?,
            _ => properties.set(key, value),
        }
    }

    let mut consumer = Consumer::start(&properties).await?;
    consumer.listen(Loud);
    if topic.contains('*') {
        consumer.subscribe_pattern(&topic)?;
    } else {
        consumer.subscribe([topic.as_str()])?;
    }
    let mut idle = 0;
    while idle < idle_max {
        let polled = consumer.poll(Duration::from_secs(1)).await?;
        idle = if polled.is_empty() { idle + 1 } else { 0 };
        for of_partition in &polled {
            for record in &of_partition.records {
                let value = record.value.as_deref().unwrap_or_default();
                println!("{}@{} {}", of_partition.partition, record.offset.0, String::from_utf8_lossy(value));
            }
        }
        if !polled.is_empty() {
            consumer.commit().await?;
        }
    }
    report(&mut consumer).await?;
    consumer.close(Duration::from_secs(10)).await;
    println!("left");
    Ok(())
}
