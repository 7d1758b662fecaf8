//! `meta.properties`: whose directory it is. A Java properties file, one in every log directory.

use std::path::Path;

use ottla_protocol::{NodeId, Uuid};

use crate::disk::{Disk, DiskError};

/// The file's name.
pub const FILE_NAME: &str = "meta.properties";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// 0 in the days of ZooKeeper, 1 since.
    pub version: MetaVersion,
    /// The cluster. Always there in version 1.
    pub cluster_id: Option<String>,
    /// The node. Always there in version 1.
    pub node_id: Option<NodeId>,
    /// The directory itself, since Kafka 3.7 (KIP-858).
    pub directory_id: Option<Uuid>,
}

/// The two shapes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaVersion {
    /// With `broker.id`.
    V0,
    /// With `node.id`.
    V1,
}

impl MetaVersion {
    fn node_key(self) -> &'static str {
        match self {
            Self::V0 => "broker.id",
            Self::V1 => "node.id",
        }
    }
}

impl MetaProperties {
    /// What formatting writes today.
    #[must_use]
    pub fn new(cluster_id: String, node_id: NodeId, directory_id: Uuid) -> Self {
        Self {
            version: MetaVersion::V1,
            cluster_id: Some(cluster_id),
            node_id: Some(node_id),
            directory_id: Some(directory_id),
        }
    }

    /// Reads the file of a log directory; `None` where there is none.
    ///
    /// # Errors
    /// [`DiskError`]; when the file makes no sense, [`DiskError::is_corrupt`].
    pub fn read(disk: &dyn Disk, directory: &Path) -> Result<Option<Self>, DiskError> {
        let path = directory.join(FILE_NAME);
        let Some(bytes) = disk.read(&path)? else { return Ok(None) };
        // Java reads these files as UTF-8 now and as Latin-1 once; nothing in them needs either.
        let parsed = Self::parse(&String::from_utf8_lossy(&bytes));
        parsed.map(Some).map_err(|what| DiskError::corrupt(&path, what))
    }

    /// Writes the file of a log directory, for good.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn write(&self, disk: &dyn Disk, directory: &Path) -> Result<(), DiskError> {
        disk.replace(&directory.join(FILE_NAME), self.to_text().as_bytes())
    }

    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let node = self.node_id.map(|id| (self.version.node_key(), id.to_string()));
        let directory = self.directory_id.map(|id| ("directory.id", id.to_string()));
        let version = if self.version == MetaVersion::V0 { "0" } else { "1" };
        let cluster = self.cluster_id.as_deref().map(|id| ("cluster.id", escape(id)));
        let lines = [cluster, directory, node, Some(("version", version.to_owned()))];
        lines.into_iter().flatten().map(|(key, value)| format!("{key}={value}\n")).collect()
    }

    /// Understands the text of the file.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pairs: Vec<(String, String)> = text.lines().filter_map(property).collect();
        let get = |key: &str| pairs.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.clone());
        let version = match get("version").as_deref().unwrap_or("0") {
            "0" => MetaVersion::V0,
            "1" => MetaVersion::V1,
            other => return Err(format!("version {other:?} is not known")),
        };
        let node_key = version.node_key();
        let node_id = get(node_key).map(|id| id.trim().parse::<i32>().map(NodeId)).transpose();
        let node_id = node_id.map_err(|_| format!("{node_key} is no number"))?;
        let directory_id = get("directory.id").map(|id| id.parse::<Uuid>()).transpose();
        let directory_id = directory_id.map_err(|error| format!("directory.id: {error}"))?;
        let cluster_id = get("cluster.id");
        if version == MetaVersion::V1 && (cluster_id.is_none() || node_id.is_none()) {
            let key = if cluster_id.is_none() { "cluster.id" } else { node_key };
            return Err(format!("{key} was not found"));
        }
        Ok(Self { version, cluster_id, node_id, directory_id })
    }
}

/// Splits a line of a Java properties file; comments and blank lines yield nothing.
fn property(line: &str) -> Option<(String, String)> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with(['#', '!']) {
        return None;
    }
    let mut escaped = false;
    let split = line.find(|c: char| {
        let ends = !escaped && (c == '=' || c == ':' || c.is_whitespace());
        escaped = !escaped && c == '\\';
        ends
    });
    let (key, rest) = line.split_at(split.unwrap_or(line.len()));
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
    Some((unescape(key), unescape(value)))
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '=' | ':' | '#' | '!') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn what_java_wrote_is_understood() {
        let text = "#\n#Sat Nov 21 10:11:12 UTC 2026\ncluster.id=4L6g3nShT-eMCtK--X86sw\n\
                    directory.id=JIHN6XWmTU-yMIsiabtGRQ\nnode.id=1\nversion=1\n";
        let read = MetaProperties::parse(text).unwrap();
        let directory_id = "JIHN6XWmTU-yMIsiabtGRQ".parse().unwrap();
        let expected = MetaProperties::new("4L6g3nShT-eMCtK--X86sw".to_owned(), NodeId(1), directory_id);
        assert_eq!(read, expected);
        assert_eq!(MetaProperties::parse(&read.to_text()).unwrap(), read);
    }

    #[test]
    fn the_zookeeper_shape_is_understood() {
        let read = MetaProperties::parse("version=0\nbroker.id=7\n").unwrap();
        assert_eq!((read.version, read.node_id, read.cluster_id), (MetaVersion::V0, Some(NodeId(7)), None));
        assert_eq!(MetaProperties::parse("").unwrap().version, MetaVersion::V0);
        let odd = MetaProperties::parse(" broker.id : 3 \n!x\ncluster.id a\\=b\n").unwrap();
        assert_eq!((odd.node_id, odd.cluster_id.as_deref()), (Some(NodeId(3)), Some("a=b")));
        assert_eq!(
            MetaProperties::parse("cluster.id=a\\=b").unwrap().to_text(),
            "cluster.id=a\\=b\nversion=0\n"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["version=2", "version=1\nnode.id=1", "version=1\ncluster.id=x", "broker.id=x", "directory.id=x"]
        {
            assert!(MetaProperties::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn it_is_written_for_good() {
        let disk = MemoryDisk::new();
        let dir = Path::new("/data");
        disk.create_dir(dir).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        assert_eq!(MetaProperties::read(&disk, dir).unwrap(), None);
        let ours = MetaProperties::new("c".to_owned(), NodeId(5), Uuid::from_random([9; 16]));
        ours.write(&disk, dir).unwrap();
        disk.reboot(crate::disk::Crash::Power);
        assert_eq!(MetaProperties::read(&disk, dir).unwrap(), Some(ours));
    }
}
