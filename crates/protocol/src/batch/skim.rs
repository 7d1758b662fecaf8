//! Skimming records that come decompressed chunk by chunk, without ever holding more than a chunk.
//!
//! A record that lies within a chunk is skimmed in place; one that crosses the border is walked field by field, its key
//! and value skipped wherever they go on.

use crate::batch::BatchError;
use crate::batch::record::{self, CUT, HEADERS, LENGTH, Skimmed, VARINT};
use crate::batch::records::MORE;
use crate::batch::varint;
use crate::compression::PlainStream;

pub(super) struct SkimStream<'a> {
    plain: PlainStream<'a>,
    at: usize,
    /// Bytes of the present record that are still to come, while it is walked field by field.
    left: usize,
}

impl<'a> SkimStream<'a> {
    pub(super) fn new(plain: PlainStream<'a>) -> Self {
        Self { plain, at: 0, left: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Skimmed, BatchError> {
        let mut at = self.at;
        match record::take(self.plain.chunk(), &mut at) {
            Ok(record) => {
                self.at = at;
                record::skim(record).map_err(invalid)
            }
            Err(CUT) => self.across_chunks(),
            Err(fault) => Err(invalid(fault)),
        }
    }

    /// Whether the last record was the end.
    pub(super) fn end(&mut self) -> Result<(), BatchError> {
        if self.at < self.plain.chunk().len() || self.plain.advance()? { Err(invalid(MORE)) } else { Ok(()) }
    }

    fn across_chunks(&mut self) -> Result<Skimmed, BatchError> {
        // The length itself is not counted in the length.
        self.left = usize::MAX;
        let len = self.i32()?;
        self.left = usize::try_from(len).map_err(|_| invalid(LENGTH))?;
        self.byte()?;
        let timestamp_delta = varint::read_i64_from(|| self.byte())?.ok_or_else(|| invalid(VARINT))?;
        let offset_delta = self.i32()?;
        let has_key = self.skip_bytes()?;
        self.skip_bytes()?;
        let headers = self.i32()?;
        if usize::try_from(headers).map_or(true, |headers| headers > self.left) {
            return Err(invalid(HEADERS));
        }
        for _ in 0..headers {
            if !self.skip_bytes()? {
                return Err(invalid(HEADERS));
            }
            self.skip_bytes()?;
        }
        if self.left != 0 {
            return Err(invalid(LENGTH));
        }
        Ok(Skimmed { timestamp_delta, offset_delta, has_key })
    }

    fn i32(&mut self) -> Result<i32, BatchError> {
        varint::read_i32_from(|| self.byte())?.ok_or_else(|| invalid(VARINT))
    }

    fn byte(&mut self) -> Result<u8, BatchError> {
        self.left = self.left.checked_sub(1).ok_or_else(|| invalid(LENGTH))?;
        loop {
            if let Some(&byte) = self.plain.chunk().get(self.at) {
                self.at += 1;
                return Ok(byte);
            }
            self.refill()?;
        }
    }

    fn skip_bytes(&mut self) -> Result<bool, BatchError> {
        let Ok(mut len) = usize::try_from(self.i32()?) else {
            return Ok(false);
        };
        self.left = self.left.checked_sub(len).ok_or_else(|| invalid(LENGTH))?;
        loop {
            let here = (self.plain.chunk().len() - self.at).min(len);
            self.at += here;
            len -= here;
            if len == 0 {
                return Ok(true);
            }
            self.refill()?;
        }
    }

    fn refill(&mut self) -> Result<(), BatchError> {
        self.at = 0;
        if self.plain.advance()? { Ok(()) } else { Err(invalid(CUT)) }
    }
}

fn invalid(fault: record::Fault) -> BatchError {
    BatchError::Invalid(fault.into())
}
