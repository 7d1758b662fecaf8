//! Snappy, in the frame of xerial's snappy-java: `82 "SNAPPY" 00`, version i32, compatible version i32, then blocks, each
//! behind its length (i32, big-endian).
//!
//! librdkafka and franz-go write one bare block instead. Only the first 8 bytes tell the two apart: the versions that
//! follow differ from writer to writer.

use crate::compression::{Block, Compression, CompressionError};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const FRAME_HEADER: usize = 16;
/// Plain bytes per block, as snappy-java writes them.
const BLOCK: usize = 32 << 10;
/// No block becomes more than this many times larger: three bytes of copy give 64 at most.
const MAX_RATIO: usize = 22;

#[derive(Default)]
pub(super) struct Snappy {
    encoder: Option<Box<snap::raw::Encoder>>,
    decoder: snap::raw::Decoder,
}

impl Snappy {
    pub(super) fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let encoder = self.encoder.get_or_insert_with(|| Box::new(snap::raw::Encoder::new()));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&1i32.to_be_bytes());
        out.extend_from_slice(&1i32.to_be_bytes());
        for block in plain.chunks(BLOCK) {
            let at = out.len();
            out.resize(at + 4 + snap::raw::max_compress_len(block.len()), 0);
            let len =
                encoder.compress(block, &mut out[at + 4..]).expect("the buffer is as large as snappy asks");
            out[at..at + 4].copy_from_slice(&(len as u32).to_be_bytes());
            out.truncate(at + 4 + len);
        }
    }

    pub(super) fn read(&mut self, rest: &mut &[u8]) -> Reading<'_> {
        let framed = rest.starts_with(&MAGIC);
        if framed {
            *rest = rest.get(FRAME_HEADER..).unwrap_or_default();
        }
        Reading { decoder: &mut self.decoder, framed }
    }
}

pub(super) struct Reading<'a> {
    decoder: &'a mut snap::raw::Decoder,
    framed: bool,
}

impl Reading<'_> {
    /// `fits` says whether so many bytes more are within the limit: a block may be of any size, so it is asked first.
    pub(super) fn next(
        &mut self,
        rest: &mut &[u8],
        block: &mut Block,
        fits: impl Fn(usize) -> Result<(), CompressionError>,
    ) -> Result<(), CompressionError> {
        // An empty block is no end: go on to one that has something.
        while !rest.is_empty() && block.filled == 0 {
            if self.framed && rest.starts_with(&MAGIC) {
                *rest = rest.get(FRAME_HEADER..).unwrap_or_default();
                continue;
            }
            let compressed = if self.framed { take_block(rest)? } else { std::mem::take(rest) };
            let len = snap::raw::decompress_len(compressed).map_err(|e| malformed(e.to_string()))?;
            if len > compressed.len().saturating_mul(MAX_RATIO) {
                return Err(malformed(format!("{len} bytes cannot be in a block of {}", compressed.len())));
            }
            fits(len)?;
            block.filled = self
                .decoder
                .decompress(compressed, block.space(len))
                .map_err(|e| malformed(e.to_string()))?;
        }
        Ok(())
    }
}

fn take_block<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], CompressionError> {
    let short = || malformed("it ends within a block");
    let (len, after) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let len =
        usize::try_from(i32::from_be_bytes(*len)).map_err(|_| malformed("a block of negative length"))?;
    let (block, after) = after.split_at_checked(len).ok_or_else(short)?;
    *rest = after;
    Ok(block)
}

fn malformed(what: impl Into<String>) -> CompressionError {
    CompressionError::malformed(Compression::Snappy, what)
}
