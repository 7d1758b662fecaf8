//! Several log directories: where partitions are put, and what is left when one of them breaks.

use std::io::{Error, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use ottla_log::disk::{DiskLock, Entry, Space, Stat};
use ottla_log::{Disk, DiskError, DiskFile, MemoryDisk};
use ottla_protocol::messages::metadata::MetadataResponsePartition;
use ottla_protocol::messages::{FetchRequest, MetadataRequest};

use super::requests::*;
use super::support::*;

const THREE: &[(&str, &str)] = &[("log.dirs", "/a,/b,/c")];
const STORAGE_ERROR: i16 = 56;

/// A disk on which one directory can break.
#[derive(Clone, Debug)]
struct Breakable {
    disk: MemoryDisk,
    directory: PathBuf,
    /// The system's error, or 0.
    error: Arc<AtomicI32>,
}

#[derive(Debug)]
struct BreakableFile {
    file: Arc<dyn DiskFile>,
    disk: Breakable,
    path: PathBuf,
}

impl Breakable {
    fn new(disk: &MemoryDisk, directory: &str) -> Self {
        Self { disk: disk.clone(), directory: directory.into(), error: Arc::default() }
    }

    fn set_broken(&self, broken: bool) {
        self.error.store(if broken { 5 } else { 0 }, Ordering::Relaxed);
    }

    /// From now on no file in there can be opened.
    fn use_up_descriptors(&self) {
        self.error.store(24, Ordering::Relaxed);
    }

    fn check(&self, path: &Path) -> Result<(), DiskError> {
        let error = self.error.load(Ordering::Relaxed);
        if error != 0 && path.starts_with(&self.directory) {
            return Err(DiskError::new("use", path, Error::from_raw_os_error(error)));
        }
        Ok(())
    }

    fn file(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(BreakableFile { file, disk: self.clone(), path: path.to_owned() })
    }

    fn start(&self, properties: &[(&str, &str)]) -> Result<World, String> {
        let disk: Arc<dyn Disk> = Arc::new(self.clone());
        World::try_start(&self.disk, Start { disk: Some(disk), ..Start::with(properties) })
    }
}

impl Disk for Breakable {
    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.check(path)?;
        Ok(self.file(path, self.disk.open(path)?))
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.check(path)?;
        Ok(self.file(path, self.disk.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.check(from).and_then(|()| self.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> Result<bool, DiskError> {
        self.check(path).and_then(|()| self.disk.remove(path))
    }

    fn create_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.check(path).and_then(|()| self.disk.create_dir(path))
    }

    fn remove_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.check(path).and_then(|()| self.disk.remove_dir(path))
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>, DiskError> {
        self.check(dir).and_then(|()| self.disk.list(dir))
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>, DiskError> {
        self.check(path).and_then(|()| self.disk.stat(path))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.check(dir).and_then(|()| self.disk.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> Result<Option<DiskLock>, DiskError> {
        self.check(path).and_then(|()| self.disk.lock(path))
    }

    fn space(&self, dir: &Path) -> Result<Space, DiskError> {
        self.disk.space(dir)
    }
}

impl DiskFile for BreakableFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, DiskError> {
        self.disk.check(&self.path).and_then(|()| self.file.read_at(buffer, position))
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> Result<(), DiskError> {
        self.disk.check(&self.path).and_then(|()| self.file.write_at(parts, position))
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        self.disk.check(&self.path).and_then(|()| self.file.truncate(length))
    }

    fn allocate(&self, length: u64) -> Result<(), DiskError> {
        self.disk.check(&self.path).and_then(|()| self.file.allocate(length))
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.disk.check(&self.path).and_then(|()| self.file.sync())
    }

    fn length(&self) -> Result<u64, DiskError> {
        self.disk.check(&self.path).and_then(|()| self.file.length())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// The partitions of a topic that lie in a directory.
fn partitions_in(disk: &dyn Disk, directory: &str, topic: &str) -> Vec<i32> {
    let entries = disk.list(Path::new(directory)).unwrap();
    let prefix = format!("{topic}-");
    let mut found: Vec<i32> =
        entries.iter().filter_map(|entry| entry.name.strip_prefix(&prefix)?.parse().ok()).collect();
    found.sort_unstable();
    found
}

fn rows(world: &mut World) -> Vec<MetadataResponsePartition> {
    let response = world.call(&MetadataRequest { topics: None, ..Default::default() }, 12);
    response.topics.into_iter().next().unwrap().partitions
}

#[test]
fn new_partitions_go_where_there_are_the_fewest_and_stay_there() {
    let disk = MemoryDisk::new();
    let mut world = World::start(&disk, THREE);
    world.create("t", 6);
    world.create("u", 1);
    let counts = |topic| ["/a", "/b", "/c"].map(|directory| partitions_in(&disk, directory, topic).len());
    assert_eq!(counts("t"), [2, 2, 2]);
    assert_eq!(counts("u"), [1, 0, 0]);
    world.create("v", 2);
    assert_eq!(counts("v"), [0, 1, 1]);
    let before = ["/a", "/b", "/c"].map(|directory| partitions_in(&disk, directory, "t"));
    for partition in 0..6 {
        base_offset(&world.call(&produce("t", partition, &["a"]), 9));
    }
    world.stop();
    drop(world);
    let mut world = World::start(&disk, &[("log.dirs", "/a,/c,/b")]);
    let after = ["/a", "/b", "/c"].map(|directory| partitions_in(&disk, directory, "t"));
    assert_eq!(before, after);
    for partition in 0..6 {
        assert_eq!(values(&world.call(&fetch("t", partition, 0), 12)), ["a"]);
    }
}

#[test]
fn a_cordoned_directory_gets_no_new_partitions() {
    let disk = MemoryDisk::new();
    let mut world = World::start(&disk, &[("log.dirs", "/a,/b"), ("cordoned.log.dirs", "/a")]);
    world.create("t", 4);
    assert!(partitions_in(&disk, "/a", "t").is_empty());
    assert_eq!(partitions_in(&disk, "/b", "t"), [0, 1, 2, 3]);
}

#[test]
fn a_failed_directory_takes_its_partitions_along_and_no_others() {
    let memory = MemoryDisk::new();
    let disk = Breakable::new(&memory, "/b");
    let mut world = disk.start(THREE).unwrap();
    world.create("t", 6);
    for partition in 0..6 {
        base_offset(&world.call(&produce("t", partition, &["before"]), 9));
    }
    let gone = partitions_in(&memory, "/b", "t");
    let (first, second) = (gone[0], gone[1]);
    disk.set_broken(true);
    assert_eq!(error(&world.call(&produce("t", first, &["lost"]), 9)), STORAGE_ERROR);
    // The other one on the same directory has not been touched, and is refused all the same.
    let response = world.call(&fetch("t", second, 0), 12);
    assert_eq!(response.responses[0].partitions[0].error_code, STORAGE_ERROR);
    for partition in (0..6).filter(|partition| !gone.contains(partition)) {
        assert_eq!(base_offset(&world.call(&produce("t", partition, &["after"]), 9)), 1);
        assert_eq!(values(&world.call(&fetch("t", partition, 0), 12)), ["before", "after"]);
    }
    for row in rows(&mut world) {
        let there = !gone.contains(&row.partition_index);
        let expected = if there { (0, 1, vec![]) } else { (5, -1, vec![1]) };
        assert_eq!(
            (row.error_code, row.leader_id, row.offline_replicas),
            expected,
            "{}",
            row.partition_index
        );
    }
    world.pass(10_000);
    world.create("u", 4);
    assert!(partitions_in(&memory, "/b", "u").is_empty());
    world.stop();
    assert_eq!(world.fatal, None);
}

#[test]
fn what_may_lie_in_a_missing_directory_is_not_made_anew_elsewhere() {
    let memory = MemoryDisk::new();
    let disk = Breakable::new(&memory, "/b");
    let mut world = disk.start(THREE).unwrap();
    world.create("t", 3);
    for partition in 0..3 {
        base_offset(&world.call(&produce("t", partition, &["before"]), 9));
    }
    let gone = partitions_in(&memory, "/b", "t")[0];
    world.stop();
    drop(world);
    disk.set_broken(true);
    let mut world = disk.start(THREE).unwrap();
    assert_eq!(error(&world.call(&produce("t", gone, &["lost"]), 9)), STORAGE_ERROR);
    for partition in (0..3).filter(|&partition| partition != gone) {
        assert_eq!(values(&world.call(&fetch("t", partition, 0), 12)), ["before"]);
    }
    assert!(!partitions_in(&memory, "/a", "t").contains(&gone));
    assert!(!partitions_in(&memory, "/c", "t").contains(&gone));
    world.stop();
    drop(world);
    disk.set_broken(false);
    let mut world = disk.start(THREE).unwrap();
    for partition in 0..3 {
        assert_eq!(values(&world.call::<FetchRequest>(&fetch("t", partition, 0), 12)), ["before"]);
    }
}

#[test]
fn without_the_directory_of_the_metadata_log_a_node_ends() {
    let memory = MemoryDisk::new();
    let disk = Breakable::new(&memory, "/a");
    let mut world = disk.start(THREE).unwrap();
    world.create("t", 3);
    let gone = partitions_in(&memory, "/a", "t")[0];
    disk.set_broken(true);
    world.send(&produce("t", gone, &["lost"]), 9);
    let why = world.fatal.take().expect("the node ends");
    assert!(why.contains("metadata log"), "{why}");
    drop(world);
    assert!(disk.start(THREE).is_err());
}

#[test]
fn a_partition_that_never_fits_keeps_no_others_closed() {
    let memory = MemoryDisk::new();
    let disk = Breakable::new(&memory, "/a/t-0");
    let mut world = disk.start(&[("log.dirs", "/a")]).unwrap();
    memory.use_up_descriptors();
    world.create("t", 8);
    disk.use_up_descriptors();
    memory.free_descriptors();
    world.pass(1_100);
    world.pass(1_100);
    for partition in 1..8 {
        assert_eq!(error(&world.call(&produce("t", partition, &["a"]), 9)), 0, "{partition}");
    }
    assert_eq!(error(&world.call(&produce("t", 0, &["a"]), 9)), STORAGE_ERROR);
    disk.set_broken(false);
    world.pass(2_000);
    assert_eq!(error(&world.call(&produce("t", 0, &["a"]), 9)), 0);
}

#[test]
fn what_lies_in_a_failed_directory_is_not_opened_later() {
    let memory = MemoryDisk::new();
    let disk = Breakable::new(&memory, "/b");
    let mut world = disk.start(THREE).unwrap();
    memory.use_up_descriptors();
    world.create("t", 18);
    let logs = |directory: &str| {
        let log = |index: &i32| format!("{directory}/t-{index}/00000000000000000000.log");
        let opened = |index: &i32| memory.stat(Path::new(&log(index))).unwrap().is_some();
        partitions_in(&memory, directory, "t").iter().filter(|index| opened(index)).count()
    };
    disk.set_broken(true);
    memory.free_descriptors();
    world.pass(2_000);
    assert_eq!((logs("/a"), logs("/c")), (6, 6));
    disk.set_broken(false);
    world.pass(5_000);
    assert_eq!(logs("/b"), 0, "it stays away until the node starts again");
}

#[test]
fn a_snapshot_of_the_metadata_waits_for_descriptors_and_for_room() {
    type Turn = fn(&MemoryDisk);
    let memory = MemoryDisk::new();
    let interval = ("metadata.log.max.snapshot.interval.ms", "5000");
    let mut world = World::start(&memory, &[("log.dirs", "/a"), interval]);
    let snapshots = || {
        let entries = memory.list(Path::new("/a/__cluster_metadata-0")).unwrap();
        entries.iter().filter(|entry| entry.name.ends_with(".checkpoint")).count()
    };
    let wants: [(Turn, Turn); 2] = [
        (MemoryDisk::use_up_descriptors, MemoryDisk::free_descriptors),
        (|disk| disk.set_capacity(Some(0)), |disk| disk.set_capacity(None)),
    ];
    for (topic, (want, end)) in ["t", "u"].into_iter().zip(wants) {
        world.create(topic, 1);
        let before = snapshots();
        want(&memory);
        for _ in 0..8 {
            world.pass(1_000);
        }
        assert_eq!(world.fatal, None);
        end(&memory);
        assert_eq!(snapshots(), before);
        for _ in 0..16 {
            world.pass(1_000);
        }
        assert!(snapshots() > before, "{topic}: it has been made up for");
    }
    drop(world);
    let mut world = World::start(&memory, &[("log.dirs", "/a")]);
    assert_eq!(error(&world.call(&produce("u", 0, &["a"]), 9)), 0);
}
