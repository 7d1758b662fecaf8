//! From a stream of bytes to whole frames.
//!
//! Most reads land in a buffer that all connections of a core share, and most frames come whole: an idle connection
//! holds no memory. The rest of a frame that was cut is read straight into a buffer of its own. That buffer grows with
//! what has come and never with what was announced, so four bytes cannot make the node reserve a hundred megabytes.

use bytes::buf::Limit;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Frames up to this size are copied out of the shared buffer, so that one that waits does not hold on to all of it.
const COPIED_MAX: usize = 2 * 1024;

/// The first room of a frame that was cut.
const ROOM_MIN: usize = 16 * 1024;

/// The room of a frame that was cut, by what has come of it.
const ROOM_FACTOR: usize = 8;

/// Where at most this much of a frame is missing it is read through the shared buffer, with what follows it.
const MISSING_SMALL: usize = 16 * 1024;

/// Cuts the bytes of one connection into frames.
#[derive(Debug, Default)]
pub struct Frames {
    /// The bytes of a length that was cut.
    length: [u8; 4],
    length_read: usize,
    body: Option<Body>,
}

#[derive(Debug)]
struct Body {
    bytes: BytesMut,
    length: usize,
}

/// Why the bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes is announced, the limit is {limit}{hint}", hint = self.hint())]
pub struct FrameError {
    /// What is announced.
    pub length: i32,
    /// What is allowed.
    pub limit: usize,
}

impl FrameError {
    /// What the other side may be, if it does not speak Kafka.
    fn hint(&self) -> &'static str {
        match self.length.to_be_bytes() {
            [0x16, 0x03, ..] => "; this looks like a TLS client on a listener without TLS",
            bytes if [b"GET ", b"HEAD", b"POST", b"PUT ", b"OPTI"].contains(&&bytes) => {
                "; this looks like an HTTP client"
            }
            _ => "",
        }
    }
}

impl Frames {
    /// The next whole frame, without its length, out of what was kept and `read`. `None` when there is none; then
    /// `read` is empty and what was in it is kept.
    ///
    /// # Errors
    /// If a frame is announced that is empty or larger than `limit`.
    pub fn next(&mut self, read: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, FrameError> {
        if self.body.is_none() {
            let Some(length) = self.take_length(read, limit)? else { return Ok(None) };
            if read.len() >= length {
                let frame = read.split_to(length);
                let is_small = length <= COPIED_MAX;
                return Ok(Some(if is_small { Bytes::copy_from_slice(&frame) } else { frame.freeze() }));
            }
            self.body = Some(Body { bytes: BytesMut::new(), length });
        }
        let Some(body) = &mut self.body else { return Ok(None) };
        let part = read.split_to(read.len().min(body.length - body.bytes.len()));
        body.make_room(part.len());
        body.bytes.extend_from_slice(&part);
        Ok(self.take_whole())
    }

    /// Where the next bytes belong, if they should not take the way through the shared buffer.
    pub fn room(&mut self) -> Option<Limit<&mut BytesMut>> {
        let body = self.body.as_mut()?;
        let missing = body.length - body.bytes.len();
        if missing <= MISSING_SMALL {
            return None;
        }
        body.make_room(1);
        Some((&mut body.bytes).limit(missing))
    }

    /// The frame whose last byte has come into [`room`](Self::room).
    pub fn take_whole(&mut self) -> Option<Bytes> {
        let body = self.body.take_if(|body| body.bytes.len() == body.length)?;
        Some(body.bytes.freeze())
    }

    /// Whether a frame has begun and not ended.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.length_read > 0 || self.body.is_some()
    }

    /// Bytes kept of a frame that has begun and not ended.
    #[must_use]
    pub fn held(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.bytes.len())
    }

    fn take_length(&mut self, read: &mut BytesMut, limit: usize) -> Result<Option<usize>, FrameError> {
        if self.length_read == 0 && read.len() >= 4 {
            return check(read.get_i32(), limit).map(Some);
        }
        let part = read.split_to(read.len().min(4 - self.length_read));
        self.length[self.length_read..][..part.len()].copy_from_slice(&part);
        self.length_read += part.len();
        if self.length_read < 4 {
            return Ok(None);
        }
        self.length_read = 0;
        check(i32::from_be_bytes(self.length), limit).map(Some)
    }
}

impl Body {
    /// Makes room for at least `count` more bytes, of those that the frame still lacks.
    fn make_room(&mut self, count: usize) {
        let arrived = self.bytes.len() + count;
        if arrived <= self.bytes.capacity() {
            return;
        }
        let room = arrived.saturating_mul(ROOM_FACTOR).max(ROOM_MIN).min(self.length);
        let mut grown = BytesMut::with_capacity(room);
        grown.extend_from_slice(&self.bytes);
        self.bytes = grown;
    }
}

fn check(length: i32, limit: usize) -> Result<usize, FrameError> {
    match usize::try_from(length) {
        Ok(size) if size > 0 && size <= limit => Ok(size),
        _ => Err(FrameError { length, limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64 * 1024 * 1024;

    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        bytes.extend((0..length).map(|n| (n % 251) as u8));
        bytes
    }

    fn drain(frames: &mut Frames, part: &[u8], got: &mut Vec<Vec<u8>>) {
        let mut read = BytesMut::from(part);
        while let Some(frame) = frames.next(&mut read, LIMIT).unwrap() {
            got.push(frame.to_vec());
        }
        assert!(read.is_empty());
    }

    #[test]
    fn frames_cut_anywhere_are_the_same_frames() {
        let lengths = [1, 5, 300, 2048, 2049, 70];
        let stream: Vec<u8> = lengths.iter().flat_map(|&length| frame(length)).collect();
        let expected: Vec<Vec<u8>> = lengths.iter().map(|&length| frame(length)[4..].to_vec()).collect();
        for cut in 0..=stream.len() {
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            drain(&mut frames, &stream[..cut], &mut got);
            drain(&mut frames, &stream[cut..], &mut got);
            assert_eq!(got, expected, "cut at {cut}");
            assert!(!frames.is_cut());
        }
        for size in [1, 2, 3, 7, 100] {
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            stream.chunks(size).for_each(|part| drain(&mut frames, part, &mut got));
            assert_eq!(got, expected, "in parts of {size}");
        }
    }

    #[test]
    fn room_grows_with_what_has_come() {
        let mut frames = Frames::default();
        let length = 32 * 1024 * 1024;
        let stream = frame(length);
        let mut got = Vec::new();
        drain(&mut frames, &stream[..4], &mut got);
        let mut at = 4;
        let mut whole = None;
        while at < stream.len() {
            let mut room = frames.room().expect("a large frame has room of its own");
            let count = room.chunk_mut().len().min(100_000).min(room.remaining_mut());
            room.put_slice(&stream[at..at + count]);
            at += count;
            let capacity = frames.body.as_ref().unwrap().bytes.capacity();
            assert!(capacity <= (at * ROOM_FACTOR).max(ROOM_MIN), "{capacity} for {at} bytes");
            whole = frames.take_whole();
            if whole.is_none() && stream.len() - at <= MISSING_SMALL {
                drain(&mut frames, &stream[at..], &mut got);
                at = stream.len();
            }
        }
        let whole = whole.map_or_else(|| got.pop().unwrap(), |bytes| bytes.to_vec());
        assert!(whole == stream[4..], "the frame is whole");
        assert_eq!(frames.held(), 0);
    }

    #[test]
    fn room_never_reaches_into_the_next_frame() {
        let mut frames = Frames::default();
        let mut read = BytesMut::from(&frame(100_000)[..10]);
        assert_eq!(frames.next(&mut read, LIMIT), Ok(None));
        let room = frames.room().unwrap();
        assert_eq!(room.remaining_mut(), 100_000 - 6);
    }

    #[test]
    fn lengths_out_of_range_are_refused() {
        for length in [0, -1, i32::MIN, 1025, i32::MAX] {
            let mut read = BytesMut::from(&i32::to_be_bytes(length)[..]);
            let refused = Frames::default().next(&mut read, 1024);
            assert_eq!(refused, Err(FrameError { length, limit: 1024 }));
        }
        let error = FrameError { length: i32::from_be_bytes(*b"GET "), limit: 1 };
        assert!(error.to_string().contains("HTTP"), "{error}");
        let error = FrameError { length: i32::from_be_bytes([0x16, 3, 1, 2]), limit: 1 };
        assert!(error.to_string().contains("TLS"), "{error}");
    }

    #[test]
    fn a_large_frame_is_not_copied() {
        let mut read = BytesMut::from(&frame(COPIED_MAX + 1)[..]);
        let place = read[4..].as_ptr();
        let whole = Frames::default().next(&mut read, LIMIT).unwrap().unwrap();
        assert_eq!(whole.as_ptr(), place);
    }
}
