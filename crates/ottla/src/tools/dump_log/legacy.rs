//! Messages of the formats 0 and 1, which Kafka wrote up to 0.11: alone, or compressed together in the value of another.

use ottla_protocol::compression::{Codecs, Compression, Limit};

use super::batches::{RawBatch, crc32};
use crate::tools::failure::Failure;

/// Bytes of offset and size before a message.
const OVERHEAD: usize = 12;
/// Bytes of a batch's records at most.
const DECOMPRESSED_MAX: usize = 1 << 31;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyRecord {
    pub offset: i64,
    /// −1 in format 0.
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub crc: u32,
    pub is_valid: bool,
}

/// What stands at the top of a log: one message, or those within it.
pub fn records(batch: &RawBatch, codecs: &mut Codecs) -> Result<Vec<LegacyRecord>, Failure> {
    let wrapper = message(&batch.bytes).ok_or_else(cut)?;
    let codec = Compression::from_id(batch.attributes() & 7).unwrap_or(Compression::None);
    if codec == Compression::None {
        return Ok(vec![wrapper]);
    }
    let value = wrapper.value.as_deref().unwrap_or_default();
    let plain = codecs
        .decompress(codec, value, Limit::bytes(DECOMPRESSED_MAX))
        .map_err(|error| Failure::Error(error.to_string()))?;
    let mut records = Vec::new();
    let mut rest = &plain[..];
    while !rest.is_empty() {
        let size = rest.get(8..OVERHEAD).and_then(|size| size.try_into().ok()).map(i32::from_be_bytes);
        let size = size.and_then(|size| usize::try_from(size).ok()).ok_or_else(cut)?;
        let (one, others) = rest.split_at_checked(OVERHEAD.saturating_add(size)).ok_or_else(cut)?;
        records.push(message(one).ok_or_else(cut)?);
        rest = others;
    }
    if batch.magic() == 1 {
        // Offsets within are counted from the first; in front stands the offset of the last.
        let first = wrapper.offset - records.last().map_or(0, |last| last.offset);
        let stamped = batch.attributes() & 8 != 0;
        for record in &mut records {
            record.offset += first;
            if stamped {
                record.timestamp = wrapper.timestamp;
            }
        }
    }
    Ok(records)
}

fn cut() -> Failure {
    Failure::Error("org.apache.kafka.common.errors.CorruptRecordException: a message is cut".to_owned())
}

/// Offset, size, checksum, format, attributes, in format 1 the timestamp, key and value.
fn message(bytes: &[u8]) -> Option<LegacyRecord> {
    let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(i64::from_be_bytes);
    let crc = u32::from_be_bytes(bytes.get(OVERHEAD..OVERHEAD + 4)?.try_into().ok()?);
    let (timestamp, fields) = match bytes.get(16)? {
        0 => (-1, 18),
        _ => (number(18)?, 26),
    };
    let mut rest = bytes.get(fields..)?;
    let key = sized(&mut rest)?;
    let value = sized(&mut rest)?;
    let is_valid = crc32(&bytes[16..]) == crc;
    Some(LegacyRecord { offset: number(0)?, timestamp, key, value, crc, is_valid })
}

fn sized(rest: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    let (length, after) = rest.split_first_chunk()?;
    let length = i32::from_be_bytes(*length);
    *rest = after;
    if length < 0 {
        return Some(None);
    }
    let (bytes, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(Some(bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use ottla_protocol::compression;

    use super::*;

    fn encoded(offset: i64, magic: u8, attributes: u8, timestamp: i64, value: &[u8]) -> Vec<u8> {
        let mut message = vec![magic, attributes];
        if magic == 1 {
            message.extend(timestamp.to_be_bytes());
        }
        message.extend((-1i32).to_be_bytes());
        message.extend((value.len() as i32).to_be_bytes());
        message.extend(value);
        let mut bytes = offset.to_be_bytes().to_vec();
        bytes.extend((message.len() as i32 + 4).to_be_bytes());
        bytes.extend(crc32(&message).to_be_bytes());
        bytes.extend(message);
        bytes
    }

    fn read(bytes: Vec<u8>) -> Vec<(i64, i64, Vec<u8>)> {
        let batch = RawBatch { bytes: bytes.into() };
        assert!(batch.is_legacy() && batch.is_valid());
        let records = records(&batch, &mut Codecs::new()).unwrap();
        assert!(records.iter().all(|record| record.is_valid && record.key.is_none()));
        records.into_iter().map(|r| (r.offset, r.timestamp, r.value.unwrap())).collect()
    }

    #[test]
    fn messages_stand_alone_or_compressed_in_another() {
        assert_eq!(read(encoded(7, 0, 0, 0, b"a")), [(7, -1, b"a".to_vec())]);
        assert_eq!(read(encoded(8, 1, 0, 1000, b"b")), [(8, 1000, b"b".to_vec())]);
        let gzip = |plain: &[u8]| compression::compress(Compression::Gzip.into(), plain);
        let inner = [encoded(5, 0, 0, 0, b"a"), encoded(6, 0, 0, 0, b"b")].concat();
        assert_eq!(
            read(encoded(6, 0, 1, 0, &gzip(&inner))),
            [(5, -1, b"a".to_vec()), (6, -1, b"b".to_vec())]
        );
        let inner = [encoded(0, 1, 0, 10, b"a"), encoded(1, 1, 0, 20, b"b")].concat();
        assert_eq!(
            read(encoded(9, 1, 1, 20, &gzip(&inner))),
            [(8, 10, b"a".to_vec()), (9, 20, b"b".to_vec())]
        );
        // The broker's time holds for all.
        assert_eq!(read(encoded(9, 1, 9, 99, &gzip(&inner)))[0].1, 99);
    }

    #[test]
    fn damage_is_an_error() {
        let whole = encoded(8, 1, 1, 1000, b"no gzip");
        assert!(records(&RawBatch { bytes: whole.into() }, &mut Codecs::new()).is_err());
        let short = encoded(8, 0, 0, 0, b"")[..20].to_vec();
        assert!(records(&RawBatch { bytes: short.into() }, &mut Codecs::new()).is_err());
    }
}
