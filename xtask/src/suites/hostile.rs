//! Hostile bytes on the port: the node neither panics nor grows, and serves others meanwhile.

mod attack;
mod wire;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Stage;
use super::clients::Client;
use crate::node::Node;
use crate::report::Report;

const SUITE: &str = "hostile";

/// The most that Ottla may take in memory under attack.
const RESIDENT_AT_MOST_KIB: u64 = 150 * 1024;

/// How long anybody else may wait meanwhile.
const SERVED_WITHIN: Duration = Duration::from_secs(2);

/// Every attack, with somebody else being served throughout.
pub fn run(stage: &Stage, report: &mut Report) {
    let Some(mut node) = report.case(SUITE, "a node", || stage.node(&[])) else { return };
    let Some(client) = report.case(SUITE, "a client", || Ok(Client::ready("confluent-kafka")?)) else {
        return;
    };
    report.case(SUITE, "the client writes", || {
        client.create(&node.address(), 4, "-", &["before".to_owned()])?;
        client.bulk_write(&node.address(), "before", 4, 1000, 100)
    });
    for (place, port) in [("", node.port()), (" at the controller", node.controller_port())] {
        for (name, attack) in attack::ALL {
            if *name == attack::HALF_FRAMES && !stage.server.is_ottla() {
                continue;
            }
            let name = format!("{name}{place}");
            report.case(SUITE, &name, || while_serving(&node, port, *attack));
            if !node.is_running() {
                let gone = || anyhow::bail!("it is gone\n{}", node.log_tail());
                report.case::<()>(SUITE, "the node is there", gone);
                return;
            }
            report.case(SUITE, &format!("{name}: memory"), || resident(&node, stage));
        }
    }
    report.case(SUITE, "the client reads and writes as before", || {
        client.bulk_read(&node.address(), "before", 4, 1000, 1_048_576)?;
        client.create(&node.address(), 4, "-", &["after".to_owned()])?;
        client.bulk_write(&node.address(), "after", 4, 1000, 100)
    });
    report.case(SUITE, "no panic in its log", || super::no_panic(&node));
    report.case(SUITE, "the node stops", || node.stop());
}

/// Runs the attack while another connection asks for metadata again and again.
fn while_serving(node: &Node, port: u16, attack: attack::Attack) -> anyhow::Result<()> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let served = scope.spawn(|| ask_until(node.port(), &over));
        let attacked = attack(port);
        over.store(true, Ordering::Relaxed);
        let slowest = served.join().map_err(|_| anyhow::anyhow!("the other client panicked"))??;
        attacked?;
        ensure!(slowest < SERVED_WITHIN, "somebody else waited for {slowest:?}");
        Ok(())
    })
}

/// The longest wait for an answer.
fn ask_until(port: u16, over: &AtomicBool) -> anyhow::Result<Duration> {
    let mut slowest = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        wire::metadata(port).context("somebody else was not served")?;
        slowest = slowest.max(begin.elapsed());
        thread::sleep(Duration::from_millis(10));
    }
    Ok(slowest)
}

fn resident(node: &Node, stage: &Stage) -> anyhow::Result<()> {
    let pid = node.pid().context("the node runs")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    println!("hostile · resident memory {} MiB", kib / 1024);
    ensure!(kib <= RESIDENT_AT_MOST_KIB || !stage.server.is_ottla(), "{} MiB resident", kib / 1024);
    Ok(())
}
