//! Which topics a pattern means.

use ottla_client::Properties;
use regex::Regex;

use super::failure::Failure;

/// Kafka's own topics; the name alone makes them so.
pub const INTERNAL_TOPICS: &[&str] = &["__consumer_offsets", "__share_group_state", "__transaction_state"];

/// With a partition's number and a suffix it still fits a file name.
const TOPIC_NAME_MAX: usize = 249;

/// A pattern for whole topic names. A comma means "or", blanks and surrounding quotes mean nothing.
#[derive(Clone, Debug)]
pub struct TopicPattern(Regex);

impl TopicPattern {
    /// Reads a pattern.
    pub fn new(text: &str) -> Result<Self, Failure> {
        let quotes = |c| c == '"' || c == '\'';
        let plain: String = text.trim().replace(',', "|").replace(' ', "");
        let plain = plain.trim_matches(quotes);
        let pattern = Regex::new(&format!("^(?:{plain})$"));
        pattern.map(Self).map_err(|_| Failure::Error(format!("{plain} is an invalid regex.")))
    }

    /// Whether the whole name matches.
    pub fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

/// Whether a topic is one of Kafka's own.
pub fn is_internal(topic: &str) -> bool {
    INTERNAL_TOPICS.contains(&topic)
}

/// Whether a topic may be called so: the name is part of a path and of a file's name.
pub fn check_topic_name(name: &str) -> Result<(), Failure> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let why = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        name if name.len() > TOPIC_NAME_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {TOPIC_NAME_MAX}")
        }
        name if !name.bytes().all(allowed) => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )
        }
        _ => return Ok(()),
    };
    Err(Failure::Error(format!("Topic name is invalid: {why}")))
}

/// Sets where the cluster is, whatever a file said.
pub fn with_bootstrap(mut properties: Properties, servers: &str) -> Properties {
    properties.0.remove("bootstrap.controllers");
    properties.set("bootstrap.servers", servers);
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        let pattern = TopicPattern::new(" 'user.*, orders' ").unwrap();
        assert!(pattern.matches("user-events") && pattern.matches("orders"));
        assert!(!pattern.matches("my-orders"));
        assert_eq!(TopicPattern::new("a(").unwrap_err().message(), "a( is an invalid regex.");
    }
}
