//! Effective values: what a node's file says, what was changed at run time, what a topic or group says of itself.
//!
//! Precedence is Kafka's: the resource's own value, then the dynamic value for this broker, then the dynamic
//! default of the cluster, then the file, then the preset; within each of the middle three the synonyms in order.
//! A stored value that the table refuses is passed over, never trusted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::find;
use super::key::{Key, Preset, Scope, Synonym, Unit};
use super::parse::{ConfigError, Value, parse, preset};

/// Values set on one resource, by key.
pub type Overrides = BTreeMap<String, String>;

/// Where an effective value comes from, with Kafka's number in DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set at run time for this broker.
    DynamicBroker = 2,
    /// Set at run time for all brokers.
    DynamicDefaultBroker = 3,
    /// Set in the file.
    StaticBroker = 4,
    /// Set by nobody.
    Default = 5,
    /// Set on a logger of the broker.
    DynamicBrokerLogger = 6,
    /// Set on the subscription of client metrics.
    ClientMetrics = 7,
    /// Set on the group.
    Group = 8,
}

/// What one node knows of its configuration. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    file: Arc<Overrides>,
    cluster: Arc<Overrides>,
    broker: Arc<Overrides>,
}

impl Settings {
    /// Settings of a file (with overrides and environment already merged in), without dynamic values.
    ///
    /// # Errors
    /// If a value in the file is not of its key's type or range.
    pub fn new(mut file: Overrides) -> Result<Self, ConfigError> {
        for (one, other) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
            if let (Some(value), false) = (file.get(one).cloned(), file.contains_key(other)) {
                file.insert(other.to_owned(), value);
            }
        }
        for (name, text) in &file {
            if let Some(key) = find(Scope::Broker, base_name(name)) {
                parse(key, text)?;
            }
        }
        Ok(Self { file: Arc::new(file), ..Self::default() })
    }

    /// The same file with other dynamic values: the cluster's default and those for this broker.
    #[must_use]
    pub fn with_dynamic(&self, cluster: Overrides, broker: Overrides) -> Self {
        Self { file: self.file.clone(), cluster: Arc::new(cluster), broker: Arc::new(broker) }
    }

    /// What the file says, with its spelling.
    #[must_use]
    pub fn file(&self) -> &Overrides {
        &self.file
    }

    /// The cluster's dynamic default.
    #[must_use]
    pub fn cluster_dynamic(&self) -> &Overrides {
        &self.cluster
    }

    /// The dynamic values for this broker.
    #[must_use]
    pub fn broker_dynamic(&self) -> &Overrides {
        &self.broker
    }

    /// Keys of the file that Kafka does not know either; they are carried and warned of.
    pub fn unknown_keys(&self) -> impl Iterator<Item = &str> {
        self.file.keys().map(String::as_str).filter(|name| {
            find(Scope::Broker, base_name(name)).is_none() && find(Scope::Topic, name).is_none()
        })
    }

    /// The node's own values.
    #[must_use]
    pub fn node(&self) -> Resolved<'_> {
        Resolved { settings: self, scope: Scope::Broker, own: None, prefixes: Vec::new() }
    }

    /// The node's values as one listener (and one SASL mechanism) sees them: `listener.name.…` keys come first.
    #[must_use]
    pub fn listener(&self, listener: &str, mechanism: Option<&str>) -> Resolved<'_> {
        let listener = format!("listener.name.{}.", listener.to_lowercase());
        let mut prefixes = vec![listener.clone()];
        if let Some(mechanism) = mechanism {
            prefixes.insert(0, format!("{listener}{}.", mechanism.to_lowercase()));
        }
        Resolved { settings: self, scope: Scope::Broker, own: None, prefixes }
    }

    /// The values of a topic.
    #[must_use]
    pub fn topic<'a>(&'a self, own: &'a Overrides) -> Resolved<'a> {
        Resolved { settings: self, scope: Scope::Topic, own: Some(own), prefixes: Vec::new() }
    }

    /// The values of a group.
    #[must_use]
    pub fn group<'a>(&'a self, own: &'a Overrides) -> Resolved<'a> {
        Resolved { settings: self, scope: Scope::Group, own: Some(own), prefixes: Vec::new() }
    }

    /// The values of a subscription of client metrics.
    #[must_use]
    pub fn client_metrics<'a>(&'a self, own: &'a Overrides) -> Resolved<'a> {
        Resolved { settings: self, scope: Scope::ClientMetrics, own: Some(own), prefixes: Vec::new() }
    }

    pub(super) fn layers(&self) -> [(&Overrides, Source); 3] {
        [
            (&self.broker, Source::DynamicBroker),
            (&self.cluster, Source::DynamicDefaultBroker),
            (&self.file, Source::StaticBroker),
        ]
    }
}

/// The key's name without a `listener.name.<listener>.` (and mechanism) in front of it.
#[must_use]
pub fn base_name(name: &str) -> &str {
    let Some((_, base)) = name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.')) else {
        return name;
    };
    let mechanism_keys = [
        "sasl.jaas.config",
        "sasl.login.callback.handler.class",
        "sasl.login.class",
        "sasl.server.callback.handler.class",
        "connections.max.reauth.ms",
    ];
    mechanism_keys.into_iter().find(|key| base.ends_with(key)).unwrap_or(base)
}

/// Effective values of one resource. The typed getters take a key of the table, and fail loudly on any other name,
/// since names are written in the code, never taken from a request.
#[derive(Clone, Debug)]
pub struct Resolved<'a> {
    settings: &'a Settings,
    scope: Scope,
    own: Option<&'a Overrides>,
    prefixes: Vec<String>,
}

impl Resolved<'_> {
    /// The effective value; `None` is Kafka's null.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        let key = find(self.scope, name);
        assert!(key.is_some(), "no key {name} in {:?}", self.scope);
        self.effective(key?)
    }

    /// The effective value of a key.
    pub(super) fn effective(&self, key: &Key) -> Option<Value> {
        let own = self.own.and_then(|own| own.get(key.name));
        if let Some(value) = own.and_then(|text| parse(key, text).ok()) {
            return Some(value);
        }
        for prefix in &self.prefixes {
            let name = format!("{prefix}{}", key.name);
            let found = self.settings.layers().into_iter().find_map(|(layer, _)| layer.get(&name));
            if let Some(value) = found.and_then(|text| parse(key, text).ok()) {
                return Some(value);
            }
        }
        let itself = [Synonym::same("")];
        let synonyms = if self.scope == Scope::Broker { &itself[..] } else { key.synonyms };
        for (layer, _) in self.settings.layers() {
            for synonym in synonyms {
                let broker_key =
                    if self.scope == Scope::Broker { Some(key) } else { find(Scope::Broker, synonym.name) };
                let found = broker_key.and_then(|broker_key| stand_in(key, broker_key, synonym.unit, layer));
                if found.is_some() {
                    return found;
                }
            }
        }
        match key.preset {
            Preset::Required => None,
            _ => preset(key).ok().flatten(),
        }
    }

    /// Where the effective value of a key of a topic or group is set.
    #[must_use]
    pub fn source(&self, name: &str) -> Source {
        let own = match self.scope {
            Scope::Topic => Source::Topic,
            Scope::Group => Source::Group,
            Scope::ClientMetrics => Source::ClientMetrics,
            Scope::Broker => Source::Default,
        };
        if self.own.is_some_and(|overrides| overrides.contains_key(name)) {
            return own;
        }
        let synonyms = find(self.scope, name).map_or(&[][..], |key| key.synonyms);
        let set = |layer: &Overrides| synonyms.iter().any(|synonym| layer.contains_key(synonym.name));
        let layer = self.settings.layers().into_iter().find(|(layer, _)| set(layer));
        layer.map_or(Source::Default, |(_, source)| source)
    }

    /// A boolean.
    #[must_use]
    pub fn boolean(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Boolean(value)) => value,
            other => unfit(name, other.as_ref()),
        }
    }

    /// A whole number of any size.
    #[must_use]
    pub fn long(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Int(value)) => i64::from(value),
            Some(Value::Short(value)) => i64::from(value),
            Some(Value::Long(value)) => value,
            other => unfit(name, other.as_ref()),
        }
    }

    /// A 32-bit number.
    #[must_use]
    pub fn int(&self, name: &str) -> i32 {
        match self.value(name) {
            Some(Value::Int(value)) => value,
            Some(Value::Short(value)) => i32::from(value),
            other => unfit(name, other.as_ref()),
        }
    }

    /// A number that must not be negative; a negative one counts as 0.
    #[must_use]
    pub fn size(&self, name: &str) -> usize {
        usize::try_from(self.long(name)).unwrap_or(0)
    }

    /// A floating-point number.
    #[must_use]
    pub fn double(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(Value::Double(value)) => value,
            other => unfit(name, other.as_ref()),
        }
    }

    /// Text, if there is any.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Some(Value::Text(value)) => Some(value),
            None => None,
            other => unfit(name, other.as_ref()),
        }
    }

    /// A list; empty where there is none.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(value)) => value,
            None => Vec::new(),
            other => unfit(name, other.as_ref()),
        }
    }
}

fn unfit(name: &str, value: Option<&Value>) -> ! {
    panic!("the key {name} was read as another type than its own: {value:?}")
}

/// The value of `key` that `layer` gives through one of its synonyms.
fn stand_in(key: &Key, broker_key: &Key, unit: Unit, layer: &Overrides) -> Option<Value> {
    let value = parse(broker_key, layer.get(broker_key.name)?).ok()?;
    let factor = match unit {
        Unit::Same => 1,
        Unit::Minutes => 60_000,
        Unit::Hours => 3_600_000,
    };
    let number = match (&value, key.kind) {
        (Value::List(list), super::Kind::String) => return list.first().cloned().map(Value::Text),
        (Value::Int(number), super::Kind::Long) => i64::from(*number).saturating_mul(factor),
        (Value::Long(number), super::Kind::Long) => *number,
        _ => return Some(value),
    };
    // Any negative retention means "for ever", and the topic's key knows one spelling of that only.
    let number = if key.name == "retention.ms" && number < 0 { -1 } else { number };
    parse(key, &number.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_nearest_value_wins() {
        let none = Overrides::new();
        let own = map(&[("retention.ms", "1")]);
        let file =
            Settings::new(map(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")])).unwrap();
        assert_eq!(Settings::default().topic(&none).long("retention.ms"), 604_800_000);
        assert_eq!(file.topic(&none).long("retention.ms"), 180_000);
        assert_eq!(file.topic(&own).long("retention.ms"), 1);
        let cluster = file.with_dynamic(map(&[("log.retention.ms", "4")]), none.clone());
        assert_eq!(cluster.topic(&none).long("retention.ms"), 4);
        let broker = file.with_dynamic(map(&[("log.retention.ms", "4")]), map(&[("log.retention.ms", "5")]));
        assert_eq!(broker.topic(&none).long("retention.ms"), 5);
        assert_eq!(broker.topic(&own).long("retention.ms"), 1);
    }

    #[test]
    fn negative_hours_are_for_ever() {
        let settings = Settings::new(map(&[("log.retention.hours", "-1")])).unwrap();
        assert_eq!(settings.topic(&Overrides::new()).long("retention.ms"), -1);
    }

    #[test]
    fn every_topic_preset_agrees_with_its_broker_key() {
        let none = Overrides::new();
        for key in super::super::keys(Scope::Topic) {
            let Some(first) = key.synonyms.first() else { continue };
            let Some(Preset::Text(text)) = find(Scope::Broker, first.name).map(|key| key.preset) else {
                continue;
            };
            let through_file = Settings::new(map(&[(first.name, text)])).unwrap();
            let default = Settings::default();
            assert_eq!(
                default.topic(&none).value(key.name),
                through_file.topic(&none).value(key.name),
                "{}",
                key.name
            );
        }
    }

    #[test]
    fn synonyms_are_keys_of_brokers() {
        for scope in [Scope::Broker, Scope::Topic, Scope::Group] {
            for synonym in super::super::keys(scope).flat_map(|key| key.synonyms) {
                assert!(find(Scope::Broker, synonym.name).is_some(), "{}", synonym.name);
            }
        }
    }

    #[test]
    fn a_stored_value_that_makes_no_sense_is_passed_over() {
        let settings = Settings::default().with_dynamic(map(&[("num.io.threads", "many")]), Overrides::new());
        assert_eq!(settings.node().int("num.io.threads"), 8);
        assert_eq!(settings.topic(&map(&[("segment.bytes", "x")])).int("segment.bytes"), 1_073_741_824);
    }

    #[test]
    fn a_listener_has_values_of_its_own() {
        let settings = Settings::new(map(&[
            ("ssl.client.auth", "requested"),
            ("listener.name.outside.ssl.client.auth", "required"),
            ("listener.name.outside.scram-sha-256.sasl.jaas.config", "x"),
        ]))
        .unwrap();
        assert_eq!(settings.node().text("ssl.client.auth").unwrap(), "requested");
        assert_eq!(settings.listener("OUTSIDE", None).text("ssl.client.auth").unwrap(), "required");
        let jaas = settings.listener("OUTSIDE", Some("SCRAM-SHA-256")).text("sasl.jaas.config");
        assert_eq!(jaas.as_deref(), Some("x"));
        assert_eq!(settings.unknown_keys().count(), 0);
        assert!(Settings::new(map(&[("listener.name.outside.ssl.client.auth", "perhaps")])).is_err());
    }

    #[test]
    fn node_id_and_broker_id_stand_in_for_each_other() {
        assert_eq!(Settings::new(map(&[("broker.id", "4")])).unwrap().node().int("node.id"), 4);
        assert_eq!(Settings::new(map(&[("node.id", "4")])).unwrap().node().int("broker.id"), 4);
    }

    #[test]
    fn groups_follow_their_broker_keys() {
        let settings = Settings::new(map(&[("group.consumer.session.timeout.ms", "50000")])).unwrap();
        let none = Overrides::new();
        assert_eq!(settings.group(&none).int("consumer.session.timeout.ms"), 50_000);
        assert_eq!(settings.group(&none).text("streams.assignor.name"), None);
        let named = Settings::new(map(&[("group.streams.assignors", "a,b")])).unwrap();
        assert_eq!(named.group(&none).text("streams.assignor.name").as_deref(), Some("a"));
    }
}
