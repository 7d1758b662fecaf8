//! Connections that have said which versions they speak and nothing since: what they cost, and whether anybody else is
//! still served.

use std::time::Instant;

use ottla_protocol::messages::MetadataRequest;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{CALM, Figures, milliseconds, percentile};
use crate::bench::machine::{resident_mib, used_kib};
use crate::bench::wire::Wire;
use crate::node::Node;

/// Connections that are being opened at once, fewer than fit into a listener's backlog.
const AT_ONCE: usize = 40;

/// Round trips that are timed, each on another of the idle connections.
const ROUND_TRIPS: usize = 1_000;

pub async fn measure(node: &Node, count: usize) -> anyhow::Result<Figures> {
    drop(open(node, count / 20).await?);
    sleep(CALM).await;
    let before = used_kib(node)?;
    let begin = Instant::now();
    let mut wires = open(node, count).await?;
    let opened = begin.elapsed();
    sleep(CALM).await;
    let (resident, after) = (resident_mib(node)?, used_kib(node)?);
    let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
    let mut times = Vec::new();
    let step = (count / ROUND_TRIPS).max(1);
    for wire in wires.iter_mut().step_by(step) {
        let begin = Instant::now();
        wire.ask(&request, 12).await?;
        times.push(milliseconds(begin.elapsed()));
    }
    Ok(vec![
        ("resident, MiB", resident),
        ("memory per connection, KiB", (after - before) / count as f64),
        ("opening all, ms", milliseconds(opened)),
        ("Metadata, p50, ms", percentile(&mut times, 0.5)),
        ("Metadata, p99, ms", percentile(&mut times, 0.99)),
    ])
}

/// Opens connections, some at a time.
async fn open(node: &Node, count: usize) -> anyhow::Result<Vec<Wire>> {
    let mut openers = JoinSet::new();
    for opener in 0..AT_ONCE {
        let address = node.address();
        openers.spawn(async move {
            let mut wires = Vec::new();
            for _ in (opener..count).step_by(AT_ONCE) {
                wires.push(Wire::open(&address).await?);
            }
            anyhow::Ok(wires)
        });
    }
    let mut wires = Vec::with_capacity(count);
    while let Some(opened) = openers.join_next().await {
        wires.extend(opened??);
    }
    Ok(wires)
}
