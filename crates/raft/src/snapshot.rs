//! Snapshots: the committed state up to an offset, as records in a file of its own.
//!
//! `<end offset>-<epoch>.checkpoint` holds ordinary batches whose offsets begin at 0: a control batch with the header
//! (and kraft.version and voters, at level 1), the data, a control batch with the footer. It is written under another
//! name, synced, and renamed; a file without footer is none.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::{Disk, DiskError, DiskFile};
use ottla_protocol::batch::{BatchError, HEADER_LEN, StampedBatch};
use ottla_protocol::{LeaderEpoch, Offset};

use crate::batch;
use crate::control_record::ControlRecord;
use crate::journal::MAX_BATCH_BYTES;
use crate::message::SnapshotId;
use crate::output::{CommittedBatch, Content};
use crate::voters::Voters;

/// What the name of a snapshot ends in.
pub const SUFFIX: &str = ".checkpoint";
/// What the name of an unfinished one ends in.
pub const PART_SUFFIX: &str = ".checkpoint.part";
/// What the name of one that is being removed ends in.
pub const DELETED_SUFFIX: &str = ".checkpoint.deleted";
/// A data batch has no more records than this.
const BATCH_RECORDS: usize = 1024;
/// Room for what a record takes in a batch besides its value.
const RECORD_OVERHEAD: usize = 21;

/// A snapshot, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub id: SnapshotId,
    /// When the last record it stands for was appended, in ms.
    pub last_append_ms: i64,
    /// kraft.version, if it says so (level 0 is not written).
    pub kraft_version: Option<i16>,
    /// The voter set, if it has one.
    pub voters: Option<Voters>,
    /// The values of the data records.
    pub records: Vec<Bytes>,
}

/// Writes a snapshot. If it is dropped unfinished, a `.part` file stays behind, which the next start removes.
#[derive(Debug)]
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    id: SnapshotId,
    file: Arc<dyn DiskFile>,
    last_append_ms: i64,
    position: u64,
    next_offset: Offset,
}

/// Why there can be no snapshot.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The offset is beyond the high watermark, before the log, before an earlier snapshot, or within a batch.
    #[error("no snapshot can end at offset {end}: {why}")]
    Refused {
        /// The offset.
        end: Offset,
        /// Why not.
        why: &'static str,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The file name of a snapshot.
#[must_use]
pub fn file_name(id: SnapshotId) -> String {
    format!("{:020}-{:010}{SUFFIX}", id.offset.0, id.epoch.0)
}

/// The snapshot that a file name speaks of, if it does.
#[must_use]
pub fn parse_name(name: &str) -> Option<SnapshotId> {
    let (offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    if offset.len() != 20 || epoch.len() != 10 {
        return None;
    }
    let id = SnapshotId { offset: Offset(offset.parse().ok()?), epoch: LeaderEpoch(epoch.parse().ok()?) };
    (id.offset.0 >= 0 && id.epoch.0 >= 0).then_some(id)
}

impl SnapshotWriter {
    /// Begins the snapshot `id` in `dir`. `about` is when the last record was appended, in ms, and the membership in
    /// force at its end.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn begin(
        disk: Arc<dyn Disk>,
        dir: &Path,
        id: SnapshotId,
        about: (i64, i16, Option<&Voters>),
    ) -> Result<Self, DiskError> {
        let (last_append_ms, kraft_version, voters) = about;
        let file = disk.create(&part_path(dir, id))?;
        let mut writer = Self {
            disk,
            dir: dir.to_owned(),
            id,
            file,
            last_append_ms,
            position: 0,
            next_offset: Offset::ZERO,
        };
        let mut head = vec![ControlRecord::SnapshotHeader { last_append_ms }];
        if kraft_version >= 1 {
            head.push(ControlRecord::KraftVersion(kraft_version));
            head.extend(voters.map(|voters| ControlRecord::KraftVoters(voters.clone())));
        }
        writer.put(batch::of_control(&head, last_append_ms))?;
        Ok(writer)
    }

    /// Adds the values of data records.
    ///
    /// # Errors
    /// [`DiskError`], also for a record that no batch can hold.
    pub fn append(&mut self, values: &[Bytes]) -> Result<(), DiskError> {
        let mut rest = values;
        while !rest.is_empty() {
            let mut size = HEADER_LEN;
            let fitting = rest.iter().take(BATCH_RECORDS).take_while(|value| {
                size = size.saturating_add(value.len() + RECORD_OVERHEAD);
                size <= MAX_BATCH_BYTES
            });
            let (batch, later) = rest.split_at(fitting.count().max(1));
            self.put(batch::of_data(batch, self.last_append_ms))?;
            rest = later;
        }
        Ok(())
    }

    /// Closes the snapshot, puts it on the disk for good and gives it its name.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn finish(mut self) -> Result<SnapshotId, DiskError> {
        self.put(batch::of_control(&[ControlRecord::SnapshotFooter], self.last_append_ms))?;
        publish(&*self.disk, &self.dir, self.id, &*self.file)?;
        Ok(self.id)
    }

    fn put(&mut self, batch: Result<StampedBatch, BatchError>) -> Result<(), DiskError> {
        let path = part_path(&self.dir, self.id);
        let batch = batch.map_err(|error| DiskError::corrupt(&path, error.to_string()))?;
        let batch = batch.at(self.next_offset, self.id.epoch);
        self.file.write_at(&[IoSlice::new(&batch.header), IoSlice::new(&batch.body)], self.position)?;
        self.position += batch.size() as u64;
        self.next_offset = batch.header().next_offset();
        Ok(())
    }
}

/// Puts a finished `.part` file on the disk for good, under the snapshot's name.
///
/// # Errors
/// [`DiskError`].
pub fn publish(disk: &dyn Disk, dir: &Path, id: SnapshotId, file: &dyn DiskFile) -> Result<(), DiskError> {
    file.sync()?;
    disk.rename(&part_path(dir, id), &dir.join(file_name(id)))?;
    disk.sync_dir(dir)
}

/// Where a snapshot lies while it is not finished.
#[must_use]
pub fn part_path(dir: &Path, id: SnapshotId) -> PathBuf {
    dir.join(file_name(id)).with_extension("checkpoint.part")
}

impl Snapshot {
    /// Reads the snapshot `id` in `dir` whole.
    ///
    /// # Errors
    /// [`DiskError`] when it is not there, or not whole, or not a snapshot.
    pub fn read(disk: &dyn Disk, dir: &Path, id: SnapshotId) -> Result<Self, DiskError> {
        let path = dir.join(file_name(id));
        let Some(bytes) = disk.read(&path)? else {
            return Err(DiskError::new("open", &path, std::io::ErrorKind::NotFound.into()));
        };
        Self::parse(id, bytes).map_err(|what| DiskError::corrupt(&path, what))
    }

    /// Understands the bytes of a snapshot file.
    ///
    /// # Errors
    /// What is wrong with them, for people.
    pub fn parse(id: SnapshotId, bytes: impl Into<Bytes>) -> Result<Self, String> {
        let batches = batch::read_all(&bytes.into()).map_err(|error| error.to_string())?;
        let [first, data @ .., last] = batches.as_slice() else { return Err("it is not whole".to_owned()) };
        let Content::Control(head) = &first.content else { return Err("no header".to_owned()) };
        let Some(ControlRecord::SnapshotHeader { last_append_ms }) = head.first() else {
            return Err("no header".to_owned());
        };
        let footer = Content::Control(vec![ControlRecord::SnapshotFooter]);
        if last.content != footer {
            return Err("no footer: it was not finished".to_owned());
        }
        let mut snapshot = Self {
            id,
            last_append_ms: *last_append_ms,
            kraft_version: None,
            voters: None,
            records: Vec::new(),
        };
        snapshot.take(&head[1..]);
        for batch in data {
            snapshot.take_batch(batch);
        }
        Ok(snapshot)
    }

    fn take_batch(&mut self, batch: &CommittedBatch) {
        match &batch.content {
            Content::Records(values) => self.records.extend_from_slice(values),
            Content::Control(records) => self.take(records),
        }
    }

    fn take(&mut self, records: &[ControlRecord]) {
        for record in records {
            match record {
                ControlRecord::KraftVersion(level) => self.kraft_version = Some(*level),
                ControlRecord::KraftVoters(voters) => self.voters = Some(voters.clone()),
                _ => {}
            }
        }
    }
}
