//! `kill -9` under load, again and again: what was acknowledged is there, once, and the node is soon ready again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::Stage;
use super::clients::Client;
use crate::node::Node;
use crate::report::Report;
use crate::tools;

const SUITE: &str = "kill";
const SCRIPT: &str = "tests/kill/producer.py";
const TOPIC: &str = "killed";
const PARTITIONS: usize = 4;

/// How often Ottla is killed, and Apache Kafka, which takes seconds to come back.
const ROUNDS: usize = 50;
const ROUNDS_OF_APACHE_KAFKA: usize = 5;

/// How long Ottla may take from exec until it serves.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// Kills the node while an idempotent producer writes to it.
pub fn run(stage: &Stage, report: &mut Report) {
    let rounds = if stage.server.is_ottla() { ROUNDS } else { ROUNDS_OF_APACHE_KAFKA };
    // Small segments, so that some kills meet one being rolled.
    let properties = [("log.segment.bytes", "1048576")];
    let Some(mut node) = report.case(SUITE, "a node", || stage.node(&properties)) else { return };
    let notes = node.folder().join("acknowledged.txt");
    let producer = report.case(SUITE, "an idempotent producer", || {
        let client = Client::ready("confluent-kafka")?;
        client.create(&node.address(), PARTITIONS, "-", &[TOPIC.to_owned()])?;
        Producer::start(&node, &notes)
    });
    let Some(mut producer) = producer else { return };
    report.case(SUITE, &format!("{rounds} times kill -9 under load"), || {
        let slowest = kill_again_and_again(&mut node, &mut producer, &notes, rounds)?;
        println!("kill · the slowest start took {} ms", slowest.as_millis());
        let fast = slowest <= READY_WITHIN || !stage.server.is_ottla();
        ensure!(fast, "a start took {slowest:?}; at most {READY_WITHIN:?}");
        Ok(())
    });
    report.case(SUITE, "the producer ends without a failure", || producer.end());
    report.case(SUITE, "everything acknowledged is there, once, without gaps", || compare(&node, &notes));
    report.case(SUITE, "the node restarts and still has it", || {
        node.restart()?;
        compare(&node, &notes)
    });
    report.case(SUITE, "no panic in its log", || super::no_panic(&node));
}

/// The program that writes.
struct Producer {
    child: Child,
}

impl Producer {
    fn start(node: &Node, notes: &Path) -> anyhow::Result<Producer> {
        let child = script()?
            .args(["write", &node.address(), TOPIC, &PARTITIONS.to_string()])
            .arg(notes)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Producer { child })
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends its input and waits until it has delivered everything.
    fn end(&mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let until = Instant::now() + Duration::from_secs(150);
        while self.is_running() {
            ensure!(Instant::now() < until, "the producer does not end");
            sleep(Duration::from_millis(50));
        }
        let status = self.child.wait()?;
        let mut error = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            std::io::Read::read_to_string(&mut stderr, &mut error)?;
        }
        ensure!(status.success(), "{status}: {error}");
        Ok(())
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The slowest start.
fn kill_again_and_again(
    node: &mut Node,
    producer: &mut Producer,
    notes: &Path,
    rounds: usize,
) -> anyhow::Result<Duration> {
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let before = length(notes);
        let until = Instant::now() + Duration::from_secs(60);
        // Only once something was acknowledged since the last start, and then at any moment.
        while length(notes) <= before {
            ensure!(producer.is_running(), "the producer ended in round {round}");
            ensure!(Instant::now() < until, "nothing acknowledged in round {round}\n{}", node.log_tail());
            sleep(Duration::from_millis(10));
        }
        sleep(Duration::from_millis(20 + (round as u64 * 97) % 500));
        node.kill()?;
        node.launch().with_context(|| format!("start {round}"))?;
        slowest = slowest.max(node.ready_in);
    }
    Ok(slowest)
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map(|metadata| metadata.len()).unwrap_or_default()
}

/// What is there must hold all that was acknowledged, at its offset; nothing twice; no offset missing.
fn compare(node: &Node, notes: &Path) -> anyhow::Result<()> {
    let output = script()?.args(["read", &node.address(), TOPIC, &PARTITIONS.to_string()]).output()?;
    ensure!(output.status.success(), "reading: {}", String::from_utf8_lossy(&output.stderr));
    let there = records(&String::from_utf8_lossy(&output.stdout))?;
    let acknowledged = records(&fs::read_to_string(notes)?)?;
    ensure!(acknowledged.len() > 1000, "only {} records were acknowledged", acknowledged.len());
    let mut numbers = BTreeSet::new();
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    for ((partition, offset), number) in &there {
        let expected = next.entry(*partition).or_default();
        ensure!(offset == expected, "partition {partition}: offset {offset} instead of {expected}");
        *expected += 1;
        ensure!(
            numbers.insert(*number),
            "record {number} is there twice, the second time at {partition}:{offset}"
        );
    }
    for (place, number) in &acknowledged {
        let found = there.get(place);
        ensure!(found == Some(number), "record {number} was acknowledged at {place:?}; there is {found:?}");
    }
    println!("kill · {} records acknowledged, {} there", acknowledged.len(), there.len());
    Ok(())
}

/// (partition, offset) → number.
fn records(text: &str) -> anyhow::Result<BTreeMap<(u32, u64), u64>> {
    let mut records = BTreeMap::new();
    // The last line may be cut off where the producer was still writing.
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    for line in whole.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [partition, offset, number] = fields[..] else { bail!("{line:?}") };
        let place = (partition.parse()?, offset.parse()?);
        let twice = records.insert(place, number.parse()?);
        ensure!(twice.is_none(), "two records at {place:?}");
    }
    Ok(records)
}

fn script() -> anyhow::Result<Command> {
    let python: PathBuf = tools::python("python", super::clients::REQUIREMENTS)?;
    let mut command = Command::new(python);
    command.arg(crate::workspace().join(SCRIPT));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_cut_off_is_left_out() {
        let read = records("0 0 5\n0 1 6\n0 2").expect("well formed");
        assert_eq!(read.into_iter().collect::<Vec<_>>(), [((0, 0), 5), ((0, 1), 6)]);
    }

    #[test]
    fn a_place_that_is_taken_twice_is_an_error() {
        assert!(records("0 0 5\n0 0 6\n").is_err());
    }
}
