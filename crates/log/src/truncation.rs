//! Cutting the end off a log, and starting it over.
//!
//! Both are on the disk for good when they return: otherwise a power loss could bring old segments back behind new
//! batches. The recovery point goes back with the end; its checkpoint must be written before more is appended, or a
//! crash would find bytes believed that were never synced.

use std::path::PathBuf;

use ottla_protocol::{Now, Offset};

use crate::disk::DiskError;
use crate::log::Log;
use crate::producers::Producers;
use crate::recovery::replay;
use crate::segment::Segment;

impl Log {
    /// Removes every batch that reaches to `offset` or beyond. The new end is the answer: `offset`, or the beginning
    /// of the batch that held it.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn truncate_to(&mut self, now: Now, offset: Offset) -> Result<Offset, DiskError> {
        self.durable.check()?;
        if offset >= self.end {
            // An epoch may have begun here of which nothing was ever written.
            self.epochs.truncate_from_end(self.end);
            return Ok(self.end);
        }
        if offset < self.segments[0].base() {
            self.truncate_fully(now, offset)?;
            return Ok(offset);
        }
        // Half a truncation is none.
        let result = self.cut_to(now, offset).map_err(DiskError::hardened);
        self.durable.guard(result)?;
        Ok(self.end)
    }

    /// Removes everything and starts over, empty, at `offset`.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn truncate_fully(&mut self, now: Now, offset: Offset) -> Result<(), DiskError> {
        self.durable.check()?;
        let result = self.start_over(now, offset).map_err(DiskError::hardened);
        self.durable.guard(result)
    }

    fn cut_to(&mut self, now: Now, offset: Offset) -> Result<(), DiskError> {
        self.durable.generation += 1;
        let mut end = self.end;
        let has_removed = self.segments.len() > 1 && self.active().base() > offset;
        while self.segments.len() > 1 && self.active().base() > offset {
            let segment = self.segments.pop().expect("there are two at least");
            end = segment.base();
            self.remove_segment(segment)?;
        }
        if has_removed {
            // They must be gone for good before the one below gets shorter, or a crash could leave a hole.
            self.place.disk.sync_dir(&self.place.dir)?;
        }
        self.durable.names.change();
        let last = self.segments.last_mut().expect("there is always an active segment");
        self.end = last.truncate_to(&self.place, offset, end, now.wall_ms)?;
        last.file(&self.place)?.sync()?;
        self.start = self.start.min(self.end);
        self.durable.goes_back_to(self.end);
        self.epochs.truncate_from_end(self.end);
        self.reload_producers(now)
    }

    fn start_over(&mut self, now: Now, offset: Offset) -> Result<(), DiskError> {
        self.durable.generation += 1;
        while let Some(segment) = self.segments.pop() {
            if let Err(error) = self.remove_segment(segment) {
                self.durable.failed.get_or_insert_with(|| error.clone());
                return Err(error);
            }
        }
        self.snapshots.start_over(&self.place, offset)?;
        self.segments.push(Segment::create(&self.place, offset, &self.config, now.wall_ms)?);
        self.place.disk.sync_dir(&self.place.dir)?;
        self.start = offset;
        self.end = offset;
        self.durable.goes_back_to(offset);
        self.epochs.clear();
        self.producers = Producers::empty_at(offset);
        Ok(())
    }

    fn remove_segment(&mut self, segment: Segment) -> Result<(), DiskError> {
        self.durable.names.change();
        let paths: Vec<PathBuf> = segment.retire(&self.place)?;
        for path in paths {
            self.place.disk.remove(&path)?;
        }
        Ok(())
    }

    /// What is known of producers at the new end.
    fn reload_producers(&mut self, now: Now) -> Result<(), DiskError> {
        let end = self.end;
        self.snapshots.remove(&self.place, |offset| offset > end)?;
        if self.producers.is_empty() {
            self.producers = Producers::empty_at(end);
            return Ok(());
        }
        let known = (&self.config, now.wall_ms);
        let start = self.segments[0].base().min(end);
        self.producers = self.snapshots.load(&self.place, end, start, known)?;
        for segment in &mut self.segments {
            replay(&self.place, segment, &mut self.producers, end)?;
        }
        self.producers.skip_to(end);
        Ok(())
    }
}
