//! Each pure crate has the same clippy.toml, byte for byte: it forbids clocks, threads, files and locks there.
//!
//! Clippy reads one file per crate and knows no inheritance, so the copies are compared.

use super::tree::Tree;
use super::{BELOW_SERVER, Finding, PURE_BESIDE};

const RULE: &str = "clippy";

/// Whose copy the others are compared with.
const PATTERN: &str = "crates/protocol/clippy.toml";

/// Reports pure crates without the file, and copies that differ.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let pattern = tree.file(PATTERN).map(|file| file.text.as_str()).unwrap_or_default();
    for name in BELOW_SERVER.iter().chain(&PURE_BESIDE) {
        if tree.file(&format!("crates/{name}/Cargo.toml")).is_none() {
            continue;
        }
        let path = format!("crates/{name}/clippy.toml");
        let message = match tree.file(&path) {
            None => "a pure crate without its clippy.toml".to_owned(),
            Some(file) if file.text != pattern => format!("differs from {PATTERN}"),
            Some(_) => continue,
        };
        findings.push(Finding { path, line: 0, rule: RULE, message });
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::planted::assert_found;

    #[test]
    fn a_looser_copy_is_found() {
        let path = "crates/log/clippy.toml";
        assert_found("clippy", path, &[(path, "too-many-lines-threshold = 700\n")]);
    }

    #[test]
    fn a_pure_crate_without_limits_is_found() {
        let files = [
            ("crates/raft/Cargo.toml", "[package]\nname = \"ottla-raft\"\nedition = \"2024\"\n"),
            ("crates/raft/src/lib.rs", "//! A quorum.\n"),
        ];
        assert_found("clippy", "crates/raft/clippy.toml", &files);
    }
}
