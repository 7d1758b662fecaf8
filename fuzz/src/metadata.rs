//! The metadata log, replayed record by record.

use ottla_metadata::{Image, Replay};
use ottla_protocol::catalogue::ENTRIES;
use ottla_protocol::codec::{Reader, Writer};
use ottla_protocol::records::metadata::{
    BrokerRegistrationChangeRecord, FeatureLevelRecord, MetadataRecord, PartitionChangeRecord,
    PartitionRecord, RegisterBrokerRecord, TopicRecord,
};
use ottla_protocol::{Offset, Uuid};

use crate::mutate::Dice;
use crate::{Heap, Target};

/// Records one behind the other, each behind its length in two bytes.
pub const REPLAY: Target = Target {
    name: "metadata-replay",
    run: replay,
    seeds,
    mutations: 3000,
    // Persistent maps copy a node of some KiB for each change.
    heap: Heap { per_byte: 8 << 10, besides: 1 << 20 },
};

fn replay(data: &[u8]) {
    let mut replay = Replay::default();
    for (offset, bytes) in (0..).zip(pieces(data)) {
        let Ok(record) = MetadataRecord::decode(bytes) else { continue };
        there_and_back(&record, bytes);
        let before = replay.image().clone();
        if replay.apply(Offset(offset), &record).is_err() {
            assert_eq!(*replay.image(), before, "{record:?} was refused and changed the image");
        }
        if let Some((image, delta)) = replay.publish() {
            assert_eq!(image, *replay.image());
            assert!(replay.publish().is_some_and(|(_, delta)| delta.is_empty()));
            drop(delta);
        }
    }
    let version = replay.image().version();
    // Older versions leave out what they cannot say.
    if version.has_directories() && version.has_elr() && version.has_cordoned_directories() {
        snapshot_is_the_image(replay.image());
    }
}

/// The records of a snapshot make the same image anew.
fn snapshot_is_the_image(image: &Image) {
    let mut loaded = Replay::default();
    loaded
        .load(image.end_offset.max(Offset(1)), image.snapshot())
        .expect("an image's own snapshot can be replayed");
    let loaded = Image { end_offset: image.end_offset, ..loaded.image().clone() };
    assert_eq!(loaded, *image, "the snapshot says something else");
}

fn there_and_back(record: &MetadataRecord, bytes: &[u8]) {
    // Frame, type, version.
    let mut reader = Reader::new(bytes::Bytes::copy_from_slice(bytes));
    let version = [reader.uvarint(), reader.uvarint(), reader.uvarint()][2] as i16;
    let again = record.encode(version).expect("a record that was read can be written");
    assert_eq!(MetadataRecord::decode(&again).as_ref(), Ok(record));
}

/// The pieces of an input that has a length of two bytes before each; the last may be cut.
pub fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk::<2>()?;
        let (piece, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        data = rest;
        Some(piece)
    })
}

/// Puts lengths before pieces.
pub fn joined(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let piece = piece.as_ref();
        bytes.extend_from_slice(&(piece.len() as u16).to_be_bytes());
        bytes.extend_from_slice(piece);
    }
    bytes
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = ENTRIES
        .iter()
        .filter(|entry| entry.folder == "metadata")
        .map(|entry| {
            let mut writer = Writer::new();
            (entry.copy)(&mut Reader::random(5), entry.max, &mut writer, entry.max).expect("a random record");
            let body = writer.into_bytes();
            // The type's number is found by asking every number to read the bytes.
            joined((0..32u8).map(|number| [&[1, number, entry.max as u8][..], &body].concat()))
        })
        .collect();
    let life = life();
    for n in 0..8 {
        // The same life without some of its records, in another order.
        let mut dice = Dice(n);
        let mut some = life.clone();
        for _ in 0..n {
            let (a, b) = (dice.below(some.len()), dice.below(some.len()));
            some.swap(a, b);
            some.remove(dice.below(some.len()));
        }
        seeds.push(joined(some));
    }
    seeds
}

/// A small cluster's records in the order they could have.
fn life() -> Vec<bytes::Bytes> {
    let topic_id = Uuid([7; 16]);
    let broker = |broker_id| {
        RegisterBrokerRecord {
            broker_id,
            broker_epoch: 5,
            incarnation_id: Uuid([3; 16]),
            fenced: true,
            log_dirs: vec![Uuid([9; 16])],
            ..Default::default()
        }
        .into()
    };
    let unfence = |broker_id| {
        BrokerRegistrationChangeRecord { broker_id, broker_epoch: 5, fenced: -1, ..Default::default() }.into()
    };
    let partition = |partition_id| {
        PartitionRecord {
            partition_id,
            topic_id,
            replicas: vec![1, 2],
            isr: vec![1, 2],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![Uuid([9; 16]); 2],
            ..Default::default()
        }
        .into()
    };
    let change = PartitionChangeRecord {
        partition_id: 1,
        topic_id,
        isr: Some(vec![2]),
        leader: 2,
        ..Default::default()
    };
    let records: Vec<MetadataRecord> = vec![
        FeatureLevelRecord { name: "metadata.version".to_owned(), feature_level: 25 }.into(),
        broker(1),
        broker(2),
        unfence(1),
        unfence(2),
        TopicRecord { name: "t".to_owned(), topic_id }.into(),
        partition(0),
        partition(1),
        change.into(),
    ];
    records
        .iter()
        .map(|record| record.encode(record.max_version()).expect("a record in its newest version"))
        .collect()
}
