//! Gzip members (RFC 1952) around raw deflate. Several members in a row are one text; anything else after a member is
//! ignored, as Java's reader does.

use crc_fast::{CrcAlgorithm, Digest};
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use crate::compression::{Block, Compression, CompressionError};

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// No flags, no time, no hint about the effort, "unknown" for the operating system: what Java writes.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const DEFAULT_LEVEL: u32 = 6;
const CHUNK: usize = 64 << 10;

const FLAG_CHECKSUM: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;

#[derive(Default)]
pub(super) struct Gzip {
    deflate: Option<(u32, Compress)>,
    inflate: Option<Decompress>,
}

impl Gzip {
    pub(super) fn compress(&mut self, level: Option<i32>, plain: &[u8], out: &mut Vec<u8>) {
        let level =
            level.and_then(|level| u32::try_from(level).ok()).map_or(DEFAULT_LEVEL, |level| level.min(9));
        if self.deflate.as_ref().is_none_or(|(made_for, _)| *made_for != level) {
            self.deflate = Some((level, Compress::new(flate2::Compression::new(level), false)));
        }
        let (_, deflate) = self.deflate.as_mut().expect("just made");
        deflate.reset();
        out.extend_from_slice(&HEADER);
        let mut rest = plain;
        loop {
            out.reserve((rest.len() / 2).max(256));
            let before = deflate.total_in();
            let status =
                deflate.compress_vec(rest, out, FlushCompress::Finish).expect("deflate takes any bytes");
            rest = &rest[(deflate.total_in() - before) as usize..];
            if status == Status::StreamEnd {
                break;
            }
        }
        out.extend_from_slice(&(crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, plain) as u32).to_le_bytes());
        out.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    }

    pub(super) fn read(&mut self) -> Reading<'_> {
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(false));
        Reading { inflate, state: State::First, digest: Digest::new(CrcAlgorithm::Crc32IsoHdlc) }
    }
}

pub(super) struct Reading<'a> {
    inflate: &'a mut Decompress,
    state: State,
    digest: Digest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Within,
    After,
}

impl Reading<'_> {
    pub(super) fn next(&mut self, rest: &mut &[u8], block: &mut Block) -> Result<(), CompressionError> {
        loop {
            match self.state {
                State::After if !rest.starts_with(&MAGIC) => return Ok(()),
                State::First | State::After => self.begin_member(rest)?,
                State::Within => {}
            }
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(rest, block.space(CHUNK), FlushDecompress::None)
                .map_err(|e| malformed(e.to_string()))?;
            let read = (self.inflate.total_in() - read) as usize;
            block.filled = (self.inflate.total_out() - written) as usize;
            *rest = &rest[read..];
            self.digest.update(block.filled());
            if status == Status::StreamEnd {
                self.end_member(rest)?;
            } else if block.filled == 0 && (rest.is_empty() || read == 0) {
                return Err(ends_early());
            }
            if block.filled > 0 {
                return Ok(());
            }
        }
    }

    fn begin_member(&mut self, rest: &mut &[u8]) -> Result<(), CompressionError> {
        let header = take(rest, 10)?;
        if !header.starts_with(&MAGIC) {
            return Err(malformed("it does not begin with the magic of a member"));
        }
        let flags = header[3];
        if flags & FLAG_EXTRA != 0 {
            let len = take(rest, 2)?;
            take(rest, usize::from(u16::from_le_bytes([len[0], len[1]])))?;
        }
        for flag in [FLAG_NAME, FLAG_COMMENT] {
            if flags & flag != 0 {
                let end = rest.iter().position(|&b| b == 0).ok_or_else(ends_early)?;
                take(rest, end + 1)?;
            }
        }
        if flags & FLAG_CHECKSUM != 0 {
            take(rest, 2)?;
        }
        self.inflate.reset(false);
        self.digest = Digest::new(CrcAlgorithm::Crc32IsoHdlc);
        self.state = State::Within;
        Ok(())
    }

    fn end_member(&mut self, rest: &mut &[u8]) -> Result<(), CompressionError> {
        let trailer = take(rest, 8)?;
        let crc = u32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]);
        let len = u32::from_le_bytes([trailer[4], trailer[5], trailer[6], trailer[7]]);
        if crc != self.digest.finalize() as u32 || len != self.inflate.total_out() as u32 {
            return Err(malformed("the checksum or the length of a member is wrong"));
        }
        self.state = State::After;
        Ok(())
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], CompressionError> {
    let (taken, after) = rest.split_at_checked(len).ok_or_else(ends_early)?;
    *rest = after;
    Ok(taken)
}

fn ends_early() -> CompressionError {
    malformed("it ends within a member")
}

fn malformed(what: impl Into<String>) -> CompressionError {
    CompressionError::malformed(Compression::Gzip, what)
}
