//! What a node is, out of its properties: roles, id, listeners, quorum, directories, with Kafka's cross-checks.
//!
//! Nothing is opened or resolved here. Every error is one line that says what to change.

use std::collections::BTreeMap;

use ottla_protocol::NodeId;

use super::listeners::{
    Address, Endpoint, Ports, SecurityProtocol, parse_listeners, parse_protocol_map, parse_servers,
    parse_voters,
};
use super::parse::ConfigError;
use super::settings::{Overrides, Settings};

/// The roles of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// It stores partitions and serves clients.
    Broker,
    /// It is a voter of the metadata quorum, or may become one.
    Controller,
    /// Both, in one process.
    Combined,
}

impl Roles {
    /// Whether the node stores partitions.
    #[must_use]
    pub fn has_broker(self) -> bool {
        self != Self::Controller
    }

    /// Whether the node may decide.
    #[must_use]
    pub fn has_controller(self) -> bool {
        self != Self::Broker
    }
}

/// How the node finds the metadata quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// It is a quorum of its own: nobody else was named.
    Alone,
    /// The voters are written in every file.
    Fixed(BTreeMap<i32, Address>),
    /// The voters are written in the log; these are places to ask (KIP-853).
    Dynamic(Vec<Address>),
}

/// A node's configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// The node's id.
    pub node_id: NodeId,
    /// Its roles.
    pub roles: Roles,
    /// Where it listens, controller listeners included.
    pub listeners: Vec<Endpoint>,
    /// Where clients and brokers are told to find it; empty for a pure controller.
    pub advertised: Vec<Endpoint>,
    /// Where controllers and brokers are told to find its controller; empty for a pure broker.
    pub advertised_controller: Vec<Endpoint>,
    /// The names of controller listeners, the preferred one first.
    pub controller_listeners: Vec<String>,
    /// What controller connections speak, for the preferred name.
    pub controller_protocol: SecurityProtocol,
    /// The listener among brokers; `None` for a pure controller.
    pub inter_broker_listener: Option<String>,
    /// Listeners that open before the broker is ready.
    pub early_start_listeners: Vec<String>,
    /// How the quorum is found.
    pub quorum: Quorum,
    /// The directories of partitions, in the order given.
    pub log_dirs: Vec<String>,
    /// The directory of the metadata log.
    pub metadata_log_dir: String,
    /// The rack.
    pub rack: Option<String>,
    /// Every key's value.
    pub settings: Settings,
    /// Lines for the log: keys nobody knows, keys that do nothing, choices that are unwise.
    pub warnings: Vec<String>,
}

/// What a node runs with when nobody says anything: alone, both roles, reached from this machine only.
const STANDALONE: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.listener.names", "CONTROLLER"),
    ("log.dirs", "./data"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
];

/// The controller listener of a node that runs alone; any free port, since nobody else needs to know it.
const STANDALONE_CONTROLLER: &str = "CONTROLLER://127.0.0.1:0";

impl NodeConfig {
    /// The configuration of a node started without a file: one combined node on loopback, with data in `./data`.
    /// What `overrides` say counts; what they leave open is filled in.
    ///
    /// # Errors
    /// If the overrides are not valid.
    pub fn standalone(overrides: Overrides) -> Result<Self, ConfigError> {
        let mut properties = overrides;
        if properties.contains_key("process.roles") {
            return Self::new(properties);
        }
        fill_in_standalone(&mut properties);
        Self::build(properties, Solitude::Allowed)
    }

    /// The configuration that `properties` describe.
    ///
    /// # Errors
    /// The first thing that cannot be, in one line.
    pub fn new(properties: Overrides) -> Result<Self, ConfigError> {
        Self::build(properties, Solitude::Refused)
    }

    fn build(properties: Overrides, solitude: Solitude) -> Result<Self, ConfigError> {
        let settings = Settings::new(properties)?;
        let node = settings.node();
        let roles = roles(&settings)?;
        let node_id = node_id(&settings)?;
        let names = NameSet::of(&settings)?;
        let protocols = protocols(&settings, &names)?;
        let listeners = parse_listeners(&node.list("listeners"), &protocols, Ports::Distinct)?;
        let quorum = quorum(&settings, solitude)?;
        let said = match settings.file().get("advertised.listeners") {
            Some(_) => Some(parse_listeners(&node.list("advertised.listeners"), &protocols, Ports::Shared)?),
            None => None,
        };
        let advertised: Vec<Endpoint> = match &said {
            _ if !roles.has_broker() => Vec::new(),
            Some(said) => said.iter().filter(|e| !names.has(&e.listener)).cloned().collect(),
            None => listeners.iter().filter(|e| !names.has(&e.listener)).cloned().collect(),
        };
        let advertised_controller = if roles.has_controller() {
            advertised_controller(&names, &listeners, said.as_deref().unwrap_or(&[]), &quorum, node_id)
        } else {
            Vec::new()
        };
        let inter_broker_listener = match roles.has_broker() {
            true => Some(inter_broker_listener(&settings, &protocols)?),
            false => None,
        };
        let log_dirs = log_dirs(&settings)?;
        let metadata_log_dir = node.text("metadata.log.dir").unwrap_or_else(|| log_dirs[0].clone());
        let controller_protocol = *protocols.get(&names.0[0]).ok_or_else(|| {
            ConfigError(format!(
                "Controller listener with name {} defined in controller.listener.names not found in \
                 listener.security.protocol.map (an explicit security mapping for each controller listener is \
                 required if listener.security.protocol.map is non-empty, or if there are security protocols \
                 other than PLAINTEXT in use)",
                names.0[0]
            ))
        })?;
        let config = Self {
            node_id,
            roles,
            advertised,
            advertised_controller,
            controller_listeners: names.0.clone(),
            controller_protocol,
            inter_broker_listener,
            early_start_listeners: early_start(&settings, &listeners, &names)?,
            quorum,
            log_dirs,
            metadata_log_dir,
            rack: node.text("broker.rack"),
            warnings: warnings(&settings),
            settings: settings.clone(),
            listeners,
        };
        config.check_roles()?;
        config.check_listeners()?;
        config.check_values()?;
        Ok(config)
    }

    /// The advertised endpoint of a listener.
    #[must_use]
    pub fn advertised_at(&self, listener: &str) -> Option<&Endpoint> {
        self.advertised.iter().find(|endpoint| endpoint.listener == listener)
    }

    /// Whether connections to this listener are for the controller.
    #[must_use]
    pub fn is_controller_listener(&self, listener: &str) -> bool {
        self.controller_listeners.iter().any(|name| name == listener)
    }

    fn check_roles(&self) -> Result<(), ConfigError> {
        let bound = |name: &String| self.listeners.iter().any(|e| &e.listener == name);
        let id = self.node_id.0;
        if let Quorum::Fixed(voters) = &self.quorum {
            let is_voter = voters.contains_key(&id);
            let ids = voters.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            ensure(self.roles.has_controller() || !is_voter, || {
                format!(
                    "If process.roles contains just the 'broker' role, the node id {id} must not be included in \
                     the set of voters controller.quorum.voters=Set({ids})"
                )
            })?;
            ensure(!self.roles.has_controller() || is_voter, || {
                format!(
                    "If process.roles contains the 'controller' role, the node id {id} must be included in the \
                     set of voters controller.quorum.voters=Set({ids})"
                )
            })?;
        }
        if self.roles.has_controller() {
            return ensure(self.controller_listeners.iter().all(bound), || {
                "controller.listener.names must only contain values appearing in the 'listeners' configuration \
                 when running the KRaft controller role"
                    .to_owned()
            });
        }
        ensure(!self.controller_listeners.iter().any(bound), || {
            "controller.listener.names must not contain a value appearing in the 'listeners' configuration when \
             running KRaft with just the broker role"
                .to_owned()
        })?;
        ensure(!self.settings.node().boolean("controller.quorum.auto.join.enable"), || {
            "controller.quorum.auto.join.enable is only supported when process.roles contains the 'controller' role."
                .to_owned()
        })
    }

    fn check_listeners(&self) -> Result<(), ConfigError> {
        let everywhere = self.advertised.iter().chain(&self.advertised_controller);
        ensure(everywhere.clone().all(|e| e.host.as_deref() != Some("0.0.0.0")), || {
            "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."
                .to_owned()
        })?;
        let Some(inter_broker) = &self.inter_broker_listener else {
            return ensure(self.listeners.iter().all(|e| self.is_controller_listener(&e.listener)), || {
                "The listeners config must only contain KRaft controller listeners from \
                 controller.listener.names when process.roles=controller"
                    .to_owned()
            });
        };
        let join = |endpoints: &[Endpoint]| {
            endpoints.iter().map(|e| e.listener.as_str()).collect::<Vec<_>>().join(",")
        };
        ensure(!self.advertised.is_empty(), || {
            "There must be at least one broker advertised listener. Perhaps all listeners appear in \
             controller.listener.names?"
                .to_owned()
        })?;
        ensure(self.advertised_at(inter_broker).is_some(), || {
            format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid \
                 options based on currently configured listeners are {}",
                join(&self.advertised)
            )
        })?;
        let bound = |e: &Endpoint| self.listeners.iter().any(|other| other.listener == e.listener);
        ensure(self.advertised.iter().all(bound), || {
            format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in \
                 listeners. Found {}. The valid options based on the current configuration are {}",
                join(&self.advertised),
                join(&self.listeners)
            )
        })?;
        let sasl = self.advertised_at(inter_broker).is_some_and(|e| e.protocol.has_sasl());
        let node = self.settings.node();
        let mechanism = node.text("sasl.mechanism.inter.broker.protocol").unwrap_or_default();
        let enabled = self.settings.listener(inter_broker, None).list("sasl.enabled.mechanisms");
        ensure(!sasl || enabled.contains(&mechanism), || {
            "sasl.mechanism.inter.broker.protocol must be included in sasl.enabled.mechanisms when SASL is used \
             for inter-broker communication"
                .to_owned()
        })
    }

    fn check_values(&self) -> Result<(), ConfigError> {
        let node = self.settings.node();
        let none = Overrides::new();
        let topic = self.settings.topic(&none);
        let retention = topic.long("retention.ms");
        let wait = node.long("replica.fetch.wait.max.ms");
        let idle = node.long("connections.max.idle.ms");
        let rules: [(bool, &str); 9] = [
            (topic.long("segment.ms") >= 1, "log.roll.ms must be greater than or equal to 1"),
            (topic.long("segment.jitter.ms") >= 0, "log.roll.jitter.ms must be greater than or equal to 0"),
            (
                retention >= 1 || retention == -1,
                "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
            ),
            (
                node.long("log.cleaner.dedupe.buffer.size") / node.long("log.cleaner.threads").max(1)
                    > 1 << 20,
                "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
            ),
            (
                wait <= node.long("replica.socket.timeout.ms"),
                "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent \
                 unnecessary socket timeouts",
            ),
            (
                wait <= node.long("replica.lag.time.max.ms"),
                "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to \
                 prevent frequent changes in ISR",
            ),
            (
                !(1..node.long("socket.request.max.bytes")).contains(&node.long("queued.max.request.bytes")),
                "queued.max.request.bytes must be larger or equal to socket.request.max.bytes",
            ),
            (
                node.int("max.connections.per.ip") != 0
                    || node.text("max.connections.per.ip.overrides").is_some_and(|text| !text.is_empty()),
                "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is \
                 set.",
            ),
            (
                idle < 0 || node.long("connection.failed.authentication.delay.ms") < idle,
                "connection.failed.authentication.delay.ms should always be less than connections.max.idle.ms to \
                 prevent failed authentication responses from timing out",
            ),
        ];
        for (holds, text) in rules {
            ensure(holds, || text.to_owned())?;
        }
        self.check_lists()
    }

    fn check_lists(&self) -> Result<(), ConfigError> {
        let node = self.settings.node();
        let protocols = node.list("group.coordinator.rebalance.protocols");
        ensure(protocols.iter().any(|protocol| protocol == "classic"), || {
            "Disabling the 'CLASSIC' protocol is not supported.".to_owned()
        })?;
        connection_overrides(&node.text("max.connections.per.ip.overrides").unwrap_or_default())?;
        let cordoned = node.list("cordoned.log.dirs");
        if cordoned.iter().any(|dir| dir == "*") {
            return ensure(cordoned.len() == 1, || {
                "When cordoned.log.dirs is set to *, it must not contain other values".to_owned()
            });
        }
        let missing: Vec<&str> =
            cordoned.iter().filter(|dir| !self.log_dirs.contains(dir)).map(String::as_str).collect();
        ensure(missing.is_empty(), || {
            format!(
                "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {}",
                missing.join(", ")
            )
        })
    }
}

fn ensure(holds: bool, text: impl FnOnce() -> String) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError(text())) }
}

fn fill_in_standalone(properties: &mut Overrides) {
    let own_controller_name = properties.contains_key("controller.listener.names");
    let has_id = properties.contains_key("broker.id");
    let has_dir = properties.contains_key("log.dir");
    for (name, value) in STANDALONE {
        if (*name == "node.id" && has_id) || (*name == "log.dirs" && has_dir) {
            continue;
        }
        properties.entry((*name).to_owned()).or_insert_with(|| (*value).to_owned());
    }
    match properties.get_mut("listeners") {
        None => {
            let listeners = format!("PLAINTEXT://127.0.0.1:9092,{STANDALONE_CONTROLLER}");
            properties.insert("listeners".to_owned(), listeners);
            properties
                .entry("advertised.listeners".to_owned())
                .or_insert_with(|| "PLAINTEXT://localhost:9092".to_owned());
        }
        Some(listeners) if !own_controller_name && !listeners.to_uppercase().contains("CONTROLLER://") => {
            listeners.push(',');
            listeners.push_str(STANDALONE_CONTROLLER);
        }
        Some(_) => {}
    }
    if let Some(map) = properties.get_mut("listener.security.protocol.map")
        && !own_controller_name
        && !map.to_uppercase().contains("CONTROLLER:")
    {
        map.push_str(",CONTROLLER:PLAINTEXT");
    }
}

/// Whether a node may be a quorum of its own without saying so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Solitude {
    Allowed,
    Refused,
}

fn roles(settings: &Settings) -> Result<Roles, ConfigError> {
    let missing =
        || "Missing required configuration \"process.roles\" which has no default value.".to_owned();
    ensure(settings.file().contains_key("process.roles"), missing)?;
    let roles = settings.node().list("process.roles");
    let has = |name: &str| roles.iter().any(|role| role == name);
    Ok(match (has("broker"), has("controller")) {
        (true, true) => Roles::Combined,
        (true, false) => Roles::Broker,
        _ => Roles::Controller,
    })
}

fn node_id(settings: &Settings) -> Result<NodeId, ConfigError> {
    let missing = || "Missing required configuration \"node.id\" which has no default value.".to_owned();
    ensure(settings.file().contains_key("node.id"), missing)?;
    let (node_id, broker_id) = (settings.node().int("node.id"), settings.node().int("broker.id"));
    ensure(node_id == broker_id, || {
        "`node.id` and `broker.id` must be set to the same value. `broker.id` is deprecated, please use \
         `node.id` instead."
            .to_owned()
    })?;
    Ok(NodeId(node_id))
}

/// The names of controller listeners, in capitals.
struct NameSet(Vec<String>);

impl NameSet {
    fn of(settings: &Settings) -> Result<Self, ConfigError> {
        let names = settings.node().list("controller.listener.names");
        ensure(!names.is_empty(), || {
            "Missing required configuration \"controller.listener.names\" which has no default value."
                .to_owned()
        })?;
        Ok(Self(names.iter().map(|name| name.to_uppercase()).collect()))
    }

    fn has(&self, listener: &str) -> bool {
        self.0.iter().any(|name| name == listener)
    }
}

/// The protocol of each listener name. Controller names need no entry as long as nothing but PLAINTEXT is in use.
fn protocols(
    settings: &Settings,
    names: &NameSet,
) -> Result<BTreeMap<String, SecurityProtocol>, ConfigError> {
    let node = settings.node();
    let mut map = parse_protocol_map(&node.text("listener.security.protocol.map").unwrap_or_default())?;
    if settings.file().contains_key("listener.security.protocol.map") {
        return Ok(map);
    }
    let is_secure = |name: &str| {
        SecurityProtocol::from_name(name).is_some_and(|protocol| protocol != SecurityProtocol::Plaintext)
    };
    let listeners = node.list("listeners");
    let secure_listener =
        listeners.iter().any(|entry| is_secure(entry.split_once(':').map_or(entry, |(name, _)| name)));
    if !secure_listener && !names.0.iter().any(|name| is_secure(name)) {
        for name in &names.0 {
            map.insert(name.clone(), SecurityProtocol::Plaintext);
        }
    }
    Ok(map)
}

fn quorum(settings: &Settings, solitude: Solitude) -> Result<Quorum, ConfigError> {
    let node = settings.node();
    let voters = parse_voters(&node.list("controller.quorum.voters"))?;
    let servers = parse_servers(&node.list("controller.quorum.bootstrap.servers"))?;
    match (voters.is_empty(), servers.is_empty()) {
        (false, _) => {
            if let Some(address) = voters.values().find(|address| address.host == "0.0.0.0") {
                return Err(ConfigError(format!("Host string ({}) is not routeable", address.host)));
            }
            Ok(Quorum::Fixed(voters))
        }
        (true, false) => Ok(Quorum::Dynamic(servers)),
        (true, true) if solitude == Solitude::Allowed => Ok(Quorum::Alone),
        (true, true) => Err(ConfigError(
            "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of \
             bootstrap controllers or controller.quorum.voters must contain a parseable set of controllers."
                .to_owned(),
        )),
    }
}

fn advertised_controller(
    names: &NameSet,
    bound: &[Endpoint],
    said: &[Endpoint],
    quorum: &Quorum,
    node_id: NodeId,
) -> Vec<Endpoint> {
    let mut result = Vec::new();
    for (at, name) in names.0.iter().enumerate() {
        if let Some(endpoint) = said.iter().find(|e| &e.listener == name) {
            result.push(endpoint.clone());
            continue;
        }
        let Some(mut endpoint) = bound.iter().find(|e| &e.listener == name).cloned() else { continue };
        let anywhere = endpoint.host.as_deref().is_none_or(|host| host == "0.0.0.0");
        if anywhere {
            endpoint.host = None;
        }
        if let (0, true, Quorum::Fixed(voters)) = (at, anywhere, quorum)
            && let Some(address) = voters.get(&node_id.0)
        {
            endpoint.host = Some(address.host.clone());
            endpoint.port = address.port;
        }
        result.push(endpoint);
    }
    result
}

fn inter_broker_listener(
    settings: &Settings,
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Result<String, ConfigError> {
    let node = settings.node();
    let Some(name) = node.text("inter.broker.listener.name") else {
        return Ok(node.text("security.inter.broker.protocol").unwrap_or_default());
    };
    ensure(!settings.file().contains_key("security.inter.broker.protocol"), || {
        "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.".to_owned()
    })?;
    let name = name.to_uppercase();
    ensure(protocols.contains_key(&name), || {
        format!(
            "Listener with name {name} defined in inter.broker.listener.name not found in \
             listener.security.protocol.map."
        )
    })?;
    Ok(name)
}

fn early_start(
    settings: &Settings,
    listeners: &[Endpoint],
    names: &NameSet,
) -> Result<Vec<String>, ConfigError> {
    if !settings.file().contains_key("early.start.listeners") {
        return Ok(listeners.iter().map(|e| e.listener.clone()).filter(|name| names.has(name)).collect());
    }
    let chosen: Vec<String> =
        settings.node().list("early.start.listeners").iter().map(|name| name.to_uppercase()).collect();
    for name in &chosen {
        let known = names.has(name) || listeners.iter().any(|e| &e.listener == name);
        ensure(known, || {
            format!(
                "early.start.listeners contains listener {name}, but this is not contained in listeners or \
                 controller.listener.names"
            )
        })?;
    }
    Ok(chosen)
}

fn log_dirs(settings: &Settings) -> Result<Vec<String>, ConfigError> {
    let node = settings.node();
    let dirs = match settings.file().contains_key("log.dirs") {
        true => node.list("log.dirs"),
        false => node.list("log.dir"),
    };
    ensure(!dirs.is_empty(), || {
        "At least one log directory must be defined via log.dirs or log.dir.".to_owned()
    })?;
    Ok(dirs)
}

fn connection_overrides(text: &str) -> Result<(), ConfigError> {
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let fine = entry.rsplit_once(':').is_some_and(|(_, count)| count.trim().parse::<i32>().is_ok());
        ensure(fine, || {
            format!(
                "Error parsing configuration property 'max.connections.per.ip.overrides': '{entry}' is not of \
                 the form host:count"
            )
        })?;
    }
    Ok(())
}

fn warnings(settings: &Settings) -> Vec<String> {
    let node = settings.node();
    let mut lines: Vec<String> = settings
        .unknown_keys()
        .map(|name| format!("These configurations '[{name}]' were supplied but are not used yet."))
        .collect();
    let (beat, session) = (node.long("broker.heartbeat.interval.ms"), node.long("broker.session.timeout.ms"));
    if beat.saturating_mul(2) > session {
        lines.push(format!(
            "broker.heartbeat.interval.ms ({beat} ms) must be less than or equal to half of the \
             broker.session.timeout.ms ({session} ms)."
        ));
    }
    lines
}

#[cfg(test)]
mod tests;
