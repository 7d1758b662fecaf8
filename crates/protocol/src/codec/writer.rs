//! Writes Kafka's primitive types into one message.
//!
//! Fields of type `records` may be left out as gaps, which the socket fills straight from a file. The first error is
//! kept; what is written after it has no meaning.

use bytes::{BufMut, Bytes, BytesMut};

use super::Records;
use super::error::EncodeError;
use crate::uuid::Uuid;

/// Collects the bytes of a message.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: BytesMut,
    gaps: Vec<Gap>,
    flexible: bool,
    error: Option<EncodeError>,
}

/// A written message: its bytes, and where others have to be put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// All bytes but those of the gaps.
    pub bytes: Bytes,
    /// The gaps, by rising place.
    pub gaps: Vec<Gap>,
}

/// Bytes that are to be put in when the message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How many of `Encoded::bytes` come before the gap.
    pub at: usize,
    /// How many bytes belong there.
    pub length: u32,
    /// The sender's own name for them.
    pub slot: u32,
}

/// A section of tagged fields that is being written.
#[derive(Debug)]
pub struct TagSection {
    start: usize,
    count: u8,
    /// Where the value of the open tag begins.
    value: usize,
}

impl Encoded {
    /// The size of the message on the wire, gaps included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.gaps.iter().map(|gap| gap.length as usize).sum::<usize>()
    }

    /// Whether the message has no byte at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Writer {
    /// A writer without a byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that goes on after `bytes`, for example in a buffer that is used again.
    #[must_use]
    pub fn onto(bytes: BytesMut) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Whether strings, arrays and tags are written in the form of flexible versions (KIP-482) from here on.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// How many bytes have been written, gaps included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.gaps.iter().map(|gap| gap.length as usize).sum::<usize>()
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first error, if there was any.
    ///
    /// # Errors
    /// What could not be written.
    pub fn check(&self) -> Result<(), EncodeError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// The message with its gaps.
    #[must_use]
    pub fn finish(self) -> Encoded {
        Encoded { bytes: self.bytes.freeze(), gaps: self.gaps }
    }

    /// The message as plain bytes; for messages that cannot have gaps.
    ///
    /// # Panics
    /// If there are gaps.
    #[must_use]
    pub fn into_bytes(self) -> BytesMut {
        assert!(self.gaps.is_empty(), "a message with gaps is not plain bytes");
        self.bytes
    }

    /// Notes an error, unless there is one already.
    pub fn fail(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }

    /// A field that this version lacks has a value that matters.
    pub fn absent(&mut self, field: &'static str, version: i16) {
        self.fail(EncodeError::Absent { field, version });
    }

    /// A field is null that this version cannot leave null.
    pub fn null(&mut self, field: &'static str, version: i16) {
        self.fail(EncodeError::Null { field, version });
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.put_slice(bytes);
    }

    /// A boolean in one byte.
    pub fn bool(&mut self, value: bool) {
        self.bytes.put_u8(u8::from(value));
    }

    /// One signed byte.
    pub fn i8(&mut self, value: i8) {
        self.bytes.put_i8(value);
    }

    /// Two bytes, signed.
    pub fn i16(&mut self, value: i16) {
        self.bytes.put_i16(value);
    }

    /// Two bytes, unsigned.
    pub fn u16(&mut self, value: u16) {
        self.bytes.put_u16(value);
    }

    /// Four bytes, signed.
    pub fn i32(&mut self, value: i32) {
        self.bytes.put_i32(value);
    }

    /// Four bytes, unsigned.
    pub fn u32(&mut self, value: u32) {
        self.bytes.put_u32(value);
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self, value: i64) {
        self.bytes.put_i64(value);
    }

    /// Eight bytes of IEEE 754.
    pub fn f64(&mut self, value: f64) {
        self.bytes.put_f64(value);
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.bytes.put_slice(&value.0);
    }

    /// An unsigned number in groups of seven bits.
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8(value as u8);
    }

    /// The length of bytes or the count of an array.
    fn length(&mut self, length: usize) {
        let Ok(length) = i32::try_from(length) else {
            return self.fail(EncodeError::TooLong);
        };
        if self.flexible {
            self.uvarint(length.unsigned_abs() + 1);
        } else {
            self.i32(length);
        }
    }

    /// Null in place of bytes or an array.
    fn length_null(&mut self) {
        if self.flexible {
            self.uvarint(0);
        } else {
            self.i32(-1);
        }
    }

    /// A string.
    pub fn string(&mut self, value: &str) {
        let Ok(length) = i16::try_from(value.len()) else {
            return self.fail(EncodeError::TooLong);
        };
        if self.flexible {
            self.uvarint(u32::from(length.unsigned_abs()) + 1);
        } else {
            self.i16(length);
        }
        self.raw(value.as_bytes());
    }

    /// A string or null.
    pub fn string_nullable(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None if self.flexible => self.uvarint(0),
            None => self.i16(-1),
        }
    }

    /// Bytes.
    pub fn bytes(&mut self, value: &Bytes) {
        self.length(value.len());
        self.raw(value);
    }

    /// Bytes or null.
    pub fn bytes_nullable(&mut self, value: Option<&Bytes>) {
        match value {
            Some(value) => self.bytes(value),
            None => self.length_null(),
        }
    }

    /// Record batches, or the gap where they go.
    pub fn records(&mut self, value: &Records) {
        self.length(value.len());
        match value {
            Records::Bytes(bytes) => self.raw(bytes),
            Records::Gap { length: 0, .. } => {}
            Records::Gap { length, slot } => {
                self.gaps.push(Gap { at: self.bytes.len(), length: *length, slot: *slot });
            }
        }
    }

    /// Record batches or null.
    pub fn records_nullable(&mut self, value: Option<&Records>) {
        match value {
            Some(value) => self.records(value),
            None => self.length_null(),
        }
    }

    /// The mark that a nullable structure follows, or that it is null.
    pub fn presence(&mut self, present: bool) {
        self.i8(if present { 1 } else { -1 });
    }

    /// The same within a tagged field, where Kafka marks it otherwise.
    pub fn presence_tagged(&mut self, present: bool) {
        self.uvarint(u32::from(present));
    }

    /// An array of structures.
    pub fn structs<T>(&mut self, values: &[T], version: i16, write: fn(&T, &mut Self, i16)) {
        self.length(values.len());
        for value in values {
            write(value, self, version);
        }
    }

    /// An array of structures or null.
    pub fn structs_nullable<T>(&mut self, values: Option<&[T]>, version: i16, write: fn(&T, &mut Self, i16)) {
        match values {
            Some(values) => self.structs(values, version, write),
            None => self.length_null(),
        }
    }

    /// An empty section of tagged fields, if the version is flexible.
    pub fn no_tags(&mut self) {
        if self.flexible {
            self.uvarint(0);
        }
    }

    /// Begins a section of tagged fields; only in flexible versions.
    pub fn begin_tags(&mut self) -> TagSection {
        let start = self.bytes.len();
        self.bytes.put_u8(0);
        TagSection { start, count: 0, value: 0 }
    }

    /// Begins a tagged field; its value follows. Numbers must ascend and stay below 128, as they do in the schema.
    pub fn begin_tag(&mut self, section: &mut TagSection, tag: u8) {
        debug_assert!(tag < 0x80, "tags of one byte only");
        self.bytes.put_u8(tag);
        // Most values are shorter than 128 bytes: one byte for the size is kept free, and the rest moved if need be.
        self.bytes.put_u8(0);
        section.count += 1;
        section.value = self.bytes.len();
    }

    /// Ends a tagged field.
    pub fn end_tag(&mut self, section: &TagSection) {
        let start = section.value;
        let size = self.bytes.len() - start;
        if size < 0x80 {
            self.bytes[start - 1] = size as u8;
            return;
        }
        let Ok(size) = u32::try_from(size) else {
            return self.fail(EncodeError::TooLong);
        };
        let value = self.bytes.split_off(start);
        self.bytes.truncate(start - 1);
        self.uvarint(size);
        self.bytes.unsplit(value);
    }

    /// Ends a section of tagged fields.
    pub fn end_tags(&mut self, section: &TagSection) {
        debug_assert!(section.count < 0x80, "fewer than 128 tags");
        self.bytes[section.start] = section.count;
    }
}

macro_rules! arrays {
    ($($name:ident, $nullable:ident: $type:ty = |$writer:ident, $value:ident| $write:expr;)*) => {
        impl Writer {
            $(
                /// An array of this type.
                pub fn $name(&mut self, values: &[$type]) {
                    self.length(values.len());
                    let $writer = self;
                    for $value in values {
                        $write;
                    }
                }

                /// An array of this type, or null.
                pub fn $nullable(&mut self, values: Option<&[$type]>) {
                    match values {
                        Some(values) => self.$name(values),
                        None => self.length_null(),
                    }
                }
            )*
        }
    };
}

arrays! {
    strings, strings_nullable: String = |writer, value| writer.string(value);
    i8s, i8s_nullable: i8 = |writer, value| writer.i8(*value);
    i16s, i16s_nullable: i16 = |writer, value| writer.i16(*value);
    i32s, i32s_nullable: i32 = |writer, value| writer.i32(*value);
    i64s, i64s_nullable: i64 = |writer, value| writer.i64(*value);
    uuids, uuids_nullable: Uuid = |writer, value| writer.uuid(*value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_tagged_value_gets_a_long_size() {
        let mut writer = Writer::new();
        writer.set_flexible(true);
        let mut tags = writer.begin_tags();
        for (tag, length) in [(0, 100), (1, 126), (2, 127), (3, 20_000)] {
            writer.begin_tag(&mut tags, tag);
            writer.bytes(&Bytes::from(vec![7; length]));
            writer.end_tag(&tags);
        }
        writer.end_tags(&tags);
        let bytes = writer.into_bytes().freeze();
        let mut reader = super::super::Reader::new(bytes);
        reader.set_flexible(true);
        let mut tags = reader.tags();
        let mut lengths = Vec::new();
        while reader.next_tag(&mut tags).is_some() {
            lengths.push(reader.bytes().len());
        }
        assert_eq!(reader.check(), Ok(()));
        assert_eq!((lengths, reader.remaining()), (vec![100, 126, 127, 20_000], 0));
    }

    #[test]
    fn gaps_are_left_out_and_counted() {
        let mut writer = Writer::new();
        writer.i16(1);
        writer.records(&Records::Gap { length: 1000, slot: 7 });
        writer.records_nullable(None);
        writer.records(&Records::Gap { length: 0, slot: 8 });
        writer.i16(2);
        let encoded = writer.finish();
        assert_eq!(encoded.gaps, [Gap { at: 6, length: 1000, slot: 7 }]);
        assert_eq!(&encoded.bytes[..], [0, 1, 0, 0, 3, 0xe8, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 2]);
        assert_eq!(encoded.len(), 1016);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let mut writer = Writer::new();
        writer.string(&"a".repeat(0x7fff));
        assert_eq!(writer.check(), Ok(()));
        writer.string(&"a".repeat(0x8000));
        assert_eq!(writer.check(), Err(EncodeError::TooLong));
    }
}
