//! Members of Java and of Ottla in one group, in both protocols, while members and the node are killed with `kill -9`: no
//! commit is lost, none goes back, each partition has one owner, and everything is read.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Stage;
use super::groups::member::Member;
use super::groups::program::{Program, Protocol};
use super::groups::{call, create, lag, wait};
use crate::apache_tools::ApacheTools;
use crate::node::{self, Node};
use crate::report::Report;

const SUITE: &str = "mixed";

/// Kills in each protocol.
const KILLS: usize = 50;
/// Records that are written between two kills.
const RECORDS_PER_KILL: u32 = 40;
/// Two members of each kind.
const MEMBERS: [&str; 4] = ["java-4.4.0", "ottla", "java-4.4.0", "ottla"];
/// Long enough for a member to miss a few heartbeats while the node starts.
const SESSION_MS: &str = "3000";

/// One group in each protocol.
pub fn run(stage: &Stage, report: &mut Report) {
    let quick = [
        ("group.consumer.min.heartbeat.interval.ms", "300"),
        ("group.consumer.heartbeat.interval.ms", "300"),
        ("group.consumer.min.session.timeout.ms", "1000"),
        ("group.consumer.session.timeout.ms", SESSION_MS),
        ("group.min.session.timeout.ms", "1000"),
    ];
    let Some(mut node) = report.case(SUITE, "a node", || stage.node(&quick)) else { return };
    for protocol in [Protocol::Classic, Protocol::Consumer] {
        let name = format!("{KILLS} times kill -9 of members and node, {protocol} protocol");
        report.case(SUITE, &name, || {
            let mut tools = ApacheTools::start()?;
            let mut group = Mixed::start(&mut node, &mut tools, protocol)?;
            let kills = group.kill_again_and_again(&mut node, &mut tools)?;
            println!("mixed · killed: {kills:?}");
            group.end(&node, &mut tools)
        });
    }
    report.case(SUITE, "the node stops", || {
        node.stop()?;
        super::no_panic(&node)
    });
}

/// One group and what is known of it.
struct Mixed {
    topic: String,
    group: String,
    protocol: Protocol,
    programs: Vec<Program>,
    members: Vec<Member>,
    /// What members that are gone have read.
    read: BTreeSet<u32>,
    /// What members that are gone had committed, by partition.
    acknowledged: BTreeMap<String, i64>,
    /// What the group had committed when last looked.
    seen: BTreeMap<String, i64>,
    written: u32,
}

impl Mixed {
    fn start(node: &mut Node, tools: &mut ApacheTools, protocol: Protocol) -> anyhow::Result<Mixed> {
        let topic = format!("mixed-{protocol}");
        create(tools, node, &topic)?;
        let programs: Vec<Program> =
            MEMBERS.iter().map(|name| Ok(Program::ready(name)?)).collect::<anyhow::Result<_>>()?;
        let group = format!("group-{topic}");
        let mut mixed = Mixed {
            topic,
            group,
            protocol,
            programs,
            members: Vec::new(),
            read: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            seen: BTreeMap::new(),
            written: 0,
        };
        for index in 0..MEMBERS.len() {
            let member = mixed.join(index, node)?;
            mixed.members.push(member);
        }
        Ok(mixed)
    }

    fn join(&self, index: usize, node: &Node) -> anyhow::Result<Member> {
        let arguments = ["member", &node.address(), &self.group, &self.topic, self.protocol.name()];
        self.programs[index].start_with(&arguments, &[("SESSION_MS", SESSION_MS)])
    }

    /// Kills somebody, lets him come back, writes, and looks at what is committed; how often who was killed.
    fn kill_again_and_again(
        &mut self,
        node: &mut Node,
        tools: &mut ApacheTools,
    ) -> anyhow::Result<BTreeMap<&'static str, usize>> {
        let mut kills = BTreeMap::new();
        let mut dice = node::Dice::new(0x6d69_7865_6421);
        for _ in 0..KILLS {
            self.write(node)?;
            sleep(Duration::from_millis(dice.below(900)));
            let who = dice.below(1 + MEMBERS.len() as u64) as usize;
            let name = MEMBERS.get(who).copied().unwrap_or("node");
            *kills.entry(name).or_default() += 1;
            if name == "node" {
                node.kill()?;
                node.launch()?;
            } else {
                let mut gone = self.members.remove(who);
                ensure!(gone.kill()?, "{name} ended by itself\n{}", gone.told());
                self.remember(&gone);
                let member = self.join(who, node)?;
                self.members.insert(who, member);
            }
            self.look(node, tools)?;
        }
        for name in ["node", "java-4.4.0", "ottla"] {
            ensure!(kills.contains_key(name), "{name} was never killed");
        }
        Ok(kills)
    }

    fn write(&mut self, node: &Node) -> anyhow::Result<()> {
        // Ottla's is the first to begin and the cheapest.
        self.programs[1].produce(&node.address(), &self.topic, self.written, RECORDS_PER_KILL)?;
        self.written += RECORDS_PER_KILL;
        Ok(())
    }

    fn remember(&mut self, gone: &Member) {
        self.read.extend(gone.numbers());
        for (partition, offset) in gone.committed() {
            let known = self.acknowledged.entry(partition).or_insert(-1);
            *known = offset.max(*known);
        }
    }

    /// What was acknowledged before is what the group has at least, and no offset goes back.
    fn look(&mut self, node: &Node, tools: &mut ApacheTools) -> anyhow::Result<()> {
        let mut promised = self.acknowledged.clone();
        for (partition, offset) in self.members.iter().flat_map(Member::committed) {
            let known = promised.entry(partition).or_insert(-1);
            *known = offset.max(*known);
        }
        let has = committed(tools, node, &self.group)?;
        for (partition, &offset) in promised.iter().chain(&self.seen) {
            let now = has.get(partition).copied().unwrap_or(-1);
            ensure!(now >= offset, "partition {partition} was committed up to {offset} and is now at {now}");
        }
        self.seen = has;
        Ok(())
    }

    /// Quiet: everything is read, each partition has one owner who says so himself, nothing is left.
    fn end(mut self, node: &Node, tools: &mut ApacheTools) -> anyhow::Result<()> {
        self.write(node)?;
        let all: BTreeSet<u32> = (0..self.written).collect();
        let told = |members: &[Member]| members.iter().map(Member::told).collect::<Vec<_>>().join("\n");
        wait("everything is read", || {
            let mut read = self.read.clone();
            self.members.iter().for_each(|member| read.extend(member.numbers()));
            Ok(read == all)
        })
        .with_context(|| told(&self.members))?;
        wait("each partition has one owner", || {
            let mut owned: Vec<String> = self.members.iter().flat_map(Member::owned).collect();
            owned.sort();
            Ok(owned == ["0", "1", "2", "3"])
        })
        .with_context(|| told(&self.members))?;
        wait("nothing is left to be read", || Ok(lag(tools, node, &self.group)? == Some(0)))?;
        self.look(node, tools)?;
        self.members.iter_mut().try_for_each(Member::end)
    }
}

/// What a group has committed, by partition. The node may just be starting, so it is asked until it answers.
fn committed(tools: &mut ApacheTools, node: &Node, group: &str) -> anyhow::Result<BTreeMap<String, i64>> {
    let line =
        format!("kafka-consumer-groups --describe --group {group} --bootstrap-server {}", node.address());
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let (exit, out) = call(tools, &line)?;
        let rows: Vec<Vec<&str>> = out
            .lines()
            .map(|row| row.split_whitespace().collect::<Vec<&str>>())
            .filter(|row| row.first() == Some(&group))
            .collect();
        if exit == 0 && !rows.is_empty() {
            let offset = |row: &Vec<&str>| Some((row.get(2)?.to_string(), row.get(3)?.parse().ok()?));
            return Ok(rows.iter().filter_map(offset).collect());
        }
        ensure!(Instant::now() < until, "the group cannot be described: {out}");
        sleep(Duration::from_millis(100));
    }
}
