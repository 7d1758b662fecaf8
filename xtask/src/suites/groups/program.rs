//! How each client program is made and started. All have the verbs of `tests/clients/groups/README.md` but kcat, which
//! has its own.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::member::{self, Ending, Member};
use crate::suites::clients::REQUIREMENTS;
use crate::tools::{self, Jars, Missing};

/// Every client, in the order in which they run.
pub const NAMES: [&str; 15] = [
    "ottla",
    "java-4.4.0",
    "java-3.9.1",
    "java-2.1.1",
    "confluent-kafka",
    "librdkafka-2.0.2",
    "kafka-go",
    "kafka-go-0.4.47",
    "franz-go",
    "sarama",
    "sarama-1.40.0",
    "kafka-python",
    "kafka-python-2.0.2",
    "aiokafka",
    "kafkajs",
];

/// How long one call of a program may take.
const AT_MOST_SECONDS: &str = "120";

/// The protocols of consumer groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// JoinGroup and SyncGroup.
    Classic,
    /// KIP-848.
    Consumer,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A client library behind a small program.
pub struct Program {
    pub name: &'static str,
    words: Vec<String>,
}

impl Program {
    /// Installs and builds what the client needs.
    pub fn ready(name: &'static str) -> Result<Program, Missing> {
        const GROUPS: &str = "tests/clients/groups";
        let binary = format!("groups-{name}");
        let go = |folder: &str, module: &str| {
            Ok(vec![path(&tools::go(&binary, &format!("{GROUPS}/{folder}"), module)?)])
        };
        let words = match name {
            "ottla" => vec![path(&tools::example("verbs")?)],
            "java-4.4.0" => java("4.4.0")?,
            "java-3.9.1" => java("3.9.1")?,
            "java-2.1.1" => java("2.1.1")?,
            "confluent-kafka" => python("python", REQUIREMENTS, "confluent.py")?,
            "kafka-python" => python("python", REQUIREMENTS, "kafka_python.py")?,
            "aiokafka" => python("python", REQUIREMENTS, "aio.py")?,
            "kafka-python-2.0.2" => {
                python("python-old", "tests/clients/groups/python/old.txt", "kafka_python.py")?
            }
            "kafka-go" => go("kafka-go", "go.mod")?,
            "kafka-go-0.4.47" => go("kafka-go", "old.mod")?,
            "franz-go" => go("franz-go", "go.mod")?,
            "sarama" => go("sarama", "go.mod")?,
            "sarama-1.40.0" => go("sarama", "old.mod")?,
            "kafkajs" => vec![
                path(&tools::program("node", "apt-get install nodejs npm")?),
                path(&tools::node_script("tests/clients/groups/kafkajs", "groups.js")?),
            ],
            _ => vec![path(&tools::program("kcat", "apt-get install kcat")?)],
        };
        Ok(Program { name, words })
    }

    /// The protocols of groups that the library has.
    pub fn protocols(&self) -> &'static [Protocol] {
        match self.name {
            "ottla" | "java-4.4.0" | "java-3.9.1" | "confluent-kafka" | "franz-go" => {
                &[Protocol::Classic, Protocol::Consumer]
            }
            _ => &[Protocol::Classic],
        }
    }

    /// Whether the library has transactions.
    pub fn has_transactions(&self) -> bool {
        !self.is_kcat() && !self.name.starts_with("kafka-go") && self.name != "kafka-python-2.0.2"
    }

    /// Whether a member says which partitions it owns.
    pub fn tells_what_it_owns(&self) -> bool {
        !self.is_kcat() && !self.name.starts_with("kafka-go")
    }

    /// Writes keyed records by the client's own partitioner.
    pub fn produce(&self, broker: &str, topic: &str, from: u32, count: u32) -> anyhow::Result<()> {
        if !self.is_kcat() {
            return self
                .run(&["produce", broker, topic, &from.to_string(), &count.to_string()], "")
                .map(drop);
        }
        let lines: String = (from..from + count).map(|n| format!("key-{}:{n}\n", n % 100)).collect();
        self.run(&["-P", "-b", broker, "-t", topic, "-K", ":"], &lines).map(drop)
    }

    /// Starts a member of a group.
    pub fn member(
        &self,
        broker: &str,
        group: &str,
        topic: &str,
        protocol: Protocol,
    ) -> anyhow::Result<Member> {
        if !self.is_kcat() {
            return self.start(&["member", broker, group, topic, protocol.name()]);
        }
        let settings = "session.timeout.ms=10000 heartbeat.interval.ms=500 auto.commit.interval.ms=200 auto.offset.reset=earliest";
        // -E: a node that restarts is no reason to end.
        let mut arguments = vec!["-b", broker, "-E", "-u", "-f", "%p %o %k %s\n"];
        settings.split(' ').for_each(|setting| arguments.extend(["-X", setting]));
        arguments.extend(["-G", group, topic]);
        self.start(&arguments)
    }

    /// The values that a reader with read_committed sees.
    pub fn committed(&self, broker: &str, topic: &str) -> anyhow::Result<Vec<u32>> {
        let text = self.run(&["committed", broker, topic], "")?;
        text.lines().map(|line| member::number(line).with_context(|| line.to_owned())).collect()
    }

    /// Starts a program that runs until its input ends.
    pub fn start(&self, arguments: &[&str]) -> anyhow::Result<Member> {
        self.start_with(arguments, &[])
    }

    /// The same, with something in its environment.
    pub fn start_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Member> {
        let (program, own) = self.words.split_first().context("a client has a program")?;
        let mut command = Command::new(program);
        command.args(own).args(arguments).envs(environment.iter().copied());
        Member::start(command, if self.is_kcat() { Ending::Signal } else { Ending::Input })
    }

    fn is_kcat(&self) -> bool {
        self.name == "librdkafka-2.0.2"
    }

    fn run(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let (program, own) = self.words.split_first().context("a client has a program")?;
        let mut command = Command::new("timeout");
        command.args([AT_MOST_SECONDS, program]).args(own).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("running {program}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        let shown: Vec<&str> = error.lines().collect();
        let from = shown.len().saturating_sub(20);
        let status = output.status;
        ensure!(status.success(), "{} {}: {status}\n{}", self.name, arguments[0], shown[from..].join("\n"));
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn python(folder: &str, requirements: &str, script: &str) -> Result<Vec<String>, Missing> {
    let script = crate::workspace().join("tests/clients/groups/python").join(script);
    Ok(vec![path(&tools::python(folder, requirements)?), path(&script)])
}

fn java(version: &'static str) -> Result<Vec<String>, Missing> {
    let name = format!("groups-{version}");
    let classes = tools::classes(&name, Jars::Client(version), &["tests/clients/groups/java/Groups.java"])?;
    let options =
        ["java", "-Xmx256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &classes, "Groups"];
    Ok(options.map(str::to_owned).to_vec())
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
