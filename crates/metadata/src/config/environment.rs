//! `KAFKA_*` variables, as the official image turns them into properties.
//!
//! The environment is handed in; reading it is the shell's work.

use std::collections::BTreeMap;

/// Variables of the image that are not about properties.
const NOT_PROPERTIES: &[&str] = &[
    "KAFKA_VERSION",
    "KAFKA_HEAP_OPTS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_OPTS",
    "KAFKA_JMX_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_PORT",
];

/// The properties that `KAFKA_*` variables stand for: one underscore is a dot, two an underscore, three a dash.
/// Variables with the prefix `KAFKA_CFG_` count as well; `KAFKA_` wins where both are given.
#[must_use]
pub fn from_environment<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, String> {
    let mut plain = BTreeMap::new();
    let mut prefixed = BTreeMap::new();
    for (name, value) in variables {
        if NOT_PROPERTIES.contains(&name) {
            continue;
        }
        if let Some(rest) = name.strip_prefix("KAFKA_CFG_") {
            prefixed.insert(property_name(rest), value.to_owned());
        } else if let Some(rest) = name.strip_prefix("KAFKA_") {
            plain.insert(property_name(rest), value.to_owned());
        }
    }
    prefixed.append(&mut plain);
    prefixed.remove("");
    prefixed
}

fn property_name(rest: &str) -> String {
    rest.to_lowercase().replace('_', ".").replace("...", "-").replace("..", "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscores_become_dots_underscores_and_dashes() {
        let variables = [
            ("KAFKA_LOG_DIRS", "/d"),
            ("KAFKA_A__B", "1"),
            ("KAFKA_A___B", "2"),
            ("KAFKA_CFG_NODE_ID", "7"),
            ("KAFKA_CFG_LOG_DIRS", "/other"),
            ("KAFKA_HEAP_OPTS", "-Xmx1g"),
            ("PATH", "/bin"),
        ];
        let read: Vec<_> = from_environment(variables).into_iter().collect();
        let expected = [("a-b", "2"), ("a_b", "1"), ("log.dirs", "/d"), ("node.id", "7")];
        assert_eq!(read, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }
}
