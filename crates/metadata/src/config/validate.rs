//! Whether the values set on a topic, a group, a client-metrics subscription or a broker go together.
//!
//! Each function takes all values the resource would have afterwards. The texts are those users of Kafka see.

use std::collections::BTreeMap;

use ottla_protocol::Refusal;

use super::key::{Dynamic, Scope};
use super::parse::{ConfigError, Value, parse, split_list};
use super::settings::{Overrides, Settings, base_name};
use super::{find, keys};

/// A refusal with its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejected {
    /// The error code.
    pub refusal: Refusal,
    /// The text.
    pub message: String,
}

impl Rejected {
    /// A refusal with this text.
    #[must_use]
    pub fn new(refusal: Refusal, message: impl Into<String>) -> Self {
        Self { refusal, message: message.into() }
    }
}

impl From<ConfigError> for Rejected {
    fn from(error: ConfigError) -> Self {
        Self::new(Refusal::InvalidConfig, error.0)
    }
}

fn invalid(message: impl Into<String>) -> Rejected {
    Rejected::new(Refusal::InvalidConfig, message)
}

/// Checks all values of a topic; `existing` are those it had before.
///
/// # Errors
/// The first reason why they cannot be.
pub fn topic(settings: &Settings, existing: &Overrides, new: &Overrides) -> Result<(), Rejected> {
    for (name, text) in new {
        let key =
            find(Scope::Topic, name).ok_or_else(|| invalid(format!("Unknown topic config name: {name}")))?;
        parse(key, text)?;
    }
    let values = settings.topic(new);
    let (least, most) = (values.long("min.compaction.lag.ms"), values.long("max.compaction.lag.ms"));
    if least > most {
        return Err(invalid(format!(
            "conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
        )));
    }
    if values.boolean("remote.storage.enable") {
        return remote_storage(settings, new);
    }
    let was_remote =
        existing.get("remote.storage.enable").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    if was_remote && !values.boolean("remote.log.delete.on.disable") {
        return Err(invalid(
            "It is invalid to disable remote storage without deleting remote data. If you want to keep the \
             remote data and turn to read only, please set `remote.storage.enable=true,\
             remote.log.copy.disable=true`. If you want to disable remote storage and delete all remote data, \
             please set `remote.storage.enable=false,remote.log.delete.on.disable=true`.",
        ));
    }
    Ok(())
}

fn remote_storage(settings: &Settings, new: &Overrides) -> Result<(), Rejected> {
    let values = settings.topic(new);
    if !settings.node().boolean("remote.log.storage.system.enable") {
        return Err(invalid(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote \
             log storage.",
        ));
    }
    let policy = values.list("cleanup.policy");
    if !policy.is_empty() && policy != ["delete"] {
        return Err(invalid(
            "Remote log storage only supports topics with cleanup.policy=delete or cleanup.policy being an \
             empty list.",
        ));
    }
    for unit in ["bytes", "ms"] {
        let (whole, local) = (format!("retention.{unit}"), format!("local.retention.{unit}"));
        let lag = format!("remote.copy.lag.{unit}");
        local_retention(&whole, values.long(&whole), &local, values.long(&local))?;
        let kept = match values.long(&local) {
            -2 => values.long(&whole),
            kept => kept,
        };
        let behind = values.long(&lag);
        if behind > 0 && kept >= 0 && behind > kept {
            let reason = format!("Value must not exceed {local} (effective value: {kept})");
            return Err(ConfigError::invalid(&lag, behind, &reason).into());
        }
        let local_value = values.long(&local);
        if values.boolean("remote.log.copy.disable")
            && local_value != -2
            && local_value != values.long(&whole)
        {
            return Err(invalid(format!(
                "When `remote.log.copy.disable` is set to true, the `{local}` and `{whole}` must be set to \
                 the identical value because there will be no more logs copied to the remote storage."
            )));
        }
    }
    Ok(())
}

fn local_retention(whole: &str, whole_value: i64, local: &str, local_value: i64) -> Result<(), ConfigError> {
    if whole_value < 0 || local_value == -2 {
        return Ok(());
    }
    if local_value == -1 {
        let reason = format!("Value must not be -1 as {whole} value is set as {whole_value}.");
        return Err(ConfigError::invalid(local, local_value, &reason));
    }
    if local_value > whole_value {
        let reason = format!("Value must not be more than {whole} property value: {whole_value}");
        return Err(ConfigError::invalid(local, local_value, &reason));
    }
    Ok(())
}

/// The bounds brokers set to keys of groups: key, least, most.
const GROUP_BOUNDS: &[(&str, Option<&str>, Option<&str>)] = &[
    (
        "consumer.heartbeat.interval.ms",
        Some("group.consumer.min.heartbeat.interval.ms"),
        Some("group.consumer.max.heartbeat.interval.ms"),
    ),
    (
        "consumer.session.timeout.ms",
        Some("group.consumer.min.session.timeout.ms"),
        Some("group.consumer.max.session.timeout.ms"),
    ),
    (
        "consumer.assignment.interval.ms",
        Some("group.consumer.min.assignment.interval.ms"),
        Some("group.consumer.max.assignment.interval.ms"),
    ),
    (
        "share.heartbeat.interval.ms",
        Some("group.share.min.heartbeat.interval.ms"),
        Some("group.share.max.heartbeat.interval.ms"),
    ),
    (
        "share.session.timeout.ms",
        Some("group.share.min.session.timeout.ms"),
        Some("group.share.max.session.timeout.ms"),
    ),
    (
        "share.record.lock.duration.ms",
        Some("group.share.min.record.lock.duration.ms"),
        Some("group.share.max.record.lock.duration.ms"),
    ),
    (
        "share.delivery.count.limit",
        Some("group.share.min.delivery.count.limit"),
        Some("group.share.max.delivery.count.limit"),
    ),
    (
        "share.partition.max.record.locks",
        Some("group.share.min.partition.max.record.locks"),
        Some("group.share.max.partition.max.record.locks"),
    ),
    (
        "share.assignment.interval.ms",
        Some("group.share.min.assignment.interval.ms"),
        Some("group.share.max.assignment.interval.ms"),
    ),
    (
        "streams.heartbeat.interval.ms",
        Some("group.streams.min.heartbeat.interval.ms"),
        Some("group.streams.max.heartbeat.interval.ms"),
    ),
    (
        "streams.session.timeout.ms",
        Some("group.streams.min.session.timeout.ms"),
        Some("group.streams.max.session.timeout.ms"),
    ),
    ("streams.num.standby.replicas", None, Some("group.streams.max.standby.replicas")),
    (
        "streams.assignment.interval.ms",
        Some("group.streams.min.assignment.interval.ms"),
        Some("group.streams.max.assignment.interval.ms"),
    ),
    ("streams.task.offset.interval.ms", Some("group.streams.min.task.offset.interval.ms"), None),
    ("streams.num.warmup.replicas", None, Some("group.streams.max.warmup.replicas")),
];

/// Checks all values of a group.
///
/// # Errors
/// The first reason why they cannot be.
pub fn group(settings: &Settings, new: &Overrides) -> Result<(), Rejected> {
    for (name, text) in new {
        let key =
            find(Scope::Group, name).ok_or_else(|| invalid(format!("Unknown group config name: {name}")))?;
        parse(key, text)?;
    }
    let values = settings.group(new);
    let node = settings.node();
    for (name, least, most) in GROUP_BOUNDS.iter().filter(|(name, ..)| new.contains_key(*name)) {
        let value = values.long(name);
        let (least, most) = (least.map(|key| node.long(key)), most.map(|key| node.long(key)));
        let fits = least.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most);
        if fits {
            continue;
        }
        return Err(invalid(match (least, most) {
            (Some(least), Some(most)) => format!("{name} must be in the range {least} to {most} inclusive."),
            (None, Some(most)) => format!("{name} must be less than or equal to {most}"),
            (least, None) => format!("{name} must be greater than or equal to {}", least.unwrap_or(0)),
        }));
    }
    for kind in ["consumer", "share", "streams"] {
        let (session, beat) = (format!("{kind}.session.timeout.ms"), format!("{kind}.heartbeat.interval.ms"));
        let touched = new.contains_key(&session) || new.contains_key(&beat);
        if touched && values.long(&session) <= values.long(&beat) {
            return Err(invalid(format!("{session} must be greater than {beat}")));
        }
    }
    group_names(settings, new)
}

fn group_names(settings: &Settings, new: &Overrides) -> Result<(), Rejected> {
    if let Some(assignor) = new.get("streams.assignor.name") {
        let registered = settings.node().list("group.streams.assignors");
        if !registered.iter().any(|name| name == assignor) {
            return Err(invalid(format!(
                "streams.assignor.name '{assignor}' is not a registered task assignor. Registered assignors \
                 are: [{}].",
                registered.join(", ")
            )));
        }
    }
    if let Some(text) = new.get("streams.rack.aware.assignment.tags") {
        let mut tags = split_list(text);
        let count = tags.len();
        tags.sort();
        tags.dedup();
        if tags.len() != count {
            return Err(invalid("streams.rack.aware.assignment.tags must not contain duplicate tag keys."));
        }
    }
    if new.get("errors.deadletterqueue.topic.name").is_some_and(|name| name.trim().starts_with("__")) {
        return Err(invalid("errors.deadletterqueue.topic.name: DLQ topic name must not start with '__'"));
    }
    Ok(())
}

/// Checks all values of a subscription of client metrics.
///
/// # Errors
/// The first reason why they cannot be.
pub fn client_metrics(name: &str, new: &Overrides) -> Result<(), Rejected> {
    let refuse = |message: String| Rejected::new(Refusal::InvalidRequest, message);
    if name.is_empty() {
        return Err(refuse("Subscription name can't be empty".to_owned()));
    }
    for (name, text) in new {
        let key = find(Scope::ClientMetrics, name)
            .ok_or_else(|| refuse(format!("Unknown client metrics configuration: {name}")))?;
        match (key.name, parse(key, text)?) {
            ("interval.ms", Value::Int(interval)) if !(100..=3_600_000).contains(&interval) => {
                return Err(refuse(format!(
                    "Invalid value {interval} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
                )));
            }
            ("match", Value::List(patterns)) => {
                if let Some(pattern) = patterns.iter().find(|pattern| !is_client_pattern(pattern)) {
                    return Err(invalid(format!("Illegal client matching pattern: {pattern}")));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_client_pattern(pattern: &str) -> bool {
    let known = [
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    ];
    pattern.split_once('=').is_some_and(|(name, value)| {
        known.contains(&name.trim()) && !value.is_empty() && !value.contains('=')
    })
}

/// For whom a dynamic value of brokers is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One broker.
    OneBroker,
    /// All of them.
    AllBrokers,
}

/// Security keys that may change at run time for single listeners only.
const LISTENER_ONLY: &[&str] = &[
    "ssl.keystore.type",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.key.password",
    "ssl.truststore.type",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.truststore.certificates",
];

/// Checks all dynamic values of one broker, or of the cluster's default.
///
/// # Errors
/// If a key cannot change at run time, not there, or not to this.
pub fn broker(new: &Overrides, target: Target) -> Result<(), Rejected> {
    let names = |fits: &dyn Fn(&str) -> bool| -> Vec<&str> {
        new.keys().map(String::as_str).filter(|name| fits(name)).collect()
    };
    let mode = |name: &str| find(Scope::Broker, name).map(|key| key.dynamic);
    let fixed = names(&|name| mode(name) == Some(Dynamic::ReadOnly));
    complain("Cannot update these configs dynamically", &fixed)?;
    let bare = names(&|name| LISTENER_ONLY.contains(&name));
    complain(
        "These security configs can be dynamically updated only per-listener using the listener prefix",
        &bare,
    )?;
    for (name, text) in new {
        if let Some(key) = find(Scope::Broker, base_name(name)) {
            parse(key, text)?;
        }
    }
    if target == Target::AllBrokers {
        let single = names(&|name| {
            let cluster_wide = mode(base_name(name)) == Some(Dynamic::ClusterWide);
            mode(name) == Some(Dynamic::PerBroker) || (base_name(name) != name && !cluster_wide)
        });
        complain(
            "Cannot update these configs at default cluster level, broker id must be specified",
            &single,
        )?;
    }
    Ok(())
}

fn complain(reason: &str, names: &[&str]) -> Result<(), Rejected> {
    if names.is_empty() { Ok(()) } else { Err(invalid(format!("{reason}: [{}]", names.join(", ")))) }
}

/// The keys of brokers that may change at run time, with their mode, by name.
#[must_use]
pub fn dynamic_broker_keys() -> BTreeMap<&'static str, Dynamic> {
    keys(Scope::Broker)
        .filter(|key| key.dynamic != Dynamic::ReadOnly)
        .map(|key| (key.name, key.dynamic))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn topic_error(pairs: &[(&str, &str)]) -> String {
        topic(&Settings::default(), &Overrides::new(), &map(pairs)).unwrap_err().message
    }

    #[test]
    fn topics() {
        assert_eq!(topic(&Settings::default(), &Overrides::new(), &map(&[("retention.ms", "1")])), Ok(()));
        assert_eq!(topic_error(&[("retention.mss", "1")]), "Unknown topic config name: retention.mss");
        assert_eq!(
            topic_error(&[("min.compaction.lag.ms", "5"), ("max.compaction.lag.ms", "4")]),
            "conflict topic config setting min.compaction.lag.ms (5) > max.compaction.lag.ms (4)"
        );
        assert!(
            topic_error(&[("remote.storage.enable", "true")]).starts_with("Tiered Storage functionality")
        );
    }

    #[test]
    fn remote_topics() {
        let settings = Settings::new(map(&[("remote.log.storage.system.enable", "true")])).unwrap();
        let check = |pairs: &[(&str, &str)]| {
            let mut all = map(pairs);
            all.insert("remote.storage.enable".to_owned(), "true".to_owned());
            topic(&settings, &Overrides::new(), &all).map_err(|e| e.message)
        };
        assert_eq!(check(&[]), Ok(()));
        assert!(check(&[("cleanup.policy", "compact")]).is_err());
        assert_eq!(
            check(&[("retention.ms", "10"), ("local.retention.ms", "11")]).unwrap_err(),
            "Invalid value 11 for configuration local.retention.ms: Value must not be more than retention.ms \
             property value: 10"
        );
        assert!(check(&[("retention.bytes", "10"), ("local.retention.bytes", "-1")]).is_err());
        assert!(check(&[("retention.ms", "10"), ("remote.copy.lag.ms", "11")]).is_err());
        let was = map(&[("remote.storage.enable", "true")]);
        assert!(topic(&settings, &was, &Overrides::new()).is_err());
        assert!(topic(&settings, &was, &map(&[("remote.log.delete.on.disable", "true")])).is_ok());
    }

    #[test]
    fn groups() {
        let check = |pairs: &[(&str, &str)]| group(&Settings::default(), &map(pairs)).map_err(|e| e.message);
        assert_eq!(check(&[("consumer.session.timeout.ms", "50000")]), Ok(()));
        assert_eq!(
            check(&[("consumer.session.timeout.ms", "1000")]).unwrap_err(),
            "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive."
        );
        assert_eq!(check(&[("a", "1")]).unwrap_err(), "Unknown group config name: a");
        assert!(check(&[("streams.num.standby.replicas", "3")]).is_err());
        assert!(check(&[("streams.assignor.name", "x")]).is_err());
        assert!(check(&[("streams.rack.aware.assignment.tags", "a,a")]).is_err());
        assert!(check(&[("errors.deadletterqueue.topic.name", "__x")]).is_err());
    }

    #[test]
    fn subscriptions_of_client_metrics() {
        let check = |pairs: &[(&str, &str)]| client_metrics("s", &map(pairs)).map_err(|e| e.refusal);
        assert_eq!(check(&[("interval.ms", "100"), ("metrics", "*"), ("match", "client_id=a.*")]), Ok(()));
        assert_eq!(check(&[("interval.ms", "99")]), Err(Refusal::InvalidRequest));
        assert_eq!(check(&[("match", "client=a")]), Err(Refusal::InvalidConfig));
        assert_eq!(check(&[("x", "a")]), Err(Refusal::InvalidRequest));
    }

    #[test]
    fn brokers() {
        let check = |pairs: &[(&str, &str)], target| broker(&map(pairs), target).map_err(|e| e.message);
        assert_eq!(check(&[("num.io.threads", "4")], Target::AllBrokers), Ok(()));
        assert_eq!(
            check(&[("node.id", "4")], Target::OneBroker).unwrap_err(),
            "Cannot update these configs dynamically: [node.id]"
        );
        assert!(check(&[("ssl.keystore.location", "/k")], Target::OneBroker).is_err());
        assert_eq!(check(&[("listener.name.a.ssl.keystore.location", "/k")], Target::OneBroker), Ok(()));
        assert_eq!(
            check(&[("listener.name.a.ssl.keystore.location", "/k")], Target::AllBrokers).unwrap_err(),
            "Cannot update these configs at default cluster level, broker id must be specified: \
             [listener.name.a.ssl.keystore.location]"
        );
        assert_eq!(check(&[("listener.name.a.max.connections", "5")], Target::AllBrokers), Ok(()));
        assert!(check(&[("num.io.threads", "0")], Target::OneBroker).is_err());
        assert_eq!(check(&[("somebody.elses.key", "0")], Target::OneBroker), Ok(()));
    }
}
