//! From text to value: the types and ranges of the table, with the error texts users of Kafka know.

use std::fmt;

use super::key::{Absent, Empty, Key, Kind, Preset, Valid};
use super::listeners;

/// A configuration that cannot be; the text is one line, fit for users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl ConfigError {
    /// "Invalid value … for configuration …", with a reason.
    pub(crate) fn invalid(name: &str, value: impl fmt::Display, reason: &str) -> Self {
        Self(format!("Invalid value {value} for configuration {name}: {reason}"))
    }
}

/// A parsed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// Text, a class name or a password.
    Text(String),
    /// 32 bits.
    Int(i32),
    /// 16 bits.
    Short(i16),
    /// 64 bits.
    Long(i64),
    /// A floating-point number.
    Double(f64),
    /// Comma-separated text.
    List(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(v) => v.fmt(f),
            Self::Text(v) => v.fmt(f),
            Self::Int(v) => v.fmt(f),
            Self::Short(v) => v.fmt(f),
            Self::Long(v) => v.fmt(f),
            Self::Double(v) => f.write_str(&double_text(*v)),
            Self::List(v) => f.write_str(&v.join(",")),
        }
    }
}

/// A double as Java prints it: always with a fraction, with an exponent outside of 10⁻³ to 10⁷.
fn double_text(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&size) || !value.is_finite() {
        return match value {
            f64::INFINITY => "Infinity".to_owned(),
            f64::NEG_INFINITY => "-Infinity".to_owned(),
            _ => format!("{value:?}"),
        };
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

/// Reads `text` as the type of `key`, without a look at its range.
///
/// # Errors
/// If the text is not of the type.
pub fn parse_kind(key: &Key, text: &str) -> Result<Value, ConfigError> {
    let trimmed = text.trim();
    let number = |kind: &str| ConfigError::invalid(key.name, text, &format!("Not a number of type {kind}"));
    match key.kind {
        Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
        Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
        Kind::Boolean => {
            Err(ConfigError::invalid(key.name, text, "Expected value to be either true or false"))
        }
        Kind::String | Kind::Class | Kind::Password => Ok(Value::Text(trimmed.to_owned())),
        Kind::Int => trimmed.parse().map(Value::Int).map_err(|_| number("INT")),
        Kind::Short => trimmed.parse().map(Value::Short).map_err(|_| number("SHORT")),
        Kind::Long => trimmed.parse().map(Value::Long).map_err(|_| number("LONG")),
        Kind::Double => parse_double(trimmed).map(Value::Double).ok_or_else(|| number("DOUBLE")),
        Kind::List => Ok(Value::List(split_list(trimmed))),
    }
}

/// Java takes a type suffix, and spells the infinities out.
fn parse_double(text: &str) -> Option<f64> {
    let bare = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    match bare.trim_start_matches(['+', '-']) {
        "NaN" | "Infinity" => text.parse().ok(),
        digits if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => bare.parse().ok(),
        _ => None,
    }
}

/// The elements of a comma-separated list, without the space around them; empty text is an empty list.
#[must_use]
pub fn split_list(text: &str) -> Vec<String> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Vec::new();
    }
    trimmed.split(',').map(|element| element.trim().to_owned()).collect()
}

/// Reads `text` as a value of `key` and checks its range.
///
/// # Errors
/// If the text is not of the type or not within the range, in Kafka's words.
pub fn parse(key: &Key, text: &str) -> Result<Value, ConfigError> {
    let mut value = parse_kind(key, text)?;
    if let (Valid::ListOf(..) | Valid::ListOfAny(..), Value::List(elements)) = (&key.valid, &mut value) {
        let mut unique: Vec<String> = Vec::with_capacity(elements.len());
        for element in elements.drain(..) {
            if !unique.contains(&element) {
                unique.push(element);
            }
        }
        *elements = unique;
    }
    check(key, Some(&value))?;
    Ok(value)
}

/// The value of a key that nobody set.
///
/// # Errors
/// If the key has no preset value.
pub fn preset(key: &Key) -> Result<Option<Value>, ConfigError> {
    match key.preset {
        Preset::Required => Err(ConfigError(format!(
            "Missing required configuration \"{}\" which has no default value.",
            key.name
        ))),
        Preset::Null => Ok(None),
        Preset::Text(text) => parse_kind(key, text).map(Some),
    }
}

fn check(key: &Key, value: Option<&Value>) -> Result<(), ConfigError> {
    let Some(value) = value else { return check_absent(key) };
    match (key.valid, value) {
        (Valid::Any | Valid::NonNull, _) => Ok(()),
        (Valid::AtLeast(least), _) => check_range(key, value, least, i64::MAX),
        (Valid::Between(least, most), _) => check_range(key, value, least, most),
        (Valid::Fraction(least, _), Value::Double(number)) if *number < least => {
            Err(ConfigError::invalid(key.name, value, &format!("Value must be at least {least}")))
        }
        (Valid::Fraction(_, most), Value::Double(number)) if *number > most => {
            Err(ConfigError::invalid(key.name, value, &format!("Value must be no more than {most}")))
        }
        (Valid::GzipLevel, Value::Int(level)) if *level != -1 && !(1..=9).contains(level) => {
            Err(ConfigError::invalid(key.name, level, "Value must be between 1 and 9 or equal to -1"))
        }
        (Valid::OneOf(words), Value::Text(text)) => check_word(key, text, words),
        (Valid::OneOfAnyCase(words), Value::Text(text)) => check_word_any_case(key, text, words),
        (Valid::ListOf(words, empty), Value::List(list)) => check_list(key, list, words, empty),
        (Valid::ListOfAny(empty, _), Value::List(list)) => check_list(key, list, &[], empty),
        (Valid::NonEmpty, Value::Text(text)) if text.is_empty() => {
            Err(ConfigError::invalid(key.name, text, "String must be non-empty"))
        }
        (Valid::Voters, Value::List(list)) => listeners::parse_voters(list).map(drop),
        (Valid::Servers, Value::List(list)) => listeners::parse_servers(list).map(drop),
        (Valid::ThrottledReplicas, Value::List(list)) => check_throttled(key, list),
        (Valid::OffsetReset, Value::Text(text)) => check_offset_reset(key, text),
        _ => Ok(()),
    }
}

fn check_absent(key: &Key) -> Result<(), ConfigError> {
    match key.valid {
        Valid::NonNull => Err(ConfigError::invalid(key.name, "null", "entry must be non null")),
        Valid::ListOf(..) | Valid::ListOfAny(_, Absent::Refused) => {
            Err(ConfigError(format!("Configuration '{}' values must not be null.", key.name)))
        }
        Valid::AtLeast(_) | Valid::Between(..) | Valid::Fraction(..) | Valid::GzipLevel => {
            Err(ConfigError::invalid(key.name, "null", "Value must be non-null"))
        }
        _ => Ok(()),
    }
}

fn check_range(key: &Key, value: &Value, least: i64, most: i64) -> Result<(), ConfigError> {
    let number = match value {
        Value::Int(v) => i64::from(*v),
        Value::Short(v) => i64::from(*v),
        Value::Long(v) => *v,
        Value::Double(v) if *v < least as f64 => least.saturating_sub(1),
        Value::Double(v) if *v > most as f64 => most.saturating_add(1),
        _ => return Ok(()),
    };
    if number < least {
        return Err(ConfigError::invalid(key.name, value, &format!("Value must be at least {least}")));
    }
    if number > most {
        return Err(ConfigError::invalid(key.name, value, &format!("Value must be no more than {most}")));
    }
    Ok(())
}

fn check_word(key: &Key, text: &str, words: &[&str]) -> Result<(), ConfigError> {
    if words.contains(&text) {
        return Ok(());
    }
    Err(ConfigError::invalid(key.name, text, &format!("String must be one of: {}", words.join(", "))))
}

fn check_word_any_case(key: &Key, text: &str, words: &[&str]) -> Result<(), ConfigError> {
    if words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return Ok(());
    }
    let reason = format!("String must be one of (case insensitive): {}", words.join(", "));
    Err(ConfigError::invalid(key.name, text, &reason))
}

fn check_list(key: &Key, list: &[String], words: &[&str], empty: Empty) -> Result<(), ConfigError> {
    let name = key.name;
    if list.is_empty() && empty == Empty::Refused {
        let valid = match words {
            [] => "any non-empty value".to_owned(),
            words => format!("[{}]", words.join(", ")),
        };
        return Err(ConfigError(format!(
            "Configuration '{name}' must not be empty. Valid values include: {valid}"
        )));
    }
    for element in list {
        if element.is_empty() {
            return Err(ConfigError(format!("Configuration '{name}' values must not be empty.")));
        }
        if !words.is_empty() {
            check_word(key, element, words)?;
        }
    }
    Ok(())
}

fn check_throttled(key: &Key, list: &[String]) -> Result<(), ConfigError> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_replica = |text: &String| {
        text.is_empty() || text.split_once(':').is_some_and(|(a, b)| is_number(a) && is_number(b))
    };
    if list.iter().all(is_replica) || list.concat() == "*" {
        return Ok(());
    }
    let reason = format!(
        "{} must be the literal '*' or a list of replicas in the following format: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        key.name
    );
    Err(ConfigError::invalid(key.name, format!("[{}]", list.join(", ")), &reason))
}

fn check_offset_reset(key: &Key, text: &str) -> Result<(), ConfigError> {
    let known = matches!(text.to_ascii_lowercase().as_str(), "latest" | "earliest");
    if known || text.strip_prefix("by_duration:").is_some_and(is_duration) {
        return Ok(());
    }
    let reason = format!(
        "Invalid value `{text}` for configuration {}. The value must be either 'earliest', 'latest' or of \
         the format 'by_duration:<PnDTnHnMn.nS>'.",
        key.name
    );
    Err(ConfigError::invalid(key.name, text, &reason))
}

/// Whether the text is an ISO 8601 duration of days, hours, minutes and seconds, not negative.
fn is_duration(text: &str) -> bool {
    let Some(rest) = text.to_ascii_uppercase().strip_prefix('P').map(str::to_owned) else { return false };
    let (days, time) = match rest.split_once('T') {
        Some((days, time)) => (days.to_owned(), Some(time.to_owned())),
        None => (rest, None),
    };
    let mut parts = 0;
    let mut eat = |mut text: &str, units: &[char]| {
        for unit in units {
            if let Some((number, rest)) = text.split_once(*unit) {
                let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
                let fraction = *unit == 'S' && number.parse::<f64>().is_ok_and(|n| n >= 0.0);
                if !plain && !fraction {
                    return false;
                }
                parts += 1;
                text = rest;
            }
        }
        text.is_empty()
    };
    let fine = eat(&days, &['D']);
    match time {
        Some(time) => fine && !time.is_empty() && eat(&time, &['H', 'M', 'S']) && parts > 0,
        None => fine && parts > 0,
    }
}

/// The accepted values as Kafka's manual writes them; empty where the type says it all.
#[must_use]
pub fn valid_text(valid: &Valid) -> String {
    match valid {
        Valid::Any | Valid::ListOfAny(..) => String::new(),
        Valid::AtLeast(least) => format!("[{least},...]"),
        Valid::Between(least, most) => format!("[{least},...,{most}]"),
        Valid::Fraction(least, most) => format!("[{least},...,{most}]"),
        Valid::GzipLevel => "[1,...,9] or -1".to_owned(),
        Valid::OneOf(words) | Valid::ListOf(words, _) => format!("[{}]", words.join(", ")),
        Valid::OneOfAnyCase(words) => format!("(case insensitive) [{}]", words.join(", ")),
        Valid::NonEmpty => "non-empty string".to_owned(),
        Valid::NonNull => "non-null string".to_owned(),
        Valid::Voters | Valid::Servers => "non-empty list".to_owned(),
        Valid::ThrottledReplicas => "[partitionId]:[brokerId],[partitionId]:[brokerId],...".to_owned(),
        Valid::OffsetReset => "[latest, earliest, by_duration:PnDTnHnMn.nS]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Scope, find, keys};
    use super::*;

    fn refused(scope: Scope, name: &str, text: &str) -> String {
        parse(find(scope, name).unwrap(), text).unwrap_err().0
    }

    #[test]
    fn every_preset_is_a_valid_value() {
        for scope in [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics] {
            for key in keys(scope) {
                if let Preset::Text(text) = key.preset {
                    let value = parse(key, text).unwrap_or_else(|e| panic!("{}: {e}", key.name));
                    let printed = value.to_string();
                    assert_eq!(parse(key, &printed).unwrap(), value, "{}", key.name);
                }
            }
        }
    }

    #[test]
    fn refusals_speak_like_kafka() {
        let cases = [
            (
                "retention.ms",
                "x",
                "Invalid value x for configuration retention.ms: Not a number of type LONG",
            ),
            (
                "retention.ms",
                "-2",
                "Invalid value -2 for configuration retention.ms: Value must be at least -1",
            ),
            (
                "segment.bytes",
                "200",
                "Invalid value 200 for configuration segment.bytes: Value must be at least 1048576",
            ),
            (
                "cleanup.policy",
                "delete,shred",
                "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
            ),
            (
                "preallocate",
                "yes",
                "Invalid value yes for configuration preallocate: Expected value to be either true or false",
            ),
            (
                "min.cleanable.dirty.ratio",
                "1.5",
                "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
            ),
            (
                "compression.gzip.level",
                "0",
                "Invalid value 0 for configuration compression.gzip.level: \
                 Value must be between 1 and 9 or equal to -1",
            ),
            ("cleanup.policy", "delete,,compact", "Configuration 'cleanup.policy' values must not be empty."),
        ];
        for (name, text, expected) in cases {
            assert_eq!(refused(Scope::Topic, name, text), expected);
        }
    }

    #[test]
    fn lists_are_split_and_lose_their_doubles() {
        let key = find(Scope::Topic, "cleanup.policy").unwrap();
        let both = Value::List(vec!["compact".to_owned(), "delete".to_owned()]);
        assert_eq!(parse(key, " compact , delete,compact ").unwrap(), both);
        assert_eq!(parse(key, "").unwrap(), Value::List(vec![]));
        let roles = find(Scope::Broker, "process.roles").unwrap();
        assert_eq!(
            parse(roles, "").unwrap_err().0,
            "Configuration 'process.roles' must not be empty. Valid values include: [broker, controller]"
        );
    }

    #[test]
    fn throttled_replicas_are_pairs_or_a_star() {
        let key = find(Scope::Topic, "leader.replication.throttled.replicas").unwrap();
        for good in ["", "*", "0:1", "0:1, 12:345"] {
            assert!(parse(key, good).is_ok(), "{good}");
        }
        for bad in ["0", "a:1", "0:1,*", "0:1:2"] {
            assert!(parse(key, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_share_group_may_start_a_while_back() {
        let key = find(Scope::Group, "share.auto.offset.reset").unwrap();
        for good in ["latest", "earliest", "by_duration:P1D", "by_duration:PT1H30M", "by_duration:P2DT3.5S"] {
            assert!(parse(key, good).is_ok(), "{good}");
        }
        for bad in
            ["none", "by_duration:", "by_duration:P", "by_duration:PT", "by_duration:1H", "by_duration:P-1D"]
        {
            assert!(parse(key, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn doubles_print_as_java_prints_them() {
        for (value, text) in
            [(0.5, "0.5"), (2.0, "2.0"), (f64::MAX, "1.7976931348623157E308"), (1e7, "1.0E7")]
        {
            assert_eq!(double_text(value), text);
        }
    }
}
