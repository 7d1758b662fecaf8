//! kafka-broker-api-versions: what each broker answers to ApiVersions, beside what we speak.

use std::collections::BTreeMap;

use ottla_client::admin;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::ApiVersionsResponse;
use ottla_protocol::messages::describe_cluster::DescribeClusterBroker;

use super::failure::Failure;
use super::filter::with_bootstrap;
use super::options::{Flag, Usage};
use super::{Out, block_on, connect, parse};

/// What the tool understands.
pub static USAGE: Usage = Usage {
    about: "This tool helps to retrieve broker version information.",
    flags: &[
        Flag::value(
            "command-config",
            "String: command config property file",
            "A file with client properties.",
        ),
        Flag::value(
            "bootstrap-server",
            "String: server(s) to use for bootstrapping",
            "REQUIRED: where the cluster is.",
        ),
    ],
};

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    let options = parse(&USAGE, words)?;
    options.require(&["bootstrap-server"])?;
    let servers = options.value("bootstrap-server")?.unwrap_or_default();
    let properties = connect::load_option(&options, "command-config")?;
    block_on(async {
        let client = connect::admin(with_bootstrap(properties, &servers)).await?;
        let cluster = client.run(admin::describe_cluster()).await?;
        for broker in cluster.brokers {
            match client.run(admin::api_versions(broker.broker_id)).await {
                Ok(versions) => writeln!(out, "{} -> {}", name(&broker), table(&versions))?,
                Err(error) => writeln!(out, "{} -> ERROR: {error}", name(&broker))?,
            }
        }
        Ok(())
    })
}

fn name(broker: &DescribeClusterBroker) -> String {
    let rack = broker.rack.as_deref().unwrap_or("null");
    let DescribeClusterBroker { host, port, broker_id, is_fenced, .. } = broker;
    format!("{host}:{port} (id: {broker_id} rack: {rack} isFenced: {is_fenced})")
}

/// One line for each API that the broker or a client has.
fn table(versions: &ApiVersionsResponse) -> String {
    let mut rows: BTreeMap<i16, String> = BTreeMap::new();
    for key in ApiKey::ALL.iter().filter(|key| key.is_on_broker()) {
        rows.insert(key.code(), format!("{}({}): UNSUPPORTED", key.name(), key.code()));
    }
    for row in &versions.api_keys {
        let range = if row.min_version == row.max_version {
            row.min_version.to_string()
        } else {
            format!("{} to {}", row.min_version, row.max_version)
        };
        let text = match ApiKey::from_code(row.api_key) {
            None => format!("UNKNOWN({}): {range}", row.api_key),
            Some(key) => {
                let (least, most) = (key.min_version(), key.max_version());
                let usable = if most < row.min_version {
                    "unusable: node too new".to_owned()
                } else if row.max_version < least {
                    "unusable: node too old".to_owned()
                } else {
                    format!("usable: {}", most.min(row.max_version))
                };
                format!("{}({}): {range} [{usable}]", key.name(), row.api_key)
            }
        };
        rows.insert(row.api_key, text);
    }
    format!("(\n\t{}\n)", rows.into_values().collect::<Vec<_>>().join(",\n\t"))
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::api_versions::ApiVersion;

    use super::*;

    #[test]
    fn a_row_tells_what_is_usable() {
        let row = |api_key, min_version, max_version| ApiVersion { api_key, min_version, max_version };
        let versions = ApiVersionsResponse {
            api_keys: vec![row(0, 0, 13), row(46, 0, 0), row(1, 100, 101), row(999, 0, 2)],
            ..Default::default()
        };
        let text = table(&versions);
        assert!(text.starts_with(
            "(\n\tProduce(0): 0 to 13 [usable: 13],\n\tFetch(1): 100 to 101 [unusable: node too new],"
        ));
        assert!(text.contains("\tListPartitionReassignments(46): 0 [usable: 0],\n"));
        assert!(text.contains("\tMetadata(3): UNSUPPORTED,\n"));
        assert!(text.ends_with("\tUNKNOWN(999): 0 to 2\n)"));
    }

    #[test]
    fn a_broker_is_named_as_java_names_it() {
        let broker =
            DescribeClusterBroker { broker_id: 1, host: "h".to_owned(), port: 9092, ..Default::default() };
        assert_eq!(name(&broker), "h:9092 (id: 1 rack: null isFenced: false)");
    }
}
