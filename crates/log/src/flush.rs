//! Putting a log on the disk for good, at once or on another thread, and closing it.
//!
//! A flush is complete in itself: it syncs all that was not synced when it was prepared, or puts a copy of it into a redo
//! file. So several may be under way, and finish in any order. Batches are synced before the epochs that speak of them,
//! and the recovery point moves last.

use std::sync::Arc;

use ottla_protocol::Offset;

use crate::disk::{DiskError, DiskFile};
use crate::epochs::EpochEntry;
use crate::log::Log;
use crate::place::{Place, SNAPSHOT};
use crate::redo::Tail;
use crate::segment::{Role, Syncing};
use crate::{checkpoint, partition_metadata};

/// A flush that has not begun. [`run`](Self::run) it, on any thread.
#[derive(Debug)]
pub struct PendingFlush {
    pub(crate) place: Place,
    files: Vec<Arc<dyn DiskFile>>,
    folders: Folders,
    epochs: Option<Vec<EpochEntry>>,
    segments: Vec<Syncing>,
    up_to: Offset,
    generation: u64,
    /// Where there is nothing to be done but to put these on the disk.
    pub(crate) tail: Option<Tail>,
}

/// Which folders have names in them that are not synced.
#[derive(Clone, Copy, Debug)]
struct Folders {
    /// The last change of a name in the log's own.
    own: Option<u64>,
    parent: bool,
}

/// A flush that has ended. [`Log::finish_flush`] wants to hear of it.
#[derive(Debug)]
pub struct Flushed {
    folders: Folders,
    segments: Vec<Syncing>,
    up_to: Offset,
    generation: u64,
    synced: Result<(), DiskError>,
    epochs: Result<Option<Vec<EpochEntry>>, DiskError>,
    way: Way,
}

/// Where the batches of a flush are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Where they were.
    Same,
    /// In the log's own files.
    Log,
    /// In a redo file.
    Redo,
}

impl PendingFlush {
    /// Everything below this offset will be on the disk for good.
    #[must_use]
    pub fn up_to(&self) -> Offset {
        self.up_to
    }

    /// Syncs. This takes as long as the disk takes.
    #[must_use]
    pub fn run(self) -> Flushed {
        let synced = self.sync();
        let epochs = match (&synced, self.epochs) {
            (Ok(()), Some(epochs)) => {
                checkpoint::write_epochs(&*self.place.disk, &self.place.dir, &epochs).map(|()| Some(epochs))
            }
            _ => Ok(None),
        };
        let way = if self.files.is_empty() { Way::Same } else { Way::Log };
        let Self { folders, segments, up_to, generation, .. } = self;
        Flushed { folders, segments, up_to, generation, synced, epochs, way }
    }

    /// The end of a flush whose batches have been put into a redo file, or have not.
    pub(crate) fn redone(self, synced: Result<(), DiskError>) -> Flushed {
        let Self { folders, segments, up_to, generation, .. } = self;
        Flushed { folders, segments, up_to, generation, synced, epochs: Ok(None), way: Way::Redo }
    }

    /// The log's own files are to be synced, whatever else would do.
    #[must_use]
    pub fn into_log(mut self) -> Self {
        self.tail = None;
        self
    }

    fn sync(&self) -> Result<(), DiskError> {
        for file in &self.files {
            file.sync()?;
        }
        let Place { disk, dir, .. } = &self.place;
        if self.folders.own.is_some() {
            match disk.open(&dir.join(partition_metadata::FILE_NAME)) {
                Ok(file) => file.sync()?,
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
            disk.sync_dir(dir)?;
        }
        match dir.parent() {
            Some(parent) if self.folders.parent => disk.sync_dir(parent),
            _ => Ok(()),
        }
    }
}

impl Flushed {
    /// Whether everything that the flush was for has come into the log's own files for good.
    #[must_use]
    pub fn is_in_log(&self) -> bool {
        self.way == Way::Log && self.synced.is_ok()
    }
}

impl Log {
    /// Collects what a flush has to do; `None` when all is on the disk already.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn prepare_flush(&mut self) -> Result<Option<PendingFlush>, DiskError> {
        self.durable.check()?;
        let result = self.collect(Role::Active);
        self.durable.guard(result)
    }

    /// A flush that has nothing to do but to come back: behind others, which then hold no descriptors any more.
    #[must_use]
    pub fn empty_flush(&self) -> PendingFlush {
        PendingFlush {
            place: self.place.clone(),
            files: Vec::new(),
            folders: Folders { own: None, parent: false },
            epochs: None,
            segments: Vec::new(),
            up_to: self.durable.recovery_point,
            generation: self.durable.generation,
            tail: None,
        }
    }

    /// Takes note of a flush that has ended. The recovery point may have moved.
    ///
    /// # Errors
    /// [`DiskError`], final: nobody knows what is on the disk, so the log takes no more changes. Only when it
    /// [is passing](DiskError::is_passing) has the recovery point just not moved.
    pub fn finish_flush(&mut self, flushed: Flushed) -> Result<(), DiskError> {
        let is_final = |error: DiskError| {
            // What could not even be opened has not been synced in vain.
            if error.lacks_descriptors() { error } else { error.hardened() }
        };
        if let Err(error) = flushed.synced.map_err(is_final) {
            if error.is_passing() {
                return Err(error);
            }
            tracing::error!(%error, "a sync has failed");
            self.durable.failed.get_or_insert_with(|| error.clone());
            return Err(error);
        }
        if flushed.generation != self.durable.generation {
            return Ok(());
        }
        if flushed.way == Way::Redo {
            self.redone(&flushed.segments, flushed.up_to);
            return Ok(());
        }
        for syncing in flushed.segments {
            let at = self.segments.binary_search_by_key(&syncing.base, |segment| segment.base());
            if let Ok(at) = at {
                self.segments[at].synced(syncing);
            }
        }
        if let Some(change) = flushed.folders.own {
            self.durable.names.synced(change);
        }
        self.durable.name_unsynced &= !flushed.folders.parent;
        if let Some(saved) = self.durable.guard(flushed.epochs)?
            && saved == self.epochs.entries()
        {
            self.epochs.mark_saved();
        }
        self.durable.recovery_point = self.durable.recovery_point.max(flushed.up_to);
        Ok(())
    }

    /// Takes note of batches that are in a redo file. Where a later segment has been made meanwhile they do not count: it could
    /// outlive them, and they could not be put back before it. The next flush takes both.
    fn redone(&mut self, segments: &[Syncing], up_to: Offset) {
        let active = self.active_mut();
        if segments.iter().all(|syncing| syncing.base == active.base()) {
            segments.iter().for_each(|syncing| active.redone(*syncing));
            self.durable.redo_point = self.durable.redo_point.max(up_to);
        }
    }

    /// Puts everything on the disk for good.
    ///
    /// # Errors
    /// As [`finish_flush`](Self::finish_flush).
    pub fn flush(&mut self) -> Result<(), DiskError> {
        match self.prepare_flush()? {
            Some(pending) => self.finish_flush(pending.run()),
            None => Ok(()),
        }
    }

    /// Ends the log at once: see [`prepare_close`](Self::prepare_close). The recovery point, which is the end, is the
    /// answer.
    ///
    /// # Errors
    /// [`DiskError`]; then the log counts as not closed.
    pub fn close(mut self) -> Result<Offset, DiskError> {
        if let Some(pending) = self.prepare_close()? {
            self.finish_flush(pending.run())?;
        }
        Ok(self.end)
    }

    /// Prepares the log's end: indexes trimmed, a producer snapshot at the end. The log is closed when the flush, if
    /// there is one to be run, has been [finished](Self::finish_flush); the recovery point, which is then the end,
    /// belongs into the checkpoint before the clean-shutdown marker does. Nothing may be appended any more.
    ///
    /// # Errors
    /// [`DiskError`]; then the log counts as not closed. When it [is passing](DiskError::is_passing) the same may be tried
    /// again.
    pub fn prepare_close(&mut self) -> Result<Option<PendingFlush>, DiskError> {
        self.durable.check()?;
        let active = self.segments.last_mut().expect("there is always an active segment");
        active.finish(&self.place)?;
        active.keep_indexes();
        self.producers.skip_to(self.end);
        self.snapshots.take_now(&self.place, &self.producers)?;
        let Some(mut pending) = self.collect(Role::Sealed)?.map(PendingFlush::into_log) else {
            return Ok(None);
        };
        if self.snapshots.contains(self.end) {
            pending.files.push(self.place.open(self.end, SNAPSHOT)?);
        }
        // Also `partition.metadata`, whatever has happened to the names.
        pending.folders.own.get_or_insert(0);
        Ok(Some(pending))
    }

    /// `last` is what the last segment counts as.
    fn collect(&mut self, last: Role) -> Result<Option<PendingFlush>, DiskError> {
        let mut files = Vec::new();
        let mut segments = Vec::new();
        let count = self.segments.len();
        for (i, segment) in self.segments.iter_mut().enumerate() {
            let role = if i + 1 == count { last } else { Role::Sealed };
            if segment.is_unsynced(role) {
                segments.push(segment.collect_unsynced(&self.place, role, &mut files)?);
            }
        }
        let folders = Folders { own: self.durable.names.unsynced(), parent: self.durable.name_unsynced };
        let is_behind = self.durable.recovery_point < self.end;
        if files.is_empty() && folders.own.is_none() && !self.epochs.unsaved() && !is_behind {
            return Ok(None);
        }
        let epochs = self.epochs.unsaved().then(|| self.epochs.entries().to_vec());
        let tail = match (&files[..], &segments[..]) {
            ([file], [syncing]) if epochs.is_none() && folders.own.is_none() && !folders.parent => {
                self.active().tail(*syncing, file)
            }
            _ => None,
        };
        Ok(Some(PendingFlush {
            place: self.place.clone(),
            files,
            folders,
            epochs,
            segments,
            up_to: self.end,
            generation: self.durable.generation,
            tail,
        }))
    }
}
