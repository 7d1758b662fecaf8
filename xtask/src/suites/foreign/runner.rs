//! How the tests of each client are built, what node they want, and how they are run.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};

use super::super::Stage;
use super::verdict::{self, Verdict};
use crate::namespace::Namespace;
use crate::node::Node;
use crate::tools::{self, Jars, Missing};

/// Whose tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    Librdkafka,
    /// Its groups over KIP-848.
    LibrdkafkaConsumer,
    KafkaGo,
    Rdkafka,
    Rskafka,
}

/// In this order; those of one row run beside each other, for they mostly wait.
pub const ORDER: &[&[Runner]] = &[
    &[Runner::Librdkafka, Runner::KafkaGo],
    &[Runner::LibrdkafkaConsumer, Runner::Rdkafka, Runner::Rskafka],
];

/// Parts of its tests that dereference a null pointer of their own.
const KAFKA_GO_BROKEN: &str =
    "^TestReaderConsumerGroup$/^(consumer_group_commits_on_close|verify_offset_committed.*)$";

/// How many parts of librdkafka's long tests run at a time, beside the others.
const PARTS_AT_ONCE: usize = 3;

/// What librdkafka's tests are told of the node: with 4.2.0 they would want share groups.
const KAFKA_VERSION: &str = "4.0.0";

impl Runner {
    /// How its list and the table name it.
    pub fn name(self) -> &'static str {
        match self {
            Runner::Librdkafka => "librdkafka",
            Runner::LibrdkafkaConsumer => "librdkafka-consumer",
            Runner::KafkaGo => "kafka-go",
            Runner::Rdkafka => "rdkafka",
            Runner::Rskafka => "rskafka",
        }
    }

    /// What passes quicker than this has asked the node nothing: some skip themselves and say that they have passed.
    pub fn real_from(self) -> Duration {
        Duration::from_millis(match self {
            Runner::Librdkafka | Runner::LibrdkafkaConsumer => 10,
            Runner::Rdkafka | Runner::Rskafka => 2,
            // Go says SKIP, and counts hundredths of a second.
            Runner::KafkaGo => 0,
        })
    }

    /// Builds its tests; the answer is the folder of its sources.
    pub fn build(self) -> Result<PathBuf, Missing> {
        match self {
            Runner::Librdkafka | Runner::LibrdkafkaConsumer => {
                tools::foreign_tests("librdkafka", "tests/test-runner", LIBRDKAFKA_NEEDS)
            }
            Runner::KafkaGo => {
                tools::program("go", "apt-get install golang")?;
                tools::foreign_tests("kafka-go", "tests.bin", &[])
            }
            Runner::Rdkafka => tools::foreign_tests("rdkafka", "binaries", RUST_NEEDS),
            Runner::Rskafka => tools::foreign_tests("rskafka", "binaries", RUST_NEEDS),
        }
    }

    /// The node that its tests want.
    pub fn node(self, stage: &Stage) -> anyhow::Result<Node> {
        match self {
            // Some expect two members that come at once in the first generation together.
            Runner::Librdkafka | Runner::LibrdkafkaConsumer => {
                stage.node(&[("num.partitions", "4"), ("group.initial.rebalance.delay.ms", "300")])
            }
            Runner::KafkaGo => fixed(stage, "localhost", &[("message.max.bytes", "209715200")]),
            Runner::Rdkafka => fixed(stage, "127.0.0.1", &[("node.id", "0"), ("num.partitions", "3")]),
            Runner::Rskafka => stage.node(&[("auto.create.topics.enable", "false")]),
        }
    }

    /// Runs tests, or what has them in it.
    pub fn run(
        self,
        stage: &Stage,
        node: &Node,
        built: &Path,
        names: &[String],
    ) -> anyhow::Result<Vec<Verdict>> {
        match self {
            Runner::Librdkafka => librdkafka(stage, node, built, ("classic", names)),
            Runner::LibrdkafkaConsumer => librdkafka(stage, node, built, ("consumer", names)),
            Runner::KafkaGo => kafka_go(node, built, names),
            Runner::Rdkafka => rust(node, built, names, &|command| {
                command.env("KAFKA_HOST", "127.0.0.1:9092").env("KAFKA_VERSION", "4.0");
            }),
            Runner::Rskafka => rust(node, built, names, &|command| {
                command.env("TEST_INTEGRATION", "1").env("TEST_BROKER_IMPL", "kafka");
                command.env("KAFKA_CONNECT", node.address());
            }),
        }
    }
}

/// A node on port 9092, where some tests look for it whatever else runs on the machine: in a namespace of its own.
fn fixed(stage: &Stage, host: &str, properties: &[(&str, &str)]) -> anyhow::Result<Node> {
    let advertised = format!("PLAINTEXT://{host}:9092");
    let listeners = format!("{advertised},CONTROLLER://127.0.0.1:9090");
    let id = properties.iter().find(|(key, _)| *key == "node.id").map_or("1", |(_, id)| id);
    let voters = format!("{id}@127.0.0.1:9090");
    let mut all = vec![
        ("listeners", listeners.as_str()),
        ("advertised.listeners", advertised.as_str()),
        ("controller.quorum.voters", voters.as_str()),
    ];
    all.extend(properties);
    Node::start_in(&stage.server, &all, Some(Namespace::new()?))
}

/// Headers and the packages that have them.
const LIBRDKAFKA_NEEDS: &[(&str, &str)] = &[
    ("openssl/ssl.h", "libssl-dev"),
    ("sasl/sasl.h", "libsasl2-dev"),
    ("zlib.h", "zlib1g-dev"),
    ("zstd.h", "libzstd-dev"),
    ("lz4.h", "liblz4-dev"),
    ("curl/curl.h", "libcurl4-openssl-dev"),
    ("rapidjson/document.h", "rapidjson-dev"),
];

const RUST_NEEDS: &[(&str, &str)] = &[("zlib.h", "zlib1g-dev"), ("zstd.h", "libzstd-dev")];

/// Runs whole tests together, and each part (`TEST:PART`) by itself beside them.
fn librdkafka(
    stage: &Stage,
    node: &Node,
    built: &Path,
    (protocol, names): (&str, &[String]),
) -> anyhow::Result<Vec<Verdict>> {
    let kafka = kafkas_tools(stage, node, built)?;
    let conf = node.folder().join("test.conf");
    fs::write(&conf, format!("bootstrap.servers={}\ntest.topic.random=true\n", node.address()))?;
    let run = |numbers: &str, part: &str| -> anyhow::Result<Vec<Verdict>> {
        let mut command = bounded("600");
        command.args(["bash", "run-test.sh", "-L", "-E", "-p5"]).current_dir(built.join("tests"));
        command.env("TESTS", numbers).env("TEST_KAFKA_VERSION", KAFKA_VERSION);
        command.env("TEST_CONSUMER_GROUP_PROTOCOL", protocol).env("RDKAFKA_TEST_CONF", &conf);
        command.env("KAFKA_PATH", &kafka).env("BROKERS", node.address());
        if !part.is_empty() {
            command.env("SUBTESTS", part);
        }
        let log: String = format!("tests-{numbers:.4}-{part}.log").replace([' ', ',', ':'], "_");
        Ok(verdict::librdkafka(&output(command, &node.folder().join(log))?))
    };
    let (parts, whole): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| name.contains(':'));
    let numbers: BTreeSet<&str> = whole.iter().filter_map(|name| name.get(..4)).collect();
    let numbers = numbers.into_iter().collect::<Vec<_>>().join(",");
    let parts = Mutex::new(parts.into_iter());
    let run_parts = || {
        let mut verdicts = Vec::new();
        loop {
            let next = parts.lock().map_err(|_| anyhow!("another thread panicked"))?.next();
            let Some(name) = next else { return Ok(verdicts) };
            let (test, part) = name.split_once(':').unwrap_or((name, ""));
            let found = run(test.get(..4).unwrap_or_default(), part)?.into_iter();
            let found = found.filter(|verdict| verdict.name == test);
            verdicts.extend(found.map(|verdict| Verdict { name: name.clone(), ..verdict }));
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..PARTS_AT_ONCE).map(|_| scope.spawn(run_parts)).collect();
        let mut verdicts = if numbers.is_empty() { Vec::new() } else { run(&numbers, "")? };
        for thread in threads {
            let found: anyhow::Result<Vec<Verdict>> =
                thread.join().map_err(|_| anyhow!("a thread panicked"))?;
            verdicts.extend(found?);
        }
        Ok(verdicts)
    })
}

/// A folder with our tools under the names of Kafka's, and Kafka's jars for the Java programs that some tests start.
fn kafkas_tools(stage: &Stage, node: &Node, built: &Path) -> anyhow::Result<PathBuf> {
    let kafka = node.folder().join("kafka");
    if kafka.exists() {
        return Ok(kafka);
    }
    fs::create_dir_all(kafka.join("bin"))?;
    let jars = tools::jars(Jars::Broker)?;
    std::os::unix::fs::symlink(&jars, kafka.join("libs"))?;
    let ottla = stage.ottla.display();
    let topics = format!("#!/bin/sh\nexec {ottla} kafka-topics \"$@\"\n");
    let class = format!("#!/bin/sh\nexec java -cp \"$CLASSPATH:{}/*\" \"$@\"\n", jars.display());
    for (name, script) in [("kafka-topics.sh", topics), ("kafka-run-class.sh", class)] {
        let path = kafka.join("bin").join(name);
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    // Made once and not by several tests at a time.
    let mut java = Command::new("make");
    java.args(["-s", "-C", "java"]).current_dir(built.join("tests")).env("KAFKA_PATH", &kafka);
    let made = java.output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(kafka)
}

/// Runs the binary with a pattern of exactly these names.
fn kafka_go(node: &Node, built: &Path, names: &[String]) -> anyhow::Result<Vec<Verdict>> {
    let tests: BTreeSet<&str> = names.iter().filter_map(|name| name.split('/').next()).collect();
    let mut command = bounded("400");
    command.arg(built.join("tests.bin")).args(["-test.v", "-test.timeout", "390s", "-test.run"]);
    command.arg(format!("^({})$", tests.into_iter().collect::<Vec<_>>().join("|")));
    command.args(["-test.skip", KAFKA_GO_BROKEN]);
    command.current_dir(built).env("KAFKA_SKIP_NETTEST", "1").env("KAFKA_VERSION", "3.7.0");
    Ok(verdict::go(&output(node.beside(command), &node.folder().join("tests.log"))?))
}

/// Runs each binary that has one of the tests. Times are not printed by stable Rust unless it is told to.
fn rust(
    node: &Node,
    built: &Path,
    names: &[String],
    settings: &dyn Fn(&mut Command),
) -> anyhow::Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for path in fs::read_to_string(built.join("binaries"))?.lines() {
        let file = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let binary = file.rsplit_once('-').map_or(file, |(binary, _)| binary);
        let tests: Vec<&str> =
            names.iter().filter_map(|name| name.strip_prefix(binary)?.strip_prefix("::")).collect();
        if tests.is_empty() {
            continue;
        }
        let mut command = bounded("300");
        command.arg(built.join(path)).args(["-Zunstable-options", "--report-time", "--exact"]).args(tests);
        command.current_dir(built).env("RUSTC_BOOTSTRAP", "1");
        settings(&mut command);
        let log = node.folder().join(format!("tests-{binary}.log"));
        verdicts.extend(verdict::rust(binary, &output(node.beside(command), &log)?));
    }
    Ok(verdicts)
}

/// A command that is killed after so many seconds.
fn bounded(seconds: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after", "5", seconds]);
    command
}

/// What a command prints, in a file that outlives it. A failed test is no failure of the runner.
fn output(mut command: Command, log: &Path) -> anyhow::Result<String> {
    let file = File::options().create(true).append(true).open(log)?;
    let before = file.metadata()?.len();
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .context("running the tests")?;
    let bytes = fs::read(log)?;
    let from = usize::try_from(before)?;
    Ok(String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned())
}
