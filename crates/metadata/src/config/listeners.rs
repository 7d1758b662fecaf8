//! Addresses in configuration: listeners, their security protocols, voters and bootstrap servers.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::parse::ConfigError;

/// What a connection speaks below Kafka's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecurityProtocol {
    /// No encryption, no authentication.
    Plaintext = 0,
    /// TLS.
    Ssl = 1,
    /// SASL without encryption.
    SaslPlaintext = 2,
    /// SASL over TLS.
    SaslSsl = 3,
}

impl SecurityProtocol {
    /// All of them, by number.
    pub const ALL: [Self; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    /// Kafka's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The number in registrations.
    #[must_use]
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The protocol of a number in a registration.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.code() == code)
    }

    /// The protocol of this name, in capitals or not.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// Whether clients authenticate by SASL.
    #[must_use]
    pub fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Whether the connection is encrypted by TLS.
    #[must_use]
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

/// Where a listener is bound, or where it is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, in capitals.
    pub listener: String,
    /// What it speaks.
    pub protocol: SecurityProtocol,
    /// The host; `None` is every interface.
    pub host: Option<String>,
    /// The port; 0 lets the operating system choose.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_deref().unwrap_or("");
        if host.contains(':') {
            write!(f, "{}://[{host}]:{}", self.listener, self.port)
        } else {
            write!(f, "{}://{host}:{}", self.listener, self.port)
        }
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Reads `listener.security.protocol.map`: `NAME:PROTOCOL,…`.
///
/// # Errors
/// If an entry has no colon or names no protocol.
pub fn parse_protocol_map(text: &str) -> Result<BTreeMap<String, SecurityProtocol>, ConfigError> {
    let key = "listener.security.protocol.map";
    let mut map = BTreeMap::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let Some((name, protocol)) = entry.rsplit_once(':') else {
            return Err(ConfigError(format!(
                "Error parsing configuration property '{key}': '{entry}' is not of the form NAME:PROTOCOL"
            )));
        };
        let protocol = protocol.trim();
        let Some(protocol) = SecurityProtocol::from_name(protocol) else {
            return Err(ConfigError(format!("Invalid security protocol `{protocol}` defined in {key}")));
        };
        map.insert(name.trim().to_uppercase(), protocol);
    }
    Ok(map)
}

/// Whether two listeners may have the same port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// They are bound here, so only one IPv4 and one IPv6 address may share a port.
    Distinct,
    /// They are what others are told.
    Shared,
}

/// Reads `listeners` or `advertised.listeners`: `NAME://host:port` entries.
///
/// # Errors
/// If an entry cannot be read, its name has no protocol, or two of them collide.
pub fn parse_listeners(
    entries: &[String],
    protocols: &BTreeMap<String, SecurityProtocol>,
    ports: Ports,
) -> Result<Vec<Endpoint>, ConfigError> {
    let explain = |reason: String| {
        ConfigError(format!("Error creating broker listeners from '{}': {reason}", entries.join(",")))
    };
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(entries.len());
    for entry in entries {
        let (name, address) = entry
            .split_once("://")
            .and_then(|(name, rest)| Some((name, split_host_port(rest)?)))
            .ok_or_else(|| explain(format!("Unable to parse {entry} to a broker endpoint")))?;
        let listener = name.to_uppercase();
        let protocol = *protocols
            .get(&listener)
            .ok_or_else(|| explain(format!("No security protocol defined for listener {listener}")))?;
        let (host, port) = address;
        endpoints.push(Endpoint { listener, protocol, host: (!host.is_empty()).then_some(host), port });
    }
    for (at, endpoint) in endpoints.iter().enumerate() {
        if endpoints[..at].iter().any(|other| other.listener == endpoint.listener) {
            return Err(explain("Each listener must have a different name".to_owned()));
        }
        let clash = |other: &Endpoint| other.port == endpoint.port && !one_of_each_family(other, endpoint);
        if ports == Ports::Distinct && endpoint.port != 0 && endpoints[..at].iter().any(clash) {
            return Err(explain(
                "Each listener must have a different port, unless one has an IPv4 address and the other an \
                 IPv6 address"
                    .to_owned(),
            ));
        }
    }
    Ok(endpoints)
}

fn one_of_each_family(a: &Endpoint, b: &Endpoint) -> bool {
    let ip = |endpoint: &Endpoint| endpoint.host.as_deref().and_then(|host| host.parse::<IpAddr>().ok());
    match (ip(a), ip(b)) {
        (Some(a), Some(b)) => a.is_ipv4() != b.is_ipv4(),
        _ => false,
    }
}

fn split_host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-%._:".contains(&b);
    if !host.bytes().all(is_host) || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((host.to_owned(), port.parse().ok()?))
}

/// Reads `host:port`, with or without a scheme in front and brackets around an IPv6 address.
#[must_use]
pub fn parse_address(text: &str) -> Option<Address> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, port) = split_host_port(rest.trim())?;
    (!host.is_empty()).then_some(Address { host, port })
}

/// Reads `controller.quorum.voters`: `id@host:port` entries.
///
/// # Errors
/// If an entry is of another form.
pub fn parse_voters(entries: &[String]) -> Result<BTreeMap<i32, Address>, ConfigError> {
    let mut voters = BTreeMap::new();
    for entry in entries {
        let Some((id, address)) = entry.split_once('@').filter(|(_, rest)| !rest.contains('@')) else {
            return Err(ConfigError(format!(
                "Invalid configuration value for controller.quorum.voters: '{entry}'. Each entry should be \
                 in the form `{{id}}@{{host}}:{{port}}`."
            )));
        };
        let Ok(id) = id.parse() else {
            return Err(ConfigError(format!("Failed to parse voter ID as an integer from {id}")));
        };
        let Some(address) = parse_address(address) else {
            return Err(ConfigError(format!(
                "Failed to parse host name and port from entry {entry} for the configuration \
                 controller.quorum.voters. Each entry should be in the form `{{id}}@{{host}}:{{port}}`."
            )));
        };
        voters.insert(id, address);
    }
    Ok(voters)
}

/// Reads `controller.quorum.bootstrap.servers`: `host:port` entries.
///
/// # Errors
/// If an entry is of another form.
pub fn parse_servers(entries: &[String]) -> Result<Vec<Address>, ConfigError> {
    let read = |entry: &String| {
        parse_address(entry).ok_or_else(|| {
            ConfigError(format!(
                "Failed to parse host name and port from {entry} for the configuration \
                 controller.quorum.bootstrap.servers. Each entry should be in the form \"{{host}}:{{port}}\""
            ))
        })
    };
    entries.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        super::super::parse::split_list(text)
    }

    fn read(text: &str, ports: Ports) -> Result<String, ConfigError> {
        let protocols = parse_protocol_map("PLAINTEXT:PLAINTEXT,SSL:SSL,CONTROLLER:SASL_SSL").unwrap();
        let endpoints = parse_listeners(&list(text), &protocols, ports)?;
        Ok(endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn listeners_have_a_name_a_host_and_a_port() {
        let good = "plaintext://:9092,SSL://[::1]:9093,CONTROLLER://a-b.c:0";
        assert_eq!(
            read(good, Ports::Distinct).unwrap(),
            "PLAINTEXT://:9092 SSL://[::1]:9093 CONTROLLER://a-b.c:0"
        );
        for bad in
            ["PLAINTEXT://host", "PLAINTEXT:9092", "PLAINTEXT://:99999", "OTHER://:1", "PLAINTEXT://a b:1"]
        {
            assert!(read(bad, Ports::Distinct).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_is_bound_once_per_family() {
        assert!(read("PLAINTEXT://:1,SSL://:1", Ports::Distinct).is_err());
        assert!(read("PLAINTEXT://:1,SSL://:1", Ports::Shared).is_ok());
        assert!(read("PLAINTEXT://127.0.0.1:1,SSL://[::1]:1", Ports::Distinct).is_ok());
        assert!(read("PLAINTEXT://127.0.0.1:1,SSL://127.0.0.2:1", Ports::Distinct).is_err());
        assert!(read("PLAINTEXT://:0,SSL://:0", Ports::Distinct).is_ok());
        assert!(read("SSL://:1,SSL://:2", Ports::Shared).is_err());
    }

    #[test]
    fn voters_have_an_id() {
        let voters = parse_voters(&list("1@a:9093, 2@[::1]:9094")).unwrap();
        assert_eq!(voters[&2], Address { host: "::1".to_owned(), port: 9094 });
        for bad in ["a:9093", "x@a:1", "1@a", "1@a:b", "1@@a:1", "1@:1"] {
            assert!(parse_voters(&list(bad)).is_err(), "{bad}");
        }
        assert!(parse_servers(&list("a:1,b:2")).is_ok());
        assert!(parse_servers(&list("a")).is_err());
    }

    #[test]
    fn an_unknown_protocol_is_named() {
        assert_eq!(
            parse_protocol_map("A:TLS").unwrap_err().0,
            "Invalid security protocol `TLS` defined in listener.security.protocol.map"
        );
    }
}
