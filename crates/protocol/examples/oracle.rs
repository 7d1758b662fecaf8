//! Our codec against Kafka's own generated classes: `oracle CLASSPATH…`, the newest Kafka first.
//!
//! Each class path has `tests/oracle-java/Oracle.java` compiled against one version of Kafka. Every message at every
//! version goes to the first that knows it: random ones of ours are read and written by Java, in this and all other
//! versions, random ones of Java's by us, and the bytes must be equal. One line is printed for each message; the exit code is 1 if any failed.

use std::io::{BufReader, BufWriter, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use bytes::Bytes;
use ottla_protocol::catalogue::{ENTRIES, Entry};
use ottla_protocol::codec::{Reader, Writer};

const SEEDS: u64 = 40;

/// A Java process with one version of Kafka.
struct Kafka {
    child: Child,
    questions: BufWriter<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What Java made of a question.
#[derive(Debug)]
enum Answer {
    Bytes(Vec<u8>),
    Failed(String),
    Unknown,
}

fn main() -> ExitCode {
    let mut kafkas: Vec<Kafka> = std::env::args().skip(1).map(|path| Kafka::start(&path)).collect();
    assert!(!kafkas.is_empty(), "oracle CLASSPATH…");
    let mut failed = false;
    for entry in ENTRIES {
        let outcome = check(entry, &mut kafkas);
        failed |= outcome.is_err();
        match outcome {
            Ok(()) => println!("test {}::{} ... ok", entry.folder, entry.name),
            Err(why) => println!("{why}\ntest {}::{} ... FAILED", entry.folder, entry.name),
        }
    }
    for mut kafka in kafkas {
        drop(kafka.questions);
        let _ = kafka.child.wait();
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn check(entry: &Entry, kafkas: &mut [Kafka]) -> Result<(), String> {
    for version in entry.min..=entry.max {
        let mut knowing = kafkas.iter_mut().filter_map(|kafka| kafka.knows(entry, version).then_some(kafka));
        let Some(kafka) = knowing.next() else {
            return Err(format!("no Kafka has {} v{version}", entry.name));
        };
        let at = |why: &str| format!("{} v{version}: {why}", entry.name);
        defaults(entry, version, kafka).map_err(|why| at(&why))?;
        for seed in 0..SEEDS {
            let at = |why: &str| at(&format!("seed {seed}: {why}"));
            ours_through_java(entry, version, kafka, seed).map_err(|why| at(&why))?;
            theirs_through_us(entry, version, kafka, seed).map_err(|why| at(&why))?;
        }
    }
    Ok(())
}

/// A message that nobody filled in, which shows every default that a version can say.
fn defaults(entry: &Entry, version: i16, kafka: &mut Kafka) -> Result<(), String> {
    let mut writer = Writer::new();
    let ours = (entry.write_default)(&mut writer, version).map(|()| writer.into_bytes().to_vec());
    match (ours, kafka.ask(b'D', entry, version, &[])) {
        (Ok(ours), Answer::Bytes(theirs)) if ours == theirs => Ok(()),
        (Err(_), Answer::Failed(_)) => Ok(()),
        (ours, theirs) => Err(format!("defaults\nours   {ours:02x?}\nJava's {theirs:02x?}")),
    }
}

/// Ours, read by Java and written again: in the same version the bytes are equal; in every other version they are, too,
/// or neither side can write what that version cannot say.
fn ours_through_java(entry: &Entry, version: i16, kafka: &mut Kafka, seed: u64) -> Result<(), String> {
    let ours = copy(entry, version, &mut Reader::random(seed), version)?;
    for to in entry.min..=entry.max {
        let translated = copy(entry, version, &mut Reader::new(Bytes::from(ours.clone())), to);
        match (translated, kafka.copy(entry, version, &ours, to)) {
            (Ok(translated), Answer::Bytes(theirs)) if translated == theirs => {}
            (Err(_), Answer::Failed(_)) if to != version => {}
            (_, Answer::Unknown) if to != version => {}
            (translated, theirs) => {
                return Err(format!("{ours:02x?} as v{to}\nours   {translated:02x?}\nJava's {theirs:02x?}"));
            }
        }
    }
    Ok(())
}

/// Java's, read by us and written again in the same version.
fn theirs_through_us(entry: &Entry, version: i16, kafka: &mut Kafka, seed: u64) -> Result<(), String> {
    let theirs = match kafka.random(entry, version, seed) {
        Answer::Bytes(theirs) => theirs,
        Answer::Failed(why) => return Err(format!("Java cannot write its own: {why}")),
        Answer::Unknown => return Err("Java has forgotten the version".to_owned()),
    };
    let mut reader = Reader::new(Bytes::from(theirs.clone()));
    let ours = copy(entry, version, &mut reader, version).map_err(|why| format!("{why}: {theirs:02x?}"))?;
    if ours != theirs || reader.remaining() != 0 {
        return Err(format!("Java's {theirs:02x?}\nours   {ours:02x?}"));
    }
    Ok(())
}

fn copy(entry: &Entry, from: i16, reader: &mut Reader, to: i16) -> Result<Vec<u8>, String> {
    let mut writer = Writer::new();
    (entry.copy)(reader, from, &mut writer, to)?;
    Ok(writer.into_bytes().to_vec())
}

impl Kafka {
    fn start(class_path: &str) -> Self {
        let mut child = Command::new("java")
            .args(["-Xmx256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", class_path, "Oracle"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("java starts");
        let questions = BufWriter::new(child.stdin.take().expect("a pipe to Java"));
        let answers = BufReader::new(child.stdout.take().expect("a pipe from Java"));
        Self { child, questions, answers }
    }

    fn knows(&mut self, entry: &Entry, version: i16) -> bool {
        !matches!(self.random(entry, version, 0), Answer::Unknown)
    }

    fn copy(&mut self, entry: &Entry, from: i16, bytes: &[u8], to: i16) -> Answer {
        let length = u32::try_from(bytes.len()).expect("a short message");
        self.ask(b'C', entry, from, &[&to.to_be_bytes(), &length.to_be_bytes(), bytes])
    }

    fn random(&mut self, entry: &Entry, version: i16, seed: u64) -> Answer {
        self.ask(b'R', entry, version, &[&seed.to_be_bytes()])
    }

    fn ask(&mut self, question: u8, entry: &Entry, version: i16, rest: &[&[u8]]) -> Answer {
        let name = u16::try_from(entry.name.len()).expect("a short name");
        let head = [&[question][..], &name.to_be_bytes(), entry.name.as_bytes(), &version.to_be_bytes()];
        for part in head.iter().chain(rest) {
            self.questions.write_all(part).expect("Java listens");
        }
        self.questions.flush().expect("Java listens");
        let mut head = [0; 5];
        self.answers.read_exact(&mut head).expect("Java answers");
        let [status, length @ ..] = head;
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        self.answers.read_exact(&mut bytes).expect("Java answers");
        match status {
            0 => Answer::Bytes(bytes),
            1 => Answer::Failed(String::from_utf8_lossy(&bytes).into_owned()),
            _ => Answer::Unknown,
        }
    }
}
