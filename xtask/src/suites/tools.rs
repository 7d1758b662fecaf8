//! Apache Kafka's command line tools and ours, call by call, with the same answers expected of both.
//!
//! The calls and the answers stand in `tests/tools/calls.txt`, written by Apache Kafka's tools against Apache Kafka.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::Stage;
use crate::apache_tools::{Answer, ApacheTools};
use crate::node::Node;
use crate::report::Report;

const CALLS: &str = "tests/tools/calls.txt";

/// A call and what it must answer.
#[derive(Clone, Debug, Default, PartialEq)]
struct Call {
    /// Comments and blank lines before it, kept when the file is rewritten.
    before: String,
    line: String,
    /// Whether the lines of the answer may come in any order.
    unordered: bool,
    input: String,
    output: String,
    exit: i32,
}

/// Runs the calls with Apache Kafka's tools, then with ours.
pub fn run(stage: &Stage, report: &mut Report) {
    let Some((mut node, calls)) = report.case("tools", "a node and the calls", || prepare(stage)) else {
        return;
    };
    let update = std::env::var_os("UPDATE").is_some() && !stage.server.is_ottla();
    if let Some(mut tools) = report.case("tools", "Apache Kafka's tools", || Ok(ApacheTools::start()?)) {
        let mut answered = Vec::new();
        for call in &calls {
            let answer = tools.call(&words(call, &node), &call.input);
            settle(call);
            answered.extend(answer.as_ref().ok().map(|answer| masked(answer, &node)));
            if !update {
                report.case("tools", &format!("theirs: {}", call.line), || compare(call, answer?, &node));
            }
        }
        if update {
            report.case("tools", "rewriting the answers", || rewrite(&calls, &answered));
            return;
        }
    }
    for call in &calls {
        report.case("tools", &format!("ours: {}", call.line), || {
            compare(call, ours(stage, call, &node)?, &node)
        });
        settle(call);
    }
    report.case("tools", "the node stops", || node.stop());
}

fn prepare(stage: &Stage) -> anyhow::Result<(Node, Vec<Call>)> {
    let text = fs::read_to_string(crate::workspace().join(CALLS)).context(CALLS)?;
    // The first metadata request must not create what a call asks about.
    Ok((stage.node(&[("auto.create.topics.enable", "false")])?, parse(&text)))
}

/// Apache Kafka answers an alteration before its own broker sees it.
fn settle(call: &Call) {
    if call.line.contains("--alter") {
        sleep(Duration::from_millis(150));
    }
}

/// Runs our tool of the same name.
fn ours(stage: &Stage, call: &Call, node: &Node) -> anyhow::Result<Answer> {
    let mut child = Command::new(&stage.ottla)
        .args(words(call, node))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("standard input")?;
    // A tool that reads nothing may be gone already.
    let _ = input.write_all(call.input.as_bytes());
    drop(input);
    let output = child.wait_with_output()?;
    Ok(Answer {
        exit: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn compare(call: &Call, answer: Answer, node: &Node) -> anyhow::Result<()> {
    let got = masked(&answer, node);
    let ordered = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if call.unordered {
            lines.sort();
        }
        lines
    };
    let same = ordered(&got.out) == ordered(&call.output) && got.exit == call.exit;
    ensure!(
        same,
        "expected exit {} and\n{}got exit {} and\n{}standard error\n{}",
        call.exit,
        lines(&call.output),
        got.exit,
        lines(&got.out),
        got.err
    );
    Ok(())
}

fn lines(text: &str) -> String {
    text.lines().map(|line| format!("  | {line}\n")).collect()
}

/// The tool's name and arguments; single and double quotes hold words together.
fn words(call: &Call, node: &Node) -> Vec<String> {
    let line = call.line.replace("{b}", &node.address());
    let mut words: Vec<String> = Vec::new();
    for (at, part) in line.split('"').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// The answer without what differs from run to run.
fn masked(answer: &Answer, node: &Node) -> Answer {
    let out = answer.out.replace(&node.address(), "{b}");
    let out = mask(&out, "TopicId: ", "{id}", |c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let out = mask(&out, "CreateTime:", "{time}", |c| c.is_ascii_digit());
    Answer { out, ..answer.clone() }
}

/// Replaces what follows each `lead` as long as `belongs` holds.
fn mask(text: &str, lead: &str, with: &str, belongs: fn(char) -> bool) -> String {
    let mut parts = text.split(lead);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str(lead);
        masked.push_str(with);
        masked.push_str(part.trim_start_matches(belongs));
    }
    masked
}

fn parse(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut before = String::new();
    for line in text.lines() {
        let (mark, rest) = line.split_at(line.len().min(2));
        let last = calls.last_mut();
        match (mark, last) {
            ("$ " | "~ ", _) => {
                let before = std::mem::take(&mut before);
                calls.push(Call {
                    before,
                    line: rest.to_owned(),
                    unordered: mark == "~ ",
                    ..Call::default()
                });
            }
            ("< ", Some(call)) => call.input.push_str(&format!("{rest}\n")),
            ("| " | "|", Some(call)) => call.output.push_str(&format!("{rest}\n")),
            ("= ", Some(call)) => call.exit = rest.trim().parse().unwrap_or_default(),
            _ => before.push_str(&format!("{line}\n")),
        }
    }
    calls
}

fn rewrite(calls: &[Call], answers: &[Answer]) -> anyhow::Result<()> {
    ensure!(calls.len() == answers.len(), "{} calls, {} answers", calls.len(), answers.len());
    let mut text = String::new();
    for (call, answer) in calls.iter().zip(answers) {
        let mark = if call.unordered { '~' } else { '$' };
        text.push_str(&format!("{}{mark} {}\n", call.before, call.line));
        call.input.lines().for_each(|line| text.push_str(&format!("< {line}\n")));
        answer.out.lines().for_each(|line| text.push_str(&format!("| {line}\n")));
        if answer.exit != 0 {
            text.push_str(&format!("= {}\n", answer.exit));
        }
    }
    fs::write(crate::workspace().join(CALLS), text).context(CALLS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_are_read_as_they_are_written() {
        let calls = parse("# c\n\n~ tool \"a b\" {b}\n< in\n| out\n| \n= 1\n$ next\n");
        let first = Call {
            before: "# c\n\n".to_owned(),
            line: "tool \"a b\" {b}".to_owned(),
            input: "in\n".to_owned(),
            output: "out\n\n".to_owned(),
            exit: 1,
            unordered: true,
        };
        assert_eq!(calls, [first, Call { line: "next".to_owned(), ..Call::default() }]);
    }

    #[test]
    fn ids_and_times_are_masked() {
        let id = |c: char| c.is_ascii_alphanumeric();
        assert_eq!(mask("TopicId: abc1\tX", "TopicId: ", "{id}", id), "TopicId: {id}\tX");
    }
}
