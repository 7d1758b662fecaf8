//! Interaction scripts: one partition, commands, and what it says and does, line by line.
//!
//! `scripts/*.txt` hold commands (`> …`) and the expected lines after each; `UPDATE=1` rewrites them.
#![expect(clippy::disallowed_methods, reason = "a test reads and rewrites its scripts")]

mod partition_bench;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use partition_bench::Bench;

#[test]
fn scripts_run_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut scripts: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("scripts").map(|entry| entry.expect("script").path()).collect();
    scripts.sort();
    assert!(scripts.len() >= 9, "scripts went missing");
    let update = std::env::var("UPDATE").is_ok_and(|value| value == "1");
    let mut different = Vec::new();
    for path in scripts {
        let written = std::fs::read_to_string(&path).expect("script");
        let run = run(&written);
        if run != written && update {
            std::fs::write(&path, run).expect("script");
        } else if run != written {
            different.push(format!("{}\n{}", path.display(), first_difference(&written, &run)));
        }
    }
    assert!(different.is_empty(), "UPDATE=1 rewrites these, if they are right:\n{}", different.join("\n"));
}

#[test]
fn a_close_that_never_finds_a_descriptor_fails_in_the_end() {
    let mut bench = Bench::default();
    for command in ["open", "lead", "append a producer=7/0 sequence=0", "descriptors none"] {
        bench.run(command);
    }
    let lines = bench.run("close");
    assert!((100..100_000).contains(&lines.len()), "{} attempts", lines.len());
    assert_eq!(lines.last().map(String::as_str), Some("the directory fails"));
}

/// The script with what really happens.
fn run(script: &str) -> String {
    let mut bench = Bench::default();
    let mut out = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            let _ = writeln!(out, "{line}");
            for line in bench.run(command) {
                let _ = writeln!(out, "{line}");
            }
        } else if line.is_empty() || line.starts_with('#') {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

fn first_difference(written: &str, run: &str) -> String {
    let differs = written.lines().zip(run.lines()).position(|(a, b)| a != b);
    let at = differs.unwrap_or(written.lines().count().min(run.lines().count()));
    let line = |text: &str| text.lines().nth(at).unwrap_or("(nothing)").to_owned();
    format!("  line {}\n  written: {}\n  happened: {}", at + 1, line(written), line(run))
}
