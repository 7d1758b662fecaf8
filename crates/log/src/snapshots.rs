//! Which producer snapshots there are.

use ottla_protocol::Offset;

use crate::config::LogConfig;
use crate::disk::DiskError;
use crate::place::{Place, SNAPSHOT};
use crate::producers::{Producers, snapshot};

/// The snapshots of a log, rising.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    offsets: Vec<Offset>,
    /// Here and below there is nothing to write down.
    floor: Offset,
}

impl Snapshots {
    pub fn new(mut offsets: Vec<Offset>) -> Self {
        offsets.sort_unstable();
        Self { offsets, floor: Offset::ZERO }
    }

    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    pub fn latest(&self) -> Option<Offset> {
        self.offsets.last().copied()
    }

    pub fn contains(&self, offset: Offset) -> bool {
        self.offsets.binary_search(&offset).is_ok()
    }

    /// As [`take_now`](Self::take_now), but without room or a descriptor there is none: then a start has to read more of the log.
    pub fn take(&mut self, place: &Place, producers: &Producers) -> Result<(), DiskError> {
        match self.take_now(place, producers) {
            Err(error) if error.is_passing() => {
                place.disk.remove(&place.path(producers.end_offset(), SNAPSHOT))?;
                Ok(())
            }
            result => result,
        }
    }

    /// Writes the producers down at their end offset, unless there is a snapshot there or later.
    pub fn take_now(&mut self, place: &Place, producers: &Producers) -> Result<(), DiskError> {
        let offset = producers.end_offset();
        if self.latest().unwrap_or(self.floor) < offset {
            snapshot::write(place, producers)?;
            self.offsets.push(offset);
        }
        Ok(())
    }

    /// Writes the producers down at their end offset, where there is no snapshot.
    pub fn put(&mut self, place: &Place, producers: &Producers) -> Result<(), DiskError> {
        let offset = producers.end_offset();
        snapshot::write(place, producers)?;
        let at = self.offsets.partition_point(|before| *before < offset);
        self.offsets.insert(at, offset);
        Ok(())
    }

    /// The log begins anew at `offset`, and nothing is known there.
    pub fn start_over(&mut self, place: &Place, offset: Offset) -> Result<(), DiskError> {
        self.remove(place, |_| true)?;
        self.floor = offset;
        Ok(())
    }

    /// The producers of the latest right snapshot at or before `offset`; wrong ones are removed. Without one nothing
    /// is known, at `start`.
    pub fn load(
        &mut self,
        place: &Place,
        offset: Offset,
        start: Offset,
        (config, wall_ms): (&LogConfig, i64),
    ) -> Result<Producers, DiskError> {
        let before = self.offsets.partition_point(|at| *at <= offset);
        for candidate in (0..before).rev() {
            let at = self.offsets[candidate];
            if let Some(found) = snapshot::read(place, at, wall_ms, config.producer_expiration_ms)? {
                return Ok(found);
            }
            self.remove(place, |offset| offset == at)?;
        }
        self.floor = start;
        Ok(Producers::empty_at(start))
    }

    /// Removes the snapshots that `is_to_go` holds for.
    pub fn remove(&mut self, place: &Place, is_to_go: impl Fn(Offset) -> bool) -> Result<(), DiskError> {
        for offset in &self.offsets {
            if is_to_go(*offset) {
                place.disk.remove(&place.path(*offset, SNAPSHOT))?;
            }
        }
        self.offsets.retain(|offset| !is_to_go(*offset));
        Ok(())
    }

    /// Removes the snapshots that belong to no segment's beginning, but for the latest.
    pub fn remove_strays(&mut self, place: &Place, bases: &[Offset]) -> Result<(), DiskError> {
        let is_base = |offset: Offset| bases.binary_search(&offset).is_ok();
        let latest_stray = self.offsets.iter().copied().rfind(|offset| !is_base(*offset));
        let kept = latest_stray.filter(|stray| bases.last().is_none_or(|last| stray > last));
        self.remove(place, |offset| !is_base(offset) && Some(offset) != kept)
    }
}
