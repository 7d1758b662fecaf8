//! Seven real clients of four libraries: each writes in every codec, each reads what each other wrote, record by record.
//!
//! A client is a small program in `tests/clients`; `program` knows how to start it, `records` what is written and
//! what must be read. The node is restarted between the writing and the reading.

mod program;
pub mod records;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use super::Stage;
use crate::node::Node;
use crate::report::Report;
use crate::tools;
pub use program::{Client, REQUIREMENTS};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

const SUITE: &str = "clients";

/// Every case with every client that can be had.
pub fn run(stage: &Stage, report: &mut Report) {
    let big = [("message.max.bytes", "20000000"), ("replica.fetch.max.bytes", "20000000")];
    let Some(mut node) = report.case(SUITE, "a node", || stage.node(&big)) else { return };
    let mut clients = Vec::new();
    for name in program::NAMES {
        let refused = !stage.server.is_ottla() && name == "kafka-go-0.4.47";
        if !refused {
            clients.extend(report.case(SUITE, &format!("{name} is there"), || Ok(Client::ready(name)?)));
        }
    }
    let written = write(&clients, &node, report);
    report.case(SUITE, "the node restarts with what was written", || node.restart());
    for reader in &clients {
        read(reader, &written, &node, report);
    }
    many_partitions(&clients, &node, report);
    many_segments(&clients, &mut node, report);
    examples(&node, report);
    report.case(SUITE, "the node stops", || {
        node.stop()?;
        super::no_panic(&node)
    });
}

/// The examples of our own client: a member of a group, and copies in transactions.
fn examples(node: &Node, report: &mut Report) {
    let broker = node.address();
    let ready = report.case(SUITE, "the examples of our client are there", || {
        Ok((tools::example("verbs")?, tools::example("group")?, tools::example("transactions")?))
    });
    let Some((verbs, group, transactions)) = ready else { return };
    report.case(SUITE, "example group: a member reads, commits and leaves", || {
        said(&verbs, &["produce", &broker, "example", "0", "100"])?;
        for protocol in ["group.protocol=classic", "group.protocol=consumer"] {
            let arguments = [&broker, protocol, "example", protocol, "idle.seconds=8"];
            let lines = said(&group, &arguments)?;
            let read = lines.iter().filter(|line| line.contains('@')).count();
            ensure!(read == 100, "{read} records were read with {protocol}: {lines:?}");
            let (from, to) =
                lines.iter().filter_map(|line| line.split_once(": ")).fold((0, 0), |sum, (_, row)| {
                    let numbers: Vec<u64> = row.split(' ').filter_map(|word| word.parse().ok()).collect();
                    (sum.0 + numbers.first().unwrap_or(&0), sum.1 + numbers.last().unwrap_or(&0))
                });
            ensure!((from, to) == (100, 100), "committed {from} of {to} with {protocol}: {lines:?}");
            ensure!(lines.last().is_some_and(|line| line == "left"), "{lines:?}");
        }
        Ok(())
    });
    report.case(SUITE, "example transactions: what is aborted is not read", || {
        let settings = ["max.poll.records=7", "abort.every=3", "idle.seconds=6"];
        let arguments = [&[broker.as_str(), "copier", "example", "example-copy"][..], &settings[..]].concat();
        let lines = said(&transactions, &arguments)?;
        ensure!(lines.iter().any(|line| line.starts_with("aborted")), "nothing was aborted: {lines:?}");
        let read = said(&verbs, &["committed", &broker, "example-copy"])?;
        let values: BTreeSet<&str> = read.iter().filter_map(|line| line.split(' ').nth(3)).collect();
        ensure!((read.len(), values.len()) == (100, 100), "{} records were copied: {read:?}", read.len());
        Ok(())
    });
}

/// Runs a program to its end; the lines that it printed.
fn said(program: &Path, arguments: &[&str]) -> anyhow::Result<Vec<String>> {
    let output = Command::new("timeout").arg("120").arg(program).args(arguments).output()?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}\n{complaints}", program.display(), output.status);
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// What one client wrote: its topics and the lines that each of them must hold.
struct Written<'a> {
    client: &'a Client,
    topics: Vec<String>,
    expected: Vec<String>,
    what: &'static str,
}

/// Each client creates its topics and writes the small records in every codec and the big ones in two.
fn write<'a>(clients: &'a [Client], node: &Node, report: &mut Report) -> Vec<Written<'a>> {
    let mut written = Vec::new();
    for client in clients {
        let plans = [
            ("records of every kind", &CODECS[..], "small"),
            ("records of 10 MB", &["none", "zstd"][..], "big"),
        ];
        for (what, codecs, short) in plans {
            let topics: Vec<String> =
                codecs.iter().map(|codec| format!("{short}-{}-{codec}", client.name)).collect();
            let done = report.case(SUITE, &format!("{} creates and writes {what}", client.name), || {
                let file = node.folder().join(format!("{short}-{}.txt", client.name));
                let text = if short == "small" { records::small(client) } else { records::big(client) };
                fs::write(&file, &text).context("writing the records")?;
                // The oldest records are older than the default retention.
                client.create(&node.address(), 1, "retention.ms=-1", &topics)?;
                client.write(&node.address(), &file, &topics, codecs)?;
                Ok(records::lines(&text))
            });
            written.extend(done.map(|expected| Written { client, topics, expected, what }));
        }
    }
    written
}

/// One process reads every topic; each writer is a case of its own.
fn read(reader: &Client, written: &[Written<'_>], node: &Node, report: &mut Report) {
    let topics: Vec<String> = written.iter().flat_map(|written| written.topics.clone()).collect();
    let name = format!("{} reads {} topics", reader.name, topics.len());
    let Some(read) = report.case(SUITE, &name, || reader.read(&node.address(), &topics)) else { return };
    for writer in written {
        let name = format!("{} reads {} of {}", reader.name, writer.what, writer.client.name);
        report.case(SUITE, &name, || {
            for topic in &writer.topics {
                let got = read.iter().find(|(name, _)| name == topic).map(|(_, lines)| lines.as_slice());
                let between = [writer.client, reader];
                records::compare(between, &writer.expected, got.unwrap_or_default())
                    .with_context(|| topic.clone())?;
            }
            Ok(())
        });
    }
}

/// One topic of 1,000 partitions, written by one client and read whole by others.
fn many_partitions(clients: &[Client], node: &Node, report: &mut Report) {
    for writer in clients.iter().filter(|client| client.writes_many_partitions()) {
        let topic = format!("partitions-{}", writer.name);
        report.case(SUITE, &format!("{} writes to 1,000 partitions", writer.name), || {
            writer.create(&node.address(), 1000, "-", std::slice::from_ref(&topic))?;
            writer.bulk_write(&node.address(), &topic, 1000, 5, 100)
        });
        for reader in clients.iter().filter(|client| client.in_bulk()) {
            report.case(SUITE, &format!("{} reads 1,000 partitions of {}", reader.name, writer.name), || {
                reader.bulk_read(&node.address(), &topic, 1000, 5, 1_048_576)
            });
        }
    }
}

/// More than 100 segments, read from the first to the last record with at most 64 KiB in one fetch.
fn many_segments(clients: &[Client], node: &mut Node, report: &mut Report) {
    const COUNT: usize = 115_000;
    let Some(writer) = clients.iter().find(|client| client.in_bulk()) else { return };
    let topic = "segments".to_owned();
    report.case(SUITE, &format!("{} writes more than 100 segments", writer.name), || {
        let configs = "segment.bytes=1048576";
        writer.create(&node.address(), 1, configs, std::slice::from_ref(&topic))?;
        writer.bulk_write(&node.address(), &topic, 1, COUNT, 1000)?;
        let segments = segments(&node.data().join("segments-0"))?;
        ensure!(segments > 100, "{segments} segments");
        Ok(())
    });
    for when in ["at once", "after a restart"] {
        for reader in clients.iter().filter(|client| client.reads_bulk()) {
            report.case(SUITE, &format!("{} reads more than 100 segments {when}", reader.name), || {
                reader.bulk_read(&node.address(), &topic, 1, COUNT, 65_536)
            });
        }
        if when == "at once" {
            report.case(SUITE, "the node restarts with its segments", || node.restart());
        }
    }
}

fn segments(folder: &Path) -> anyhow::Result<usize> {
    let files = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    Ok(files
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"))
        .count())
}
