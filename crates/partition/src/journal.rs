//! The partition as the log of a coordinator: read to its end, whatever is replicated, and appended to at once.
//!
//! The coordinator waits for the high watermark itself, so nothing is parked here. It must live where the partition
//! leads, and be told when that ends.

use bytes::Bytes;
use ottla_log::producers::Origin;
use ottla_log::{DiskError, ReadError, ReadLimit};
use ottla_protocol::batch::{StampedBatch, Validated};
use ottla_protocol::{Now, Offset, Refusal};

use crate::input::{Acks, Append};
use crate::output::Output;
use crate::partition::Partition;
use crate::transactions::VerificationGuard;

/// Whole batches of a log, and where the next ones begin.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// The batches. Empty where there are none before `next`.
    pub batches: Bytes,
    /// Every record in them lies below this offset, and whoever reads on begins here.
    pub next: Offset,
}

impl Partition {
    /// Appends the batch of a coordinator that stands on this partition; gives the offset of its first record. All
    /// in-sync replicas count.
    ///
    /// # Errors
    /// The refusal; nothing has been appended then.
    pub fn append_for_coordinator(
        &mut self,
        now: Now,
        batch: StampedBatch,
        guard: Option<VerificationGuard>,
        out: &mut Vec<Output>,
    ) -> Result<Offset, Refusal> {
        if self.offline {
            return Err(Refusal::KafkaStorageError);
        }
        if batch.size() > self.settings.max_message_bytes as usize {
            return Err(Refusal::RecordListTooLarge);
        }
        let batch = if self.stamps() { batch.with_log_append_time(now.wall_ms) } else { batch };
        let batch = Validated { header: batch.header(), batch, rewritten: false };
        let append = Append { batch, acks: Acks::All, origin: Origin::Coordinator, guard };
        match self.write_for_coordinator(now, &append, out) {
            Ok(written) => written,
            Err(error) => {
                self.fail(error, out);
                Err(Refusal::KafkaStorageError)
            }
        }
    }

    fn write_for_coordinator(
        &mut self,
        now: Now,
        append: &Append,
        out: &mut Vec<Output>,
    ) -> Result<Result<Offset, Refusal>, DiskError> {
        let base_offset = match self.try_append(now, append)? {
            Ok((appended, _)) => appended.base_offset,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.begin_flush(out)?;
        self.advance_high_watermark(out);
        Ok(Ok(base_offset))
    }

    /// The next batches from an offset on, up to `max_bytes` or one batch, replicated or not; refused where they cannot
    /// be read just now. `None` where the disk has failed.
    pub fn read_for_coordinator(
        &mut self,
        from: Offset,
        max_bytes: u32,
        out: &mut Vec<Output>,
    ) -> Option<Result<Stretch, Refusal>> {
        if self.offline {
            return None;
        }
        let found = match self.log.read(from.max(self.log.start_offset()), ReadLimit::bytes(max_bytes)) {
            Ok(found) => found.read().map(|batches| Stretch { batches, next: found.next }),
            // Beyond the end there is nothing.
            Err(ReadError::OutOfRange { end, .. }) => Ok(Stretch { batches: Bytes::new(), next: end }),
            Err(ReadError::Disk(error)) => Err(error),
        };
        match self.refuse_passing(found.map(Ok)) {
            Ok(stretch) => Some(stretch),
            Err(error) => {
                self.fail(error, out);
                None
            }
        }
    }

    /// Whether the disk has failed under the log, so that nobody is served.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.offline
    }
}
