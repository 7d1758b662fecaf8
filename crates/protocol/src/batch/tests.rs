//! Batches against a naive reader of the format: what is built, what is accepted, what is refused, what is hostile.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::compression::{Codecs, Compression, Effort, Limit};
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// A record as a test states it: everything owned and plain.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Plain {
    fn of(value: &str) -> Self {
        Self { timestamp: 1000, key: None, value: Some(value.into()), headers: vec![] }
    }

    fn append_to(&self, builder: &mut BatchBuilder) {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(k, v)| Header { key: k.clone().into(), value: v.clone().map(Bytes::from) })
            .collect();
        let parts = RecordParts {
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: headers.as_slice().into(),
        };
        let (before, cost) = (builder.plain_size(), builder.cost_of(&parts));
        builder.append(&parts).unwrap();
        assert_eq!(builder.plain_size() - before, cost, "sizes are exact");
        assert!(cost <= parts.size_at_most());
    }
}

impl From<Record> for Plain {
    fn from(record: Record) -> Self {
        Self {
            timestamp: record.timestamp,
            key: record.key.map(|b| b.to_vec()),
            value: record.value.map(|b| b.to_vec()),
            headers: record
                .headers
                .into_iter()
                .map(|h| (h.key.to_vec(), h.value.map(|b| b.to_vec())))
                .collect(),
        }
    }
}

fn build(records: &[Plain], fields: &BatchFields) -> Bytes {
    let mut builder = BatchBuilder::new();
    for record in records {
        record.append_to(&mut builder);
    }
    builder.finish(fields, &mut Codecs::new()).to_bytes()
}

fn read(batch: &Bytes) -> Result<Vec<Plain>, BatchError> {
    let records = RecordsIter::new(batch, Limit::default(), &mut Codecs::new())?;
    records.map(|record| record.map(Plain::from)).collect()
}

fn accept(batch: &Bytes, limits: &Limits) -> Result<Validated, BatchError> {
    validate(batch, limits, &mut Codecs::new())
}

/// The batch with the checksum that its bytes deserve.
fn sealed(mut batch: Vec<u8>) -> Bytes {
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

/// The batch with one header field changed and the checksum right again.
fn changed(batch: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(batch).unwrap();
    change(&mut header);
    sealed([&header.to_bytes(), &batch[HEADER_LEN..]].concat())
}

fn fields(compression: Compression) -> BatchFields {
    BatchFields { effort: compression.into(), ..BatchFields::default() }
}

/// A slow reader of plain records, written from the format alone. `None` where anything is wrong.
mod naive {
    use super::Plain;

    fn varint(bytes: &mut std::slice::Iter<'_, u8>, max: usize) -> Option<i64> {
        let mut value = 0u128;
        for i in 0..max {
            let byte = *bytes.next()?;
            value += u128::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                let value = if max == 5 { u64::from(value as u32) } else { value as u64 };
                return Some(if value % 2 == 0 { (value / 2) as i64 } else { -((value / 2) as i64) - 1 });
            }
        }
        None
    }

    fn blob(bytes: &mut std::slice::Iter<'_, u8>) -> Option<Option<Vec<u8>>> {
        let len = varint(bytes, 5)?;
        if len < 0 {
            return Some(None);
        }
        let slice = bytes.as_slice().get(..len as usize)?;
        *bytes = bytes.as_slice()[len as usize..].iter();
        Some(Some(slice.to_vec()))
    }

    pub fn records(plain: &[u8], count: i32, base_timestamp: i64) -> Option<Vec<(i64, Plain)>> {
        let mut bytes = plain.iter();
        let mut records = Vec::new();
        for _ in 0..count {
            let len = usize::try_from(varint(&mut bytes, 5)?).ok()?;
            let end = bytes.len().checked_sub(len)?;
            bytes.next()?;
            let timestamp = base_timestamp.wrapping_add(varint(&mut bytes, 10)?);
            let delta = varint(&mut bytes, 5)?;
            let (key, value) = (blob(&mut bytes)?, blob(&mut bytes)?);
            let mut headers = Vec::new();
            let expected = varint(&mut bytes, 5)?;
            if expected < 0 {
                return None;
            }
            for _ in 0..expected {
                headers.push((blob(&mut bytes)??, blob(&mut bytes)?));
            }
            if bytes.len() != end {
                return None;
            }
            records.push((delta, Plain { timestamp, key, value, headers }));
        }
        bytes.as_slice().is_empty().then_some(records)
    }
}

#[test]
fn nulls_empties_and_duplicate_headers_stay_what_they_are() {
    let records = [
        Plain { timestamp: -1, key: None, value: None, headers: vec![] },
        Plain { timestamp: 5, key: Some(vec![]), value: Some(vec![]), headers: vec![] },
        Plain {
            timestamp: 3,
            key: Some(b"k".to_vec()),
            value: Some(vec![7; 300]),
            headers: vec![
                (b"b".to_vec(), Some(b"1".to_vec())),
                (b"a".to_vec(), None),
                (b"b".to_vec(), Some(vec![])),
                (b"b".to_vec(), Some(b"1".to_vec())),
                (vec![], None),
            ],
        },
    ];
    for codec in Compression::ALL {
        let batch = build(&records, &fields(codec));
        assert_eq!(read(&batch).unwrap(), records, "{}", codec.name());
        assert_eq!(accept(&batch, &Limits::default()).unwrap().header.max_timestamp, 5);
    }
}

#[test]
fn an_honest_batch_is_shared_and_not_rewritten() {
    for codec in Compression::ALL {
        let batch = build(&[Plain::of("one"), Plain::of("two")], &fields(codec));
        let good = accept(&batch, &Limits::default()).unwrap();
        assert!(!good.rewritten);
        assert_eq!(good.batch.body.as_ptr(), batch[HEADER_LEN..].as_ptr());
        assert_eq!(good.batch.to_bytes(), batch);
        let placed = good.batch.at(Offset(77), LeaderEpoch(2)).to_bytes();
        let offsets: Vec<_> = RecordsIter::new(&placed, Limit::default(), &mut Codecs::new())
            .unwrap()
            .map(|r| r.unwrap().offset.0)
            .collect();
        assert_eq!(offsets, [77, 78]);
        assert!(Batches::new(&placed).all(|b| b.unwrap().checksum_holds()));
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let batch = build(&[Plain::of("one"), Plain::of("two")], &fields(Compression::None));
    let limits = Limits::default();
    let refused = |change: fn(&mut BatchHeader)| accept(&changed(&batch, change), &limits).unwrap_err();
    assert!(matches!(refused(|h| h.base_offset = Offset(1)), BatchError::Invalid(_)));
    assert!(matches!(refused(|h| h.record_count = 3), BatchError::Invalid(_)));
    assert!(matches!(refused(|h| h.record_count = 0), BatchError::Invalid(_)));
    assert!(matches!(refused(|h| h.record_count = -1), BatchError::Invalid(_)));
    assert!(matches!(refused(|h| h.last_offset_delta = 2), BatchError::Invalid(_)));
    assert!(matches!(refused(|h| h.attributes = h.attributes.control()), BatchError::Invalid(_)));
    assert!(matches!(refused(|h| h.attributes = h.attributes.transactional()), BatchError::Invalid(_)));
    assert!(matches!(refused(|h| h.producer_id = ProducerId(1)), BatchError::Invalid(_)));
    assert!(matches!(
        refused(|h| (h.producer_id, h.base_sequence) = (ProducerId(1), 0)),
        BatchError::Invalid(_)
    ));
    let more = |h: &mut BatchHeader| (h.record_count, h.last_offset_delta) = (3, 2);
    assert_eq!(accept(&changed(&batch, more), &limits).unwrap_err().refusal(), Refusal::InvalidRecord);
    let fewer = |h: &mut BatchHeader| (h.record_count, h.last_offset_delta) = (1, 0);
    assert_eq!(accept(&changed(&batch, fewer), &limits).unwrap_err().refusal(), Refusal::InvalidRecord);
    let lz4 = |h: &mut BatchHeader| h.attributes = h.attributes.with_compression(Compression::Lz4);
    assert_eq!(accept(&changed(&batch, lz4), &limits).unwrap_err().refusal(), Refusal::InvalidRecord);
}

#[test]
fn size_checksum_and_number_of_batches() {
    let batch = build(&[Plain::of("one")], &fields(Compression::None));
    let limits = |max_bytes| Limits { max_bytes, ..Limits::default() };
    assert!(accept(&batch, &limits(batch.len())).is_ok());
    assert_eq!(
        accept(&batch, &limits(batch.len() - 1)),
        Err(BatchError::TooLarge { size: batch.len(), max: batch.len() - 1 })
    );
    let mut flipped = batch.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(accept(&flipped.into(), &Limits::default()).unwrap_err().refusal(), Refusal::CorruptMessage);
    let two = Bytes::from([&batch[..], &batch].concat());
    assert_eq!(accept(&two, &Limits::default()).unwrap_err().refusal(), Refusal::InvalidRecord);
    assert_eq!(accept(&Bytes::new(), &Limits::default()).unwrap_err().refusal(), Refusal::InvalidRecord);
    let mut old = batch.to_vec();
    old[16] = 1;
    assert_eq!(accept(&old.into(), &Limits::default()), Err(BatchError::Magic(1)));
}

/// A producer may send a batch again that was damaged on its way, but not one that is wrong in itself: only the
/// checksum tells the two apart, so it is asked before any number is judged.
#[test]
fn damage_is_told_from_lies_by_the_checksum() {
    for codec in Compression::ALL {
        let batch = build(&[Plain::of("x"), Plain::of("y")], &fields(codec));
        for at in 17..batch.len() {
            for bit in 0..8 {
                let mut damaged = batch.to_vec();
                damaged[at] ^= 1 << bit;
                let error = accept(&damaged.into(), &Limits::default()).unwrap_err();
                assert_eq!(error.refusal(), Refusal::CorruptMessage, "bit {bit} of byte {at}: {error}");
            }
        }
        let lies: [fn(&mut BatchHeader); 4] = [
            |h| h.last_offset_delta = -1,
            |h| h.last_offset_delta = i32::MIN,
            |h| h.base_offset = Offset(-1),
            |h| h.base_offset = Offset(i64::MAX),
        ];
        for lie in lies {
            let error = accept(&changed(&batch, lie), &Limits::default()).unwrap_err();
            assert_eq!(error.refusal(), Refusal::InvalidRecord, "{error}");
        }
    }
}

/// As Kafka reads the lengths and formats of batches in a request.
#[test]
fn what_is_no_batch_at_all_has_kafkas_errors() {
    let batch = build(&[Plain::of("x")], &fields(Compression::None));
    let refusal =
        |bytes: &[u8]| accept(&Bytes::copy_from_slice(bytes), &Limits::default()).unwrap_err().refusal();
    for (magic, expected) in [
        (0, Refusal::InvalidRecord),
        (1, Refusal::InvalidRecord),
        (3, Refusal::CorruptMessage),
        (-1i8 as u8, Refusal::CorruptMessage),
    ] {
        let mut other = batch.to_vec();
        other[16] = magic;
        assert_eq!(refusal(&other), expected, "magic {magic}");
    }
    for length in [i32::MIN, -1, 0, 13, 48] {
        let mut other = batch.to_vec();
        other[8..12].copy_from_slice(&length.to_be_bytes());
        for end in [17, 60, 61, other.len()] {
            assert_eq!(refusal(&other[..end]), Refusal::CorruptMessage, "length {length} in {end} bytes");
        }
    }
    for end in [1, 11, 16, 17, 60, 61, batch.len() - 1] {
        assert_eq!(refusal(&batch[..end]), Refusal::InvalidRecord, "{end} bytes of a right batch");
    }
}

#[test]
fn every_keyless_record_is_named_in_a_compacted_topic() {
    let mut records = vec![Plain::of("a"), Plain::of("b"), Plain::of("c")];
    records[1].key = Some(vec![]);
    for codec in Compression::ALL {
        let batch = build(&records, &fields(codec));
        let limits = Limits { keys: Keys::Required, ..Limits::default() };
        let Err(BatchError::Records { refusal, errors, .. }) = accept(&batch, &limits) else { panic!() };
        assert_eq!(refusal, Refusal::InvalidRecord);
        assert_eq!(errors.iter().map(|e| e.index).collect::<Vec<_>>(), [0, 2]);
    }
    let many = vec![Plain::of("x"); MAX_RECORD_ERRORS + 10];
    let limits = Limits { keys: Keys::Required, ..Limits::default() };
    let Err(BatchError::Records { errors, message, .. }) =
        accept(&build(&many, &fields(Compression::None)), &limits)
    else {
        panic!()
    };
    assert_eq!(errors.len(), MAX_RECORD_ERRORS);
    assert!(message.starts_with("1010 records"), "{message}");
}

#[test]
fn timestamps_are_bounded_on_both_sides_and_may_be_absent() {
    let at = |timestamp| Plain { timestamp, ..Plain::of("x") };
    let limits = Limits {
        timestamps: Timestamps::CreateTime { now_ms: 10_000, before_max_ms: 1000, after_max_ms: 500 },
        ..Limits::default()
    };
    let batch = build(&[at(9000), at(8999), at(-1), at(10_500), at(10_501)], &fields(Compression::None));
    let Err(BatchError::Records { refusal, errors, .. }) = accept(&batch, &limits) else { panic!() };
    assert_eq!(refusal, Refusal::InvalidTimestamp);
    assert_eq!(errors.iter().map(|e| e.index).collect::<Vec<_>>(), [1, 4]);
    // Without bounds even the ends of time are taken.
    let odd = build(&[at(i64::MAX), at(0), at(i64::MAX)], &fields(Compression::None));
    assert!(accept(&odd, &Limits::default()).is_ok());
}

#[test]
fn the_leader_corrects_the_maximum_timestamp() {
    let batch = build(&[Plain::of("x")], &fields(Compression::Gzip));
    let lied = changed(&batch, |h| h.max_timestamp = i64::MAX);
    let good = accept(&lied, &Limits::default()).unwrap();
    assert!(!good.rewritten);
    assert_eq!(good.batch.to_bytes(), batch);
}

#[test]
fn append_time_is_the_leaders_to_set() {
    let batch = build(&[Plain::of("x"), Plain::of("y")], &fields(Compression::Zstd));
    let limits = Limits { timestamps: Timestamps::LogAppendTime { now_ms: 4242 }, ..Limits::default() };
    let good = accept(&batch, &limits).unwrap().batch;
    assert_eq!(good.body.as_ptr(), batch[HEADER_LEN..].as_ptr());
    let bytes = good.to_bytes();
    assert!(good.header().checksum_holds(&bytes));
    assert!(read(&bytes).unwrap().iter().all(|r| r.timestamp == 4242));
    let claimed =
        changed(&batch, |h| h.attributes = h.attributes.with_timestamp_type(TimestampType::LogAppendTime));
    let Err(BatchError::Records { refusal, errors, .. }) = accept(&claimed, &limits) else { panic!() };
    assert_eq!(refusal, Refusal::InvalidTimestamp);
    assert_eq!(
        errors.iter().map(|e| e.index).collect::<Vec<_>>(),
        [0, 1],
        "each record is refused, and once"
    );
    let Err(BatchError::Records { refusal, errors, .. }) =
        accept(&claimed, &Limits { keys: Keys::Required, ..limits })
    else {
        panic!()
    };
    assert_eq!(
        (refusal, errors.len()),
        (Refusal::InvalidRecord, 2),
        "the missing key comes first, as in Kafka"
    );
    let timeless = changed(&claimed, |h| h.max_timestamp = -1);
    let Err(BatchError::Records { refusal, errors, .. }) = accept(&timeless, &Limits::default()) else {
        panic!()
    };
    assert_eq!((refusal, errors.len()), (Refusal::InvalidTimestamp, 2));
    // Where the topic keeps the producer's times, the one time is kept, and is the producer's.
    let kept = accept(&claimed, &Limits::default()).unwrap();
    assert_eq!(kept.header.timestamp_type(), TimestampType::CreateTime);
    assert_eq!(kept.header.max_timestamp, 1000);
}

#[test]
fn a_topic_with_a_codec_of_its_own_recompresses() {
    let records: Vec<_> = (0..100).map(|i| Plain::of(&format!("value {i}"))).collect();
    for (from, to) in Compression::ALL.into_iter().flat_map(|a| Compression::ALL.map(|b| (a, b))) {
        let sequenced = BatchFields {
            producer_id: ProducerId(9),
            producer_epoch: ProducerEpoch(1),
            base_sequence: 5,
            attributes: Attributes::default().transactional(),
            ..fields(from)
        };
        let batch = build(&records, &sequenced);
        let limits = Limits { compression: Some(to.into()), ..Limits::default() };
        let good = accept(&batch, &limits).unwrap();
        assert_eq!(good.rewritten, from != to);
        let bytes = good.batch.to_bytes();
        assert!(good.header.checksum_holds(&bytes));
        assert_eq!(read(&bytes).unwrap(), records);
        let expected = BatchHeader::parse(&batch).unwrap();
        let h = good.header;
        assert_eq!(h.compression(), to);
        assert_eq!(
            (h.producer_id, h.producer_epoch, h.base_sequence, h.record_count, h.is_transactional()),
            (expected.producer_id, expected.producer_epoch, expected.base_sequence, 100, true)
        );
    }
    let batch = build(&records, &fields(Compression::Zstd));
    let limits =
        Limits { compression: Some(Effort::default()), max_bytes: batch.len() + 10, ..Limits::default() };
    assert_eq!(accept(&batch, &limits).unwrap_err().refusal(), Refusal::MessageTooLarge);
}

#[test]
fn wrong_offsets_within_a_batch_are_put_right() {
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new();
        for (delta, value) in [(0, "a"), (5, "b"), (6, "c")] {
            let record =
                RecordParts { timestamp: 9, value: Some(value.as_bytes()), ..RecordParts::default() };
            builder.append_at(delta, &record).unwrap();
        }
        let batch = builder.finish(&fields(codec), &mut Codecs::new()).to_bytes();
        let batch = changed(&batch, |h| h.last_offset_delta = 2);
        let good = accept(&batch, &Limits::default()).unwrap();
        assert!(good.rewritten);
        assert_eq!((good.header.last_offset_delta, good.header.compression()), (2, codec));
        let records = RecordsIter::new(&good.batch.to_bytes(), Limit::default(), &mut Codecs::new()).unwrap();
        let offsets: Vec<_> = records.map(|r| r.unwrap().offset.0).collect();
        assert_eq!(offsets, [0, 1, 2]);
    }
}

#[test]
fn records_larger_than_a_chunk_are_skimmed_across_chunks() {
    let noise = |len: usize| (0..len).map(|i| (i * i * 31 % 251) as u8).collect::<Vec<_>>();
    let records: Vec<_> = [200_000, 1, 65_536, 70_000, 0, 3]
        .map(|len| Plain {
            timestamp: len as i64,
            key: Some(noise(len / 2)),
            value: Some(noise(len)),
            headers: vec![(noise(len / 3), Some(noise(len))), (noise(7), None)],
        })
        .into();
    let limits = Limits { max_bytes: 10 << 20, keys: Keys::Required, ..Limits::default() };
    for codec in Compression::ALL {
        let batch = build(&records, &fields(codec));
        assert_eq!(accept(&batch, &limits).unwrap().header.max_timestamp, 200_000, "{}", codec.name());
        assert_eq!(read(&batch).unwrap(), records);
    }
}

#[test]
fn a_compacted_batch_keeps_its_offsets_and_may_be_empty() {
    let mut builder = BatchBuilder::new();
    let record = RecordParts { timestamp: 9, value: Some(b"kept"), ..RecordParts::default() };
    builder.append_at(3, &record).unwrap();
    builder.append_at(8, &record).unwrap();
    let kept = BatchFields { base_offset: Offset(100), ..fields(Compression::Lz4) };
    let batch = builder.finish(&kept, &mut Codecs::new()).to_bytes();
    let records = RecordsIter::new(&batch, Limit::default(), &mut Codecs::new()).unwrap();
    assert_eq!(records.map(|r| r.unwrap().offset.0).collect::<Vec<_>>(), [103, 108]);
    let header = BatchHeader { record_count: 0, last_offset_delta: 8, ..BatchHeader::parse(&batch).unwrap() };
    let empty = StampedBatch::sealed(header, Bytes::new());
    assert_eq!(empty.header().next_offset(), Offset(109));
    assert_eq!(read(&empty.to_bytes()).unwrap(), []);
}

#[test]
fn markers_of_transactions() {
    let marker = TransactionMarker {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(2),
        end: ControlType::Commit,
        coordinator_epoch: 31,
    };
    let batch = marker.batch(1234);
    let header = batch.header();
    assert!(header.is_control() && header.is_transactional());
    assert_eq!(
        (header.producer_id, header.producer_epoch, header.base_sequence),
        (ProducerId(7), ProducerEpoch(2), -1)
    );
    let records = RecordsIter::new(&batch.to_bytes(), Limit::default(), &mut Codecs::new()).unwrap();
    let record = records.map(Result::unwrap).next().unwrap();
    assert_eq!(record.key.as_deref(), Some(&[0, 0, 0, 1][..]));
    assert_eq!(ControlType::from_key(record.key.as_deref()), Ok(Some(ControlType::Commit)));
    assert_eq!(TransactionMarker::coordinator_epoch_of(record.value.as_deref()), Ok(31));
    assert_eq!(ControlType::from_key(Some(&[0, 0, 0, 99])), Ok(None));
    assert!(ControlType::from_key(Some(&[0, 0, 0])).is_err() && ControlType::from_key(None).is_err());
}

#[test]
fn a_packed_batch_can_be_sequenced_late_and_again() {
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new();
        Plain::of("x").append_to(&mut builder);
        let mut packed = builder.pack(&fields(codec), &mut Codecs::new());
        packed.sequence(ProducerId(5), ProducerEpoch(0), 17);
        let first = packed.seal();
        assert_eq!(packed.size(), first.len());
        assert_eq!(packed.seal().as_ptr(), first.as_ptr());
        packed.sequence(ProducerId(5), ProducerEpoch(1), 0);
        let second = packed.seal();
        for (bytes, epoch, sequence) in [(first, 0, 17), (second, 1, 0)] {
            let header = accept(&bytes, &Limits::default()).unwrap().header;
            assert_eq!((header.producer_epoch, header.base_sequence), (ProducerEpoch(epoch), sequence));
            assert_eq!(read(&bytes).unwrap(), [Plain::of("x")]);
        }
    }
}

#[test]
fn a_record_count_reserves_nothing() {
    let batch = build(&[Plain::of("x")], &fields(Compression::None));
    let lied = changed(&batch, |h| (h.record_count, h.last_offset_delta) = (i32::MAX, i32::MAX - 1));
    assert!(read(&lied).is_err());
    assert!(accept(&lied, &Limits::default()).is_err());
}

fn any_record() -> impl Strategy<Value = Plain> {
    let blob = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let headers = proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..5), blob()), 0..4);
    (any::<i64>(), blob(), blob(), headers).prop_map(|(timestamp, key, value, headers)| Plain {
        timestamp,
        key,
        value,
        headers,
    })
}

proptest! {
    #[test]
    fn what_is_built_is_read_and_accepted(
        records in proptest::collection::vec(any_record(), 1..30),
        codec in 0..5i16,
    ) {
        let codec = Compression::from_id(codec).unwrap();
        let batch = build(&records, &fields(codec));
        prop_assert_eq!(read(&batch).unwrap(), records.clone());
        let header = BatchHeader::parse(&batch).unwrap();
        prop_assert!(header.checksum_holds(&batch));
        let good = accept(&batch, &Limits::default()).unwrap();
        prop_assert_eq!(good.header.max_timestamp, records.iter().map(|r| r.timestamp).max().unwrap().max(-1));
        if codec == Compression::None {
            let naive = naive::records(&batch[HEADER_LEN..], header.record_count, header.base_timestamp).unwrap();
            prop_assert_eq!(naive.into_iter().map(|(_, r)| r).collect::<Vec<_>>(), records);
        }
    }

    #[test]
    fn a_flipped_bit_shows(
        records in proptest::collection::vec(any_record(), 1..5),
        at in any::<proptest::sample::Index>(),
        bit in 0..8u8,
    ) {
        let batch = build(&records, &fields(Compression::None));
        let mut flipped = batch.to_vec();
        // Base offset and leader epoch are not covered by the checksum, but a base offset must be 0.
        let at = at.index(flipped.len());
        flipped[at] ^= 1 << bit;
        if !(12..16).contains(&at) {
            prop_assert!(accept(&flipped.into(), &Limits::default()).is_err());
        }
    }

    #[test]
    fn readers_and_the_naive_model_agree_on_damaged_records(
        records in proptest::collection::vec(any_record(), 1..5),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let batch = build(&records, &fields(Compression::None));
        let header = BatchHeader::parse(&batch).unwrap();
        let mut plain = batch[HEADER_LEN..].to_vec();
        for (at, byte) in damage {
            let at = at.index(plain.len());
            plain[at] = byte;
        }
        if let Some(cut) = cut {
            plain.truncate(cut.index(plain.len()));
        }
        let naive = naive::records(&plain, header.record_count, header.base_timestamp);
        let views: Result<Vec<_>, _> = RecordViews::new(&plain, header.record_count).collect();
        prop_assert_eq!(views.is_ok(), naive.is_some());
        for codec in Compression::ALL {
            let mut packed = Vec::new();
            Codecs::new().compress(codec.into(), &plain, &mut packed);
            let header = BatchHeader { attributes: Attributes::default().with_compression(codec), ..header };
            let damaged = StampedBatch::sealed(header, packed.into()).to_bytes();
            let accepted = accept(&damaged, &Limits::default());
            prop_assert_eq!(accepted.is_ok(), naive.is_some(), "{}", codec.name());
            if let (Ok(accepted), Some(naive)) = (accepted, &naive) {
                let expected: Vec<_> = naive.iter().map(|(_, r)| r.clone()).collect();
                prop_assert_eq!(read(&accepted.batch.to_bytes()).unwrap(), expected);
                let numbered = naive.iter().zip(0..).all(|((delta, _), i)| *delta == i);
                prop_assert_eq!(accepted.rewritten, !numbered);
            }
        }
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), codec in 0..8u8) {
        let mut bytes = bytes;
        if bytes.len() > 22 {
            bytes[16] = 2;
            bytes[22] = codec;
            let len = (bytes.len() - 12) as i32;
            bytes[8..12].copy_from_slice(&len.to_be_bytes());
            bytes = sealed(bytes).to_vec();
        }
        let bytes = Bytes::from(bytes);
        let _ = accept(&bytes, &Limits::default());
        let _ = read(&bytes);
        let _ = Batches::new(&bytes).count();
        let _ = StampedBatch::verbatim(bytes);
    }
}
