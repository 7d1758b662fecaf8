//! What the system knows: CPU time and memory of a process, free memory; and the ballast that makes runs comparable.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::node::{self, Node};

/// Linux counts a process's time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// Below this the page cache counts as full.
const FULL_BELOW_MIB: u64 = 800;

/// A file that keeps the page cache full.
///
/// Memory that a virtual machine has not touched lately costs six times as much to write to for the first time; it hits
/// every server alike and hides the difference between them.
pub struct Ballast {
    folder: PathBuf,
    /// Where the next refill begins.
    next: Cell<u64>,
}

impl Ballast {
    /// Writes as much as there is memory. Less would fill it too where other files are in the page cache; but those go, and
    /// then there is not enough to fill it again.
    pub fn fill() -> anyhow::Result<Ballast> {
        let ballast = Ballast { folder: node::scratch("ballast")?, next: Cell::new(0) };
        let mut file = File::create(ballast.path())?;
        let block = vec![0x5A; 16 << 20];
        let mut written = 0_u64;
        while written < memory_mib() {
            file.write_all(&block)?;
            written += 16;
        }
        println!("page cache filled with {written} MiB, {} MiB are free", free_mib());
        Ok(ballast)
    }

    /// Reads the file back in where memory has been freed: before each cell, so that all begin alike. It goes on where
    /// it stopped last, for what was read longest ago is what the system has dropped.
    pub fn refill(&self) -> anyhow::Result<()> {
        let mut file = File::open(self.path())?;
        let length = file.metadata()?.len();
        let mut block = vec![0; 16 << 20];
        let mut left = length;
        file.seek(SeekFrom::Start(self.next.get()))?;
        while free_mib() > FULL_BELOW_MIB && left > 0 {
            let read = file.read(&mut block)? as u64;
            if read == 0 {
                file.rewind()?;
            }
            left = left.saturating_sub(read.max(1));
        }
        self.next.set(file.stream_position()? % length.max(1));
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// User and system time of the node's process so far, in seconds.
pub fn cpu_seconds(node: &Node) -> anyhow::Result<f64> {
    let pid = node.pid().context("the node runs")?;
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; the rest is numbers.
    let (_, rest) = text.rsplit_once(')').context("/proc/PID/stat")?;
    let field = |at: usize| rest.split_whitespace().nth(at).and_then(|text| text.parse::<f64>().ok());
    let (user, system) = (field(11).context("utime")?, field(12).context("stime")?);
    Ok((user + system) / TICKS_PER_SECOND)
}

/// Resident memory of the node's process.
pub fn resident_mib(node: &Node) -> anyhow::Result<f64> {
    let pid = node.pid().context("the node runs")?;
    kib(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:")
        .map(|kib| kib / 1024.0)
        .context("VmRSS")
}

/// What the node has in use, in KiB: to be read twice, for what lies between.
///
/// Resident memory says nothing of the kind about a JVM, whose heap is as large as it was told to be and full of what it
/// has not collected yet. There it is the objects that are left after a collection: less than what they cost.
pub fn used_kib(node: &Node) -> anyhow::Result<f64> {
    if node.server.is_ottla() {
        return Ok(resident_mib(node)? * 1024.0);
    }
    let pid = node.pid().context("the node runs")?.to_string();
    let output = Command::new("jcmd").args([&pid, "GC.class_histogram"]).output().context("running jcmd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    histogram_bytes(&text).map(|bytes| bytes / 1024.0).with_context(|| format!("no sum in {text:.500}"))
}

/// The bytes of the closing line, `Total  OBJECTS  BYTES`.
fn histogram_bytes(text: &str) -> Option<f64> {
    text.lines().rev().find_map(|line| line.strip_prefix("Total"))?.split_whitespace().nth(1)?.parse().ok()
}

/// Memory that nothing uses, not even the page cache.
pub fn free_mib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kib(&text, "MemFree:").map_or(0, |kib| kib as u64 / 1024)
}

fn memory_mib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kib(&text, "MemTotal:").map_or(0, |kib| kib as u64 / 1024)
}

/// The machine in one line.
pub fn described() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = text.lines().filter(|line| line.starts_with("processor")).count();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let gib = kib(&memory, "MemTotal:").unwrap_or_default() / 1024.0 / 1024.0;
    format!("{cores} cores ({}), {gib:.0} GiB", model.trim_start_matches([' ', '\t', ':']))
}

fn kib(text: &str, label: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(label))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::histogram_bytes;

    #[test]
    fn the_sum_of_a_histogram_is_read() {
        let text = "1234:\n num     #instances         #bytes  class name\n   1:  10  640  [B\nTotal        421337       29876543\n";
        assert_eq!(histogram_bytes(text), Some(29_876_543.0));
        assert_eq!(histogram_bytes("1234:\nCould not attach\n"), None);
    }
}
