//! One record, as it stands in the plain records of a batch.
//!
//! Layout: length varint, attributes i8, timestamp delta varlong, offset delta varint, key, value, headers; key and
//! value are a varint length (negative for null) and the bytes; headers are a varint count, then for each a key (never
//! null) and a value. [`RecordView`] borrows, [`Record`] shares the batch's memory.

use std::borrow::Cow;

use bytes::Bytes;

use crate::Offset;
use crate::batch::varint;

/// A header of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// UTF-8 by convention; the same key may come several times.
    pub key: Bytes,
    /// The value; null is not the same as empty.
    pub value: Option<Bytes>,
}

impl Header {
    /// The key as text, with the replacement character for what is not UTF-8.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }
}

/// A record that owns a share of the bytes it was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// In ms; −1 when it has none.
    pub timestamp: i64,
    /// The key; null is not the same as empty.
    pub key: Option<Bytes>,
    /// The value; null is a tombstone in compacted topics.
    pub value: Option<Bytes>,
    /// In the order they were given, duplicates and all.
    pub headers: Vec<Header>,
}

/// A record that borrows the plain bytes of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Counted from the batch's base timestamp, in ms.
    pub timestamp_delta: i64,
    /// Counted from the batch's base offset.
    pub offset_delta: i32,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

/// The headers of a borrowed record: already encoded, or a list still to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a>(Source<'a>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source<'a> {
    /// Bytes after the count, already checked; read again on each walk.
    Encoded {
        bytes: &'a [u8],
        count: usize,
    },
    List(&'a [Header]),
}

impl Default for Headers<'_> {
    fn default() -> Self {
        Self::NONE
    }
}

impl<'a> From<&'a [Header]> for Headers<'a> {
    fn from(list: &'a [Header]) -> Self {
        Self(Source::List(list))
    }
}

impl<'a> Headers<'a> {
    /// None.
    pub const NONE: Self = Self(Source::List(&[]));

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {
            Source::Encoded { count, .. } => count,
            Source::List(list) => list.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let source = self.0;
        let mut at = 0;
        (0..self.len()).map_while(move |i| match source {
            Source::Encoded { bytes, .. } => {
                let key = read_bytes(bytes, &mut at)??;
                Some((key, read_bytes(bytes, &mut at)?))
            }
            Source::List(list) => list.get(i).map(|h| (&h.key[..], h.value.as_deref())),
        })
    }

    /// Bytes without the count.
    fn encoded_len(&self) -> usize {
        match self.0 {
            Source::Encoded { bytes, .. } => bytes.len(),
            Source::List(list) => {
                list.iter().map(|h| bytes_len(Some(&h.key)) + bytes_len(h.value.as_deref())).sum()
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self.0 {
            Source::Encoded { bytes, .. } => out.extend_from_slice(bytes),
            Source::List(list) => {
                for header in list {
                    put_bytes(out, Some(&header.key));
                    put_bytes(out, header.value.as_deref());
                }
            }
        }
    }
}

/// What the broker wants to know of a record it takes in; no more is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skimmed {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub has_key: bool,
}

/// What is wrong with the bytes of a record.
pub(super) type Fault = &'static str;

pub(super) const CUT: Fault = "it ends within a record";
pub(super) const LENGTH: Fault = "the length of a record is not that of its fields";
pub(super) const VARINT: Fault = "a number goes on for too long";
pub(super) const HEADERS: Fault = "the headers of a record are impossible";

/// The bytes of the record at `at`, without its length, and moves `at` behind it.
#[inline]
pub(super) fn take<'a>(plain: &'a [u8], at: &mut usize) -> Result<&'a [u8], Fault> {
    let len = varint::read_i32(plain, at).ok_or(CUT)?;
    let len = usize::try_from(len).map_err(|_| LENGTH)?;
    let record = plain.get(*at..).and_then(|rest| rest.get(..len)).ok_or(CUT)?;
    *at += len;
    Ok(record)
}

/// Walks over the fields of one record without looking at keys, values and headers.
#[inline]
pub(super) fn skim(record: &[u8]) -> Result<Skimmed, Fault> {
    let mut at = 1;
    let timestamp_delta = varint::read_i64(record, &mut at).ok_or(LENGTH)?;
    let offset_delta = varint::read_i32(record, &mut at).ok_or(LENGTH)?;
    let has_key = skip_bytes(record, &mut at)?;
    skip_bytes(record, &mut at)?;
    let headers = varint::read_i32(record, &mut at).ok_or(LENGTH)?;
    if headers != 0 {
        skip_headers(record, &mut at, headers)?;
    }
    if at != record.len() {
        return Err(LENGTH);
    }
    Ok(Skimmed { timestamp_delta, offset_delta, has_key })
}

/// Reads one record whole.
pub(super) fn view(record: &[u8]) -> Result<RecordView<'_>, Fault> {
    let mut at = 1;
    let timestamp_delta = varint::read_i64(record, &mut at).ok_or(LENGTH)?;
    let offset_delta = varint::read_i32(record, &mut at).ok_or(LENGTH)?;
    let key = read_bytes(record, &mut at).ok_or(LENGTH)?;
    let value = read_bytes(record, &mut at).ok_or(LENGTH)?;
    let count = varint::read_i32(record, &mut at).ok_or(LENGTH)?;
    let from = at;
    skip_headers(record, &mut at, count)?;
    if at != record.len() {
        return Err(LENGTH);
    }
    let count = usize::try_from(count).map_err(|_| HEADERS)?;
    let headers = Headers(Source::Encoded { bytes: &record[from..], count });
    Ok(RecordView { timestamp_delta, offset_delta, key, value, headers })
}

#[inline]
fn skip_bytes(record: &[u8], at: &mut usize) -> Result<bool, Fault> {
    match usize::try_from(varint::read_i32(record, at).ok_or(LENGTH)?) {
        // Whether that many bytes are there shows at the next field, or at the end.
        Ok(len) => *at += len,
        Err(_) => return Ok(false),
    }
    Ok(true)
}

fn skip_headers(record: &[u8], at: &mut usize, count: i32) -> Result<(), Fault> {
    let count = usize::try_from(count).map_err(|_| HEADERS)?;
    if count > record.len().saturating_sub(*at) {
        return Err(HEADERS);
    }
    for _ in 0..count {
        if !skip_bytes(record, at)? {
            return Err(HEADERS);
        }
        skip_bytes(record, at)?;
    }
    Ok(())
}

fn read_bytes<'a>(record: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    let Ok(len) = usize::try_from(varint::read_i32(record, at)?) else {
        return Some(None);
    };
    let bytes = record.get(*at..)?.get(..len)?;
    *at += len;
    Some(Some(bytes))
}

/// What a builder is given: borrowed parts of a record.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordParts<'a> {
    /// In ms; −1 for none.
    pub timestamp: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

impl RecordParts<'_> {
    /// Bytes of key, value and headers with their lengths.
    fn fields_len(&self) -> usize {
        bytes_len(self.key)
            + bytes_len(self.value)
            + varint::len_i32(i32::try_from(self.headers.len()).unwrap_or(i32::MAX))
            + self.headers.encoded_len()
    }

    /// Bytes of the record after its length, to the byte what it will take.
    fn body_len(&self, offset_delta: i32, timestamp_delta: i64) -> usize {
        1 + varint::len_i64(timestamp_delta) + varint::len_i32(offset_delta) + self.fields_len()
    }

    /// Bytes of the whole record, to the byte what it will take; `None` when no record can be that large.
    #[must_use]
    pub fn size(&self, offset_delta: i32, timestamp_delta: i64) -> Option<usize> {
        let body = self.body_len(offset_delta, timestamp_delta);
        Some(varint::len_i32(i32::try_from(body).ok()?) + body)
    }

    /// Bytes the whole record takes at most, wherever in a batch it comes to stand.
    #[must_use]
    pub fn size_at_most(&self) -> usize {
        // Length 5, attributes 1, timestamp delta 10, offset delta 5.
        21 + self.fields_len()
    }

    /// Appends the record to `out`; false, and nothing done, when no record can be that large.
    pub(super) fn write(&self, offset_delta: i32, timestamp_delta: i64, out: &mut Vec<u8>) -> bool {
        let Ok(len) = i32::try_from(self.body_len(offset_delta, timestamp_delta)) else {
            return false;
        };
        varint::put_i32(out, len);
        out.push(0);
        varint::put_i64(out, timestamp_delta);
        varint::put_i32(out, offset_delta);
        put_bytes(out, self.key);
        put_bytes(out, self.value);
        varint::put_i32(out, self.headers.len() as i32);
        self.headers.write(out);
        true
    }
}

impl<'a> From<&'a Record> for RecordParts<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: record.headers.as_slice().into(),
        }
    }
}

fn bytes_len(bytes: Option<&[u8]>) -> usize {
    match bytes {
        // A length beyond 31 bits cannot be written; the sum is then too large for a record as well.
        Some(bytes) => varint::len_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX)) + bytes.len(),
        None => 1,
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::put_i32(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
        None => varint::put_i32(out, -1),
    }
}
