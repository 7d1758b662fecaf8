//! How each client program is started. All have the verbs of `tests/clients/README.md` but kcat, which has its own.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use super::records;
use crate::node;
use crate::tools::{self, Jars, Missing};

/// Every client, in the order in which they run.
pub const NAMES: [&str; 7] =
    ["confluent-kafka", "kafka-python", "kafka-go", "kafka-go-0.4.47", "java-4.4.0", "java-2.1.1", "kcat"];

/// How long one call of a program may take.
const AT_MOST_SECONDS: &str = "400";

/// What the Python programs need.
pub const REQUIREMENTS: &str = "tests/clients/requirements.txt";

/// A client library behind a small program.
pub struct Client {
    pub name: &'static str,
    words: Vec<String>,
}

impl Client {
    /// Installs and builds what the client needs.
    pub fn ready(name: &'static str) -> Result<Client, Missing> {
        let words = match name {
            "confluent-kafka" => python("confluent.py")?,
            "kafka-python" => python("kafka_python.py")?,
            "kafka-go" => vec![path(&tools::go(name, "tests/clients/kafka-go", "go.mod")?)],
            "kafka-go-0.4.47" => vec![path(&tools::go(name, "tests/clients/kafka-go", "old.mod")?)],
            "java-4.4.0" => java("4.4.0")?,
            "java-2.1.1" => java("2.1.1")?,
            _ => vec![path(&tools::program("kcat", "apt-get install kcat")?)],
        };
        Ok(Client { name, words })
    }

    /// Whether the program knows the verbs, and is not kcat.
    fn has_verbs(&self) -> bool {
        self.name != "kcat"
    }

    /// Whether it writes and reads many records fast enough to be worth a case.
    pub fn in_bulk(&self) -> bool {
        ["confluent-kafka", "kafka-go", "java-4.4.0"].contains(&self.name)
    }

    /// Whether it writes to many partitions at once; kafka-go takes a task and a request for each of them.
    pub fn writes_many_partitions(&self) -> bool {
        self.in_bulk() && self.name != "kafka-go"
    }

    /// Whether it reads many records of one partition.
    pub fn reads_bulk(&self) -> bool {
        self.has_verbs()
    }

    /// Whether it can write timestamps, headers per record and bytes that are not text.
    pub fn writes_everything(&self) -> bool {
        self.has_verbs()
    }

    /// Whether it can write a record with neither key nor value.
    pub fn writes_nothing(&self) -> bool {
        self.name != "kafka-python"
    }

    /// Whether it tells an empty key or value that it reads from none.
    pub fn knows_empty(&self) -> bool {
        !self.name.starts_with("kafka-go")
    }

    pub fn create(
        &self,
        broker: &str,
        partitions: usize,
        configs: &str,
        topics: &[String],
    ) -> anyhow::Result<()> {
        if !self.has_verbs() {
            // kcat's first question about a topic creates it.
            for topic in topics {
                self.run(&["-L", "-b", broker, "-t", topic])?;
            }
            return Ok(());
        }
        let partitions = partitions.to_string();
        self.run(&[&["create", broker, &partitions, configs], &strs(topics)[..]].concat()).map(drop)
    }

    /// Writes the file's records to each topic in its codec.
    pub fn write(&self, broker: &str, file: &Path, topics: &[String], codecs: &[&str]) -> anyhow::Result<()> {
        if !self.has_verbs() {
            return topics
                .iter()
                .zip(codecs)
                .try_for_each(|(topic, codec)| self.kcat_write(broker, file, topic, codec));
        }
        let pairs: Vec<String> =
            topics.iter().zip(codecs).map(|(topic, codec)| format!("{topic}:{codec}")).collect();
        self.run(&[&["write", broker, &path(file)], &strs(&pairs)[..]].concat()).map(drop)
    }

    /// The lines of every topic's partition 0.
    pub fn read(&self, broker: &str, topics: &[String]) -> anyhow::Result<Vec<(String, Vec<String>)>> {
        if !self.has_verbs() {
            return topics.iter().map(|topic| Ok((topic.clone(), self.kcat_read(broker, topic)?))).collect();
        }
        let output = self.run(&[&["read", broker], &strs(topics)[..]].concat())?;
        let mut read: Vec<(String, Vec<String>)> = Vec::new();
        for line in String::from_utf8(output)?.lines() {
            match (line.strip_prefix("> "), read.last_mut()) {
                (Some(topic), _) => read.push((topic.to_owned(), Vec::new())),
                (None, Some((_, lines))) => lines.push(line.to_owned()),
                (None, None) => bail!("a record before a topic: {line}"),
            }
        }
        Ok(read)
    }

    pub fn bulk_write(
        &self,
        broker: &str,
        topic: &str,
        partitions: usize,
        count: usize,
        size: usize,
    ) -> anyhow::Result<()> {
        let [partitions, count, size] = [partitions, count, size].map(|number| number.to_string());
        self.run(&["bulk-write", broker, topic, &partitions, &count, &size]).map(drop)
    }

    /// The program itself counts and checks the order.
    pub fn bulk_read(
        &self,
        broker: &str,
        topic: &str,
        partitions: usize,
        count: usize,
        limit: usize,
    ) -> anyhow::Result<()> {
        let expected = format!("{}\n", partitions * count);
        let [partitions, count, limit] = [partitions, count, limit].map(|number| number.to_string());
        let output = self.run(&["bulk-read", broker, topic, &partitions, &count, &limit])?;
        ensure!(
            output == expected.as_bytes(),
            "read {} instead of {expected}",
            String::from_utf8_lossy(&output)
        );
        Ok(())
    }

    /// Text only: key and value between delimiters, or one file as one record.
    fn kcat_write(&self, broker: &str, file: &Path, topic: &str, codec: &str) -> anyhow::Result<()> {
        let folder = node::scratch("kcat")?;
        let common =
            ["-P", "-b", broker, "-t", topic, "-p", "0", "-z", codec, "-X", "message.max.bytes=20000000"];
        for record in records::parse(&fs::read_to_string(file)?) {
            let value = record.value.unwrap_or_default();
            let of_file = value.len() > 1_000_000;
            let content = if of_file {
                value
            } else {
                [&record.key.unwrap_or_default(), &b"\x1f"[..], &value].concat()
            };
            let written = folder.join("value");
            File::create(&written)?.write_all(&content)?;
            let last = path(&written);
            let delimiters = ["-Z", "-K", "\x1f", "-D", "\x1e", "-l"];
            let rest: &[&str] = if of_file { &[] } else { &delimiters };
            self.run(&[&common[..], rest, &[last.as_str()]].concat())?;
        }
        fs::remove_dir_all(folder).context("removing kcat's file")
    }

    /// Lengths first, so that bytes need no quoting.
    fn kcat_read(&self, broker: &str, topic: &str) -> anyhow::Result<Vec<String>> {
        let limit = ["-X", "fetch.message.max.bytes=20000000", "-X", "fetch.wait.max.ms=50"];
        let format = ["-f", "%T %K %S\n%k%s\n%h\n"];
        let what = ["-C", "-q", "-e", "-b", broker, "-t", topic, "-p", "0", "-o", "beginning"];
        let output = self.run(&[&what[..], &limit, &format].concat())?;
        records::from_kcat(&output)
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let (program, own) = self.words.split_first().context("a client has a program")?;
        let output = Command::new("timeout")
            .args([AT_MOST_SECONDS, program])
            .args(own)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("running {program}"))?;
        let error = String::from_utf8_lossy(&output.stderr);
        let shown: Vec<&str> = error.lines().collect();
        let from = shown.len().saturating_sub(25);
        ensure!(
            output.status.success(),
            "{} {}: {}\n{}",
            self.name,
            arguments[0],
            output.status,
            shown[from..].join("\n")
        );
        Ok(output.stdout)
    }
}

fn python(script: &str) -> Result<Vec<String>, Missing> {
    let script = crate::workspace().join("tests/clients").join(script);
    Ok(vec![path(&tools::python("python", REQUIREMENTS)?), path(&script)])
}

fn java(version: &'static str) -> Result<Vec<String>, Missing> {
    let name = format!("client-{version}");
    let classes = tools::classes(&name, Jars::Client(version), &["tests/clients/java/Client.java"])?;
    let options =
        ["java", "-Xmx1G", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &classes, "Client"];
    Ok(options.map(str::to_owned).to_vec())
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
