//! Reads Kafka's primitive types out of one frame.
//!
//! Three bounds hold for any bytes: a count is accepted only if its elements could fit into what is left; everything
//! put on the heap is charged to a budget beforehand; each loop consumes bytes or ends. After the first error every
//! read gives a zero, an empty value or null, and no more memory is taken.

use bytes::Bytes;

use super::Records;
use super::error::{DecodeError, Malformed};
use crate::uuid::Uuid;

/// Memory that every frame may cost, however small it is.
const ALLOWANCE: usize = 64 * 1024;
/// Memory that each byte of a frame may cost, whatever its length.
const PER_BYTE: usize = 4;
/// Memory that each byte may cost besides, up to [`SHORT_NAMES_MAX`]: an honest topic of two letters is 4 bytes in an old
/// request and 42 in memory (docs/decisions/0014).
const PER_BYTE_AT_FIRST: usize = 12;
/// See [`PER_BYTE_AT_FIRST`].
const SHORT_NAMES_MAX: usize = 1024 * 1024;
/// Kafka's limit for every string.
const STRING_MAX: usize = 0x7fff;

/// A cursor over the bytes of one message.
#[derive(Debug)]
pub struct Reader {
    frame: Bytes,
    at: usize,
    budget: usize,
    flexible: bool,
    error: Option<DecodeError>,
    #[cfg(feature = "arbitrary")]
    dice: Option<super::dice::Dice>,
}

/// Heap that a message decoded out of so many bytes may take: at most 16 × them + 64 KiB, and at most 4 × them + 64 KiB +
/// 1 MiB.
#[must_use]
pub fn memory_bound(length: usize) -> usize {
    let at_first = length.saturating_mul(PER_BYTE_AT_FIRST).min(SHORT_NAMES_MAX);
    length.saturating_mul(PER_BYTE).saturating_add(at_first).saturating_add(ALLOWANCE)
}

/// The place in a section of tagged fields (KIP-482).
#[derive(Debug)]
pub struct Tags {
    left: u32,
    next_allowed: u64,
    /// Where the current tag's value ends; `usize::MAX` before the first tag.
    end: usize,
}

impl Reader {
    /// A reader whose decoded message may take [`memory_bound`] of the bytes' length.
    #[must_use]
    pub fn new(frame: Bytes) -> Self {
        let budget = memory_bound(frame.len());
        Self::with_budget(frame, budget)
    }

    /// A reader with another bound on heap memory, in bytes; for peers that are trusted more or less than a client.
    #[must_use]
    pub fn with_budget(frame: Bytes, budget: usize) -> Self {
        Self {
            frame,
            at: 0,
            budget,
            flexible: false,
            error: None,
            #[cfg(feature = "arbitrary")]
            dice: None,
        }
    }

    /// A reader over endless dice throws instead of bytes: whatever is read with it is a random valid message.
    #[cfg(feature = "arbitrary")]
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut reader = Self::with_budget(Bytes::new(), usize::MAX);
        reader.dice = Some(super::dice::Dice::new(seed));
        reader
    }

    /// Whether strings, arrays and tags are read in the form of flexible versions (KIP-482) from here on.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.frame.len() - self.at
    }

    /// How many bytes have been read.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// All that is left, as a slice of the frame.
    pub fn rest(&mut self) -> Bytes {
        self.take(self.remaining())
    }

    /// The first error, if there was any.
    ///
    /// # Errors
    /// What was wrong with the bytes, and where.
    pub fn check(&self) -> Result<(), DecodeError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Whether there has been an error.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// Notes an error, unless there is one already, and ends the bytes here.
    pub fn fail(&mut self, problem: Malformed) {
        if self.error.is_none() {
            self.error = Some(DecodeError { problem, at: self.at });
        }
        self.at = self.frame.len();
    }

    fn charge(&mut self, bytes: usize) -> bool {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                true
            }
            None => {
                self.fail(Malformed::Budget);
                false
            }
        }
    }

    fn fixed<const N: usize>(&mut self) -> [u8; N] {
        #[cfg(feature = "arbitrary")]
        if let Some(dice) = &mut self.dice {
            return dice.fixed();
        }
        match self.frame.get(self.at..).and_then(<[u8]>::first_chunk::<N>) {
            Some(bytes) => {
                self.at += N;
                *bytes
            }
            None => {
                self.fail(Malformed::Truncated);
                [0; N]
            }
        }
    }

    fn take(&mut self, length: usize) -> Bytes {
        #[cfg(feature = "arbitrary")]
        if let Some(dice) = &mut self.dice {
            return dice.bytes(length);
        }
        if length > self.remaining() {
            self.fail(Malformed::Truncated);
            return Bytes::new();
        }
        let bytes = self.frame.slice(self.at..self.at + length);
        self.at += length;
        bytes
    }

    /// A boolean: any byte but 0 is true.
    pub fn bool(&mut self) -> bool {
        self.i8() != 0
    }

    /// One signed byte.
    pub fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.fixed())
    }

    /// Two bytes, signed.
    pub fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.fixed())
    }

    /// Two bytes, unsigned.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.fixed())
    }

    /// Four bytes, signed.
    pub fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.fixed())
    }

    /// Four bytes, unsigned.
    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.fixed())
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.fixed())
    }

    /// Eight bytes of IEEE 754.
    pub fn f64(&mut self) -> f64 {
        #[cfg(feature = "arbitrary")]
        if let Some(dice) = &mut self.dice {
            return dice.float();
        }
        f64::from_be_bytes(self.fixed())
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Uuid {
        Uuid(self.fixed())
    }

    /// An unsigned number of at most 32 bits in groups of seven. As in Kafka, needless groups are borne up to the fifth.
    pub fn uvarint(&mut self) -> u32 {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let Some(&byte) = self.frame.get(self.at) else {
                self.fail(Malformed::Truncated);
                return 0;
            };
            self.at += 1;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        self.fail(Malformed::Varint);
        0
    }

    /// A length as strings, arrays and bytes have it; `None` is null.
    fn length(&mut self, width: Width) -> Option<usize> {
        #[cfg(feature = "arbitrary")]
        if let Some(dice) = &mut self.dice {
            return dice.length(width == Width::Count);
        }
        if self.flexible {
            // 0 is null, n + 1 is n. The largest value is beyond any frame.
            return (self.uvarint() as usize).checked_sub(1);
        }
        let length = if width == Width::String { i32::from(self.i16()) } else { self.i32() };
        if length == -1 {
            return None;
        }
        usize::try_from(length).map_or_else(
            |_| {
                self.fail(Malformed::Length);
                Some(0)
            },
            Some,
        )
    }

    fn required<T: Default>(&mut self, value: Option<T>) -> T {
        #[cfg(feature = "arbitrary")]
        if self.dice.is_some() {
            return value.unwrap_or_default();
        }
        value.unwrap_or_else(|| {
            self.fail(Malformed::Null);
            T::default()
        })
    }

    /// A string that is not null.
    pub fn string(&mut self) -> String {
        let value = self.string_nullable();
        self.required(value)
    }

    /// A string or null.
    pub fn string_nullable(&mut self) -> Option<String> {
        let length = self.length(Width::String)?;
        #[cfg(feature = "arbitrary")]
        if let Some(dice) = &mut self.dice {
            return Some(dice.string(length));
        }
        if length > STRING_MAX {
            self.fail(Malformed::Length);
            return None;
        }
        if length > self.remaining() {
            self.fail(Malformed::Truncated);
            return None;
        }
        if !self.charge(length) {
            return None;
        }
        match std::str::from_utf8(&self.frame[self.at..self.at + length]) {
            Ok(text) => {
                let text = text.to_owned();
                self.at += length;
                Some(text)
            }
            Err(_) => {
                self.fail(Malformed::Utf8);
                None
            }
        }
    }

    /// Bytes that are not null, as a slice of the frame.
    pub fn bytes(&mut self) -> Bytes {
        let value = self.bytes_nullable();
        self.required(value)
    }

    /// Bytes or null, as a slice of the frame.
    pub fn bytes_nullable(&mut self) -> Option<Bytes> {
        let length = self.length(Width::Bytes)?;
        Some(self.take(length))
    }

    /// Record batches that are not null, as a slice of the frame.
    pub fn records(&mut self) -> Records {
        Records::Bytes(self.bytes())
    }

    /// Record batches or null, as a slice of the frame.
    pub fn records_nullable(&mut self) -> Option<Records> {
        self.bytes_nullable().map(Records::Bytes)
    }

    /// Whether a nullable structure follows.
    pub fn presence(&mut self) -> bool {
        self.i8() >= 0
    }

    /// Whether a nullable structure follows within a tagged field, where Kafka marks it otherwise.
    pub fn presence_tagged(&mut self) -> bool {
        #[cfg(feature = "arbitrary")]
        if self.dice.is_some() {
            return self.presence();
        }
        self.uvarint() > 0
    }

    /// The count of an array, after it was checked against the bytes left (`wire` bytes for each element at least) and
    /// the budget was charged with `memory` bytes for each.
    fn count(&mut self, wire: usize, memory: usize) -> Option<usize> {
        let count = self.length(Width::Count)?;
        #[cfg(feature = "arbitrary")]
        if self.dice.is_some() {
            return Some(count);
        }
        if count > self.remaining() / wire.max(1) {
            self.fail(Malformed::Count(u32::try_from(count).unwrap_or(u32::MAX)));
            return Some(0);
        }
        if !self.charge(count.saturating_mul(memory)) {
            return Some(0);
        }
        Some(count)
    }

    /// An array of structures of at least `wire` bytes each, or null.
    pub fn structs_nullable<T>(
        &mut self,
        version: i16,
        wire: usize,
        read: fn(&mut Self, i16) -> T,
    ) -> Option<Vec<T>> {
        let count = self.count(wire, size_of::<T>())?;
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(read(self, version));
            if self.failed() {
                break;
            }
        }
        Some(values)
    }

    /// An array of structures of at least `wire` bytes each.
    pub fn structs<T>(&mut self, version: i16, wire: usize, read: fn(&mut Self, i16) -> T) -> Vec<T> {
        let values = self.structs_nullable(version, wire, read);
        self.required(values)
    }

    /// The tagged fields that follow: none at all unless the version is flexible.
    pub fn tags(&mut self) -> Tags {
        #[cfg(feature = "arbitrary")]
        if self.dice.is_some() {
            let left = if self.flexible { super::dice::TAGS } else { 0 };
            return Tags { left, next_allowed: 0, end: usize::MAX };
        }
        let left = if self.flexible { self.uvarint() } else { 0 };
        Tags { left, next_allowed: 0, end: usize::MAX }
    }

    /// The next tag, whose value follows.
    pub fn next_tag(&mut self, tags: &mut Tags) -> Option<u32> {
        #[cfg(feature = "arbitrary")]
        if let Some(dice) = &mut self.dice {
            return dice.next_tag(&mut tags.left);
        }
        if tags.end != usize::MAX && tags.end != self.at {
            self.fail(Malformed::TagSize);
        }
        if tags.left == 0 || self.failed() {
            return None;
        }
        tags.left -= 1;
        let tag = self.uvarint();
        let size = self.uvarint() as usize;
        if self.failed() {
            return None;
        }
        if u64::from(tag) < tags.next_allowed {
            self.fail(Malformed::TagOrder);
            return None;
        }
        tags.next_allowed = u64::from(tag) + 1;
        if size > self.remaining() {
            self.fail(Malformed::Truncated);
            return None;
        }
        tags.end = self.at + size;
        Some(tag)
    }

    /// Passes over the current tag's value: newer versions may say more than we understand.
    pub fn skip_tag(&mut self, tags: &Tags) {
        #[cfg(feature = "arbitrary")]
        if self.dice.is_some() {
            return;
        }
        self.at = tags.end;
    }

    /// Passes over all tagged fields of a structure that knows none.
    pub fn skip_tags(&mut self) {
        let mut tags = self.tags();
        while self.next_tag(&mut tags).is_some() {
            self.skip_tag(&tags);
        }
    }
}

/// How a length is written in versions that are not flexible.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    /// 16 bits.
    String,
    /// 32 bits, of bytes.
    Bytes,
    /// 32 bits, of elements.
    Count,
}

macro_rules! arrays {
    ($($name:ident, $nullable:ident: $type:ty = $read:ident, $wire:literal;)*) => {
        impl Reader {
            $(
                /// An array of this type, or null.
                pub fn $nullable(&mut self) -> Option<Vec<$type>> {
                    let count = self.count($wire, size_of::<$type>())?;
                    let mut values = Vec::with_capacity(count);
                    for _ in 0..count {
                        values.push(self.$read());
                        if self.failed() {
                            break;
                        }
                    }
                    Some(values)
                }

                /// An array of this type.
                pub fn $name(&mut self) -> Vec<$type> {
                    let values = self.$nullable();
                    self.required(values)
                }
            )*
        }
    };
}

arrays! {
    strings, strings_nullable: String = string, 1;
    i8s, i8s_nullable: i8 = i8, 1;
    i16s, i16s_nullable: i16 = i16, 2;
    i32s, i32s_nullable: i32 = i32, 4;
    i64s, i64s_nullable: i64 = i64, 8;
    uuids, uuids_nullable: Uuid = uuid, 16;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flexible(bytes: &'static [u8]) -> Reader {
        let mut reader = Reader::new(Bytes::from_static(bytes));
        reader.set_flexible(true);
        reader
    }

    fn problem<T>(mut reader: Reader, read: impl Fn(&mut Reader) -> T) -> Malformed {
        read(&mut reader);
        reader.check().expect_err("should be refused").problem
    }

    #[test]
    fn varints_have_five_bytes_and_32_bits() {
        assert_eq!(flexible(&[0xff, 0xff, 0xff, 0xff, 0x0f]).uvarint(), u32::MAX);
        assert_eq!(flexible(&[0x80, 0x00]).uvarint(), 0);
        for bytes in [&[0xff, 0xff, 0xff, 0xff, 0x1f][..], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]] {
            assert_eq!(problem(flexible(bytes), Reader::uvarint), Malformed::Varint);
        }
        assert_eq!(problem(flexible(&[0x80]), Reader::uvarint), Malformed::Truncated);
    }

    #[test]
    fn strings_are_checked() {
        assert_eq!(flexible(&[3, b'h', b'i']).string(), "hi");
        assert_eq!(flexible(&[0]).string_nullable(), None);
        assert_eq!(problem(flexible(&[0]), Reader::string), Malformed::Null);
        assert_eq!(problem(flexible(&[2, 0xff]), Reader::string), Malformed::Utf8);
        assert_eq!(problem(flexible(&[9, b'a']), Reader::string), Malformed::Truncated);
        assert_eq!(problem(flexible(&[0x81, 0x80, 0x02]), Reader::string), Malformed::Length);
        let old = |bytes| Reader::new(Bytes::from_static(bytes));
        assert_eq!(old(&[0xff, 0xff]).string_nullable(), None);
        assert_eq!(problem(old(&[0xff, 0xfe]), Reader::string_nullable), Malformed::Length);
        assert_eq!(problem(old(&[0xff, 0xff, 0xff, 0xfe]), Reader::bytes_nullable), Malformed::Length);
    }

    #[test]
    fn tags_ascend_and_have_the_size_they_claim() {
        let read = |reader: &mut Reader| {
            let mut tags = reader.tags();
            let mut value = 0;
            while let Some(tag) = reader.next_tag(&mut tags) {
                match tag {
                    1 => value = reader.i16(),
                    _ => reader.skip_tag(&tags),
                }
            }
            value
        };
        assert_eq!(read(&mut flexible(&[2, 0, 1, 9, 1, 2, 0, 7])), 7);
        assert_eq!(problem(flexible(&[2, 1, 2, 0, 7, 1, 2, 0, 7]), read), Malformed::TagOrder);
        assert_eq!(problem(flexible(&[2, 3, 0, 1, 2, 0, 7]), read), Malformed::TagOrder);
        assert_eq!(problem(flexible(&[1, 1, 3, 0, 7, 0]), read), Malformed::TagSize);
        assert_eq!(problem(flexible(&[1, 1, 1, 0, 7, 0]), read), Malformed::TagSize);
        assert_eq!(problem(flexible(&[1, 9, 9, 0]), read), Malformed::Truncated);
        assert_eq!(Reader::new(Bytes::from_static(&[1, 0, 0])).tags().left, 0);
    }

    #[test]
    fn counts_and_memory_are_bounded() {
        assert_eq!(problem(flexible(&[4, 0, 0, 0, 0]), Reader::i32s), Malformed::Count(3));
        let mut reader = Reader::with_budget(Bytes::from_static(&[3, 1, 1]), 2 * size_of::<String>() - 1);
        reader.set_flexible(true);
        assert_eq!(problem(reader, Reader::strings), Malformed::Budget);
    }

    #[test]
    fn after_an_error_all_is_empty_and_the_first_error_stays() {
        let mut reader = flexible(&[0, 1, 2, 3, 4, 5]);
        assert_eq!(reader.string(), "");
        assert_eq!((reader.i32(), reader.remaining()), (0, 0));
        assert_eq!(reader.check(), Err(DecodeError { problem: Malformed::Null, at: 1 }));
    }
}
