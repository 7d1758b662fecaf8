//! This node's replica of the metadata log: committed batches become records, records become images, and every so often
//! a snapshot.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::{DiskError, OpenHint};
use ottla_metadata::features::METADATA_VERSION;
use ottla_metadata::{Delta, Image, MetadataVersion, Replay};
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_protocol::time::Deadline;
use ottla_protocol::{LeaderEpoch, NodeId, Now, Offset};
use ottla_raft::{AppendError, CommittedBatch, Content, Input, Output, Raft, RaftConfig, SnapshotError};

/// Records of an image are written into a snapshot in lists of this length, as Kafka does.
const SNAPSHOT_RECORDS: usize = 1024;

/// How long no snapshot is tried after one that found no room or no descriptor, in ms.
const SNAPSHOT_REST_MS: i64 = 10_000;

/// See the module.
pub struct MetadataLog {
    me: NodeId,
    raft: Raft,
    replay: Replay,
    /// The level at which records are written.
    version: MetadataVersion,
    outputs: Vec<Output>,
    snapshots: SnapshotRule,
}

/// When a snapshot is due.
#[derive(Debug)]
struct SnapshotRule {
    /// `metadata.log.max.record.bytes.between.snapshots`.
    bytes_max: u64,
    /// `metadata.log.max.snapshot.interval.ms`; 0 is never.
    interval_ms: i64,
    bytes: u64,
    last_append_ms: i64,
    last_snapshot_ms: i64,
    /// None is taken before this: there was no room or no descriptor for the last one.
    rests_until_ms: i64,
}

/// What has happened to the log.
pub enum Event {
    /// Everything is as in this snapshot of the log up to the offset (exclusive).
    Loaded(Offset, Vec<MetadataRecord>),
    /// These records are committed, the first one at this offset.
    Committed(Offset, Vec<MetadataRecord>),
    /// This node leads the quorum and has applied all that came before.
    Elected(LeaderEpoch),
    /// Somebody else leads, or nobody.
    Following(Option<NodeId>),
    /// This node must stop.
    Fatal(String),
}

impl MetadataLog {
    /// Opens the log in its folder.
    ///
    /// # Errors
    /// The disk's; a snapshot that contradicts itself.
    pub fn open(
        config: RaftConfig,
        disk: &Arc<dyn ottla_log::Disk>,
        settings: &ottla_metadata::config::Settings,
        seed: u64,
        now: Now,
    ) -> Result<Self, DiskError> {
        let node = settings.node();
        let segment_bytes = u32::try_from(node.int("metadata.log.segment.bytes")).unwrap_or(1 << 30);
        let log_config = ottla_raft::log_config(segment_bytes, node.long("metadata.log.segment.ms"));
        let me = config.me.id;
        // As Kafka does: the metadata log has no marker of a clean end and is scanned at each start.
        let log = ottla_raft::open_log(disk, &config.dir, log_config, OpenHint::NOTHING, now)?;
        let raft = Raft::open(config, log, Arc::clone(disk), seed, now)?;
        let snapshots = SnapshotRule {
            bytes_max: u64::try_from(node.long("metadata.log.max.record.bytes.between.snapshots"))
                .unwrap_or(0),
            interval_ms: node.long("metadata.log.max.snapshot.interval.ms"),
            bytes: 0,
            last_append_ms: 0,
            last_snapshot_ms: now.wall_ms,
            rests_until_ms: i64::MIN,
        };
        Ok(Self {
            me,
            raft,
            replay: Replay::default(),
            version: MetadataVersion::LATEST,
            outputs: Vec::new(),
            snapshots,
        })
    }

    /// The replica, to look at.
    #[must_use]
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// When the replica next has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.raft.deadline()
    }

    /// The image and what has changed since the last call; `None` where nothing has, or a transaction is open.
    pub fn publish(&mut self) -> Option<(Image, Delta)> {
        let (image, delta) = self.replay.publish()?;
        (image.end_offset > delta.before.end_offset).then_some((image, delta))
    }

    /// Appends records as one batch; gives the offset of the first.
    ///
    /// # Errors
    /// If this node does not lead, or the records do not fit.
    pub fn append(
        &mut self,
        now: Now,
        epoch: LeaderEpoch,
        records: &[MetadataRecord],
    ) -> Result<Offset, AppendError> {
        let mut values = Vec::with_capacity(records.len());
        for record in records {
            let version = self.version.record_version(record);
            let encoded = record.encode(version);
            values.push(encoded.unwrap_or_else(|error| {
                panic!("{} cannot be written at version {version}: {error}", record.name())
            }));
            self.note_version(record);
        }
        self.raft.append(now, epoch, &values)
    }

    /// Records are written at the versions of the level that the records before them have set.
    fn note_version(&mut self, record: &MetadataRecord) {
        if let MetadataRecord::FeatureLevel(feature) = record
            && feature.name == METADATA_VERSION
        {
            self.version = MetadataVersion::from_level(feature.feature_level).unwrap_or(self.version);
        }
    }

    /// Gives the leadership of an epoch up.
    pub fn resign(&mut self, now: Now, epoch: LeaderEpoch) {
        self.raft.step(now, Input::Resign { epoch }, &mut self.outputs);
    }

    /// Lets the replica act, and says what came of it.
    pub fn step(&mut self, now: Now, input: Input) -> VecDeque<Event> {
        let mut events = VecDeque::new();
        self.raft.step(now, input, &mut self.outputs);
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Committed(batch) => match self.commit(&batch) {
                    Ok(records) => events.push_back(Event::Committed(batch.base_offset, records)),
                    Err(error) => events.push_back(Event::Fatal(error)),
                },
                Output::LoadSnapshot(id) => {
                    let loaded = self.load(id).map(|records| Event::Loaded(id.offset, records));
                    events.push_back(loaded.unwrap_or_else(Event::Fatal));
                }
                Output::LeaderChanged(leader) if leader.leader == Some(self.me) => {
                    events.push_back(Event::Elected(leader.epoch));
                }
                Output::LeaderChanged(leader) => events.push_back(Event::Following(leader.leader)),
                Output::Fatal(error) => events.push_back(Event::Fatal(error.to_string())),
                // With one voter there is nobody to talk to.
                Output::Send { to, correlation, .. } => {
                    self.raft.step(now, Input::Failed { to, correlation }, &mut self.outputs);
                }
                Output::Reply { .. } => {}
            }
        }
        if let Err(error) = self.maybe_snapshot(now) {
            events.push_back(Event::Fatal(error));
        }
        events
    }

    fn commit(&mut self, batch: &CommittedBatch) -> Result<Vec<MetadataRecord>, String> {
        self.snapshots.bytes += u64::from(batch.size);
        self.snapshots.last_append_ms = batch.append_ms;
        let mut records = Vec::new();
        if let Content::Records(values) = &batch.content {
            for (index, value) in values.iter().enumerate() {
                let offset = batch.base_offset.plus(i64::try_from(index).unwrap_or(i64::MAX));
                let record = MetadataRecord::decode(value).map_err(|error| {
                    format!("the metadata record at offset {offset} cannot be read: {error}")
                })?;
                self.replay.apply(offset, &record).map_err(|error| error.to_string())?;
                self.note_version(&record);
                records.push(record);
            }
        }
        self.replay.skip_to(batch.last_offset.plus(1));
        Ok(records)
    }

    fn load(&mut self, id: ottla_raft::SnapshotId) -> Result<Vec<MetadataRecord>, String> {
        let snapshot = self.raft.read_snapshot(id).map_err(|error| error.to_string())?;
        let decode = |value: &Bytes| MetadataRecord::decode(value);
        let records: Vec<MetadataRecord> = snapshot
            .records
            .iter()
            .map(decode)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("a record of the metadata snapshot cannot be read: {error}"))?;
        self.snapshots.bytes = 0;
        self.replay.load(id.offset, records.iter().cloned()).map_err(|error| error.to_string())?;
        self.version = self.replay.image().version();
        Ok(records)
    }

    /// Writes a snapshot where one is due, and lets the replica clean up behind it. Where there is no room or no descriptor
    /// for it, it is written later: the log has everything.
    fn maybe_snapshot(&mut self, now: Now) -> Result<(), String> {
        let rule = &self.snapshots;
        let old = rule.interval_ms > 0 && now.wall_ms - rule.last_snapshot_ms >= rule.interval_ms;
        let due = rule.bytes >= rule.bytes_max || (old && rule.bytes > 0);
        if !due || now.wall_ms < rule.rests_until_ms || self.replay.open_since().is_some() {
            return Ok(());
        }
        let taken = self.take_snapshot(now).and_then(|()| Ok(self.raft.clean(now)?));
        match taken {
            Err(SnapshotError::Disk(error)) if error.is_passing() => {
                tracing::warn!(%error, "a snapshot of the metadata has to wait");
                self.snapshots.rests_until_ms = now.wall_ms.saturating_add(SNAPSHOT_REST_MS);
                Ok(())
            }
            outcome => outcome.map_err(|error| format!("no metadata snapshot can be taken: {error}")),
        }
    }

    fn take_snapshot(&mut self, now: Now) -> Result<(), SnapshotError> {
        let image = self.replay.image().clone();
        let mut writer = self.raft.begin_snapshot(image.end_offset, self.snapshots.last_append_ms)?;
        let mut values = Vec::with_capacity(SNAPSHOT_RECORDS);
        let version = image.version();
        for record in image.snapshot() {
            values.push(record.encode(version.record_version(&record)).map_err(|error| {
                tracing::error!(%error, record = record.name(), "a record of the image cannot be written");
                SnapshotError::Refused { end: image.end_offset, why: "one of its records cannot be written" }
            })?);
            if values.len() == SNAPSHOT_RECORDS {
                writer.append(&values)?;
                values.clear();
            }
        }
        if !values.is_empty() {
            writer.append(&values)?;
        }
        let id = writer.finish()?;
        self.raft.snapshot_written(id)?;
        self.snapshots.bytes = 0;
        self.snapshots.last_snapshot_ms = now.wall_ms;
        Ok(())
    }
}
