//! One data directory, handed to and fro between Ottla and Apache Kafka: each reads what the other left.
//!
//! In between Apache Kafka's DumpLogSegments looks at every file, and so does our kafka-dump-log.

mod dumps;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::Stage;
use super::clients::{Client, REQUIREMENTS, records};
use crate::apache_tools::ApacheTools;
use crate::node::{Node, Server};
use crate::report::Report;
use crate::tools;

const SUITE: &str = "exchange";

/// Codecs by topic; `rolled` has several segments.
const TOPICS: [(&str, &str); 5] =
    [("plain", "none"), ("gzipped", "gzip"), ("snappied", "snappy"), ("lz4ed", "lz4"), ("zstded", "zstd")];
const ROLLED: &str = "rolled";
const ROLLED_RECORDS: usize = 6_000;

/// What DumpLogSegments says of files that are not right.
const COMPLAINTS: [&str; 8] = [
    "isvalid: false",
    "Mismatches in",
    " is followed by ",
    "Non-monotonically",
    "Found timestamp mismatch",
    "Found out of order timestamp",
    "is unsupported",
    "Exception",
];

/// How a server leaves the directory to the next.
#[derive(Clone, Copy, PartialEq)]
enum Leaving {
    Stopped,
    Killed,
}

/// Both directions, with a clean stop and with `kill -9`.
pub fn run(stage: &Stage, report: &mut Report) {
    let Some(apache) = report.case(SUITE, "Apache Kafka 4.4.0", || Ok(Server::apache_kafka()?)) else {
        return;
    };
    let Some(mut tools) = report.case(SUITE, "DumpLogSegments", || Ok(ApacheTools::start()?)) else { return };
    let Some(client) = report.case(SUITE, "a client", || Ok(Client::ready("confluent-kafka")?)) else {
        return;
    };
    let ours = stage.server.clone();
    let ways = [
        ("first ours, stopped", [&ours, &apache, &ours], Leaving::Stopped),
        ("first ours, killed", [&ours, &apache, &ours], Leaving::Killed),
        ("first theirs, stopped", [&apache, &ours, &apache], Leaving::Stopped),
        ("first theirs, killed", [&apache, &ours, &apache], Leaving::Killed),
    ];
    let only_apache = stage.server == apache;
    for (name, servers, leaving) in ways.into_iter().take(if only_apache { 2 } else { 4 }) {
        hand_round((name, servers, leaving), (&client, &stage.ottla), &mut tools, report);
    }
}

/// Each server in turn reads what all before it wrote, writes its own, and leaves.
fn hand_round(
    (way, servers, leaving): (&str, [&Server; 3], Leaving),
    (client, ottla): (&Client, &Path),
    tools: &mut ApacheTools,
    report: &mut Report,
) {
    let mut node: Option<Node> = None;
    for (turn, server) in servers.into_iter().enumerate() {
        let name = format!("{way}: {}", server.name());
        let started = report.case(SUITE, &format!("{name} starts, turn {turn}"), || match &mut node {
            Some(node) => node.hand_over(server),
            None => {
                node = Some(Node::start(server, &[("message.max.bytes", "20000000")])?);
                Ok(())
            }
        });
        let (Some(()), Some(node)) = (started, &mut node) else { return };
        report.case(SUITE, &format!("{name} serves what was written in {turn} turns before"), || {
            read(node, client, turn)
        });
        report.case(SUITE, &format!("{name} takes more"), || write(node, client, turn));
        report.case(SUITE, &format!("{name} takes transactions"), || transact(node, turn));
        report.case(SUITE, &format!("{name} serves its own too"), || read(node, client, turn + 1));
        let left = report.case(SUITE, &format!("{name} leaves"), || match leaving {
            Leaving::Stopped => node.stop(),
            Leaving::Killed => node.kill(),
        });
        if left.is_none() {
            return;
        }
        report.case(SUITE, &format!("{name}: DumpLogSegments has nothing to complain of"), || {
            dump(node, tools, leaving)
        });
        report.case(SUITE, &format!("{name}: kafka-dump-log says the same"), || {
            compare_dumps(node, tools, ottla)
        });
    }
}

fn write(node: &Node, client: &Client, turn: usize) -> anyhow::Result<()> {
    let names: Vec<String> = TOPICS.iter().map(|(topic, _)| (*topic).to_owned()).collect();
    let codecs: Vec<&str> = TOPICS.iter().map(|(_, codec)| *codec).collect();
    if turn == 0 {
        client.create(&node.address(), 2, "retention.ms=-1", &names)?;
        client.create(&node.address(), 1, "segment.bytes=1048576", &[ROLLED.to_owned()])?;
        client.bulk_write(&node.address(), ROLLED, 1, ROLLED_RECORDS, 1000)?;
    }
    let file = node.folder().join("records.txt");
    fs::write(&file, records::small(client)).context("writing the records")?;
    client.write(&node.address(), &file, &names, &codecs)
}

/// Transactions of every kind of end, and offsets in them: records for the coordinators' topics and the index of aborted
/// transactions.
fn transact(node: &Node, turn: usize) -> anyhow::Result<()> {
    let python = tools::python("python", REQUIREMENTS)?;
    let script = crate::workspace().join("tests/clients/transactions/transactions.py");
    let run = Command::new(python).arg(script).args([node.address(), format!("turn-{turn}")]).output()?;
    ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Ok(())
}

/// Every topic holds the same records once for each turn that wrote.
fn read(node: &Node, client: &Client, turns: usize) -> anyhow::Result<()> {
    if turns == 0 {
        return Ok(());
    }
    let names: Vec<String> = TOPICS.iter().map(|(topic, _)| (*topic).to_owned()).collect();
    let expected = records::lines(&records::small(client).repeat(turns));
    for (topic, got) in client.read(&node.address(), &names)? {
        records::compare([client, client], &expected, &got).with_context(|| topic.clone())?;
    }
    client.bulk_read(&node.address(), ROLLED, 1, ROLLED_RECORDS, 100_000)
}

/// Dumps every segment, index and snapshot of every partition, the metadata log with its own decoder.
fn dump(node: &Node, tools: &mut ApacheTools, leaving: Leaving) -> anyhow::Result<()> {
    let mut batches = 0;
    for folder in folders(&node.data())? {
        let is_metadata = folder.file_name().is_some_and(|name| name == "__cluster_metadata-0");
        for file in files(&folder)? {
            let extension = file.extension().unwrap_or_default().to_string_lossy().into_owned();
            let is_log = extension == "log" || extension == "checkpoint";
            let is_index = extension == "index" || extension == "timeindex";
            // The indexes of a killed node's active segment are rebuilt by whoever opens it; those of the metadata
            // log are so after every stop of Apache Kafka's.
            let index_is_whole = is_index && !is_metadata && leaving == Leaving::Stopped;
            if !is_log && !index_is_whole && extension != "snapshot" {
                continue;
            }
            let mut words =
                vec!["kafka-dump-log".to_owned(), "--files".to_owned(), file.display().to_string()];
            let how: &[&str] = match (is_log, is_metadata) {
                (true, true) => &["--cluster-metadata-decoder", "--skip-record-metadata"],
                (true, false) => &["--deep-iteration", "--print-data-log"],
                _ if is_index => &["--index-sanity-check"],
                _ => &[],
            };
            words.extend(how.iter().map(|word| (*word).to_owned()));
            let answer = tools.call(&words, "")?;
            let text = format!("{}{}", answer.out, answer.err);
            let complaint = complaint(&text);
            let fine = answer.exit == 0 && complaint.is_none();
            ensure!(fine, "{}: exit {}: {}", file.display(), answer.exit, complaint.unwrap_or(&text));
            batches += answer.out.matches("baseOffset: ").count();
        }
    }
    ensure!(batches > 20, "only {batches} batches were dumped");
    Ok(())
}

/// Dumps every file of every partition with both tools, in every way that fits it, and some with damage.
fn compare_dumps(node: &Node, tools: &mut ApacheTools, ottla: &Path) -> anyhow::Result<()> {
    let mut calls = 0;
    let mut bare = BTreeSet::new();
    for folder in folders(&node.data())? {
        let files = files(&folder)?;
        // The topics of coordinators have many partitions without anything in them: one of each is enough.
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let topic = name.rsplit_once('-').map_or(name.clone(), |(topic, _)| topic.to_owned());
        let is_log = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "log");
        let is_empty = |file: &PathBuf| fs::metadata(file).is_ok_and(|file| file.len() == 0);
        if files.iter().filter(is_log).all(is_empty) && !bare.insert(topic) {
            continue;
        }
        for file in files {
            calls += dumps::compare(ottla, tools, &file)?;
        }
    }
    let copies = node.folder().join("copies");
    for partition in [format!("{ROLLED}-0"), "turn-0-in-0".to_owned()] {
        calls += dumps::compare_damaged(ottla, tools, &node.data().join(partition), &copies)?;
        fs::remove_dir_all(&copies)?;
    }
    calls += dumps::compare_legacy(ottla, tools, &copies)?;
    calls += dumps::compare_blunders(ottla, tools, &copies)?;
    ensure!(calls > 200, "only {calls} dumps were compared");
    Ok(())
}

/// The first complaint. That a segment begins after -1 is the tool's own mistake: it says so of every later segment.
fn complaint(text: &str) -> Option<&str> {
    let own_mistake = |line: &str| line.trim_start().starts_with("-1 is followed by");
    text.lines()
        .find(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint)) && !own_mistake(line))
}

/// The folders of partitions.
fn folders(data: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(data).with_context(|| format!("{}", data.display()))?;
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    ensure!(folders.len() > TOPICS.len(), "{} partitions in {}", folders.len(), data.display());
    Ok(folders)
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn a_gap_is_a_complaint_and_a_later_segment_is_not() {
        assert_eq!(complaint("Non-consecutive offsets in f\n  -1 is followed by 990\n"), None);
        assert!(complaint("Non-consecutive offsets in f\n  7 is followed by 9\n").is_some());
        assert!(complaint("baseOffset: 0 isvalid: false\n").is_some());
    }
}
