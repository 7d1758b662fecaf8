//! A temporary tree that keeps every rule, in which a test plants what a rule forbids.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Finding;

/// The least project that tidy has nothing to say about.
const CLEAN: [(&str, &str); 10] = [
    ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\nexclude = [\"vendor\"]\n"),
    ("crates/protocol/Cargo.toml", "[package]\nname = \"ottla-protocol\"\nedition = \"2024\"\n"),
    ("crates/protocol/src/lib.rs", "//! Words.\n\npub mod ids;\n"),
    ("crates/protocol/src/ids.rs", "//! Ids.\n"),
    ("crates/protocol/clippy.toml", "too-many-lines-threshold = 70\n"),
    (
        "crates/log/Cargo.toml",
        "[package]\nname = \"ottla-log\"\nedition = \"2024\"\n\n[dependencies]\nottla-protocol = { path = \"../protocol\" }\n",
    ),
    ("crates/log/src/lib.rs", "//! A log.\n"),
    ("crates/log/clippy.toml", "too-many-lines-threshold = 70\n"),
    ("deny.toml", "[licenses]\nallow = [\"MIT\"]\n"),
    ("README.md", "# Read `crates/log/src/lib.rs` first\n"),
];

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What tidy finds in the clean tree once `files` were written over it.
pub fn findings(files: &[(&str, &str)]) -> Vec<Finding> {
    let folder = format!("ottla-tidy-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let root: PathBuf = std::env::temp_dir().join(folder);
    for (path, text) in CLEAN.iter().chain(files) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder can be made");
        fs::write(path, text).expect("the file can be written");
    }
    let findings = super::findings(&root).expect("the planted tree can be read");
    fs::remove_dir_all(&root).expect("the planted tree can be removed");
    findings
}

/// Asserts that planting `files` is found by `rule` in `path`, and by no other rule.
pub fn assert_found(rule: &str, path: &str, files: &[(&str, &str)]) {
    let findings = findings(files);
    assert!(
        findings.iter().any(|f| f.rule == rule && f.path == path),
        "{rule} in {path} not found: {findings:?}"
    );
    assert!(findings.iter().all(|f| f.rule == rule), "found by another rule: {findings:?}");
}

#[test]
fn the_clean_tree_is_clean() {
    assert_eq!(findings(&[]), []);
}
