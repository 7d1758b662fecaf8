//! Exactly once: records go through a chain of transactional copies by Java, librdkafka and our own client, while the
//! node and the copiers are killed with `kill -9` at random. What comes out is what went in, once, in order of each key.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Stage;
use super::groups::member::Member;
use super::groups::program::{Program, Protocol};
use super::groups::{create, lags, wait};
use crate::apache_tools::ApacheTools;
use crate::node::{self, Node};
use crate::report::Report;

const SUITE: &str = "once";

/// What goes through the chain.
const RECORDS: u32 = 1_000_000;
/// Each number N has the key N % KEYS.
const KEYS: u32 = 100;
/// The copiers, in their order; the last one has the new protocol.
const CHAIN: [(&str, Protocol); 3] = [
    ("java-4.4.0", Protocol::Classic),
    ("confluent-kafka", Protocol::Classic),
    ("ottla", Protocol::Consumer),
];
/// How long all of it may take.
const AT_MOST: Duration = Duration::from_secs(600);
/// At least so many times each of them is killed.
const KILLS_AT_LEAST: usize = 3;

/// The chain, with the records going through.
pub fn run(stage: &Stage, report: &mut Report) {
    let quick = [
        ("group.consumer.min.heartbeat.interval.ms", "500"),
        ("group.consumer.heartbeat.interval.ms", "500"),
        ("group.consumer.min.session.timeout.ms", "1000"),
        ("group.consumer.session.timeout.ms", "3000"),
        ("group.min.session.timeout.ms", "1000"),
    ];
    let Some(mut node) = report.case(SUITE, "a node", || stage.node(&quick)) else { return };
    let topics: Vec<String> = (0..=CHAIN.len()).map(|at| format!("chain-{at}")).collect();
    let through = report.case(SUITE, "1,000,000 records through three copiers under kill -9", || {
        let mut tools = ApacheTools::start()?;
        topics.iter().try_for_each(|topic| create(&mut tools, &node, topic))?;
        let writer = Program::ready("ottla")?;
        writer.produce(&node.address(), &topics[0], 0, RECORDS)?;
        let mut chain = Chain::start(&node, &topics)?;
        let kills = chain.kill_until_through(&mut node, &mut tools)?;
        println!("once · killed: {kills:?}");
        chain.end()
    });
    if through.is_some() {
        for reader in ["confluent-kafka", "java-4.4.0", "ottla"] {
            report.case(SUITE, &format!("{reader} sees each record once, in order"), || {
                let read = Program::ready(reader)?.committed(&node.address(), &topics[CHAIN.len()])?;
                compare(&read)
            });
        }
    }
    report.case(SUITE, "the node stops", || {
        node.stop()?;
        super::no_panic(&node)
    });
}

/// The copiers at work.
struct Chain {
    copiers: Vec<Copier>,
}

struct Copier {
    program: Program,
    arguments: Vec<String>,
    group: String,
    running: Member,
    /// How often it gave up by itself, as one does whose transaction cannot go on; it is then started again.
    gave_up: usize,
}

impl Copier {
    fn start(&self) -> anyhow::Result<Member> {
        start(&self.program, &self.arguments)
    }
}

fn start(program: &Program, arguments: &[String]) -> anyhow::Result<Member> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    program.start_with(&words, &[("SESSION_MS", "3000"), ("BATCH", "2000")])
}

impl Chain {
    fn start(node: &Node, topics: &[String]) -> anyhow::Result<Chain> {
        let copier = |(at, &(name, protocol)): (usize, &(&'static str, Protocol))| {
            let program = Program::ready(name)?;
            let group = format!("copier-{at}");
            let id = format!("id-{at}");
            let arguments =
                ["copy", &node.address(), &group, &topics[at], &topics[at + 1], &id, protocol.name()]
                    .map(str::to_owned)
                    .to_vec();
            let running = start(&program, &arguments)?;
            Ok(Copier { program, arguments, group, running, gave_up: 0 })
        };
        let copiers = CHAIN.iter().enumerate().map(copier).collect::<anyhow::Result<_>>()?;
        Ok(Chain { copiers })
    }

    /// Kills now one, now another, until each topic holds what the one before does.
    fn kill_until_through(
        &mut self,
        node: &mut Node,
        tools: &mut ApacheTools,
    ) -> anyhow::Result<BTreeMap<&'static str, usize>> {
        let mut kills: BTreeMap<&'static str, usize> = BTreeMap::new();
        let mut dice = node::Dice::new(0x6f6e_6365);
        let until = Instant::now() + AT_MOST;
        loop {
            sleep(Duration::from_millis(1_000 + dice.below(3_000)));
            for copier in &mut self.copiers {
                if copier.running.has_ended()? {
                    copier.gave_up += 1;
                    ensure!(
                        copier.gave_up < 100,
                        "{} gives up: {}",
                        copier.program.name,
                        copier.running.told()
                    );
                    copier.running = copier.start()?;
                }
            }
            let enough = kills.len() > CHAIN.len() && kills.values().all(|&kills| kills >= KILLS_AT_LEAST);
            if enough && self.is_through(node, tools)? {
                // Nobody is killed any more: what is still under way comes through.
                wait("nothing is left for a while", || {
                    sleep(Duration::from_secs(3));
                    self.is_through(node, tools)
                })?;
                return Ok(kills);
            }
            ensure!(Instant::now() < until, "not through within {AT_MOST:?}: {}", self.told());
            let who = dice.below(1 + CHAIN.len() as u64) as usize;
            let name = if let Some(copier) = self.copiers.get_mut(who) {
                if copier.running.kill()? {
                    copier.running = copier.start()?;
                    copier.program.name
                } else {
                    continue;
                }
            } else {
                node.kill()?;
                node.launch()?;
                "node"
            };
            *kills.entry(name).or_default() += 1;
        }
    }

    /// Whether nothing is left to be copied anywhere. The end of a transaction that stands last in a partition counts as
    /// an offset, and not every library commits beyond it.
    fn is_through(&self, node: &Node, tools: &mut ApacheTools) -> anyhow::Result<bool> {
        for copier in &self.copiers {
            let lags = lags(tools, node, &copier.group)?;
            if !lags.is_some_and(|lags| lags.len() == 4 && lags.iter().all(|&lag| lag <= 1)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn told(&self) -> String {
        let of = |copier: &Copier| format!("{}: {}", copier.program.name, copier.running.told());
        self.copiers.iter().map(of).collect::<Vec<_>>().join("\n")
    }

    fn end(mut self) -> anyhow::Result<()> {
        self.copiers.iter_mut().try_for_each(|copier| copier.running.end())
    }
}

/// Every number once, and those of one key in rising order.
fn compare(read: &[u32]) -> anyhow::Result<()> {
    let mut next: BTreeMap<u32, u32> = (0..KEYS).map(|key| (key, key)).collect();
    for &number in read {
        let expected = next.get_mut(&(number % KEYS)).context("a key that nobody wrote")?;
        ensure!(number == *expected, "{number} where {expected} is next of its key");
        *expected += KEYS;
    }
    ensure!(read.len() == RECORDS as usize, "{} of {RECORDS} records", read.len());
    Ok(())
}
