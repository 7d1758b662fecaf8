//! Sequences, epochs, transactions and snapshots of producers.

use super::*;
use crate::producers::snapshot;
use ottla_protocol::batch::Attributes;

const ID: ProducerId = ProducerId(7);

fn batch(epoch: i16, sequence: i32, base: i64, records: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(base),
        last_offset_delta: records - 1,
        record_count: records,
        max_timestamp: 1000 + base,
        producer_id: ID,
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        ..BatchHeader::default()
    }
}

fn transactional(epoch: i16, sequence: i32, base: i64) -> BatchHeader {
    let batch = batch(epoch, sequence, base, 1);
    BatchHeader { attributes: Attributes::default().transactional(), ..batch }
}

/// The body of a marker batch, as Kafka writes it: version 0 key and value.
fn marker_body(kind: u8, coordinator_epoch: i32) -> Vec<u8> {
    let mut record = vec![0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0];
    record.extend_from_slice(&coordinator_epoch.to_be_bytes());
    record.push(0);
    let mut body = vec![(record.len() * 2) as u8];
    body.append(&mut record);
    body
}

fn marker(epoch: i16, base: i64) -> BatchHeader {
    let attributes = Attributes::default().transactional().control();
    BatchHeader { attributes, base_timestamp: 5000, base_sequence: -1, ..batch(epoch, -1, base, 1) }
}

fn check(producers: &Producers, batch: &BatchHeader) -> Result<Verdict, Refusal> {
    producers.check(batch, Origin::Client)
}

#[test]
fn five_batches_are_remembered_and_the_sixth_is_forgotten() {
    let mut producers = Producers::default();
    let batches: Vec<BatchHeader> = (0..6).map(|i| batch(0, i * 10, 100 + i64::from(i) * 10, 10)).collect();
    for batch in &batches {
        assert_eq!(check(&producers, batch), Ok(Verdict::New));
        producers.take(batch, &[]);
    }
    assert_eq!(check(&producers, &batches[0]), Err(Refusal::OutOfOrderSequenceNumber));
    for batch in &batches[1..] {
        let Ok(Verdict::Duplicate(earlier)) = check(&producers, batch) else { panic!("{batch:?}") };
        assert_eq!((earlier.first_offset(), earlier.last_offset), (batch.base_offset, batch.last_offset()));
    }
    // The same beginning with another length is another batch.
    assert_eq!(check(&producers, &batch(0, 50, 0, 9)), Err(Refusal::OutOfOrderSequenceNumber));
    assert_eq!(check(&producers, &batch(0, 61, 0, 1)), Err(Refusal::OutOfOrderSequenceNumber));
    assert_eq!(check(&producers, &batch(0, 60, 0, 1)), Ok(Verdict::New));
}

#[test]
fn sequences_begin_again_after_the_largest() {
    let mut producers = Producers::default();
    producers.take(&batch(0, i32::MAX - 1, 0, 2), &[]);
    assert_eq!(check(&producers, &batch(0, 0, 2, 1)), Ok(Verdict::New));
    assert_eq!(check(&producers, &batch(0, i32::MAX, 2, 1)), Err(Refusal::OutOfOrderSequenceNumber));

    let across = batch(1, i32::MAX - 2, 10, 5);
    assert_eq!(across.last_sequence(), 1);
    producers.take(&across, &[]);
    let Ok(Verdict::Duplicate(earlier)) = check(&producers, &across) else { panic!("a duplicate") };
    assert_eq!(earlier.first_sequence(), i32::MAX - 2);
    assert_eq!(check(&producers, &batch(1, 2, 15, 1)), Ok(Verdict::New));
}

#[test]
fn epochs_fence_and_begin_at_zero() {
    let mut producers = Producers::default();
    // A producer nobody knows may go on anywhere: its state may have expired.
    assert_eq!(check(&producers, &batch(3, 42, 0, 1)), Ok(Verdict::New));
    producers.take(&batch(3, 42, 0, 1), &[]);
    assert_eq!(check(&producers, &batch(2, 43, 1, 1)), Err(Refusal::InvalidProducerEpoch));
    assert_eq!(check(&producers, &batch(4, 43, 1, 1)), Err(Refusal::OutOfOrderSequenceNumber));
    assert_eq!(check(&producers, &batch(4, 0, 1, 1)), Ok(Verdict::New));
    // A coordinator writes without sequences, but it is fenced all the same.
    assert_eq!(producers.check(&batch(3, -1, 1, 1), Origin::Coordinator), Ok(Verdict::New));
    assert_eq!(producers.check(&batch(2, -1, 1, 1), Origin::Coordinator), Err(Refusal::InvalidProducerEpoch));
    assert_eq!(check(&producers, &BatchHeader::default()), Ok(Verdict::New));
}

#[test]
fn several_batches_are_checked_as_they_would_follow() {
    let producers = Producers::default();
    let (a, b, c) = (batch(0, 0, 0, 2), batch(0, 2, 2, 2), batch(0, 5, 4, 1));
    assert_eq!(producers.check_all([&a, &b], Origin::Client), Ok(Verdict::New));
    assert_eq!(producers.check_all([&a, &b, &c], Origin::Client), Err(Refusal::OutOfOrderSequenceNumber));
    assert!(matches!(producers.check_all([&a, &a], Origin::Client), Ok(Verdict::Duplicate(_))));
}

#[test]
fn a_transaction_opens_and_ends() {
    let mut producers = Producers::default();
    producers.take(&transactional(0, 0, 10), &[]);
    producers.take(&transactional(0, 1, 11), &[]);
    let other = BatchHeader { producer_id: ProducerId(8), ..transactional(0, 0, 12) };
    producers.take(&other, &[]);
    assert_eq!(producers.first_unstable_offset(), Some(Offset(10)));
    assert!(producers.has_open_transaction(ID, ProducerEpoch(0)));
    assert!(!producers.has_open_transaction(ID, ProducerEpoch(1)));
    assert_eq!(check(&producers, &batch(0, 2, 13, 1)), Err(Refusal::InvalidTxnState));

    let ended = producers.take(&marker(0, 13), &marker_body(0, 5)).expect("it was open");
    assert_eq!(
        (ended.first_offset, ended.last_offset, ended.kind),
        (Offset(10), Offset(13), MarkerKind::Abort)
    );
    assert_eq!(producers.stable_after(&ended), Offset(12), "the other one is still open");
    // Until the marker is replicated its transaction holds the last stable offset back.
    assert_eq!(producers.first_unstable_offset(), Some(Offset(10)));
    producers.high_watermark_moved(Offset(13));
    assert_eq!(producers.first_unstable_offset(), Some(Offset(10)));
    producers.high_watermark_moved(Offset(14));
    assert_eq!(producers.first_unstable_offset(), Some(Offset(12)));

    let entry = producers.get(ID).unwrap();
    assert_eq!((entry.coordinator_epoch, entry.last_timestamp, entry.transaction_start), (5, 5000, None));
    assert_eq!(check(&producers, &batch(0, 2, 14, 1)), Ok(Verdict::New), "the sequence goes on");
    assert_eq!(producers.take(&marker(0, 14), &marker_body(1, 5)), None, "nothing was open");
}

#[test]
fn markers_are_fenced_by_epochs() {
    let mut producers = Producers::default();
    producers.take(&transactional(3, 0, 0), &[]);
    let marker = |producers: &Producers, epoch, coordinator, rule| {
        producers.check_marker(ID, ProducerEpoch(epoch), coordinator, rule)
    };
    assert_eq!(marker(&producers, 2, 9, MarkerRule::SameOrLater), Err(Refusal::InvalidProducerEpoch));
    assert_eq!(marker(&producers, 3, 9, MarkerRule::SameOrLater), Ok(()));
    assert_eq!(marker(&producers, 3, 9, MarkerRule::Later), Err(Refusal::InvalidProducerEpoch));
    assert_eq!(marker(&producers, 4, 9, MarkerRule::Later), Ok(()));
    producers.take(&super::tests::marker(4, 1), &marker_body(1, 9));
    assert_eq!(marker(&producers, 4, 9, MarkerRule::Later), Ok(()), "the same marker again");
    assert_eq!(marker(&producers, 5, 8, MarkerRule::Later), Err(Refusal::TransactionCoordinatorFenced));
    assert_eq!(check(&producers, &batch(4, 0, 2, 1)), Ok(Verdict::New), "a new epoch begins at 0");
}

#[test]
fn a_marker_names_a_producer_and_an_epoch() {
    let producers = Producers::default();
    for rule in [MarkerRule::SameOrLater, MarkerRule::Later] {
        let marker = |id, epoch| producers.check_marker(ProducerId(id), ProducerEpoch(epoch), 0, rule);
        for (id, epoch) in [(-1, -1), (-1, 0), (-2, 0), (i64::MIN, i16::MIN), (7, -1)] {
            assert_eq!(marker(id, epoch), Err(Refusal::UnknownServerError), "{id} {epoch}");
        }
        assert_eq!(marker(7, -2), Err(Refusal::InvalidProducerEpoch));
        assert_eq!(marker(0, 0), Ok(()));
    }
}

#[test]
fn markers_that_are_none_are_passed_over() {
    let mut producers = Producers::default();
    producers.take(&transactional(0, 0, 0), &[]);
    for body in [vec![], vec![0xff; 30], marker_body(2, 0), marker_body(0, 0)[..9].to_vec()] {
        assert_eq!(producers.take(&marker(0, 1), &body), None);
    }
    assert_eq!(producers.first_open_offset(), Some(Offset(0)));
}

#[test]
fn the_silent_expire_unless_in_a_transaction() {
    let mut producers = Producers::default();
    producers.take(&batch(0, 0, 0, 1), &[]);
    let other = BatchHeader { producer_id: ProducerId(8), ..transactional(0, 0, 1) };
    producers.take(&other, &[]);
    assert_eq!(producers.expire(1000 + 99, 100), 0);
    assert_eq!(producers.expire(1000 + 100, 100), 1);
    assert_eq!(producers.iter().map(|(id, _)| id).collect::<Vec<_>>(), [ProducerId(8)]);
    assert_eq!(producers.oldest_transaction_timestamp(), Some(1001));
}

#[test]
fn a_snapshot_keeps_the_last_batch_and_finds_damage() {
    let mut producers = Producers::default();
    producers.take(&batch(2, 0, 0, 10), &[]);
    producers.take(&batch(2, 10, 10, 5), &[]);
    let other = BatchHeader { producer_id: ProducerId(8), ..transactional(0, 0, 15) };
    producers.take(&other, &[]);
    let bytes = snapshot::encode(&producers);
    assert_eq!(bytes.len(), 10 + 2 * 46);
    let entries = snapshot::decode(&bytes).unwrap();
    let mut restored = Producers::default();
    for (id, entry) in entries {
        restored.restore(id, entry);
    }
    assert!(matches!(check(&restored, &batch(2, 10, 10, 5)), Ok(Verdict::Duplicate(_))));
    assert_eq!(check(&restored, &batch(2, 0, 0, 10)), Err(Refusal::OutOfOrderSequenceNumber));
    assert_eq!(restored.first_open_offset(), Some(Offset(15)));
    assert_eq!(snapshot::encode(&restored), bytes);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(snapshot::decode(&damaged), None, "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert_eq!(snapshot::decode(&bytes[..length]), None, "length {length}");
    }
}
