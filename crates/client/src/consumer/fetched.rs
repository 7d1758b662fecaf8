//! What one answer brought for one partition: batches, read record by record when somebody wants them.
//!
//! Control records are passed over, and so are, for readers of committed records, those of aborted transactions: the
//! answer names each aborted producer with the offset at which it began, and its abort marker ends it.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use ottla_protocol::batch::{
    BatchError, BatchHeader, Batches, ControlType, Record, RecordsIter, TimestampType,
};
use ottla_protocol::compression::{Codecs, Limit};
use ottla_protocol::messages::fetch::AbortedTransaction;

/// How much one batch may be when decompressed.
const DECOMPRESSED_MAX: usize = 1 << 30;

#[derive(Debug)]
pub(super) struct Fetched {
    /// Whole batches.
    bytes: Bytes,
    at: usize,
    /// Records before this offset are not wanted.
    from: i64,
    /// Where to fetch next.
    pub next: i64,
    /// Transactions that were aborted, by first offset; empty for readers of uncommitted records.
    aborted: VecDeque<AbortedTransaction>,
    /// Producers whose records are aborted, up to their marker.
    aborting: BTreeSet<i64>,
    records: Option<RecordsIter>,
    /// Whose time the record given last carries.
    pub stamped_by: TimestampType,
    /// The epoch of the leader that wrote it, where the batch says so.
    pub leader_epoch: Option<i32>,
    /// A record that was given and handed back.
    unread: Option<Record>,
    check_crcs: bool,
}

/// The answer holds not even one whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut;

impl Fetched {
    /// Over what was fetched from an offset; a cut batch at the end is left out.
    pub(super) fn new(
        from: i64,
        bytes: Bytes,
        mut aborted: Vec<AbortedTransaction>,
        check_crcs: bool,
    ) -> Result<Self, Cut> {
        aborted.sort_by_key(|transaction| transaction.first_offset);
        let mut next = from;
        let mut batches = Batches::new(&bytes);
        for batch in batches.by_ref() {
            match batch {
                Ok(batch) => next = next.max(batch.header.next_offset().0),
                Err(BatchError::Incomplete { .. }) => break,
                // Found again, and told, when it is its turn.
                Err(_) => {
                    return Ok(Self::whole(from, next, bytes, aborted, check_crcs));
                }
            }
        }
        let whole = batches.position();
        if whole == 0 && !bytes.is_empty() {
            return Err(Cut);
        }
        Ok(Self::whole(from, next, bytes.slice(..whole), aborted, check_crcs))
    }

    fn whole(from: i64, next: i64, bytes: Bytes, aborted: Vec<AbortedTransaction>, check_crcs: bool) -> Self {
        Self {
            bytes,
            at: 0,
            from,
            next,
            aborted: aborted.into(),
            aborting: BTreeSet::new(),
            records: None,
            stamped_by: TimestampType::default(),
            leader_epoch: None,
            unread: None,
            check_crcs,
        }
    }

    /// Bytes that are held.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self, codecs: &mut Codecs) -> Result<Option<Record>, BatchError> {
        if let Some(record) = self.unread.take() {
            return Ok(Some(record));
        }
        loop {
            if let Some(records) = &mut self.records {
                match records.next().transpose()? {
                    Some(record) if record.offset.0 < self.from => continue,
                    Some(record) => {
                        // Offsets rise: whatever a broker sends, reading does not go back.
                        self.from = record.offset.0.saturating_add(1);
                        return Ok(Some(record));
                    }
                    None => self.records = None,
                }
            }
            if !self.next_batch(codecs)? {
                return Ok(None);
            }
        }
    }

    /// Takes a record back, to be given again.
    pub(super) fn unread(&mut self, record: Record) {
        self.unread = Some(record);
    }

    /// Opens the next batch that has something for the reader; false at the end.
    fn next_batch(&mut self, codecs: &mut Codecs) -> Result<bool, BatchError> {
        while self.at < self.bytes.len() {
            let rest = self.bytes.slice(self.at..);
            let header = BatchHeader::parse(&rest)?;
            let batch = rest.slice(..header.size().min(rest.len()));
            if self.check_crcs && !header.checksum_holds(&batch) {
                return Err(BatchError::Corrupt("the checksum does not match".to_owned()));
            }
            self.at += batch.len();
            if self.is_for_reader(&header, &batch, codecs)? && header.last_offset().0 >= self.from {
                self.records = Some(RecordsIter::new(&batch, limit(), codecs)?);
                self.stamped_by = header.timestamp_type();
                self.leader_epoch = Some(header.leader_epoch.0).filter(|epoch| *epoch >= 0);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_for_reader(
        &mut self,
        header: &BatchHeader,
        batch: &Bytes,
        codecs: &mut Codecs,
    ) -> Result<bool, BatchError> {
        while let Some(first) =
            self.aborted.front().filter(|first| first.first_offset <= header.last_offset().0)
        {
            self.aborting.insert(first.producer_id);
            self.aborted.pop_front();
        }
        if header.is_control() {
            if self.aborting.contains(&header.producer_id.0) && is_abort(batch, codecs)? {
                self.aborting.remove(&header.producer_id.0);
            }
            return Ok(false);
        }
        Ok(!(header.is_transactional() && self.aborting.contains(&header.producer_id.0)))
    }
}

fn is_abort(batch: &Bytes, codecs: &mut Codecs) -> Result<bool, BatchError> {
    let Some(marker) = RecordsIter::new(batch, limit(), codecs)?.next().transpose()? else {
        return Ok(false);
    };
    Ok(ControlType::from_key(marker.key.as_deref())? == Some(ControlType::Abort))
}

fn limit() -> Limit {
    Limit::bytes(DECOMPRESSED_MAX)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use ottla_protocol::batch::{BatchBuilder, BatchFields, RecordParts};
    use ottla_protocol::{LeaderEpoch, Offset};

    use super::*;

    fn batch(base: i64) -> Bytes {
        let mut builder = BatchBuilder::new();
        for value in [b"a", b"b"] {
            builder.append(&RecordParts { value: Some(value), ..Default::default() }).unwrap();
        }
        let batch = builder.finish(&BatchFields::default(), &mut Codecs::new());
        batch.at(Offset(base), LeaderEpoch(0)).to_bytes()
    }

    #[test]
    fn reading_never_goes_back_whatever_a_broker_sends() {
        let bytes: BytesMut = [batch(4), batch(0), batch(5)].iter().flatten().copied().collect();
        let mut fetched = Fetched::new(4, bytes.freeze(), Vec::new(), true).unwrap();
        let mut codecs = Codecs::new();
        let mut offsets = Vec::new();
        while let Some(record) = fetched.next(&mut codecs).unwrap() {
            offsets.push(record.offset.0);
        }
        assert_eq!(offsets, [4, 5, 6]);
    }
}
