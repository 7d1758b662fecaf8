//! Files that Apache Kafka 4.4.0 wrote, to the byte.
//!
//! Its own log classes were given the batches below, one per append, as a follower gets them; lengths and checksums of
//! what they left in the folder stand in the table. Of the active segment's two indexes it is what a stop leaves of
//! them: without the room kept for more, and with the last timestamp.

use ottla_protocol::batch::{ControlType, StampedBatch, crc32c};

use super::support::*;
use crate::disk::Disk;
use crate::{LogConfig, OpenHint};

/// Name, length, CRC-32C.
const KAFKAS: &[(&str, usize, u32)] = &[
    ("00000000000000000000.index", 1880, 0xfd0b_821d),
    ("00000000000000000000.log", 1_047_789, 0xf710_415a),
    ("00000000000000000000.timeindex", 2832, 0xde2f_d7f1),
    ("00000000000000000000.txnindex", 3876, 0x50ed_be67),
    ("00000000000000005931.index", 1376, 0xef1b_69f5),
    ("00000000000000005931.log", 778_963, 0xab2c_50f4),
    ("00000000000000005931.snapshot", 102, 0xf2bc_0658),
    ("00000000000000005931.timeindex", 2076, 0x5f17_bdfb),
    ("00000000000000005931.txnindex", 2924, 0xb826_1e31),
    ("00000000000000010400.snapshot", 102, 0x9efc_fd1a),
    ("leader-epoch-checkpoint", 36, 0x60e3_66dc),
];

fn batches() -> Vec<StampedBatch> {
    let mut batches = Vec::new();
    let mut base = 0;
    let mut sequences = [0; 2];
    let mut dice = Dice(1);
    for i in 0..4000 {
        let (epoch, who) = (i / 900, (i % 2) as usize);
        let timestamp = 1_700_000_000_000 + i64::from(i) * 10 + dice.roll(50) as i64;
        let transactional = who == 1;
        let recipe = Recipe {
            base,
            epoch,
            timestamp,
            records: 1 + i % 5,
            body: dice.roll(300) as usize,
            producer: Some((7 + i64::from(i % 2), 0, sequences[who])),
            transactional,
        };
        let batch = match i % 10 {
            9 => {
                let end = if i % 20 == 9 { ControlType::Abort } else { ControlType::Commit };
                marker((base, epoch), (8, 0), end, 3)
            }
            4 => Recipe { producer: None, transactional: false, ..recipe }.batch(),
            _ => {
                sequences[who] += recipe.records;
                recipe.batch()
            }
        };
        base = batch.header().next_offset().0;
        batches.push(batch);
    }
    batches
}

#[test]
fn the_files_are_apache_kafkas_to_the_byte() {
    let disk = disk();
    let config = LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() };
    let mut log = open(&disk, config, OpenHint::NOTHING);
    for batch in batches() {
        log.append(now(), &[batch]).unwrap();
    }
    log.close().unwrap();
    let mut ours = Vec::new();
    for name in names(&disk) {
        let bytes = disk.read(&path(&name)).unwrap().unwrap();
        ours.push((name.clone(), bytes.len(), crc32c(&bytes)));
    }
    let ours: Vec<_> = ours.iter().map(|(name, length, crc)| (name.as_str(), *length, *crc)).collect();
    assert_eq!(ours, KAFKAS);
}
