//! Names that say nothing: banned as a whole name or as a suffix of a type, a trait, a module or a file.
//!
//! Kafka's own names on the wire stay as they are; they are generated.

use super::Finding;
use super::tree::Tree;

const RULE: &str = "names";

/// In the form of types; modules and files are compared in lower case.
const BANNED: [&str; 13] = [
    "Manager",
    "Handler",
    "Processor",
    "Helper",
    "Helpers",
    "Util",
    "Utils",
    "Common",
    "Base",
    "Impl",
    "Info",
    "Data",
    "Service",
];

/// Banned wherever it stands.
const BANNED_ANYWHERE: &str = "purgatory";

/// Reports each declaration with a banned name.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in tree.rust().filter(|file| !file.is_generated()) {
        let mut report = |line, name: &str| {
            let message = format!("the name {name} says nothing about the thing");
            findings.push(Finding { path: file.path.clone(), line, rule: RULE, message });
        };
        let stem = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        if is_banned(stem) {
            report(0, stem);
        }
        for (at, line) in file.code.lines().enumerate() {
            for name in declared(line).filter(|name| is_banned(name)) {
                report(at + 1, name);
            }
            if line.to_lowercase().contains(BANNED_ANYWHERE) {
                report(at + 1, BANNED_ANYWHERE);
            }
        }
    }
}

/// The names of types, traits and modules that a line declares.
fn declared(line: &str) -> impl Iterator<Item = &str> {
    let words = || line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    let keywords = ["struct", "enum", "trait", "type", "union", "mod"];
    words().zip(words().skip(1)).filter(move |(keyword, _)| keywords.contains(keyword)).map(|(_, name)| name)
}

fn is_banned(name: &str) -> bool {
    BANNED.iter().any(|banned| {
        let snake = banned.to_lowercase();
        name.ends_with(banned) || name == snake || name.ends_with(&format!("_{snake}"))
    })
}

#[cfg(test)]
mod tests {
    use crate::tidy::planted::assert_found;

    #[test]
    fn a_banned_type_is_found() {
        let text = "//! A log.\n\npub struct LogManager;\n";
        assert_found("names", "crates/log/src/lib.rs", &[("crates/log/src/lib.rs", text)]);
    }

    #[test]
    fn a_banned_file_is_found() {
        let files = [
            ("crates/log/src/lib.rs", "//! A log.\n\nmod disk_util;\n"),
            ("crates/log/src/disk_util.rs", "//! Bits.\n"),
        ];
        assert_found("names", "crates/log/src/disk_util.rs", &files);
    }
}
