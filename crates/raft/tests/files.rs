//! The files of the quorum: what formatting leaves, what a crash at any moment leaves, what is kept and what is thrown away.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::disk::Crash;
use ottla_log::meta_properties::MetaProperties;
use ottla_log::{Disk, DiskError, MemoryDisk, OpenHint};
use ottla_protocol::{LeaderEpoch, NodeId, Now, Offset, Uuid};
use ottla_raft::format::{
    DirectoryKind, FormatError, Formatting, IfFormatted, InitialQuorum, LEGACY_BOOTSTRAP, format,
    read_bootstrap,
};
use ottla_raft::random::Random;
use ottla_raft::snapshot::{file_name, parse_name};
use ottla_raft::{
    CommittedBatch, Content, ControlRecord, Endpoint, Input, OffsetAndEpoch, Output, Raft, RaftConfig,
    ReplicaKey, Snapshot, SnapshotWriter, Voters, log_config, open_log,
};
use proptest::prelude::*;

const LOG_DIR: &str = "/data/__cluster_metadata-0";

fn formatting(quorum: Option<InitialQuorum>) -> Formatting {
    Formatting {
        cluster_id: "a-cluster".to_owned(),
        node: NodeId(1),
        directories: vec!["/data".into(), "/more".into()],
        metadata_directory: "/data".into(),
        quorum,
        records: vec![Bytes::from_static(b"metadata.version"), Bytes::from_static(b"scram")],
        formatted: IfFormatted::Refuse,
    }
}

fn standalone() -> InitialQuorum {
    InitialQuorum::Standalone(vec![Endpoint { listener: "CONTROLLER".into(), host: "h".into(), port: 9093 }])
}

fn shared(disk: &MemoryDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn now(ms: i64) -> Now {
    Now { monotonic_us: ms.cast_unsigned() * 1_000, wall_ms: ms }
}

/// A single voter on a formatted disk.
struct Single {
    raft: Raft,
    now: Now,
    applied: Vec<CommittedBatch>,
    loaded: Option<OffsetAndEpoch>,
    dead: bool,
}

impl Single {
    fn open(disk: &MemoryDisk, now: Now, change: impl Fn(&mut RaftConfig)) -> Result<Self, DiskError> {
        let disk = shared(disk);
        let meta = MetaProperties::read(&*disk, Path::new("/data"))?.expect("formatted");
        let me = ReplicaKey { id: NodeId(1), directory: meta.directory_id.expect("a directory id") };
        let mut config = RaftConfig::new(LOG_DIR, me, Voters::default());
        change(&mut config);
        let log = open_log(&disk, Path::new(LOG_DIR), log_config(600, 1 << 40), OpenHint::NOTHING, now)?;
        let raft = Raft::open(config, log, disk, 1, now)?;
        let mut single = Self { raft, now, applied: Vec::new(), loaded: None, dead: false };
        single.step(Input::Tick);
        Ok(single)
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.raft.step(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Committed(batch) => self.applied.push(batch),
                Output::LoadSnapshot(id) => self.loaded = Some(id),
                Output::Fatal(_) => self.dead = true,
                _ => {}
            }
        }
    }

    /// Appends and, if the replica lives on, commits.
    fn append(&mut self, value: &str) -> Option<Offset> {
        let value = Bytes::copy_from_slice(value.as_bytes());
        let appended = self.raft.append(self.now, self.raft.election().epoch, &[value]).ok();
        self.step(Input::Tick);
        appended.filter(|_| !self.dead)
    }

    fn snapshot(&mut self) -> Result<(), DiskError> {
        let last = self.applied.last().expect("something applied");
        let (end, append_ms) = (last.last_offset.plus(1), last.append_ms);
        let mut writer = match self.raft.begin_snapshot(end, append_ms) {
            Ok(writer) => writer,
            Err(ottla_raft::SnapshotError::Disk(error)) => return Err(error),
            Err(error) => panic!("{error}"),
        };
        writer.append(&[Bytes::from(end.0.to_string())])?;
        let id = writer.finish()?;
        self.raft.snapshot_written(id)?;
        self.raft.clean(self.now)
    }

    fn values(&self) -> Vec<String> {
        let records = |batch: &CommittedBatch| match &batch.content {
            Content::Records(values) => values.clone(),
            Content::Control(_) => Vec::new(),
        };
        let values = self.applied.iter().flat_map(records);
        values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect()
    }
}

fn formatted() -> MemoryDisk {
    let disk = MemoryDisk::new();
    format(&shared(&disk), &formatting(Some(standalone())), &mut Random::new(7), now(5)).expect("formatted");
    disk
}

#[test]
fn formatting_leaves_meta_properties_and_one_checkpoint() -> Result<(), Box<dyn std::error::Error>> {
    let disk = MemoryDisk::new();
    let done = format(&shared(&disk), &formatting(Some(standalone())), &mut Random::new(7), now(5))?;
    let kinds: Vec<(PathBuf, DirectoryKind)> = done.iter().map(|one| (one.path.clone(), one.kind)).collect();
    assert_eq!(
        kinds,
        [("/data".into(), DirectoryKind::DynamicMetadataVoter), ("/more".into(), DirectoryKind::Data)]
    );
    for one in &done {
        let meta = MetaProperties::read(&disk, &one.path)?.expect("written");
        assert_eq!((meta.cluster_id.as_deref(), meta.node_id), (Some("a-cluster"), Some(NodeId(1))));
        assert_eq!(meta.directory_id, Some(one.id));
    }
    assert_ne!(done[0].id, done[1].id);
    let checkpoint = Snapshot::read(&disk, Path::new(LOG_DIR), OffsetAndEpoch::BOOTSTRAP)?;
    assert_eq!(checkpoint.kraft_version, Some(1));
    let voter = checkpoint.voters.as_ref().and_then(|voters| voters.get(NodeId(1))).expect("a voter").clone();
    assert_eq!((voter.directory, voter.endpoints[0].port), (done[0].id, 9093));
    assert_eq!(checkpoint.records, formatting(None).records);
    assert!(disk.stat(Path::new("/more/__cluster_metadata-0"))?.is_none());
    disk.reboot(Crash::Power);
    assert_eq!(
        read_bootstrap(&disk, Path::new("/data"))?,
        Some(formatting(None).records),
        "all of it is synced"
    );
    Ok(())
}

#[test]
fn each_kind_of_quorum_has_its_checkpoint() -> Result<(), Box<dyn std::error::Error>> {
    for (quorum, version, voters) in [
        (InitialQuorum::Configured, None, false),
        (InitialQuorum::Joining, Some(1), false),
        (standalone(), Some(1), true),
    ] {
        let disk = MemoryDisk::new();
        format(&shared(&disk), &formatting(Some(quorum.clone())), &mut Random::new(7), now(5))?;
        let checkpoint = Snapshot::read(&disk, Path::new(LOG_DIR), OffsetAndEpoch::BOOTSTRAP)?;
        assert_eq!((checkpoint.kraft_version, checkpoint.voters.is_some()), (version, voters), "{quorum:?}");
    }
    let disk = MemoryDisk::new();
    format(&shared(&disk), &formatting(None), &mut Random::new(7), now(5))?;
    assert!(disk.stat(Path::new(LOG_DIR))?.is_none(), "a node that is no controller gets none");
    Ok(())
}

#[test]
fn what_is_formatted_is_refused_or_left_alone() -> Result<(), Box<dyn std::error::Error>> {
    let disk = formatted();
    let again = |change: &dyn Fn(&mut Formatting)| {
        let mut formatting = formatting(Some(standalone()));
        change(&mut formatting);
        format(&shared(&disk), &formatting, &mut Random::new(8), now(9))
    };
    assert!(matches!(again(&|_| {}), Err(FormatError::AlreadyFormatted(path)) if path == Path::new("/data")));
    let skipped = again(&|formatting| {
        formatting.formatted = IfFormatted::Skip;
        formatting.directories.push("/third".into());
    })?;
    assert_eq!(skipped.len(), 1);
    assert!(matches!(again(&|f| f.node = NodeId(2)), Err(FormatError::Foreign { .. })));
    assert!(matches!(again(&|f| f.cluster_id = "other".into()), Err(FormatError::Foreign { .. })));
    Ok(())
}

#[test]
fn the_bootstrap_file_of_earlier_releases_is_read() -> Result<(), Box<dyn std::error::Error>> {
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new(LOG_DIR))?;
    assert_eq!(read_bootstrap(&disk, Path::new("/data"))?, None);
    let records = vec![Bytes::from_static(b"old")];
    let about = (0, 0, None);
    let mut writer =
        SnapshotWriter::begin(shared(&disk), Path::new(LOG_DIR), OffsetAndEpoch::BOOTSTRAP, about)?;
    writer.append(&records)?;
    let id = writer.finish()?;
    disk.rename(&Path::new(LOG_DIR).join(file_name(id)), &Path::new("/data").join(LEGACY_BOOTSTRAP))?;
    assert_eq!(read_bootstrap(&disk, Path::new("/data"))?, Some(records));
    disk.replace(&Path::new("/data").join(LEGACY_BOOTSTRAP), b"half a file")?;
    assert!(read_bootstrap(&disk, Path::new("/data")).is_err_and(|error| error.is_corrupt()));
    Ok(())
}

#[test]
fn snapshots_are_named_as_kafka_names_them() {
    let id = OffsetAndEpoch { offset: Offset(1_234), epoch: LeaderEpoch(5) };
    assert_eq!(file_name(id), "00000000000000001234-0000000005.checkpoint");
    assert_eq!(parse_name(&file_name(id)), Some(id));
    for other in [
        "1234-5.checkpoint",
        "00000000000000001234-0000000005.checkpoint.part",
        "quorum-state",
        "-.checkpoint",
    ] {
        assert_eq!(parse_name(other), None, "{other}");
    }
}

#[test]
fn a_snapshot_of_many_records_has_many_batches() -> Result<(), Box<dyn std::error::Error>> {
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new(LOG_DIR))?;
    let id = OffsetAndEpoch { offset: Offset(10_000), epoch: LeaderEpoch(3) };
    let mut values: Vec<Bytes> = (0..3_000u32).map(|n| Bytes::copy_from_slice(&n.to_be_bytes())).collect();
    values.push(Bytes::from(vec![1; 5 << 20]));
    values.push(Bytes::from(vec![2; 5 << 20]));
    let mut writer = SnapshotWriter::begin(shared(&disk), Path::new(LOG_DIR), id, (77, 0, None))?;
    writer.append(&values)?;
    writer.finish()?;
    let snapshot = Snapshot::read(&disk, Path::new(LOG_DIR), id)?;
    assert_eq!((snapshot.last_append_ms, snapshot.kraft_version), (77, None));
    assert_eq!(snapshot.records, values);
    let bytes = disk.read(&Path::new(LOG_DIR).join(file_name(id)))?.expect("a file");
    let batches = ottla_raft::batch::read_all(&bytes.clone().into())?;
    // Header, three times 1024 records at most, of which the last lacks room for the second large one, footer.
    assert_eq!(batches.len(), 6);
    assert!(batches.iter().all(|batch| batch.epoch == LeaderEpoch(3) && batch.size <= 8 << 20));
    assert!(batches.windows(2).all(|pair| pair[1].base_offset == pair[0].last_offset.plus(1)));
    assert_eq!(
        batches.last().map(|last| &last.content),
        Some(&Content::Control(vec![ControlRecord::SnapshotFooter]))
    );
    for cut in [0, 1, 60, bytes.len() / 2, bytes.len() - 1, bytes.len() - batches[5].size as usize] {
        assert!(Snapshot::parse(id, bytes[..cut].to_vec()).is_err(), "cut at {cut}");
    }
    Ok(())
}

#[test]
fn old_snapshots_go_by_age_and_by_size_but_never_the_newest() -> Result<(), Box<dyn std::error::Error>> {
    let disk = formatted();
    let mut single = Single::open(&disk, now(1_000), |config| {
        config.retention.max_ms = 10_000;
        config.retention.max_bytes = -1;
    })?;
    for second in 1..=30 {
        single.now = now(1_000 * second);
        single.append("some value that takes a little room in its segment").expect("appended");
        single.snapshot()?;
    }
    let kept = checkpoints(&disk)?;
    assert_eq!(kept.len(), 11, "those of the last ten seconds: {kept:?}");
    assert_eq!(single.raft.log_start(), kept[0].offset, "the log begins where the oldest snapshot ends");
    let mut single = Single::open(&disk, single.now, |config| config.retention.max_bytes = 0)?;
    assert_eq!(single.loaded, kept.last().copied());
    single.raft.clean(single.now)?;
    assert_eq!(checkpoints(&disk)?, [*kept.last().expect("one")]);
    let single = Single::open(&disk, single.now, |_| {})?;
    assert_eq!(single.raft.latest_snapshot(), kept.last().copied());
    Ok(())
}

fn checkpoints(disk: &MemoryDisk) -> Result<Vec<OffsetAndEpoch>, DiskError> {
    Ok(disk.list(Path::new(LOG_DIR))?.iter().filter_map(|entry| parse_name(&entry.name)).collect())
}

#[test]
fn committed_batches_can_be_pulled() -> Result<(), Box<dyn std::error::Error>> {
    let disk = formatted();
    let mut single = Single::open(&disk, now(1_000), |_| {})?;
    for n in 0..50 {
        single.append(&format!("value {n}")).expect("appended");
    }
    let mut pulled = Vec::new();
    let mut from = Offset::ZERO;
    while let Some(last) = {
        pulled.extend(single.raft.read_committed(from, 300)?);
        pulled.last().map(|batch: &CommittedBatch| batch.last_offset.plus(1)).filter(|next| *next > from)
    } {
        from = last;
    }
    assert_eq!(pulled, single.applied);
    assert_eq!(single.raft.read_committed(Offset(i64::MAX), 300)?, []);
    Ok(())
}

#[test]
fn a_full_disk_refuses_appends_and_recovers() -> Result<(), Box<dyn std::error::Error>> {
    let disk = formatted();
    let mut single = Single::open(&disk, now(1_000), |_| {})?;
    single.append("first").expect("appended");
    disk.set_capacity(Some(0));
    let value = [Bytes::from_static(b"second")];
    let epoch = single.raft.election().epoch;
    let refused = single.raft.append(single.now, epoch, &value);
    assert!(matches!(refused, Err(ottla_raft::AppendError::Passing(cause)) if cause.contains(LOG_DIR)));
    single.step(Input::Tick);
    assert!(!single.dead);
    disk.set_capacity(None);
    single.append("third").expect("appended");
    assert_eq!(single.values(), ["first", "third"]);
    Ok(())
}

#[test]
fn what_waits_for_a_descriptor_is_committed_once_there_is_one() -> Result<(), Box<dyn std::error::Error>> {
    for appends in 1..12 {
        let disk = formatted();
        let mut single = Single::open(&disk, now(1_000), |_| {})?;
        let epoch = single.raft.election().epoch;
        let value = [Bytes::from("x".repeat(200))];
        for _ in 0..appends {
            single.raft.append(single.now, epoch, &value)?;
        }
        disk.use_up_descriptors();
        single.step(Input::Tick);
        let late = disk.injected().refused_opens > 0;
        assert!(!single.dead);
        assert_eq!(single.values().is_empty(), late);
        disk.free_descriptors();
        single.now.monotonic_us += 1_000_000;
        single.step(Input::Tick);
        assert_eq!(single.values().len(), appends);
        assert!(late || appends < 4);
    }
    Ok(())
}

#[test]
fn a_clean_close_is_opened_without_reading_it_all() -> Result<(), Box<dyn std::error::Error>> {
    let disk = formatted();
    let mut single = Single::open(&disk, now(1_000), |_| {})?;
    single.append("value").expect("appended");
    let end = single.raft.log_end().offset;
    assert_eq!(single.raft.close()?, end);
    let log =
        open_log(&shared(&disk), Path::new(LOG_DIR), log_config(600, 1 << 40), OpenHint::CLEAN, now(2_000))?;
    assert_eq!(log.end_offset(), end);
    Ok(())
}

/// Crashes at every change of the disk in turn, loses what was not synced, opens again: everything that was said to be
/// committed is there, in order, and the node leads again, in a later epoch.
#[test]
fn a_crash_at_any_change_loses_nothing_committed() {
    let crashes = |seed| [Crash::Process, Crash::Power, Crash::Torn { seed }, Crash::Scattered { seed }];
    for crash in crashes(11) {
        let mut n = 0;
        loop {
            n += 1;
            let disk = formatted();
            disk.crash_at(n);
            let (committed, epoch) = live(&disk);
            let crashed = disk.has_crashed();
            disk.reboot(crash);
            let single =
                Single::open(&disk, now(90_000), |_| {}).unwrap_or_else(|e| panic!("{crash:?} at {n}: {e}"));
            check(&single, &committed, epoch, &format!("{crash:?} at change {n}"));
            if !crashed {
                break;
            }
        }
        assert!(n > 100, "that were all changes of a whole life: {n}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The same, over several lives, each ended by a crash somewhere.
    #[test]
    fn nothing_committed_is_lost_over_many_crashes(lives in prop::collection::vec((1u64..150, 0u8..4, any::<u64>()), 1..5)) {
        let disk = formatted();
        let (mut committed, mut epoch): (Vec<String>, _) = (Vec::new(), LeaderEpoch(0));
        for (at, kind, seed) in lives {
            disk.crash_at(at);
            let (these, led) = live(&disk);
            committed = if these.is_empty() { committed } else { these };
            epoch = epoch.max(led);
            disk.reboot([Crash::Process, Crash::Power, Crash::Torn { seed }, Crash::Scattered { seed }][kind as usize]);
            let single = Single::open(&disk, now(90_000), |_| {});
            prop_assert!(single.is_ok(), "{:?}", single.err());
            if let Ok(single) = single {
                check(&single, &committed, epoch, "a life");
            }
        }
    }
}

/// A life with appends, snapshots and cleaning, until the disk crashes or the list is done. What was committed at the
/// end, and the epoch that was led.
fn live(disk: &MemoryDisk) -> (Vec<String>, LeaderEpoch) {
    let Ok(mut single) = Single::open(disk, now(10_000), |config| config.retention.max_bytes = 0) else {
        return (Vec::new(), LeaderEpoch(0));
    };
    for n in 0..12 {
        single.now = now(20_000 + n);
        if single.append(&format!("value {n} of a life, with some room")).is_none() {
            break;
        }
        if n % 5 == 4 && single.snapshot().is_err() {
            break;
        }
    }
    let election = single.raft.election();
    let led = if election.leader.is_some() { election.epoch } else { LeaderEpoch(0) };
    (single.values(), led)
}

fn check(single: &Single, committed: &[String], epoch: LeaderEpoch, what: &str) {
    assert!(!single.dead, "{what}");
    assert_eq!(single.raft.role().name(), "leader", "{what}");
    assert!(single.raft.election().epoch > epoch, "{what}: the same epoch is never led twice");
    let values = single.values();
    // What the snapshot holds is not replayed; what was in progress at the crash may have made it.
    let overlap = (0..=committed.len()).find(|from| values.starts_with(&committed[*from..]));
    let (Some(from), true) = (overlap, single.loaded.is_some() || values.len() >= committed.len()) else {
        panic!("{what}: committed {committed:?}, found {values:?} behind {:?}", single.loaded);
    };
    if single.loaded.is_none() {
        assert_eq!(from, 0, "{what}: committed {committed:?}, found {values:?}");
    }
    let first = single.applied.first().map(|batch| batch.base_offset);
    assert_eq!(
        first,
        Some(single.loaded.map_or(Offset::ZERO, |id| id.offset)),
        "{what}: no gap behind the snapshot"
    );
    let whole = single.applied.windows(2).all(|pair| pair[1].base_offset == pair[0].last_offset.plus(1));
    assert!(whole, "{what}: no gap at all");
    assert_ne!(single.raft.kraft_version(), 0, "{what}: the membership is still known");
    assert!(single.raft.voters().get(NodeId(1)).is_some_and(|voter| voter.directory != Uuid::ZERO));
}
