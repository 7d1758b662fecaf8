//! What the suites need beside Rust: jars, Java classes, a Python environment, Go programs; kept in `.tools/`.
//!
//! Everything is fetched by name through the ordinary client of its registry and made only where it is missing or
//! older than what it is made from. What cannot be had is a `Missing`, never a failure of the product.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Something that could not be had: why, and the command that installs it.
#[derive(Clone, Debug)]
pub struct Missing {
    pub why: String,
    pub install: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; to install: {}", self.why, self.install)
    }
}

impl std::error::Error for Missing {}

/// A folder of jars of Apache Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jars {
    /// The broker 4.4.0.
    Broker,
    /// The command line tools 4.3.1.
    Tools,
    /// The Java client of one generation.
    Client(&'static str),
}

/// The folder of everything that was installed.
pub fn folder() -> PathBuf {
    crate::workspace().join(".tools")
}

/// The jars, fetched by Maven where they are not there yet.
pub fn jars(jars: Jars) -> Result<PathBuf, Missing> {
    let (name, options) = match jars {
        Jars::Broker => ("kafka-4.4.0".to_owned(), vec!["-P".to_owned(), "broker".to_owned()]),
        Jars::Tools => ("kafka-tools-4.3.1".to_owned(), vec!["-P".to_owned(), "tools".to_owned()]),
        Jars::Client(version) => (
            format!("kafka-clients-{version}"),
            vec!["-P".to_owned(), "client".to_owned(), format!("-Dclient.version={version}")],
        ),
    };
    let folder = folder().join(name);
    if !needs_making(&folder.join(".complete"), &[]) {
        return Ok(folder);
    }
    program("java", "apt-get install openjdk-17-jdk-headless")?;
    program("mvn", "apt-get install maven")?;
    let mut command = Command::new("mvn");
    command.args(["-q", "-B", "-f", "tests/apache-kafka/pom.xml"]).args(options);
    command.arg("dependency:copy-dependencies").arg(format!("-DoutputDirectory={}", folder.display()));
    make(command, &folder.join(".complete"))?;
    Ok(folder)
}

/// The classes of Java sources, compiled against a folder of jars; the answer is the class path.
pub fn classes(name: &str, against: Jars, sources: &[&str]) -> Result<String, Missing> {
    let jars = jars(against)?;
    let folder = folder().join("classes").join(name);
    let made = folder.join(".complete");
    if needs_making(&made, sources) {
        program("javac", "apt-get install openjdk-17-jdk-headless")?;
        let mut command = Command::new("javac");
        command
            .args(["-nowarn", "-d"])
            .arg(&folder)
            .arg("-cp")
            .arg(format!("{}/*", jars.display()))
            .args(sources);
        make(command, &made)?;
    }
    Ok(format!("{}:{}/*", folder.display(), jars.display()))
}

/// The Python of the environment `name`, which has what `requirements` lists.
pub fn python(name: &str, requirements: &str) -> Result<PathBuf, Missing> {
    let folder = folder().join(name);
    let (python, made) = (folder.join("bin/python"), folder.join(".complete"));
    if needs_making(&made, &[requirements]) {
        program("python3", "apt-get install python3 python3-venv")?;
        let mut command = Command::new("python3");
        command.args(["-m", "venv"]).arg(&folder);
        make(command, &folder.join(".made"))
            .map_err(|missing| Missing { install: "apt-get install python3-venv".to_owned(), ..missing })?;
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements]);
        make(command, &made)?;
    }
    Ok(python)
}

/// A Go program, built with one of the module files beside its source.
pub fn go(name: &str, source: &str, module: &str) -> Result<PathBuf, Missing> {
    let binary = folder().join("bin").join(name);
    let main = format!("{source}/main.go");
    let module_path = format!("{source}/{module}");
    if needs_making(&binary, &[&main, &module_path]) {
        program("go", "apt-get install golang")?;
        let mut command = Command::new("go");
        command.args(["build", "-C", source, "-modfile", module, "-o"]).arg(&binary).arg(".");
        make(command, &binary)?;
    }
    Ok(binary)
}

/// An example of our own client, always as its sources are.
pub fn example(name: &str) -> Result<PathBuf, Missing> {
    let mut command = Command::new("cargo");
    command.args([
        "build",
        "--quiet",
        "--release",
        "-p",
        "ottla-client",
        "--features",
        "net",
        "--example",
        name,
    ]);
    let binary = target().join("release/examples").join(name);
    make(command, &folder().join(format!("example-{name}")))?;
    Ok(binary)
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::workspace().join("target"), PathBuf::from)
}

/// A script of Node.js beside the packages that its folder's `package.json` names.
pub fn node_script(source: &str, script: &str) -> Result<PathBuf, Missing> {
    let folder = folder().join("node");
    let (from, to) = (crate::workspace().join(source), folder.join(script));
    let package = format!("{source}/package.json");
    let made = folder.join(".complete");
    if needs_making(&made, &[&package]) {
        program("npm", "apt-get install npm")?;
        let copied = fs::create_dir_all(&folder)
            .and_then(|()| fs::copy(from.join("package.json"), folder.join("package.json")));
        copied.map_err(|error| Missing { why: error.to_string(), install: format!("cp {package}") })?;
        let mut command = Command::new("npm");
        command.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&folder);
        make(command, &made)?;
    }
    // A script finds the packages beside itself.
    fs::copy(from.join(script), &to)
        .map_err(|error| Missing { why: error.to_string(), install: format!("cp {source}/{script}") })?;
    Ok(to)
}

/// librdkafka's load generator, built from the sources that the crate rdkafka-sys ships.
pub fn rdkafka_performance() -> Result<PathBuf, Missing> {
    let source = folder().join("librdkafka");
    let binary = source.join("examples/rdkafka_performance");
    if needs_making(&binary, &["bench/librdkafka/Cargo.toml", "bench/librdkafka/build.sh"]) {
        if !Path::new("/usr/include/zstd.h").is_file() {
            let why = "the header zstd.h is missing".to_owned();
            return Err(Missing { why, install: "apt-get install libzstd-dev zlib1g-dev".to_owned() });
        }
        let mut command = Command::new("bash");
        command.arg("bench/librdkafka/build.sh").arg(folder());
        make(command, &binary)?;
    }
    Ok(binary)
}

/// The tests that a client of others ships, built in a folder of their own; the answer is that folder. `needs` are C
/// headers and the packages that have them.
pub fn foreign_tests(name: &str, made: &str, needs: &[(&str, &str)]) -> Result<PathBuf, Missing> {
    let folder = folder().join("foreign").join(name);
    let binary = folder.join(made);
    if needs_making(&binary, &["tests/foreign/Cargo.toml", "tests/foreign/build.sh"]) {
        program("cc", "apt-get install build-essential")?;
        let is_missing = |header: &str| {
            let folders = ["/usr/include", "/usr/include/x86_64-linux-gnu", "/usr/include/aarch64-linux-gnu"];
            !folders.iter().any(|folder| Path::new(folder).join(header).is_file())
        };
        let packages: Vec<&str> =
            needs.iter().filter(|(header, _)| is_missing(header)).map(|(_, package)| *package).collect();
        if !packages.is_empty() {
            let why = format!("the headers of {} are missing", packages.join(" "));
            return Err(Missing { why, install: format!("apt-get install {}", packages.join(" ")) });
        }
        let mut command = Command::new("nice");
        command.args(["bash", "tests/foreign/build.sh", name]).arg(&folder);
        make(command, &binary)?;
    }
    Ok(folder)
}

/// Asserts that a program is installed.
pub fn program(name: &str, install: &str) -> Result<PathBuf, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Missing { why: format!("{name} is not installed"), install: install.to_owned() })
}

/// Whether `made` is missing or older than one of its sources, or than the list of jars.
fn needs_making(made: &Path, sources: &[&str]) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let Some(made) = changed(made) else { return true };
    let workspace = crate::workspace();
    sources.iter().any(|source| changed(&workspace.join(source)).unwrap_or(SystemTime::UNIX_EPOCH) > made)
}

/// Runs a command in the workspace and marks what it made.
fn make(mut command: Command, made: &Path) -> Result<(), Missing> {
    let line = spelled(&command);
    let missing = |why: String| Missing { why, install: line.clone() };
    let parent = made.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|error| missing(error.to_string()))?;
    let output =
        command.current_dir(crate::workspace()).output().map_err(|error| missing(error.to_string()))?;
    if !output.status.success() {
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let last: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        return Err(missing(last[last.len().saturating_sub(4)..].join("; ")));
    }
    // Newer than its sources from now on, whatever the tool left as its time.
    let file = fs::File::options().create(true).append(true).open(made);
    file.and_then(|file| file.set_modified(SystemTime::now())).map_err(|error| missing(error.to_string()))
}

/// The command as one would type it.
fn spelled(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
