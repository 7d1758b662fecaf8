//! A segment: one file of batches, and its indexes.
//!
//! The last segment of a log is active: it grows, its file stays open, the ends of its latest batches are in memory.
//! The others are sealed: trimmed, their files opened only while somebody reads them, their indexes not even looked at
//! until somebody must search. Invariant: `size` is the end of a whole batch, whatever the file's length is.

mod indexes;

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use ottla_protocol::Offset;
use ottla_protocol::batch::{BatchHeader, NO_TIMESTAMP, StampedBatch};

use crate::config::LogConfig;
use crate::disk::{DiskError, DiskFile};
use crate::frame::{Frame, Walk};
use crate::index::{AbortedTransaction, Loaded, OffsetIndex, TimeIndex, TimestampAt};
use crate::marks::{Mark, Marks, Stops};
use crate::place::{self, LOG, OFFSET_INDEX, Place, TIME_INDEX, TRANSACTION_INDEX};
use crate::redo::Tail;
use indexes::Indexes;

/// Batches written by one system call at most.
const BATCHES_PER_WRITE: usize = 64;

/// One file of batches with its indexes.
#[derive(Debug)]
pub(crate) struct Segment {
    base: Offset,
    file: SegmentFile,
    size: u32,
    /// Room reserved in the file, if beyond `size`.
    reserved: u32,
    pub(crate) indexes: Indexes,
    marks: Marks,
    stops: Stops,
    age: Age,
    unsynced: Unsynced,
}

#[derive(Debug)]
enum SegmentFile {
    /// Kept open.
    Open(Arc<dyn DiskFile>),
    /// Open only while a reader has it.
    Shared(Weak<dyn DiskFile>),
    Closed,
}

/// What decides when the segment is rolled.
#[derive(Clone, Copy, Debug)]
struct Age {
    /// Latest timestamp of the first batch; `None` until it is known.
    first_timestamp: Option<i64>,
    created_ms: i64,
    jitter_ms: i64,
}

/// What a flush has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Unsynced {
    batches: bool,
    indexes: bool,
    /// What is on the disk up to here, in the file or in a redo file.
    from: u32,
}

/// Whether a segment is the last one. The indexes of the active segment are made anew after a crash, so a flush leaves
/// them alone; nobody looks after those of the others again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Active,
    Sealed,
}

/// A segment as it was when a flush began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Syncing {
    pub base: Offset,
    size: u32,
    role: Role,
}

/// Batches about to be appended, taken together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    pub bytes: u64,
    pub last_offset: Offset,
    pub max_timestamp: i64,
}

/// What a segment has to offer to a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// No batch reaches to the offset; the next segment may have one.
    Nothing,
    /// The next batch reaches to the limit or beyond.
    Held,
    /// The next batch begins here, and it alone is larger than allowed.
    TooLarge(u32),
    Batches(Stretch),
}

/// Whole batches of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub position: u32,
    pub end: u32,
    /// The offset after the last batch.
    pub next: Offset,
}

impl Segment {
    /// Makes an empty segment, which is to be the active one.
    pub fn create(place: &Place, base: Offset, config: &LogConfig, wall_ms: i64) -> Result<Self, DiskError> {
        let file = place.disk.create(&place.path(base, LOG))?;
        let mut segment = Self {
            base,
            file: SegmentFile::Open(file),
            size: 0,
            reserved: 0,
            indexes: Indexes::empty(base, config),
            marks: Marks::at(Mark { next: base, position: 0 }),
            stops: Stops::default(),
            age: Age { first_timestamp: None, created_ms: wall_ms, jitter_ms: config.jitter_ms(base.0) },
            unsynced: Unsynced { batches: true, ..Unsynced::default() },
        };
        segment.reserve(config, 0);
        Ok(segment)
    }

    /// Takes a file of `size` bytes of whole batches for a segment, without looking into it.
    ///
    /// # Errors
    /// [`DiskError`]; when the transaction index is damaged, [`DiskError::is_corrupt`].
    pub fn open(
        place: &Place,
        base: Offset,
        size: u32,
        config: &LogConfig,
        wall_ms: i64,
    ) -> Result<Self, DiskError> {
        Ok(Self {
            base,
            file: SegmentFile::Closed,
            size,
            reserved: size,
            indexes: Indexes::unread(place, base, config)?,
            marks: Marks::default(),
            stops: Stops::default(),
            age: Age { first_timestamp: None, created_ms: wall_ms, jitter_ms: config.jitter_ms(base.0) },
            unsynced: Unsynced { from: size, ..Unsynced::default() },
        })
    }

    /// Opens a file whose indexes are lost or wrong; they are empty then, and must be made anew.
    pub fn open_bare(
        place: &Place,
        base: Offset,
        size: u32,
        config: &LogConfig,
        wall_ms: i64,
    ) -> Result<Self, DiskError> {
        let mut indexes = Indexes::empty(base, config);
        indexes.reset(place)?;
        Ok(Self {
            base,
            file: SegmentFile::Closed,
            size,
            reserved: size,
            indexes,
            marks: Marks::default(),
            stops: Stops::default(),
            age: Age { first_timestamp: None, created_ms: wall_ms, jitter_ms: config.jitter_ms(base.0) },
            unsynced: Unsynced { batches: true, indexes: true, from: 0 },
        })
    }

    pub fn base(&self) -> Offset {
        self.base
    }

    pub fn size(&self) -> u32 {
        self.size
    }

    /// The file, opened if need be.
    pub fn file(&mut self, place: &Place) -> Result<Arc<dyn DiskFile>, DiskError> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = place.open(self.base, LOG)?;
        self.file = SegmentFile::Shared(Arc::downgrade(&file));
        Ok(file)
    }

    /// Whether `incoming` belongs into the next segment.
    pub fn is_over(
        &mut self,
        place: &Place,
        config: &LogConfig,
        incoming: &Incoming,
        wall_ms: i64,
    ) -> Result<bool, DiskError> {
        if i32::try_from(incoming.last_offset.0 - self.base.0).is_err() {
            return Ok(true);
        }
        if self.size == 0 {
            return Ok(false);
        }
        let most = u64::from(config.segment_bytes).min(i32::MAX as u64);
        Ok(u64::from(self.size) + incoming.bytes > most
            || self.age_at(place, incoming.max_timestamp, wall_ms)? > config.segment_ms - self.age.jitter_ms
            || self.indexes.are_full(config))
    }

    /// Writes batches behind the others, and takes note of them.
    ///
    /// # Errors
    /// [`DiskError`]; nothing has been appended then, and the file is as before, unless that failed as well: then the
    /// error is not [passing](DiskError::is_passing).
    pub fn append(
        &mut self,
        place: &Place,
        config: &LogConfig,
        batches: &[StampedBatch],
    ) -> Result<(), DiskError> {
        let bytes: u64 = batches.iter().map(|batch| batch.size() as u64).sum();
        let end = u64::from(self.size) + bytes;
        self.reserve(config, end);
        let file = self.file(place)?;
        if let Err(error) = write(&*file, batches, u64::from(self.size)) {
            // Half a batch must not stay: the next one would come behind it.
            file.truncate(u64::from(self.size)).map_err(DiskError::hardened)?;
            self.reserved = self.size;
            return Err(error);
        }
        self.unsynced.batches = true;
        Ok(())
    }

    /// Takes note of a batch that has been written at the end.
    pub fn took(&mut self, place: &Place, frame: &Frame) -> Result<(), DiskError> {
        let position = self.size;
        self.indexes.took(place, frame, position)?;
        self.size += frame.size;
        self.reserved = self.reserved.max(self.size);
        self.marks.push(Mark { next: frame.next_offset(), position: self.size });
        if position == 0 {
            self.age.first_timestamp = Some(frame.max_timestamp);
        }
        Ok(())
    }

    /// What there is of `from..up_to` within `max_bytes`, in whole batches. `end` is the offset after the segment's last
    /// batch, or anything up to the next segment's base.
    pub fn read(
        &mut self,
        place: &Place,
        range: (Offset, Offset),
        max_bytes: u32,
        end: Offset,
    ) -> Result<Reading, DiskError> {
        let (from, up_to) = range;
        let Some(position) = self.locate(place, from)? else { return Ok(Reading::Nothing) };
        let (limit, next) = if up_to >= end {
            (self.size, end)
        } else {
            (self.locate(place, up_to)?.unwrap_or(self.size), up_to)
        };
        if limit <= position {
            return Ok(Reading::Held);
        }
        if limit - position <= max_bytes {
            self.stops.note(Mark { next, position: limit });
            return Ok(Reading::Batches(Stretch { position, end: limit, next }));
        }
        let mark = self.floor(place, position, position + max_bytes)?;
        if mark.position == position {
            return Ok(Reading::TooLarge(position));
        }
        self.stops.note(mark);
        Ok(Reading::Batches(Stretch { position, end: mark.position, next: mark.next }))
    }

    /// The batch that begins at `position`, as a stretch.
    pub fn batch_at(&mut self, place: &Place, position: u32) -> Result<Stretch, DiskError> {
        let mark = match self.marks.after(position) {
            Some(mark) => mark,
            None => {
                let file = self.file(place)?;
                let batch = Walk::new(place, self.base, &*file, (position, self.size)).next()?;
                let (_, frame) = batch.ok_or_else(|| self.corrupt(place, "no batch where one was found"))?;
                Mark { next: frame.next_offset(), position: position + frame.size }
            }
        };
        self.stops.note(mark);
        Ok(Stretch { position, end: mark.position, next: mark.next })
    }

    /// Position of the first batch that reaches to `offset` or beyond.
    pub fn locate(&mut self, place: &Place, offset: Offset) -> Result<Option<u32>, DiskError> {
        if let Some(position) = self.marks.locate(offset) {
            return Ok((position < self.size).then_some(position));
        }
        if let Some(position) = self.stops.locate(offset) {
            return Ok((position < self.size).then_some(position));
        }
        Ok(self.search(place, offset)?.map(|(position, _)| position))
    }

    /// As [`locate`](Self::locate), with the batch's frame, out of the file.
    pub fn search(&mut self, place: &Place, offset: Offset) -> Result<Option<(u32, Frame)>, DiskError> {
        match self.search_once(place, offset) {
            // An entry that does not point to a batch is found out here; the batches themselves may be right.
            Err(error) if error.is_corrupt() => {
                self.heal(place, &error)?;
                self.search_once(place, offset)
            }
            result => result,
        }
    }

    fn search_once(&mut self, place: &Place, offset: Offset) -> Result<Option<(u32, Frame)>, DiskError> {
        let floor = self.offsets(place)?.floor(place, offset)?;
        let file = self.file(place)?;
        let mut walk = Walk::new(place, self.base, &*file, (floor.position, self.size));
        while let Some((position, frame)) = walk.next()? {
            if frame.last_offset >= offset {
                return Ok(Some((position, frame)));
            }
        }
        Ok(None)
    }

    /// The offset index, loaded, and made anew if it is wrong.
    pub fn offsets(&mut self, place: &Place) -> Result<&OffsetIndex, DiskError> {
        if let Err(error) = self.indexes.offsets.load(place, self.size) {
            self.heal(place, &error)?;
        }
        Ok(&self.indexes.offsets)
    }

    /// The time index, loaded, and made anew if it is wrong.
    pub fn times(&mut self, place: &Place) -> Result<&TimeIndex, DiskError> {
        match self.indexes.times.load(place, self.size) {
            Ok(Loaded::Before) => {}
            Ok(Loaded::Now) => self.verify_times(place)?,
            Err(error) => self.heal(place, &error)?,
        }
        Ok(&self.indexes.times)
    }

    /// Whether the last entry of the time index speaks of a batch there is, and whether there is one if there must be.
    fn verify_times(&mut self, place: &Place) -> Result<(), DiskError> {
        let last = self.indexes.times.last();
        if self.indexes.times.count() == 0 {
            let file = self.file(place)?;
            return match Walk::new(place, self.base, &*file, (0, self.size)).next()? {
                Some((_, frame)) if frame.max_timestamp >= 0 => {
                    self.heal(place, &self.corrupt(place, "the time index is empty and should not be"))
                }
                _ => Ok(()),
            };
        }
        let batch = self.search(place, last.offset)?;
        // Old releases wrote the offset of the record itself, not of its batch's last.
        let is_its =
            |frame: &Frame| frame.max_timestamp == last.timestamp && frame.base_offset <= last.offset;
        if batch.is_some_and(|(_, frame)| is_its(&frame)) {
            return Ok(());
        }
        self.heal(place, &self.corrupt(place, "the last entry of the time index is not that of a batch"))
    }

    fn heal(&mut self, place: &Place, error: &DiskError) -> Result<(), DiskError> {
        if !error.is_corrupt() {
            return Err(error.clone());
        }
        tracing::warn!(%error, "an index is made anew");
        self.reindex(place)
    }

    /// Makes the offset and the time index anew out of the batches' headers.
    ///
    /// # Errors
    /// [`DiskError`]; when there is something else than batches, [`DiskError::is_corrupt`].
    pub fn reindex(&mut self, place: &Place) -> Result<(), DiskError> {
        let file = self.file(place)?;
        self.indexes.forget(place, self.base)?;
        let mut walk = Walk::new(place, self.base, &*file, (0, self.size));
        while let Some((position, frame)) = walk.next()? {
            // Offsets lie outside of the checksum, and an index cannot say more than 31 bits above the base.
            if i32::try_from(frame.last_offset.0 - self.base.0).map_or(true, i32::is_negative) {
                return Err(self.corrupt(place, &format!("offset {} cannot be in it", frame.last_offset)));
            }
            self.indexes.took(place, &frame, position)?;
        }
        self.indexes.since_entry = 0;
        let latest = self.latest(place)?;
        self.indexes.times.append(place, latest)?;
        self.indexes.persist(place)?;
        self.unsynced.indexes = true;
        Ok(())
    }

    /// The latest timestamp and the last offset of its batch; −1 at the base when no record has one.
    pub fn latest(&mut self, place: &Place) -> Result<TimestampAt, DiskError> {
        if let Some(latest) = self.indexes.latest {
            return Ok(latest);
        }
        let latest = self.times(place)?.last();
        self.indexes.latest = Some(latest);
        Ok(latest)
    }

    /// The latest timestamp; without one, when the file was last written.
    pub fn latest_or_modified_ms(&mut self, place: &Place) -> Result<i64, DiskError> {
        let latest = self.latest(place)?.timestamp;
        if latest >= 0 {
            return Ok(latest);
        }
        let stat = place.disk.stat(&place.path(self.base, LOG))?;
        Ok(stat.map_or(self.age.created_ms, |stat| stat.modified_ms))
    }

    /// Opens the segment for appending and finds the offset after its last batch, reading no more than what follows
    /// the last index entry.
    ///
    /// # Errors
    /// [`DiskError`]; when the indexes or the end of the file are not right, [`DiskError::is_corrupt`].
    pub fn activate(&mut self, place: &Place, config: &LogConfig) -> Result<Offset, DiskError> {
        let file = place.open(self.base, LOG)?;
        self.times(place)?;
        let entry = self.offsets(place)?.last();
        let mut walk =
            Walk::new(place, self.base, &*file, (entry.map_or(0, |entry| entry.position), self.size));
        let mut end = Mark { next: self.base, position: 0 };
        let mut first = true;
        while let Some((position, frame)) = walk.next()? {
            if let (true, Some(entry)) = (first, entry)
                && (entry.position != position || entry.offset != frame.last_offset)
            {
                return Err(self.corrupt(place, "the last index entry is not that of a batch"));
            }
            first = false;
            end = Mark { next: frame.next_offset(), position: position + frame.size };
        }
        self.marks = Marks::at(end);
        self.reserved = self.size;
        self.file = SegmentFile::Open(file);
        self.indexes.since_entry = 0;
        self.reserve(config, u64::from(self.size));
        Ok(end.next)
    }

    /// Knows where the last batch ends, after recovery, and stays open.
    pub fn activate_at(&mut self, place: &Place, end: Offset) -> Result<(), DiskError> {
        let file = self.file(place)?;
        self.file = SegmentFile::Open(file);
        self.marks = Marks::at(Mark { next: end, position: self.size });
        self.indexes.since_entry = 0;
        Ok(())
    }

    /// Ends the segment: nothing is appended any more. The file is trimmed, and the indexes are in theirs.
    pub fn seal(&mut self, place: &Place) -> Result<(), DiskError> {
        self.finish(place)?;
        self.marks = Marks::default();
        self.indexes.offsets.file().close();
        self.indexes.times.file().close();
        self.unsynced.indexes = true;
        if let SegmentFile::Open(file) = &self.file {
            let shared = Arc::downgrade(file);
            // Until it is flushed it stays open, for the flush.
            if !self.unsynced.batches {
                self.file = SegmentFile::Shared(shared);
            }
        }
        Ok(())
    }

    /// Leaves the files as Kafka wants them in a log that has been closed.
    pub fn finish(&mut self, place: &Place) -> Result<(), DiskError> {
        let latest = self.latest(place)?;
        self.indexes.times.append(place, latest)?;
        self.indexes.persist(place)?;
        if self.reserved > self.size {
            self.file(place)?.truncate(u64::from(self.size))?;
            self.reserved = self.size;
            self.unsynced.batches = true;
        }
        Ok(())
    }

    /// Cuts away the batches that reach to `offset` or beyond; the offset after the last one left is the answer.
    /// The segment becomes the active one.
    pub fn truncate_to(
        &mut self,
        place: &Place,
        offset: Offset,
        end: Offset,
        wall_ms: i64,
    ) -> Result<Offset, DiskError> {
        let cut = self.search(place, offset)?;
        self.times(place)?;
        let file = self.file(place)?;
        let end = cut.map_or(end, |(_, frame)| frame.base_offset.min(offset).max(self.base));
        self.indexes.offsets.truncate_to(place, end)?;
        self.indexes.times.truncate_to(place, end)?;
        self.indexes.aborted.truncate_to(place, end)?;
        if let Some((position, _)) = cut {
            file.truncate(u64::from(position))?;
            self.size = position;
            self.unsynced.batches = true;
            self.unsynced.from = self.unsynced.from.min(position);
        }
        self.reserved = self.size;
        self.stops.forget();
        self.indexes.since_entry = 0;
        self.indexes.latest = Some(self.find_latest(place, &*file)?);
        self.marks = Marks::at(Mark { next: end, position: self.size });
        self.file = SegmentFile::Open(file);
        if self.size == 0 {
            self.age.first_timestamp = None;
            self.age.created_ms = wall_ms;
        }
        Ok(end)
    }

    /// Collects the files a flush has to sync. Whether there are any is told by [`is_unsynced`](Self::is_unsynced).
    pub fn collect_unsynced(
        &mut self,
        place: &Place,
        role: Role,
        into: &mut Vec<Arc<dyn DiskFile>>,
    ) -> Result<Syncing, DiskError> {
        if self.unsynced.batches {
            into.push(self.file(place)?);
        }
        if self.unsynced.indexes && role != Role::Active {
            into.push(self.indexes.offsets.file().persist(place)?);
            into.push(self.indexes.times.file().persist(place)?);
            self.indexes.aborted.persist(place)?;
            if !self.indexes.aborted.is_empty() {
                into.push(place.open(self.base, TRANSACTION_INDEX)?);
            }
        }
        Ok(Syncing { base: self.base, size: self.size, role })
    }

    /// The batches that a redo file could take instead of a sync.
    pub fn tail(&self, syncing: Syncing, file: &Arc<dyn DiskFile>) -> Option<Tail> {
        if syncing.base != self.base || syncing.role != Role::Active {
            return None;
        }
        let position = self.unsynced.from;
        let length = syncing.size.checked_sub(position)?;
        Some(Tail { file: Arc::clone(file), base: self.base, position, length })
    }

    /// What was collected is in a redo file.
    pub fn redone(&mut self, syncing: Syncing) {
        self.unsynced.from = self.unsynced.from.max(syncing.size);
    }

    /// What was collected is on the disk for good.
    pub fn synced(&mut self, syncing: Syncing) {
        self.unsynced.from = self.unsynced.from.max(syncing.size);
        if syncing.size == self.size {
            self.unsynced.batches = false;
        }
        if syncing.role != Role::Active {
            self.unsynced.indexes = false;
            if let SegmentFile::Open(file) = &self.file {
                self.file = SegmentFile::Shared(Arc::downgrade(file));
            }
        }
    }

    /// Whether a flush has something to do here.
    pub fn is_unsynced(&self, role: Role) -> bool {
        self.unsynced.batches || (self.unsynced.indexes && role != Role::Active)
    }

    /// The indexes of a segment that was active are to be kept, for the log is being closed.
    pub fn keep_indexes(&mut self) {
        self.unsynced.indexes = true;
    }

    /// Takes its files out of the log, under names that a start removes; their removal is up to the caller.
    ///
    /// # Errors
    /// [`DiskError`]; when it [is passing](DiskError::is_passing), all have their names back.
    pub fn retire(&self, place: &Place) -> Result<Vec<PathBuf>, DiskError> {
        let mut retired: Vec<PathBuf> = Vec::new();
        let mut from: Vec<PathBuf> = Vec::new();
        // The indexes first: without its log file an index is an orphan, without an index the log is still whole.
        for suffix in [TRANSACTION_INDEX, TIME_INDEX, OFFSET_INDEX, LOG] {
            let path = place.path(self.base, suffix);
            let to = place::deleted(&path);
            match place.disk.rename(&path, &to) {
                Ok(()) => {
                    from.push(path);
                    retired.push(to);
                }
                Err(error) if error.is_missing() => {}
                Err(error) => {
                    for (path, to) in from.iter().zip(&retired) {
                        place.disk.rename(to, path).map_err(DiskError::hardened)?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(retired)
    }

    pub fn add_aborted(&mut self, place: &Place, aborted: AbortedTransaction) -> Result<(), DiskError> {
        self.indexes.aborted.append(place, aborted)
    }

    /// Truncates the file to what has been found right in it.
    pub fn cut_file(&mut self, place: &Place) -> Result<(), DiskError> {
        self.file(place)?.truncate(u64::from(self.size))?;
        self.reserved = self.size;
        self.stops.forget();
        self.unsynced.batches = true;
        Ok(())
    }

    /// The last end of a batch in `from..=limit`, where `from` is one.
    fn floor(&mut self, place: &Place, from: u32, limit: u32) -> Result<Mark, DiskError> {
        if let Some(mark) = self.marks.floor(limit).filter(|mark| mark.position >= from) {
            return Ok(mark);
        }
        let entry = self.offsets(place)?.floor_of_position(place, limit)?;
        let file = self.file(place)?;
        let mut walk = Walk::new(place, self.base, &*file, (entry.position.max(from), self.size));
        let mut floor = Mark { next: self.base, position: from };
        while let Some((position, frame)) = walk.next()? {
            if position + frame.size > limit {
                break;
            }
            floor = Mark { next: frame.next_offset(), position: position + frame.size };
        }
        // The batch of the entry may itself be too large: then it ends where the one before does.
        if floor.position == from && entry.position > from {
            floor = Mark { next: self.next_before(place, entry.position)?, position: entry.position };
        }
        Ok(floor)
    }

    /// The offset after the batch that ends at `position`.
    fn next_before(&mut self, place: &Place, position: u32) -> Result<Offset, DiskError> {
        let file = self.file(place)?;
        let following = Walk::new(place, self.base, &*file, (position, self.size)).next()?;
        // All offsets before the next batch's base are as good as the last one's next.
        following
            .map(|(_, frame)| frame.base_offset)
            .ok_or_else(|| self.corrupt(place, "an index entry at the end"))
    }

    fn age_at(&mut self, place: &Place, timestamp: i64, wall_ms: i64) -> Result<i64, DiskError> {
        let first = match self.age.first_timestamp {
            Some(first) => first,
            None => {
                let file = self.file(place)?;
                let first = Walk::new(place, self.base, &*file, (0, self.size)).next()?;
                *self.age.first_timestamp.insert(first.map_or(NO_TIMESTAMP, |(_, frame)| frame.max_timestamp))
            }
        };
        Ok(if first >= 0 { timestamp.saturating_sub(first) } else { wall_ms - self.age.created_ms })
    }

    /// The latest timestamp after a truncation: that of the last entry, or of a batch behind it.
    fn find_latest(&mut self, place: &Place, file: &dyn DiskFile) -> Result<TimestampAt, DiskError> {
        let mut latest = self.indexes.times.last();
        let from = self.indexes.offsets.floor(place, latest.offset)?.position;
        let mut walk = Walk::new(place, self.base, file, (from, self.size));
        while let Some((_, frame)) = walk.next()? {
            if frame.max_timestamp > latest.timestamp {
                latest = TimestampAt { timestamp: frame.max_timestamp, offset: frame.last_offset };
            }
        }
        Ok(latest)
    }

    /// Reserves room ahead. Without room there is none: the write will tell.
    fn reserve(&mut self, config: &LogConfig, end: u64) {
        if config.preallocate_bytes == 0 || end < u64::from(self.reserved) {
            return;
        }
        let ahead = end + u64::from(config.preallocate_bytes);
        let wanted = ahead.min(u64::from(config.segment_bytes).max(end));
        if let (SegmentFile::Open(file), Ok(wanted)) = (&self.file, u32::try_from(wanted))
            && wanted > self.reserved
            && file.allocate(u64::from(wanted)).is_ok()
        {
            self.reserved = wanted;
        }
    }

    fn corrupt(&self, place: &Place, what: &str) -> DiskError {
        DiskError::corrupt(&place.path(self.base, LOG), what)
    }
}

impl SegmentFile {
    fn get(&self) -> Option<Arc<dyn DiskFile>> {
        match self {
            Self::Open(file) => Some(Arc::clone(file)),
            Self::Shared(file) => file.upgrade(),
            Self::Closed => None,
        }
    }
}

/// The batches as frames, after a look at their headers.
pub(crate) fn frame_of(header: &BatchHeader) -> Frame {
    Frame {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        size: u32::try_from(header.size()).expect("a batch is smaller than 2 GiB"),
        max_timestamp: header.max_timestamp,
        header: Some(*header),
    }
}

/// Header and body of every batch, one behind the other, without copying a body.
fn write(file: &dyn DiskFile, batches: &[StampedBatch], mut position: u64) -> Result<(), DiskError> {
    for some in batches.chunks(BATCHES_PER_WRITE) {
        let mut parts = [IoSlice::new(&[]); 2 * BATCHES_PER_WRITE];
        for (pair, batch) in parts.chunks_exact_mut(2).zip(some) {
            pair[0] = IoSlice::new(&batch.header);
            pair[1] = IoSlice::new(&batch.body);
        }
        let parts = &parts[..2 * some.len()];
        file.write_at(parts, position)?;
        position += parts.iter().map(|part| part.len() as u64).sum::<u64>();
    }
    Ok(())
}
