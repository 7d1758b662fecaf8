//! The LZ4 frame format, as Kafka's Java clients read and write it: version 1, independent blocks of 64 KiB, the header's
//! checksum right, no checksum over the content.
//!
//! Frames that Java could not read (dependent blocks, a dictionary) are refused, for what one client may write every
//! client must be able to fetch. What follows the end mark is ignored.

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

use crate::compression::xxhash::xxhash32;
use crate::compression::{Block, Compression, CompressionError};

const MAGIC: u32 = 0x184d_2204;
const VERSION: u8 = 0b0100_0000;
const VERSION_MASK: u8 = 0b1100_0000;
const INDEPENDENT: u8 = 0b0010_0000;
const BLOCK_CHECKSUM: u8 = 0b0001_0000;
const CONTENT_SIZE: u8 = 0b0000_1000;
const CONTENT_CHECKSUM: u8 = 0b0000_0100;
const RESERVED_OR_DICTIONARY: u8 = 0b0000_0011;
/// The block descriptor for blocks of 64 KiB.
const BLOCKS_OF_64_KIB: u8 = 4 << 4;
const BLOCK: usize = 64 << 10;
const STORED: u32 = 1 << 31;

#[derive(Default)]
pub(super) struct Lz4 {
    table: Option<CompressTable>,
}

impl Lz4 {
    pub(super) fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let table = self.table.get_or_insert_with(CompressTable::small);
        let descriptor = [VERSION | INDEPENDENT, BLOCKS_OF_64_KIB];
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&descriptor);
        out.push((xxhash32(&descriptor) >> 8) as u8);
        for block in plain.chunks(BLOCK) {
            let at = out.len();
            out.resize(at + 4 + get_maximum_output_size(block.len()), 0);
            let len = compress_into_with_table(block, &mut out[at + 4..], table)
                .expect("the buffer is as large as lz4 asks");
            if len < block.len() {
                out[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
                out.truncate(at + 4 + len);
            } else {
                out[at..at + 4].copy_from_slice(&(block.len() as u32 | STORED).to_le_bytes());
                out.truncate(at + 4);
                out.extend_from_slice(block);
            }
        }
        out.extend_from_slice(&0u32.to_le_bytes());
    }
}

pub(super) struct Reading {
    max_block: usize,
    block_checksums: bool,
    content_checksum: bool,
    done: bool,
}

impl Reading {
    pub(super) fn begin(rest: &mut &[u8]) -> Result<Self, CompressionError> {
        if rest.is_empty() {
            return Err(malformed("it is empty"));
        }
        if take_u32(rest)? != MAGIC {
            return Err(malformed("it does not begin with the magic of a frame"));
        }
        let descriptor = *rest;
        let [flags, sizes] = *take::<2>(rest)?;
        if flags & VERSION_MASK != VERSION || flags & RESERVED_OR_DICTIONARY != 0 {
            return Err(malformed("a version, a dictionary or a flag that is not supported"));
        }
        if flags & INDEPENDENT == 0 {
            return Err(malformed("dependent blocks are not supported"));
        }
        if sizes & 0b1000_1111 != 0 {
            return Err(malformed("a reserved bit is set"));
        }
        let max_block = match sizes >> 4 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            other => return Err(malformed(format!("block size {other}"))),
        };
        if flags & CONTENT_SIZE != 0 {
            take::<8>(rest)?;
        }
        let descriptor = &descriptor[..descriptor.len() - rest.len()];
        let [checksum] = *take::<1>(rest)?;
        if checksum != (xxhash32(descriptor) >> 8) as u8 {
            return Err(malformed("the checksum of the header is wrong"));
        }
        Ok(Self {
            max_block,
            block_checksums: flags & BLOCK_CHECKSUM != 0,
            content_checksum: flags & CONTENT_CHECKSUM != 0,
            done: false,
        })
    }

    pub(super) fn next(&mut self, rest: &mut &[u8], block: &mut Block) -> Result<(), CompressionError> {
        while !self.done && block.filled == 0 {
            let word = take_u32(rest)?;
            let len = (word & !STORED) as usize;
            if len == 0 {
                self.done = true;
                if self.content_checksum {
                    take_u32(rest)?;
                }
                return Ok(());
            }
            if len > self.max_block {
                return Err(malformed(format!("a block of {len} bytes, more than {}", self.max_block)));
            }
            let (stored, after) = rest.split_at_checked(len).ok_or_else(ends_early)?;
            *rest = after;
            if self.block_checksums && take_u32(rest)? != xxhash32(stored) {
                return Err(malformed("the checksum of a block is wrong"));
            }
            if word & STORED == 0 {
                // A byte of a length stands for 255 bytes at most, so small blocks need no large buffer.
                let most = self.max_block.min(len.saturating_mul(255).saturating_add(64));
                block.filled =
                    decompress_into(stored, block.space(most)).map_err(|e| malformed(e.to_string()))?;
            } else {
                block.space(len).copy_from_slice(stored);
                block.filled = len;
            }
        }
        Ok(())
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], CompressionError> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or_else(ends_early)?;
    *rest = after;
    Ok(taken)
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, CompressionError> {
    take::<4>(rest).map(|bytes| u32::from_le_bytes(*bytes))
}

fn ends_early() -> CompressionError {
    malformed("it ends within the frame")
}

fn malformed(what: impl Into<String>) -> CompressionError {
    CompressionError::malformed(Compression::Lz4, what)
}
