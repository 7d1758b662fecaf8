//! A client program that runs: what it prints is collected as it comes, and it ends when its input does.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// How long a program may take to leave and end.
const END_AT_MOST: Duration = Duration::from_secs(30);

/// Lines of complaints that are kept.
const TOLD_MAX: usize = 15;

/// How a program is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its standard input ends.
    Input,
    /// By a signal: it knows nothing else.
    Signal,
}

/// A running program; killed when dropped.
pub struct Member {
    child: Child,
    ending: Ending,
    printed: Arc<Mutex<Vec<String>>>,
    complaints: Arc<Mutex<Vec<String>>>,
    /// Those who collect; they end with the program.
    readers: Vec<JoinHandle<()>>,
}

impl Member {
    pub fn start(mut command: Command, ending: Ending) -> anyhow::Result<Member> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("running {command:?}"))?;
        let (printed, printing) = collect(child.stdout.take().context("standard output")?);
        let (complaints, complaining) = collect(child.stderr.take().context("standard error")?);
        let readers = vec![printing, complaining];
        Ok(Member { child, ending, printed, complaints, readers })
    }

    /// The values of the records that it has printed, each once.
    pub fn numbers(&self) -> BTreeSet<u32> {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        printed.iter().filter_map(|line| number(line)).collect()
    }

    /// The partitions that it has said last to own.
    pub fn owned(&self) -> Vec<String> {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        let last = printed.iter().rev().find_map(|line| line.strip_prefix("owns"));
        last.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    /// The commits that were acknowledged to it: partition and offset, in order.
    pub fn committed(&self) -> Vec<(String, i64)> {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        let commit = |line: &String| {
            let (partition, offset) = line.strip_prefix("committed ")?.split_once(' ')?;
            Some((partition.to_owned(), offset.parse().ok()?))
        };
        printed.iter().filter_map(commit).collect()
    }

    /// Whether the program is no longer running.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Ends it as `kill -9` does; whether it still ran.
    pub fn kill(&mut self) -> anyhow::Result<bool> {
        let ran = !self.has_ended()?;
        self.child.kill()?;
        self.child.wait()?;
        // What it printed last may still be in the pipe.
        self.readers.drain(..).try_for_each(|reader| reader.join()).ok().context("a reader has panicked")?;
        Ok(ran)
    }

    /// How far it came and what it complained of, for a failure.
    pub fn told(&self) -> String {
        let complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let from = complaints.len().saturating_sub(TOLD_MAX);
        let said = complaints[from..].join("\n");
        format!("{} numbers, owns {:?}\n{said}", self.numbers().len(), self.owned())
    }

    /// Lets it leave in good order.
    pub fn end(&mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        if self.ending == Ending::Signal {
            Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        }
        let until = Instant::now() + END_AT_MOST;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                let clean = status.success() || self.ending == Ending::Signal;
                ensure!(clean, "ended with {status}\n{}", self.told());
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        bail!("not ended within {END_AT_MOST:?}\n{}", self.told())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of a record's line; it is a number.
pub fn number(line: &str) -> Option<u32> {
    let mut words = line.split(' ');
    words.next()?.parse::<u32>().ok()?;
    words.nth(2)?.parse().ok()
}

type Lines = Arc<Mutex<Vec<String>>>;

fn collect(from: impl Read + Send + 'static) -> (Lines, JoinHandle<()>) {
    let lines = Lines::default();
    let into = Arc::clone(&lines);
    let reader = thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    (lines, reader)
}
