//! Whose configuration is meant: the many ways in which kafka-configs lets one say it, and which of them contradict.

use ottla_client::admin::{ConfigSource, ResourceType};

use crate::tools::failure::Failure;
use crate::tools::options::Options;

/// A kind of thing that is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A topic.
    Topics,
    /// A client id, for quotas.
    Clients,
    /// A user, for quotas and SCRAM credentials.
    Users,
    /// A broker, or all of them.
    Brokers,
    /// A broker's log levels.
    BrokerLoggers,
    /// An address, for quotas.
    Ips,
    /// A client metrics subscription.
    ClientMetrics,
    /// A group.
    Groups,
}

/// What the options name: kinds and names as typed, and not always as many of the one as of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entities {
    /// One, or users and clients.
    pub kinds: Vec<Kind>,
    /// Empty text is the default for all of a kind.
    pub names: Vec<String>,
}

impl Kind {
    /// In the order in which Kafka's tool lists them.
    const ALL: [Self; 8] = [
        Self::BrokerLoggers,
        Self::Topics,
        Self::Clients,
        Self::Users,
        Self::Brokers,
        Self::Ips,
        Self::ClientMetrics,
        Self::Groups,
    ];

    /// As `--entity-type` has it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Topics => "topics",
            Self::Clients => "clients",
            Self::Users => "users",
            Self::Brokers => "brokers",
            Self::BrokerLoggers => "broker-loggers",
            Self::Ips => "ips",
            Self::ClientMetrics => "client-metrics",
            Self::Groups => "groups",
        }
    }

    /// The plural without its last letter, as Kafka makes it.
    pub fn singular(self) -> &'static str {
        let plural = self.plural();
        &plural[..plural.len() - 1]
    }

    /// Its number in DescribeConfigs, for those that have one.
    pub fn resource(self) -> Option<ResourceType> {
        match self {
            Self::Topics => Some(ResourceType::Topic),
            Self::Brokers => Some(ResourceType::Broker),
            Self::BrokerLoggers => Some(ResourceType::BrokerLogger),
            Self::ClientMetrics => Some(ResourceType::ClientMetrics),
            Self::Groups => Some(ResourceType::Group),
            Self::Clients | Self::Users | Self::Ips => None,
        }
    }

    /// Where its own settings come from.
    pub fn own_source(self, name: &str) -> ConfigSource {
        match self {
            Self::Topics => ConfigSource::DynamicTopic,
            Self::Brokers if name.is_empty() => ConfigSource::DynamicDefaultBroker,
            Self::Brokers => ConfigSource::DynamicBroker,
            Self::BrokerLoggers => ConfigSource::DynamicBrokerLogger,
            Self::ClientMetrics => ConfigSource::DynamicClientMetrics,
            Self::Groups => ConfigSource::DynamicGroup,
            Self::Clients | Self::Users | Self::Ips => ConfigSource::Unknown,
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == text)
    }
}

/// Options that name one entity each.
const NAMED: &[(&str, Kind)] = &[
    ("topic", Kind::Topics),
    ("client", Kind::Clients),
    ("user", Kind::Users),
    ("broker", Kind::Brokers),
    ("broker-logger", Kind::BrokerLoggers),
    ("ip", Kind::Ips),
    ("client-metrics", Kind::ClientMetrics),
    ("group", Kind::Groups),
];

/// Options that name the default of a kind.
const DEFAULTS: &[(&str, Kind)] = &[
    ("client-defaults", Kind::Clients),
    ("user-defaults", Kind::Users),
    ("broker-defaults", Kind::Brokers),
    ("ip-defaults", Kind::Ips),
];

/// Kinds that have a default for all.
const WITH_DEFAULT: &[Kind] = &[Kind::Users, Kind::Clients, Kind::Brokers, Kind::Ips];

/// Reads the entities and checks everything that can be wrong about the options.
pub fn check(options: &Options) -> Result<Entities, Failure> {
    let error = |message: &str| Err(Failure::Error(message.to_owned()));
    if options.count(&["alter", "describe"]) != 1 {
        return Err(Failure::Usage(
            "Command must include exactly one action: --describe, --alter".to_owned(),
        ));
    }
    options.forbid("describe", &["add-config", "delete-config"])?;
    let words = kinds(options);
    let twice: Vec<&str> =
        (1..words.len()).filter(|&i| words[..i].contains(&words[i])).map(|i| &*words[i]).collect();
    if !twice.is_empty() {
        return error(&format!("Duplicate entity type(s) specified: {}", twice.join(",")));
    }
    if options.count(&["bootstrap-server", "bootstrap-controller"]) == 0 {
        return error("Either --bootstrap-server or --bootstrap-controller must be specified.");
    }
    let kinds = known_kinds(&words)?;
    let specific = NAMED.iter().chain(DEFAULTS).any(|(name, _)| options.has(name));
    if specific && options.count(&["entity-name", "entity-type", "entity-default"]) > 0 {
        return error(
            "--entity-{type,name,default} should not be used in conjunction with specific entity flags",
        );
    }
    let entities = Entities { kinds, names: names(options)? };
    if options.count(&["bootstrap-server", "bootstrap-controller"]) > 1 {
        return error("Only one of --bootstrap-server or --bootstrap-controller can be specified");
    }
    check_names(&entities)?;
    if options.has("describe") {
        check_describe(options, &entities)?;
    } else {
        check_alter(options, &entities)?;
    }
    Ok(entities)
}

fn kinds(options: &Options) -> Vec<String> {
    let flags = NAMED.iter().chain(DEFAULTS).filter(|(name, _)| options.has(name));
    options.values("entity-type").into_iter().chain(flags.map(|(_, kind)| kind.plural().to_owned())).collect()
}

fn known_kinds(words: &[String]) -> Result<Vec<Kind>, Failure> {
    let known = words.iter().map(|word| {
        Kind::from_text(word).ok_or_else(|| {
            let all: Vec<&str> = Kind::ALL.into_iter().map(Kind::plural).collect();
            Failure::Error(format!(
                "Invalid entity type {word}, the entity type must be one of {} with a --bootstrap-server or \
                 --bootstrap-controller argument",
                all.join(", ")
            ))
        })
    });
    let kinds: Vec<Kind> = known.collect::<Result<_, _>>()?;
    match kinds[..] {
        [] => Err(Failure::Error("At least one entity type must be specified".to_owned())),
        [_] | [Kind::Users, Kind::Clients] | [Kind::Clients, Kind::Users] => Ok(kinds),
        _ => Err(Failure::Error(
            "Only 'users' and 'clients' entity types may be specified together".to_owned(),
        )),
    }
}

/// Names in the order of `--entity-name` and `--entity-default`, then of the specific flags.
fn names(options: &Options) -> Result<Vec<String>, Failure> {
    let general = options.in_order().filter_map(|(name, value)| match name {
        "entity-name" => Some(value.unwrap_or("").to_owned()),
        "entity-default" => Some(String::new()),
        _ => None,
    });
    let mut names: Vec<String> = general.collect();
    for (name, _) in NAMED {
        names.extend(options.value(name)?);
    }
    names.extend(DEFAULTS.iter().filter(|(name, _)| options.has(name)).map(|_| String::new()));
    Ok(names)
}

fn check_names(entities: &Entities) -> Result<(), Failure> {
    let kind = entities.kinds[0];
    if matches!(kind, Kind::Brokers | Kind::BrokerLoggers) {
        let named = entities.names.iter().filter(|name| !name.is_empty());
        if let Some(name) = named.into_iter().find(|name| name.parse::<i32>().is_err()) {
            return Err(Failure::Error(format!(
                "The entity name for {} must be a valid integer broker id, but it is: {name}",
                kind.plural()
            )));
        }
    }
    Ok(())
}

fn check_describe(options: &Options, entities: &Entities) -> Result<(), Failure> {
    let listed = entities.kinds.iter().map(|kind| kind.plural()).collect::<Vec<_>>().join(",");
    let with_default = entities.kinds.iter().any(|kind| WITH_DEFAULT.contains(kind));
    if !with_default && options.has("entity-default") {
        return Err(Failure::Error(format!(
            "--entity-default must not be specified with --describe of {listed}"
        )));
    }
    let named = entities.names.iter().any(|name| !name.is_empty());
    if entities.kinds.contains(&Kind::BrokerLoggers) && !named {
        return Err(Failure::Error(format!("An entity name must be specified with --describe of {listed}")));
    }
    Ok(())
}

fn check_alter(options: &Options, entities: &Entities) -> Result<(), Failure> {
    let error = |message: String| Err(Failure::Error(message));
    let listed = entities.kinds.iter().map(|kind| kind.plural()).collect::<Vec<_>>().join(",");
    let named = entities.names.iter().any(|name| !name.is_empty());
    let default = entities.names.iter().any(String::is_empty);
    if entities.kinds.iter().any(|kind| WITH_DEFAULT.contains(kind)) {
        if !named && !default {
            let text = "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips";
            return error(text.to_owned());
        }
    } else if !named {
        return error(format!("An entity name must be specified with --alter of {listed}"));
    }
    if options.has("add-config") && options.has("add-config-file") {
        return error("Only one of --add-config or --add-config-file must be specified".to_owned());
    }
    if options.count(&["add-config", "add-config-file", "delete-config"]) == 0 {
        let text = "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter";
        return error(text.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::configs::USAGE;

    fn checked(words: &[&str]) -> Result<Entities, Failure> {
        let words =
            words.iter().chain(&["--bootstrap-server=x:1"]).map(|w| (*w).to_owned()).collect::<Vec<_>>();
        check(&Options::parse(&USAGE, &words).unwrap())
    }

    #[test]
    fn both_ways_to_name_an_entity_mean_the_same() {
        let long = checked(&["--describe", "--entity-type", "topics", "--entity-name", "t"]).unwrap();
        assert_eq!(long, checked(&["--describe", "--topic", "t"]).unwrap());
        let default = checked(&["--describe", "--entity-type", "brokers", "--entity-default"]).unwrap();
        assert_eq!(default, checked(&["--describe", "--broker-defaults"]).unwrap());
        let both =
            ["--entity-type", "users", "--entity-default", "--entity-type", "clients", "--entity-name", "c"];
        let both = checked(&[&["--describe"][..], &both[..]].concat()).unwrap();
        assert_eq!(
            both,
            Entities { kinds: vec![Kind::Users, Kind::Clients], names: vec!["".into(), "c".into()] }
        );
    }

    #[test]
    fn contradictions_are_told_in_kafkas_words() {
        let message = |words: &[&str]| checked(words).unwrap_err().message().to_owned();
        assert_eq!(message(&["--describe"]), "At least one entity type must be specified");
        assert!(
            message(&["--describe", "--entity-type", "foo"])
                .starts_with("Invalid entity type foo, the entity type")
        );
        assert_eq!(
            message(&["--describe", "--topic", "t", "--entity-name", "t"]),
            "--entity-{type,name,default} should not be used in conjunction with specific entity flags"
        );
        assert_eq!(
            message(&["--alter", "--topic", "t"]),
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter"
        );
        assert_eq!(
            message(&["--alter", "--broker", "x", "--delete-config", "a"]),
            "The entity name for brokers must be a valid integer broker id, but it is: x"
        );
        assert_eq!(
            message(&["--describe", "--topic", "t", "--broker", "1"]),
            "Only 'users' and 'clients' entity types may be specified together"
        );
    }
}
