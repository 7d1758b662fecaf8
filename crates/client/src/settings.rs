//! What a client is told: Kafka's property names, Java's defaults.
//!
//! `Properties` are the pairs as they are given; `Settings` is what the machines need of them.

use std::collections::BTreeMap;
use std::time::Duration;

/// Key-value pairs, as of a `.properties` file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub BTreeMap<String, String>);

/// Why properties do not make settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The value is not of the key's type or range.
    #[error("Invalid value {value} for configuration {key}: {why}")]
    Invalid {
        /// Kafka's name of the setting.
        key: &'static str,
        /// What was given.
        value: String,
        /// What it should be.
        why: &'static str,
    },
    /// There is nowhere to connect to.
    #[error("Missing required configuration \"bootstrap.servers\" which has no default value.")]
    NoBootstrap,
    /// A bootstrap address is not `host:port`.
    #[error("Invalid url in bootstrap.servers: {0}")]
    BadAddress(String),
    /// The value is Kafka's, but not ours yet.
    #[error("{key}={value} is not supported yet")]
    Unsupported {
        /// Kafka's name of the setting.
        key: &'static str,
        /// What was given.
        value: String,
    },
}

/// A place to connect to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Name or IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How a client behaves towards its cluster; the part that producer, consumer and admin share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `bootstrap.servers`, or `bootstrap.controllers`.
    pub bootstrap: Vec<Address>,
    /// Which of the two.
    pub endpoint: Endpoint,
    /// `client.id`.
    pub client_id: String,
    /// `client.rack`, empty for none.
    pub rack: String,
    /// `request.timeout.ms`: how long one request may be under way.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: how long one call of the admin may take with all its retries.
    pub api_timeout: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub retry_backoff: Backoff,
    /// `reconnect.backoff.ms` and `reconnect.backoff.max.ms`.
    pub reconnect_backoff: Backoff,
    /// `socket.connection.setup.timeout.ms`.
    pub connect_timeout: Duration,
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Duration,
    /// `max.in.flight.requests.per.connection`.
    pub in_flight_max: usize,
    /// `allow.auto.create.topics`, asked of the broker with every metadata request that names topics.
    pub topic_creation: TopicCreation,
}

/// Whom a client talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Brokers, found by Metadata.
    Brokers,
    /// Controllers, found by DescribeCluster (KIP-919).
    Controllers,
}

/// Whether asking for a topic's metadata may create the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicCreation {
    /// Where the broker allows it.
    Allowed,
    /// Never.
    Forbidden,
}

/// Waiting times that double with each failure, up to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// After many.
    pub most: Duration,
}

impl Backoff {
    /// The wait after the `failures`-th failure in a row (from 1), between 80 % and 120 % of it by `random`.
    #[must_use]
    pub fn wait(self, failures: u32, random: u64) -> Duration {
        let doubled =
            self.first.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let percent = u32::try_from(80 + random % 41).unwrap_or(100);
        doubled.min(self.most) * percent / 100
    }
}

impl Properties {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Sets a key, whatever it was.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Sets a key unless it is there.
    pub fn set_default(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(key.to_owned()).or_insert_with(|| value.into());
    }

    /// The value as a number of at least `least`, or `default`.
    ///
    /// # Errors
    /// The text is no such number.
    pub fn number(&self, key: &'static str, default: i64, least: i64) -> Result<i64, SettingsError> {
        let Some(text) = self.get(key) else { return Ok(default) };
        let why = if least > 0 { "must be a positive number" } else { "must be a number in range" };
        text.trim().parse().ok().filter(|&n: &i64| n >= least).ok_or_else(|| SettingsError::Invalid {
            key,
            value: text.to_owned(),
            why,
        })
    }

    /// The value as milliseconds, or `default`.
    ///
    /// # Errors
    /// The text is not a number from 0.
    pub fn millis(&self, key: &'static str, default: u64) -> Result<Duration, SettingsError> {
        let ms = self.number(key, i64::try_from(default).unwrap_or(i64::MAX), 0)?;
        Ok(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
    }

    /// The value as a truth, or `default`.
    ///
    /// # Errors
    /// The text is neither `true` nor `false`.
    pub fn truth(&self, key: &'static str, default: bool) -> Result<bool, SettingsError> {
        match self.get(key).map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => {
                Err(SettingsError::Invalid { key, value: other.to_owned(), why: "must be true or false" })
            }
        }
    }

    /// The keys that no Kafka client knows; Java warns of them and goes on.
    #[must_use]
    pub fn unknown_keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).filter(|key| !is_known(key)).collect()
    }
}

impl Address {
    /// Reads `host:port`, `[v6]:port`, with or without `PROTOCOL://` before it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.rsplit_once("://").map_or(text, |(_, rest)| rest).trim();
        let (host, port) = text.rsplit_once(':')?;
        let host = host.strip_prefix('[').map_or(Some(host), |rest| rest.strip_suffix(']'))?;
        let port = port.parse().ok()?;
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Settings {
    /// The settings in these properties.
    ///
    /// # Errors
    /// A value is malformed, or nothing says where the cluster is.
    pub fn from_properties(properties: &Properties) -> Result<Self, SettingsError> {
        match properties.get("security.protocol").map(str::to_ascii_uppercase).as_deref() {
            None | Some("PLAINTEXT") => {}
            Some(other) => {
                return Err(SettingsError::Unsupported { key: "security.protocol", value: other.to_owned() });
            }
        }
        let (bootstrap, endpoint) = bootstrap(properties)?;
        let backoff = |first, first_default, most, most_default| {
            let first = properties.millis(first, first_default)?;
            Ok(Backoff { first, most: properties.millis(most, most_default)?.max(first) })
        };
        let allowed = properties.truth("allow.auto.create.topics", true)?;
        let in_flight = properties.number("max.in.flight.requests.per.connection", 5, 1)?;
        Ok(Self {
            bootstrap,
            endpoint,
            client_id: properties.get("client.id").unwrap_or("").to_owned(),
            rack: properties.get("client.rack").unwrap_or("").to_owned(),
            request_timeout: properties.millis("request.timeout.ms", 30_000)?,
            api_timeout: properties.millis("default.api.timeout.ms", 60_000)?,
            retry_backoff: backoff("retry.backoff.ms", 100, "retry.backoff.max.ms", 1_000)?,
            reconnect_backoff: backoff("reconnect.backoff.ms", 50, "reconnect.backoff.max.ms", 1_000)?,
            connect_timeout: properties.millis("socket.connection.setup.timeout.ms", 10_000)?,
            metadata_max_age: properties.millis("metadata.max.age.ms", 300_000)?,
            in_flight_max: usize::try_from(in_flight).unwrap_or(5),
            topic_creation: if allowed { TopicCreation::Allowed } else { TopicCreation::Forbidden },
        })
    }
}

fn bootstrap(properties: &Properties) -> Result<(Vec<Address>, Endpoint), SettingsError> {
    let (servers, endpoint) =
        match (properties.get("bootstrap.servers"), properties.get("bootstrap.controllers")) {
            (Some(servers), _) => (servers, Endpoint::Brokers),
            (None, controllers) => (controllers.unwrap_or(""), Endpoint::Controllers),
        };
    let words: Vec<&str> = servers.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Err(SettingsError::NoBootstrap);
    }
    let read =
        |word: &&str| Address::parse(word).ok_or_else(|| SettingsError::BadAddress((*word).to_owned()));
    Ok((words.iter().map(read).collect::<Result<_, _>>()?, endpoint))
}

/// Every setting that one of Kafka's clients knows, whether it means something to us or not.
const KNOWN: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "auto.include.jmx.reporter",
    "auto.offset.reset",
    "batch.size",
    "bootstrap.controllers",
    "bootstrap.servers",
    "buffer.memory",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "config.providers",
    "connections.max.idle.ms",
    "default.api.timeout.ms",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.idempotence",
    "enable.metrics.push",
    "exclude.internal.topics",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "interceptor.classes",
    "isolation.level",
    "key.deserializer",
    "key.serializer",
    "linger.ms",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.poll.records",
    "max.request.size",
    "metadata.max.age.ms",
    "metadata.max.idle.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "partition.assignment.strategy",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    "partitioner.class",
    "partitioner.ignore.keys",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "security.protocol",
    "security.providers",
    "send.buffer.bytes",
    "session.timeout.ms",
    "share.acknowledgement.mode",
    "share.acquire.mode",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
    "transaction.timeout.ms",
    "transaction.two.phase.commit.enable",
    "transactional.id",
    "value.deserializer",
    "value.serializer",
];

fn is_known(key: &str) -> bool {
    KNOWN.contains(&key) || key.starts_with("ssl.") || key.starts_with("sasl.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_plain_bracketed_and_with_a_protocol() {
        let parsed = |text| Address::parse(text).map(|a| a.to_string());
        assert_eq!(parsed("localhost:9092").as_deref(), Some("localhost:9092"));
        assert_eq!(parsed("[::1]:9092").as_deref(), Some("[::1]:9092"));
        assert_eq!(parsed("PLAINTEXT://h:1").as_deref(), Some("h:1"));
        for bad in ["localhost", "h:", ":9092", "h:99999", "[::1:9"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn defaults_are_javas_and_bad_values_are_refused_by_name() {
        let mut properties = Properties::default();
        assert_eq!(Settings::from_properties(&properties), Err(SettingsError::NoBootstrap));
        properties.set("bootstrap.servers", "a:1, b:2,");
        let settings = Settings::from_properties(&properties).unwrap();
        assert_eq!(settings.bootstrap.len(), 2);
        assert_eq!(settings.request_timeout, Duration::from_secs(30));
        properties.set("request.timeout.ms", "soon");
        assert!(
            Settings::from_properties(&properties).unwrap_err().to_string().contains("request.timeout.ms")
        );
    }

    #[test]
    fn unknown_keys_are_named_and_prefixed_ones_are_not() {
        let mut properties = Properties::default();
        for key in ["bootstrap.servers", "foo", "ssl.anything", "acks"] {
            properties.set(key, "1");
        }
        assert_eq!(properties.unknown_keys(), ["foo"]);
    }

    #[test]
    fn backoff_doubles_up_to_its_limit_and_strays_by_a_fifth() {
        let backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(1) };
        for (failures, base) in [(1, 100), (2, 200), (4, 800), (5, 1000), (60, 1000)] {
            for random in 0..100 {
                let wait = backoff.wait(failures, random).as_millis();
                assert!((base * 80 / 100..=base * 120 / 100).contains(&wait), "{failures} {wait}");
            }
        }
    }
}
