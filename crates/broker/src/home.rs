//! The node's log directories at its start: locked, formatted, of one node and one cluster.
//!
//! A node that is its own only voter formats what is not formatted; nobody else could be harmed by it. With other
//! voters that is the operator's decision, and he is told what to type.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::directory::LogDirectory;
use ottla_log::directory::LogDirectoryError;
use ottla_log::meta_properties::MetaProperties;
use ottla_log::{Disk, DiskError};
use ottla_metadata::config::NodeConfig;
use ottla_metadata::config::node::Quorum;
use ottla_protocol::{NodeId, Now, Uuid};
use ottla_raft::format::{FormatError, FormattedDirectory, Formatting, IfFormatted, InitialQuorum};
pub use ottla_raft::random::Random;
// For the tool that formats in the operator's name.
use ottla_raft::voters::Endpoint;
pub use ottla_raft::{format, voters};

use crate::control::{Directories, Directory};

/// See the module.
#[derive(Debug)]
pub struct Home {
    /// The cluster that the directories belong to.
    pub cluster_id: String,
    /// `log.dirs`.
    pub directories: Arc<Directories>,
    /// `metadata.log.dir`.
    pub metadata_directory: PathBuf,
    /// The id of that directory.
    pub metadata_directory_id: Uuid,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Held where the metadata log has a directory of its own.
    pub metadata_lock: Option<LogDirectory>,
    /// What has just been formatted.
    pub formatted: Vec<FormattedDirectory>,
}

/// Why a node cannot live in its directories.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Somebody else does.
    #[error(transparent)]
    Taken(#[from] LogDirectoryError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The directories are another node's, or another cluster's.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Nobody has formatted them, and it is not for this node to do.
    #[error(
        "{} is not formatted, and this node is not the only voter. Format it once on each node, with the same cluster id: ottla kafka-storage format -t CLUSTER_ID -c server.properties (a new id: ottla kafka-storage random-uuid)",
        .0.display()
    )]
    NotFormatted(PathBuf),
    /// They do not agree.
    #[error("{}: {what}", .path.display())]
    Disagreement {
        /// The directory that is unlike the others.
        path: PathBuf,
        /// In what.
        what: String,
    },
}

/// Directories that cannot be used, and why.
type Lost = Vec<(PathBuf, DiskError)>;

/// Locks the directories, formats them where that is this node's to do, and looks through them.
///
/// # Errors
/// [`HomeError`].
pub fn move_in(
    config: &NodeConfig,
    disk: &Arc<dyn Disk>,
    records: &[Bytes],
    random: &mut Random,
    now: Now,
) -> Result<Home, HomeError> {
    let paths: Vec<PathBuf> = config.log_dirs.iter().map(PathBuf::from).collect();
    let metadata_directory = PathBuf::from(&config.metadata_log_dir);
    let mut all = paths.clone();
    if !all.contains(&metadata_directory) {
        all.push(metadata_directory.clone());
    }
    let (locked, mut lost) = lock(&all, &metadata_directory, disk)?;
    let all: Vec<PathBuf> = locked.iter().map(|directory| directory.path.clone()).collect();
    let formatted = format_missing(config, disk, &all, records, random, now)?;
    let mut cluster_id = None;
    let mut metadata_directory_id = Uuid::ZERO;
    let mut metadata_lock = None;
    let mut directories = Vec::with_capacity(paths.len());
    for log_directory in locked {
        let path = log_directory.path.clone();
        let id = identify(config.node_id, &path, &**disk, &mut cluster_id, random)?;
        let holds_metadata = path == metadata_directory;
        if holds_metadata {
            metadata_directory_id = id;
        }
        if !paths.contains(&path) {
            metadata_lock = Some(log_directory);
            continue;
        }
        match Directory::open(log_directory, id, now) {
            Ok(directory) => directories.push(directory),
            Err(error) if holds_metadata => return Err(error.into()),
            Err(error) => lose(&path, error, &mut lost),
        }
    }
    if directories.is_empty()
        && let Some((_, error)) = lost.pop()
    {
        return Err(error.into());
    }
    let lost = lost.into_iter().map(|(path, _)| path).collect();
    Ok(Home {
        cluster_id: cluster_id.unwrap_or_default(),
        directories: Arc::new(Directories::new(directories, lost)?),
        metadata_directory,
        metadata_directory_id,
        disk: Arc::clone(disk),
        metadata_lock,
        formatted,
    })
}

/// Locks what can be locked. A directory that is broken does not keep the others from being served (KIP-112), unless it
/// is that of the metadata log.
fn lock(
    all: &[PathBuf],
    metadata_directory: &Path,
    disk: &Arc<dyn Disk>,
) -> Result<(Vec<LogDirectory>, Lost), HomeError> {
    let mut locked = Vec::with_capacity(all.len());
    let mut lost = Vec::new();
    for path in all {
        let readable = LogDirectory::open(Arc::clone(disk), path).and_then(|directory| {
            match directory.meta_properties() {
                // Somebody has to look at it: that is no broken disk.
                Err(error) if !error.is_corrupt() => Err(error.into()),
                _ => Ok(directory),
            }
        });
        match readable {
            Ok(directory) => locked.push(directory),
            Err(LogDirectoryError::Disk(error)) if path != metadata_directory => {
                lose(path, error, &mut lost);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((locked, lost))
}

fn lose(path: &Path, error: DiskError, lost: &mut Lost) {
    tracing::error!(directory = %path.display(), %error, "a log directory is out of order; the others are served");
    lost.push((path.to_owned(), error));
}

fn format_missing(
    config: &NodeConfig,
    disk: &Arc<dyn Disk>,
    all: &[PathBuf],
    records: &[Bytes],
    random: &mut Random,
    now: Now,
) -> Result<Vec<FormattedDirectory>, HomeError> {
    let mut known = None;
    let mut missing = None;
    for path in all {
        match MetaProperties::read(&**disk, path)? {
            Some(properties) => known = properties.cluster_id.or(known),
            None => missing = missing.or(Some(path)),
        }
    }
    let Some(missing) = missing else { return Ok(Vec::new()) };
    let metadata_directory = PathBuf::from(&config.metadata_log_dir);
    // An empty directory beside formatted ones is a new disk; without the metadata log the node has lost its memory.
    let lost_memory = MetaProperties::read(&**disk, &metadata_directory)?.is_none();
    let quorum = match own_quorum(config) {
        Some(quorum) if known.is_none() || !lost_memory => quorum,
        None if known.is_some() && !lost_memory => InitialQuorum::Configured,
        _ => return Err(HomeError::NotFormatted(missing.clone())),
    };
    let cluster_id = known.unwrap_or_else(|| format::new_directory_id(random).to_string());
    let formatting = Formatting {
        cluster_id,
        node: config.node_id,
        directories: all.to_vec(),
        metadata_directory,
        quorum: config.roles.has_controller().then_some(quorum),
        records: records.to_vec(),
        formatted: IfFormatted::Skip,
    };
    Ok(format::format(disk, &formatting, random, now)?)
}

/// The quorum to make, where this node is all of it.
fn own_quorum(config: &NodeConfig) -> Option<InitialQuorum> {
    if !config.roles.has_controller() {
        return None;
    }
    match &config.quorum {
        Quorum::Alone => {
            let endpoints = config.advertised_controller.iter().map(|endpoint| Endpoint {
                listener: endpoint.listener.clone(),
                host: endpoint.host.clone().unwrap_or_else(|| "localhost".into()),
                port: endpoint.port,
            });
            Some(InitialQuorum::Standalone(endpoints.collect()))
        }
        Quorum::Fixed(voters) if voters.keys().eq([&config.node_id.0]) => Some(InitialQuorum::Configured),
        Quorum::Fixed(_) | Quorum::Dynamic(_) => None,
    }
}

/// Reads whose directory it is, and gives its id; directories of old have none yet and get one.
fn identify(
    node: NodeId,
    path: &Path,
    disk: &dyn Disk,
    cluster_id: &mut Option<String>,
    random: &mut Random,
) -> Result<Uuid, HomeError> {
    let disagreement = |what: String| HomeError::Disagreement { path: path.to_owned(), what };
    let Some(mut properties) = MetaProperties::read(disk, path)? else {
        return Err(HomeError::NotFormatted(path.to_owned()));
    };
    if let Some(theirs) = properties.node_id.filter(|&theirs| theirs != node) {
        return Err(disagreement(format!(
            "meta.properties says node.id {theirs}, the configuration says {node}; use the directory of node {node} or set node.id={theirs}"
        )));
    }
    match (&*cluster_id, &properties.cluster_id) {
        (Some(ours), Some(theirs)) if ours != theirs => {
            return Err(disagreement(format!(
                "meta.properties says cluster {theirs}, another directory says {ours}"
            )));
        }
        (None, theirs) => cluster_id.clone_from(theirs),
        _ => {}
    }
    if let Some(id) = properties.directory_id {
        return Ok(id);
    }
    let id = format::new_directory_id(random);
    properties.directory_id = Some(id);
    properties.write(disk, path)?;
    Ok(id)
}
