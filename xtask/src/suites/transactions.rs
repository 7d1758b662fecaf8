//! Transactions with Java's client and librdkafka, as their programs check them: committed and aborted ones, fenced
//! producers, offsets committed with what was made of them, timeouts; then all of it while the node is killed.
//!
//! The programs are in `tests/clients/transactions`. Java 2.1.1 and librdkafka speak the original protocol, Java 4.4.0
//! that of KIP-890.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::Stage;
use super::clients::REQUIREMENTS;
use crate::node::Node;
use crate::report::Report;
use crate::tools::{self, Jars, Missing};

const SUITE: &str = "transactions";

/// The clients; the first of them is at work while the node is killed.
const NAMES: [&str; 3] = ["java-4.4.0", "java-2.1.1", "confluent-kafka"];

/// How long one program may take.
const AT_MOST_SECONDS: &str = "240";

/// How long the node lives between two kills, in ms.
const LIVES: [u64; 4] = [1_300, 2_900, 700, 4_100];

/// Runs every program, then the first once more while the node is killed.
pub fn run(stage: &Stage, report: &mut Report) {
    let properties = [
        ("offsets.topic.num.partitions", "4"),
        ("transaction.state.log.num.partitions", "4"),
        ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "1000"),
    ];
    let Some(mut node) = report.case(SUITE, "a node", || stage.node(&properties)) else { return };
    for name in NAMES {
        report.case(SUITE, name, || {
            let program = start(name, &node.address(), name)?;
            end(program)
        });
    }
    report.case(SUITE, "while the node is killed again and again", || {
        let mut program = start(NAMES[0], &node.address(), "killed")?;
        let kills = kill_meanwhile(&mut node, &mut program)?;
        println!("transactions · the node was killed {kills} times");
        end(program)
    });
    report.case(SUITE, "no panic in its log", || super::no_panic(&node));
}

/// Starts the program of a client; its topics, groups and ids begin with `run`.
fn start(name: &'static str, broker: &str, run: &str) -> anyhow::Result<Child> {
    let words = words(name)?;
    let (program, own) = words.split_first().context("a client has a program")?;
    let child = Command::new("timeout")
        .args([AT_MOST_SECONDS, program])
        .args(own)
        .args([broker, run])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    child.with_context(|| format!("running {program}"))
}

fn words(name: &'static str) -> Result<Vec<String>, Missing> {
    let folder = "tests/clients/transactions";
    let Some(version) = name.strip_prefix("java-") else {
        let python = tools::python("python", REQUIREMENTS)?;
        let script = crate::workspace().join(folder).join("transactions.py");
        return Ok([python, script].map(|path| path.display().to_string()).to_vec());
    };
    let source = format!("{folder}/Transactions.java");
    let classes = tools::classes(&format!("transactions-{version}"), Jars::Client(version), &[&source])?;
    let options = ["java", "-Xmx512M", "-XX:+UseSerialGC", "-cp", &classes, "Transactions"];
    Ok(options.map(str::to_owned).to_vec())
}

/// Kills the node until the program has ended; how often.
fn kill_meanwhile(node: &mut Node, program: &mut Child) -> anyhow::Result<usize> {
    let mut kills = 0;
    for life_ms in LIVES.into_iter().cycle() {
        sleep(Duration::from_millis(life_ms));
        if program.try_wait()?.is_some() {
            break;
        }
        node.kill()?;
        node.launch()?;
        kills += 1;
    }
    ensure!(kills > 2, "the program was too quick: only {kills} kills");
    Ok(kills)
}

fn end(program: Child) -> anyhow::Result<()> {
    let output = program.wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    let shown: Vec<&str> = error.lines().collect();
    let from = shown.len().saturating_sub(25);
    ensure!(output.status.success(), "{}\n{}", output.status, shown[from..].join("\n"));
    Ok(())
}
