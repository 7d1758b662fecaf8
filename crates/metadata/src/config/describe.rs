//! The rows of DescribeConfigs: every key of a resource with its effective value, where it comes from, and which
//! other values stand behind it.
//!
//! Kafka's quirk is kept: a topic's key whose value comes from the second synonym (hours, not milliseconds) is
//! said to have the default source.

use super::key::{Dynamic, Key, Scope};
use super::parse::{Value, preset};
use super::settings::{Overrides, Resolved, Settings, Source, base_name};
use super::{find, keys};

/// A value that stands behind an effective one, or is it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SynonymRow {
    /// The key it is set under.
    pub name: String,
    /// The value; `None` where it is secret.
    pub value: Option<String>,
    /// Where it is set.
    pub source: Source,
}

/// One key as DescribeConfigs shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub name: String,
    /// The effective value; `None` where there is none or it is secret.
    pub value: Option<String>,
    /// Whether it can change at run time.
    pub read_only: bool,
    /// Where the effective value is set.
    pub source: Source,
    /// Whether the value is secret.
    pub sensitive: bool,
    /// All values behind it, the effective one first.
    pub synonyms: Vec<SynonymRow>,
    /// Kafka's number of the type; 0 is unknown.
    pub kind: i8,
    /// What the key means; `None` for keys the table does not have.
    pub documentation: Option<&'static str>,
}

impl Row {
    /// Whether nobody set the value (the field of DescribeConfigs version 0).
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.source == Source::Default
    }
}

/// The keys of a topic.
#[must_use]
pub fn topic(settings: &Settings, own: &Overrides) -> Vec<Row> {
    let shown = |key: &&Key| !key.is_internal() || own.contains_key(key.name);
    let values = settings.topic(own);
    keys(Scope::Topic)
        .filter(shown)
        .map(|key| resource_row(settings, &values, key, own, Source::Topic))
        .collect()
}

/// The keys of a group.
#[must_use]
pub fn group(settings: &Settings, own: &Overrides) -> Vec<Row> {
    let shown = |key: &&Key| {
        let somebody_set_it = key.synonyms.iter().any(|synonym| settings.file().contains_key(synonym.name));
        !key.is_internal() || own.contains_key(key.name) || somebody_set_it
    };
    let values = settings.group(own);
    keys(Scope::Group)
        .filter(shown)
        .map(|key| resource_row(settings, &values, key, own, Source::Group))
        .collect()
}

/// The keys of a subscription of client metrics.
#[must_use]
pub fn client_metrics(settings: &Settings, own: &Overrides) -> Vec<Row> {
    let values = settings.client_metrics(own);
    let row = |key| {
        let mut row = resource_row(settings, &values, key, own, Source::ClientMetrics);
        row.synonyms.retain(|synonym| synonym.source == Source::ClientMetrics);
        row
    };
    keys(Scope::ClientMetrics).map(row).collect()
}

fn resource_row(
    settings: &Settings,
    values: &Resolved<'_>,
    key: &'static Key,
    own: &Overrides,
    own_source: Source,
) -> Row {
    let value = values.effective(key).map(|value| value.to_string());
    let mut synonyms = Vec::new();
    if own.contains_key(key.name) {
        synonyms.push(SynonymRow { name: key.name.to_owned(), value: value.clone(), source: own_source });
    }
    if let Some(first) = key.synonyms.first() {
        synonyms.extend(broker_synonyms(settings, first.name, Secrecy::Open));
    } else if key.scope == Scope::Group {
        let value = preset(key).ok().flatten().map(|value| value.to_string());
        synonyms.extend(value.map(|value| SynonymRow {
            name: key.name.to_owned(),
            value: Some(value),
            source: Source::Default,
        }));
    }
    Row {
        name: key.name.to_owned(),
        value,
        read_only: false,
        source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
        sensitive: key.is_sensitive(),
        synonyms,
        kind: key.kind as i8,
        documentation: Some(key.documentation),
    }
}

/// The keys of one broker, and whatever else its file holds.
#[must_use]
pub fn broker(settings: &Settings) -> Vec<Row> {
    let mut names: Vec<String> =
        keys(Scope::Broker).filter(|key| !key.is_internal()).map(|key| key.name.to_owned()).collect();
    for (layer, _) in settings.layers() {
        names.extend(layer.keys().cloned());
    }
    names.sort();
    names.dedup();
    names.iter().map(|name| broker_row(settings, name)).collect()
}

/// The dynamic default of the cluster: only what is set.
#[must_use]
pub fn cluster_default(settings: &Settings) -> Vec<Row> {
    let row = |(name, text): (&String, &String)| {
        let mut row = broker_row(settings, name);
        row.value = (!row.sensitive).then(|| text.clone());
        row.synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
        row.source = row.synonyms.first().map_or(Source::Default, |synonym| synonym.source);
        row
    };
    settings.cluster_dynamic().iter().map(row).collect()
}

fn broker_row(settings: &Settings, name: &str) -> Row {
    let own_key = find(Scope::Broker, name);
    let typed = own_key.or_else(|| find(Scope::Broker, base_name(name)));
    let sensitive = typed.is_none_or(Key::is_sensitive);
    let value = match own_key {
        _ if sensitive => None,
        Some(key) => settings.node().effective(key).map(|value| value.to_string()),
        None => settings.layers().into_iter().find_map(|(layer, _)| layer.get(name).cloned()),
    };
    let secrecy = if sensitive { Secrecy::Hidden } else { Secrecy::Open };
    let synonyms = broker_synonyms(settings, name, secrecy);
    Row {
        name: name.to_owned(),
        value,
        read_only: own_key.is_none_or(|key| key.dynamic == Dynamic::ReadOnly),
        source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
        sensitive,
        synonyms,
        kind: typed.map_or(0, |key| key.kind as i8),
        documentation: typed.map(|key| key.documentation),
    }
}

/// Whether values are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Open,
    Hidden,
}

/// Every value set for a broker key or one of its synonyms, nearest first, from the key's own name on.
fn broker_synonyms(settings: &Settings, name: &str, secrecy: Secrecy) -> Vec<SynonymRow> {
    let mut names: Vec<&str> = match find(Scope::Broker, name) {
        Some(key) if !key.synonyms.is_empty() => key.synonyms.iter().map(|synonym| synonym.name).collect(),
        _ => vec![name],
    };
    if base_name(name) != name {
        names.push(base_name(name));
    }
    let mut rows = Vec::new();
    let mut add = |name: &str, value: &str, source| {
        let value = (secrecy == Secrecy::Open).then(|| value.to_owned());
        rows.push(SynonymRow { name: name.to_owned(), value, source });
    };
    for (layer, source) in settings.layers() {
        for name in &names {
            if let Some(value) = layer.get(*name) {
                add(name, value, source);
            }
        }
    }
    for name in &names {
        let value = find(Scope::Broker, name).and_then(|key| preset(key).ok().flatten());
        if let Some(value) = value.as_ref().map(Value::to_string) {
            add(name, &value, Source::Default);
        }
    }
    let first = rows.iter().position(|row| row.name == name).unwrap_or(rows.len());
    rows.split_off(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn show(rows: &[Row], name: &str) -> String {
        let row = rows.iter().find(|row| row.name == name).unwrap();
        let synonyms: Vec<String> = row
            .synonyms
            .iter()
            .map(|s| format!("{:?}:{}={}", s.source, s.name, s.value.as_deref().unwrap_or("null")))
            .collect();
        let value = row.value.as_deref().unwrap_or("null");
        format!("{value} {:?} [{}]", row.source, synonyms.join(", "))
    }

    #[test]
    fn a_topic_lists_what_stands_behind_a_value() {
        let settings =
            Settings::new(map(&[("log.segment.bytes", "2000000"), ("log.retention.hours", "1")])).unwrap();
        let rows = topic(&settings, &map(&[("segment.bytes", "1048576")]));
        assert_eq!(
            show(&rows, "segment.bytes"),
            "1048576 Topic [Topic:segment.bytes=1048576, StaticBroker:log.segment.bytes=2000000, \
             Default:log.segment.bytes=1073741824]"
        );
        assert_eq!(show(&rows, "retention.ms"), "3600000 Default []");
        assert_eq!(show(&rows, "remote.storage.enable"), "false Default []");
        assert!(rows.iter().all(|row| row.name != "internal.segment.bytes" && !row.read_only));
        assert_eq!(rows.len(), 37);
    }

    #[test]
    fn a_broker_lists_everything_and_hides_secrets() {
        let file = map(&[
            ("node.id", "1"),
            ("ssl.key.password", "secret"),
            ("some.plugin.key", "x"),
            ("listener.name.a.ssl.client.auth", "required"),
        ]);
        let settings = Settings::new(file).unwrap().with_dynamic(
            map(&[("num.io.threads", "4")]),
            map(&[("num.io.threads", "5"), ("listener.name.a.sasl.jaas.config", "s")]),
        );
        let rows = broker(&settings);
        assert_eq!(
            show(&rows, "num.io.threads"),
            "5 DynamicBroker [DynamicBroker:num.io.threads=5, DynamicDefaultBroker:num.io.threads=4, \
             Default:num.io.threads=8]"
        );
        assert_eq!(show(&rows, "ssl.key.password"), "null StaticBroker [StaticBroker:ssl.key.password=null]");
        assert_eq!(show(&rows, "some.plugin.key"), "null StaticBroker [StaticBroker:some.plugin.key=null]");
        assert!(rows.iter().find(|row| row.name == "listener.name.a.sasl.jaas.config").unwrap().sensitive);
        assert_eq!(
            show(&rows, "listener.name.a.ssl.client.auth"),
            "required StaticBroker [StaticBroker:listener.name.a.ssl.client.auth=required, \
             Default:ssl.client.auth=none]"
        );
        assert_eq!(show(&rows, "advertised.listeners"), "null Default []");
        let cluster = cluster_default(&settings);
        assert_eq!(cluster.len(), 1);
        assert_eq!(
            show(&cluster, "num.io.threads"),
            "4 DynamicDefaultBroker [DynamicDefaultBroker:num.io.threads=4]"
        );
    }

    #[test]
    fn a_group_falls_back_on_its_broker() {
        let rows = group(&Settings::default(), &map(&[("share.isolation.level", "read_committed")]));
        assert_eq!(
            show(&rows, "share.isolation.level"),
            "read_committed Group [Group:share.isolation.level=read_committed, \
             Default:share.isolation.level=read_uncommitted]"
        );
        assert_eq!(
            show(&rows, "consumer.session.timeout.ms"),
            "45000 Default [Default:group.consumer.session.timeout.ms=45000]"
        );
        assert_eq!(rows.len(), 21);
    }
}
