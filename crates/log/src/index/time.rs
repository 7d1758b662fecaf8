//! `.timeindex`: from which offset on a timestamp is to be looked for.
//!
//! An entry says: the latest timestamp up to here is this one, and the batch with it ends at that offset. Both rise.

use ottla_protocol::Offset;
use ottla_protocol::batch::NO_TIMESTAMP;

use super::{EntryFile, Loaded};
use crate::disk::DiskError;
use crate::place::{Place, TIME_INDEX};

/// Bytes of an entry.
pub(crate) const ENTRY: usize = 12;

/// A timestamp, in ms, and the last offset of the batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimestampAt {
    pub timestamp: i64,
    pub offset: Offset,
}

#[derive(Debug)]
pub(crate) struct TimeIndex {
    base: Offset,
    file: EntryFile<ENTRY>,
}

impl TimeIndex {
    pub fn empty(base: Offset) -> Self {
        Self { base, file: EntryFile::empty(base, TIME_INDEX) }
    }

    pub fn unread(base: Offset) -> Self {
        Self { base, file: EntryFile::unread(base, TIME_INDEX) }
    }

    /// Loads the index if need be.
    ///
    /// # Errors
    /// [`DiskError`]; when the last entry contradicts the first or the segment, [`DiskError::is_corrupt`].
    pub fn load(&mut self, place: &Place, size: u32) -> Result<Loaded, DiskError> {
        let loaded = self.file.load(place)?;
        if loaded == Loaded::Before || self.file.count() == 0 {
            return Ok(loaded);
        }
        let (first, last) = (self.decode(self.file.get(place, 0)?), self.last());
        let rises = self.count() == 1 || (last.timestamp > first.timestamp && last.offset >= first.offset);
        if size > 0 && first.timestamp >= 0 && first.offset >= self.base && rises {
            return Ok(loaded);
        }
        self.file = EntryFile::unread(self.base, TIME_INDEX);
        let path = place.path(self.base, TIME_INDEX);
        Err(DiskError::corrupt(&path, format!("{last:?} does not follow {first:?}")))
    }

    pub fn count(&self) -> u32 {
        self.file.count()
    }

    /// The last entry; no timestamp at the base where there is none.
    pub fn last(&self) -> TimestampAt {
        let none = TimestampAt { timestamp: NO_TIMESTAMP, offset: self.base };
        self.file.last().map_or(none, |entry| self.decode(entry))
    }

    /// Adds an entry if its timestamp is later than all before.
    pub fn append(&mut self, place: &Place, latest: TimestampAt) -> Result<(), DiskError> {
        let last = self.last();
        if latest.timestamp <= last.timestamp || latest.offset < last.offset {
            return Ok(());
        }
        let relative =
            i32::try_from(latest.offset.0 - self.base.0).expect("a segment is rolled before this overflows");
        let mut entry = [0; ENTRY];
        entry[..8].copy_from_slice(&latest.timestamp.to_be_bytes());
        entry[8..].copy_from_slice(&relative.to_be_bytes());
        self.file.push(entry);
        self.file.write_gathered(place)
    }

    /// The last entry whose timestamp is at or before `timestamp`; the segment's beginning where there is none.
    pub fn floor(&self, place: &Place, timestamp: i64) -> Result<TimestampAt, DiskError> {
        // Nobody says how even time is.
        let cut =
            self.file.cut(place, self.count() / 2, |entry| self.decode(*entry).timestamp <= timestamp)?;
        let none = TimestampAt { timestamp: NO_TIMESTAMP, offset: self.base };
        Ok(cut.before.map_or(none, |entry| self.decode(entry)))
    }

    /// Drops the entries at and after `offset`.
    pub fn truncate_to(&mut self, place: &Place, offset: Offset) -> Result<(), DiskError> {
        let kept = self.file.cut(place, self.count(), |entry| self.decode(*entry).offset < offset)?.after;
        self.file.truncate(place, kept)
    }

    pub fn file(&mut self) -> &mut EntryFile<ENTRY> {
        &mut self.file
    }

    fn decode(&self, entry: [u8; ENTRY]) -> TimestampAt {
        let [t0, t1, t2, t3, t4, t5, t6, t7, o0, o1, o2, o3] = entry;
        let relative = i32::from_be_bytes([o0, o1, o2, o3]);
        TimestampAt {
            timestamp: i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            offset: Offset(self.base.0.saturating_add(i64::from(relative))),
        }
    }
}
