//! The three indexes of a segment, and when an entry is due.

use ottla_protocol::Offset;
use ottla_protocol::batch::NO_TIMESTAMP;

use crate::config::LogConfig;
use crate::disk::DiskError;
use crate::frame::Frame;
use crate::index::{OffsetIndex, TimeIndex, TimestampAt, TransactionIndex};
use crate::place::Place;

#[derive(Debug)]
pub(crate) struct Indexes {
    pub offsets: OffsetIndex,
    pub times: TimeIndex,
    pub aborted: TransactionIndex,
    /// The latest timestamp; `None` while the time index has not been asked.
    pub latest: Option<TimestampAt>,
    /// Bytes since the last entry of the offset index.
    pub since_entry: u64,
    /// How many there are between two entries.
    interval: u32,
}

impl Indexes {
    pub fn empty(base: Offset, config: &LogConfig) -> Self {
        Self {
            offsets: OffsetIndex::empty(base),
            times: TimeIndex::empty(base),
            aborted: TransactionIndex::empty(base),
            latest: Some(TimestampAt { timestamp: NO_TIMESTAMP, offset: base }),
            since_entry: 0,
            interval: config.index_interval_bytes,
        }
    }

    pub fn unread(place: &Place, base: Offset, config: &LogConfig) -> Result<Self, DiskError> {
        Ok(Self {
            offsets: OffsetIndex::unread(base),
            times: TimeIndex::unread(base),
            aborted: TransactionIndex::load(place, base)?,
            latest: None,
            since_entry: 0,
            interval: config.index_interval_bytes,
        })
    }

    pub fn reset(&mut self, place: &Place) -> Result<(), DiskError> {
        self.offsets.file().reset(place)?;
        self.times.file().reset(place)?;
        self.aborted.reset(place)
    }

    /// Empties the two that can be made anew out of headers alone.
    pub fn forget(&mut self, place: &Place, base: Offset) -> Result<(), DiskError> {
        self.offsets.file().reset(place)?;
        self.times.file().reset(place)?;
        self.latest = Some(TimestampAt { timestamp: NO_TIMESTAMP, offset: base });
        self.since_entry = 0;
        Ok(())
    }

    pub fn took(&mut self, place: &Place, frame: &Frame, position: u32) -> Result<(), DiskError> {
        let latest = match self.latest {
            Some(latest) => latest,
            None => self.times.last(),
        };
        let this = TimestampAt { timestamp: frame.max_timestamp, offset: frame.last_offset };
        let latest = if this.timestamp > latest.timestamp { this } else { latest };
        self.latest = Some(latest);
        if self.since_entry > u64::from(self.interval) {
            self.offsets.append(place, frame.last_offset, position)?;
            self.times.append(place, latest)?;
            self.since_entry = 0;
        }
        self.since_entry += u64::from(frame.size);
        Ok(())
    }

    pub fn are_full(&self, config: &LogConfig) -> bool {
        // One entry is kept free for the last timestamp, which is added when the segment ends.
        let (offsets, times) = (config.index_bytes / 8, config.index_bytes / 12);
        self.offsets.count() >= offsets || self.times.count() + 1 >= times
    }

    pub fn persist(&mut self, place: &Place) -> Result<(), DiskError> {
        self.offsets.file().persist(place)?;
        self.times.file().persist(place)?;
        self.aborted.persist(place)
    }
}
