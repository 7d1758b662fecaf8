//! Letting old segments go: by time, by size, and when the log has been told to start later.
//!
//! A segment goes only when all before it have gone and the high watermark has passed it. Its files get another name
//! at once and are erased by [`Removed::erase`], for which a core need not wait.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::{Now, Offset};

use crate::disk::{Disk, DiskError};
use crate::log::Log;
use crate::place::SNAPSHOT;
use crate::recovery::replay;

/// Segments that no longer belong to the log. Until they are erased their bytes stay on the disk; a start erases them
/// too.
#[derive(Debug)]
#[must_use = "the bytes stay on the disk until they are erased"]
pub struct Removed {
    /// How many segments.
    pub segments: usize,
    /// How many bytes of batches.
    pub bytes: u64,
    paths: Vec<PathBuf>,
    disk: Arc<dyn Disk>,
}

impl Removed {
    /// Whether nothing was removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Frees the bytes, on whatever thread; readers that still have a slice are not hurt.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn erase(self) -> Result<(), DiskError> {
        for path in &self.paths {
            self.disk.remove(path)?;
        }
        Ok(())
    }
}

impl Log {
    /// Lets the segments go that the settings no longer keep. None at or above `high_watermark` does.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn retain(&mut self, now: Now, high_watermark: Offset) -> Result<Removed, DiskError> {
        self.durable.check()?;
        let result = self.let_go(now, high_watermark);
        self.durable.guard(result)
    }

    /// Makes the log start at `offset` if it starts earlier; whether it did is the answer. The bytes go with the next
    /// [`retain`](Self::retain).
    ///
    /// # Panics
    /// When `offset` is beyond the end.
    pub fn delete_records_before(&mut self, offset: Offset) -> bool {
        assert!(offset <= self.end, "the log ends at {}, it cannot start at {offset}", self.end);
        if offset <= self.start {
            return false;
        }
        self.start = offset;
        self.epochs.truncate_from_start(offset);
        true
    }

    fn let_go(&mut self, now: Now, high_watermark: Offset) -> Result<Removed, DiskError> {
        let mut going = self.before_start();
        if self.config.cleanup.deletes() {
            going = going.max(self.beyond_size(going));
            going = going.max(self.beyond_age(going, now)?);
        }
        while going > 0 && self.end_of(going - 1) > high_watermark {
            going -= 1;
        }
        let disk = Arc::clone(&self.place.disk);
        let mut removed = Removed { segments: 0, bytes: 0, paths: Vec::new(), disk };
        if going == self.segments.len() {
            // An empty active segment is what would come in its place. On a full disk there may be no room for a new
            // one; the others must go all the more.
            let rolled = match self.active().size() {
                0 => false,
                _ => match self.roll_at(self.end, now.wall_ms) {
                    Err(error) if error.is_full() => false,
                    result => result.map(|()| true)?,
                },
            };
            going -= usize::from(!rolled);
        }
        if going > 0 {
            let start = self.segments[going].base();
            match self.save_producers(start, now.wall_ms) {
                // Without room it is more important to make some.
                Err(error) if error.is_full() => tracing::warn!(%error, "producers may be forgotten"),
                result => result?,
            }
            self.delete_records_before(start.max(self.start));
            self.durable.names.change();
            let mut bases = Vec::with_capacity(going);
            let outcome: Result<(), DiskError> = self.segments[..going].iter().try_for_each(|segment| {
                removed.paths.extend(segment.retire(&self.place)?);
                removed.segments += 1;
                removed.bytes += u64::from(segment.size());
                bases.push(segment.base());
                Ok(())
            });
            // Memory and disk agree on what has gone, whatever came in the way of the others.
            self.segments.drain(..bases.len());
            match outcome {
                Err(error) if error.is_passing() => {
                    tracing::warn!(%error, "an old segment stays for now");
                }
                outcome => outcome?,
            }
            self.snapshots.remove(&self.place, |offset| bases.contains(&offset))?;
        }
        Ok(removed)
    }

    /// Puts a snapshot at `base` on the disk for good: of the producers before it nothing else will be left to tell.
    fn save_producers(&mut self, base: Offset, wall_ms: i64) -> Result<(), DiskError> {
        if self.producers.is_empty() {
            return Ok(());
        }
        let first = self.segments[0].base();
        // A crash may have left no snapshot there, or what is none any more.
        let mut producers = self.snapshots.load(&self.place, base, first, (&self.config, wall_ms))?;
        if !self.snapshots.contains(base) {
            for segment in &mut self.segments {
                replay(&self.place, segment, &mut producers, base)?;
            }
            producers.skip_to(base);
            self.snapshots.put(&self.place, &producers)?;
        }
        self.place.open(base, SNAPSHOT)?.sync()?;
        self.place.disk.sync_dir(&self.place.dir)
    }

    /// How many segments lie wholly before the log's start.
    fn before_start(&self) -> usize {
        self.segments.iter().skip(1).take_while(|next| next.base() <= self.start).count()
    }

    fn beyond_size(&self, going: usize) -> usize {
        let Some(limit) = self.config.retention_bytes else { return going };
        let kept: u64 = self.segments[going..].iter().map(|segment| u64::from(segment.size())).sum();
        let Some(mut surplus) = kept.checked_sub(limit) else { return going };
        let fits = self.segments[going..].iter().take_while(|segment| {
            let rest = surplus.checked_sub(u64::from(segment.size()));
            surplus = rest.unwrap_or(0);
            rest.is_some()
        });
        going + fits.count()
    }

    fn beyond_age(&mut self, going: usize, now: Now) -> Result<usize, DiskError> {
        let Some(limit) = self.config.retention_ms else { return Ok(going) };
        let mut going = going;
        for segment in &mut self.segments[going..] {
            let latest = segment.latest_or_modified_ms(&self.place)?;
            if now.wall_ms.saturating_sub(latest) <= limit {
                break;
            }
            going += 1;
        }
        Ok(going)
    }
}
