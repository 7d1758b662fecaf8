//! Reading the log: what was written by an earlier coordinator, and what others write into it (transaction markers).
//!
//! Records of open transactions go to the decider at once, marked as such; it keeps them apart until the marker comes.

use bytes::Bytes;
use ottla_protocol::Offset;
use ottla_protocol::batch::{BatchError, BatchHeader, ControlType, HEADER_LEN, RecordsIter, split};
use ottla_protocol::compression::Limit;

use crate::decider::{Decider, Outcome, Producer, Written};
use crate::hosted::Hosted;
use crate::mutant::Mutant;

impl<D: Decider> Hosted<D> {
    /// Takes in whole batches of the log that hold everything from [`Hosted::next`] to before `next`.
    ///
    /// # Errors
    /// What is in the log is no batch. The coordinator knows less than its log then and must not serve.
    pub fn replay(&mut self, batches: &Bytes, next: Offset) -> Result<(), BatchError> {
        let (whole, error) = split(batches);
        for (header, batch) in whole {
            // A batch may begin before the log does, and what has been applied must not be applied again.
            if header.next_offset() > self.next {
                self.replay_batch(&header, batch.slice(HEADER_LEN..))?;
            }
        }
        error.map_or(Ok(()), Err)?;
        self.next = self.next.max(next);
        Ok(())
    }

    fn replay_batch(&mut self, header: &BatchHeader, body: Bytes) -> Result<(), BatchError> {
        let producer = Producer { id: header.producer_id, epoch: header.producer_epoch };
        let transaction = header.is_transactional().then_some(producer);
        let records = RecordsIter::of_body(*header, body, Limit::default(), &mut self.codecs)?;
        for view in records.views() {
            let view = view?;
            let offset = records.offset_of(&view);
            if offset < self.next {
                continue;
            }
            if header.is_control() {
                if self.planted.has(Mutant::MarkersPassedOver) {
                    continue;
                }
                match ControlType::from_key(view.key)? {
                    Some(ControlType::Commit) => self.decider.apply_marker(producer, Outcome::Committed),
                    Some(ControlType::Abort) => self.decider.apply_marker(producer, Outcome::Aborted),
                    _ => {}
                }
            } else if let Some(record) = D::decode(view.key.unwrap_or_default(), view.value) {
                let timestamp_ms = records.timestamp_of(&view);
                self.decider.apply(Written { offset, timestamp_ms, transaction }, record);
            }
        }
        self.next = header.next_offset();
        Ok(())
    }
}
