//! The disk as one synchronous trait: what a log needs of a file system and no more.
//!
//! [`OsDisk`] is the real one; [`MemoryDisk`] loses, tears, flips and refuses on demand. Nothing else in this crate
//! touches a file. A name is on the disk for good only after [`Disk::sync_dir`] of its folder, bytes only after
//! [`DiskFile::sync`].

mod memory;
mod os;

pub use memory::{Crash, Injected, MemoryDisk};
pub use os::OsDisk;

use std::any::Any;
use std::fmt;
use std::io;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use crate::place::Cold;

/// A file system, or a made-up one.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// [`DiskError`]; see [`DiskError::is_missing`].
    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError>;

    /// Opens a file for reading and writing, empty: made anew, or emptied.
    ///
    /// # Errors
    /// [`DiskError`].
    fn create(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError>;

    /// Gives a file or folder another name, replacing a file of that name.
    ///
    /// # Errors
    /// [`DiskError`].
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Removes a file; whether there was one is the answer.
    ///
    /// # Errors
    /// [`DiskError`].
    fn remove(&self, path: &Path) -> Result<bool, DiskError>;

    /// Makes a folder, with those above it; one that exists already is fine.
    ///
    /// # Errors
    /// [`DiskError`].
    fn create_dir(&self, path: &Path) -> Result<(), DiskError>;

    /// Removes a folder with all that is in it; one that does not exist is fine.
    ///
    /// # Errors
    /// [`DiskError`].
    fn remove_dir(&self, path: &Path) -> Result<(), DiskError>;

    /// What is in a folder, sorted by name.
    ///
    /// # Errors
    /// [`DiskError`]; see [`DiskError::is_missing`].
    fn list(&self, dir: &Path) -> Result<Vec<Entry>, DiskError>;

    /// Length and age of a file or folder; `None` where there is none.
    ///
    /// # Errors
    /// [`DiskError`].
    fn stat(&self, path: &Path) -> Result<Option<Stat>, DiskError>;

    /// Puts the names in a folder on the disk for good.
    ///
    /// # Errors
    /// [`DiskError`], final: see [`DiskFile::sync`].
    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError>;

    /// Takes the lock that keeps other processes off a log directory; `None` when one of them has it.
    ///
    /// # Errors
    /// [`DiskError`].
    fn lock(&self, path: &Path) -> Result<Option<DiskLock>, DiskError>;

    /// How large the file system is and how much of it is free.
    ///
    /// # Errors
    /// [`DiskError`].
    fn space(&self, dir: &Path) -> Result<Space, DiskError>;

    /// All bytes of a small file; `None` where there is none.
    ///
    /// # Errors
    /// [`DiskError`].
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
        let file = match self.open(path) {
            Ok(file) => file,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; usize::try_from(file.length()?).unwrap_or(usize::MAX)];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }

    /// Writes a small file whole and for good: after a crash either the old or the new content is there.
    ///
    /// # Errors
    /// [`DiskError`].
    fn replace(&self, path: &Path, content: &[u8]) -> Result<(), DiskError> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".tmp");
        let draft = PathBuf::from(draft);
        let file = self.create(&draft)?;
        file.write_at(&[IoSlice::new(content)], 0)?;
        file.sync()?;
        self.rename(&draft, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new(".")))
    }
}

/// One open file. It stays readable when its name is gone.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Fills `buffer` from `position` on; fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// [`DiskError`].
    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, DiskError>;

    /// As [`read_at`](Self::read_at), but `None` instead of waiting for the disk.
    ///
    /// # Errors
    /// [`DiskError`].
    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> Result<Option<usize>, DiskError> {
        self.read_at(buffer, position).map(Some)
    }

    /// Writes all of `parts`, one behind the other, from `position` on.
    ///
    /// # Errors
    /// [`DiskError`]; some of the bytes may have been written. See [`DiskError::is_full`].
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> Result<(), DiskError>;

    /// Makes the file `length` bytes long.
    ///
    /// # Errors
    /// [`DiskError`].
    fn truncate(&self, length: u64) -> Result<(), DiskError>;

    /// Reserves room up to `length`; the file grows to it, with zeros.
    ///
    /// # Errors
    /// [`DiskError`].
    fn allocate(&self, length: u64) -> Result<(), DiskError>;

    /// Puts all bytes on the disk for good.
    ///
    /// # Errors
    /// [`DiskError`], and then nobody knows what is on the disk: it must not be tried again.
    fn sync(&self) -> Result<(), DiskError>;

    /// Bytes of the file.
    ///
    /// # Errors
    /// [`DiskError`].
    fn length(&self) -> Result<u64, DiskError>;

    /// Whether it is one of the last files that may be open. What stays open leaves those to what does not.
    fn is_among_last(&self) -> bool {
        false
    }

    /// The descriptor, for the system calls that send a file; `None` when there is no such thing.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;
}

/// Held as long as this lives.
pub struct DiskLock(Box<dyn Any + Send + Sync>);

impl DiskLock {
    /// Whatever gives the lock back when it is dropped.
    #[must_use]
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self(Box::new(guard))
    }
}

impl fmt::Debug for DiskLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskLock({:?})", (*self.0).type_id())
    }
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The last part of the path. Names that are not UTF-8 are none of Kafka's and are left out.
    pub name: String,
    /// File or folder.
    pub kind: EntryKind,
}

/// What stands behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A file (or anything that is not a folder).
    File,
    /// A folder.
    Dir,
}

/// Length and age of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub length: u64,
    /// When it was last written, in ms since 1970.
    pub modified_ms: i64,
}

/// Room on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What is left for us.
    pub usable: u64,
}

/// The disk failed. But for what [is passing](Self::is_passing), the log directory goes offline.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}", path = path.display())]
pub struct DiskError {
    /// What was tried.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    pub source: Arc<io::Error>,
}

impl DiskError {
    /// An error of the system, with what was tried.
    #[must_use]
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source: Arc::new(source) }
    }

    /// As if there were no descriptor left.
    #[must_use]
    pub fn without_descriptor(action: &'static str, path: &Path) -> Self {
        Self::new(action, path, Errno::MFILE.into())
    }

    /// Bytes that cannot be what was written.
    #[must_use]
    pub fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::new("understand", path, io::Error::new(io::ErrorKind::InvalidData, what.into()))
    }

    /// The same, but never to be tried again: where a sync finds no room, bytes that were taken are lost, and what has
    /// been done by half cannot be begun anew.
    pub(crate) fn hardened(self) -> Self {
        if self.is_passing() {
            Self::new(self.action, &self.path, io::Error::other(self.source))
        } else {
            self
        }
    }

    /// No room. Nothing is broken, and the same may succeed later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// The process or the system has as many files open as it may. Nothing has been touched.
    #[must_use]
    pub fn lacks_descriptors(&self) -> bool {
        let scarce = [Errno::MFILE, Errno::NFILE];
        self.source.raw_os_error().is_some_and(|code| scarce.iter().any(|errno| errno.raw_os_error() == code))
    }

    /// No room, or no descriptor: the disk is well, and the same may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.is_full() || self.lacks_descriptors()
    }

    /// There is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Where to read first, when the error is that bytes are not in the page cache.
    pub(crate) fn cold_position(&self) -> Option<u64> {
        self.source.get_ref()?.downcast_ref::<Cold>().map(|cold| cold.position)
    }

    /// What was read is not what was once written: a checksum or a form is wrong.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        self.source.kind() == io::ErrorKind::InvalidData
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_without_room_is_not_merely_full() {
        let full = DiskError::new("sync", Path::new("a.log"), io::Error::from_raw_os_error(28));
        assert!(full.is_full() && !full.clone().hardened().is_full());
        assert!(full.hardened().to_string().starts_with("cannot sync a.log: "));
    }

    #[test]
    fn a_want_of_descriptors_passes() {
        for code in [23, 24] {
            let error = DiskError::new("open", Path::new("a.log"), io::Error::from_raw_os_error(code));
            assert!(error.is_passing() && error.lacks_descriptors() && !error.is_full(), "{error}");
            assert!(!error.hardened().is_passing());
        }
        let broken = DiskError::new("open", Path::new("a.log"), io::Error::from_raw_os_error(5));
        assert!(!broken.is_passing());
    }
}
