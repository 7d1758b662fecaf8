//! The cells of the benchmark and the foreign clients that run them.
//!
//! librdkafka's rdkafka_performance gives the throughput, for it is the fastest; Apache Kafka's ProducerPerformance
//! gives the latencies at a fixed rate.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::machine::cpu_seconds;
use crate::node::Node;
use crate::suites::clients::Client;
use crate::tools::{self, Jars, Missing};

/// What is done in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// librdkafka writes as fast as it can.
    Produce { acks: i16, codec: &'static str },
    /// librdkafka reads from the first record what it wrote before.
    CatchUp,
    /// librdkafka reads the end of the log while another writes.
    Tail,
    /// Java's producer writes at a fixed rate, in records a second.
    Latency { rate: u32, acks: &'static str },
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Cell {
    pub name: String,
    work: Work,
    size: u32,
    count: u32,
    partitions: u16,
}

/// One figure of one cell in one run.
#[derive(Clone, Debug)]
pub struct Measured {
    pub is_ottla: bool,
    pub cell: String,
    pub figure: &'static str,
    pub value: f64,
}

/// Every cell; smaller ones where it has to be quick.
pub fn all(quick: bool) -> Vec<Cell> {
    let scale = |count: u32| if quick { count / 20 } else { count };
    let mut cells = Vec::new();
    let mut add = |name: String, work, size, count, partitions| {
        cells.push(Cell { name, work, size, count: scale(count), partitions });
    };
    for (size, count) in [(100, 5_000_000), (1024, 1_000_000)] {
        for partitions in [1, 16] {
            for (acks, said) in [(1, "1"), (-1, "all")] {
                let name = format!("produce {size} B, {partitions} partitions, acks {said}");
                add(name, Work::Produce { acks, codec: "none" }, size, count, partitions);
            }
            add(
                format!("catch up {size} B, {partitions} partitions"),
                Work::CatchUp,
                size,
                count,
                partitions,
            );
        }
    }
    for codec in ["lz4", "zstd"] {
        let name = format!("produce 1024 B, 1 partitions, acks all, {codec}");
        add(name, Work::Produce { acks: -1, codec }, 1024, 1_000_000, 1);
    }
    add("tail 1024 B, 1 partitions".to_owned(), Work::Tail, 1024, 1_000_000, 1);
    for acks in ["1", "all"] {
        let name = format!("latency of 1024 B at 20,000/s, 16 partitions, acks {acks}");
        add(name, Work::Latency { rate: 20_000, acks }, 1024, 400_000, 16);
    }
    cells
}

/// The programs that run the cells.
pub struct Clients {
    performance: PathBuf,
    tools: PathBuf,
    admin: Client,
}

impl Clients {
    /// Installs and builds them.
    pub fn ready() -> Result<Clients, Missing> {
        Ok(Clients {
            performance: tools::rdkafka_performance()?,
            tools: tools::jars(Jars::Tools)?,
            admin: Client::ready("confluent-kafka")?,
        })
    }

    /// Creates a topic and writes one record to it, by one short-lived program that tries until it succeeds.
    pub fn first_record(&self, node: &Node) -> anyhow::Result<()> {
        let broker = node.address();
        let arguments = [
            "-P",
            "-t",
            "first",
            "-s",
            "100",
            "-c",
            "1",
            "-a",
            "-1",
            "-q",
            "-X",
            "linger.ms=0",
            "-b",
            &broker,
        ];
        self.run(&arguments).map(drop)
    }

    /// A load that nobody measures, since a JVM compiles what it runs while it runs it.
    pub fn warm_up(&self, node: &Node) -> anyhow::Result<()> {
        let cell = Cell {
            name: "warm-up".to_owned(),
            work: Work::Produce { acks: -1, codec: "none" },
            size: 100,
            count: 1_000_000,
            partitions: 4,
        };
        self.measure(&cell, node)?;
        self.measure(&Cell { work: Work::CatchUp, ..cell }, node).map(drop)
    }

    /// The figures of one cell.
    pub fn measure(&self, cell: &Cell, node: &Node) -> anyhow::Result<Vec<(&'static str, f64)>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let topic = format!("bench-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.admin.create(
            &node.address(),
            usize::from(cell.partitions),
            "-",
            std::slice::from_ref(&topic),
        )?;
        match cell.work {
            Work::Produce { acks, codec } => {
                self.timed(cell, node, || self.produce(cell, node, &topic, acks, codec))
            }
            Work::CatchUp => {
                self.produce(cell, node, &topic, 1, "none")?;
                self.timed(cell, node, || self.consume(cell, node, &topic))
            }
            Work::Tail => self.timed(cell, node, || self.tail(cell, node, &topic)),
            Work::Latency { rate, acks } => self.latency(cell, node, &topic, (rate, acks)),
        }
    }

    /// Throughput and the server's CPU time of what `run` does; both by the bytes before compression.
    fn timed(
        &self,
        cell: &Cell,
        node: &Node,
        run: impl FnOnce() -> anyhow::Result<f64>,
    ) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let before = cpu_seconds(node)?;
        let megabytes_per_second = run()?;
        let spent = cpu_seconds(node)? - before;
        let gigabytes = f64::from(cell.count) * f64::from(cell.size) / 1e9;
        Ok(vec![("MB/s", megabytes_per_second), ("CPU s/GB", spent / gigabytes)])
    }

    fn produce(&self, cell: &Cell, node: &Node, topic: &str, acks: i16, codec: &str) -> anyhow::Result<f64> {
        let text = self.run(&strs(&producer(cell, node, topic, acks, codec)))?;
        let wanted = format!("{} delivered", cell.count);
        ensure!(text.contains(&wanted), "not everything was delivered:\n{text}");
        megabytes(&text, "produced")
    }

    fn consume(&self, cell: &Cell, node: &Node, topic: &str) -> anyhow::Result<f64> {
        megabytes(&self.run(&strs(&consumer(cell, node, topic, "beginning")))?, "consumed")
    }

    /// What both do together: from the writer's first record to the reader's last.
    fn tail(&self, cell: &Cell, node: &Node, topic: &str) -> anyhow::Result<f64> {
        let reader = self.start(&strs(&consumer(cell, node, topic, "beginning")))?;
        // Long enough to be waiting at the end of an empty log.
        sleep(Duration::from_millis(700));
        let begin = Instant::now();
        self.produce(cell, node, topic, 1, "none")?;
        megabytes(&finish(reader)?, "consumed")?;
        Ok(f64::from(cell.count) * f64::from(cell.size) / 1e6 / begin.elapsed().as_secs_f64())
    }

    fn latency(
        &self,
        cell: &Cell,
        node: &Node,
        topic: &str,
        (rate, acks): (u32, &str),
    ) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let before = cpu_seconds(node)?;
        let quiet = crate::workspace().join("tests/apache-kafka/quiet.yaml");
        let output = Command::new("java")
            .args([
                "-Xmx512M",
                "-XX:+UseG1GC",
                &format!("-Dlog4j2.configurationFile={}", quiet.display()),
                "-cp",
            ])
            .arg(format!("{}/*", self.tools.display()))
            .args([
                "org.apache.kafka.tools.ProducerPerformance",
                "--topic",
                topic,
                "--record-size",
                &cell.size.to_string(),
            ])
            .args(["--num-records", &cell.count.to_string(), "--throughput", &rate.to_string()])
            // The first seconds are the client's own, it is being compiled.
            .args(["--warmup-records", &(cell.count / 4).to_string(), "--bootstrap-server", &node.address()])
            .args(["--command-property", &format!("acks={acks}"), "linger.ms=0"])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let line = text.lines().rfind(|line| line.contains("99.9th")).context("a line of percentiles")?;
        let percentile = |name: &str| {
            let part = line.split(", ").find(|part| part.trim_end_matches('.').ends_with(name));
            part.and_then(|part| part.split_whitespace().next()?.parse::<f64>().ok())
                .with_context(|| line.to_owned())
        };
        let gigabytes = f64::from(cell.count) * f64::from(cell.size) / 1e9;
        Ok(vec![
            ("p50, ms", percentile(" 50th")?),
            ("p99, ms", percentile(" 99th")?),
            ("p99.9, ms", percentile(" 99.9th")?),
            ("CPU s/GB", (cpu_seconds(node)? - before) / gigabytes),
        ])
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        finish(self.start(arguments)?)
    }

    fn start(&self, arguments: &[&str]) -> anyhow::Result<Child> {
        let mut command = Command::new("timeout");
        command.arg("300").arg(&self.performance).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().context("running rdkafka_performance")
    }
}

fn finish(child: Child) -> anyhow::Result<String> {
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "rdkafka_performance: {}\n{text}", output.status);
    Ok(text)
}

fn producer(cell: &Cell, node: &Node, topic: &str, acks: i16, codec: &str) -> Vec<String> {
    let words = format!(
        "-P -t {topic} -s {} -c {} -a {acks} -z {codec} -b {} -X linger.ms=5 -X queue.buffering.max.messages=500000",
        cell.size,
        cell.count,
        node.address()
    );
    words.split(' ').map(str::to_owned).collect()
}

fn consumer(cell: &Cell, node: &Node, topic: &str, from: &str) -> Vec<String> {
    let mut words = format!("-C -t {topic} -o {from} -c {} -b {}", cell.count, node.address());
    (0..cell.partitions).for_each(|partition| words.push_str(&format!(" -p {partition}")));
    words.split(' ').map(str::to_owned).collect()
}

/// The MB/s of the closing line.
fn megabytes(text: &str, verb: &str) -> anyhow::Result<f64> {
    let line = text
        .lines()
        .rfind(|line| line.contains(verb) && line.contains("MB/s"))
        .with_context(|| text.to_owned())?;
    let before = line.split("MB/s").next().unwrap_or_default();
    let number = before.split([' ', '(']).rfind(|word| !word.is_empty()).unwrap_or_default();
    number.parse().with_context(|| line.to_owned())
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_are_read() {
        let produced = "% 7 messages produced (7 bytes), 7 delivered (offset 6, 0 failed) in 527ms: 378877 msgs/s and 387.97 MB/s, 24 produce failures";
        assert_eq!(megabytes(produced, "produced").expect("a number"), 387.97);
        let consumed = "% 7 messages (7 bytes) consumed in 164ms: 1216204 msgs/s (1245.39 MB/s)\n% Average";
        assert_eq!(megabytes(consumed, "consumed").expect("a number"), 1245.39);
    }
}
