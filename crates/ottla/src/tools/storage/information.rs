//! `info`: which directories are there, whose they are, and what is wrong with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ottla_log::meta_properties::{FILE_NAME, MetaProperties, MetaVersion};
use ottla_metadata::config::NodeConfig;

use crate::tools::Out;
use crate::tools::failure::Failure;

/// Prints it; problems make the exit code 1.
pub fn run(config: &NodeConfig, out: Out<'_>) -> Result<(), Failure> {
    let (text, problems) = report(&super::directories(config));
    out.write_all(text.as_bytes())?;
    if problems == 0 { Ok(()) } else { Err(Failure::Told) }
}

fn report(directories: &[PathBuf]) -> (String, usize) {
    let mut found: Vec<String> = Vec::new();
    let mut problems = Vec::new();
    let mut first: Option<MetaProperties> = None;
    for path in directories {
        let shown = path.display();
        if !path.is_dir() {
            let what = if path.exists() { "is not a directory" } else { "does not exist" };
            problems.push(format!("{shown} {what}"));
            continue;
        }
        found.push(shown.to_string());
        match read(path) {
            Ok(None) => problems.push(format!("{shown} is not formatted.")),
            Err(why) => problems.push(format!("Error loading {}: {why}", path.join(FILE_NAME).display())),
            Ok(Some(theirs)) => match &first {
                None => first = Some(theirs),
                Some(known) if known.cluster_id != theirs.cluster_id => {
                    problems.push("Mismatched cluster IDs between storage directories.".to_owned());
                }
                Some(known) if known.node_id != theirs.node_id => {
                    problems.push("Mismatched node IDs between storage directories.".to_owned());
                }
                Some(_) => {}
            },
        }
    }
    if first.as_ref().is_some_and(|known| known.version == MetaVersion::V0) {
        problems.push(
            "The kafka configuration file appears to be for a cluster in KRaft mode, but the directories are formatted \
             for legacy mode."
                .to_owned(),
        );
    }
    let metadata = first.map(|known| format!("Found metadata: {}\n\n", properties(&known)));
    let text = section("Found log director", "y", "ies", &found)
        + &metadata.unwrap_or_default()
        + &section("Found problem", "", "s", &problems);
    (text, problems.len())
}

fn read(directory: &Path) -> Result<Option<MetaProperties>, String> {
    match std::fs::read_to_string(directory.join(FILE_NAME)) {
        Ok(text) => MetaProperties::parse(&text).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// As a Java map prints itself.
fn properties(known: &MetaProperties) -> String {
    let pairs: BTreeMap<String, String> = known
        .to_text()
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn section(title: &str, one: &str, many: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let ending = if lines.len() == 1 { one } else { many };
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("{title}{ending}:\n{lines}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_metadata_and_problems_are_told_in_turn() {
        let root = std::env::temp_dir().join(format!("ottla-storage-info-{}", std::process::id()));
        let (a, b, c) = (root.join("a"), root.join("b"), root.join("c"));
        for path in [&a, &b] {
            std::fs::create_dir_all(path).unwrap();
        }
        let meta = "cluster.id=X\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\nnode.id=1\nversion=1\n";
        std::fs::write(a.join(FILE_NAME), meta).unwrap();
        let (text, problems) = report(&[a.clone(), b.clone(), c.clone()]);
        let (a, b, c) = (a.display(), b.display(), c.display());
        assert_eq!(
            text,
            format!(
                "Found log directories:\n  {a}\n  {b}\n\nFound metadata: {{cluster.id=X, directory.id=AAAAAAAAAAAAAAAAAAAAAQ, \
                 node.id=1, version=1}}\n\nFound problems:\n  {b} is not formatted.\n  {c} does not exist\n\n"
            )
        );
        assert_eq!(problems, 2);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
