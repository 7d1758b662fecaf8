//! Opening a log: what a start finds, believes and makes right (kafka-internals §7.7).
//!
//! After a clean stop nothing is read but the end of the last segment. After any other, every segment from the
//! recovery point on is read whole: it is cut at the first batch that is not right, all behind it goes, and indexes,
//! producers and epochs are made anew on the way. Bytes below the recovery point are not looked at.

mod epochs;
mod folder;

use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::batch::HEADER_LEN;
use ottla_protocol::{Now, Offset};

use crate::checkpoint;
use crate::config::LogConfig;
use crate::disk::{Disk, DiskError};
use crate::epochs::Epochs;
use crate::frame::{Frame, Walk};
use crate::index::AbortedTransaction;
use crate::log::{Durable, Log};
use crate::place::{LOG, Place};
use crate::producers::{EndedTransaction, MarkerKind, Producers};
use crate::scan::{Scan, Scanned};
use crate::segment::Segment;
use crate::snapshots::Snapshots;
use epochs::Runs;
use folder::Folder;

/// What is known of a log before it is opened.
#[derive(Clone, Copy, Debug)]
pub struct OpenHint {
    /// Whether it was closed, and nothing has happened since.
    pub stop: Stop,
    /// Everything below is on the disk for good.
    pub recovery_point: Offset,
    /// Where the log starts, if later than its first segment does.
    pub log_start: Offset,
}

/// How a log was last left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was closed.
    Clean,
    /// Nobody knows.
    Unclean,
}

impl OpenHint {
    /// Nothing is known: everything is read and checked.
    pub const NOTHING: Self =
        Self { stop: Stop::Unclean, recovery_point: Offset::ZERO, log_start: Offset::ZERO };

    /// The log was closed, and starts where its first segment does.
    pub const CLEAN: Self = Self { stop: Stop::Clean, ..Self::NOTHING };
}

/// What recovery had to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Bytes read and checked.
    pub checked: u64,
    /// Bytes cut away because they were no whole, right batches.
    pub cut: u64,
    /// Segments removed because they lay behind the cut, or behind a hole.
    pub segments_removed: usize,
    /// Whether bytes below the recovery point were bad: the disk has lost what it had promised to keep.
    pub lost_flushed: bool,
}

impl Log {
    /// Opens the log in `dir`, which is made if there is none.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        config: LogConfig,
        hint: OpenHint,
        now: Now,
    ) -> Result<Self, DiskError> {
        let place = Place::new(disk, dir);
        let folder = Folder::tidy(&place)?;
        let mut hint = hint;
        let epochs = match checkpoint::read_epochs(&*place.disk, &place.dir) {
            Err(error) if error.is_corrupt() => {
                tracing::warn!(%error, "the leader epochs are found again in the log");
                hint = OpenHint { stop: Stop::Unclean, recovery_point: Offset::ZERO, ..hint };
                Vec::new()
            }
            result => result?,
        };
        let opening = Opening {
            config,
            wall_ms: now.wall_ms,
            snapshots: Snapshots::new(folder.snapshots.clone()),
            epochs: Epochs::new(epochs),
            segments: Vec::new(),
            recovered: Recovered::default(),
            hint,
            place,
        };
        opening.run(&folder)
    }
}

/// A log being opened.
struct Opening {
    place: Place,
    config: LogConfig,
    wall_ms: i64,
    hint: OpenHint,
    segments: Vec<Segment>,
    snapshots: Snapshots,
    epochs: Epochs,
    recovered: Recovered,
}

impl Opening {
    fn run(mut self, folder: &Folder) -> Result<Log, DiskError> {
        let end = match self.hint.stop {
            Stop::Clean => self.trust(folder)?,
            Stop::Unclean => self.distrust(folder)?,
        };
        let end = self.start_over_if_before(end)?;
        let start = self.hint.log_start.max(self.segments[0].base());
        self.epochs.truncate_from_end(end);
        self.epochs.truncate_from_start(start);
        let bases: Vec<Offset> = self.segments.iter().map(Segment::base).collect();
        self.snapshots.remove_strays(&self.place, &bases)?;
        let producers = self.load_producers(start, end)?;
        let recovery_point = match self.hint.stop {
            Stop::Clean => end,
            Stop::Unclean => self.hint.recovery_point.min(end),
        };
        let mut durable = Durable::new(recovery_point, self.hint.stop);
        if self.recovered != Recovered::default() {
            durable.names.change();
        }
        Ok(Log {
            durable,
            place: self.place,
            config: self.config,
            segments: self.segments,
            start,
            end,
            epochs: self.epochs,
            producers,
            snapshots: self.snapshots,
            recovered: self.recovered,
        })
    }

    /// Takes all segments as they are. The end offset is the answer.
    fn trust(&mut self, folder: &Folder) -> Result<Offset, DiskError> {
        for base in &folder.segments {
            let segment = match self.open_sealed(*base, folder) {
                Err(error) if error.is_corrupt() => self.recover_alone(*base, &error)?.0,
                result => result?,
            };
            self.segments.push(segment);
        }
        let Some(last) = self.segments.last_mut() else { return Ok(self.hint.log_start) };
        match last.activate(&self.place, &self.config) {
            Err(error) if error.is_corrupt() => {
                let base = last.base();
                let (segment, end) = self.recover_alone(base, &error)?;
                self.segments.push(segment);
                Ok(end)
            }
            result => result,
        }
    }

    /// Opens a segment that is believed, and makes the indexes anew that it lacks.
    fn open_sealed(&self, base: Offset, folder: &Folder) -> Result<Segment, DiskError> {
        let size = self.size_of(base)?;
        let mut segment = Segment::open(&self.place, base, size, &self.config, self.wall_ms)?;
        if !folder.has_indexes(base) {
            tracing::warn!(%base, dir = %self.place.dir.display(), "an index is missing");
            segment.reindex(&self.place)?;
        }
        Ok(segment)
    }

    /// Reads every segment that may not be flushed. The end offset is the answer.
    fn distrust(&mut self, folder: &Folder) -> Result<Offset, DiskError> {
        let bases = &folder.segments;
        // A segment that ends just at the recovery point may have been sealed since: then its indexes, and the length
        // it was trimmed to, are not on the disk for good.
        let flushed = bases.partition_point(|base| *base < self.hint.recovery_point).saturating_sub(1);
        for base in &bases[..flushed] {
            let segment = match self.open_sealed(*base, folder) {
                Err(error) if error.is_corrupt() => self.recover_alone(*base, &error)?.0,
                result => result?,
            };
            self.segments.push(segment);
        }
        let Some(first) = bases.get(flushed) else { return Ok(self.hint.log_start) };
        self.snapshots.remove(&self.place, |offset| offset > *first)?;
        let mut producers = self.producers_at(*first, bases[0])?;
        let mut runs = Runs::new(&mut self.epochs, *first);
        let mut end = *first;
        for (i, base) in bases.iter().enumerate().skip(flushed) {
            if *base != end && self.is_hole(end, *base) {
                self.remove_behind(&bases[i..])?;
                break;
            }
            producers.skip_to(*base);
            self.snapshots.take(&self.place, &producers)?;
            let (segment, found) = self.recover(*base, &mut producers, Some(&mut runs))?;
            self.segments.push(segment);
            end = found.end.max(*base);
            // Room that was reserved and not trimmed is no loss: then the next segment follows all the same.
            if found.cut > 0 && bases.get(i + 1) != Some(&end) {
                self.remove_behind(&bases[i + 1..])?;
                break;
            }
        }
        runs.settle(&mut self.epochs);
        self.recovered.lost_flushed |= end < self.hint.recovery_point;
        let last = self.segments.last_mut().expect("one has just been recovered");
        last.activate_at(&self.place, end)?;
        Ok(end)
    }

    /// Whether a segment that begins at `base` cannot follow one that ends at `end`: what lay between was lost with
    /// the power. A compacted log may have such gaps by right.
    fn is_hole(&self, end: Offset, base: Offset) -> bool {
        !self.segments.is_empty() && (base < end || (base > end && !self.config.cleanup.compacts()))
    }

    fn remove_behind(&mut self, bases: &[Offset]) -> Result<(), DiskError> {
        for base in bases.iter().rev() {
            tracing::warn!(%base, dir = %self.place.dir.display(), "a segment behind lost or bad bytes is removed");
            let segment = Segment::open_bare(&self.place, *base, 0, &self.config, self.wall_ms)?;
            for path in segment.retire(&self.place)? {
                self.place.disk.remove(&path)?;
            }
            self.recovered.segments_removed += 1;
        }
        let from = bases.first().copied();
        self.snapshots.remove(&self.place, |offset| from.is_some_and(|from| offset >= from))
    }

    /// Recovers one segment out of its turn, because its indexes are wrong.
    fn recover_alone(&mut self, base: Offset, why: &DiskError) -> Result<(Segment, Offset), DiskError> {
        tracing::warn!(%base, error = %why, "a segment is recovered");
        self.segments.retain(|segment| segment.base() < base);
        let first = self.segments.first().map_or(base, Segment::base);
        let mut producers = self.producers_at(base, first)?;
        let (mut segment, found) = self.recover(base, &mut producers, None)?;
        segment.activate_at(&self.place, found.end)?;
        Ok((segment, found.end))
    }

    /// Reads a segment whole, cuts it where it is bad, and makes its indexes anew.
    fn recover(
        &mut self,
        base: Offset,
        producers: &mut Producers,
        mut runs: Option<&mut Runs>,
    ) -> Result<(Segment, Found), DiskError> {
        let length = self.place.length(base, LOG)?.unwrap_or(0);
        let mut segment = Segment::open_bare(&self.place, base, 0, &self.config, self.wall_ms)?;
        let mut scan = Scan::new(segment.file(&self.place)?, length.min(i32::MAX as u64));
        let mut end = base;
        let bad = loop {
            let (frame, whole) = match scan.next()? {
                Scanned::Batch(frame, whole) => (frame, whole),
                Scanned::End => break None,
                Scanned::Bad(what) => break Some(what),
            };
            // Below its base a segment has nothing; formats before 2 do not tell where a wrapper begins.
            let is_old = frame.header.is_none();
            if frame.last_offset < end || (frame.base_offset < end && !is_old) {
                break Some(format!("offset {} after {}", frame.base_offset, end));
            }
            if i32::try_from(frame.last_offset.0 - base.0).is_err() {
                break Some(format!("offset {} is too far from the base", frame.last_offset));
            }
            segment.took(&self.place, &frame)?;
            end = frame.next_offset();
            if let Some(header) = &frame.header {
                if let Some(runs) = runs.as_deref_mut() {
                    runs.saw(header.leader_epoch, header.base_offset);
                }
                let ended = producers.take(header, &whole[HEADER_LEN..]);
                note_aborted(&self.place, &mut segment, producers, ended)?;
            }
        };
        let cut = length - u64::from(segment.size());
        if cut > 0 {
            let what = bad.unwrap_or_default();
            tracing::warn!(%base, dir = %self.place.dir.display(), cut, what, "a segment is cut");
            segment.cut_file(&self.place)?;
        }
        segment.finish(&self.place)?;
        self.recovered.checked += length;
        self.recovered.cut += cut;
        Ok((segment, Found { end, cut }))
    }

    /// The producers as they were at `offset`, the base of a segment: by a snapshot, and by reading what follows it.
    fn producers_at(&mut self, offset: Offset, first: Offset) -> Result<Producers, DiskError> {
        let known = (&self.config, self.wall_ms);
        let mut producers = self.snapshots.load(&self.place, offset, first.min(offset), known)?;
        for segment in &mut self.segments {
            replay(&self.place, segment, &mut producers, offset)?;
        }
        producers.skip_to(offset);
        Ok(producers)
    }

    /// The producers at the end of the log.
    fn load_producers(&mut self, start: Offset, end: Offset) -> Result<Producers, DiskError> {
        self.snapshots.remove(&self.place, |offset| offset > end)?;
        if self.snapshots.is_empty() && self.hint.stop == Stop::Clean {
            return self.begin_snapshots(end);
        }
        let known = (&self.config, self.wall_ms);
        // Records that were deleted on demand still tell of their producers, who may repeat them.
        let first = self.segments[0].base().min(start);
        let mut producers = self.snapshots.load(&self.place, end, first, known)?;
        for segment in &mut self.segments {
            replay(&self.place, segment, &mut producers, end)?;
        }
        producers.skip_to(end);
        self.snapshots.take(&self.place, &producers)?;
        Ok(producers)
    }

    /// A log that was closed and has no snapshot comes from before there were any: it is not read for them.
    fn begin_snapshots(&mut self, end: Offset) -> Result<Producers, DiskError> {
        let bases: Vec<Offset> = self.segments.iter().rev().take(2).map(Segment::base).collect();
        for offset in bases.into_iter().rev().chain([end]) {
            self.snapshots.take(&self.place, &Producers::empty_at(offset))?;
        }
        Ok(Producers::empty_at(end))
    }

    /// A log that ends before it is said to start has lost its files: it starts over, empty.
    fn start_over_if_before(&mut self, end: Offset) -> Result<Offset, DiskError> {
        let start = self.hint.log_start;
        if self.segments.is_empty() || end < start {
            let bases: Vec<Offset> = self.segments.drain(..).map(|segment| segment.base()).collect();
            self.remove_behind(&bases)?;
            self.snapshots.start_over(&self.place, start)?;
            self.epochs.clear();
            self.segments.push(Segment::create(&self.place, start, &self.config, self.wall_ms)?);
            return Ok(start);
        }
        Ok(end)
    }

    fn size_of(&self, base: Offset) -> Result<u32, DiskError> {
        let length = self.place.length(base, LOG)?.unwrap_or(0);
        let size = u32::try_from(length).ok().filter(|size| *size <= i32::MAX as u32);
        size.ok_or_else(|| {
            DiskError::corrupt(
                &self.place.path(base, LOG),
                format!("{length} bytes are too many for a segment"),
            )
        })
    }
}

struct Found {
    end: Offset,
    cut: u64,
}

/// Takes the batches of a segment from the producers' end up to `end` in.
pub(crate) fn replay(
    place: &Place,
    segment: &mut Segment,
    producers: &mut Producers,
    end: Offset,
) -> Result<(), DiskError> {
    let from = producers.end_offset();
    if from >= end {
        return Ok(());
    }
    let size = segment.size();
    let Some((position, _)) = segment.search(place, from)? else { return Ok(()) };
    let file = segment.file(place)?;
    let mut walk = Walk::new(place, segment.base(), &*file, (position, size));
    while let Some((position, frame)) = walk.next()? {
        if frame.last_offset >= end {
            break;
        }
        let Some(header) = &frame.header else { continue };
        let body = if header.is_control() { read_body(&*file, position, &frame)? } else { Vec::new() };
        producers.take(header, &body);
    }
    Ok(())
}

fn read_body(file: &dyn crate::disk::DiskFile, position: u32, frame: &Frame) -> Result<Vec<u8>, DiskError> {
    let mut body = vec![0; frame.size as usize - HEADER_LEN];
    let read = file.read_at(&mut body, u64::from(position) + HEADER_LEN as u64)?;
    body.truncate(read);
    Ok(body)
}

/// Writes an aborted transaction into the index of the segment that has its marker.
pub(crate) fn note_aborted(
    place: &Place,
    segment: &mut Segment,
    producers: &Producers,
    ended: Option<EndedTransaction>,
) -> Result<(), DiskError> {
    let Some(ended) = ended.filter(|ended| ended.kind == MarkerKind::Abort) else { return Ok(()) };
    let aborted = AbortedTransaction {
        producer_id: ended.producer_id,
        first_offset: ended.first_offset,
        last_offset: ended.last_offset,
        last_stable_offset: producers.stable_after(&ended),
    };
    segment.add_aborted(place, aborted)
}
