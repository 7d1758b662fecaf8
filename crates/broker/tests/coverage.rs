//! Every row of the API table has a test in `tests/node` that asks for it by name.

use std::path::Path;

/// The files of the node's tests, but for those that ask for everything with whatever there is.
fn sources() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !["support.rs", "requests.rs"].contains(&name.as_str()) {
            sources.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    sources
}

/// Requests that tests make through a function of `requests.rs`.
const MADE_BY: [(&str, &str); 4] = [
    ("CreateTopics", "&create("),
    ("DeleteTopics", "&delete("),
    ("Fetch", "&fetch("),
    ("Produce", "&produce("),
];

#[test]
fn every_row_of_the_table_is_asked_for() {
    let sources = sources();
    for row in ottla_broker::api::rows() {
        let name = row.key.name();
        let made = MADE_BY.iter().find(|(api, _)| *api == name).map(|(_, function)| *function);
        let request = format!("{name}Request {{");
        let default = format!("{name}Request::default()");
        let asks = |text: &str| {
            text.contains(&request) || text.contains(&default) || made.is_some_and(|made| text.contains(made))
        };
        assert!(sources.iter().any(|(_, text)| asks(text)), "no test asks for {name}");
    }
}
