//! Scripts of commands with expected traces in `tests/scripts`: a line `> …` is a command, the lines up to the next blank
//! one are what came of it. `UPDATE=1` rewrites the traces.

use std::path::PathBuf;

/// Whatever carries out a command and tells what came of it.
pub trait Runs: Default {
    fn run(&mut self, command: &str) -> Vec<String>;
}

/// The script as it should be: its commands, each with what really comes of it.
fn traced<R: Runs>(script: &str) -> String {
    let mut runner = R::default();
    let mut result = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            result.push_str(line);
            result.push('\n');
            for line in runner.run(command) {
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

/// Compares each script whose name begins with `prefix` with what comes of it; there are `at_least` so many.
#[expect(clippy::disallowed_methods, reason = "a test rewrites its own traces")]
pub fn compare<R: Runs>(prefix: &str, at_least: usize) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let is_ours =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(is_ours).collect();
    files.sort();
    assert!(files.len() >= at_least, "the scripts are missing");
    for file in files {
        let script = std::fs::read_to_string(&file).unwrap();
        let trace = traced::<R>(&script);
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
