//! Offset commits as fast as they are answered, from members of many groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::member::{Member, Place, TOPIC};
use super::{Figures, Protocol, milliseconds, percentile};
use crate::bench::machine::cpu_seconds;
use crate::bench::wire::{CoordinatorKind, Wire};
use crate::node::Node;

/// Members at work at once, each on a connection of its own.
pub const CONNECTIONS: usize = 40;

/// The groups of each connection, which take turns.
const GROUPS_EACH: usize = 5;

/// In each of so many partitions a commit commits.
const PARTITIONS: i32 = 4;

/// What all members count together.
#[derive(Default)]
struct Tally {
    counted: AtomicBool,
    done: AtomicU64,
    over: AtomicBool,
}

pub async fn measure(node: &Node, seconds: u32) -> anyhow::Result<Figures> {
    let mut wire = Wire::open(&node.address()).await?;
    let topic = wire.create_topic(TOPIC, 10).await?;
    wire.find_coordinator("committing", CoordinatorKind::Group).await?;
    let tally = Arc::new(Tally::default());
    let mut members = JoinSet::new();
    let place = Place { topic, partitions: PARTITIONS };
    for connection in 0..CONNECTIONS {
        let mut wire = Wire::open(&node.address()).await?;
        let mut groups = Vec::new();
        for number in 0..GROUPS_EACH {
            let name = format!("committing-{connection}-{number}");
            groups.push(Member::join(&mut wire, name, Protocol::Classic).await?);
        }
        members.spawn(commit(wire, groups, place, tally.clone()));
    }
    let time = Duration::from_secs(seconds.into());
    sleep(time).await;
    let (cpu, begin) = (cpu_seconds(node)?, Instant::now());
    tally.counted.store(true, Ordering::Relaxed);
    sleep(time).await;
    tally.counted.store(false, Ordering::Relaxed);
    let (cpu, elapsed) = (cpu_seconds(node)? - cpu, begin.elapsed());
    tally.over.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    while let Some(taken) = members.join_next().await {
        times.extend(taken??);
    }
    let done = tally.done.load(Ordering::Relaxed) as f64;
    Ok(vec![
        ("commits/s", done / elapsed.as_secs_f64()),
        ("CPU s per 100,000", cpu / done * 100_000.0),
        ("p50, ms", percentile(&mut times, 0.5)),
        ("p99, ms", percentile(&mut times, 0.99)),
    ])
}

/// Commits until it is over; how long each counted commit took, in ms.
async fn commit(
    mut wire: Wire,
    groups: Vec<Member>,
    place: Place,
    tally: Arc<Tally>,
) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    let mut offset = 0;
    while !tally.over.load(Ordering::Relaxed) {
        offset += 1;
        for group in &groups {
            let begin = Instant::now();
            group.commit(&mut wire, place, offset).await?;
            if tally.counted.load(Ordering::Relaxed) {
                tally.done.fetch_add(1, Ordering::Relaxed);
                times.push(milliseconds(begin.elapsed()));
            }
        }
    }
    Ok(times)
}
