//! Many groups, each with a member and committed offsets: what they cost while they rest.

use std::time::Instant;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::member::{Member, Place, TOPIC};
use super::{CALM, Figures, Protocol, milliseconds};
use crate::bench::machine::{resident_mib, used_kib};
use crate::bench::wire::{CoordinatorKind, Wire};
use crate::node::Node;

const CONNECTIONS: usize = 50;

/// In each of so many partitions a group has committed.
const PARTITIONS: i32 = 10;

pub async fn measure(node: &Node, protocol: Protocol, count: usize) -> anyhow::Result<Figures> {
    let mut wire = Wire::open(&node.address()).await?;
    let topic = wire.create_topic(TOPIC, PARTITIONS).await?;
    wire.find_coordinator("warm", CoordinatorKind::Group).await?;
    let mut wires = vec![wire];
    while wires.len() < CONNECTIONS {
        wires.push(Wire::open(&node.address()).await?);
    }
    let place = Place { topic, partitions: PARTITIONS };
    let mut wires = make(wires, place, protocol, "warm", count / 10).await?;
    sleep(CALM).await;
    let before = used_kib(node)?;
    let begin = Instant::now();
    wires = make(wires, place, protocol, "counted", count).await?;
    let made = begin.elapsed();
    sleep(CALM).await;
    let (resident, after) = (resident_mib(node)?, used_kib(node)?);
    drop(wires);
    Ok(vec![
        ("resident, MiB", resident),
        ("memory per group, KiB", (after - before) / count as f64),
        ("making all, ms", milliseconds(made)),
    ])
}

/// Makes groups on all connections at once, and gives the connections back.
async fn make(
    wires: Vec<Wire>,
    place: Place,
    protocol: Protocol,
    name: &'static str,
    count: usize,
) -> anyhow::Result<Vec<Wire>> {
    let mut makers = JoinSet::new();
    for (maker, mut wire) in wires.into_iter().enumerate() {
        makers.spawn(async move {
            for number in (maker..count).step_by(CONNECTIONS) {
                let member = Member::join(&mut wire, format!("{name}-{number}"), protocol).await?;
                member.commit(&mut wire, place, 1).await?;
            }
            anyhow::Ok(wire)
        });
    }
    let mut wires = Vec::new();
    while let Some(wire) = makers.join_next().await {
        wires.push(wire??);
    }
    Ok(wires)
}
