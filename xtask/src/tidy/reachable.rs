//! Every Rust file is compiled: some crate root reaches it by `mod`, or it is a root itself. And no `mod.rs`.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::{File, Tree};

const RULE: &str = "reachable";

/// Reports orphans and files named `mod.rs`.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut reached = BTreeSet::new();
    for root in tree.rust().filter(|file| is_root(file)) {
        walk(tree, root, &folder_of_root(&root.path), &mut reached);
    }
    for file in tree.rust() {
        // What several programs under tests/ share has no other place, or it would be a program itself.
        let shared_by_tests = file.path.contains("/tests/") && !file.path.contains("/src/");
        let message = if file.path.ends_with("/mod.rs") && !shared_by_tests {
            "modules are foo.rs beside foo/, never mod.rs"
        } else if !reached.contains(&file.path) {
            "no crate root reaches this file"
        } else {
            continue;
        };
        findings.push(Finding { path: file.path.clone(), line: 0, rule: RULE, message: message.to_owned() });
    }
}

fn is_root(file: &File) -> bool {
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let own_program = ["tests", "benches", "examples", "bin", "fuzz_targets"];
    (folder.ends_with("src") && (name == "lib.rs" || name == "main.rs"))
        || name == "build.rs"
        || own_program.iter().any(|last| folder == *last || folder.ends_with(&format!("/{last}")))
            && !folder.contains("/src/")
        || folder.ends_with("src/bin")
}

/// Where the modules of a crate root lie: beside it.
fn folder_of_root(path: &str) -> String {
    path.rsplit_once('/').map(|(folder, _)| folder.to_owned()).unwrap_or_default()
}

/// Marks `file` and all that its `mod` lines name; `folder` is where its modules lie.
fn walk(tree: &Tree, file: &File, folder: &str, reached: &mut BTreeSet<String>) {
    if !reached.insert(file.path.clone()) {
        return;
    }
    for (given, name) in modules(file) {
        let parent = file.path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let candidates = match given {
            Some(path) => [normal(&format!("{parent}/{path}")), String::new()],
            None => [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")],
        };
        for path in candidates {
            if let Some(next) = tree.file(&path) {
                walk(tree, next, path.trim_end_matches(".rs").trim_end_matches("/mod"), reached);
            }
        }
    }
}

/// The `mod name;` lines of a file, each with its `#[path = "…"]`, and what it includes.
fn modules(file: &File) -> Vec<(Option<String>, String)> {
    let mut modules = Vec::new();
    let mut path = None;
    for (line, code) in file.text.lines().zip(file.code.lines()) {
        let line = line.trim();
        if let Some(given) = line.strip_prefix("#[path = \"").or_else(|| line.strip_prefix("include!(\"")) {
            path = given.split('"').next().map(str::to_owned);
            if line.starts_with("include!") {
                modules.push((path.take(), String::new()));
            }
            continue;
        }
        let code = code.trim();
        let declared =
            code.rsplit_once("mod ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        if let Some(name) = declared.and_then(|(_, rest)| rest.strip_suffix(';')) {
            modules.push((path.take(), name.trim().trim_start_matches("r#").to_owned()));
        } else if !code.starts_with("#[") && !code.is_empty() {
            path = None;
        }
    }
    modules
}

/// The path without `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use crate::tidy::planted::{assert_found, findings};

    #[test]
    fn an_orphan_is_found() {
        assert_found(
            "reachable",
            "crates/log/src/orphan.rs",
            &[("crates/log/src/orphan.rs", "//! Nobody's.\n")],
        );
    }

    #[test]
    fn a_mod_rs_is_found() {
        let files = [
            ("crates/log/src/lib.rs", "//! A log.\n\nmod disk;\n"),
            ("crates/log/src/disk/mod.rs", "//! A disk.\n"),
        ];
        assert_found("reachable", "crates/log/src/disk/mod.rs", &files);
    }

    #[test]
    fn modules_of_modules_and_given_paths_are_reached() {
        let files = [
            (
                "crates/log/src/lib.rs",
                "//! A log.\n\npub(crate) mod disk;\n#[cfg(test)]\n#[path = \"elsewhere.rs\"]\nmod named;\n",
            ),
            ("crates/log/src/disk.rs", "//! A disk.\n\nmod memory;\n"),
            ("crates/log/src/disk/memory.rs", "//! Memory.\n"),
            ("crates/log/src/elsewhere.rs", "//! Elsewhere.\n"),
            ("crates/log/tests/crash.rs", "//! A test.\n"),
        ];
        assert_eq!(findings(&files), []);
    }
}
