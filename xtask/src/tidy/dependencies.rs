//! What the pure crates may not reach, not even through others: threads, sockets, clocks, randomness, foreign codecs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::arrows::{manifest, metadata, packages, short};
use super::tree::Tree;
use super::{BELOW_SERVER, Finding, PURE_BESIDE};

const RULE: &str = "dependencies";

/// Crates that no pure crate may reach in its default features.
const FORBIDDEN: [&str; 22] = [
    "async-std",
    "chrono",
    "crossbeam-channel",
    "dashmap",
    "fastrand",
    "futures",
    "getrandom",
    "hyper",
    "kafka-protocol",
    "mio",
    "openssl",
    "parking_lot",
    "rand",
    "rayon",
    "rdkafka",
    "reqwest",
    "signal-hook-registry",
    "smol",
    "socket2",
    "time",
    "tokio",
    "uuid",
];

/// Crates that one pure crate alone may reach, with the reason in docs/ARCHITECTURE.md.
const FOR_ONE: [(&str, &str); 1] = [("rustix", "log")];

/// Reports what each pure crate reaches but may not; dependencies of tests and builds do not count.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    let metadata = metadata(tree, &[])?;
    let graph = graph(&metadata);
    for package in packages(tree, &[])? {
        let name = short(package["name"].as_str().unwrap_or_default()).to_owned();
        if !BELOW_SERVER.contains(&name.as_str()) && !PURE_BESIDE.contains(&name.as_str()) {
            continue;
        }
        let direct = direct(&package);
        for reached in reached(&graph, package["id"].as_str().unwrap_or_default(), &direct) {
            let for_another =
                FOR_ONE.iter().any(|(who, owner)| *who == reached && *owner != name && direct.contains(*who));
            if FORBIDDEN.contains(&reached.as_str()) || for_another {
                let path = manifest(tree, &package);
                findings.push(Finding {
                    path,
                    line: 0,
                    rule: RULE,
                    message: format!("{name} reaches {reached}"),
                });
            }
        }
    }
    Ok(())
}

/// Package id → (name, ids that it depends on when it is built for use).
type Graph = BTreeMap<String, (String, Vec<String>)>;

fn graph(metadata: &Value) -> Graph {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let names: BTreeMap<String, String> = list(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let edges = |node: &Value| {
        let normal = |edge: &Value| list(&edge["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
        list(&node["deps"]).iter().filter(|edge| normal(edge)).map(|edge| text(&edge["pkg"])).collect()
    };
    list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let id = text(&node["id"]);
            (id.clone(), (names.get(&id).cloned().unwrap_or_default(), edges(node)))
        })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The crates that a package always depends on: not for tests, not behind a feature.
fn direct(package: &Value) -> BTreeSet<String> {
    let dependencies = package["dependencies"].as_array().cloned().unwrap_or_default();
    dependencies
        .iter()
        .filter(|dependency| dependency["kind"].is_null() && dependency["optional"] == false)
        .map(|dependency| text(&dependency["name"]))
        .collect()
}

/// Names of everything that is built for use with the package, through its direct dependencies.
fn reached(graph: &Graph, package: &str, direct: &BTreeSet<String>) -> BTreeSet<String> {
    let edges = |id: &str| graph.get(id).map(|(_, edges)| edges.as_slice()).unwrap_or_default();
    let name = |id: &str| graph.get(id).map(|(name, _)| name.clone()).unwrap_or_default();
    let mut open: Vec<&String> = edges(package).iter().filter(|id| direct.contains(&name(id))).collect();
    let mut seen: BTreeSet<&String> = open.iter().copied().collect();
    while let Some(id) = open.pop() {
        // What another crate of ours depends on is reported there.
        if !name(id).starts_with("ottla-") {
            open.extend(edges(id).iter().filter(|next| seen.insert(next)));
        }
    }
    seen.into_iter().map(|id| name(id)).collect()
}

#[cfg(test)]
mod tests {
    use crate::tidy::planted::assert_found;

    const TOKIO: [(&str, &str); 2] = [
        ("vendor/tokio/Cargo.toml", "[package]\nname = \"tokio\"\nedition = \"2024\"\nlicense = \"MIT\"\n"),
        ("vendor/tokio/src/lib.rs", "//! A runtime.\n"),
    ];

    #[test]
    fn a_runtime_below_server_is_found() {
        let manifest = "[package]\nname = \"ottla-log\"\nedition = \"2024\"\n\n[dependencies]\ntokio = { path = \"../../vendor/tokio\" }\n";
        assert_found(
            "dependencies",
            "crates/log/Cargo.toml",
            &[("crates/log/Cargo.toml", manifest), TOKIO[0], TOKIO[1]],
        );
    }

    #[test]
    fn a_runtime_behind_another_crate_is_found() {
        let manifest = "[package]\nname = \"ottla-log\"\nedition = \"2024\"\n\n[dependencies]\nfine = { path = \"../../vendor/fine\" }\n";
        let fine = "[package]\nname = \"fine\"\nedition = \"2024\"\nlicense = \"MIT\"\n\n[dependencies]\ntokio = { path = \"../tokio\" }\n";
        assert_found(
            "dependencies",
            "crates/log/Cargo.toml",
            &[
                ("crates/log/Cargo.toml", manifest),
                ("vendor/fine/Cargo.toml", fine),
                ("vendor/fine/src/lib.rs", "//! Fine.\n"),
                TOKIO[0],
                TOKIO[1],
            ],
        );
    }
}
