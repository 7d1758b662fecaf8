//! The four operations of IncrementalAlterConfigs (KIP-339) on one key.

use super::find;
use super::key::{Kind, Preset, Scope};
use super::parse::{ConfigError, parse};

/// What to do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Replace the value.
    Set,
    /// Go back to the value the key has when nobody sets it.
    Delete,
    /// Add elements to a list.
    Append,
    /// Take elements from a list.
    Subtract,
}

impl Operation {
    /// The operation of this number on the wire.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        Some(match code {
            0 => Self::Set,
            1 => Self::Delete,
            2 => Self::Append,
            3 => Self::Subtract,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Delete => "DELETE",
            Self::Append => "APPEND",
            Self::Subtract => "SUBTRACT",
        }
    }
}

/// The value of `name` after `operation`, where `current` is the value set now (`None`: nobody set it).
///
/// # Errors
/// If elements are to be added to or taken from what is no list.
pub fn altered(
    scope: Scope,
    name: &str,
    operation: Operation,
    current: Option<&str>,
    operand: Option<&str>,
) -> Result<Option<String>, ConfigError> {
    match operation {
        Operation::Set => return Ok(operand.map(str::to_owned)),
        Operation::Delete => return Ok(None),
        Operation::Append | Operation::Subtract => {}
    }
    let Some(key) = find(scope, name).filter(|key| key.kind == Kind::List) else {
        let operation = operation.name();
        return Err(ConfigError(format!("Can't {operation} to key {name} because its type is not LIST.")));
    };
    let preset = match key.preset {
        Preset::Text(text) => Some(text),
        Preset::Null | Preset::Required => None,
    };
    let start = current.or(preset).unwrap_or("");
    let mut elements: Vec<&str> = start.split(',').filter(|element| !element.is_empty()).collect();
    for element in operand.unwrap_or("").split(',') {
        if operation == Operation::Subtract {
            elements.retain(|other| *other != element);
        } else if !elements.contains(&element) {
            elements.push(element);
        }
    }
    Ok(Some(elements.join(",")))
}

/// Checks a value that is to be stored for a dynamic key of brokers.
///
/// # Errors
/// If the value is not of the key's type or range.
pub fn check_value(scope: Scope, name: &str, text: &str) -> Result<(), ConfigError> {
    find(scope, super::settings::base_name(name)).map_or(Ok(()), |key| parse(key, text).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(operation: Operation, current: Option<&str>, operand: &str) -> Option<String> {
        altered(Scope::Topic, "cleanup.policy", operation, current, Some(operand)).unwrap()
    }

    #[test]
    fn lists_grow_and_shrink() {
        assert_eq!(change(Operation::Append, None, "compact").as_deref(), Some("delete,compact"));
        assert_eq!(
            change(Operation::Append, Some("compact"), "compact,delete").as_deref(),
            Some("compact,delete")
        );
        assert_eq!(change(Operation::Subtract, Some("compact,delete"), "delete").as_deref(), Some("compact"));
        assert_eq!(change(Operation::Subtract, None, "delete").as_deref(), Some(""));
        assert_eq!(change(Operation::Set, Some("x"), "y").as_deref(), Some("y"));
        assert_eq!(change(Operation::Delete, Some("x"), ""), None);
    }

    #[test]
    fn numbers_do_not() {
        let error = altered(Scope::Topic, "retention.ms", Operation::Append, None, Some("1")).unwrap_err();
        assert_eq!(error.0, "Can't APPEND to key retention.ms because its type is not LIST.");
    }
}
