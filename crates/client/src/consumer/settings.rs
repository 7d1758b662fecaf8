//! What a consumer is told beyond what every client is: Kafka's names and defaults.

use std::time::Duration;

use crate::consumer::group::GroupSettings;
use crate::settings::{Backoff, Properties, Settings, SettingsError};

/// Where to begin where no position is known, or the known one is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// At the first record there is.
    Earliest,
    /// Behind the last.
    Latest,
    /// At the first record that is not older than this (KIP-1106).
    ByDuration(Duration),
    /// Nowhere: the caller is told.
    None,
}

/// Which records a consumer sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All that are replicated.
    #[default]
    ReadUncommitted,
    /// None of open or aborted transactions.
    ReadCommitted,
}

impl Isolation {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// How a consumer behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// `auto.offset.reset`.
    pub reset: Reset,
    /// `isolation.level`.
    pub isolation: Isolation,
    /// `fetch.min.bytes`.
    pub fetch_min_bytes: i32,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `max.partition.fetch.bytes`.
    pub partition_max_bytes: i32,
    /// `fetch.max.wait.ms`.
    pub fetch_max_wait: Duration,
    /// `max.poll.records`.
    pub max_poll_records: usize,
    /// `check.crcs`.
    pub check_crcs: bool,
    /// `client.rack`: replicas there are read from where the broker says so.
    pub rack: String,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub retry_backoff: Backoff,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `metadata.max.age.ms`: how long a replica is read from before the leader is asked again.
    pub metadata_max_age: Duration,
    /// What concerns its group, if `group.id` names one.
    pub group: Option<GroupSettings>,
}

impl ConsumerSettings {
    /// The settings in these properties.
    ///
    /// # Errors
    /// A value is malformed.
    pub fn from_properties(properties: &Properties) -> Result<Self, SettingsError> {
        let common = Settings::from_properties(properties)?;
        let int = |key, default, least| {
            Ok(i32::try_from(properties.number(key, default, least)?).unwrap_or(i32::MAX))
        };
        let polled = properties.number("max.poll.records", 500, 1)?;
        Ok(Self {
            reset: reset(properties)?,
            isolation: isolation(properties)?,
            fetch_min_bytes: int("fetch.min.bytes", 1, 0)?,
            fetch_max_bytes: int("fetch.max.bytes", 52_428_800, 0)?,
            partition_max_bytes: int("max.partition.fetch.bytes", 1_048_576, 0)?,
            fetch_max_wait: properties.millis("fetch.max.wait.ms", 500)?,
            max_poll_records: usize::try_from(polled).unwrap_or(usize::MAX),
            check_crcs: properties.truth("check.crcs", true)?,
            rack: common.rack,
            retry_backoff: common.retry_backoff,
            request_timeout: common.request_timeout,
            metadata_max_age: common.metadata_max_age,
            group: GroupSettings::from_properties(properties)?,
        })
    }
}

fn isolation(properties: &Properties) -> Result<Isolation, SettingsError> {
    match properties.get("isolation.level").map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        None | Some("read_uncommitted") => Ok(Isolation::ReadUncommitted),
        Some("read_committed") => Ok(Isolation::ReadCommitted),
        Some(other) => Err(SettingsError::Invalid {
            key: "isolation.level",
            value: other.to_owned(),
            why: "String must be one of: read_committed, read_uncommitted",
        }),
    }
}

fn reset(properties: &Properties) -> Result<Reset, SettingsError> {
    let Some(text) = properties.get("auto.offset.reset") else { return Ok(Reset::Latest) };
    let word = text.trim().to_ascii_lowercase();
    match word.as_str() {
        "earliest" => return Ok(Reset::Earliest),
        "latest" => return Ok(Reset::Latest),
        "none" => return Ok(Reset::None),
        _ => {}
    }
    let duration = word.strip_prefix("by_duration:").and_then(duration);
    duration.map(Reset::ByDuration).ok_or_else(|| SettingsError::Invalid {
        key: "auto.offset.reset",
        value: text.to_owned(),
        why: "must be earliest, latest, none or by_duration:<ISO 8601 duration>",
    })
}

/// Reads `PnDTnHnMn.nS`, in lower case; not negative.
fn duration(text: &str) -> Option<Duration> {
    let rest = text.strip_prefix('p')?;
    let (days, time) = rest.split_once('t').unwrap_or((rest, ""));
    let mut seconds = 0.0;
    let mut parts = 0;
    for (part, units) in [(days, &[('d', 86_400.0)][..]), (time, &[('h', 3600.0), ('m', 60.0), ('s', 1.0)])] {
        let mut rest = part;
        for (unit, factor) in units {
            if let Some((number, after)) = rest.split_once(*unit) {
                seconds += number.parse::<f64>().ok().filter(|n| *n >= 0.0)? * factor;
                rest = after;
                parts += 1;
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    (parts > 0).then(|| Duration::try_from_secs_f64(seconds).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of(pairs: &[(&str, &str)]) -> Result<ConsumerSettings, SettingsError> {
        ConsumerSettings::from_properties(&crate::testing::properties(pairs))
    }

    #[test]
    fn defaults_are_those_of_kafka_4() {
        let settings = made_of(&[]).unwrap();
        assert_eq!((settings.reset, settings.isolation), (Reset::Latest, Isolation::ReadUncommitted));
        assert_eq!((settings.fetch_min_bytes, settings.fetch_max_bytes), (1, 52_428_800));
        assert_eq!((settings.partition_max_bytes, settings.max_poll_records), (1_048_576, 500));
    }

    #[test]
    fn words_are_read() {
        assert_eq!(made_of(&[("auto.offset.reset", "Earliest")]).unwrap().reset, Reset::Earliest);
        assert_eq!(made_of(&[("isolation.level", "read_committed")]).unwrap().isolation.code(), 1);
        assert!(made_of(&[("auto.offset.reset", "oldest")]).is_err());
        assert!(made_of(&[("isolation.level", "serializable")]).is_err());
    }

    #[test]
    fn durations_are_iso_8601() {
        let by = |text: &str| {
            made_of(&[("auto.offset.reset", &format!("by_duration:{text}"))]).ok().map(|s| s.reset)
        };
        let of = |seconds| Some(Reset::ByDuration(Duration::from_secs(seconds)));
        assert_eq!((by("PT1H"), by("P1DT2H3M4S"), by("P2D")), (of(3600), of(93_784), of(172_800)));
        assert_eq!(by("PT0.5S"), Some(Reset::ByDuration(Duration::from_millis(500))));
        assert_eq!((by("1h"), by("P"), by("PT-1S"), by("PT1X")), (None, None, None, None));
    }
}
