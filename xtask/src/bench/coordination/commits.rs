//! Offset commits as fast as they are answered, from members of many groups.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::member::{Member, Place, TOPIC};
use super::rate::{self, Tally};
use super::{Figures, Protocol};
use crate::bench::wire::{CoordinatorKind, Wire};
use crate::node::Node;

/// Members at work at once, each on a connection of its own.
pub const CONNECTIONS: usize = 40;

/// The groups of each connection, which take turns.
const GROUPS_EACH: usize = 5;

/// In each of so many partitions a commit commits.
const PARTITIONS: i32 = 4;

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
    let rate = rate::measure(node, &tally, members, seconds).await?;
    Ok(vec![
        ("commits/s", rate.per_second),
        ("CPU s per 100,000", rate.cpu_each * 100_000.0),
        ("p50, ms", rate.p50),
        ("p99, ms", rate.p99),
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
    while !tally.is_over() {
        offset += 1;
        for group in &groups {
            let begin = Instant::now();
            group.commit(&mut wire, place, offset).await?;
            tally.note(begin, &mut times);
        }
    }
    Ok(times)
}
