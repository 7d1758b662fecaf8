//! What a person who has just started a node wants to know: where the data is, how to connect, what to type next.

use std::io::Write as _;
use std::path::PathBuf;

use ottla_server::{Facts, ListenerKind};

/// Prints the greeting.
pub fn print(facts: &Facts) {
    // A closed stdout is no reason not to serve.
    let _ = std::io::stdout().write_all(text(facts).as_bytes());
}

fn text(facts: &Facts) -> String {
    let absolute =
        |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
    let data: Vec<String> = facts.directories.iter().map(absolute).collect();
    let node = &facts.node;
    let brokers: Vec<String> = node
        .listeners
        .iter()
        .filter(|listener| listener.kind == ListenerKind::Broker)
        .map(|listener| format!("{}:{}", listener.advertised_host, listener.advertised_port))
        .collect();
    let formatted = if facts.formatted.is_empty() { "" } else { ", formatted just now" };
    let mut rows = vec![
        ("data", format!("{}{formatted}", data.join(", "))),
        ("cluster", format!("{} (this is node {})", node.cluster_id, node.id)),
    ];
    if let Some(first) = brokers.first() {
        rows.push(("connect", brokers.join(", ")));
        // As the node was called, so that the line can be typed as it stands.
        let ottla = std::env::args().next().unwrap_or_else(|| "ottla".to_owned());
        rows.push(("try", format!("{ottla} kafka-topics --bootstrap-server {first} --create --topic hello")));
        rows.push(("", format!("{ottla} kafka-topics --bootstrap-server {first} --describe")));
    }
    rows.push(("stop", "Ctrl-C, or SIGTERM".to_owned()));
    let mut text = "\n  Ottla is ready.\n\n".to_owned();
    for (name, value) in rows {
        text.push_str(&format!("  {name:8} {value}\n"));
    }
    text.push('\n');
    text
}
