//! Scripts of tool calls: each call with what it must print and its exit code, the same of Apache Kafka's tools and ours.
//!
//! A script lies in `tests/tools`; its answers are those of Apache Kafka's tools against Apache Kafka, written anew with
//! `UPDATE=1 cargo xtask test SUITE --against apache-kafka`. What differs from run to run is masked.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Stage;
use crate::apache_tools::{Answer, ApacheTools};
use crate::node::Node;
use crate::report::Report;

/// How long a tool beside others may take to end once it is asked to.
const END_AT_MOST: Duration = Duration::from_secs(20);

/// How long a call is repeated.
const UNTIL_AT_MOST: Duration = Duration::from_secs(40);

/// How long one of our calls may take; Apache Kafka's tools have a bound of their own.
const CALL_AT_MOST: Duration = Duration::from_secs(60);

/// What a line of a script stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mark {
    /// `$`: a call whose lines come in this order.
    #[default]
    Ordered,
    /// `~`: a call whose lines may come in any order.
    Unordered,
    /// `#`: a call whose numbers, and the blanks around them, differ from run to run.
    Numbered,
    /// `@`: a call that ends its JVM, and so needs one of its own.
    Alone,
    /// `?`: a call that is repeated until it answers so.
    Until,
    /// `&`: a call that runs beside those that follow, until `-`.
    Beside,
    /// `-`: those beside are asked to stop, the first one first.
    Stop,
    /// `.`: so many milliseconds go by.
    Wait,
}

const MARKS: &[(char, Mark)] = &[
    ('$', Mark::Ordered),
    ('~', Mark::Unordered),
    ('#', Mark::Numbered),
    ('@', Mark::Alone),
    ('?', Mark::Until),
    ('&', Mark::Beside),
    ('-', Mark::Stop),
    ('.', Mark::Wait),
];

/// A call and what it must answer.
#[derive(Clone, Debug, Default, PartialEq)]
struct Call {
    /// Comments and blank lines before it, kept when the file is rewritten.
    before: String,
    mark: Mark,
    line: String,
    /// `!`: what is known to differ, so that Apache Kafka's tool is not run.
    only_ours: bool,
    input: String,
    output: String,
    exit: i32,
}

/// What answers are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// They are compared with those of the file.
    Compare,
    /// They replace those of the file.
    Rewrite,
}

/// Whose tools are run.
enum Side {
    Theirs(ApacheTools),
    Ours,
}

/// A script and the node it runs on.
pub struct Script<'a> {
    pub suite: &'static str,
    /// The file, from the workspace.
    pub file: &'static str,
    pub stage: &'a Stage,
    pub properties: &'a [(&'a str, &'a str)],
}

impl Script<'_> {
    /// Runs the calls with Apache Kafka's tools, then with ours, on one node.
    pub fn run(&self, report: &mut Report) {
        let suite = self.suite;
        let Some((mut node, calls)) =
            report.case(suite, &format!("{}: a node and the calls", self.file), || self.prepare())
        else {
            return;
        };
        let update = std::env::var_os("UPDATE").is_some() && !self.stage.server.is_ottla();
        let theirs = report.case(suite, "Apache Kafka's tools", || Ok(ApacheTools::start()?));
        if let Some(tools) = theirs {
            let purpose = if update { Purpose::Rewrite } else { Purpose::Compare };
            let answers = self.pass(&mut Side::Theirs(tools), &calls, &node, report, purpose);
            if update {
                report.case(suite, "rewriting the answers", || self.rewrite(&calls, &answers));
                return;
            }
        }
        self.pass(&mut Side::Ours, &calls, &node, report, Purpose::Compare);
        report.case(suite, "the node stops", || node.stop());
    }

    fn prepare(&self) -> anyhow::Result<(Node, Vec<Call>)> {
        let text = fs::read_to_string(crate::workspace().join(self.file)).context(self.file)?;
        Ok((self.stage.node(self.properties)?, parse(&text)))
    }

    /// Runs every call once; the answers, masked, for rewriting.
    fn pass(
        &self,
        side: &mut Side,
        calls: &[Call],
        node: &Node,
        report: &mut Report,
        purpose: Purpose,
    ) -> Vec<Option<Answer>> {
        let whose = if matches!(side, Side::Ours) { "ours" } else { "theirs" };
        let mut answers: Vec<Option<Answer>> = vec![None; calls.len()];
        let mut beside: Vec<(usize, Beside)> = Vec::new();
        for (at, call) in calls.iter().enumerate() {
            if call.only_ours && whose == "theirs" {
                continue;
            }
            match call.mark {
                Mark::Wait => sleep(Duration::from_millis(call.line.trim().parse().unwrap_or(0))),
                Mark::Beside => {
                    let name = format!("{whose}, beside: {}", call.line);
                    let start = || Beside::start(self.stage, side, call, node);
                    beside.extend(report.case(self.suite, &name, start).map(|started| (at, started)));
                }
                Mark::Stop => {
                    for (at, tool) in std::mem::take(&mut beside) {
                        let answer = || tool.stop();
                        answers[at] = self.judge((whose, &calls[at]), node, report, purpose, answer);
                    }
                }
                _ => {
                    let answer = || side.call_until(self.stage, call, node);
                    answers[at] = self.judge((whose, call), node, report, purpose, answer);
                }
            }
        }
        answers
    }

    /// Compares an answer with what it should be, unless that is to be written anew; the answer, masked.
    fn judge(
        &self,
        (whose, call): (&str, &Call),
        node: &Node,
        report: &mut Report,
        purpose: Purpose,
        answer: impl FnOnce() -> anyhow::Result<Answer>,
    ) -> Option<Answer> {
        let mut got = None;
        let name = format!("{whose}: {}", call.line);
        report.case(self.suite, &name, || {
            let answer = answer()?;
            got = Some(masked(&answer, node, call.mark));
            if purpose == Purpose::Rewrite { Ok(()) } else { compare(call, answer, node) }
        });
        got
    }

    fn rewrite(&self, calls: &[Call], answers: &[Option<Answer>]) -> anyhow::Result<()> {
        let mut text = String::new();
        for (call, answer) in calls.iter().zip(answers) {
            text.push_str(&written(call, answer.as_ref()));
        }
        fs::write(crate::workspace().join(self.file), text).context(self.file)
    }
}

impl Side {
    fn call(&mut self, stage: &Stage, call: &Call, node: &Node) -> anyhow::Result<Answer> {
        match self {
            Side::Theirs(tools) if call.mark != Mark::Alone => tools.call(&words(call, node), &call.input),
            Side::Theirs(_) | Side::Ours => {
                let mut beside = Beside::start(stage, self, call, node)?;
                let until = Instant::now() + CALL_AT_MOST;
                while beside.child.try_wait()?.is_none() {
                    ensure!(Instant::now() < until, "no end within {CALL_AT_MOST:?}");
                    sleep(Duration::from_millis(2));
                }
                beside.answer()
            }
        }
    }
}

impl Side {
    /// Calls, and repeats that where it must answer so in the end.
    fn call_until(&mut self, stage: &Stage, call: &Call, node: &Node) -> anyhow::Result<Answer> {
        let until = Instant::now() + UNTIL_AT_MOST;
        loop {
            let answer = self.call(stage, call, node)?;
            let is_so = || compare(call, answer.clone(), node).is_ok();
            if call.mark != Mark::Until || is_so() || Instant::now() > until {
                settle(call);
                keep(call, &answer, node)?;
                return Ok(answer);
            }
            sleep(Duration::from_millis(100));
        }
    }
}

/// A call may end with `> file`, as in a shell.
fn keep(call: &Call, answer: &Answer, node: &Node) -> anyhow::Result<()> {
    let Some((_, file)) = call.line.split_once(" > ") else { return Ok(()) };
    let file = file.trim().replace("{d}", &node.folder().display().to_string());
    fs::write(&file, &answer.out).with_context(|| file.clone())
}

/// A tool in a process of its own, killed when it is dropped.
struct Beside {
    child: Child,
    out: Option<std::thread::JoinHandle<String>>,
    err: Option<std::thread::JoinHandle<String>>,
}

impl Beside {
    fn start(stage: &Stage, side: &Side, call: &Call, node: &Node) -> anyhow::Result<Beside> {
        let words = words(call, node);
        let mut command = match side {
            Side::Theirs(_) => ApacheTools::command(&words)?,
            Side::Ours => {
                let mut command = Command::new(&stage.ottla);
                command.args(words);
                command
            }
        };
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().context("standard input")?;
        let text = call.input.clone();
        std::thread::spawn(move || {
            // A tool that reads nothing may be gone already.
            let _ = input.write_all(text.as_bytes());
        });
        let out = child.stdout.take().map(read);
        let err = child.stderr.take().map(read);
        Ok(Beside { child, out, err })
    }

    /// Asks it to stop, and waits for its answer.
    fn stop(mut self) -> anyhow::Result<Answer> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let until = Instant::now() + END_AT_MOST;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < until, "not stopped within {END_AT_MOST:?}");
            sleep(Duration::from_millis(5));
        }
        self.answer()
    }

    fn answer(&mut self) -> anyhow::Result<Answer> {
        let status = self.child.wait()?;
        let text = |reader: Option<std::thread::JoinHandle<String>>| {
            reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
        };
        Ok(Answer {
            exit: status.code().unwrap_or(-1),
            out: text(self.out.take()),
            err: text(self.err.take()),
        })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end, so that nobody waits for room in a pipe.
fn read(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Apache Kafka answers an alteration, or a deletion, before its own broker sees it.
fn settle(call: &Call) {
    if call.line.contains("--alter") || call.line.contains("--delete ") {
        sleep(Duration::from_millis(150));
    }
}

fn compare(call: &Call, answer: Answer, node: &Node) -> anyhow::Result<()> {
    let got = masked(&answer, node, call.mark);
    let ordered = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if call.mark == Mark::Unordered {
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

/// The tool's name and arguments; double quotes hold words together. `{b}` is the node's address, `{d}` a folder.
fn words(call: &Call, node: &Node) -> Vec<String> {
    let folder = node.folder().display().to_string();
    let line = call.line.split(" > ").next().unwrap_or_default();
    let line = line.replace("{b}", &node.address()).replace("{d}", &folder);
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
fn masked(answer: &Answer, node: &Node, mark: Mark) -> Answer {
    let digits: fn(char) -> bool = |c| c.is_ascii_digit();
    let id: fn(char) -> bool = |c| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let number: fn(char) -> bool = |c| c.is_ascii_digit() || matches!(c, '.' | 'E' | '-');
    let mut out = with_sorted_fields(&answer.out).replace(&node.address(), "{b}");
    let folder = node.folder().display().to_string();
    out = out.replace(&folder, "{d}");
    for (lead, with, belongs) in [
        ("TopicId: ", "{id}", id),
        ("\"topicId\":\"", "{id}", id),
        ("CreateTime:", "{time}", digits),
        ("\"timestamp\":", "{time}", digits),
        ("imestamp\":", "{time}", digits),
        ("imestampMs\":", "{time}", digits),
        ("\"producerId\":", "{n}", digits),
        ("\"avg_throughput\":", "{n}", number),
    ] {
        out = replace_behind(&out, lead, with, belongs);
    }
    out = without_ids(&without_uuids(&without_made_up_groups(&out)));
    if mark == Mark::Numbered {
        out = without_numbers(&out);
    }
    Answer { out, ..answer.clone() }
}

/// Replaces what follows each `lead` as long as `belongs` holds, where anything does.
fn replace_behind(text: &str, lead: &str, with: &str, belongs: fn(char) -> bool) -> String {
    let mut parts = text.split(lead);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str(lead);
        let rest = part.trim_start_matches(belongs);
        if rest.len() < part.len() {
            masked.push_str(with);
        }
        masked.push_str(rest);
    }
    masked
}

/// Java gives the fields of an event in any order.
fn with_sorted_fields(text: &str) -> String {
    let sorted = |line: &str| match serde_json::from_str::<serde_json::Value>(line) {
        Ok(event) if line.starts_with("{\"timestamp\"") => format!("{event}\n"),
        _ => line.to_owned(),
    };
    text.split_inclusive('\n').map(sorted).collect()
}

/// Groups that the console consumer made up for itself come and go with earlier calls.
fn without_made_up_groups(text: &str) -> String {
    let is_made_up = |line: &str| {
        let number =
            line.strip_prefix("console-consumer-").map(|rest| rest.split(' ').next().unwrap_or(rest));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    text.split_inclusive('\n').filter(|line| !is_made_up(line.trim_end())).collect()
}

/// `{uuid}` for what has the form of one.
fn without_uuids(text: &str) -> String {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    const LEN: usize = 36;
    let is_uuid = |part: &[u8]| {
        part.iter().enumerate().all(|(at, byte)| {
            if DASHES.contains(&at) {
                *byte == b'-'
            } else {
                byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()
            }
        })
    };
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = rest.as_bytes().windows(LEN).position(is_uuid) {
        masked.push_str(&rest[..at]);
        masked.push_str("{uuid}");
        rest = &rest[at + LEN..];
    }
    masked + rest
}

/// `{id}` for words that have the form of a Kafka id, such as members have under the consumer protocol.
fn without_ids(text: &str) -> String {
    const LEN: usize = 22;
    let is_id = |word: &str| {
        let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
        word.len() == LEN
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && has(u8::is_ascii_uppercase)
            && has(u8::is_ascii_lowercase)
    };
    let masked = |word: &str| {
        let bare = word.trim_end_matches([' ', '\n']);
        if is_id(bare) { word.replacen(bare, "{id}", 1) } else { word.to_owned() }
    };
    text.split_inclusive([' ', '\n']).map(masked).collect()
}

/// `{n}` for each number, one blank for each run of blanks. What took no whole millisecond has an infinite rate.
fn without_numbers(text: &str) -> String {
    let mut masked = String::new();
    let mut last = ' ';
    for c in text.replace(", Infinity", ", 0").chars() {
        let c = if c.is_ascii_digit() { '0' } else { c };
        if (c != '0' && c != ' ') || last != c {
            masked.push(c);
        }
        last = c;
    }
    masked.replace('0', "{n}").replace("{n}.{n}", "{n}")
}

fn parse(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut before = String::new();
    for line in text.lines() {
        let (mark, rest) = line.split_at(line.len().min(2));
        let known = MARKS.iter().find(|(sign, _)| {
            let alone = *sign == '-' && line == "-";
            alone
                || (mark.starts_with(*sign)
                    && mark.ends_with(' ')
                    && (*sign != '#' || rest.starts_with("kafka-")))
        });
        match (known, mark, calls.last_mut()) {
            (Some((_, mark)), ..) => calls.push(Call {
                before: std::mem::take(&mut before),
                mark: *mark,
                line: rest.to_owned(),
                ..Call::default()
            }),
            (None, "! ", _) => calls.push(Call {
                before: std::mem::take(&mut before),
                line: rest.to_owned(),
                only_ours: true,
                ..Call::default()
            }),
            (None, "< ", Some(call)) => call.input.push_str(&format!("{rest}\n")),
            (None, "| " | "|", Some(call)) => call.output.push_str(&format!("{rest}\n")),
            (None, "= ", Some(call)) => call.exit = rest.trim().parse().unwrap_or_default(),
            _ => before.push_str(&format!("{line}\n")),
        }
    }
    calls
}

/// A call as the file has it, with a new answer where there is one.
fn written(call: &Call, answer: Option<&Answer>) -> String {
    let sign = MARKS.iter().find(|(_, mark)| *mark == call.mark).map_or('$', |(sign, _)| *sign);
    let sign = if call.only_ours { '!' } else { sign };
    let mut text = format!("{}{}\n", call.before, format!("{sign} {}", call.line).trim_end());
    call.input.lines().for_each(|line| text.push_str(&format!("< {line}\n")));
    let (output, exit) =
        answer.map_or((call.output.as_str(), call.exit), |answer| (&answer.out, answer.exit));
    output.lines().for_each(|line| text.push_str(&format!("| {line}\n")));
    if exit != 0 {
        text.push_str(&format!("= {exit}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "# c\n\n~ tool \"a b\" {b}\n< in\n| out\n| \n= 1\n# note\n$ next\n# kafka-transactions list\n| {n}\n& beside\n| seen\n= 143\n. 500\n-\n? until\n| so\n@ alone\n! only ours\n| x\n";

    #[test]
    fn the_calls_are_read_as_they_are_written() {
        let calls = parse(SCRIPT);
        let first = Call {
            before: "# c\n\n".to_owned(),
            mark: Mark::Unordered,
            line: "tool \"a b\" {b}".to_owned(),
            input: "in\n".to_owned(),
            output: "out\n\n".to_owned(),
            exit: 1,
            only_ours: false,
        };
        assert_eq!(calls[0], first);
        let marks: Vec<Mark> = calls.iter().map(|call| call.mark).collect();
        assert_eq!(
            marks,
            [
                Mark::Unordered,
                Mark::Ordered,
                Mark::Numbered,
                Mark::Beside,
                Mark::Wait,
                Mark::Stop,
                Mark::Until,
                Mark::Alone,
                Mark::Ordered
            ]
        );
        assert!(calls[8].only_ours);
        assert_eq!(calls.iter().map(|call| written(call, None)).collect::<String>(), SCRIPT);
    }

    #[test]
    fn what_differs_from_run_to_run_is_masked() {
        let id: fn(char) -> bool = |c| c.is_ascii_alphanumeric();
        assert_eq!(replace_behind("TopicId: abc1\tX", "TopicId: ", "{id}", id), "TopicId: {id}\tX");
        assert_eq!(without_uuids("consumer-9f1f5cf2-8d0a-4a35-a1b0-9c5a3a0b9f57 x"), "consumer-{uuid} x");
        assert_eq!(
            with_sorted_fields("{\"timestamp\":1,\"b\":2,\"a\":3}\nx\n"),
            "{\"a\":3,\"b\":2,\"timestamp\":1}\nx\n"
        );
        assert_eq!(without_ids("next HIjZKkgBQk-lvE3s-1x5_g fixed\n"), "next {id} fixed\n");
        assert_eq!(without_ids("TARGET-ASSIGNMENT-EPOC a\n"), "TARGET-ASSIGNMENT-EPOC a\n");
        assert_eq!(without_made_up_groups("a\nconsole-consumer-123 Classic\nb"), "a\nb");
        assert_eq!(without_numbers("a  1\t23.5   b 7"), "a {n}\t{n} b {n}");
        assert_eq!(without_numbers("0, Infinity, Infinity"), "{n}, {n}, {n}");
    }
}
