//! Walking over batches that lie one behind the other, as in a segment or a fetch response.
//!
//! Checksums are not verified here; see [`BatchHeader::checksum_holds`] and `validate`.

use bytes::Bytes;

use crate::batch::{BatchError, BatchHeader, HEADER_LEN};

/// One whole batch: its header, and all its bytes including the header's.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The parsed header.
    pub header: BatchHeader,
    /// The whole batch.
    pub bytes: &'a [u8],
    /// Where the batch begins in the walked slice.
    pub position: usize,
}

impl<'a> Batch<'a> {
    /// The records as they are stored, compressed or plain.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// Whether the checksum is right.
    #[must_use]
    pub fn checksum_holds(&self) -> bool {
        self.header.checksum_holds(self.bytes)
    }
}

/// Yields batch after batch; the first batch that is torn or impossible comes out as an error and ends the walk.
///
/// A fetch response may end within a batch: to a consumer [`BatchError::Incomplete`] at the end is no fault.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> Batches<'a> {
    /// Over `bytes`, which begin with a batch.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, failed: false }
    }

    /// How many bytes the whole batches yielded so far take: the length to truncate to after an error.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    fn read(&self) -> Result<Batch<'a>, BatchError> {
        let rest = &self.bytes[self.position..];
        let header = BatchHeader::parse(rest)?;
        match rest.get(..header.size()) {
            Some(bytes) => Ok(Batch { header, bytes, position: self.position }),
            None => Err(BatchError::Incomplete { needed: header.size(), have: rest.len() }),
        }
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.position == self.bytes.len() {
            return None;
        }
        let batch = self.read();
        match &batch {
            Ok(batch) => self.position += batch.bytes.len(),
            Err(_) => self.failed = true,
        }
        Some(batch)
    }
}

/// Cuts shared bytes into whole batches without copying; the error that ended the walk, if one did, comes second.
#[must_use]
pub fn split(bytes: &Bytes) -> (Vec<(BatchHeader, Bytes)>, Option<BatchError>) {
    let mut whole = Vec::new();
    for batch in Batches::new(bytes) {
        match batch {
            Ok(batch) => whole.push((batch.header, bytes.slice_ref(batch.bytes))),
            Err(error) => return (whole, Some(error)),
        }
    }
    (whole, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offset;

    fn batch(base: i64, body: usize) -> Vec<u8> {
        let header = BatchHeader {
            base_offset: Offset(base),
            batch_length: 49 + body as i32,
            ..BatchHeader::default()
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.resize(HEADER_LEN + body, 0xaa);
        bytes
    }

    #[test]
    fn every_whole_batch_comes_and_a_torn_one_ends_it() {
        let mut bytes = [batch(0, 10), batch(1, 0), batch(2, 30)].concat();
        let bases = |bytes: &[u8]| -> Vec<Option<i64>> {
            Batches::new(bytes).map(|b| b.ok().map(|b| b.header.base_offset.0)).collect()
        };
        assert_eq!(bases(&bytes), [Some(0), Some(1), Some(2)]);
        bytes.pop();
        assert_eq!(bases(&bytes), [Some(0), Some(1), None]);
        let mut walk = Batches::new(&bytes);
        assert_eq!(walk.by_ref().filter(Result::is_ok).count(), 2);
        assert_eq!(walk.position(), HEADER_LEN * 2 + 10);
        let (whole, error) = split(&Bytes::from(bytes));
        assert_eq!(whole.len(), 2);
        assert!(matches!(error, Some(BatchError::Incomplete { needed: 91, have: 90 })));
    }
}
