//! What stands in a redo file: frames, each of one write, with an entry for each flush.
//!
//! A frame counts if its checksum is right, its sequence is that of the file's first, and its number follows; whatever
//! comes behind is left from an earlier time, or was torn before anybody was told.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ottla_protocol::batch::crc32c;
use ottla_protocol::{Offset, PartitionId, TopicId, Uuid};

use super::Tail;
use crate::disk::DiskError;
use crate::flush::PendingFlush;

const MAGIC: u32 = 0x4f54_5231;

/// Magic, checksum, length of what follows it; then the sequence and the number.
pub(super) const HEAD: usize = 12;

/// Bytes of a frame without its entries.
pub(super) const FRAME_OVERHEAD: usize = HEAD + 12;

/// Longest folder name.
const FOLDER_MAX: usize = 255;

/// Bytes of an entry without its batches, at most.
pub(super) const OVERHEAD_MAX: usize = 1 + FOLDER_MAX + 16 + 8 + 4 + 4;

/// Batches, and where they belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The partition's folder.
    pub folder: String,
    /// Whose folder it was.
    pub topic: TopicId,
    /// The base of the segment.
    pub base: Offset,
    /// Where in the segment's file.
    pub position: u32,
    pub batches: Bytes,
}

impl Entry {
    /// Reads what the flush has to put on the disk; `None` where that is nothing any more.
    pub fn of(id: PartitionId, flush: &PendingFlush) -> Result<Option<Self>, DiskError> {
        let (folder, tail) = flush.tail();
        let &Tail { base, position, .. } = tail;
        let entry = |batches| Self { folder: folder.to_owned(), topic: id.topic, base, position, batches };
        Ok(tail.read()?.map(entry))
    }

    fn put(&self, into: &mut BytesMut) {
        into.put_u8(u8::try_from(self.folder.len()).expect("a file's name has 255 bytes at most"));
        into.put_slice(self.folder.as_bytes());
        into.put_slice(&self.topic.0);
        into.put_i64(self.base.0);
        into.put_u32(self.position);
        into.put_u32(self.batches.len() as u32);
        into.put_slice(&self.batches);
    }

    fn take(from: &mut Bytes) -> Option<Self> {
        let length = usize::from(from.try_get_u8().ok()?);
        let folder = split(from, length)?;
        let folder = std::str::from_utf8(&folder).ok()?.to_owned();
        let mut topic = [0; 16];
        from.try_copy_to_slice(&mut topic).ok()?;
        let base = Offset(from.try_get_i64().ok()?);
        let position = from.try_get_u32().ok()?;
        let length = from.try_get_u32().ok()? as usize;
        Some(Self { folder, topic: Uuid(topic), base, position, batches: split(from, length)? })
    }
}

/// The bytes of a frame.
pub(super) fn frame(sequence: u64, number: u32, entries: &[Entry]) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_bytes(0, HEAD);
    frame.put_u64(sequence);
    frame.put_u32(number);
    for entry in entries {
        entry.put(&mut frame);
    }
    let (mut head, covered) = frame.split_at_mut(HEAD);
    head.put_u32(MAGIC);
    head.put_u32(crc32c(covered));
    head.put_u32(covered.len() as u32);
    frame
}

/// The sequence of a file and the entries in it, in the order they were written; `None` where there are none.
pub(super) fn read(file: Bytes) -> Option<(u64, Vec<Entry>)> {
    let mut file = file;
    let mut entries = Vec::new();
    let mut first = None;
    for number in 0.. {
        let Some((sequence, mut covered)) = next_frame(&mut file, number) else { break };
        if *first.get_or_insert(sequence) != sequence {
            break;
        }
        while covered.has_remaining() {
            let Some(entry) = Entry::take(&mut covered) else {
                tracing::error!(sequence, number, "an entry of a redo file cannot be understood");
                return Some((sequence, entries));
            };
            entries.push(entry);
        }
    }
    Some((first?, entries))
}

fn next_frame(file: &mut Bytes, number: u32) -> Option<(u64, Bytes)> {
    let magic = file.try_get_u32().ok()?;
    let checksum = file.try_get_u32().ok()?;
    let length = file.try_get_u32().ok()? as usize;
    let mut covered = split(file, length)?;
    if magic != MAGIC || crc32c(&covered) != checksum {
        return None;
    }
    let sequence = covered.try_get_u64().ok()?;
    (covered.try_get_u32().ok()? == number).then_some((sequence, covered))
}

fn split(from: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= from.len()).then(|| from.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u8) -> Entry {
        Entry {
            folder: format!("topic-{n}"),
            topic: Uuid([n; 16]),
            base: Offset(100),
            position: u32::from(n),
            batches: Bytes::from(vec![n; 10 * usize::from(n)]),
        }
    }

    #[test]
    fn frames_are_read_until_one_is_not_of_this_time() {
        let mut file = BytesMut::new();
        file.extend(frame(7, 0, &[entry(1), entry(2)]));
        file.extend(frame(7, 1, &[entry(3)]));
        let end = file.len();
        file.extend(frame(6, 2, &[entry(4)]));
        let whole = file.freeze();
        assert_eq!(read(whole.clone()), Some((7, vec![entry(1), entry(2), entry(3)])));
        let mut gap = BytesMut::from(&frame(7, 0, &[entry(1)])[..]);
        gap.extend(frame(7, 2, &[entry(3)]));
        assert_eq!(read(gap.freeze()), Some((7, vec![entry(1)])));
        assert_eq!(read(Bytes::copy_from_slice(&whole[..end])), read(whole));
        assert_eq!(read(Bytes::from(vec![0; 4096])), None);
    }

    #[test]
    fn a_torn_frame_does_not_count() {
        let whole = [frame(1, 0, &[entry(5)]), frame(1, 1, &[entry(6)])].concat();
        let first = frame(1, 0, &[entry(5)]).len();
        for length in 0..whole.len() {
            let mut torn = whole[..length].to_vec();
            torn.resize(whole.len() + 100, 0);
            let expected = (length >= first).then(|| (1, vec![entry(5)]));
            assert_eq!(read(torn.into()), expected, "{length}");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let found = read(flipped.into()).map(|(_, entries)| entries.len()).unwrap_or(0);
            assert_eq!(found, usize::from(bit >= first * 8), "bit {bit}");
        }
    }

    #[test]
    fn an_entry_takes_no_more_than_is_said() {
        let longest = Entry { folder: "t".repeat(FOLDER_MAX), batches: Bytes::new(), ..entry(1) };
        assert_eq!(frame(1, 0, &[longest]).len(), FRAME_OVERHEAD + OVERHEAD_MAX);
    }
}
