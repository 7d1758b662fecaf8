//! Zstandard frames, one after the other. The content size may be absent, as Java writes them; the window is bounded as
//! in Java's reader.

use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, compress_bound, get_error_name,
};

use crate::compression::{Block, Compression, CompressionError};

const DEFAULT_LEVEL: i32 = 3;
const CHUNK: usize = 64 << 10;
/// The largest window that Java's reader takes: 128 MiB.
const MAX_WINDOW_LOG: u32 = 27;
/// A context that has grown past this for one batch is not kept for the next.
const KEPT: usize = 16 << 20;

#[derive(Default)]
pub(super) struct Zstd {
    encoder: Option<CCtx<'static>>,
    decoder: Option<DCtx<'static>>,
}

impl Zstd {
    pub(super) fn compress(&mut self, level: Option<i32>, plain: &[u8], out: &mut Vec<u8>) {
        let encoder = self.encoder.get_or_insert_with(CCtx::create);
        encoder
            .set_parameter(CParameter::CompressionLevel(level.unwrap_or(DEFAULT_LEVEL)))
            .expect("zstd bounds the level itself");
        let at = out.len();
        out.resize(at + compress_bound(plain.len()), 0);
        let len = encoder.compress2(&mut out[at..], plain).expect("the buffer is as large as zstd asks");
        out.truncate(at + len);
        if encoder.sizeof() > KEPT {
            self.encoder = None;
        }
    }

    pub(super) fn read(&mut self) -> Result<Reading<'_>, CompressionError> {
        if self.decoder.as_ref().is_some_and(|decoder| decoder.sizeof() > KEPT) {
            self.decoder = None;
        }
        let decoder = self.decoder.get_or_insert_with(DCtx::create);
        decoder
            .reset(ResetDirective::SessionOnly)
            .and_then(|_| decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)))
            .map_err(malformed)?;
        Ok(Reading { decoder, within_frame: true })
    }
}

pub(super) struct Reading<'a> {
    decoder: &'a mut DCtx<'static>,
    /// Also true before the first frame: no bytes at all are no frame.
    within_frame: bool,
}

impl Reading<'_> {
    pub(super) fn next(&mut self, rest: &mut &[u8], block: &mut Block) -> Result<(), CompressionError> {
        while self.within_frame || !rest.is_empty() {
            let mut input = InBuffer { src: rest, pos: 0 };
            let space = block.space(CHUNK);
            let mut output = OutBuffer::around(space);
            let hint = self.decoder.decompress_stream(&mut output, &mut input).map_err(malformed)?;
            let written = output.pos();
            let read = input.pos;
            *rest = &rest[read..];
            block.filled = written;
            self.within_frame = hint != 0;
            if written > 0 {
                return Ok(());
            }
            if self.within_frame && (rest.is_empty() || read == 0) {
                return Err(CompressionError::malformed(Compression::Zstd, "it ends within a frame"));
            }
        }
        Ok(())
    }
}

fn malformed(code: usize) -> CompressionError {
    CompressionError::malformed(Compression::Zstd, get_error_name(code))
}
