//! Arrows between crates: only those of the design, and only downward.
//!
//! The list below is the drawing in docs/ARCHITECTURE.md. Dependencies of tests are held to it too, but for
//! `EXTRA_IN_TESTS`.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::Finding;
use super::tree::Tree;

const RULE: &str = "arrows";

/// Which crates of ours a crate may name.
const ARROWS: [(&str, &[&str]); 14] = [
    ("protocol", &[]),
    ("log", &["protocol"]),
    ("raft", &["log", "protocol"]),
    ("partition", &["log", "protocol"]),
    ("metadata", &["protocol"]),
    ("controller", &["metadata", "protocol"]),
    ("coordinator", &["metadata", "protocol"]),
    ("broker", &["controller", "coordinator", "partition", "raft", "metadata", "log", "protocol"]),
    ("server", &["broker", "metadata", "log", "protocol"]),
    ("client", &["protocol"]),
    (
        "sim",
        &[
            "broker",
            "client",
            "controller",
            "coordinator",
            "partition",
            "raft",
            "metadata",
            "log",
            "protocol",
        ],
    ),
    ("ottla", &["server", "client", "metadata", "log", "protocol"]),
    ("fuzz", &["client", "metadata", "log", "protocol"]),
    ("xtask", &["protocol", "metadata", "broker"]),
];

/// Arrows that only a crate's tests may follow.
// The protocol tries itself with the feature `arbitrary`.
const EXTRA_IN_TESTS: [(&str, &str); 1] = [("protocol", "protocol")];

/// Reports each arrow that is not in the list, and each crate that the list does not know.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    for package in packages(tree, &["--no-deps"])? {
        let name = short(package["name"].as_str().unwrap_or_default()).to_owned();
        let mut report = |message: String| {
            let path = manifest(tree, &package);
            findings.push(Finding { path, line: 0, rule: RULE, message });
        };
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            report(format!("crate {name} is not in the list of crates; a new crate is a decision"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            let ours = to == "ottla" || to.starts_with("ottla-");
            let in_tests = dependency["kind"] == "dev" && EXTRA_IN_TESTS.contains(&(&name, short(to)));
            if ours && !allowed.contains(&short(to)) && !in_tests {
                report(format!("{name} may not know {}", short(to)));
            }
        }
    }
    Ok(())
}

/// The workspace's packages as cargo sees them.
pub fn packages(tree: &Tree, options: &[&str]) -> anyhow::Result<Vec<Value>> {
    let metadata = metadata(tree, options)?;
    let members: BTreeSet<&str> =
        metadata["workspace_members"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    Ok(packages.into_iter().filter(|p| p["id"].as_str().is_some_and(|id| members.contains(id))).collect())
}

/// `cargo metadata`, which never reaches for the network here.
pub fn metadata(tree: &Tree, options: &[&str]) -> anyhow::Result<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    // Without it cargo wants what only other systems need, and that was never downloaded.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &platform])
        .args(options)
        .current_dir(&tree.root)
        .output()
        .context("running cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("reading cargo metadata")
}

/// A crate's name without the project's prefix.
pub fn short(name: &str) -> &str {
    name.strip_prefix("ottla-").unwrap_or(name)
}

/// The path of a package's Cargo.toml.
pub fn manifest(tree: &Tree, package: &Value) -> String {
    let path = package["manifest_path"].as_str().unwrap_or_default();
    let root = tree.root.canonicalize().unwrap_or_else(|_| tree.root.clone());
    path.strip_prefix(&format!("{}/", root.display())).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use crate::tidy::planted::assert_found;

    #[test]
    fn an_arrow_upward_is_found() {
        assert_found(
            "arrows",
            "crates/raft/Cargo.toml",
            &[
                (
                    "crates/partition/Cargo.toml",
                    "[package]\nname = \"ottla-partition\"\nedition = \"2024\"\n",
                ),
                ("crates/partition/src/lib.rs", "//! A partition.\n"),
                ("crates/partition/clippy.toml", "too-many-lines-threshold = 70\n"),
                (
                    "crates/raft/Cargo.toml",
                    "[package]\nname = \"ottla-raft\"\nedition = \"2024\"\n\n[dependencies]\nottla-partition = { path = \"../partition\" }\n",
                ),
                ("crates/raft/src/lib.rs", "//! A quorum.\n"),
                ("crates/raft/clippy.toml", "too-many-lines-threshold = 70\n"),
            ],
        );
    }

    #[test]
    fn an_unknown_crate_is_found() {
        assert_found(
            "arrows",
            "crates/tools/Cargo.toml",
            &[
                ("crates/tools/Cargo.toml", "[package]\nname = \"ottla-tools\"\nedition = \"2024\"\n"),
                ("crates/tools/src/lib.rs", "//! Tools.\n"),
            ],
        );
    }
}
