//! What the leader of a partition does: append, acknowledge, move the high watermark.

use ottla_log::DiskError;
use ottla_log::producers::Verdict;
use ottla_protocol::batch::{StampedBatch, TimestampType};
use ottla_protocol::{LeaderEpoch, NodeId, Now, Offset, Refusal, Ticket};

use crate::input::{Acks, Append, Lead};
use crate::output::{Appended, Output, Reply};
use crate::partition::Partition;

/// What a leader knows besides its log.
#[derive(Debug)]
pub struct Leader {
    pub epoch: LeaderEpoch,
    pub partition_epoch: i32,
    pub isr: Vec<NodeId>,
    pub replicas: Vec<NodeId>,
}

impl Leader {
    pub fn new(lead: Lead) -> Self {
        let Lead { epoch, partition_epoch, replicas, isr } = lead;
        Self { epoch, partition_epoch, isr, replicas }
    }

    pub fn update(&mut self, lead: Lead) {
        self.partition_epoch = lead.partition_epoch;
        self.isr = lead.isr;
        self.replicas = lead.replicas;
    }
}

impl Partition {
    /// Appends, and replies when `acks` says so.
    pub(crate) fn append(
        &mut self,
        now: Now,
        ticket: Ticket,
        append: Append,
        out: &mut Vec<Output>,
    ) -> Result<(), DiskError> {
        match self.try_append(now, &append)? {
            Err(refusal) => out.push(Output::Reply(ticket, Reply::Refused(refusal))),
            Ok(written) => self.acknowledge(ticket, append.acks, written, out)?,
        }
        Ok(())
    }

    /// Replies to an append, at once or when the high watermark has come to the offset that has to be replicated for it.
    pub(crate) fn acknowledge(
        &mut self,
        ticket: Ticket,
        acks: Acks,
        (appended, end): (Appended, Offset),
        out: &mut Vec<Output>,
    ) -> Result<(), DiskError> {
        self.begin_flush(out)?;
        self.advance_high_watermark(out);
        if (acks == Acks::All || self.acknowledges_flushed()) && self.high_watermark < end {
            self.waiting.park_append(end, ticket, appended);
        } else {
            out.push(Output::Reply(ticket, Reply::Appended(appended)));
        }
        Ok(())
    }

    /// Writes the batch; gives what the producer is told and the offset that has to be replicated for it.
    ///
    /// The sequence of an idempotent producer is checked and the batch written in one step, so nothing comes between.
    pub(crate) fn try_append(
        &mut self,
        now: Now,
        append: &Append,
    ) -> Result<Result<(Appended, Offset), Refusal>, DiskError> {
        if let Err(refusal) = self.check_in_sync(append.acks) {
            return Ok(Err(refusal));
        }
        let log_start = self.log.start_offset();
        let header = &append.batch.header;
        match self.admit(append) {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(Verdict::Duplicate(earlier)) => {
                let base_offset = earlier.first_offset();
                let log_append_time_ms = self.stamps().then_some(earlier.timestamp);
                let appended = Appended { base_offset, log_append_time_ms, log_start };
                return Ok(Ok((appended, earlier.last_offset.plus(1))));
            }
            Ok(Verdict::New) => {}
        }
        let base_offset = match self.write(now, append.batch.batch.clone())? {
            Ok(base_offset) => base_offset,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.note_transaction(header);
        let log_append_time_ms = self.stamps().then_some(header.max_timestamp);
        Ok(Ok((Appended { base_offset, log_append_time_ms, log_start }, self.log.end_offset())))
    }

    /// Whether this node leads, and has enough replicas in sync for what is asked.
    pub(crate) fn check_in_sync(&self, acks: Acks) -> Result<(), Refusal> {
        let leader = self.leader.as_ref().ok_or(Refusal::NotLeaderOrFollower)?;
        // As many as there can be, for a topic may ask for more in-sync replicas than it has replicas.
        let needed = self.settings.min_insync_replicas.min(leader.replicas.len());
        if acks == Acks::All && leader.isr.len() < needed {
            return Err(Refusal::NotEnoughReplicas);
        }
        Ok(())
    }

    /// Puts a batch at the end of the log, where it gets its offset.
    pub(crate) fn write(
        &mut self,
        now: Now,
        batch: StampedBatch,
    ) -> Result<Result<Offset, Refusal>, DiskError> {
        let Some(leader) = &self.leader else { return Ok(Err(Refusal::NotLeaderOrFollower)) };
        let base_offset = self.log.end_offset();
        let batch = batch.at(base_offset, leader.epoch);
        match self.log.append(now, std::slice::from_ref(&batch)) {
            Ok(appended) => self.flushing.note(now, appended.rolled),
            Err(error) if error.is_passing() => {
                // Nothing is taken of this batch, what is there is kept, and the next one may find room.
                self.shortage.note(self.id, &error);
                return Ok(Err(Refusal::KafkaStorageError));
            }
            Err(error) => return Err(error),
        }
        Ok(Ok(base_offset))
    }

    /// Whether the broker's time stands in the records.
    pub(crate) fn stamps(&self) -> bool {
        self.settings.timestamp_type == TimestampType::LogAppendTime
    }

    /// Moves the high watermark to what every in-sync replica has, and tells those who waited for it.
    pub(crate) fn advance_high_watermark(&mut self, out: &mut Vec<Output>) {
        let Some(leader) = &self.leader else { return };
        // With this node as the only in-sync replica, what it has is what all have.
        let candidate = if leader.isr.len() <= 1 { self.durable_end() } else { self.high_watermark };
        if candidate > self.high_watermark {
            self.high_watermark = candidate;
            self.log.producers_mut().high_watermark_moved(candidate);
        }
        while let Some((ticket, appended)) = self.waiting.next_acknowledged(self.high_watermark) {
            out.push(Output::Reply(ticket, Reply::Appended(appended)));
        }
        for ticket in self.waiting.take_grown(self.high_watermark, self.last_stable()) {
            out.push(Output::Reply(ticket, Reply::Grown));
        }
    }
}
