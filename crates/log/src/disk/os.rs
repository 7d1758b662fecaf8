//! The file system of the machine.
//!
//! The lock is an fcntl lock, as Java's is: an flock would not keep a JVM out, nor would the JVM's lock keep us out.
//! Such locks belong to the process: a second one within the same process is granted.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the one file of the crate that touches the file system"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::{Errno, ReadWriteFlags};

use super::{Disk, DiskError, DiskFile, DiskLock, Entry, EntryKind, Space, Stat};

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        let file = OpenOptions::new().read(true).write(true).open(path).or_else(|error| {
            // A folder that may only be read can still be served and dumped.
            if error.kind() == io::ErrorKind::PermissionDenied { File::open(path) } else { Err(error) }
        });
        Ok(Arc::new(OsFile::new(path, file.map_err(failed("open", path))?)))
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
        Ok(Arc::new(OsFile::new(path, file.map_err(failed("create", path))?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        fs::rename(from, to).map_err(failed("rename", from))
    }

    fn remove(&self, path: &Path) -> Result<bool, DiskError> {
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(DiskError::new("remove", path, error)),
        }
    }

    fn create_dir(&self, path: &Path) -> Result<(), DiskError> {
        fs::create_dir_all(path).map_err(failed("create folder", path))
    }

    fn remove_dir(&self, path: &Path) -> Result<(), DiskError> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DiskError::new("remove folder", path, error))
            }
            _ => Ok(()),
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>, DiskError> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
            let entry = entry.map_err(failed("list", dir))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // A link to a folder counts as that folder, as it does for Java.
            let kind = entry.file_type().map_err(failed("list", dir))?;
            let is_dir = kind.is_dir() || (kind.is_symlink() && entry.path().is_dir());
            entries.push(Entry { name, kind: if is_dir { EntryKind::Dir } else { EntryKind::File } });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>, DiskError> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DiskError::new("stat", path, error)),
        };
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ms = since.and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0);
        Ok(Some(Stat { length: metadata.len(), modified_ms }))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync folder", dir))
    }

    fn lock(&self, path: &Path) -> Result<Option<DiskLock>, DiskError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(failed("create", path))?;
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(DiskLock::new(file))),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(None),
            Err(error) => Err(DiskError::new("lock", path, error.into())),
        }
    }

    fn space(&self, dir: &Path) -> Result<Space, DiskError> {
        let stat = rustix::fs::statvfs(dir).map_err(|error| DiskError::new("stat", dir, error.into()))?;
        let of = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Space { total: of(stat.f_blocks), usable: of(stat.f_bavail) })
    }
}

#[derive(Debug)]
struct OsFile {
    file: File,
    /// The name it was opened under, for messages; it may have another by now.
    path: PathBuf,
}

impl OsFile {
    fn new(path: &Path, file: File) -> Self {
        Self { file, path: path.to_owned() }
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> DiskError {
        failed(action, &self.path)
    }
}

impl DiskFile for OsFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, DiskError> {
        let mut read = 0;
        while read < buffer.len() {
            match self.file.read_at(&mut buffer[read..], position + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("read")(error)),
            }
        }
        Ok(read)
    }

    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> Result<Option<usize>, DiskError> {
        let mut read = 0;
        while read < buffer.len() {
            let rest = &mut [IoSliceMut::new(&mut buffer[read..])];
            match rustix::io::preadv2(&self.file, rest, position + read as u64, ReadWriteFlags::NOWAIT) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                // Some file systems cannot say; then waiting is all there is.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    return self.read_at(buffer, position).map(Some);
                }
                Err(error) => return Err(self.failed("read")(error.into())),
            }
        }
        Ok(Some(read))
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> Result<(), DiskError> {
        let mut position = position;
        // The system takes 1024 parts at most.
        for parts in parts.chunks(1024) {
            let total: usize = parts.iter().map(|part| part.len()).sum();
            let written = loop {
                match rustix::io::pwritev(&self.file, parts, position) {
                    Err(Errno::INTR) => {}
                    result => break result.map_err(|error| self.failed("write")(error.into()))?,
                }
            };
            if written < total {
                self.write_rest(parts, written, position)?;
            }
            position += total as u64;
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        self.file.set_len(length).map_err(self.failed("truncate"))
    }

    fn allocate(&self, length: u64) -> Result<(), DiskError> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, length) {
            Ok(()) => Ok(()),
            // Where nothing can be reserved the length is still right.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if self.length()? < length => self.truncate(length),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(self.failed("allocate")(error.into())),
        }
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(self.failed("sync"))
    }

    fn length(&self) -> Result<u64, DiskError> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(self.failed("stat"))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

impl OsFile {
    /// What a short write left over: rare, so the parts may go one at a time.
    fn write_rest(&self, parts: &[IoSlice<'_>], mut done: usize, position: u64) -> Result<(), DiskError> {
        let mut at = position + done as u64;
        for part in parts {
            let skip = done.min(part.len());
            done -= skip;
            let rest = &part[skip..];
            self.file.write_all_at(rest, at).map_err(self.failed("write"))?;
            at += rest.len() as u64;
        }
        Ok(())
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    move |error| DiskError::new(action, path, error)
}
