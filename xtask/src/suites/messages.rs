//! Every message, byte by byte, against the classes that Apache Kafka generates from its own schema.
//!
//! Needs no node. `crates/protocol/examples/oracle.rs` asks, `tests/oracle-java/Oracle.java` answers: of Kafka 4.4.0,
//! and of 3.9.1 for the versions that 4.0 removed.

use std::process::Command;

use anyhow::{Context, ensure};

use super::Stage;
use crate::report::Report;
use crate::tools::{self, Jars};

const SOURCE: &str = "tests/oracle-java/Oracle.java";

/// One case for each message.
pub fn run(_stage: &Stage, report: &mut Report) {
    let Some(text) = report.case("messages", "Kafka's classes beside ours", compare) else {
        return;
    };
    let named = |end: &str| -> Vec<String> {
        let name = |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(end)?.to_owned());
        text.lines().filter_map(name).collect()
    };
    report.counted("messages", named(" ... ok").len(), &named(" ... FAILED"));
}

/// What the comparison printed: `test NAME ... ok` or `... FAILED` for each message, differences before the latter.
fn compare() -> anyhow::Result<String> {
    let newest = tools::classes("oracle-4.4.0", Jars::Broker, &[SOURCE])?;
    let old = tools::classes("oracle-3.9.1", Jars::Client("3.9.1"), &[SOURCE])?;
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .current_dir(crate::workspace())
        .args(["run", "--quiet", "--package", "ottla-protocol", "--example", "oracle", "--", &newest, &old])
        .output()
        .context("running the oracle")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| !line.ends_with("... ok")).for_each(|line| println!("{line}"));
    ensure!(text.contains("test "), "no message was compared: {}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}
