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
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::process::{Resource, getrlimit};

use super::{Disk, DiskError, DiskFile, DiskLock, Entry, EntryKind, Space, Stat};

/// So many descriptors are left to connections, which must be able to come and delete topics, and to what is open for a
/// moment: folders that are synced, checkpoints, old segments. Of a low limit three eighths, so that there is an eighth
/// for connections, which leave a quarter.
const LAST_FILES: u64 = 2048;

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

    fn is_among_last(&self) -> bool {
        // The system always gives the lowest descriptor that is free.
        let used = u64::try_from(self.file.as_raw_fd()).unwrap_or(0);
        getrlimit(Resource::Nofile).current.is_some_and(|all| used >= first_of_last(all))
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

/// The first descriptor that no partition keeps, where there may be `all` of them.
fn first_of_last(all: u64) -> u64 {
    all - LAST_FILES.min(all / 8 * 3)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    move |error| DiskError::new(action, path, error)
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "a lock is tried from another process, which is this test again"
    )]

    use super::*;
    use crate::{Log, LogConfig, OpenHint, ReadLimit};
    use bytes::Bytes;
    use ottla_protocol::batch::{BatchHeader, StampedBatch};
    use ottla_protocol::{LeaderEpoch, Now, Offset};
    use rustix::process::{Rlimit, setrlimit};
    use std::process::Command;

    /// A folder that is gone with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ottla-log-{}-{name}", std::process::id()));
            OsDisk.create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = OsDisk.remove_dir(&self.0);
        }
    }

    /// What a test of this program says in a process of its own.
    fn elsewhere(test: &str, variable: &str, path: &Path) -> String {
        let mut other = Command::new(std::env::current_exe().unwrap());
        let output = other.args([test, "--exact", "--nocapture"]).env(variable, path).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn files_are_what_was_done_to_them() {
        let folder = Folder::new("files");
        let path = folder.0.join("a");
        assert!(OsDisk.open(&path).unwrap_err().is_missing());
        let file = OsDisk.create(&path).unwrap();
        // More parts than one system call takes.
        let parts: Vec<[u8; 3]> = (0..3000u32).map(|i| [i as u8, (i >> 8) as u8, 7]).collect();
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        file.write_at(&slices, 5).unwrap();
        let mut bytes = vec![1; 9100];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 9005);
        assert_eq!((&bytes[..5], &bytes[5..9005]), (&[0; 5][..], parts.as_flattened()));
        assert_eq!(file.read_cached_at(&mut bytes, 9000).unwrap(), Some(5), "it has just been written");
        file.allocate(20_000).unwrap();
        assert_eq!(file.length().unwrap(), 20_000);
        file.allocate(100).unwrap();
        file.truncate(3).unwrap();
        file.sync().unwrap();
        assert_eq!(OsDisk.stat(&path).unwrap().unwrap().length, 3);
        assert!(OsDisk.remove(&path).unwrap() && !OsDisk.remove(&path).unwrap());
        assert_eq!(file.length().unwrap(), 3, "an open file outlives its name");
    }

    #[test]
    fn the_last_files_are_three_eighths_of_a_low_limit_and_few_of_a_high_one() {
        for (all, first) in [(0, 0), (7, 7), (8, 5), (256, 160), (1024, 640), (1 << 20, (1 << 20) - 2048)] {
            assert_eq!(first_of_last(all), first, "of {all}");
        }
    }

    const SCARCE: &str = "OTTLA_TEST_SCARCE";

    /// Run by the test below in a process of its own, whose limit it lowers; alone it does nothing.
    #[test]
    fn opens_files_until_there_are_no_more() {
        let Ok(path) = std::env::var(SCARCE) else { return };
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(80), ..limit }).unwrap();
        let mut files = Vec::new();
        let error = loop {
            match OsDisk.open(path.as_ref()) {
                Ok(file) => files.push(file),
                Err(error) => break error,
            }
        };
        let last = files.iter().filter(|file| file.is_among_last()).count();
        let is_last = files.last().unwrap().is_among_last() && !files[0].is_among_last();
        println!("last: {last}, passes: {}", is_last && error.lacks_descriptors());
    }

    #[test]
    fn the_last_descriptors_are_told_from_the_others() {
        let folder = Folder::new("scarce");
        let path = folder.0.join("a");
        OsDisk.create(&path).unwrap();
        let told = elsewhere("disk::os::tests::opens_files_until_there_are_no_more", SCARCE, &path);
        assert!(told.contains("last: 30, passes: true"), "{told}");
    }

    #[test]
    fn folders_are_listed_and_files_replaced() {
        let folder = Folder::new("folders");
        OsDisk.create_dir(&folder.0.join("t-0/deep")).unwrap();
        OsDisk.replace(&folder.0.join("z"), b"one").unwrap();
        OsDisk.replace(&folder.0.join("z"), b"two").unwrap();
        assert_eq!(OsDisk.read(&folder.0.join("z")).unwrap().unwrap(), b"two");
        assert_eq!(OsDisk.read(&folder.0.join("y")).unwrap(), None);
        let names: Vec<_> = OsDisk.list(&folder.0).unwrap().into_iter().map(|e| (e.name, e.kind)).collect();
        assert_eq!(names, [("t-0".to_owned(), EntryKind::Dir), ("z".to_owned(), EntryKind::File)]);
        let space = OsDisk.space(&folder.0).unwrap();
        assert!(space.total >= space.usable && space.total > 0);
        OsDisk.remove_dir(&folder.0.join("t-0")).unwrap();
        OsDisk.remove_dir(&folder.0.join("t-0")).unwrap();
        assert_eq!(OsDisk.list(&folder.0).unwrap().len(), 1);
    }

    const LOCK: &str = "OTTLA_TEST_LOCK";

    /// Run by the test below in a process of its own; alone it does nothing.
    #[test]
    fn tries_the_lock_it_is_told_to() {
        if let Ok(path) = std::env::var(LOCK) {
            let free = OsDisk.lock(path.as_ref()).unwrap().is_some();
            println!("free: {free}");
        }
    }

    #[test]
    fn a_lock_keeps_other_processes_out_until_it_is_dropped() {
        let folder = Folder::new("lock");
        let path = folder.0.join(".lock");
        let other_says = |answer: &str| {
            elsewhere("disk::os::tests::tries_the_lock_it_is_told_to", LOCK, &path).contains(answer)
        };
        assert!(other_says("free: true"));
        let lock = OsDisk.lock(&path).unwrap().unwrap();
        assert!(other_says("free: false"));
        drop(lock);
        assert!(other_says("free: true"));
    }

    #[test]
    fn a_log_on_the_real_disk_survives_being_dropped_and_being_closed() {
        let folder = Folder::new("log");
        let open = |hint| {
            let config = LogConfig {
                segment_bytes: 4000,
                index_interval_bytes: 100,
                preallocate_bytes: 1000,
                ..LogConfig::default()
            };
            Log::open(Arc::new(OsDisk), folder.0.join("t-0"), config, hint, Now::default()).unwrap()
        };
        let mut log = open(OpenHint::NOTHING);
        let mut written = Vec::new();
        for base in 0..100 {
            let body = Bytes::from(vec![base as u8; 30]);
            let mut header = BatchHeader { base_offset: Offset(base), ..BatchHeader::default() };
            header.leader_epoch = LeaderEpoch(0);
            header.crc = StampedBatch::new(header, body.clone()).header().checksum(&body);
            let batch = StampedBatch::new(header, body);
            log.append(Now::default(), std::slice::from_ref(&batch)).unwrap();
            written.extend_from_slice(&batch.to_bytes());
            if base == 50 {
                drop(log);
                log = open(OpenHint::NOTHING);
                assert_eq!(log.end_offset(), Offset(51));
            }
        }
        log.flush().unwrap();
        log.close().unwrap();
        let mut log = open(OpenHint::CLEAN);
        let found = log.read(Offset(0), ReadLimit::bytes(1 << 20)).unwrap();
        assert_eq!(found.read().unwrap(), written);
        assert!(found.slices.iter().all(|slice| slice.file.as_fd().is_some()));
    }
}
