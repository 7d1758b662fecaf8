//! The coordinators beside Apache Kafka's: idle connections, groups, commits, rebalances, transactions.
//!
//! 500 consumers of any library do not fit on two cores beside a server. So the load is a small generator of our own,
//! one thread that speaks the wire (`wire`) and sends both servers the same requests. Each cell has a node of its own,
//! fresh, and a warm-up of its own that is not counted: a JVM compiles what it runs while it runs it.

mod commits;
mod connections;
mod groups;
mod member;
mod rate;
mod rebalance;
mod transactions;

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::node::{Node, Server};

/// The figures of a cell.
pub type Figures = Vec<(&'static str, f64)>;

/// No cell takes longer.
const AT_MOST: Duration = Duration::from_secs(300);

/// How long a server is left alone before its memory is read.
const CALM: Duration = Duration::from_secs(2);

/// Open files that a node and the load need each.
const FILES: u64 = 12_000;

/// The protocol of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// JoinGroup and SyncGroup.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848).
    Consumer,
}

/// What is done in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Connections { count: usize },
    Groups { protocol: Protocol, count: usize },
    Commits { seconds: u32 },
    Rebalance { protocol: Protocol, members: usize, rounds: usize },
    Transactions { producers: usize, seconds: u32 },
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Cell {
    pub name: String,
    work: Work,
}

/// Every cell; smaller ones where it has to be quick.
pub fn all(quick: bool) -> Vec<Cell> {
    let (count, groups, members) = if quick { (1_000, 100, 50) } else { (10_000, 1_000, 500) };
    let (rounds, seconds) = if quick { (1, 2) } else { (5, 6) };
    let cell = |name: String, work| Cell { name: format!("coordination: {name}"), work };
    let protocols = [(Protocol::Classic, "classic"), (Protocol::Consumer, "consumer")];
    let mut cells = vec![cell(format!("{count} idle connections"), Work::Connections { count })];
    cells.extend(protocols.map(|(protocol, said)| {
        cell(format!("{groups} groups, {said}"), Work::Groups { protocol, count: groups })
    }));
    cells.push(cell(
        format!("offset commits, {} connections", commits::CONNECTIONS),
        Work::Commits { seconds },
    ));
    cells.extend(protocols.map(|(protocol, said)| {
        cell(format!("rebalance of {members} members, {said}"), Work::Rebalance { protocol, members, rounds })
    }));
    cells.extend([1, 100].map(|producers| {
        cell(format!("transactions, {producers} producers"), Work::Transactions { producers, seconds })
    }));
    cells
}

/// The figures of one cell, on a node of its own.
pub fn measure(cell: &Cell, server: &Server) -> anyhow::Result<Figures> {
    raise_open_files()?;
    let mut node = Node::start(server, &[("group.consumer.assignment.interval.ms", "0")])?;
    let figures = run(async {
        match cell.work {
            Work::Connections { count } => connections::measure(&node, count).await,
            Work::Groups { protocol, count } => groups::measure(&node, protocol, count).await,
            Work::Commits { seconds } => commits::measure(&node, seconds).await,
            Work::Rebalance { protocol, members, rounds } => {
                rebalance::measure(&node, protocol, members, rounds).await
            }
            Work::Transactions { producers, seconds } => {
                transactions::measure(&node, producers, seconds).await
            }
        }
    })
    .with_context(|| cell.name.clone())?;
    node.stop()?;
    Ok(figures)
}

/// Runs a load to its end, on this thread.
fn run(load: impl Future<Output = anyhow::Result<Figures>>) -> anyhow::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::time::timeout(AT_MOST, load).await.with_context(|| format!("not done within {AT_MOST:?}"))?
    })
}

/// The load's open files, and those of the nodes that it starts.
fn raise_open_files() -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.map_or(FILES, |most| most.max(FILES));
    if limit.current.is_some_and(|now| now < maximum) {
        let raised = Rlimit { current: Some(maximum), maximum: limit.maximum.map(|_| maximum) };
        let done = setrlimit(Resource::Nofile, raised);
        ensure!(done.is_ok(), "{FILES} open files are needed: ulimit -n {FILES}");
    }
    Ok(())
}

/// Sorted, and the value that this part of all stays below; in the values' own unit.
fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * part) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn a_percentile_leaves_its_part_below() {
        let mut values: Vec<f64> = (0..100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.5), 50.0);
        assert_eq!(percentile(&mut values, 0.99), 99.0);
        assert_eq!(percentile(&mut values, 1.0), 99.0);
        assert!(percentile(&mut [], 0.5).is_nan());
    }
}
