//! What a member of a group is told: Kafka's names and defaults.

use std::time::Duration;

use crate::assignor::Assignor;
use crate::settings::{Backoff, Properties, Settings, SettingsError};

/// Which protocol a member speaks: `group.protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The members assign.
    #[default]
    Classic,
    /// The broker assigns (KIP-848).
    Consumer,
}

/// How a member of a group behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.id`.
    pub id: String,
    /// `group.instance.id`: makes the member a static one (KIP-345).
    pub instance_id: Option<String>,
    /// `group.protocol`.
    pub protocol: GroupProtocol,
    /// `group.remote.assignor`: the broker's assignor that is wanted; its own choice where there is none.
    pub remote_assignor: Option<String>,
    /// `partition.assignment.strategy`, the most wanted first.
    pub assignors: Vec<Assignor>,
    /// `session.timeout.ms`.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`; under the consumer protocol the broker's.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: who is not heard of for so long leaves the group.
    pub max_poll_interval: Duration,
    /// `enable.auto.commit`, and `auto.commit.interval.ms` where it is so.
    pub auto_commit: Option<Duration>,
    /// `default.api.timeout.ms`: how long a commit is tried again.
    pub api_timeout: Duration,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub retry_backoff: Backoff,
    /// `client.rack`.
    pub rack: Option<String>,
    /// `exclude.internal.topics`: a pattern does not mean Kafka's own topics.
    pub exclude_internal: bool,
}

impl GroupSettings {
    /// The settings in these properties; `None` where they name no group.
    ///
    /// # Errors
    /// A value is malformed, or contradicts another.
    pub fn from_properties(properties: &Properties) -> Result<Option<Self>, SettingsError> {
        let Some(id) = properties.get("group.id") else {
            return match properties.truth("enable.auto.commit", false)? {
                true => Err(refuse(
                    properties,
                    "enable.auto.commit",
                    "cannot be set to true when default group id (null) is used.",
                )),
                false => Ok(None),
            };
        };
        if id.trim().is_empty() {
            return Err(refuse(properties, "group.id", "must not be empty"));
        }
        let common = Settings::from_properties(properties)?;
        let protocol = protocol(properties)?;
        let session_timeout = properties.millis("session.timeout.ms", 45_000)?;
        let heartbeat_interval = properties.millis("heartbeat.interval.ms", 3_000)?;
        if protocol == GroupProtocol::Classic && heartbeat_interval >= session_timeout {
            return Err(refuse(
                properties,
                "heartbeat.interval.ms",
                "must be set lower than the session timeout",
            ));
        }
        let auto_commit = properties.truth("enable.auto.commit", true)?;
        let interval = properties.millis("auto.commit.interval.ms", 5_000)?;
        let instance = properties.get("group.instance.id").map(str::to_owned);
        if instance.as_deref() == Some("") {
            return Err(refuse(properties, "group.instance.id", "must not be empty"));
        }
        Ok(Some(Self {
            id: id.to_owned(),
            instance_id: instance,
            protocol,
            remote_assignor: properties.get("group.remote.assignor").map(str::to_owned),
            assignors: assignors(properties)?,
            session_timeout,
            heartbeat_interval,
            max_poll_interval: properties.millis("max.poll.interval.ms", 300_000)?,
            auto_commit: auto_commit.then_some(interval),
            api_timeout: common.api_timeout,
            request_timeout: common.request_timeout,
            retry_backoff: common.retry_backoff,
            rack: Some(common.rack).filter(|rack| !rack.is_empty()),
            exclude_internal: properties.truth("exclude.internal.topics", true)?,
        }))
    }

    /// Whether members keep their partitions while they rebalance: only where every assignor can.
    #[must_use]
    pub fn is_cooperative(&self) -> bool {
        self.assignors.iter().all(|assignor| assignor.is_cooperative())
    }
}

fn refuse(properties: &Properties, key: &'static str, why: &'static str) -> SettingsError {
    SettingsError::Invalid { key, value: properties.get(key).unwrap_or_default().to_owned(), why }
}

fn protocol(properties: &Properties) -> Result<GroupProtocol, SettingsError> {
    let protocol = match properties.get("group.protocol").map(str::to_ascii_lowercase).as_deref() {
        None | Some("classic") => GroupProtocol::Classic,
        Some("consumer") => GroupProtocol::Consumer,
        Some(_) => return Err(refuse(properties, "group.protocol", "must be classic or consumer")),
    };
    let (strange, why): (&[&'static str], _) = match protocol {
        GroupProtocol::Classic => (&["group.remote.assignor"], "cannot be set when group.protocol=CLASSIC"),
        GroupProtocol::Consumer => (
            &["partition.assignment.strategy", "heartbeat.interval.ms", "session.timeout.ms"],
            "cannot be set when group.protocol=CONSUMER",
        ),
    };
    match strange.iter().find(|key| properties.get(key).is_some()) {
        Some(key) => Err(refuse(properties, key, why)),
        None => Ok(protocol),
    }
}

fn assignors(properties: &Properties) -> Result<Vec<Assignor>, SettingsError> {
    let key = "partition.assignment.strategy";
    let Some(text) = properties.get(key) else {
        return Ok(vec![Assignor::Range, Assignor::CooperativeSticky]);
    };
    let mut assignors = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let why = "must be range, roundrobin, sticky, cooperative-sticky, or Java's classes of that name";
        let assignor = Assignor::from_name(name).ok_or_else(|| refuse(properties, key, why))?;
        if assignors.contains(&assignor) {
            return Err(refuse(properties, key, "names an assignor twice"));
        }
        assignors.push(assignor);
    }
    match assignors.is_empty() {
        true => Err(refuse(properties, key, "names no assignor")),
        false => Ok(assignors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::properties;

    fn made_of(pairs: &[(&str, &str)]) -> Result<GroupSettings, SettingsError> {
        let mut all = vec![("group.id", "g")];
        all.extend_from_slice(pairs);
        GroupSettings::from_properties(&properties(&all)).map(|settings| settings.expect("a group is named"))
    }

    #[test]
    fn defaults_are_those_of_kafka_4() {
        let settings = made_of(&[]).unwrap();
        assert_eq!(settings.protocol, GroupProtocol::Classic);
        assert_eq!(settings.assignors, [Assignor::Range, Assignor::CooperativeSticky]);
        assert!(!settings.is_cooperative());
        assert_eq!(settings.session_timeout, Duration::from_secs(45));
        assert_eq!(settings.heartbeat_interval, Duration::from_secs(3));
        assert_eq!(settings.max_poll_interval, Duration::from_secs(300));
        assert_eq!(settings.auto_commit, Some(Duration::from_secs(5)));
    }

    #[test]
    fn without_a_group_there_is_nothing_to_commit_to() {
        let without = |pairs| GroupSettings::from_properties(&properties(pairs));
        assert_eq!(without(&[]), Ok(None));
        assert_eq!(without(&[("enable.auto.commit", "false")]), Ok(None));
        assert!(without(&[("enable.auto.commit", "true")]).is_err());
        assert!(without(&[("group.id", "")]).is_err());
    }

    #[test]
    fn settings_of_the_other_protocol_are_refused() {
        assert!(made_of(&[("group.remote.assignor", "uniform")]).is_err());
        for key in ["partition.assignment.strategy", "heartbeat.interval.ms", "session.timeout.ms"] {
            assert!(made_of(&[("group.protocol", "CONSUMER"), (key, "range")]).is_err(), "{key}");
        }
        let settings =
            made_of(&[("group.protocol", "consumer"), ("group.remote.assignor", "range")]).unwrap();
        assert_eq!(settings.remote_assignor.as_deref(), Some("range"));
    }

    #[test]
    fn assignors_are_named_as_in_java() {
        let key = "partition.assignment.strategy";
        let java = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
        assert!(made_of(&[(key, java)]).unwrap().is_cooperative());
        assert_eq!(made_of(&[(key, "roundrobin, sticky")]).unwrap().assignors.len(), 2);
        for bad in ["", "fair", "range,range"] {
            assert!(made_of(&[(key, bad)]).is_err(), "{bad}");
        }
    }
}
