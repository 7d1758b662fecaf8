//! What a producer is told beyond what every client is: Kafka's names and defaults.

use std::time::Duration;

use ottla_protocol::compression::{Compression, Effort};

use crate::settings::{Backoff, Properties, Settings, SettingsError};

/// Who must have a record before it counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nobody: the broker does not even answer.
    None,
    /// The leader.
    Leader,
    /// All replicas in sync.
    #[default]
    All,
}

impl Acks {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// How a producer behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerSettings {
    /// `acks`.
    pub acks: Acks,
    /// `enable.idempotence`: retries neither repeat nor reorder records.
    pub idempotence: bool,
    /// `batch.size`: bytes after which a batch is sent at once.
    pub batch_size: usize,
    /// `linger.ms`: how long a batch waits for more records.
    pub linger: Duration,
    /// `compression.type` and its level.
    pub effort: Effort,
    /// `buffer.memory`: bytes of records that may wait or be under way.
    pub buffer_memory: usize,
    /// `max.request.size`: bytes of one request, and so of one record.
    pub max_request_size: usize,
    /// `delivery.timeout.ms`: how long until a record has succeeded or failed.
    pub delivery_timeout: Duration,
    /// `max.block.ms`: how long a send may wait for memory or metadata; the shell's business.
    pub max_block: Duration,
    /// `retries`.
    pub retries: u32,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub retry_backoff: Backoff,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `max.in.flight.requests.per.connection`.
    pub in_flight_max: usize,
    /// `partitioner.adaptive.partitioning.enable`: shorter queues get more.
    pub adaptive: bool,
    /// `partitioner.ignore.keys`.
    pub ignore_keys: bool,
    /// `transactional.id`: makes the producer a transactional one.
    pub transactional_id: Option<String>,
    /// `transaction.timeout.ms`: the coordinator aborts what lasts longer.
    pub transaction_timeout: Duration,
}

/// A broker remembers this many batches of an idempotent producer, so no more may be under way.
const IN_FLIGHT_MAX_IDEMPOTENT: usize = 5;

impl ProducerSettings {
    /// The settings in these properties.
    ///
    /// # Errors
    /// A value is malformed, or contradicts another.
    pub fn from_properties(properties: &Properties) -> Result<Self, SettingsError> {
        let common = Settings::from_properties(properties)?;
        let acks = acks(properties)?;
        let retries = properties.number("retries", i64::from(i32::MAX), 0)?;
        let idempotence = idempotence(properties, acks, retries, common.in_flight_max)?;
        let linger = properties.millis("linger.ms", 5)?;
        let transactional_id = transactional_id(properties, idempotence)?;
        Ok(Self {
            acks,
            idempotence,
            batch_size: size(properties, "batch.size", 16_384)?,
            linger,
            effort: effort(properties)?,
            buffer_memory: size(properties, "buffer.memory", 32 << 20)?,
            max_request_size: size(properties, "max.request.size", 1 << 20)?,
            delivery_timeout: delivery_timeout(properties, linger.saturating_add(common.request_timeout))?,
            max_block: properties.millis("max.block.ms", 60_000)?,
            retries: u32::try_from(retries).unwrap_or(u32::MAX),
            retry_backoff: common.retry_backoff,
            request_timeout: common.request_timeout,
            in_flight_max: common.in_flight_max,
            adaptive: properties.truth("partitioner.adaptive.partitioning.enable", true)?,
            ignore_keys: properties.truth("partitioner.ignore.keys", false)?,
            transactional_id,
            transaction_timeout: properties.millis("transaction.timeout.ms", 60_000)?,
        })
    }
}

fn transactional_id(properties: &Properties, idempotence: bool) -> Result<Option<String>, SettingsError> {
    let Some(id) = properties.get("transactional.id") else { return Ok(None) };
    let refuse = |key, why| {
        let value = properties.get(key).unwrap_or_default().to_owned();
        Err(SettingsError::Invalid { key, value, why })
    };
    match (id.is_empty(), idempotence) {
        (true, _) => refuse("transactional.id", "must not be empty"),
        (false, false) => refuse("enable.idempotence", "must be true with a transactional.id"),
        (false, true) => Ok(Some(id.to_owned())),
    }
}

fn size(properties: &Properties, key: &'static str, default: i64) -> Result<usize, SettingsError> {
    Ok(usize::try_from(properties.number(key, default, 0)?).unwrap_or(usize::MAX))
}

fn acks(properties: &Properties) -> Result<Acks, SettingsError> {
    match properties.get("acks").map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        None | Some("all" | "-1") => Ok(Acks::All),
        Some("0") => Ok(Acks::None),
        Some("1") => Ok(Acks::Leader),
        Some(other) => Err(SettingsError::Invalid {
            key: "acks",
            value: other.to_owned(),
            why: "String must be one of: all, -1, 0, 1",
        }),
    }
}

/// Idempotence is on unless another setting rules it out; asked for in so many words, it is an error then.
fn idempotence(
    properties: &Properties,
    acks: Acks,
    retries: i64,
    in_flight: usize,
) -> Result<bool, SettingsError> {
    let asked = properties.get("enable.idempotence").is_some();
    if !properties.truth("enable.idempotence", true)? {
        return Ok(false);
    }
    let refuse = |key, why| {
        let value = properties.get(key).unwrap_or_default().to_owned();
        Err(SettingsError::Invalid { key, value, why })
    };
    if retries == 0 {
        return if asked {
            refuse("retries", "must not be zero for the idempotent producer")
        } else {
            Ok(false)
        };
    }
    if acks != Acks::All {
        return if asked { refuse("acks", "must be all for the idempotent producer") } else { Ok(false) };
    }
    if in_flight > IN_FLIGHT_MAX_IDEMPOTENT {
        let why = "must be at most 5 for the idempotent producer";
        return refuse("max.in.flight.requests.per.connection", why);
    }
    Ok(true)
}

fn delivery_timeout(properties: &Properties, least: Duration) -> Result<Duration, SettingsError> {
    let timeout = properties.millis("delivery.timeout.ms", 120_000)?;
    match properties.get("delivery.timeout.ms") {
        Some(value) if timeout < least => Err(SettingsError::Invalid {
            key: "delivery.timeout.ms",
            value: value.to_owned(),
            why: "should be equal to or larger than linger.ms + request.timeout.ms",
        }),
        _ => Ok(timeout.max(least)),
    }
}

fn effort(properties: &Properties) -> Result<Effort, SettingsError> {
    let name = properties.get("compression.type").unwrap_or("none").trim();
    let compression = Compression::from_name(name).ok_or_else(|| SettingsError::Invalid {
        key: "compression.type",
        value: name.to_owned(),
        why: "String must be one of: none, gzip, snappy, lz4, zstd",
    })?;
    let (key, least, most) = match compression {
        Compression::Gzip => ("compression.gzip.level", -1, 9),
        Compression::Lz4 => ("compression.lz4.level", 1, 17),
        Compression::Zstd => ("compression.zstd.level", -131_072, 22),
        Compression::None | Compression::Snappy => return Ok(compression.into()),
    };
    let Some(text) = properties.get(key) else { return Ok(compression.into()) };
    let level = properties.number(key, least, least)?;
    match i32::try_from(level) {
        Ok(level) if i64::from(level) <= most => Ok(Effort { compression, level: Some(level) }),
        _ => Err(SettingsError::Invalid { key, value: text.to_owned(), why: "is more than the codec has" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of(pairs: &[(&str, &str)]) -> Result<ProducerSettings, SettingsError> {
        let mut properties = Properties::default();
        properties.set("bootstrap.servers", "localhost:9092");
        for (key, value) in pairs {
            properties.set(key, *value);
        }
        ProducerSettings::from_properties(&properties)
    }

    #[test]
    fn defaults_are_those_of_kafka_4() {
        let settings = made_of(&[]).unwrap();
        assert_eq!((settings.acks, settings.idempotence), (Acks::All, true));
        assert_eq!((settings.batch_size, settings.linger), (16_384, Duration::from_millis(5)));
        assert_eq!((settings.buffer_memory, settings.max_request_size), (33_554_432, 1_048_576));
        assert_eq!(settings.delivery_timeout, Duration::from_secs(120));
    }

    #[test]
    fn idempotence_gives_way_unless_it_was_asked_for() {
        assert!(!made_of(&[("acks", "1")]).unwrap().idempotence);
        assert!(!made_of(&[("retries", "0")]).unwrap().idempotence);
        assert!(made_of(&[("acks", "1"), ("enable.idempotence", "true")]).is_err());
        assert!(made_of(&[("max.in.flight.requests.per.connection", "6")]).is_err());
        assert!(
            made_of(&[("max.in.flight.requests.per.connection", "6"), ("enable.idempotence", "false")])
                .is_ok()
        );
    }

    #[test]
    fn contradictions_and_unknown_words_are_refused() {
        assert!(made_of(&[("acks", "2")]).is_err());
        assert!(made_of(&[("compression.type", "brotli")]).is_err());
        assert!(made_of(&[("compression.type", "zstd"), ("compression.zstd.level", "23")]).is_err());
        assert!(made_of(&[("delivery.timeout.ms", "100")]).is_err());
        let longer = made_of(&[("linger.ms", "200000")]).unwrap();
        assert_eq!(longer.delivery_timeout, Duration::from_secs(230));
        let zstd = made_of(&[("compression.type", "zstd"), ("compression.zstd.level", "7")]).unwrap();
        assert_eq!(zstd.effort, Effort { compression: Compression::Zstd, level: Some(7) });
    }
}
