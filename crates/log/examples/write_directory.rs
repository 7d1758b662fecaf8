//! Writes a log directory as a broker would leave it, for Apache Kafka's tools to look at.
//!
//! `cargo run -p ottla-log --example write_directory -- FOLDER [cut]`; with `cut` the log is truncated on the way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::{Disk, DiskError, Log, LogConfig, LogDirectory, OffsetCheckpoint, Offsets, OpenHint, OsDisk};
use ottla_log::{meta_properties::MetaProperties, partition_metadata};
use ottla_protocol::batch::{
    Attributes, BatchBuilder, BatchFields, ControlType, RecordParts, StampedBatch, TransactionMarker,
};
use ottla_protocol::compression::{Codecs, Compression, Effort};
use ottla_protocol::{LeaderEpoch, NodeId, Now, Offset, ProducerEpoch, ProducerId, Uuid};

const TOPIC: &str = "orders";
const START_MS: i64 = 1_700_000_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("which folder?")?);
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let directory = LogDirectory::open(Arc::clone(&disk), &folder)?;
    let cluster = "4L6g3nShT-eMCtK--X86sw".to_owned();
    MetaProperties::new(cluster, NodeId(1), Uuid::from_random([5; 16])).write(&*disk, &folder)?;
    let is_cut = std::env::args().nth(2).is_some_and(|word| word == "cut");
    let cuts: &[i32] = if is_cut { &[699, 1399] } else { &[] };
    let end = write_log(&disk, &folder.join(format!("{TOPIC}-0")), cuts)?;
    let offsets = Offsets::from([((TOPIC.to_owned(), 0), end)]);
    for checkpoint in [OffsetCheckpoint::RecoveryPoint, OffsetCheckpoint::Replication] {
        checkpoint.write(&*disk, &folder, &offsets)?;
    }
    directory.leave_clean_shutdown(7)?;
    println!("{end} records in {}", folder.display());
    Ok(())
}

fn write_log(disk: &Arc<dyn Disk>, dir: &Path, cuts: &[i32]) -> Result<Offset, DiskError> {
    let config = LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() };
    let mut log = Log::open(Arc::clone(disk), dir.to_owned(), config, OpenHint::NOTHING, now(0))?;
    partition_metadata::write(&**disk, dir, Uuid::from_random([9; 16]))?;
    let mut codecs = Codecs::new();
    let mut sequences = [0; 3];
    for i in 0..9000 {
        let epoch = LeaderEpoch(i / 1000);
        let base = log.end_offset();
        let batch = batch(i, &mut sequences, &mut codecs).at(base, epoch);
        log.append(now(i64::from(i)), &[batch])?;
        if cuts.contains(&i) {
            log.truncate_to(now(i64::from(i)), base.plus(-40))?;
        }
    }
    log.close()
}

/// Batches of all sizes and codecs, from idempotent, transactional and plain producers, with markers in between.
fn batch(i: i32, sequences: &mut [i32; 3], codecs: &mut Codecs) -> StampedBatch {
    let timestamp = START_MS + i64::from(i) * 10;
    if i % 10 == 9 {
        let end = if i % 20 == 9 { ControlType::Abort } else { ControlType::Commit };
        let (producer_id, producer_epoch) = (ProducerId(1002), ProducerEpoch(0));
        return TransactionMarker { producer_id, producer_epoch, end, coordinator_epoch: 3 }.batch(timestamp);
    }
    let codecs_in_turn =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let mut builder = BatchBuilder::new();
    for j in 0..=i % 7 {
        let value = Bytes::from(vec![b'a' + (j as u8); (i as usize * 37) % 900]);
        let record = RecordParts {
            timestamp: timestamp + i64::from((j * 7) % 5),
            key: Some(b"key"),
            value: Some(&value),
            ..RecordParts::default()
        };
        builder.append(&record).expect("a small record");
    }
    let who = (i % 3) as usize;
    let transactional = who == 2;
    let fields = BatchFields {
        producer_id: if who == 0 { ProducerId::NONE } else { ProducerId(1000 + i64::from(i % 3)) },
        producer_epoch: ProducerEpoch(if who == 0 { -1 } else { 0 }),
        base_sequence: if who == 0 { -1 } else { sequences[who] },
        attributes: if transactional { Attributes::default().transactional() } else { Attributes::default() },
        effort: Effort::from(codecs_in_turn[(i % 5) as usize]),
        ..BatchFields::default()
    };
    sequences[who] += i % 7 + 1;
    builder.finish(&fields, codecs)
}

fn now(i: i64) -> Now {
    Now { monotonic_us: 0, wall_ms: START_MS + i * 10 }
}
