//! Formatting log directories, and the records that formatting leaves for the first controller.
//!
//! As Kafka 4.4 does it (KIP-1170): `meta.properties` in every directory, and in a controller's metadata directory one
//! bootstrap checkpoint with the membership and the bootstrap records. `bootstrap.checkpoint` of earlier releases is
//! still read. What goes into the records (features, SCRAM) is the caller's matter.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::directory::METADATA_DIR;
use ottla_log::meta_properties::MetaProperties;
use ottla_log::{Disk, DiskError};
use ottla_protocol::time::Now;
use ottla_protocol::{NodeId, Uuid};

use crate::message::SnapshotId;
use crate::random::Random;
use crate::snapshot::{Snapshot, SnapshotWriter};
use crate::voters::{Endpoint, Voter, Voters};

/// Where releases up to 4.3 left the bootstrap records, beside the folder of the metadata log.
pub const LEGACY_BOOTSTRAP: &str = "bootstrap.checkpoint";
/// The highest kraft.version this engine works with.
pub const KRAFT_VERSION_MAX: i16 = 1;

/// What is to be formatted, and how.
#[derive(Clone, Debug)]
pub struct Formatting {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node: NodeId,
    /// `log.dirs`, and `metadata.log.dir` if it is not one of them.
    pub directories: Vec<PathBuf>,
    /// `metadata.log.dir`.
    pub metadata_directory: PathBuf,
    /// Who votes at first. `None` on a node without the controller role: it gets no checkpoint.
    pub quorum: Option<InitialQuorum>,
    /// The values of the bootstrap records, metadata.version first.
    pub records: Vec<Bytes>,
    /// What becomes of directories that are formatted already.
    pub formatted: IfFormatted,
}

/// Who votes in a quorum that is being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitialQuorum {
    /// Those in `controller.quorum.voters` (kraft.version 0).
    Configured,
    /// This node alone, listening here (`--standalone`, kraft.version 1).
    Standalone(Vec<Endpoint>),
    /// These, each with its directory id (`--initial-controllers`, kraft.version 1).
    Initial(Voters),
    /// Somebody else: this node will join (`--no-initial-controllers`, kraft.version 1).
    Joining,
}

/// What becomes of directories that are formatted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfFormatted {
    /// Then nothing is formatted.
    Refuse,
    /// They are left alone (`--ignore-formatted`).
    Skip,
}

/// A directory that has been formatted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormattedDirectory {
    /// Where.
    pub path: PathBuf,
    /// Its id from now on.
    pub id: Uuid,
    /// What it is for.
    pub kind: DirectoryKind,
}

/// What a directory is for; Kafka's tool names it when it formats one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryKind {
    /// Partitions only.
    Data,
    /// The metadata log of a quorum that is configured.
    Metadata,
    /// The metadata log, in a quorum that names its voters itself, of a node that is none of them yet.
    DynamicMetadata,
    /// The metadata log of a voter in such a quorum.
    DynamicMetadataVoter,
}

/// Why formatting was not done, or not finished.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FormatError {
    /// One of them is formatted already.
    #[error("Log directory {} is already formatted. Use --ignore-formatted to ignore this directory and format the others.", .0.display())]
    AlreadyFormatted(PathBuf),
    /// One of them belongs to another node or cluster.
    #[error("{} belongs to node {} of cluster {}", .path.display(), .node.map_or("?".to_owned(), |id| id.to_string()), .cluster.as_deref().unwrap_or("?"))]
    Foreign {
        /// Which directory.
        path: PathBuf,
        /// Whose it is.
        node: Option<NodeId>,
        /// In which cluster.
        cluster: Option<String>,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl DirectoryKind {
    /// As Kafka's tool says it.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Data => "data directory",
            Self::Metadata => "metadata directory",
            Self::DynamicMetadata => "dynamic metadata directory",
            Self::DynamicMetadataVoter => "dynamic metadata voter directory",
        }
    }
}

/// Formats the directories that are not formatted yet, and says which.
///
/// A directory counts as formatted once its `meta.properties` is there, and that is written last.
///
/// # Errors
/// [`FormatError`]; before anything was written, but for a disk that fails midway.
pub fn format(
    disk: &Arc<dyn Disk>,
    formatting: &Formatting,
    random: &mut Random,
    now: Now,
) -> Result<Vec<FormattedDirectory>, FormatError> {
    let mut todo = Vec::new();
    for path in &formatting.directories {
        match MetaProperties::read(&**disk, path)? {
            None => todo.push(path),
            Some(theirs) => check_ours(formatting, path, &theirs)?,
        }
    }
    let mut done = Vec::with_capacity(todo.len());
    for path in todo {
        let (kind, id) = kind_and_id(formatting, path, random);
        disk.create_dir(path)?;
        if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
            disk.sync_dir(above)?;
        }
        if kind != DirectoryKind::Data && formatting.quorum.is_some() {
            write_bootstrap(disk, formatting, path, id, now)?;
        }
        MetaProperties::new(formatting.cluster_id.clone(), formatting.node, id).write(&**disk, path)?;
        done.push(FormattedDirectory { path: path.clone(), id, kind });
    }
    Ok(done)
}

/// The bootstrap records that formatting left in a metadata directory; `None` if there are none, and then the first
/// controller begins with its newest metadata.version.
///
/// # Errors
/// [`DiskError`], also for a file that is not whole.
pub fn read_bootstrap(disk: &dyn Disk, metadata_directory: &Path) -> Result<Option<Vec<Bytes>>, DiskError> {
    let legacy = metadata_directory.join(LEGACY_BOOTSTRAP);
    if let Some(bytes) = disk.read(&legacy)? {
        let snapshot = Snapshot::parse(SnapshotId::BOOTSTRAP, bytes)
            .map_err(|what| DiskError::corrupt(&legacy, what))?;
        return Ok(Some(snapshot.records));
    }
    match Snapshot::read(disk, &metadata_directory.join(METADATA_DIR), SnapshotId::BOOTSTRAP) {
        Ok(snapshot) if snapshot.records.is_empty() => Ok(None),
        Ok(snapshot) => Ok(Some(snapshot.records)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A random directory id that Kafka would take: not one of the reserved ones, nor one whose text looks like an option.
#[must_use]
pub fn new_directory_id(random: &mut Random) -> Uuid {
    loop {
        let id = Uuid::from_random(random.bytes16());
        if !id.is_reserved() && !id.to_string().starts_with('-') {
            return id;
        }
    }
}

fn check_ours(formatting: &Formatting, path: &Path, theirs: &MetaProperties) -> Result<(), FormatError> {
    let other_node = theirs.node_id.is_some_and(|node| node != formatting.node);
    let other_cluster = theirs.cluster_id.as_ref().is_some_and(|cluster| *cluster != formatting.cluster_id);
    if other_node || other_cluster {
        let (node, cluster) = (theirs.node_id, theirs.cluster_id.clone());
        return Err(FormatError::Foreign { path: path.to_owned(), node, cluster });
    }
    match formatting.formatted {
        IfFormatted::Refuse => Err(FormatError::AlreadyFormatted(path.to_owned())),
        IfFormatted::Skip => Ok(()),
    }
}

fn kind_and_id(formatting: &Formatting, path: &Path, random: &mut Random) -> (DirectoryKind, Uuid) {
    let fresh = new_directory_id(random);
    if path != formatting.metadata_directory {
        return (DirectoryKind::Data, fresh);
    }
    match &formatting.quorum {
        None | Some(InitialQuorum::Configured) => (DirectoryKind::Metadata, fresh),
        Some(InitialQuorum::Joining) => (DirectoryKind::DynamicMetadata, fresh),
        Some(InitialQuorum::Standalone(_)) => (DirectoryKind::DynamicMetadataVoter, fresh),
        Some(InitialQuorum::Initial(voters)) => match voters.get(formatting.node) {
            Some(voter) => (DirectoryKind::DynamicMetadataVoter, voter.directory),
            None => (DirectoryKind::DynamicMetadata, fresh),
        },
    }
}

fn write_bootstrap(
    disk: &Arc<dyn Disk>,
    formatting: &Formatting,
    path: &Path,
    id: Uuid,
    now: Now,
) -> Result<(), DiskError> {
    let (kraft_version, voters) = match &formatting.quorum {
        None | Some(InitialQuorum::Configured) => (0, None),
        Some(InitialQuorum::Joining) => (KRAFT_VERSION_MAX, None),
        Some(InitialQuorum::Initial(voters)) => (KRAFT_VERSION_MAX, Some(voters.clone())),
        Some(InitialQuorum::Standalone(endpoints)) => {
            let endpoints = endpoints.clone();
            let voter = Voter { directory: id, endpoints, kraft_versions: (0, KRAFT_VERSION_MAX) };
            (KRAFT_VERSION_MAX, Some(Voters::new([(formatting.node, voter)])))
        }
    };
    let dir = path.join(METADATA_DIR);
    disk.create_dir(&dir)?;
    let about = (now.wall_ms, kraft_version, voters.as_ref());
    let mut writer = SnapshotWriter::begin(Arc::clone(disk), &dir, SnapshotId::BOOTSTRAP, about)?;
    writer.append(&formatting.records)?;
    writer.finish()?;
    disk.sync_dir(path)
}
