//! A log with a transaction, dumped as it is and with damage. That the lines are Kafka's to the byte is what the suite
//! `exchange` finds out.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::{Log, LogConfig, OpenHint, OsDisk};
use ottla_protocol::batch::{
    Attributes, BatchBuilder, BatchFields, ControlType, RecordParts, StampedBatch, TransactionMarker,
};
use ottla_protocol::compression::{Codecs, Compression};
use ottla_protocol::{LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId};

use crate::tools::failure::Failure;

const SEGMENT: &str = "00000000000000000000";

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ottla-dump-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.0.join(format!("{SEGMENT}.{ending}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn batch(producer: i64, values: &[&str], compression: Compression) -> StampedBatch {
    let mut builder = BatchBuilder::new();
    for value in values {
        let (key, value) = (Some(&b"key"[..]), Some(value.as_bytes()));
        builder.append(&RecordParts { timestamp: 1000, key, value, ..RecordParts::default() }).unwrap();
    }
    let fields = BatchFields {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        attributes: Attributes::default().transactional(),
        effort: compression.into(),
        ..BatchFields::default()
    };
    builder.finish(&fields, &mut Codecs::new())
}

fn written(name: &str) -> Folder {
    let folder = Folder::new(name);
    let now = Now { monotonic_us: 0, wall_ms: 1000 };
    let config = LogConfig { index_interval_bytes: 1, ..LogConfig::default() };
    let disk = Arc::new(OsDisk);
    let mut log = Log::open(disk, folder.0.clone(), config, OpenHint::NOTHING, now).unwrap();
    let marker = TransactionMarker {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(0),
        end: ControlType::Abort,
        coordinator_epoch: 3,
    };
    let batches =
        [batch(7, &["a", "b"], Compression::None), batch(8, &["c"], Compression::Zstd), marker.batch(1001)];
    for batch in batches {
        log.append(now, &[batch.at(log.end_offset(), LeaderEpoch(2))]).unwrap();
    }
    assert_eq!(log.close().unwrap(), Offset(4));
    folder
}

fn dump(file: &Path, options: &[&str]) -> Result<String, Failure> {
    let mut words = vec!["--files".to_owned(), file.display().to_string()];
    words.extend(options.iter().map(|word| (*word).to_owned()));
    let mut out = Vec::new();
    let ended = super::run(&words, &mut out);
    let text = String::from_utf8(out).unwrap();
    ended.map(|()| text.lines().skip(1).map(|line| format!("{line}\n")).collect())
}

#[test]
fn batches_and_records_are_shown() {
    let folder = written("records");
    let log = folder.file("log");
    let text = dump(&log, &["--print-data-log"]).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "Log starting offset: 0");
    assert!(lines[1].starts_with(
        "baseOffset: 0 lastOffset: 1 count: 2 baseSequence: 0 lastSequence: 1 producerId: 7 producerEpoch: 0 \
         partitionLeaderEpoch: 2 isTransactional: true isControl: false deleteHorizonMs: OptionalLong.empty \
         position: 0 CreateTime: 1000 size: "
    ));
    assert!(lines[1].ends_with(" isvalid: true"));
    assert_eq!(
        lines[3],
        "| offset: 1 CreateTime: 1000 keySize: 3 valueSize: 1 sequence: 1 headerKeys: [] key: key payload: b"
    );
    assert!(lines[4].contains(" compresscodec: zstd "));
    assert!(lines[7].ends_with("headerKeys: [] endTxnMarker: ABORT coordinatorEpoch: 3"));
    assert_eq!(lines.len(), 8);
    let keys = dump(&log, &["--print-data-log", "--skip-record-metadata"]).unwrap();
    assert_eq!(keys.lines().filter(|line| *line == "| key: key payload: a").count(), 1);
    assert_eq!(dump(&log, &[]).unwrap().lines().count(), 4, "batches only");
    assert_eq!(dump(&log, &["--max-bytes", "200"]).unwrap().lines().count(), 3);
}

#[test]
fn indexes_and_producers_are_shown_and_checked() {
    let folder = written("indexes");
    let text = dump(&folder.file("txnindex"), &[]).unwrap();
    assert_eq!(text, "version: 0 producerId: 7 firstOffset: 0 lastOffset: 3 lastStableOffset: 2\n");
    let text = dump(&folder.0.join("00000000000000000004.snapshot"), &[]).unwrap();
    assert_eq!(
        text,
        "producerId: 7 producerEpoch: 0 coordinatorEpoch: 3 currentTxnFirstOffset: OptionalLong.empty \
         lastTimestamp: 1001 firstSequence: 0 lastSequence: 1 lastOffset: 1 offsetDelta: 1 timestamp: 1001\n\
         producerId: 8 producerEpoch: 0 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong[2] \
         lastTimestamp: 1000 firstSequence: 0 lastSequence: 0 lastOffset: 2 offsetDelta: 0 timestamp: 1000\n"
    );
    let index = dump(&folder.file("index"), &[]).unwrap();
    assert!(index.starts_with("offset: 2 position: "), "{index}");
    assert_eq!(dump(&folder.file("index"), &["--verify-index-only"]).unwrap(), "");
    for ending in ["index", "timeindex"] {
        let text = dump(&folder.file(ending), &["--index-sanity-check"]).unwrap();
        assert!(text.ends_with(" passed sanity check.\n"), "{text}");
    }
    assert!(dump(&folder.file("timeindex"), &[]).unwrap().contains("timestamp: 1001 offset: 3\n"));
    let bytes = fs::read(folder.file("index")).unwrap();
    fs::write(folder.file("index"), &bytes[..bytes.len() - 1]).unwrap();
    assert!(dump(&folder.file("index"), &["--index-sanity-check"]).is_err());
}

#[test]
fn damage_is_shown_as_it_is() {
    let folder = written("damage");
    let log = folder.file("log");
    let bytes = fs::read(&log).unwrap();
    let mut flipped = bytes.clone();
    flipped[70] ^= 1;
    fs::write(&log, &flipped).unwrap();
    assert!(dump(&log, &[]).unwrap().lines().nth(1).unwrap().ends_with(" isvalid: false"));
    fs::write(&log, &bytes[..bytes.len() - 3]).unwrap();
    let text = dump(&log, &[]).unwrap();
    assert!(text.ends_with(&format!(" invalid bytes at the end of {SEGMENT}.log\n")), "{text}");
    // Room that was reserved and never used has no batches, and Kafka's tool ends there as well.
    let mut reserved = bytes;
    reserved.resize(reserved.len() + 100, 0);
    fs::write(&log, &reserved).unwrap();
    let error = dump(&log, &[]).unwrap_err();
    assert!(error.message().contains("Found record size 0 smaller than minimum record overhead (14)"));
    for at in 0..200 {
        // Nothing that is on a disk may end the tool otherwise than by an error.
        for ending in ["log", "index", "timeindex", "txnindex"] {
            let Ok(mut bytes) = fs::read(folder.file(ending)) else { continue };
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 0x80;
                let copy = folder.0.join("copy");
                fs::create_dir_all(&copy).unwrap();
                for other in ["log", "index", "timeindex"] {
                    fs::copy(folder.file(other), copy.join(format!("{SEGMENT}.{other}"))).unwrap();
                }
                fs::write(copy.join(format!("{SEGMENT}.{ending}")), bytes).unwrap();
                let _ = dump(&copy.join(format!("{SEGMENT}.{ending}")), &["--print-data-log"]);
            }
        }
    }
}
