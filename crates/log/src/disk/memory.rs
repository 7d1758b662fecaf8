//! A disk in memory that fails on demand, for tests and the simulator.
//!
//! It keeps apart what a process sees and what would survive the loss of power: bytes are safe after a sync of their
//! file, names after a sync of their folder. Faults: crash at the n-th change (tearing a write), power loss that drops,
//! tears or scatters what was not synced, a failed sync (whose bytes are lost for good although they can still be
//! read, as on Linux), a dying disk, a full disk, flipped bits. [`Injected`] counts what really happened.
//! The same seed gives the same faults.
#![expect(clippy::disallowed_types, reason = "many machines share one made-up disk, as they do the real one")]

mod tree;

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskError, DiskFile, DiskLock, Entry, Space, Stat};
use tree::{Content, Folder, Loss, Node, Random, parts};

/// A made-up disk. A clone is the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    shared: Arc<Mutex<State>>,
}

/// What a crash does to changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process died, the machine did not: all is there.
    Process,
    /// The power failed and nothing unsynced is left.
    Power,
    /// The power failed; of each file and folder the first few unsynced changes are left, the last of them torn.
    Torn {
        /// Decides how many.
        seed: u64,
    },
    /// The power failed; of what was not synced any sector may be left and any may be missing.
    Scattered {
        /// Decides which.
        seed: u64,
    },
}

/// How often each fault has really happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Crashes at a chosen change.
    pub crashes: u64,
    /// Writes of which only a part was done.
    pub torn_writes: u64,
    /// Changes that a crash undid, wholly or in part.
    pub lost_changes: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Operations that the dying disk refused.
    pub failed_operations: u64,
    /// Writes that found no room.
    pub refused_writes: u64,
    /// Opens that were refused for want of descriptors.
    pub refused_opens: u64,
    /// Renames that found no room.
    pub refused_renames: u64,
    /// Bits flipped.
    pub flipped_bits: u64,
}

#[derive(Debug, Default)]
struct State {
    root: Folder,
    locks: BTreeSet<PathBuf>,
    /// Handles and locks of an earlier life are dead.
    life: u64,
    crashed: bool,
    changes: u64,
    syncs: u64,
    bytes_read: u64,
    /// A file is in the page cache if it has been used since it was last dropped.
    caches_dropped: u64,
    now_ms: i64,
    faults: Faults,
    injected: Injected,
}

#[derive(Clone, Debug, Default)]
struct Faults {
    crash_at: Option<u64>,
    dying_from: Option<u64>,
    failed_sync: Option<u64>,
    capacity: Option<u64>,
    refused_rename: Option<u64>,
    no_descriptors: bool,
    last_descriptors: bool,
}

impl MemoryDisk {
    /// An empty disk without faults or limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An independent disk with the same content, faultless, as a reader of this one would see it.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state();
        let state = State { root: state.root.copy(), now_ms: state.now_ms, ..State::default() };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    /// An independent disk in the same state: what is not synced here is not synced there, and faults still to come
    /// will come there too. To it belong no open files.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state();
        let state =
            State { root: state.root.fork(), locks: BTreeSet::new(), faults: state.faults.clone(), ..*state };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    /// How many changes there have been: writes, truncations, syncs, new, changed and removed names.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// How many syncs there have been, of files and folders.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// How many bytes have been read from files.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.state().bytes_read
    }

    /// What has happened so far.
    #[must_use]
    pub fn injected(&self) -> Injected {
        self.state().injected
    }

    /// Crashes when the `n`-th change from now (1 is the next) is being made; a write is then made in part.
    pub fn crash_at(&self, n: u64) {
        let mut state = self.state();
        state.faults.crash_at = Some(state.changes + n);
    }

    /// From the `n`-th change from now on, changes fail with an I/O error.
    pub fn die_at(&self, n: u64) {
        let mut state = self.state();
        state.faults.dying_from = Some(state.changes + n);
    }

    /// The `n`-th sync from now fails, once; what it should have saved is never saved.
    pub fn fail_sync(&self, n: u64) {
        let mut state = self.state();
        state.faults.failed_sync = Some(state.syncs + n);
    }

    /// From now on nothing is in the page cache but what is read or written.
    pub fn drop_caches(&self) {
        self.state().caches_dropped += 1;
    }

    /// Limits the bytes of all files together; `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().faults.capacity = bytes;
    }

    /// The `n`-th rename from now on (counted from 1) finds no room for the name.
    pub fn refuse_rename(&self, n: u64) {
        self.state().faults.refused_rename = Some(n);
    }

    /// From now on the process has as many files open as it may: what opens a file or folder fails.
    pub fn use_up_descriptors(&self) {
        self.state().faults.no_descriptors = true;
    }

    /// From now on every file is one of the last that may be open.
    pub fn leave_last_descriptors(&self) {
        self.state().faults.last_descriptors = true;
    }

    /// Files can be opened again.
    pub fn free_descriptors(&self) {
        let faults = &mut self.state().faults;
        (faults.no_descriptors, faults.last_descriptors) = (false, false);
    }

    /// Sets the clock that dates files, in ms.
    pub fn set_time(&self, now_ms: i64) {
        self.state().now_ms = now_ms;
    }

    /// Flips a bit of a file, on the disk and in the cache. Whether there is such a bit is the answer.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> bool {
        let mut state = self.state();
        let Ok(content) = state.root.file(path) else { return false };
        let mut content = lock(&content);
        let (index, mask) = (usize::try_from(bit / 8).unwrap_or(usize::MAX), 1 << (bit % 8));
        let Some(byte) = content.now.get_mut(index) else { return false };
        *byte ^= mask;
        if let Some(byte) = content.durable.get_mut(index) {
            *byte ^= mask;
        }
        state.injected.flipped_bits += 1;
        true
    }

    /// Whether the disk has crashed and waits for [`reboot`](Self::reboot).
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// Loses what `crash` loses and starts again, without faults. Files and locks held until now are dead.
    pub fn reboot(&self, crash: Crash) {
        let mut state = self.state();
        let mut loss = Loss::new(crash, crash.seed());
        state.root.lose(&mut loss);
        state.injected.lost_changes += loss.lost;
        state.injected.torn_writes += loss.torn;
        state.faults = Faults { capacity: state.faults.capacity, ..Faults::default() };
        state.locks.clear();
        state.life += 1;
        state.crashed = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared)
    }

    fn file(&self, path: &Path, content: Arc<Mutex<Content>>, life: u64) -> Arc<dyn DiskFile> {
        Arc::new(MemoryFile { disk: self.clone(), path: path.to_owned(), content, life })
    }
}

impl Crash {
    fn seed(self) -> u64 {
        match self {
            Self::Process | Self::Power => 0,
            Self::Torn { seed } | Self::Scattered { seed } => seed,
        }
    }
}

/// What becomes of a change.
enum Fate {
    Done,
    /// The machine stops in the middle of it.
    Torn(u64),
}

impl State {
    fn alive(&self, life: u64) -> Result<(), io::Error> {
        if self.crashed || life != self.life { Err(io::Error::other("the disk has crashed")) } else { Ok(()) }
    }

    /// Every change passes here, and may find its fault.
    fn change(&mut self, life: u64) -> Result<Fate, io::Error> {
        self.alive(life)?;
        self.changes += 1;
        if self.faults.crash_at.is_some_and(|at| self.changes >= at) {
            self.crashed = true;
            self.injected.crashes += 1;
            return Ok(Fate::Torn(Random(self.changes).next()));
        }
        if self.faults.dying_from.is_some_and(|from| self.changes >= from) {
            self.injected.failed_operations += 1;
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(Fate::Done)
    }

    /// As [`change`](Self::change), for changes that are made wholly or not at all.
    fn whole_change(&mut self, life: u64) -> Result<(), io::Error> {
        match self.change(life)? {
            Fate::Done => Ok(()),
            Fate::Torn(_) => Err(io::Error::other("the disk has crashed")),
        }
    }

    /// Everything that takes a descriptor passes here.
    fn descriptor(&mut self) -> Result<(), io::Error> {
        if self.faults.no_descriptors {
            self.injected.refused_opens += 1;
            return Err(io::Error::from_raw_os_error(24));
        }
        Ok(())
    }

    fn room_for_name(&mut self) -> Result<(), io::Error> {
        let Some(left) = &mut self.faults.refused_rename else { return Ok(()) };
        *left -= 1;
        if *left == 0 {
            self.faults.refused_rename = None;
            self.injected.refused_renames += 1;
            return Err(io::Error::from_raw_os_error(28));
        }
        Ok(())
    }

    fn sync_fails(&mut self) -> bool {
        self.syncs += 1;
        let fails = self.faults.failed_sync == Some(self.syncs);
        self.injected.failed_syncs += u64::from(fails);
        fails
    }

    fn room(&self) -> u64 {
        self.faults.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.root.bytes()))
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        let mut state = self.state();
        let life = state.life;
        state.descriptor().map_err(failed("open", path))?;
        let content = state.alive(life).and_then(|()| state.root.file(path));
        Ok(self.file(path, content.map_err(failed("open", path))?, life))
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        let mut state = self.state();
        let life = state.life;
        state.descriptor().map_err(failed("create", path))?;
        state.whole_change(life).map_err(failed("create", path))?;
        let now_ms = state.now_ms;
        if let Ok(content) = state.root.file(path) {
            lock(&content).set_length(0, now_ms);
            return Ok(self.file(path, content, life));
        }
        let content = Arc::new(Mutex::new(Content { modified_ms: now_ms, ..Content::default() }));
        let node = Node::File(Arc::clone(&content));
        state.root.name(path, node).map_err(failed("create", path))?;
        Ok(self.file(path, content, life))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let mut state = self.state();
        let life = state.life;
        state.room_for_name().map_err(failed("rename", from))?;
        let renamed = state.whole_change(life).and_then(|()| state.root.rename(from, to));
        renamed.map_err(failed("rename", from))
    }

    fn remove(&self, path: &Path) -> Result<bool, DiskError> {
        let mut state = self.state();
        let life = state.life;
        state.whole_change(life).map_err(failed("remove", path))?;
        let there = state.root.file(path).is_ok();
        if there {
            state.root.forget(path).map_err(failed("remove", path))?;
        }
        Ok(there)
    }

    fn create_dir(&self, path: &Path) -> Result<(), DiskError> {
        let mut state = self.state();
        let life = state.life;
        state.whole_change(life).map_err(failed("create folder", path))?;
        for above in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            if parts(above).next().is_some() && state.root.dir(above).is_err() {
                state
                    .root
                    .name(above, Node::Dir(Folder::default()))
                    .map_err(failed("create folder", path))?;
            }
        }
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> Result<(), DiskError> {
        let mut state = self.state();
        let life = state.life;
        state.whole_change(life).map_err(failed("remove folder", path))?;
        match state.root.forget(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DiskError::new("remove folder", path, error))
            }
            _ => Ok(()),
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>, DiskError> {
        let mut state = self.state();
        let life = state.life;
        state.descriptor().map_err(failed("list", dir))?;
        state.alive(life).map_err(failed("list", dir))?;
        let found = state.root.dir(dir).map_err(failed("list", dir))?;
        let entry = |(name, node): (&String, &Node)| Entry { name: name.clone(), kind: node.kind() };
        let entries = found.names().entries.iter().map(entry).collect();
        Ok(entries)
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>, DiskError> {
        let state = self.state();
        let life = state.life;
        state.alive(life).map_err(failed("stat", path))?;
        if let Ok(content) = state.root.file(path) {
            let content = lock(&content);
            return Ok(Some(Stat { length: content.now.len() as u64, modified_ms: content.modified_ms }));
        }
        Ok(state.root.dir(path).ok().map(|_| Stat { length: 0, modified_ms: 0 }))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        let mut state = self.state();
        let life = state.life;
        state.descriptor().map_err(failed("sync folder", dir))?;
        state.whole_change(life).map_err(failed("sync folder", dir))?;
        let fails = state.sync_fails();
        let found = state.root.dir(dir).map_err(failed("sync folder", dir))?;
        let mut names = found.names();
        let unsynced = std::mem::take(&mut names.unsynced);
        if fails {
            return Err(DiskError::new("sync folder", dir, io::Error::from_raw_os_error(5)));
        }
        for naming in unsynced {
            naming.apply(&mut names.durable);
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<Option<DiskLock>, DiskError> {
        if self.stat(path)?.is_none() {
            self.create(path)?;
        }
        let mut state = self.state();
        let life = state.life;
        if !state.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(DiskLock::new(MemoryLock { disk: self.clone(), path: path.to_owned(), life })))
    }

    fn space(&self, _dir: &Path) -> Result<Space, DiskError> {
        let state = self.state();
        let used = state.root.bytes();
        let total = state.faults.capacity.unwrap_or(1 << 40);
        Ok(Space { total, usable: total.saturating_sub(used) })
    }
}

struct MemoryLock {
    disk: MemoryDisk,
    path: PathBuf,
    life: u64,
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    path: PathBuf,
    content: Arc<Mutex<Content>>,
    life: u64,
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, DiskError> {
        let mut state = self.disk.state();
        state.alive(self.life).map_err(failed("read", &self.path))?;
        let mut content = lock(&self.content);
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(content.now.len());
        let n = buffer.len().min(content.now.len() - from);
        buffer[..n].copy_from_slice(&content.now[from..from + n]);
        state.bytes_read += n as u64;
        content.used = state.caches_dropped;
        Ok(n)
    }

    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> Result<Option<usize>, DiskError> {
        let dropped = self.disk.state().caches_dropped;
        let is_cached = lock(&self.content).used >= dropped;
        if is_cached { self.read_at(buffer, position).map(Some) } else { Ok(None) }
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> Result<(), DiskError> {
        let mut state = self.disk.state();
        let fate = state.change(self.life).map_err(failed("write", &self.path))?;
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            bytes.extend_from_slice(part);
        }
        let at = usize::try_from(position).unwrap_or(usize::MAX);
        let mut content = lock(&self.content);
        let held = content.now.len();
        drop(content);
        let room = state.room().saturating_add(held.saturating_sub(at) as u64);
        let (now_ms, mut error) = (state.now_ms, None);
        if let Fate::Torn(random) = fate {
            bytes.truncate(usize::try_from(random).unwrap_or(0) % (bytes.len() + 1));
            state.injected.torn_writes += 1;
            error = Some(io::Error::other("the disk has crashed"));
        } else if bytes.len() as u64 > room {
            bytes.truncate(usize::try_from(room).unwrap_or(0));
            state.injected.refused_writes += 1;
            error = Some(io::Error::from_raw_os_error(28));
        }
        content = lock(&self.content);
        content.write(at, bytes, now_ms);
        content.used = state.caches_dropped;
        error.map_or(Ok(()), |error| Err(DiskError::new("write", &self.path, error)))
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        let mut state = self.disk.state();
        state.whole_change(self.life).map_err(failed("truncate", &self.path))?;
        lock(&self.content).set_length(usize::try_from(length).unwrap_or(usize::MAX), state.now_ms);
        Ok(())
    }

    fn allocate(&self, length: u64) -> Result<(), DiskError> {
        let mut state = self.disk.state();
        state.whole_change(self.life).map_err(failed("allocate", &self.path))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let held = lock(&self.content).now.len();
        if length.saturating_sub(held) as u64 > state.room() {
            state.injected.refused_writes += 1;
            return Err(DiskError::new("allocate", &self.path, io::Error::from_raw_os_error(28)));
        }
        if length > held {
            lock(&self.content).set_length(length, state.now_ms);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), DiskError> {
        let mut state = self.disk.state();
        state.whole_change(self.life).map_err(failed("sync", &self.path))?;
        let fails = state.sync_fails();
        let mut content = lock(&self.content);
        let unsynced = std::mem::take(&mut content.unsynced);
        if fails {
            return Err(DiskError::new("sync", &self.path, io::Error::from_raw_os_error(5)));
        }
        for change in unsynced {
            change.apply(&mut content.durable);
        }
        Ok(())
    }

    fn length(&self) -> Result<u64, DiskError> {
        self.disk.state().alive(self.life).map_err(failed("stat", &self.path))?;
        Ok(lock(&self.content).now.len() as u64)
    }

    fn is_among_last(&self) -> bool {
        self.disk.state().faults.last_descriptors
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    move |error| DiskError::new(action, path, error)
}
