//! The column *effect* of the configuration table tells the truth: a key that the node looks at is in effect.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ottla_metadata::config::key::Effect;
use ottla_metadata::config::{Scope, keys};

/// Looked at, but with no effect worth the name: why.
const EXCEPTIONS: &[(&str, &str)] = &[("compression.lz4.level", "our LZ4 has one speed")];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Every literal in the node's code that could be the name of a key; tests do not count.
fn literals() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for name in ["broker", "coordinator", "server", "controller"] {
        sources(&crates.join(name).join("src"), &mut files);
    }
    let mut found = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        found.extend(code.split('"').filter(|word| word.contains('.')).map(String::from));
    }
    found
}

#[test]
fn keys_that_the_node_looks_at_are_in_effect() {
    let literals = literals();
    let mut looked_at = 0;
    for key in keys(Scope::Topic).chain(keys(Scope::Broker)) {
        if !literals.contains(key.name) || EXCEPTIONS.iter().any(|(name, _)| *name == key.name) {
            continue;
        }
        looked_at += 1;
        assert_eq!(key.effect, Effect::InEffect, "{} is looked at: say so in the table", key.name);
    }
    assert!(looked_at > 40, "only {looked_at} keys were found in the code");
}
