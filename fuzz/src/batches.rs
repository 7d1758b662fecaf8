//! Record batches: a leader's validation, a consumer's reading, the codecs.

use bytes::Bytes;
use ottla_protocol::batch::{
    BatchBuilder, BatchError, BatchFields, BatchHeader, Batches, HEADER_LEN, Keys, Limits, RecordParts,
    RecordsIter, StampedBatch, TimestampType, Timestamps, Validated, split, validate,
};
use ottla_protocol::compression::{Codecs, Compression, Effort, Limit};
use ottla_protocol::{Offset, ProducerEpoch, ProducerId, Refusal};

use crate::mutate::Dice;
use crate::{Heap, Target};

/// A small input may become 1 MiB and a bit before its density is looked at; vectors grow by doubling, and it is read
/// several times.
const HEAP: Heap = Heap { per_byte: 4 << 10, besides: 48 << 20 };

/// A byte of [`SEALED`] and other flags, a byte for the topic's codec, then what a producer sent.
pub const VALIDATE: Target =
    Target { name: "batch-validate", run: check, seeds, mutations: 3000, heap: HEAP };

/// The same bytes as a consumer or a follower sees them: any number of batches.
pub const ITERATE: Target =
    Target { name: "batch-iterate", run: iterate, seeds: several, mutations: 3000, heap: HEAP };

/// A byte for the codec, then the compressed bytes.
pub const DECOMPRESS: Target =
    Target { name: "decompress", run: decompress, seeds: compressed, mutations: 3000, heap: HEAP };

/// Length and checksum of each batch are made right first, so that what lies behind them is reached.
const SEALED: u8 = 1;
const KEYS_REQUIRED: u8 = 2;
const APPEND_TIME: u8 = 4;
const SMALL: u8 = 8;
const NOW_MS: i64 = 1_700_000_000_000;

fn check(data: &[u8]) {
    let [flags, codec, rest @ ..] = data else { return };
    let mut bytes = rest.to_vec();
    if flags & SEALED != 0 {
        seal(&mut bytes);
    }
    let limits = limits(*flags, *codec);
    let bytes = Bytes::from(bytes);
    let mut codecs = Codecs::new();
    match validate(&bytes, &limits, &mut codecs) {
        Ok(good) => holds(&bytes, &good, &limits, &mut codecs),
        Err(error) => refused(&error),
    }
}

fn limits(flags: u8, codec: u8) -> Limits {
    let timestamps = if flags & APPEND_TIME != 0 {
        Timestamps::LogAppendTime { now_ms: NOW_MS }
    } else {
        Timestamps::CreateTime { now_ms: NOW_MS, before_max_ms: i64::MAX, after_max_ms: 3_600_000 }
    };
    Limits {
        max_bytes: if flags & SMALL != 0 { 200 } else { 1 << 20 },
        keys: if flags & KEYS_REQUIRED != 0 { Keys::Required } else { Keys::Optional },
        timestamps,
        compression: Compression::from_id(i16::from(codec)).map(Effort::from),
    }
}

/// What a leader appends is right in itself, and every consumer can read it.
fn holds(sent: &Bytes, good: &Validated, limits: &Limits, codecs: &mut Codecs) {
    let header = good.header;
    let bytes = good.batch.to_bytes();
    assert!(header.checksum_holds(&bytes), "a wrong checksum would be appended");
    assert_eq!(header.size(), bytes.len());
    assert!(bytes.len() <= limits.max_bytes, "{} bytes, {} allowed", bytes.len(), limits.max_bytes);
    assert_eq!(header.base_offset, Offset::ZERO);
    assert_eq!(header.last_offset_delta, header.record_count - 1);
    assert!(!header.is_control());
    let limit = Limit::for_batches_of(limits.max_bytes);
    let mut records = 0;
    for record in RecordsIter::new(&bytes, limit, codecs).expect("it was decompressed before") {
        assert_eq!(record.expect("the record was skimmed before").offset, Offset(records));
        records += 1;
    }
    assert_eq!(records, i64::from(header.record_count));
    assert_eq!(
        RecordsIter::new(sent, limit, codecs).map(Iterator::count).ok(),
        usize::try_from(records).ok()
    );
    if header.timestamp_type() == TimestampType::CreateTime {
        let again = validate(&bytes, limits, codecs).expect("what was accepted is acceptable");
        assert!(!again.rewritten);
        assert_eq!(again.batch.to_bytes(), bytes, "it changes again");
    }
    let stamped = good.batch.clone().at(Offset(i64::MAX / 2), ottla_protocol::LeaderEpoch(3));
    assert!(stamped.header().checksum_holds(&stamped.to_bytes()));
}

fn refused(error: &BatchError) {
    let refusal = error.refusal();
    if let BatchError::Records { errors, .. } = error {
        assert!(matches!(refusal, Refusal::InvalidRecord | Refusal::InvalidTimestamp));
        assert!(!errors.is_empty() && errors.is_sorted_by(|a, b| a.index < b.index), "{errors:?}");
    }
    assert!(error.to_string().len() < 1000, "an endless message");
}

fn iterate(data: &[u8]) {
    let [flags, rest @ ..] = data else { return };
    let mut bytes = rest.to_vec();
    if flags & SEALED != 0 {
        seal(&mut bytes);
    }
    let bytes = Bytes::from(bytes);
    let (whole, error) = split(&bytes);
    let walked = Batches::new(&bytes).filter(Result::is_ok).count();
    assert_eq!(walked, whole.len());
    let length: usize = whole.iter().map(|(header, _)| header.size()).sum();
    assert_eq!(error.is_none(), length == bytes.len());
    let mut codecs = Codecs::new();
    for (header, batch) in whole {
        assert_eq!(BatchHeader::parse(&header.to_bytes()), Ok(header));
        let stamped = StampedBatch::verbatim(batch.clone()).expect("it was split there");
        assert_eq!(stamped.to_bytes(), batch);
        let Ok(records) =
            RecordsIter::new(&batch, Limit { max_bytes: 2 << 20, ..Limit::default() }, &mut codecs)
        else {
            continue;
        };
        let (least, most) = records.size_hint();
        assert!(least == 0 && most.is_some());
        let read: Vec<_> = records.map_while(Result::ok).collect();
        assert!(read.len() <= usize::try_from(header.record_count).unwrap_or(0));
        rebuilt(&read);
    }
}

/// Records that were read can be written, and are the same when they are read again.
fn rebuilt(records: &[ottla_protocol::batch::Record]) {
    let mut builder = BatchBuilder::new();
    for record in records {
        let parts = RecordParts::from(record);
        let (before, cost) = (builder.plain_size(), builder.cost_of(&parts));
        builder.append(&parts).expect("it came out of a smaller batch");
        assert_eq!(builder.plain_size() - before, cost);
    }
    let batch = builder.finish(&BatchFields::default(), &mut Codecs::new()).to_bytes();
    let again = RecordsIter::new(&batch, Limit::default(), &mut Codecs::new()).expect("our own batch");
    for (record, again) in records.iter().zip(again) {
        let again = again.expect("our own record");
        assert_eq!((&record.key, &record.value, &record.headers), (&again.key, &again.value, &again.headers));
        assert_eq!(record.timestamp, again.timestamp);
    }
}

fn decompress(data: &[u8]) {
    let [codec, rest @ ..] = data else { return };
    let codec = Compression::ALL[usize::from(*codec) % Compression::ALL.len()];
    let limit = Limit { max_bytes: 1 << 20, ..Limit::default() };
    let mut codecs = Codecs::new();
    let Ok(plain) = codecs.decompress(codec, rest, limit) else { return };
    assert!(plain.len() <= limit.max_bytes, "{} bytes", plain.len());
    let mut streamed = Vec::new();
    let mut stream = codecs.stream(codec, rest, limit).expect("it went before");
    while stream.advance().expect("it went before") {
        streamed.extend_from_slice(stream.chunk());
    }
    assert_eq!(streamed, plain, "a context that was used before decodes something else");
    let mut packed = Vec::new();
    codecs.compress(codec.into(), &plain, &mut packed);
    assert_eq!(codecs.decompress(codec, &packed, Limit::default()).as_deref(), Ok(&plain[..]));
}

/// Makes length and checksum of each batch right, as far as there are batches; the last takes all that is left if it
/// promises more.
pub fn seal(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(batch) = bytes.get_mut(at..).filter(|batch| batch.len() >= HEADER_LEN) {
        let promised = i32::from_be_bytes([batch[8], batch[9], batch[10], batch[11]]);
        let size = usize::try_from(promised).unwrap_or(0).saturating_add(12).clamp(HEADER_LEN, batch.len());
        batch[8..12].copy_from_slice(&(size as i32 - 12).to_be_bytes());
        let crc = ottla_protocol::batch::crc32c(&batch[21..size]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        at += size;
    }
}

/// A batch like those that producers send, with everything that records have.
pub fn batch(codec: Compression, base: i64, producer: Option<(i64, i16, i32)>) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    let headers = [
        ottla_protocol::batch::Header {
            key: Bytes::from_static(b"trace"),
            value: Some(Bytes::from_static(b"1")),
        },
        ottla_protocol::batch::Header { key: Bytes::from_static(b"trace"), value: None },
    ];
    for i in 0..4 {
        let value = [b"value-", &[b'a' + i as u8; 20][..]].concat();
        let record = RecordParts {
            timestamp: NOW_MS + i * 100 - 150,
            key: (i != 1).then_some(&b"key"[..]),
            value: (i != 2).then_some(&value[..]),
            headers: if i == 3 { (&headers[..]).into() } else { Default::default() },
        };
        builder.append(&record).expect("a small record");
    }
    let (id, epoch, sequence) = producer.unwrap_or((-1, -1, -1));
    let fields = BatchFields {
        base_offset: Offset(base),
        effort: codec.into(),
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        ..BatchFields::default()
    };
    builder.finish(&fields, &mut Codecs::new()).to_bytes().to_vec()
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for flags in 0..16 {
        for (at, codec) in Compression::ALL.into_iter().enumerate() {
            let producer = (at % 2 == 0).then_some((9, 1, i32::MAX - 1));
            let own = [5, 5, 0, 3, 4][at];
            // Flags with an even number are tried unsealed, the others as they would come out of a broken producer.
            seeds.push([&[flags, own][..], &batch(codec, 0, producer)].concat());
        }
    }
    seeds
}

fn several() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for flags in [0, SEALED] {
        for codec in Compression::ALL {
            seeds.push([&[flags][..], &batch(codec, 40, None), &batch(codec, 44, Some((1, 0, 0)))].concat());
        }
    }
    seeds
}

fn compressed() -> Vec<Vec<u8>> {
    let mut noise = Dice(1);
    let mixed: Vec<u8> = (0..600).map(|i| if i % 3 == 0 { noise.throw() as u8 } else { b'a' }).collect();
    let long = vec![b'x'; 150_000];
    let mut seeds = Vec::new();
    for (id, codec) in Compression::ALL.into_iter().enumerate().skip(1) {
        for plain in [&b""[..], b"abc", &mixed, &long] {
            let mut packed = vec![id as u8];
            Codecs::new().compress(codec.into(), plain, &mut packed);
            seeds.push(packed);
        }
    }
    // Snappy without a frame, as librdkafka writes it: a length, then literals.
    seeds.push([&[2, 5, 4 << 2][..], b"hello"].concat());
    seeds
}
