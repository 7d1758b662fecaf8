//! `.txnindex`: the transactions that were aborted in a segment, in the order of their markers.
//!
//! Most segments have none, and then there is no file.

use std::io::IoSlice;

use ottla_protocol::{Offset, ProducerId};

use crate::disk::DiskError;
use crate::place::{Place, TRANSACTION_INDEX};

/// Bytes of an entry.
const ENTRY: usize = 34;
const VERSION: i16 = 0;

/// A transaction that ended with an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Its first record in this partition.
    pub first_offset: Offset,
    /// Its marker.
    pub last_offset: Offset,
    /// What the last stable offset became by the marker.
    pub last_stable_offset: Offset,
}

#[derive(Debug)]
pub(crate) struct TransactionIndex {
    base: Offset,
    written: u32,
    /// Not in the file yet: the disk is full, or there is no descriptor.
    waiting: Vec<AbortedTransaction>,
}

/// What a search found.
pub(crate) struct Collected {
    /// Whether later segments can have nothing to add.
    pub is_complete: bool,
}

impl TransactionIndex {
    pub fn empty(base: Offset) -> Self {
        Self { base, written: 0, waiting: Vec::new() }
    }

    /// Looks at a file that exists.
    ///
    /// # Errors
    /// [`DiskError`]; when an entry cannot be, [`DiskError::is_corrupt`].
    pub fn load(place: &Place, base: Offset) -> Result<Self, DiskError> {
        let mut index = Self::empty(base);
        let path = place.path(base, TRANSACTION_INDEX);
        let length = place.length(base, TRANSACTION_INDEX)?.unwrap_or(0);
        if length % ENTRY as u64 != 0 {
            return Err(DiskError::corrupt(&path, format!("{length} bytes are no whole number of entries")));
        }
        index.written = u32::try_from(length / ENTRY as u64).unwrap_or(u32::MAX);
        let mut before = None;
        for entry in index.entries(place)? {
            if entry.last_offset < base || before.is_some_and(|before| entry.last_offset <= before) {
                return Err(DiskError::corrupt(&path, format!("{entry:?} is out of order")));
            }
            before = Some(entry.last_offset);
        }
        Ok(index)
    }

    pub fn is_empty(&self) -> bool {
        self.written == 0 && self.waiting.is_empty()
    }

    pub fn append(&mut self, place: &Place, entry: AbortedTransaction) -> Result<(), DiskError> {
        self.waiting.push(entry);
        match self.persist(place) {
            Err(error) if error.is_passing() => Ok(()),
            result => result,
        }
    }

    /// Writes what has not been written.
    pub fn persist(&mut self, place: &Place) -> Result<(), DiskError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = self.waiting.iter().flat_map(encode).collect();
        let file = place.open_or_create(self.base, TRANSACTION_INDEX)?;
        file.write_at(&[IoSlice::new(&bytes)], u64::from(self.written) * ENTRY as u64)?;
        self.written += self.waiting.len() as u32;
        self.waiting.clear();
        Ok(())
    }

    /// Collects the transactions of which a record may lie in `from..up_to`.
    pub fn collect(
        &self,
        place: &Place,
        from: Offset,
        up_to: Offset,
        into: &mut Vec<AbortedTransaction>,
    ) -> Result<Collected, DiskError> {
        for entry in self.entries(place)? {
            if entry.last_offset >= from && entry.first_offset < up_to {
                into.push(entry);
            }
            if entry.last_stable_offset >= up_to {
                return Ok(Collected { is_complete: true });
            }
        }
        Ok(Collected { is_complete: false })
    }

    /// Drops the transactions whose markers are at or after `offset`.
    pub fn truncate_to(&mut self, place: &Place, offset: Offset) -> Result<(), DiskError> {
        if self.is_empty() {
            return Ok(());
        }
        let entries = self.entries(place)?;
        let kept = entries.partition_point(|entry| entry.last_offset < offset) as u32;
        self.waiting.retain(|entry| entry.last_offset < offset);
        if kept == 0 {
            return self.reset(place);
        }
        if kept < self.written {
            place.open(self.base, TRANSACTION_INDEX)?.truncate(u64::from(kept) * ENTRY as u64)?;
            self.written = kept;
        }
        Ok(())
    }

    /// Forgets everything, whatever the file was like.
    pub fn reset(&mut self, place: &Place) -> Result<(), DiskError> {
        *self = Self::empty(self.base);
        place.disk.remove(&place.path(self.base, TRANSACTION_INDEX)).map(drop)
    }

    fn entries(&self, place: &Place) -> Result<Vec<AbortedTransaction>, DiskError> {
        let mut entries = Vec::with_capacity(self.written as usize + self.waiting.len());
        if self.written > 0 {
            let path = place.path(self.base, TRANSACTION_INDEX);
            let bytes = place.disk.read(&path)?.unwrap_or_default();
            for entry in bytes.chunks_exact(ENTRY).take(self.written as usize) {
                let entry = decode(entry);
                entries
                    .push(entry.ok_or_else(|| DiskError::corrupt(&path, "an entry of an unknown version"))?);
            }
        }
        entries.extend(&self.waiting);
        Ok(entries)
    }
}

fn encode(entry: &AbortedTransaction) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
    let numbers =
        [entry.producer_id.0, entry.first_offset.0, entry.last_offset.0, entry.last_stable_offset.0];
    for (field, number) in bytes[2..].chunks_exact_mut(8).zip(numbers) {
        field.copy_from_slice(&number.to_be_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<AbortedTransaction> {
    let (version, numbers) = bytes.split_first_chunk::<2>()?;
    let mut numbers = numbers.chunks_exact(8).map(|field| {
        let mut number = [0; 8];
        number.copy_from_slice(field);
        i64::from_be_bytes(number)
    });
    (i16::from_be_bytes(*version) == VERSION).then_some(())?;
    Some(AbortedTransaction {
        producer_id: ProducerId(numbers.next()?),
        first_offset: Offset(numbers.next()?),
        last_offset: Offset(numbers.next()?),
        last_stable_offset: Offset(numbers.next()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, MemoryDisk};
    use std::sync::Arc;

    fn entry(producer: i64, first: i64, last: i64, stable: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(stable),
        }
    }

    #[test]
    fn aborted_transactions_are_found_by_range() {
        let disk = MemoryDisk::new();
        disk.create_dir("/p".as_ref()).unwrap();
        let place = Place::new(Arc::new(disk), "/p".into());
        let mut index = TransactionIndex::empty(Offset(0));
        assert_eq!(place.length(Offset(0), TRANSACTION_INDEX).unwrap(), None);
        let all = [entry(1, 0, 10, 5), entry(2, 5, 20, 12), entry(3, 12, 30, 31)];
        for one in all {
            index.append(&place, one).unwrap();
        }
        let index = TransactionIndex::load(&place, Offset(0)).unwrap();
        let find = |from: i64, up_to: i64| {
            let mut found = Vec::new();
            let complete =
                index.collect(&place, Offset(from), Offset(up_to), &mut found).unwrap().is_complete;
            (found.iter().map(|found| found.producer_id.0).collect::<Vec<_>>(), complete)
        };
        assert_eq!(find(0, 5), (vec![1], true));
        assert_eq!(find(0, 12), (vec![1, 2], true));
        assert_eq!(find(11, 40), (vec![2, 3], false));
        assert_eq!(find(31, 40), (vec![], false));
        assert_eq!(place.length(Offset(0), TRANSACTION_INDEX).unwrap(), Some(3 * 34));
    }

    #[test]
    fn truncation_and_damage() {
        let disk = MemoryDisk::new();
        disk.create_dir("/p".as_ref()).unwrap();
        let place = Place::new(Arc::new(disk), "/p".into());
        let mut index = TransactionIndex::empty(Offset(100));
        index.append(&place, entry(1, 100, 110, 111)).unwrap();
        index.append(&place, entry(2, 105, 120, 121)).unwrap();
        index.truncate_to(&place, Offset(120)).unwrap();
        assert_eq!(index.entries(&place).unwrap(), [entry(1, 100, 110, 111)]);
        let path = place.path(Offset(100), TRANSACTION_INDEX);
        for damaged in [vec![0; 33], vec![0; 34], vec![1; 34]] {
            place.disk.replace(&path, &damaged).unwrap();
            assert!(TransactionIndex::load(&place, Offset(100)).is_err_and(|error| error.is_corrupt()));
        }
    }
}
