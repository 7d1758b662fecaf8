//! Scripts of commands to the transaction coordinator with expected traces: `tests/scripts/transaction*.txt`.
//! `UPDATE=1` rewrites the traces.
//!
//! A line `> …` is a command; the lines up to the next blank one are what came of it. The clock stands still but for
//! `wait`, and the log takes everything but for `log refuses`.

use std::path::PathBuf;

use crate::script::Script;

/// The script as it should be: its commands, each with what really comes of it.
fn run(text: &str) -> String {
    let mut script = Script::default();
    let mut result = String::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            result.push_str(line);
            result.push('\n');
            for line in script.run(command) {
                result.push_str(&line);
                result.push('\n');
            }
            result.push('\n');
        } else if line.starts_with('#') {
            result.push_str(line);
            result.push('\n');
        }
    }
    result
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test rewrites its own traces")]
fn every_script_has_its_trace() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_ours = |file: &PathBuf| {
        file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("transaction"))
    };
    let mut files: Vec<PathBuf> = files.filter(is_ours).collect();
    files.sort();
    assert!(files.len() >= 6, "the scripts are missing");
    for file in files {
        let script = std::fs::read_to_string(&file).unwrap();
        let trace = run(&script);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &trace).unwrap();
            continue;
        }
        let differs = script.lines().zip(trace.lines()).position(|(expected, is)| expected != is);
        if let Some(at) = differs {
            let (expected, is) = (script.lines().nth(at), trace.lines().nth(at));
            panic!("{}:{}\nexpected {expected:?}\nis       {is:?}", file.display(), at + 1);
        }
        assert!(script == trace, "{}: other length", file.display());
    }
}
