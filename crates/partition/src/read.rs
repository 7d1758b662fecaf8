//! What can be asked of a partition's log without changing it, and the deletion of its oldest records.

use ottla_log::{DiskError, ReadError, ReadLimit};
use ottla_protocol::{LeaderEpoch, Offset, Refusal};

use crate::input::{Isolation, OffsetSpec, ReadRequest};
use crate::output::{AbortedTransaction, EpochEnd, ListedOffset, Read};
use crate::partition::Partition;

impl Partition {
    /// Finds the records from an offset on, as far as the reader may see.
    pub(crate) fn read(&mut self, request: &ReadRequest) -> Result<Result<Read, Refusal>, DiskError> {
        if let Err(refusal) = self.check_epoch(request.current_leader_epoch) {
            return Ok(Err(refusal));
        }
        let readable_end = self.readable_end(request.isolation);
        let mut read = Read {
            slices: Vec::new(),
            high_watermark: self.high_watermark,
            last_stable: self.last_stable(),
            log_start: self.log.start_offset(),
            readable_end,
            aborted: None,
            diverging: None,
        };
        if let Some(epoch) = request.last_fetched_epoch {
            match self.epoch_end(epoch) {
                None => return Ok(Err(Refusal::OffsetOutOfRange)),
                Some(end) if end.epoch < epoch || end.end < request.from => {
                    read.diverging = Some(end);
                    return Ok(Ok(read));
                }
                Some(_) => {}
            }
        }
        if request.from < self.log.start_offset() || request.from > self.log.end_offset() {
            return Ok(Err(Refusal::OffsetOutOfRange));
        }
        let mut end = request.from;
        if request.from < readable_end {
            let limit = ReadLimit {
                up_to: readable_end,
                max_bytes: request.max_bytes,
                first_batch: request.first_batch,
            };
            match self.log.read(request.from, limit) {
                Ok(found) => {
                    read.slices = found.slices;
                    end = found.next;
                }
                Err(ReadError::OutOfRange { .. }) => return Ok(Err(Refusal::OffsetOutOfRange)),
                Err(ReadError::Disk(error)) => return Err(error),
            }
        }
        if request.isolation == Isolation::ReadCommitted {
            read.aborted = Some(self.aborted(request.from, end)?);
        }
        Ok(Ok(read))
    }

    /// The aborted transactions that have records in `from..end`.
    fn aborted(&self, from: Offset, end: Offset) -> Result<Vec<AbortedTransaction>, DiskError> {
        if end <= from {
            return Ok(Vec::new());
        }
        let aborted = self.log.aborted_transactions(from, end)?;
        let row = |a: ottla_log::AbortedTransaction| AbortedTransaction {
            producer: a.producer_id,
            first_offset: a.first_offset,
        };
        Ok(aborted.into_iter().map(row).collect())
    }

    /// Finds the offset of a time or a mark.
    pub(crate) fn list_offset(
        &mut self,
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> Result<Option<ListedOffset>, DiskError> {
        let mark =
            |offset: Offset, epoch: Option<LeaderEpoch>| ListedOffset { offset, timestamp_ms: -1, epoch };
        let end = self.readable_end(isolation);
        Ok(match spec {
            OffsetSpec::Earliest | OffsetSpec::EarliestLocal => {
                let start = self.log.start_offset();
                Some(mark(start, self.log.epochs().epoch_at(start)))
            }
            OffsetSpec::Latest => Some(mark(end, self.leader.as_ref().map(|leader| leader.epoch))),
            OffsetSpec::LatestTiered | OffsetSpec::EarliestPendingUpload => Some(mark(Offset(-1), None)),
            OffsetSpec::MaxTimestamp => {
                let found = self.log.max_timestamp_offset()?;
                self.found(found, end)
            }
            OffsetSpec::Timestamp(time) => {
                let found = self.log.offset_for_timestamp(time)?;
                self.found(found, end)
            }
        })
    }

    fn found(&self, found: Option<ottla_log::TimestampOffset>, end: Offset) -> Option<ListedOffset> {
        let found = found.filter(|found| found.offset < end)?;
        let epoch = self.log.epochs().epoch_at(found.offset);
        Some(ListedOffset { offset: found.offset, timestamp_ms: found.timestamp, epoch })
    }

    /// Where a leader epoch ends; `None` where it is newer than any known.
    pub(crate) fn epoch_end(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        let (epoch, end) = self.log.epochs().end_offset_for(epoch, self.log.end_offset())?;
        Some(EpochEnd { epoch, end })
    }

    /// Forgets the records before an offset and gives the new log start.
    pub(crate) fn delete_records(&mut self, before: Option<Offset>) -> Result<Offset, Refusal> {
        let before = before.unwrap_or(self.high_watermark);
        if before > self.high_watermark {
            return Err(Refusal::OffsetOutOfRange);
        }
        self.log.delete_records_before(before);
        Ok(self.log.start_offset())
    }
}
