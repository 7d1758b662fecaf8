//! Where a log's files are, and how Kafka names them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::Offset;

use crate::disk::{Disk, DiskError, DiskFile};

pub(crate) const LOG: &str = ".log";
pub(crate) const OFFSET_INDEX: &str = ".index";
pub(crate) const TIME_INDEX: &str = ".timeindex";
pub(crate) const TRANSACTION_INDEX: &str = ".txnindex";
pub(crate) const SNAPSHOT: &str = ".snapshot";
pub(crate) const DELETED: &str = ".deleted";
pub(crate) const CLEANED: &str = ".cleaned";
pub(crate) const SWAP: &str = ".swap";

/// The folder of a partition, and the disk it is on.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub reach: Reach,
}

/// How far a read may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It waits for the disk.
    Disk,
    /// It fails with [`Cold`] rather than wait.
    Cache,
}

/// Bytes that are not in the page cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cold {
    pub position: u64,
    pub length: usize,
}

impl fmt::Display for Cold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {} are not in the page cache", self.length, self.position)
    }
}

impl std::error::Error for Cold {}

impl Place {
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir, reach: Reach::Disk }
    }

    /// Reads from one of the files, no further than is allowed.
    pub fn read(
        &self,
        file: &dyn DiskFile,
        (base, suffix): (Offset, &str),
        buffer: &mut [u8],
        position: u64,
    ) -> Result<usize, DiskError> {
        if self.reach == Reach::Disk {
            return file.read_at(buffer, position);
        }
        let cold = Cold { position, length: buffer.len() };
        file.read_cached_at(buffer, position)?.ok_or_else(|| {
            DiskError::new(
                "wait for",
                &self.path(base, suffix),
                io::Error::new(io::ErrorKind::WouldBlock, cold),
            )
        })
    }

    pub fn path(&self, base: Offset, suffix: &str) -> PathBuf {
        self.dir.join(file_name(base, suffix))
    }

    pub fn open(&self, base: Offset, suffix: &str) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.disk.open(&self.path(base, suffix))
    }

    pub fn open_or_create(&self, base: Offset, suffix: &str) -> Result<Arc<dyn DiskFile>, DiskError> {
        match self.open(base, suffix) {
            Err(error) if error.is_missing() => self.disk.create(&self.path(base, suffix)),
            result => result,
        }
    }

    pub fn length(&self, base: Offset, suffix: &str) -> Result<Option<u64>, DiskError> {
        Ok(self.disk.stat(&self.path(base, suffix))?.map(|stat| stat.length))
    }
}

/// `00000000000000000042.log` and its like.
pub(crate) fn file_name(base: Offset, suffix: &str) -> String {
    format!("{:020}{suffix}", base.0)
}

/// The offset and the suffix of a file's name; `None` when the name is of another kind.
pub(crate) fn parse_name(name: &str) -> Option<(Offset, &str)> {
    let dot = name.find('.')?;
    let (digits, suffix) = name.split_at(dot);
    let number = digits.bytes().all(|c| c.is_ascii_digit()).then(|| digits.parse::<i64>().ok())??;
    Some((Offset(number), suffix))
}

/// `path` under the name that marks it as on its way out.
pub(crate) fn deleted(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(DELETED);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        assert_eq!(file_name(Offset(42), LOG), "00000000000000000042.log");
        assert_eq!(parse_name("00000000000000000042.log"), Some((Offset(42), LOG)));
        let swap = parse_name("00000000000000000042.log.swap");
        assert_eq!(swap, Some((Offset(42), ".log.swap")));
        for other in ["leader-epoch-checkpoint", "partition.metadata", ".log", "1e3.log", "+1.log", "42"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
