//! The project's rules that neither rustc, rustfmt nor clippy checks; one rule, one file.
//!
//! A rule reads a `Tree` and reports `Finding`s. The test at the end holds the project itself to them, so that
//! `cargo test` is the one command to know; each rule's own test plants what the rule forbids in a temporary tree
//! and expects the whole of tidy to find it.

mod arrows;
mod asynchronous;
mod clippy_limits;
mod dependencies;
mod head;
mod hosts;
mod length;
mod licences;
mod names;
mod paths;
mod reachable;
mod tree;
mod unfinished;
mod unsafety;

#[cfg(test)]
mod planted;

use std::path::Path;
use std::process::ExitCode;

use tree::Tree;

/// One place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Relative to the workspace.
    path: String,
    /// Counted from one; 0 where the whole file is meant.
    line: usize,
    rule: &'static str,
    message: String,
}

/// The crates of which a node is made as a value: no thread, clock, file, socket or randomness in them.
const BELOW_SERVER: [&str; 8] =
    ["protocol", "log", "raft", "partition", "metadata", "controller", "coordinator", "broker"];

/// The crates that stand on them and are as pure: the client's machines and the simulator.
const PURE_BESIDE: [&str; 2] = ["client", "sim"];

/// Prints every finding; fails where there is one. `--root DIR` looks at another tree.
pub fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let root = match arguments {
        [] => crate::workspace(),
        [flag, root] if flag == "--root" => root.into(),
        _ => anyhow::bail!("cargo xtask tidy [--root DIR]"),
    };
    let findings = findings(&root)?;
    for finding in &findings {
        println!("{}:{}: [{}] {}", finding.path, finding.line, finding.rule, finding.message);
    }
    println!("tidy: {} findings", findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn findings(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let tree = Tree::read(root)?;
    let mut findings = Vec::new();
    arrows::check(&tree, &mut findings)?;
    dependencies::check(&tree, &mut findings)?;
    licences::check(&tree, &mut findings)?;
    for rule in [
        head::check,
        reachable::check,
        length::check,
        asynchronous::check,
        names::check,
        paths::check,
        unsafety::check,
        clippy_limits::check,
        unfinished::check,
        hosts::check,
    ] {
        rule(&tree, &mut findings);
    }
    findings.sort();
    Ok(findings)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_project_keeps_its_own_rules() {
        let findings = super::findings(&crate::workspace()).expect("the tree can be read");
        let lines: Vec<String> =
            findings.iter().map(|f| format!("{}:{}: [{}] {}", f.path, f.line, f.rule, f.message)).collect();
        assert!(lines.is_empty(), "{} findings\n{}", lines.len(), lines.join("\n"));
    }
}
