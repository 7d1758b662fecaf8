//! `format`: what is asked for, checked, then done by the part that knows the files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ottla_log::{Disk, OsDisk};
use ottla_metadata::config::NodeConfig;
use ottla_metadata::config::node::Quorum;
use ottla_metadata::features::{METADATA_VERSION, MetadataVersion};
use ottla_protocol::records::metadata::{FeatureLevelRecord, MetadataRecord};
use ottla_protocol::{NodeId, Now, Uuid};
use ottla_server::home::Random;
use ottla_server::home::format::{self, FormattedDirectory, Formatting, IfFormatted, InitialQuorum};
use ottla_server::home::voters::{Endpoint, Voter, Voters};

use super::features;
use crate::tools::Out;
use crate::tools::failure::Failure;
use crate::tools::subcommands::Chosen;

/// Formats the directories that are not formatted yet, and says which.
pub fn run(config: &NodeConfig, chosen: &Chosen, out: Out<'_>) -> Result<(), Failure> {
    let (quorum, voters) = quorum(config, chosen)?;
    let (version, levels) =
        features::initial(chosen.value("release-version"), &chosen.values("feature"), voters)?;
    if chosen.has("add-scram") {
        let why = "SCRAM credentials cannot be added with this version yet.";
        return Err(Failure::Error(why.to_owned()));
    }
    let records = records(version, &levels)?;
    let joins = quorum == InitialQuorum::Joining;
    let formatting = Formatting {
        cluster_id: chosen.value("cluster-id").unwrap_or_default().to_owned(),
        node: config.node_id,
        directories: super::directories(config),
        metadata_directory: PathBuf::from(&config.metadata_log_dir),
        quorum: config.roles.has_controller().then_some(quorum),
        records,
        formatted: if chosen.has("ignore-formatted") { IfFormatted::Skip } else { IfFormatted::Refuse },
    };
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| Failure::Error(error.to_string()))?;
    let mut random = Random::new(u64::from_le_bytes(seed));
    let done = format::format(&disk, &formatting, &mut random, now());
    let done = done.map_err(|error| Failure::Error(error.to_string()))?;
    Ok(out.write_all(report(&done, version, &levels, joins).as_bytes())?)
}

fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { monotonic_us: 0, wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX) }
}

/// Who votes at first, and where voters are written.
fn quorum(config: &NodeConfig, chosen: &Chosen) -> Result<(InitialQuorum, features::Voters), Failure> {
    let error = |message: &str| Err(Failure::Error(message.to_owned()));
    let named = chosen.has("standalone") || chosen.has("initial-controllers");
    if let Quorum::Fixed(_) = config.quorum {
        if named {
            return error(
                "You cannot specify controller.quorum.voters and format the node with --initial-controllers or \
                 --standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and specify \
                 controller.quorum.bootstrap.servers instead.",
            );
        }
        return Ok((InitialQuorum::Configured, features::Voters::Configured));
    }
    let quorum = if chosen.has("standalone") {
        if !config.roles.has_controller() {
            return error("You can only use --standalone on a controller.");
        }
        InitialQuorum::Standalone(own_endpoints(config))
    } else if let Some(text) = chosen.value("initial-controllers") {
        InitialQuorum::Initial(voters(text, config)?)
    } else if config.roles.has_controller() && !chosen.has("no-initial-controllers") {
        return error(
            "Because controller.quorum.voters is not set on this controller, you must specify one of the following: \
             --standalone, --initial-controllers, or --no-initial-controllers.",
        );
    } else {
        InitialQuorum::Joining
    };
    Ok((quorum, features::Voters::InTheLog))
}

fn own_endpoints(config: &NodeConfig) -> Vec<Endpoint> {
    let own = config.advertised_controller.iter().map(|endpoint| Endpoint {
        listener: endpoint.listener.clone(),
        host: endpoint.host.clone().unwrap_or_else(|| "localhost".to_owned()),
        port: endpoint.port,
    });
    own.collect()
}

/// `id@host:port:directory-id,...`
fn voters(text: &str, config: &NodeConfig) -> Result<Voters, Failure> {
    let listener = config.controller_listeners.first().cloned().unwrap_or_default();
    let mut voters: BTreeMap<NodeId, Voter> = BTreeMap::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (id, voter) = voter(part.trim(), &listener).map_err(Failure::Error)?;
        if voters.insert(id, voter).is_some() {
            return Err(Failure::Error(format!("Node id {id} was specified more than once.")));
        }
    }
    if voters.is_empty() {
        return Err(Failure::Error("No voters given.".to_owned()));
    }
    Ok(Voters::new(voters))
}

fn voter(text: &str, listener: &str) -> Result<(NodeId, Voter), String> {
    let (id, rest) = text.split_once('@').ok_or("No @ found in dynamic voter string.")?;
    if id.is_empty() {
        return Err("Invalid @ at beginning of dynamic voter string.".to_owned());
    }
    let id: i32 = id.parse().map_err(|_| "Failed to parse node id in dynamic voter string.")?;
    if id < 0 {
        return Err(format!("Invalid negative node id {id} in dynamic voter string."));
    }
    if rest.is_empty() {
        return Err("No hostname found after node id.".to_owned());
    }
    let (host, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner
            .split_once(']')
            .ok_or("Hostname began with left bracket, but no right bracket was found.")?,
        None => rest.split_at(rest.find(':').ok_or("No colon following hostname could be found.")?),
    };
    let rest = rest.strip_prefix(':').ok_or("Port section must start with a colon.")?;
    let (port, directory) = rest.split_once(':').ok_or("No colon following port could be found.")?;
    let port: i64 = port.parse().map_err(|_| "Failed to parse port in dynamic voter string.")?;
    let port = u16::try_from(port).map_err(|_| format!("Invalid port {port} in dynamic voter string."))?;
    let directory: Uuid =
        directory.parse().map_err(|_| "Failed to parse directory ID in dynamic voter string.")?;
    let endpoint = Endpoint { listener: listener.to_owned(), host: host.to_owned(), port };
    let kraft_versions = (0, format::KRAFT_VERSION_MAX);
    Ok((NodeId(id), Voter { directory, endpoints: vec![endpoint], kraft_versions }))
}

/// metadata.version first, then the others by name.
fn ordered(levels: &BTreeMap<String, i16>) -> impl Iterator<Item = (&str, i16)> {
    let first = levels.iter().filter(|(name, _)| *name == METADATA_VERSION);
    let others = levels.iter().filter(|(name, _)| *name != METADATA_VERSION);
    first.chain(others).map(|(name, level)| (name.as_str(), *level))
}

fn records(version: MetadataVersion, levels: &BTreeMap<String, i16>) -> Result<Vec<Bytes>, Failure> {
    let encoded = ordered(levels).map(|(name, feature_level)| {
        let record =
            MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.to_owned(), feature_level });
        record.encode(version.record_version(&record)).map_err(|error| Failure::Error(error.to_string()))
    });
    encoded.collect()
}

fn report(
    done: &[FormattedDirectory],
    version: MetadataVersion,
    levels: &BTreeMap<String, i16>,
    joins: bool,
) -> String {
    if done.is_empty() {
        return "All of the log directories are already formatted.\n".to_owned();
    }
    let records: Vec<String> = ordered(levels)
        .map(|(name, level)| {
            format!(
                "ApiMessageAndVersion(FeatureLevelRecord(name='{name}', featureLevel={level}) at version 0)"
            )
        })
        .collect();
    let mut text = format!(
        "Bootstrap metadata: BootstrapMetadata(records=[{}], metadataVersionLevel={}, source=format command)\n",
        records.join(", "),
        version.level()
    );
    let mut done: Vec<&FormattedDirectory> = done.iter().collect();
    done.sort_by(|a, b| a.path.cmp(&b.path));
    for directory in done {
        // Kafka's tool calls the directory of a node that joins a plain one.
        let kind = match directory.kind {
            format::DirectoryKind::DynamicMetadata if joins => format::DirectoryKind::Metadata,
            kind => kind,
        };
        let (kind, path, version) = (kind.description(), directory.path.display(), version.name());
        text.push_str(&format!("Formatting {kind} {path} with metadata.version {version}.\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_are_read_with_their_directories() {
        let (id, read) = voter("2@[::1]:9093:JEXY6aqzQY-32P5TStzaFg", "CONTROLLER").unwrap();
        assert_eq!(id, NodeId(2));
        assert_eq!(read.directory.to_string(), "JEXY6aqzQY-32P5TStzaFg");
        let endpoint = Endpoint { listener: "CONTROLLER".to_owned(), host: "::1".to_owned(), port: 9093 };
        assert_eq!(read.endpoints, [endpoint]);
        for (text, expected) in [
            ("2", "No @ found in dynamic voter string."),
            ("@h:1:x", "Invalid @ at beginning of dynamic voter string."),
            ("x@h:1:x", "Failed to parse node id in dynamic voter string."),
            ("2@h", "No colon following hostname could be found."),
            ("2@h:1", "No colon following port could be found."),
            ("2@h:99999:JEXY6aqzQY-32P5TStzaFg", "Invalid port 99999 in dynamic voter string."),
            ("2@h:1:x", "Failed to parse directory ID in dynamic voter string."),
        ] {
            assert_eq!(voter(text, "C").unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn the_report_is_kafkas() {
        let levels = BTreeMap::from([("group.version".to_owned(), 1), (METADATA_VERSION.to_owned(), 25)]);
        let version = MetadataVersion::from_level(25).unwrap();
        let directory = |path: &str, kind| FormattedDirectory { path: path.into(), id: Uuid::ZERO, kind };
        let done = [
            directory("/b", format::DirectoryKind::Data),
            directory("/a", format::DirectoryKind::DynamicMetadata),
        ];
        assert_eq!(
            report(&done, version, &levels, true),
            "Bootstrap metadata: BootstrapMetadata(records=[ApiMessageAndVersion(FeatureLevelRecord(name='metadata.version', \
             featureLevel=25) at version 0), ApiMessageAndVersion(FeatureLevelRecord(name='group.version', featureLevel=1) at \
             version 0)], metadataVersionLevel=25, source=format command)\n\
             Formatting metadata directory /a with metadata.version 4.0-IV3.\n\
             Formatting data directory /b with metadata.version 4.0-IV3.\n"
        );
        assert_eq!(
            report(&[], version, &levels, false),
            "All of the log directories are already formatted.\n"
        );
    }
}
