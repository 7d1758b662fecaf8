//! `.index`: where in the segment an offset is to be looked for.
//!
//! An entry is a batch's last offset, counted from the segment's base, and the position of that batch. There is one
//! for about every `index.interval.bytes`.

use ottla_protocol::Offset;

use super::{Cut, EntryFile, Loaded, expected_at};
use crate::disk::DiskError;
use crate::place::{OFFSET_INDEX, Place};

/// Bytes of an entry.
pub(crate) const ENTRY: usize = 8;

/// An entry, with its offset in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PositionOf {
    /// Last offset of a batch.
    pub offset: Offset,
    /// Where the batch begins.
    pub position: u32,
}

#[derive(Debug)]
pub(crate) struct OffsetIndex {
    base: Offset,
    file: EntryFile<ENTRY>,
}

impl OffsetIndex {
    pub fn empty(base: Offset) -> Self {
        Self { base, file: EntryFile::empty(base, OFFSET_INDEX) }
    }

    pub fn unread(base: Offset) -> Self {
        Self { base, file: EntryFile::unread(base, OFFSET_INDEX) }
    }

    /// Loads the index if need be.
    ///
    /// # Errors
    /// [`DiskError`]; when the last entry cannot belong to a segment of `size` bytes, [`DiskError::is_corrupt`].
    pub fn load(&mut self, place: &Place, size: u32) -> Result<(), DiskError> {
        if self.file.load(place)? == Loaded::Before {
            return Ok(());
        }
        // The first batch never has an entry, so neither number is ever zero: zeros are room that was not trimmed.
        let right = |last: PositionOf| last.offset > self.base && last.position > 0 && last.position < size;
        if self.last().is_none_or(right) {
            return Ok(());
        }
        let last = self.last();
        self.file = EntryFile::unread(self.base, OFFSET_INDEX);
        let path = place.path(self.base, OFFSET_INDEX);
        Err(DiskError::corrupt(&path, format!("{last:?} cannot be in a segment of {size} bytes")))
    }

    pub fn count(&self) -> u32 {
        self.file.count()
    }

    pub fn last(&self) -> Option<PositionOf> {
        self.file.last().map(|entry| self.decode(entry))
    }

    /// Adds an entry, unless there is one for that offset or a later one.
    pub fn append(&mut self, place: &Place, offset: Offset, position: u32) -> Result<(), DiskError> {
        if self.last().is_some_and(|last| offset <= last.offset) {
            return Ok(());
        }
        let relative =
            i32::try_from(offset.0 - self.base.0).expect("a segment is rolled before this overflows");
        let mut entry = [0; ENTRY];
        entry[..4].copy_from_slice(&relative.to_be_bytes());
        entry[4..].copy_from_slice(&position.to_be_bytes());
        self.file.push(entry);
        self.file.write_gathered(place)
    }

    /// The last entry at or before `offset`; the segment's beginning where there is none.
    pub fn floor(&self, place: &Place, offset: Offset) -> Result<PositionOf, DiskError> {
        let last = self.last().map_or(self.base, |last| last.offset);
        let guess = expected_at(offset.0, (self.base.0, last.0), self.count());
        let cut = self.file.cut(place, guess, |entry| self.decode(*entry).offset <= offset)?;
        Ok(self.before(cut))
    }

    /// The last entry whose batch begins at or before `position`.
    pub fn floor_of_position(&self, place: &Place, position: u32) -> Result<PositionOf, DiskError> {
        let last = self.last().map_or(0, |last| last.position);
        let guess = expected_at(i64::from(position), (0, i64::from(last)), self.count());
        let cut = self.file.cut(place, guess, |entry| self.decode(*entry).position <= position)?;
        Ok(self.before(cut))
    }

    /// Drops the entries at and after `offset`.
    pub fn truncate_to(&mut self, place: &Place, offset: Offset) -> Result<(), DiskError> {
        let kept = self.file.cut(place, self.count(), |entry| self.decode(*entry).offset < offset)?.after;
        self.file.truncate(place, kept)
    }

    pub fn file(&mut self) -> &mut EntryFile<ENTRY> {
        &mut self.file
    }

    fn before(&self, cut: Cut<ENTRY>) -> PositionOf {
        cut.before.map_or(PositionOf { offset: self.base, position: 0 }, |entry| self.decode(entry))
    }

    fn decode(&self, entry: [u8; ENTRY]) -> PositionOf {
        let [o0, o1, o2, o3, p0, p1, p2, p3] = entry;
        let relative = i32::from_be_bytes([o0, o1, o2, o3]);
        PositionOf {
            offset: Offset(self.base.0.saturating_add(i64::from(relative))),
            position: u32::from_be_bytes([p0, p1, p2, p3]),
        }
    }
}
