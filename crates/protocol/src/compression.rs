//! The four codecs of record batches, in Kafka's framing, with contexts that are used again and output that is bounded.
//!
//! [`Codecs`] owns every context and scratch buffer; whoever handles batches keeps one and passes it in, so nothing here
//! is thread-local and nothing is allocated per batch once it is warm. Hostile bytes yield an error before the limit is
//! passed by much: a decoder hands out chunks of at most 4 MiB, and [`Limit`] is checked after each; only a block of
//! snappy may be larger, so it is checked before.

mod gzip;
mod lz4;
mod snappy;
mod stream;
mod xxhash;
mod zstandard;

pub use stream::PlainStream;

/// A codec, by Kafka's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Plain records.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Blocks in the frame of xerial's snappy-java; a single bare block is read too.
    Snappy,
    /// The LZ4 frame format with independent blocks.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
}

impl Compression {
    /// Every codec, by id.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec with this number in a batch's attributes.
    #[must_use]
    pub fn from_id(id: i16) -> Option<Self> {
        Self::ALL.get(usize::try_from(id).ok()?).copied()
    }

    /// The number in a batch's attributes.
    #[must_use]
    pub fn id(self) -> i16 {
        self as i16
    }

    /// Kafka's name in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// How to compress: a codec and how hard it tries (KIP-390).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// The codec.
    pub compression: Compression,
    /// `compression.<codec>.level`; `None` is the codec's default. Of gzip −1 to 9, of zstd −131072 to 22; lz4 has one
    /// speed here whatever is asked, snappy has no levels.
    pub level: Option<i32>,
}

impl From<Compression> for Effort {
    fn from(compression: Compression) -> Self {
        Self { compression, level: None }
    }
}

/// How much a decoder may give out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Bytes of plain output.
    pub max_bytes: usize,
    /// What density is believed.
    pub density: Density,
}

/// Whether an output may be any number of times larger than its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Density {
    /// It may: the bytes come from somebody who has checked them, or from ourselves.
    Any,
    /// Up to [`Limit::RATIO`]: the bytes come from anybody, and the work they make is ours.
    Bounded,
}

impl Limit {
    /// The output of the smallest allowance.
    pub const LEAST: usize = 100 << 20;
    /// How many times larger than its input an output may be, once it is past [`Self::RATIO_FROM`]; more than deflate's
    /// 1032, which zeros reach.
    pub const RATIO: usize = 1100;
    /// Below this output any ratio will do.
    pub const RATIO_FROM: usize = 1 << 20;

    /// For batches of at most `max_message_bytes` as they are stored: ten times that, and 100 MiB at least.
    #[must_use]
    pub fn for_batches_of(max_message_bytes: usize) -> Self {
        let max_bytes = max_message_bytes.saturating_mul(10).max(Self::LEAST);
        Self { max_bytes, density: Density::Bounded }
    }

    /// So many bytes, however dense.
    #[must_use]
    pub fn bytes(max_bytes: usize) -> Self {
        Self { max_bytes, density: Density::Any }
    }

    fn check(self, input: usize, output: usize) -> Result<(), CompressionError> {
        if output > self.max_bytes {
            return Err(CompressionError::TooLarge { max: self.max_bytes });
        }
        let bounded = self.density == Density::Bounded;
        if bounded && output > Self::RATIO_FROM && output / Self::RATIO > input {
            return Err(CompressionError::TooDense);
        }
        Ok(())
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self { max_bytes: Self::LEAST, density: Density::Bounded }
    }
}

/// Why bytes could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// Not what the codec makes.
    #[error("malformed {codec} data: {what}")]
    Malformed {
        /// The codec.
        codec: &'static str,
        /// What is wrong.
        what: String,
    },
    /// More output than the limit.
    #[error("more than {max} bytes when decompressed")]
    TooLarge {
        /// The limit, in bytes.
        max: usize,
    },
    /// So much output out of so little input that it is no honest data.
    #[error("decompresses to more than {} times its size", Limit::RATIO)]
    TooDense,
}

impl CompressionError {
    fn malformed(codec: Compression, what: impl Into<String>) -> Self {
        Self::Malformed { codec: codec.name(), what: what.into() }
    }
}

/// The contexts and buffers of all codecs. Cheap until used; each codec's are made on first use and kept.
#[derive(Default)]
pub struct Codecs {
    gzip: gzip::Gzip,
    snappy: snappy::Snappy,
    lz4: lz4::Lz4,
    zstd: zstandard::Zstd,
    block: Block,
}

impl Codecs {
    /// Without any context yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends to `out` what `plain` becomes.
    ///
    /// # Panics
    /// When the codec's library fails on honest input, which means that it is broken.
    pub fn compress(&mut self, effort: Effort, plain: &[u8], out: &mut Vec<u8>) {
        match effort.compression {
            Compression::None => out.extend_from_slice(plain),
            Compression::Gzip => self.gzip.compress(effort.level, plain, out),
            Compression::Snappy => self.snappy.compress(plain, out),
            Compression::Lz4 => self.lz4.compress(plain, out),
            Compression::Zstd => self.zstd.compress(effort.level, plain, out),
        }
    }

    /// What `compressed` was, in one piece.
    ///
    /// # Errors
    /// When it is malformed or passes the limit.
    pub fn decompress(
        &mut self,
        codec: Compression,
        compressed: &[u8],
        limit: Limit,
    ) -> Result<Vec<u8>, CompressionError> {
        // A first guess that cannot be far too large; growth does the rest.
        let mut plain =
            Vec::with_capacity(compressed.len().saturating_mul(4).min(limit.max_bytes).min(4 << 20));
        let mut stream = self.stream(codec, compressed, limit)?;
        while stream.advance()? {
            plain.extend_from_slice(stream.chunk());
        }
        Ok(plain)
    }

    /// Decompresses piece by piece, for whoever need not have the whole.
    ///
    /// # Errors
    /// When the beginning is malformed.
    pub fn stream<'a>(
        &'a mut self,
        codec: Compression,
        compressed: &'a [u8],
        limit: Limit,
    ) -> Result<PlainStream<'a>, CompressionError> {
        PlainStream::new(self, codec, compressed, limit)
    }
}

impl std::fmt::Debug for Codecs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codecs").finish_non_exhaustive()
    }
}

/// `plain` compressed with contexts of the moment; for loops, keep a [`Codecs`].
#[must_use]
pub fn compress(effort: Effort, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Codecs::new().compress(effort, plain, &mut out);
    out
}

/// `compressed` decompressed with contexts of the moment; for loops, keep a [`Codecs`].
///
/// # Errors
/// When it is malformed or passes the limit.
pub fn decompress(codec: Compression, compressed: &[u8], limit: Limit) -> Result<Vec<u8>, CompressionError> {
    Codecs::new().decompress(codec, compressed, limit)
}

/// A scratch buffer that is filled again and again; it keeps its size, so its bytes are zeroed once only.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    filled: usize,
}

impl Block {
    /// What a decoder keeps between batches at most; a rare larger block is given back.
    const KEPT: usize = 4 << 20;

    fn space(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        &mut self.bytes[..len]
    }

    fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    fn reset(&mut self) {
        self.filled = 0;
        if self.bytes.len() > Self::KEPT {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests;
