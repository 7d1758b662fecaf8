//! From a tool's options to a client: `--command-config` and its kin, `key=value` arguments, bootstrap addresses.

use std::fs;

use ottla_client::net::Client;
use ottla_client::{ClientError, Properties};

use super::failure::Failure;
use super::options::Options;

/// Reads a properties file. Its absence is reported by its name alone, as Kafka does.
pub fn load(path: &str) -> Result<Properties, Failure> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::Error(path.to_owned()),
        _ => Failure::Error(format!("{path}: {error}")),
    })?;
    let pairs = ottla_metadata::config::parse_properties(&bytes)
        .map_err(|error| Failure::Error(error.to_string()))?;
    Ok(Properties(pairs))
}

/// The properties in the file that an option names, or none.
pub fn load_option(options: &Options, name: &str) -> Result<Properties, Failure> {
    options.value(name)?.map_or_else(|| Ok(Properties::default()), |path| load(&path))
}

/// Pairs out of `key=value` words; a word without `=` is a key with an empty value.
pub fn pairs(words: &[String]) -> Properties {
    let mut properties = Properties::default();
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        properties.set(key, value);
    }
    properties
}

/// A client for an administrator's tool.
pub async fn admin(mut properties: Properties) -> Result<Client, ClientError> {
    properties.set_default("client.id", "adminclient-1");
    Client::connect(&properties).await
}

/// Whether every address in a list has a port, as the console tools ask before anything else.
pub fn check_bootstrap(list: &str) -> Result<(), Failure> {
    if list.trim().is_empty() {
        return Err(Failure::Usage("Error while validating the bootstrap address\n".to_owned()));
    }
    let has_port = |address: &str| ottla_client::settings::Address::parse(address).is_some();
    if !list.split(',').all(has_port) {
        return Err(Failure::Usage("Please provide valid host:port like host1:9091,host2:9092\n".to_owned()));
    }
    Ok(())
}
