//! Decompression chunk by chunk, with the limit checked after each.

use crate::compression::{Block, Codecs, Compression, CompressionError, Limit, gzip, lz4, snappy, zstandard};

/// The plain bytes of one compressed block, chunk after chunk.
pub struct PlainStream<'a> {
    decoder: Decoder<'a>,
    block: &'a mut Block,
    rest: &'a [u8],
    plain: &'a [u8],
    input: usize,
    output: usize,
    limit: Limit,
}

#[expect(clippy::large_enum_variant, reason = "one of them, for as long as a stream is read")]
enum Decoder<'a> {
    None,
    Gzip(gzip::Reading<'a>),
    Snappy(snappy::Reading<'a>),
    Lz4(lz4::Reading),
    Zstd(zstandard::Reading<'a>),
}

impl<'a> PlainStream<'a> {
    pub(super) fn new(
        codecs: &'a mut Codecs,
        codec: Compression,
        compressed: &'a [u8],
        limit: Limit,
    ) -> Result<Self, CompressionError> {
        let mut rest = compressed;
        let decoder = match codec {
            Compression::None => Decoder::None,
            Compression::Gzip => Decoder::Gzip(codecs.gzip.read()),
            Compression::Snappy => Decoder::Snappy(codecs.snappy.read(&mut rest)),
            Compression::Lz4 => Decoder::Lz4(lz4::Reading::begin(&mut rest)?),
            Compression::Zstd => Decoder::Zstd(codecs.zstd.read()?),
        };
        codecs.block.reset();
        Ok(Self {
            decoder,
            block: &mut codecs.block,
            rest,
            plain: &[],
            input: compressed.len(),
            output: 0,
            limit,
        })
    }

    /// Decodes the next chunk; false at the end.
    ///
    /// # Errors
    /// When the input is malformed or the output passes the limit.
    pub fn advance(&mut self) -> Result<bool, CompressionError> {
        self.block.filled = 0;
        match &mut self.decoder {
            Decoder::None => self.plain = std::mem::take(&mut self.rest),
            Decoder::Gzip(reading) => reading.next(&mut self.rest, self.block)?,
            Decoder::Snappy(reading) => {
                let fits = |len: usize| self.limit.check(self.input, self.output.saturating_add(len));
                reading.next(&mut self.rest, self.block, fits)?;
            }
            Decoder::Lz4(reading) => reading.next(&mut self.rest, self.block)?,
            Decoder::Zstd(reading) => reading.next(&mut self.rest, self.block)?,
        }
        let len = self.chunk().len();
        self.output = self.output.saturating_add(len);
        self.limit.check(self.input, self.output)?;
        Ok(len > 0)
    }

    /// The chunk that the last [`advance`](Self::advance) decoded.
    #[must_use]
    pub fn chunk(&self) -> &[u8] {
        if matches!(self.decoder, Decoder::None) { self.plain } else { self.block.filled() }
    }

    /// Plain bytes so far, including the present chunk.
    #[must_use]
    pub fn produced(&self) -> usize {
        self.output
    }
}
