//! Groups and transactions with real clients of every kind, in both protocols: what a person finds who follows an
//! introduction to Kafka with his own client. `docs/clients.md` is what a run of this suite says.
//!
//! A client is a small program in `tests/clients/groups`; `program` knows how to start it, `member` is one that runs.

pub mod member;
mod page;
pub mod program;

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::Stage;
use crate::apache_tools::ApacheTools;
use crate::node::Node;
use crate::report::Report;
use member::Member;
use page::Page;
use program::{Program, Protocol};

const SUITE: &str = "groups";

/// Records of one case: half of them before the rebalance, half after it.
const RECORDS: u32 = 1_000;

/// How long one step of a case may take.
const STEP_AT_MOST: Duration = Duration::from_secs(60);

/// Every case with every client that can be had, and the page.
pub fn run(stage: &Stage, report: &mut Report) {
    let quick = [
        ("group.consumer.min.heartbeat.interval.ms", "500"),
        ("group.consumer.heartbeat.interval.ms", "500"),
        ("group.min.session.timeout.ms", "1000"),
        ("offsets.topic.num.partitions", "4"),
        ("transaction.state.log.num.partitions", "4"),
    ];
    let Some(mut node) = report.case(SUITE, "a node", || stage.node(&quick)) else { return };
    let Some(mut tools) = report.case(SUITE, "Apache Kafka's tools", || Ok(ApacheTools::start()?)) else {
        return;
    };
    let mut page = Page::default();
    // A part of them for whoever works at one; the page is then left alone.
    let only = std::env::var("OTTLA_CLIENTS").unwrap_or_default();
    for name in program::NAMES.into_iter().filter(|name| name.contains(only.as_str())) {
        let Some(program) = report.case(SUITE, &format!("{name} is there"), || Ok(Program::ready(name)?))
        else {
            continue;
        };
        for &protocol in program.protocols() {
            let what = format!("a group of two, {protocol} protocol");
            let mut case = Case { program: &program, protocol, topic: format!("{name}-{protocol}") };
            page.case(stage, (report, SUITE), (name, &what), || {
                case.group_of_two(&mut node, &mut tools).or_else(|error| {
                    // Some libraries lose a request now and then when the node restarts under them, and stand still.
                    println!("    once more: {error:#}");
                    case.topic.push_str("-again");
                    case.group_of_two(&mut node, &mut tools)
                })
            });
            if program.has_transactions() {
                let what = format!("copies in transactions, {protocol} protocol");
                page.case(stage, (report, SUITE), (name, &what), || case.copy(&node, &mut tools));
            }
        }
    }
    if only.is_empty() {
        report.case(SUITE, "docs/clients.md says what this run says", || page.compare(stage));
    }
    report.case(SUITE, "the node stops", || {
        node.stop()?;
        super::no_panic(&node)
    });
}

/// One client in one protocol, with topics of its own.
struct Case<'a> {
    program: &'a Program,
    protocol: Protocol,
    topic: String,
}

impl Case<'_> {
    /// One member reads the first half; a second one joins; the node restarts; both read the rest.
    fn group_of_two(&self, node: &mut Node, tools: &mut ApacheTools) -> anyhow::Result<()> {
        let (topic, group) = (&self.topic, format!("group-{}", self.topic));
        create(tools, node, topic)?;
        self.program.produce(&node.address(), topic, 0, RECORDS / 2)?;
        let mut first = self.join(node, &group, topic)?;
        wait("the first member reads what is there", || Ok(first.numbers().len() == RECORDS as usize / 2))
            .with_context(|| first.told())?;
        let mut second = self.join(node, &group, topic)?;
        wait("both are members", || Ok(state(tools, node, &group)? == ("Stable".to_owned(), 2)))
            .with_context(|| second.told())?;
        if self.program.tells_what_it_owns() {
            wait("the second member owns something", || Ok(!second.owned().is_empty()))
                .with_context(|| second.told())?;
        }
        node.restart()?;
        self.program.produce(&node.address(), topic, RECORDS / 2, RECORDS / 2)?;
        let all: BTreeSet<u32> = (0..RECORDS).collect();
        wait("everything is read", || Ok(&first.numbers() | &second.numbers() == all))
            .with_context(|| format!("first: {}\nsecond: {}", first.told(), second.told()))?;
        ensure!(!second.numbers().is_empty(), "the second member was given nothing");
        wait("nothing is left to be read", || Ok(lag(tools, node, &group)? == Some(0)))
            .with_context(|| format!("first: {}\nsecond: {}", first.told(), second.told()))?;
        first.end()?;
        second.end()?;
        wait("both have left", || Ok(state(tools, node, &group)?.1 == 0))
    }

    /// Copies the records of the case before; a third of the transactions is aborted on the way.
    fn copy(&self, node: &Node, tools: &mut ApacheTools) -> anyhow::Result<()> {
        let (from, to) = (&self.topic, format!("copy-{}", self.topic));
        let group = format!("copier-{}", self.topic);
        create(tools, node, &to)?;
        let arguments =
            ["copy", &node.address(), &group, from, &to, &format!("id-{to}"), self.protocol.name()];
        let mut copier = self.program.start(&arguments)?;
        let all: BTreeSet<u32> = (0..RECORDS).collect();
        wait("everything is copied", || Ok(copier.numbers() == all)).with_context(|| copier.told())?;
        copier.end()?;
        wait("the offsets are committed", || Ok(lag(tools, node, &group)? == Some(0)))?;
        let referee = Program::ready("confluent-kafka")?;
        for reader in [self.program, &referee] {
            let read = reader.committed(&node.address(), &to)?;
            let once: BTreeSet<u32> = read.iter().copied().collect();
            ensure!(once == all, "{} sees {} of {RECORDS} records", reader.name, once.len());
            ensure!(read.len() == all.len(), "{} sees {} records twice", reader.name, read.len() - all.len());
        }
        let end = ends(tools, node, &to)?;
        ensure!(end > i64::from(RECORDS) + 4, "only {end} offsets: nothing was aborted on the way");
        Ok(())
    }

    fn join(&self, node: &Node, group: &str, topic: &str) -> anyhow::Result<Member> {
        self.program.member(&node.address(), group, topic, self.protocol)
    }
}

pub fn create(tools: &mut ApacheTools, node: &Node, topic: &str) -> anyhow::Result<()> {
    let line = format!(
        "kafka-topics --create --topic {topic} --partitions 4 --replication-factor 1 --bootstrap-server {}",
        node.address()
    );
    let (exit, out) = call(tools, &line)?;
    ensure!(exit == 0, "{out}");
    Ok(())
}

/// A group's state and how many members it has.
fn state(tools: &mut ApacheTools, node: &Node, group: &str) -> anyhow::Result<(String, usize)> {
    let line = format!(
        "kafka-consumer-groups --describe --state --group {group} --bootstrap-server {}",
        node.address()
    );
    let (_, out) = call(tools, &line)?;
    let row = out.lines().find(|row| row.split_whitespace().next() == Some(group));
    let words: Vec<&str> = row.unwrap_or_default().split_whitespace().collect();
    let members = words.last().and_then(|word| word.parse().ok()).unwrap_or_default();
    let stable = words.contains(&"Stable");
    Ok((if stable { "Stable" } else { "other" }.to_owned(), members))
}

/// What is left to be read by a group; `None` while it is not known of every partition that has records.
pub fn lag(tools: &mut ApacheTools, node: &Node, group: &str) -> anyhow::Result<Option<i64>> {
    Ok(lags(tools, node, group)?.map(|lags| lags.iter().sum()))
}

/// The same, partition by partition.
pub fn lags(tools: &mut ApacheTools, node: &Node, group: &str) -> anyhow::Result<Option<Vec<i64>>> {
    let line =
        format!("kafka-consumer-groups --describe --group {group} --bootstrap-server {}", node.address());
    let (_, out) = call(tools, &line)?;
    let rows: Vec<Vec<&str>> = out
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<&str>>())
        .filter(|row| row.first() == Some(&group))
        .collect();
    // GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG …
    let lags: Option<Vec<i64>> = rows.iter().map(|row| row.get(5)?.parse().ok()).collect();
    Ok(lags.filter(|lags| !lags.is_empty()))
}

/// The sum of the ends of a topic's partitions.
fn ends(tools: &mut ApacheTools, node: &Node, topic: &str) -> anyhow::Result<i64> {
    let line = format!("kafka-get-offsets --topic {topic} --bootstrap-server {}", node.address());
    let (_, out) = call(tools, &line)?;
    out.lines().map(|row| Ok(row.rsplit(':').next().unwrap_or_default().parse::<i64>()?)).sum()
}

pub fn call(tools: &mut ApacheTools, line: &str) -> anyhow::Result<(i32, String)> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let answer = tools.call(&words, "")?;
    Ok((answer.exit, format!("{}{}", answer.out, answer.err)))
}

/// Asks again and again until it is so.
pub fn wait(what: &str, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let until = Instant::now() + STEP_AT_MOST;
    while !is_so()? {
        if Instant::now() > until {
            bail!("not within {STEP_AT_MOST:?}: {what}");
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}
