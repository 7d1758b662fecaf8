//! How often something is done while many do it at once: they all work for a while that is not counted, then for one
//! that is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{milliseconds, percentile};
use crate::bench::machine::cpu_seconds;
use crate::node::Node;

/// What all who work count together.
#[derive(Default)]
pub struct Tally {
    counted: AtomicBool,
    done: AtomicU64,
    over: AtomicBool,
}

impl Tally {
    /// Whether nobody need go on.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Something is done that began then; how long it took goes to `times`, in ms, where it counts.
    pub fn note(&self, begin: Instant, times: &mut Vec<f64>) {
        if self.counted.load(Ordering::Relaxed) {
            self.done.fetch_add(1, Ordering::Relaxed);
            times.push(milliseconds(begin.elapsed()));
        }
    }
}

/// What was done while it counted.
pub struct Rate {
    pub per_second: f64,
    /// CPU seconds of the node for each.
    pub cpu_each: f64,
    /// How long each took, in ms.
    pub p50: f64,
    pub p99: f64,
}

/// Lets those who work go on for this long twice, and ends them; each answers with the times that it noted.
pub async fn measure(
    node: &Node,
    tally: &Arc<Tally>,
    mut working: JoinSet<anyhow::Result<Vec<f64>>>,
    seconds: u32,
) -> anyhow::Result<Rate> {
    let time = Duration::from_secs(seconds.into());
    sleep(time).await;
    let (cpu, begin) = (cpu_seconds(node)?, Instant::now());
    tally.counted.store(true, Ordering::Relaxed);
    sleep(time).await;
    tally.counted.store(false, Ordering::Relaxed);
    let (cpu, elapsed) = (cpu_seconds(node)? - cpu, begin.elapsed());
    tally.over.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    while let Some(taken) = working.join_next().await {
        times.extend(taken??);
    }
    let done = tally.done.load(Ordering::Relaxed) as f64;
    Ok(Rate {
        per_second: done / elapsed.as_secs_f64(),
        cpu_each: cpu / done,
        p50: percentile(&mut times, 0.5),
        p99: percentile(&mut times, 0.99),
    })
}
