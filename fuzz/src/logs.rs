//! Files of a log directory with anything in them: a start finds its way, or says that the disk is bad.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::{
    Cleanup, Disk, Log, LogConfig, MemoryDisk, OffsetCheckpoint, OpenHint, ReadLimit, Stop, clean_shutdown,
    directory::PartitionFolder, meta_properties::MetaProperties, partition_metadata,
};
use ottla_protocol::batch::{BatchBuilder, BatchFields, Batches, RecordParts, StampedBatch, crc32c};
use ottla_protocol::compression::{Codecs, Compression};
use ottla_protocol::{LeaderEpoch, Now, Offset};

use crate::batches::{batch, seal};
use crate::metadata::{joined, pieces};
use crate::{Heap, Target};

/// A byte of flags, then files behind their lengths in two bytes: a byte for the kind, a byte for the offset in the
/// name, the content. The log is opened, read, written to, closed and opened again.
pub const LOG: Target = Target {
    name: "log",
    run: log,
    seeds,
    mutations: 3000,
    // A recovery reads in chunks of 1 MiB, segment by segment, and there are several starts.
    heap: Heap { per_byte: 64 << 10, besides: 512 << 20 },
};

/// A byte that says which file it is, then its content.
pub const SMALL_FILES: Target = Target {
    name: "small-files",
    run: small_files,
    seeds: small_seeds,
    mutations: 3000,
    heap: Heap { per_byte: 1 << 10, besides: 1 << 20 },
};

/// The log was closed, so indexes and snapshots are believed.
const CLEAN: u8 = 1;
const COMPACT: u8 = 2;
/// Lengths and checksums of batches and snapshots are made right first.
const SEALED: u8 = 4;
/// Only what lies above offset 8 may not be flushed.
const FLUSHED: u8 = 8;
const DELETED: u8 = 16;

const DIR: &str = "/data/t-0";
const NOW: Now = Now { monotonic_us: 0, wall_ms: 1_700_000_000_000 };
const KINDS: [&str; 8] =
    [".log", ".index", ".timeindex", ".txnindex", ".snapshot", ".log.swap", ".log.cleaned", ".log.deleted"];
const EPOCHS: u8 = 8;
const SNAPSHOT: u8 = 4;
/// No more files than that: it is their content that matters.
const FILES_MAX: usize = 12;
/// Offsets beyond this are right in themselves, but leave no room to append behind them.
const FAR: i64 = i64::MAX - (1 << 32);

fn log(data: &[u8]) {
    let [flags, rest @ ..] = data else { return };
    let disk = laid_out(*flags, rest);
    let config = LogConfig {
        segment_bytes: 600,
        index_interval_bytes: 100,
        cleanup: if flags & COMPACT != 0 { Cleanup::Compact } else { Cleanup::Delete },
        ..LogConfig::default()
    };
    let hint = OpenHint {
        stop: if flags & CLEAN != 0 { Stop::Clean } else { Stop::Unclean },
        recovery_point: Offset(if flags & FLUSHED != 0 { 8 } else { 0 }),
        log_start: Offset(if flags & DELETED != 0 { 5 } else { 0 }),
    };
    let Ok(mut log) = Log::open(Arc::new(disk.clone()), PathBuf::from(DIR), config, hint, NOW) else {
        return;
    };
    assert!(log.start_offset() <= log.end_offset());
    let before = contents(&mut log);
    let _ = (log.offset_for_timestamp(NOW.wall_ms), log.max_timestamp_offset());
    let _ = log.aborted_transactions(log.start_offset(), log.end_offset());
    let checked = hint.stop == Stop::Unclean && hint.recovery_point == Offset::ZERO;
    if checked {
        let batches = Batches::new(before.as_deref().unwrap_or_default());
        let ends: Vec<Offset> =
            batches.filter_map(Result::ok).map(|batch| batch.header.next_offset()).collect();
        assert!(ends.is_sorted() && ends.last().is_none_or(|last| *last <= log.end_offset()), "{ends:?}");
    }
    match before {
        Some(before) => survives(log, &disk, config, checked.then_some(&before)),
        // What was said to be right was not; a start that believes it may find that out late.
        None => assert!(!checked, "what was checked cannot be read"),
    }
}

/// A log goes on; one that was checked, as if nothing had been.
fn survives(mut log: Log, disk: &MemoryDisk, config: LogConfig, checked: Option<&Vec<u8>>) {
    let (start, end) = (log.start_offset(), log.end_offset());
    if end.0 > FAR {
        return;
    }
    let epoch = log.epochs().latest().map_or(LeaderEpoch(0), |latest| latest.epoch);
    let next = one_more(end, epoch);
    let appended = log.append(NOW, std::slice::from_ref(&next));
    let read = contents(&mut log);
    let closed = log.close();
    let Some(before) = checked else { return };
    let Ok(appended) = appended else { panic!("a whole disk refuses a batch: {appended:?}") };
    assert_eq!(appended.last_offset, end);
    let all = [before, &next.to_bytes()[..]].concat();
    assert_eq!(read.as_deref(), Some(&all[..]), "after an append");
    assert_eq!(closed.ok(), Some(end.plus(1)));
    for stop in [Stop::Clean, Stop::Unclean] {
        let hint = OpenHint { stop, recovery_point: Offset::ZERO, log_start: start };
        let copy: Arc<dyn Disk> = Arc::new(disk.copy());
        let mut again = Log::open(copy, PathBuf::from(DIR), config, hint, NOW).expect("our own files");
        assert_eq!((again.start_offset(), again.end_offset()), (start, end.plus(1)), "{stop:?}");
        assert_eq!(contents(&mut again).as_deref(), Some(&all[..]), "{stop:?}");
    }
}

fn one_more(at: Offset, leader_epoch: LeaderEpoch) -> StampedBatch {
    let mut builder = BatchBuilder::new();
    let record = RecordParts { timestamp: NOW.wall_ms, value: Some(b"one more"), ..RecordParts::default() };
    builder.append(&record).expect("a small record");
    let fields = BatchFields { base_offset: at, leader_epoch, ..BatchFields::default() };
    builder.finish(&fields, &mut Codecs::new())
}

/// Every byte from the log's start to its end; `None` when that cannot be read.
fn contents(log: &mut Log) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    let mut from = log.start_offset();
    while from < log.end_offset() {
        let found = log.read(from, ReadLimit::bytes(150)).ok()?;
        if found.next == from {
            assert!(found.slices.is_empty(), "batches that lead nowhere");
            // Offsets that compaction took away from the end.
            break;
        }
        assert!(found.next > from, "reading goes back from {from} to {}", found.next);
        let bytes = found.read().ok()?;
        all.extend_from_slice(&bytes);
        from = found.next;
    }
    Some(all)
}

fn laid_out(flags: u8, files: &[u8]) -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new(DIR)).expect("a whole disk");
    for file in pieces(files).take(FILES_MAX) {
        let [kind, offset, content @ ..] = file else { continue };
        let mut content = content.to_vec();
        if flags & SEALED != 0 {
            match kind % (EPOCHS + 1) {
                0 | 5 => seal(&mut content),
                SNAPSHOT if content.len() >= 10 => {
                    let crc = crc32c(&content[6..]);
                    content[2..6].copy_from_slice(&crc.to_be_bytes());
                }
                _ => {}
            }
        }
        let name = match KINDS.get(usize::from(kind % (EPOCHS + 1))) {
            Some(suffix) => format!("{offset:020}{suffix}"),
            None => "leader-epoch-checkpoint".to_owned(),
        };
        disk.replace(&Path::new(DIR).join(name), &content).expect("a whole disk");
    }
    disk
}

fn small_files(data: &[u8]) {
    let [kind, content @ ..] = data else { return };
    let (disk, dir) = (MemoryDisk::new(), Path::new("/data"));
    disk.create_dir(dir).expect("a whole disk");
    let put = |name: &str| disk.replace(&dir.join(name), content).expect("a whole disk");
    match kind % 8 {
        at @ 0..4 => {
            let checkpoint = OffsetCheckpoint::ALL[usize::from(at)];
            put(checkpoint.file_name());
            if let Ok(offsets) = checkpoint.read(&disk, dir) {
                checkpoint.write(&disk, dir, &offsets).expect("a whole disk");
                assert_eq!(checkpoint.read(&disk, dir).ok(), Some(offsets));
            }
        }
        4 => {
            put(ottla_log::meta_properties::FILE_NAME);
            if let Ok(Some(read)) = MetaProperties::read(&disk, dir) {
                read.write(&disk, dir).expect("a whole disk");
                assert_eq!(MetaProperties::read(&disk, dir).ok().flatten(), Some(read));
            }
        }
        5 => {
            put(partition_metadata::FILE_NAME);
            if let Ok(Some(id)) = partition_metadata::read(&disk, dir) {
                partition_metadata::write(&disk, dir, id).expect("a whole disk");
                assert_eq!(partition_metadata::read(&disk, dir).ok().flatten(), Some(id));
            }
        }
        6 => {
            put(clean_shutdown::FILE_NAME);
            assert!(clean_shutdown::take(&disk, dir).expect("a whole disk").is_clean());
            assert!(!clean_shutdown::take(&disk, dir).expect("a whole disk").is_clean());
        }
        _ => {
            let _ = PartitionFolder::of(&String::from_utf8_lossy(content));
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let file = |kind: u8, offset: u8, content: &[u8]| [&[kind, offset][..], content].concat();
    let sealed = |bytes: Vec<u8>| {
        let mut bytes = bytes;
        seal(&mut bytes);
        bytes
    };
    let first =
        [batch(Compression::None, 0, Some((1, 0, 0))), batch(Compression::Lz4, 4, Some((1, 0, 4)))].concat();
    let second = [batch(Compression::None, 8, None), marker(12)].concat();
    let index: Vec<u8> = [3i32, 0, 7, 240].iter().flat_map(|n| n.to_be_bytes()).collect();
    let times: Vec<u8> = [&NOW.wall_ms.to_be_bytes()[..], &7i32.to_be_bytes()].concat();
    let aborted: Vec<u8> =
        [&[0, 0][..], &1i64.to_be_bytes(), &0i64.to_be_bytes(), &12i64.to_be_bytes(), &13i64.to_be_bytes()]
            .concat();
    let mut seeds = Vec::new();
    for flags in 0..32 {
        let files = [
            file(0, 0, &sealed(first.clone())),
            file(1, 0, &index),
            file(2, 0, &times),
            file(0, 8, &sealed(second.clone())),
            file(1, 8, &[]),
            file(3, 8, &aborted),
            file(SNAPSHOT, 8, &snapshot()),
            file(EPOCHS, 0, b"0\n2\n0 0\n3 8\n"),
        ];
        seeds.push([&[flags][..], &joined(&files)].concat());
        let swapped = [
            file(0, 0, &first),
            file(5, 0, &sealed(second.clone())),
            file(6, 8, &first),
            file(7, 8, &second),
        ];
        seeds.push([&[flags][..], &joined(&swapped)].concat());
    }
    seeds
}

fn marker(at: i64) -> Vec<u8> {
    let marker = ottla_protocol::batch::TransactionMarker {
        producer_id: ottla_protocol::ProducerId(1),
        producer_epoch: ottla_protocol::ProducerEpoch(0),
        end: ottla_protocol::batch::ControlType::Abort,
        coordinator_epoch: 3,
    };
    marker.batch(NOW.wall_ms).at(Offset(at), LeaderEpoch(3)).to_bytes().to_vec()
}

/// One producer, as it was at offset 8.
fn snapshot() -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    bytes.extend_from_slice(&1i64.to_be_bytes());
    bytes.extend_from_slice(&0i16.to_be_bytes());
    bytes.extend_from_slice(&7i32.to_be_bytes());
    bytes.extend_from_slice(&7i64.to_be_bytes());
    bytes.extend_from_slice(&3i32.to_be_bytes());
    bytes.extend_from_slice(&NOW.wall_ms.to_be_bytes());
    bytes.extend_from_slice(&2i32.to_be_bytes());
    bytes.extend_from_slice(&(-1i64).to_be_bytes());
    let crc = crc32c(&bytes[6..]);
    bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn small_seeds() -> Vec<Vec<u8>> {
    let texts: [(u8, &str); 9] = [
        (0, "0\n2\ntopic 0 17\nother-topic 3 9223372036854775807\n"),
        (1, "0\n0\n"),
        (2, "0\n1\nt 1 5\n"),
        (3, "0\r\n1\r\nt 1 5\r\n"),
        (4, "cluster.id=4L6g3nShT-eMCtK--X86sw\ndirectory.id=JIHN6XWmTU-yMIsiabtGRQ\nnode.id=1\nversion=1\n"),
        (5, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ"),
        (6, "{\"version\":0,\"brokerEpoch\":77}"),
        (7, "my-topic-12"),
        (7, "my-topic-12.0123456789abcdef0123456789abcdef-delete"),
    ];
    texts.iter().map(|(kind, text)| [&[*kind][..], text.as_bytes()].concat()).collect()
}
