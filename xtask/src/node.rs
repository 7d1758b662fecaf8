//! One node under test: Ottla or Apache Kafka 4.4.0 on free loopback ports in a temporary folder.
//!
//! Both get the same `server.properties` and are ready when they say `Kafka Server started`. Every wait has a bound,
//! and what was started is stopped when the value is dropped.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::namespace::Namespace;
use crate::tools::{self, Jars, Missing};

/// Which server a node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    Ottla { binary: PathBuf },
    ApacheKafka { jars: PathBuf, heap: String },
}

/// The line that says that a node serves.
const STARTED: &str = "Kafka Server started";
const START_AT_MOST: Duration = Duration::from_secs(60);
const STOP_AT_MOST: Duration = Duration::from_secs(30);

/// A cluster id, in the form that Kafka's tools make.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qk";

impl Server {
    /// Ottla as `cargo build` left it.
    pub fn ottla(binary: &Path) -> Server {
        Server::Ottla { binary: binary.to_path_buf() }
    }

    /// Apache Kafka 4.4.0, its jars fetched if they are not there yet.
    pub fn apache_kafka() -> Result<Server, Missing> {
        Ok(Server::ApacheKafka { jars: tools::jars(Jars::Broker)?, heap: "-Xmx768M".to_owned() })
    }

    /// How tables name it.
    pub fn name(&self) -> &'static str {
        match self {
            Server::Ottla { .. } => "Ottla",
            Server::ApacheKafka { .. } => "Apache Kafka 4.4.0",
        }
    }

    pub fn is_ottla(&self) -> bool {
        matches!(self, Server::Ottla { .. })
    }
}

/// A node with its folder; stopped and its folder removed when dropped.
pub struct Node {
    pub server: Server,
    folder: PathBuf,
    port: u16,
    controller_port: u16,
    child: Option<Child>,
    namespace: Option<Namespace>,
    /// From exec to the line that says that it serves, of the newest start.
    pub ready_in: Duration,
}

impl Node {
    /// Starts a node with an empty data directory. `properties` are added to those that every node gets and win over them.
    pub fn start(server: &Server, properties: &[(&str, &str)]) -> anyhow::Result<Node> {
        Node::start_in(server, properties, None)
    }

    /// The same in a network namespace, whose loopback nobody else uses.
    pub fn start_in(
        server: &Server,
        properties: &[(&str, &str)],
        namespace: Option<Namespace>,
    ) -> anyhow::Result<Node> {
        let folder = scratch("node")?;
        let mut node = Node {
            server: server.clone(),
            port: free_port()?,
            controller_port: free_port()?,
            folder,
            child: None,
            namespace,
            ready_in: Duration::ZERO,
        };
        node.write_properties(properties)?;
        node.format()?;
        node.launch()?;
        Ok(node)
    }

    /// Starts the other server on this node's stopped data directory, with the same ports and properties.
    pub fn hand_over(&mut self, server: &Server) -> anyhow::Result<()> {
        ensure!(self.child.is_none(), "the node still runs");
        self.server = server.clone();
        self.launch()
    }

    /// Where clients connect.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn controller_port(&self) -> u16 {
        self.controller_port
    }

    /// Where the partitions lie.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A folder for what a suite writes beside the data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Everything that the node has printed.
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Asks the node to stop, and kills it where it does not.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let until = Instant::now() + STOP_AT_MOST;
        while asked.is_ok() && Instant::now() < until {
            if let Some(status) = child.try_wait()? {
                let clean = status.success() || !self.server.is_ottla();
                ensure!(clean, "stopped with {status}\n{}", self.log_tail());
                return Ok(());
            }
            sleep(Duration::from_millis(10));
        }
        child.kill()?;
        child.wait()?;
        bail!("not stopped within {STOP_AT_MOST:?} after SIGTERM\n{}", self.log_tail())
    }

    /// Ends the node as `kill -9` does.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts the node again on its own data.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        ensure!(self.child.is_none(), "the node runs already");
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let printed_before = self.log().len();
        let begin = Instant::now();
        let mut command = self.beside(self.command()?);
        self.child = Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        loop {
            if self.log().get(printed_before..).unwrap_or_default().contains(STARTED) {
                self.ready_in = begin.elapsed();
                return Ok(());
            }
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                self.child = None;
                bail!("ended with {status} before it served\n{}", self.log_tail());
            }
            ensure!(
                begin.elapsed() < START_AT_MOST,
                "not ready within {START_AT_MOST:?}\n{}",
                self.log_tail()
            );
            sleep(Duration::from_millis(2));
        }
    }

    /// A command as it must be run to reach the node: in its network namespace, if it has one.
    pub fn beside(&self, command: Command) -> Command {
        match &self.namespace {
            Some(namespace) => namespace.within(&command),
            None => command,
        }
    }

    /// Stops and starts again.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.launch()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The newest lines that the node printed.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    fn command(&self) -> anyhow::Result<Command> {
        let properties = self.folder.join("server.properties");
        Ok(match &self.server {
            Server::Ottla { binary } => {
                let mut command = Command::new(binary);
                command.arg(properties);
                command
            }
            Server::ApacheKafka { jars, heap } => {
                let mut command = java(jars, heap);
                let logging = crate::workspace().join("tests/apache-kafka/log4j2.yaml");
                command.arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
                command.arg("kafka.Kafka").arg(properties);
                command
            }
        })
    }

    /// Apache Kafka wants its directory formatted; Ottla formats its own.
    fn format(&self) -> anyhow::Result<()> {
        let Server::ApacheKafka { jars, .. } = &self.server else { return Ok(()) };
        let output = java(jars, "-Xmx256M")
            .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
            .arg(self.folder.join("server.properties"))
            .output()
            .context("running java")?;
        ensure!(output.status.success(), "formatting: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn write_properties(&self, added: &[(&str, &str)]) -> anyhow::Result<()> {
        let (port, controller) = (self.port, self.controller_port);
        let own: [(&str, String); 14] = [
            ("process.roles", "broker,controller".into()),
            ("node.id", "1".into()),
            ("controller.quorum.voters", format!("1@127.0.0.1:{controller}")),
            ("listeners", format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}")),
            ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
            ("controller.listener.names", "CONTROLLER".into()),
            ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".into()),
            ("log.dirs", self.data().display().to_string()),
            ("offsets.topic.replication.factor", "1".into()),
            ("transaction.state.log.replication.factor", "1".into()),
            ("transaction.state.log.min.isr", "1".into()),
            ("share.coordinator.state.topic.replication.factor", "1".into()),
            ("share.coordinator.state.topic.min.isr", "1".into()),
            ("group.initial.rebalance.delay.ms", "0".into()),
        ];
        let mut lines = String::new();
        for (key, value) in own.iter().filter(|(key, _)| !added.iter().any(|(other, _)| other == key)) {
            lines.push_str(&format!("{key}={value}\n"));
        }
        for (key, value) in added {
            lines.push_str(&format!("{key}={value}\n"));
        }
        fs::write(self.folder.join("server.properties"), lines).context("writing server.properties")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A failed suite leaves its node's log to be read.
        let keep = std::thread::panicking() || std::env::var_os("OTTLA_KEEP").is_some();
        let _ = self.kill();
        if !keep {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// `java` with a folder of jars and the options that Kafka's own scripts give it.
pub fn java(jars: &Path, heap: &str) -> Command {
    let mut command = Command::new("java");
    command.args(heap.split_whitespace());
    command.args([
        "-server",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:InitiatingHeapOccupancyPercent=35",
    ]);
    command.args(["-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true", "-cp"]);
    command.arg(format!("{}/*", jars.display()));
    command
}

/// Numbers at random, the same in each run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed | 1)
    }

    /// A number from 0 up to `end`, without it.
    pub fn below(&mut self, end: u64) -> u64 {
        // Xorshift, by Marsaglia.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A new empty folder.
pub fn scratch(name: &str) -> anyhow::Result<PathBuf> {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("ottla-{name}-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

/// A port that nobody listens on, below those from which the system takes the local ends of connections: there a
/// client that tries again while the node is down could meet itself.
fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs at once have neighbouring process ids, and need distant ports.
    let first = u16::try_from(std::process::id().wrapping_mul(97) % 10_000).unwrap_or_default();
    for _ in 0..10_000 {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port")
}
