//! Apache Kafka's command line tools 4.3.1, kept in one JVM: each call is a line to it, each answer a line back.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::tools::{self, Jars, Missing};

/// Script name → main class.
const CLASSES: [(&str, &str); 18] = [
    ("kafka-topics", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-configs", "kafka.admin.ConfigCommand"),
    ("kafka-console-producer", "org.apache.kafka.tools.ConsoleProducer"),
    ("kafka-console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
    ("kafka-dump-log", "org.apache.kafka.tools.DumpLogSegments"),
    ("kafka-storage", "kafka.tools.StorageTool"),
    ("kafka-acls", "org.apache.kafka.tools.AclCommand"),
    ("kafka-consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("kafka-groups", "org.apache.kafka.tools.GroupsCommand"),
    ("kafka-transactions", "org.apache.kafka.tools.TransactionsCommand"),
    ("kafka-verifiable-producer", "org.apache.kafka.tools.VerifiableProducer"),
    ("kafka-verifiable-consumer", "org.apache.kafka.tools.VerifiableConsumer"),
    ("kafka-cluster", "org.apache.kafka.tools.ClusterTool"),
    ("kafka-delete-records", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("kafka-log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
    ("kafka-producer-perf-test", "org.apache.kafka.tools.ProducerPerformance"),
    ("kafka-consumer-perf-test", "org.apache.kafka.tools.ConsumerPerformance"),
];

/// What a tool printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub exit: i32,
    pub out: String,
    pub err: String,
}

/// The JVM with the tools in it.
pub struct ApacheTools {
    child: Child,
    calls: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl ApacheTools {
    /// Starts the JVM; it ends with this value.
    pub fn start() -> Result<ApacheTools, Missing> {
        let started =
            java()?.arg("Tools").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let missing =
            |why: String| Missing { why, install: "apt-get install openjdk-17-jdk-headless".to_owned() };
        let mut child = started.map_err(|error| missing(error.to_string()))?;
        let calls = child.stdin.take().ok_or_else(|| missing("no standard input".to_owned()))?;
        let answers = child.stdout.take().ok_or_else(|| missing("no standard output".to_owned()))?;
        Ok(ApacheTools { child, calls, answers: BufReader::new(answers) })
    }

    /// One tool in a JVM of its own: for those that run beside others, or are ended by a signal.
    pub fn command(words: &[String]) -> anyhow::Result<Command> {
        let (tool, arguments) = words.split_first().context("a call names a tool")?;
        let mut command = java()?;
        command.arg(class(tool)?).args(arguments);
        Ok(command)
    }

    /// Runs one tool: its script's name, with or without `.sh`, and its arguments.
    pub fn call(&mut self, words: &[String], input: &str) -> anyhow::Result<Answer> {
        let (tool, arguments) = words.split_first().context("a call names a tool")?;
        let class = class(tool)?;
        let call = json!({"class": class, "args": arguments, "stdin": input});
        writeln!(self.calls, "{call}").context("the tools' JVM is gone")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the tools' JVM ended during {words:?}");
        let answer: Value = serde_json::from_str(&line).with_context(|| format!("reading {line:?}"))?;
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        let exit = answer["exit"].as_i64().and_then(|exit| i32::try_from(exit).ok()).unwrap_or(-1);
        Ok(Answer { exit, out: text("out"), err: text("err") })
    }
}

fn class(tool: &str) -> anyhow::Result<&'static str> {
    let name = tool.trim_end_matches(".sh");
    let found = CLASSES.iter().find(|(known, _)| *known == name).map(|(_, class)| *class);
    found.with_context(|| format!("no tool {name}"))
}

/// `java` with the tools on its class path.
fn java() -> Result<Command, Missing> {
    let path = tools::classes("tools", Jars::Tools, &["tests/apache-kafka/Tools.java"])?;
    let logging = crate::workspace().join("tests/apache-kafka/quiet.yaml");
    let mut command = Command::new("java");
    command
        .args(["-Xmx512M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg(format!("-Dlog4j2.configurationFile={}", logging.display()))
        .args(["-cp", &path]);
    Ok(command)
}

impl Drop for ApacheTools {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
