//! The metadata log with what belongs to it: its snapshots, its epochs, and the voter sets that are written in it.
//!
//! Invariants: a log that begins behind offset 0 begins at the end of a snapshot; no snapshot ends within a batch;
//! the membership is that of the records in the log, committed or not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::disk::EntryKind;
use ottla_log::{Disk, DiskError, FirstBatch, Log, ReadError, ReadLimit};
use ottla_protocol::batch::{BatchError, BatchHeader, HEADER_LEN, StampedBatch, split};
use ottla_protocol::time::Now;
use ottla_protocol::{LeaderEpoch, Offset};

use crate::batch;
use crate::config::{RaftConfig, Retention};
use crate::control_record::ControlRecord;
use crate::message::{OffsetAndEpoch, SnapshotId};
use crate::output::{CommittedBatch, Content};
use crate::snapshot::{self, Snapshot, SnapshotError};
use crate::voters::Membership;

/// No batch of the metadata log is larger: Kafka's own limit.
pub const MAX_BATCH_BYTES: usize = 8 << 20;
/// The log is read in pieces of about this when it is opened.
const SCAN_BYTES: usize = 8 << 20;

/// The metadata log.
#[derive(Debug)]
pub struct Journal {
    log: Log,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    snapshots: BTreeMap<SnapshotId, Kept>,
    membership: Membership,
    flushed: Offset,
}

/// What is known of a snapshot without reading it.
#[derive(Clone, Copy, Debug)]
struct Kept {
    size: u64,
    last_append_ms: i64,
}

/// How a follower's log end relates to this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// It is a prefix: send what follows.
    Valid,
    /// It differs: here is where this log ends for the largest epoch not above the follower's.
    Diverging(OffsetAndEpoch),
    /// This log begins behind it: send the snapshot.
    Snapshot(SnapshotId),
}

impl Journal {
    /// Opens the journal on its log: throws away what was not finished, loads the membership, checks that log and
    /// snapshots fit.
    ///
    /// # Errors
    /// [`DiskError`], also where they do not fit.
    pub fn open(config: &RaftConfig, log: Log, disk: Arc<dyn Disk>, now: Now) -> Result<Self, DiskError> {
        let membership = Membership::new(config.configured_voters.clone());
        let snapshots = find_snapshots(&*disk, &config.dir)?;
        let flushed = log.end_offset();
        let mut journal = Self { log, disk, dir: config.dir.clone(), snapshots, membership, flushed };
        journal.fit_to_snapshots(now)?;
        if let Some(newest) = journal.snapshots.keys().next_back().copied() {
            let snapshot = Snapshot::read(&*journal.disk, &journal.dir, newest)?;
            journal.membership.restart_from_snapshot(newest.offset, snapshot.kraft_version, snapshot.voters);
        }
        journal.scan_membership()?;
        // What recovery kept may never have been synced; it will be acknowledged as if it had been.
        journal.log.flush()?;
        Ok(journal)
    }

    /// The end of the log with the epoch of its last record.
    #[must_use]
    pub fn end(&self) -> OffsetAndEpoch {
        let epoch = match self.log.epochs().latest() {
            Some(latest) => latest.epoch,
            None => self.latest_snapshot().map_or(LeaderEpoch(0), |snapshot| snapshot.epoch),
        };
        OffsetAndEpoch { epoch, offset: self.log.end_offset() }
    }

    /// The first offset of the log.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.log.start_offset()
    }

    /// The end of what is on the disk for good.
    #[must_use]
    pub fn flushed(&self) -> Offset {
        self.flushed
    }

    /// Whether something is in the log that is not on the disk for good.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.flushed < self.log.end_offset()
    }

    /// The voter sets of the log.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The newest snapshot but the bootstrap one.
    #[must_use]
    pub fn latest_snapshot(&self) -> Option<SnapshotId> {
        self.snapshots.keys().next_back().copied().filter(|id| *id != SnapshotId::BOOTSTRAP)
    }

    /// How a follower's log, which ends at `offset` with a record of `epoch`, relates to this one (KIP-595, KIP-630).
    #[must_use]
    pub fn position(&self, offset: Offset, epoch: LeaderEpoch) -> Position {
        if let Some(latest) = self.latest_snapshot().filter(|_| offset == Offset::ZERO) {
            return Position::Snapshot(latest);
        }
        if offset == Offset::ZERO && self.start() == Offset::ZERO {
            return Position::Valid;
        }
        if let (Some(earliest), Some(latest)) = (self.snapshots.keys().next(), self.latest_snapshot()) {
            let at_the_start = offset == self.start() && epoch != earliest.epoch;
            if offset < self.start() || at_the_start || epoch < earliest.epoch {
                return Position::Snapshot(latest);
            }
        }
        let end = self.end_of(epoch);
        if end.epoch != epoch || end.offset < offset { Position::Diverging(end) } else { Position::Valid }
    }

    /// Where this log and a leader's part, if the leader's ends at `leaders_end` for the largest epoch not above ours.
    #[must_use]
    pub fn agreement_with(&self, leaders_end: OffsetAndEpoch) -> Offset {
        let ours = if leaders_end.epoch.0 <= 0 { self.end() } else { self.end_of(leaders_end.epoch) };
        if leaders_end.epoch.0 <= 0 || ours.epoch == leaders_end.epoch {
            ours.offset.min(leaders_end.offset)
        } else {
            ours.offset
        }
    }

    /// Where the largest epoch not above `epoch` ends in this log; the end of the log for an epoch beyond it.
    fn end_of(&self, epoch: LeaderEpoch) -> OffsetAndEpoch {
        let Some((found, offset)) = self.log.epochs().end_offset_for(epoch, self.log.end_offset()) else {
            return self.end();
        };
        match self.snapshots.keys().next() {
            // An epoch before the log's first one ended in the snapshot that the log begins with.
            Some(earliest) if earliest.offset == offset && found == epoch => *earliest,
            _ => OffsetAndEpoch { epoch: found, offset },
        }
    }

    /// Appends a batch of data records and gives the offset of the first.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn append(&mut self, now: Now, epoch: LeaderEpoch, batch: StampedBatch) -> Result<Offset, DiskError> {
        let base = self.log.end_offset();
        self.log.append(now, &[batch.at(base, epoch)])?;
        Ok(base)
    }

    /// Appends a batch of control records, which count from now on.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn append_control(
        &mut self,
        now: Now,
        epoch: LeaderEpoch,
        records: &[ControlRecord],
    ) -> Result<(), DiskError> {
        let batch = batch::of_control(records, now.wall_ms)
            .map_err(|error| DiskError::corrupt(&self.dir, error.to_string()))?;
        let base = self.append(now, epoch, batch)?;
        self.observe(base, records);
        Ok(())
    }

    /// Appends fetched batches as far as they are whole, follow on the log, and are of no epoch beyond `epoch`; what
    /// stopped it, if something did, is the answer.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn append_fetched(
        &mut self,
        now: Now,
        bytes: &Bytes,
        epoch: LeaderEpoch,
    ) -> Result<Option<String>, DiskError> {
        let (batches, torn) = split(bytes);
        let mut problem = torn.map(|error| error.to_string());
        let mut accepted = Vec::with_capacity(batches.len());
        let mut control = Vec::new();
        let mut next = self.end();
        for (header, batch) in batches {
            match check_fetched(&header, &batch, next, epoch) {
                Ok(read) => {
                    next = OffsetAndEpoch { epoch: header.leader_epoch, offset: header.next_offset() };
                    accepted.push(read.0);
                    control.extend(read.1);
                }
                Err(why) => {
                    problem = Some(why);
                    break;
                }
            }
        }
        match self.log.append(now, &accepted) {
            Err(error) if error.is_passing() => return Ok(Some(error.to_string())),
            outcome => outcome?,
        };
        for (base, records) in control {
            self.observe(base, &records);
        }
        Ok(problem)
    }

    /// Cuts the log at `end`; membership follows.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn truncate_to(&mut self, now: Now, end: Offset) -> Result<(), DiskError> {
        let end = self.log.truncate_to(now, end)?;
        self.flushed = self.flushed.min(end);
        self.membership.truncate_to(end);
        Ok(())
    }

    /// Closes the log; its end, which is on the disk for good, is the answer.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn close(self) -> Result<Offset, DiskError> {
        self.log.close()
    }

    /// Puts everything on the disk for good, if it is not yet.
    ///
    /// # Errors
    /// [`DiskError`], and then nobody may be told anything any more.
    pub fn flush_if_dirty(&mut self) -> Result<(), DiskError> {
        if self.is_dirty() {
            self.log.flush()?;
            self.flushed = self.log.end_offset();
        }
        Ok(())
    }

    /// Whole batches from `from` on, committed or not: about `max_bytes`, but one at least if there is one.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn read(&mut self, from: Offset, max_bytes: usize) -> Result<Bytes, DiskError> {
        self.read_up_to(from, self.log.end_offset(), max_bytes)
    }

    /// The same, understood, and not beyond `up_to`.
    ///
    /// # Errors
    /// [`DiskError`], also where the bytes make no sense.
    pub fn read_batches(
        &mut self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
    ) -> Result<Vec<CommittedBatch>, DiskError> {
        let bytes = self.read_up_to(from, up_to, max_bytes)?;
        batch::read_all(&bytes).map_err(|error| DiskError::corrupt(&self.dir, error.to_string()))
    }

    fn read_up_to(&mut self, from: Offset, up_to: Offset, max_bytes: usize) -> Result<Bytes, DiskError> {
        if from >= up_to {
            return Ok(Bytes::new());
        }
        let max_bytes = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        let limit = ReadLimit { up_to, max_bytes, first_batch: FirstBatch::AnySize };
        match self.log.read(from, limit) {
            Ok(found) => found.read(),
            Err(ReadError::Disk(error)) => Err(error),
            Err(error) => Err(DiskError::corrupt(&self.dir, error.to_string())),
        }
    }

    /// The name of a snapshot of everything before `end`, if there can be one.
    ///
    /// # Errors
    /// [`SnapshotError::Refused`] when `end` is not committed, lies before the log or an earlier snapshot, or within a
    /// batch (KAFKA-14619).
    pub fn snapshot_at(
        &mut self,
        end: Offset,
        high_watermark: Option<Offset>,
    ) -> Result<SnapshotId, SnapshotError> {
        let refuse = |why| Err(SnapshotError::Refused { end, why });
        if high_watermark.is_none_or(|committed| end > committed) {
            return refuse("it is not committed");
        }
        if end <= self.start() || self.latest_snapshot().is_some_and(|latest| end <= latest.offset) {
            return refuse("an earlier snapshot holds it");
        }
        if end < self.log.end_offset() {
            let next = self.read_batches(end, self.log.end_offset(), 1)?;
            if next.first().is_none_or(|batch| batch.base_offset != end) {
                return refuse("it lies within a batch");
            }
        }
        match self.log.epochs().epoch_at(Offset(end.0 - 1)) {
            Some(epoch) => Ok(SnapshotId { epoch, offset: end }),
            None => refuse("its epoch is not known"),
        }
    }

    /// Takes up a finished snapshot.
    ///
    /// # Errors
    /// [`DiskError`] when it is not there.
    pub fn add_snapshot(&mut self, id: SnapshotId) -> Result<(), DiskError> {
        let kept = look_at(&*self.disk, &self.dir, id)?;
        self.snapshots.insert(id, kept);
        Ok(())
    }

    /// Starts the log again behind a snapshot that came from the leader and has been taken up; nothing that was in the log
    /// stays.
    ///
    /// # Errors
    /// [`DiskError`], and then some of it may have been done.
    pub fn restart_behind(&mut self, now: Now, snapshot: &Snapshot) -> Result<(), DiskError> {
        self.log.truncate_fully(now, snapshot.id.offset)?;
        self.log.flush()?;
        self.flushed = snapshot.id.offset;
        let voters = snapshot.voters.clone();
        self.membership.restart_from_snapshot(snapshot.id.offset, snapshot.kraft_version, voters);
        self.drop_snapshots_before(snapshot.id.offset)
    }

    /// Removes the oldest snapshots while they are too old or all is too much, never the newest, and the log before the
    /// oldest that stays. The log begins at a snapshot's end, always.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn clean(&mut self, now: Now, retention: &Retention) -> Result<(), DiskError> {
        loop {
            let mut oldest = self.snapshots.iter();
            let (Some((_, first)), Some((second, _))) = (oldest.next(), oldest.next()) else { return Ok(()) };
            let second = *second;
            let size = self.snapshots.values().map(|kept| kept.size).sum::<u64>() + self.log.size();
            let too_much = u64::try_from(retention.max_bytes).is_ok_and(|max| size > max);
            let too_old =
                retention.max_ms >= 0 && now.wall_ms.saturating_sub(first.last_append_ms) > retention.max_ms;
            if !too_much && !too_old {
                return Ok(());
            }
            self.log.delete_records_before(second.offset);
            self.log.retain(now, second.offset)?.erase()?;
            self.membership.forget_before(second.offset);
            self.drop_snapshots_before(second.offset)?;
        }
    }

    fn drop_snapshots_before(&mut self, start: Offset) -> Result<(), DiskError> {
        while let Some(oldest) = self.snapshots.keys().next().copied().filter(|id| id.offset < start) {
            let path = self.dir.join(snapshot::file_name(oldest));
            let doomed = path.with_extension("checkpoint.deleted");
            self.disk.rename(&path, &doomed)?;
            self.disk.remove(&doomed)?;
            self.snapshots.remove(&oldest);
        }
        Ok(())
    }

    /// Log and snapshots must meet (KAFKA-14238, KAFKA-14240): a log that the newest snapshot goes beyond begins again
    /// behind it, one that begins where no snapshot ends cannot be used.
    fn fit_to_snapshots(&mut self, now: Now) -> Result<(), DiskError> {
        if let Some(latest) = self.latest_snapshot()
            && latest > self.end()
        {
            self.log.truncate_fully(now, latest.offset)?;
            self.flushed = latest.offset;
        }
        let start = self.log.start_offset();
        if start > Offset::ZERO && !self.snapshots.keys().any(|id| id.offset >= start) {
            return Err(DiskError::corrupt(
                &self.dir,
                format!("the log begins at {start}, and no snapshot holds what was before"),
            ));
        }
        if start > Offset::ZERO
            && let Some(earliest) = self.snapshots.keys().find(|id| id.offset >= start).copied()
        {
            // Only whole segments go from the disk: the log may have begun a little later than it does now.
            self.log.delete_records_before(earliest.offset);
        }
        self.drop_snapshots_before(self.log.start_offset())
    }

    fn scan_membership(&mut self) -> Result<(), DiskError> {
        let mut from = self.start().max(self.latest_snapshot().map_or(Offset::ZERO, |latest| latest.offset));
        let end = self.log.end_offset();
        while from < end {
            let (batches, torn) = split(&self.read_up_to(from, end, SCAN_BYTES)?);
            let corrupt = |error: BatchError| DiskError::corrupt(&self.dir, error.to_string());
            if let Some(error) = torn {
                return Err(corrupt(error));
            }
            assert!(!batches.is_empty(), "a log that goes on to {end} has a batch at {from}");
            let mut control = Vec::new();
            for (header, bytes) in batches {
                from = header.next_offset();
                // Data is read when it is delivered; here only the quorum's own records matter.
                if header.is_control()
                    && let Content::Control(records) = batch::read(&header, &bytes).map_err(corrupt)?.content
                {
                    control.push((header.base_offset, records));
                }
            }
            for (base, records) in control {
                self.observe(base, &records);
            }
        }
        Ok(())
    }

    fn observe(&mut self, base: Offset, records: &[ControlRecord]) {
        for (delta, record) in (0i64..).zip(records) {
            match record {
                ControlRecord::KraftVersion(level) => self.membership.version_at(base.plus(delta), *level),
                ControlRecord::KraftVoters(voters) => {
                    self.membership.voters_at(base.plus(delta), voters.clone());
                }
                _ => {}
            }
        }
    }
}

/// A fetched batch, ready to be appended, with its control records if it has any; or why it is not taken.
type Checked = (StampedBatch, Option<(Offset, Vec<ControlRecord>)>);

fn check_fetched(
    header: &BatchHeader,
    bytes: &Bytes,
    end: OffsetAndEpoch,
    epoch: LeaderEpoch,
) -> Result<Checked, String> {
    if header.base_offset != end.offset {
        return Err(format!("a batch at {} where the log ends at {}", header.base_offset, end.offset));
    }
    if header.leader_epoch > epoch || header.leader_epoch < end.epoch {
        return Err(format!("a batch of epoch {} after {} in epoch {epoch}", header.leader_epoch, end.epoch));
    }
    let read = batch::read(header, bytes).map_err(|error| error.to_string())?;
    let stamped = StampedBatch::verbatim(bytes.clone()).map_err(|error| error.to_string())?;
    match read.content {
        Content::Control(records) => Ok((stamped, Some((header.base_offset, records)))),
        Content::Records(_) => Ok((stamped, None)),
    }
}

/// The finished snapshots in `dir`; unfinished and half-removed ones go.
fn find_snapshots(disk: &dyn Disk, dir: &Path) -> Result<BTreeMap<SnapshotId, Kept>, DiskError> {
    let mut found = BTreeMap::new();
    for entry in disk.list(dir)?.into_iter().filter(|entry| entry.kind == EntryKind::File) {
        if entry.name.ends_with(snapshot::PART_SUFFIX) || entry.name.ends_with(snapshot::DELETED_SUFFIX) {
            disk.remove(&dir.join(&entry.name))?;
        } else if let Some(id) = snapshot::parse_name(&entry.name) {
            found.insert(id, look_at(disk, dir, id)?);
        }
    }
    Ok(found)
}

fn look_at(disk: &dyn Disk, dir: &Path, id: SnapshotId) -> Result<Kept, DiskError> {
    let path = dir.join(snapshot::file_name(id));
    let corrupt = |what: &dyn std::fmt::Display| DiskError::corrupt(&path, what.to_string());
    let file = disk.open(&path)?;
    let mut head = vec![0; HEADER_LEN];
    file.read_at(&mut head, 0)?;
    let header = BatchHeader::parse(&head).map_err(|error| corrupt(&error))?;
    head.resize(header.size().min(MAX_BATCH_BYTES), 0);
    file.read_at(&mut head, 0)?;
    let first = batch::read(&header, &head.into()).map_err(|error| corrupt(&error))?;
    match first.content {
        Content::Control(records) => match records.first() {
            Some(ControlRecord::SnapshotHeader { last_append_ms }) => {
                Ok(Kept { size: file.length()?, last_append_ms: *last_append_ms })
            }
            _ => Err(corrupt(&"a snapshot without header")),
        },
        Content::Records(_) => Err(corrupt(&"a snapshot without header")),
    }
}
