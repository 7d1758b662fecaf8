//! kafka-configs: what is configured for topics, brokers, groups, users and the like, and how to change it.

mod entity;
mod quotas;

use std::collections::BTreeMap;

use ottla_client::admin::{self, Change, ConfigSource, Described, ResourceType};
use ottla_client::error::ClientError;
use ottla_client::net::Client;
use ottla_protocol::messages::describe_configs::{DescribeConfigsResourceResult, DescribeConfigsResult};

use super::connect;
use super::failure::Failure;
use super::filter::{check_topic_name, with_bootstrap};
use super::options::{Flag, Options, Usage};
use super::{Out, block_on, parse};
use entity::{Entities, Kind};

/// What the tool understands.
pub static USAGE: Usage = Usage {
    about: "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, \
            client-metrics or group",
    flags: &[
        Flag::value("bootstrap-server", "String: server to connect to", "Where the cluster is."),
        Flag::value("bootstrap-controller", "String: controller to connect to", "Where its controllers are."),
        Flag::value(
            "command-config",
            "String: command config property file",
            "A file with client properties.",
        ),
        Flag::switch("alter", "Change settings."),
        Flag::switch("describe", "Show settings."),
        Flag::switch("all", "Show every setting, not only those of the entity's own."),
        Flag::value(
            "entity-type",
            "String",
            "topics, clients, users, brokers, broker-loggers, ips, client-metrics or groups.",
        ),
        Flag::value(
            "entity-name",
            "String",
            "A topic's, client's, user's or group's name, a broker's id, an address.",
        ),
        Flag::switch("entity-default", "What holds for all clients, users, brokers or ips."),
        Flag::value(
            "add-config",
            "String",
            "Settings as k1=v1,k2=[v1,v2],k3=v3; brackets hold a value with commas together.",
        ),
        Flag::value("add-config-file", "String", "A properties file with settings to be added."),
        Flag::value("delete-config", "String", "Names of settings to be removed: k1,k2.").separated_by(','),
        Flag::value("topic", "String", "The topic's name."),
        Flag::value("client", "String", "The client's id."),
        Flag::switch("client-defaults", "What holds for all clients."),
        Flag::value("user", "String", "The user's name."),
        Flag::switch("user-defaults", "What holds for all users."),
        Flag::value("broker", "String", "The broker's id."),
        Flag::switch("broker-defaults", "What holds for all brokers."),
        Flag::value("broker-logger", "String", "The id of the broker whose log levels are meant."),
        Flag::switch("ip-defaults", "What holds for all addresses."),
        Flag::value("ip", "String", "The address."),
        Flag::value("group", "String", "The group's id."),
        Flag::value("client-metrics", "String", "The name of a client metrics subscription."),
    ],
};

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    let options = parse(&USAGE, words)?;
    let entities = entity::check(&options)?;
    let mut properties = connect::load_option(&options, "command-config")?;
    match (options.value("bootstrap-server")?, options.value("bootstrap-controller")?) {
        (Some(servers), _) => properties = with_bootstrap(properties, &servers),
        (None, controllers) => {
            properties.0.remove("bootstrap.servers");
            properties.set("bootstrap.controllers", controllers.unwrap_or_default());
        }
    }
    if options.has("alter") && entities.kinds.len() != entities.names.len() {
        return Err(Failure::Error("An entity name must be specified for every entity type".to_owned()));
    }
    let changes = changes(&options)?;
    block_on(async {
        let framed = |error: ClientError| match error {
            ClientError::UnsupportedVersion(message) => Failure::Error(message),
            error => Failure::Error(format!(
                "Error while executing config command with args '{}'\n{error}",
                words.join(" ")
            )),
        };
        let client = connect::admin(properties).await.map_err(framed)?;
        if options.has("alter") {
            return alter(&client, &entities, changes, out).await.map_err(|failure| failure.framed(framed));
        }
        describe(&client, &entities, &options, out).await.map_err(|failure| failure.framed(framed))
    })
}

/// A failure that is not yet known to be the user's or the cluster's.
enum Trouble {
    User(Failure),
    Cluster(ClientError),
}

impl Trouble {
    fn user(message: impl Into<String>) -> Self {
        Self::User(Failure::Error(message.into()))
    }

    fn framed(self, frame: impl Fn(ClientError) -> Failure) -> Failure {
        match self {
            Self::User(failure) => failure,
            Self::Cluster(error) => frame(error),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::User(failure)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::User(error.into())
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        Self::Cluster(error)
    }
}

/// What `--add-config`, `--add-config-file` and `--delete-config` say.
#[derive(Debug, Default)]
struct Changes {
    add: BTreeMap<String, String>,
    delete: Vec<String>,
}

impl Changes {
    fn list(self) -> Vec<Change> {
        let delete = self.delete.into_iter().map(Change::Delete);
        delete.chain(self.add.into_iter().map(|(name, value)| Change::Set(name, value))).collect()
    }
}

fn changes(options: &Options) -> Result<Changes, Failure> {
    let mut add = connect::load_option(options, "add-config-file")?.0;
    if let Some(text) = options.value("add-config")? {
        for pair in split_outside_brackets(&text, ',') {
            let sides = split_outside_brackets(pair, '=');
            let [name, value] = sides[..] else {
                return Err(Failure::Error(
                    "Invalid entity config: all configs to be added must be in the format \"key=val\" or  \
                     \"key=[val1,val2]\" to group values which contain commas."
                        .to_owned(),
                ));
            };
            add.insert(name.trim().to_owned(), value.replace(['[', ']'], "").trim().to_owned());
        }
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '$' | '.' | '_' | '-');
    if let Some(name) = add.keys().find(|name| !name.chars().all(allowed)) {
        return Err(Failure::Error(format!("Invalid character found for config key: {name}")));
    }
    let delete = options.values("delete-config").iter().map(|name| name.trim().to_owned()).collect();
    Ok(Changes { add, delete })
}

/// Splits at a character, but not where the next bracket closes.
fn split_outside_brackets(text: &str, at: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut from = 0;
    for (place, _) in text.match_indices(at) {
        let rest = &text[place + at.len_utf8()..];
        let inside = rest.find(']').is_some_and(|closing| !rest[..closing].contains('['));
        if !inside {
            parts.push(&text[from..place]);
            from = place + at.len_utf8();
        }
    }
    parts.push(&text[from..]);
    parts
}

async fn alter(client: &Client, entities: &Entities, changes: Changes, out: Out<'_>) -> Result<(), Trouble> {
    let (kind, name) = (entities.kinds[0], entities.names[0].clone());
    match kind.resource() {
        Some(resource) => {
            if kind == Kind::BrokerLoggers {
                check_loggers(client, &name, &changes).await?;
            }
            client.run(admin::incremental_alter_configs(resource, name.clone(), changes.list())).await?;
        }
        None => quotas::alter(client, entities, changes).await?,
    }
    if name.is_empty() {
        writeln!(out, "Completed updating default config for {} in the cluster.", kind.plural())?;
    } else {
        writeln!(out, "Completed updating config for {} {name}.", kind.singular())?;
    }
    Ok(())
}

/// Loggers are not checked by the broker one by one, so names it does not have are found here.
async fn check_loggers(client: &Client, broker: &str, changes: &Changes) -> Result<(), Trouble> {
    let described =
        client.run(admin::describe_configs(vec![(ResourceType::BrokerLogger, broker.to_owned())])).await?;
    let mut known = Vec::new();
    for (_, result) in described {
        let result = result.map_err(ClientError::from)?;
        known.extend(result.configs.into_iter().map(|entry| entry.name));
    }
    let asked = changes.delete.iter().chain(changes.add.keys());
    let unknown: Vec<&str> = asked.filter(|name| !known.contains(name)).map(String::as_str).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Trouble::user(format!("Invalid broker logger(s): {}", unknown.join(","))))
}

async fn describe(
    client: &Client,
    entities: &Entities,
    options: &Options,
    out: Out<'_>,
) -> Result<(), Trouble> {
    let kind = entities.kinds[0];
    let Some(resource) = kind.resource() else {
        return quotas::describe(client, entities, out).await;
    };
    let all = options.has("all");
    if let (Some(name), false) = (entities.names.first(), all) {
        check_name(kind, name)?;
        if !name.is_empty() && !known_names(client, kind).await?.contains(name) {
            let kind = kind.singular();
            writeln!(out, "The {kind} '{name}' doesn't exist and doesn't have dynamic config.")?;
            return Ok(());
        }
    }
    let names = match entities.names.first() {
        Some(name) => vec![name.clone()],
        None => {
            let mut names = known_names(client, kind).await?;
            if matches!(kind, Kind::Brokers | Kind::BrokerLoggers) {
                names.push(String::new());
            }
            names
        }
    };
    for name in &names {
        check_name(kind, name)?;
    }
    if names.is_empty() {
        return Ok(());
    }
    let resources = names.iter().map(|name| (resource, name.clone())).collect();
    let described = client.run(admin::describe_configs(resources)).await?;
    for name in &names {
        writeln!(out, "{}", heading(kind, name, all))?;
        let entries = find(&described, resource, name)?;
        out.write_all(entry_lines(entries, if all { None } else { Some(kind.own_source(name)) }).as_bytes())?;
    }
    Ok(())
}

fn find<'a>(
    described: &'a [Described],
    resource: ResourceType,
    name: &str,
) -> Result<&'a DescribeConfigsResult, Trouble> {
    let found = described.iter().find(|((kind, known), _)| *kind == resource as i8 && known == name);
    match found {
        Some((_, Ok(result))) => Ok(result),
        Some((_, Err(error))) => Err(ClientError::from(error.clone()).into()),
        None => Err(Trouble::user(format!("The broker said nothing of '{name}'"))),
    }
}

/// The names of this kind that exist or are configured.
async fn known_names(client: &Client, kind: Kind) -> Result<Vec<String>, Trouble> {
    let resources = |kind| async move {
        let found = client.run(admin::list_config_resources(kind)).await?;
        Ok::<_, ClientError>(found.into_iter().map(|resource| resource.resource_name).collect::<Vec<_>>())
    };
    Ok(match kind {
        Kind::Topics => client.run(admin::list_topics()).await?.into_iter().map(|topic| topic.name).collect(),
        Kind::Brokers | Kind::BrokerLoggers => {
            let cluster = client.run(admin::describe_cluster()).await?;
            cluster.brokers.into_iter().map(|broker| broker.broker_id.to_string()).collect()
        }
        Kind::ClientMetrics => resources(ResourceType::ClientMetrics).await?,
        _ => {
            let groups = client.run(admin::list_groups(admin::GroupFilter::default())).await?;
            let mut names: Vec<String> = groups.into_iter().map(|group| group.group_id).collect();
            let configured = match resources(ResourceType::Group).await {
                Err(ClientError::UnsupportedVersion(_)) => Vec::new(),
                configured => configured?,
            };
            let unseen: Vec<String> = configured.into_iter().filter(|name| !names.contains(name)).collect();
            names.extend(unseen);
            names
        }
    })
}

fn check_name(kind: Kind, name: &str) -> Result<(), Trouble> {
    match kind {
        Kind::Topics if !name.is_empty() => Ok(check_topic_name(name)?),
        Kind::Brokers | Kind::BrokerLoggers if !name.is_empty() && name.parse::<i32>().is_err() => {
            Err(Trouble::user(format!(
                "The entity name for {} must be a valid integer broker id, found: {name}",
                kind.plural()
            )))
        }
        _ => Ok(()),
    }
}

fn heading(kind: Kind, name: &str, all: bool) -> String {
    if name.is_empty() {
        return format!("Default configs for {} in the cluster are:", kind.plural());
    }
    format!("{} configs for {} {name} are:", if all { "All" } else { "Dynamic" }, kind.singular())
}

/// The entries that come from `source`, or all, by name.
fn entry_lines(result: &DescribeConfigsResult, source: Option<ConfigSource>) -> String {
    let from_source = |entry: &&DescribeConfigsResourceResult| {
        source.is_none_or(|source| ConfigSource::from_code(entry.config_source) == source)
    };
    let mut entries: Vec<&DescribeConfigsResourceResult> =
        result.configs.iter().filter(from_source).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let line = |entry: &&DescribeConfigsResourceResult| {
        let synonyms = entry.synonyms.iter().map(|synonym| {
            let source = ConfigSource::from_code(synonym.source).name();
            format!("{source}:{}={}", synonym.name, shown(&synonym.value))
        });
        let synonyms = synonyms.collect::<Vec<_>>().join(", ");
        let DescribeConfigsResourceResult { name, value, is_sensitive, .. } = entry;
        format!("  {name}={} sensitive={is_sensitive} synonyms={{{synonyms}}}\n", shown(value))
    };
    entries.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::describe_configs::DescribeConfigsSynonym;

    use super::*;

    fn options(words: &[&str]) -> Options {
        Options::parse(&USAGE, &words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn brackets_hold_values_together() {
        let added = |text: &str| changes(&options(&["--add-config", text])).map(|changes| changes.add);
        let pairs = added("a=[x,y] , b=1,c=,SCRAM-SHA-256=[iterations=8192,password=p]").unwrap();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            pairs,
            [("SCRAM-SHA-256", "iterations=8192,password=p"), ("a", "x,y"), ("b", "1"), ("c", "")]
        );
        for bad in ["a", "a=b=c", "a=1,b"] {
            assert!(added(bad).unwrap_err().message().starts_with("Invalid entity config"), "{bad}");
        }
        assert_eq!(added("a b=1").unwrap_err().message(), "Invalid character found for config key: a b");
    }

    #[test]
    fn an_entry_shows_where_its_value_could_come_from() {
        let synonym = |source, name: &str, value: &str| DescribeConfigsSynonym {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
        };
        let entry =
            |name: &str, value: Option<&str>, config_source, synonyms| DescribeConfigsResourceResult {
                name: name.to_owned(),
                value: value.map(str::to_owned),
                config_source,
                synonyms,
                ..Default::default()
            };
        let result = DescribeConfigsResult {
            configs: vec![
                entry("z", None, 5, Vec::new()),
                entry("a", Some("1"), 1, vec![synonym(1, "a", "1"), synonym(5, "log.a", "2")]),
            ],
            ..Default::default()
        };
        let own = "  a=1 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:a=1, DEFAULT_CONFIG:log.a=2}\n";
        assert_eq!(entry_lines(&result, Some(ConfigSource::DynamicTopic)), own);
        assert_eq!(entry_lines(&result, None), format!("{own}  z=null sensitive=false synonyms={{}}\n"));
    }

    #[test]
    fn headings_name_the_entity_or_the_default() {
        assert_eq!(heading(Kind::Topics, "t", false), "Dynamic configs for topic t are:");
        assert_eq!(heading(Kind::Brokers, "1", true), "All configs for broker 1 are:");
        assert_eq!(heading(Kind::Brokers, "", true), "Default configs for brokers in the cluster are:");
    }
}
