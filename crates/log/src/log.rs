//! A partition's log: segments one behind the other, and what is known of its producers and leader epochs.
//!
//! It has one owner and does what it is told at once, on the disk it was given; only what a flush has to sync can be
//! handed to another thread ([`PendingFlush`](crate::PendingFlush)). Invariants: there is always an active segment;
//! offsets rise from batch to batch; `start ≤ end`; nothing at or above `end` is readable; once a sync or a write has
//! failed the log takes no more changes. A full disk is not such a failure, nor is a want of descriptors.

use std::path::Path;
use std::sync::Arc;

use ottla_protocol::batch::StampedBatch;
use ottla_protocol::{LeaderEpoch, Now, Offset};

use crate::config::LogConfig;
use crate::disk::{DiskError, DiskFile};
use crate::epochs::Epochs;
use crate::index::AbortedTransaction;
use crate::place::{LOG, Place, Reach};
use crate::producers::Producers;
use crate::recovery::{Recovered, Stop, note_aborted};
use crate::segment::{Incoming, Reading, Segment, Stretch, frame_of};
use crate::slice::{ColdRead, FirstBatch, Found, Probe, ReadError, ReadLimit, Slice};
use crate::snapshots::Snapshots;

/// A truncation has no more open at once than the segment, its three indexes and the folder.
const SPARE_DESCRIPTORS: usize = 5;

/// A partition's bytes on disk.
#[derive(Debug)]
pub struct Log {
    pub(crate) place: Place,
    pub(crate) config: LogConfig,
    /// Rising by base; the last is active.
    pub(crate) segments: Vec<Segment>,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) epochs: Epochs,
    pub(crate) producers: Producers,
    pub(crate) snapshots: Snapshots,
    pub(crate) durable: Durable,
    pub(crate) recovered: Recovered,
}

/// How far the log is on the disk for good.
#[derive(Debug)]
pub(crate) struct Durable {
    /// Everything below is.
    pub recovery_point: Offset,
    /// Everything below is, if not here, then in a redo file.
    pub redo_point: Offset,
    /// Counts truncations: a flush that began before one says nothing about what came after.
    pub generation: u64,
    /// What has happened to names in the folder.
    pub names: Names,
    /// Whether the folder's own name may not be on the disk.
    pub name_unsynced: bool,
    /// Why nothing may change any more.
    pub failed: Option<DiskError>,
}

/// What an append has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub first_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Whether a segment was sealed on the way, which is a reason to flush soon.
    pub rolled: bool,
}

/// How often the names in a folder have changed, and up to which change they are on the disk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names {
    changes: u64,
    synced: u64,
}

impl Names {
    pub fn change(&mut self) {
        self.changes += 1;
    }

    /// The last change, if it may not be on the disk.
    pub fn unsynced(self) -> Option<u64> {
        (self.synced < self.changes).then_some(self.changes)
    }

    /// The folder has been synced after this change.
    pub fn synced(&mut self, change: u64) {
        self.synced = self.synced.max(change);
    }
}

impl Durable {
    pub fn new(recovery_point: Offset, stop: Stop) -> Self {
        // After a crash nobody knows which names are there for good.
        let unsynced = stop == Stop::Unclean;
        Self {
            recovery_point,
            redo_point: recovery_point,
            generation: 0,
            names: Names { changes: u64::from(unsynced), synced: 0 },
            name_unsynced: unsynced,
            failed: None,
        }
    }

    /// The log ends here now.
    pub fn goes_back_to(&mut self, end: Offset) {
        self.recovery_point = self.recovery_point.min(end);
        self.redo_point = self.redo_point.min(end);
    }

    pub fn check(&self) -> Result<(), DiskError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Remembers a failure after which nothing may change.
    pub fn guard<T>(&mut self, result: Result<T, DiskError>) -> Result<T, DiskError> {
        if let Err(error) = &result
            && !error.is_passing()
        {
            self.failed.get_or_insert_with(|| error.clone());
        }
        result
    }
}

impl Log {
    /// Appends batches whose base offsets and leader epochs are set. They must begin at or after [`end_offset`], and
    /// none may begin before the one before it ends; the caller has checked producers and sequences.
    ///
    /// [`end_offset`]: Self::end_offset
    ///
    /// # Errors
    /// [`DiskError`], and nothing has been appended. When it [is passing](DiskError::is_passing) the same may succeed later;
    /// otherwise the log takes no more changes.
    ///
    /// # Panics
    /// When the offsets are out of order.
    pub fn append(&mut self, now: Now, batches: &[StampedBatch]) -> Result<Appended, DiskError> {
        self.durable.check()?;
        let before = self.end;
        let mut appended = Appended { first_offset: before, last_offset: before.plus(-1), rolled: false };
        if let Some(first) = batches.first() {
            appended.first_offset = first.header().base_offset;
        }
        let takes_several = self.fitting(batches) < batches.len();
        let mut spare =
            if takes_several { self.durable.guard(self.spare_descriptors())? } else { Vec::new() };
        let mut rest = batches;
        while !rest.is_empty() {
            let (these, others) = rest.split_at(self.fitting(rest));
            let result = self.append_together(now, these);
            if result.is_err() && self.end != before {
                // Some of them stand in a segment before: all or nothing.
                spare.clear();
                self.truncate_to(now, before)?;
            }
            appended.rolled |= self.durable.guard(result)?;
            rest = others;
        }
        appended.last_offset = self.end.plus(-1);
        Ok(appended)
    }

    /// Reads whole batches from `from` on, across segments. A batch that holds `from` in its middle comes whole.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] when `from` is before the start or after the end.
    pub fn read(&mut self, from: Offset, limit: ReadLimit) -> Result<Found, ReadError> {
        if from < self.start || from > self.end {
            return Err(ReadError::OutOfRange { offset: from, start: self.start, end: self.end });
        }
        let up_to = limit.up_to.min(self.end);
        let mut found = Found { slices: Vec::new(), next: from };
        let mut left = limit.max_bytes;
        let mut at = self.segment_at(from);
        while found.next < up_to && at < self.segments.len() {
            let end = self.end_of(at);
            let segment = &mut self.segments[at];
            let stretch = match segment.read(&self.place, (found.next, up_to), left, end)? {
                Reading::Nothing => {
                    at += 1;
                    continue;
                }
                Reading::Held => break,
                Reading::Batches(stretch) => stretch,
                Reading::TooLarge(position) => {
                    if limit.first_batch == FirstBatch::AnySize && found.slices.is_empty() {
                        let batch = segment.batch_at(&self.place, position)?;
                        found.push(segment.file(&self.place)?, batch);
                    }
                    break;
                }
            };
            found.push(segment.file(&self.place)?, stretch);
            left = left.saturating_sub(stretch.end - stretch.position);
            if stretch.next < end {
                break;
            }
            at += 1;
        }
        Ok(found)
    }

    /// As [`read`](Self::read), but it does not wait for the disk.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn probe(&mut self, from: Offset, limit: ReadLimit) -> Result<Probe, ReadError> {
        self.place.reach = Reach::Cache;
        let result = self.read(from, limit);
        self.place.reach = Reach::Disk;
        match result {
            Err(ReadError::Disk(error)) => match error.cold_position() {
                Some(position) => {
                    let disk = Arc::clone(&self.place.disk);
                    Ok(Probe::Cold(ColdRead::new(disk, error.path, position)))
                }
                None => Err(ReadError::Disk(error)),
            },
            result => result.map(Probe::Found),
        }
    }

    /// The transactions that were aborted and may have records in `from..up_to`, by their markers.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn aborted_transactions(
        &self,
        from: Offset,
        up_to: Offset,
    ) -> Result<Vec<AbortedTransaction>, DiskError> {
        let mut aborted = Vec::new();
        for segment in &self.segments[self.segment_at(from)..] {
            let found = segment.indexes.aborted.collect(&self.place, from, up_to, &mut aborted)?;
            if found.is_complete {
                break;
            }
        }
        Ok(aborted)
    }

    /// Begins a new segment, unless the active one is empty.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn roll(&mut self, now: Now) -> Result<(), DiskError> {
        self.durable.check()?;
        if self.active().size() > 0 {
            let result = self.roll_at(self.end, now.wall_ms);
            self.durable.guard(result)?;
        }
        Ok(())
    }

    /// Notes that `epoch` begins at the end of the log: what a leader does before its first append.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        self.epochs.assign(epoch, self.end);
    }

    /// The first offset that may be read.
    #[must_use]
    pub fn start_offset(&self) -> Offset {
        self.start
    }

    /// The offset of the next record.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// Everything below is on the disk for good, in the log's own files.
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        self.durable.recovery_point
    }

    /// Everything below is on the disk for good, in the log's own files or in a [redo file](crate::redo).
    #[must_use]
    pub fn durable_end(&self) -> Offset {
        self.durable.recovery_point.max(self.durable.redo_point)
    }

    /// Bytes of all batches.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.size())).sum()
    }

    /// Where the segments begin, rising; the last is the active one.
    pub fn segment_bases(&self) -> impl ExactSizeIterator<Item = Offset> {
        self.segments.iter().map(Segment::base)
    }

    /// The leader epochs.
    #[must_use]
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The producers.
    #[must_use]
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// The producers, to tell them of the high watermark and to let the silent ones expire.
    pub fn producers_mut(&mut self) -> &mut Producers {
        &mut self.producers
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes the settings; they hold from the next append on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// What opening the log had to make right.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Why the log takes no more changes, if it does not.
    #[must_use]
    pub fn failure(&self) -> Option<&DiskError> {
        self.durable.failed.as_ref()
    }

    /// The partition's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.place.dir
    }

    /// Gives the partition's folder another name in the same log directory, for good: when the topic is deleted, or a
    /// copy takes the place of the original.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn rename_to(&mut self, name: &str) -> Result<(), DiskError> {
        self.durable.check()?;
        let dir = self.place.dir.with_file_name(name);
        let disk = Arc::clone(&self.place.disk);
        let parent = dir.parent().unwrap_or(Path::new(".")).to_owned();
        self.durable.guard(disk.rename(&self.place.dir, &dir))?;
        self.durable.guard(disk.sync_dir(&parent).map_err(DiskError::hardened))?;
        self.place.dir = dir;
        Ok(())
    }

    /// Descriptors for a truncation, should one be missing for the segments before it.
    fn spare_descriptors(&self) -> Result<Vec<Arc<dyn DiskFile>>, DiskError> {
        (0..SPARE_DESCRIPTORS).map(|_| self.place.open(self.active().base(), LOG)).collect()
    }

    /// How many of `batches` go into one segment, whichever: at least one.
    fn fitting(&self, batches: &[StampedBatch]) -> usize {
        let Some(first) = batches.first() else { return 0 };
        let base = first.header().base_offset.0;
        let mut bytes = first.size();
        let fits = batches[1..].iter().take_while(|batch| {
            bytes = bytes.saturating_add(batch.size());
            let far = batch.header().last_offset().0.saturating_sub(base);
            bytes <= self.config.segment_bytes as usize && i32::try_from(far).is_ok()
        });
        1 + fits.count()
    }

    /// Appends batches to one segment. Whether that was a new one is the answer.
    fn append_together(&mut self, now: Now, batches: &[StampedBatch]) -> Result<bool, DiskError> {
        let incoming = self.weigh(batches);
        let config = self.config;
        let place = &self.place;
        let active = self.segments.last_mut().expect("there is always an active segment");
        let rolls = active.is_over(place, &config, &incoming, now.wall_ms)?;
        if rolls {
            self.roll_at(batches[0].header().base_offset, now.wall_ms)?;
        }
        let active = self.segments.last_mut().expect("there is always an active segment");
        active.append(&self.place, &config, batches)?;
        for batch in batches {
            let header = batch.header();
            active.took(&self.place, &frame_of(&header))?;
            let latest = self.epochs.latest().map_or(LeaderEpoch(-1), |entry| entry.epoch);
            if header.leader_epoch > latest {
                self.epochs.assign(header.leader_epoch, header.base_offset);
            }
            let ended = self.producers.take(&header, &batch.body);
            note_aborted(&self.place, active, &self.producers, ended)?;
            self.end = header.next_offset();
        }
        Ok(rolls)
    }

    fn weigh(&self, batches: &[StampedBatch]) -> Incoming {
        let mut incoming = Incoming { bytes: 0, last_offset: self.end.plus(-1), max_timestamp: i64::MIN };
        for batch in batches {
            let header = batch.header();
            assert!(
                header.base_offset > incoming.last_offset,
                "a batch at {} cannot follow offset {}",
                header.base_offset,
                incoming.last_offset
            );
            incoming.bytes += batch.size() as u64;
            incoming.last_offset = header.last_offset();
            incoming.max_timestamp = incoming.max_timestamp.max(header.max_timestamp);
        }
        incoming
    }

    /// Seals the active segment and begins the next one at `base`.
    pub(crate) fn roll_at(&mut self, base: Offset, wall_ms: i64) -> Result<(), DiskError> {
        let active = self.segments.last_mut().expect("there is always an active segment");
        if active.base() == base {
            return Ok(());
        }
        if self.durable.redo_point > self.durable.recovery_point {
            // No later segment may outlive batches that are on the disk only in a redo file: they could not be put back
            // before it.
            active.file(&self.place)?.sync().map_err(DiskError::hardened)?;
        }
        active.seal(&self.place)?;
        let segment = Segment::create(&self.place, base, &self.config, wall_ms)?;
        self.segments.push(segment);
        self.durable.names.change();
        self.producers.skip_to(base);
        self.snapshots.take(&self.place, &self.producers)
    }

    pub(crate) fn active(&self) -> &Segment {
        self.segments.last().expect("there is always an active segment")
    }

    pub(crate) fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("there is always an active segment")
    }

    /// Index of the segment that `offset` lies in.
    pub(crate) fn segment_at(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base() <= offset).saturating_sub(1)
    }

    /// The offset after a segment's last batch, or some offset between that and the next segment's base.
    pub(crate) fn end_of(&self, index: usize) -> Offset {
        self.segments.get(index + 1).map_or(self.end, Segment::base)
    }
}

impl Found {
    fn push(&mut self, file: Arc<dyn DiskFile>, stretch: Stretch) {
        let (position, length) = (u64::from(stretch.position), stretch.end - stretch.position);
        self.slices.push(Slice { file, position, length });
        self.next = stretch.next;
    }
}
