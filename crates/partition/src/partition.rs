//! The partition: its log, its role, and who waits for it.

use std::sync::Arc;

use ottla_log::{DiskError, Log};
use ottla_protocol::{LeaderEpoch, Now, Offset, PartitionId, Refusal, Ticket};

use crate::flushing::Flushing;
use crate::input::{Input, Isolation, Lead, Question};
use crate::leader::Leader;
use crate::output::{Output, Reply};
use crate::settings::TopicSettings;
use crate::shortage::Shortage;
use crate::transactions::Verifications;
use crate::waiting::Waiting;

/// See the module. Created without a role: until told to lead, it refuses every question.
pub struct Partition {
    pub(crate) id: PartitionId,
    pub(crate) log: Log,
    pub(crate) settings: Arc<TopicSettings>,
    pub(crate) leader: Option<Leader>,
    /// The end of what every in-sync replica has. Never goes back while this node leads.
    pub(crate) high_watermark: Offset,
    pub(crate) waiting: Waiting,
    pub(crate) flushing: Flushing,
    pub(crate) verifications: Verifications,
    pub(crate) shortage: Shortage,
    /// The disk has failed: the log answers nobody any more.
    pub(crate) offline: bool,
}

impl Partition {
    /// A partition over its opened log. `high_watermark` comes from the checkpoint and is bounded by the log.
    #[must_use]
    pub fn new(id: PartitionId, log: Log, settings: Arc<TopicSettings>, high_watermark: Offset) -> Self {
        let mut log = log;
        let high_watermark = high_watermark.clamp(log.start_offset(), log.end_offset());
        // Reading the log again has found ends of transactions that were replicated long ago.
        log.producers_mut().high_watermark_moved(high_watermark);
        Self {
            id,
            log,
            settings,
            leader: None,
            high_watermark,
            waiting: Waiting::default(),
            flushing: Flushing::default(),
            verifications: Verifications::default(),
            shortage: Shortage::default(),
            offline: false,
        }
    }

    /// Which partition this is.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// The log, to look at.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The end of what every in-sync replica has.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Takes one input to its end.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        let outcome = match input {
            Input::Question(ticket, question) => {
                let outcome = self.ask(now, ticket, question, out);
                if outcome.is_err() {
                    // Nobody is parked before the disk has done its part.
                    out.push(Output::Reply(ticket, Reply::Refused(Refusal::KafkaStorageError)));
                }
                outcome
            }
            Input::Lead(_) if self.flushing.is_ending() => Ok(()),
            Input::Lead(lead) => self.lead(lead, out),
            Input::StepDown => {
                self.leader = None;
                self.refuse_waiting(Refusal::NotLeaderOrFollower, out);
                Ok(())
            }
            Input::Configure(settings) => {
                self.log.set_config(settings.log);
                self.settings = settings;
                Ok(())
            }
            Input::Retain | Input::Close if self.offline => Ok(()),
            Input::Retain if self.flushing.is_ending() => Ok(()),
            Input::Retain => match self.retain(now) {
                Err(error) if error.is_passing() => {
                    tracing::warn!(partition = %self.id, %error, "old segments stay for now");
                    Ok(())
                }
                outcome => outcome,
            },
            Input::Look => {
                self.waiting.forget_late(now);
                self.flushing.look_again();
                self.shortage.look(self.id);
                match self.offline {
                    true => Ok(()),
                    false if self.flushing.is_late(now, self.settings.flush_ms) => self.flush(out),
                    false => self.begin_flush(out),
                }
            }
            Input::Flushed(_) | Input::Settle if self.offline => Ok(()),
            Input::Flushed(flushed) => self.flushed(flushed, out),
            Input::Settle => self.settle(out),
            Input::Close => self.close(out),
        };
        if let Err(error) = outcome {
            self.fail(error, out);
        }
    }

    /// Refuses everybody who waits, and gives the log away: the partition is no longer here.
    #[must_use]
    pub fn abandon(mut self, out: &mut Vec<Output>) -> Log {
        self.refuse_waiting(Refusal::NotLeaderOrFollower, out);
        self.log
    }

    pub(crate) fn refuse_waiting(&mut self, refusal: Refusal, out: &mut Vec<Output>) {
        for ticket in self.waiting.take_all() {
            out.push(Output::Reply(ticket, Reply::Refused(refusal)));
        }
    }

    fn ask(
        &mut self,
        now: Now,
        ticket: Ticket,
        question: Question,
        out: &mut Vec<Output>,
    ) -> Result<(), DiskError> {
        if self.offline {
            out.push(Output::Reply(ticket, Reply::Refused(Refusal::KafkaStorageError)));
            return Ok(());
        }
        if self.leader.is_none() && !matches!(question, Question::DescribeProducers) {
            out.push(Output::Reply(ticket, Reply::Refused(Refusal::NotLeaderOrFollower)));
            return Ok(());
        }
        let reply = match question {
            Question::Append(append) => return self.append(now, ticket, append, out),
            Question::Mark(mark) => return self.mark(now, ticket, mark, out),
            Question::Verify(verify) => self.verify(now, &verify).map(Reply::Verification),
            Question::DescribeProducers => Ok(Reply::Producers(self.describe_producers())),
            Question::AwaitGrowth { beyond, isolation, until } => {
                if self.readable_end(isolation) <= beyond {
                    self.waiting.park_reader(ticket, beyond, isolation, until);
                    return Ok(());
                }
                Ok(Reply::Grown)
            }
            Question::Read(request) => {
                let found = self.read(&request);
                self.refuse_passing(found)?.map(Reply::Read)
            }
            Question::ListOffset { spec, isolation, current_leader_epoch } => {
                match self.check_epoch(current_leader_epoch) {
                    Ok(()) => {
                        let found = self.list_offset(spec, isolation).map(Ok);
                        self.refuse_passing(found)?.map(Reply::Listed)
                    }
                    Err(refusal) => Err(refusal),
                }
            }
            Question::EpochEnd { current_leader_epoch, epoch } => {
                self.check_epoch(current_leader_epoch).map(|()| Reply::EpochEnd(self.epoch_end(epoch)))
            }
            Question::DeleteRecords { before } => self.delete_records(before).map(Reply::LowWatermark),
        };
        out.push(Output::Reply(ticket, reply.unwrap_or_else(Reply::Refused)));
        Ok(())
    }

    /// Older and repeated orders are ignored; the same epoch again changes only the list of replicas.
    fn lead(&mut self, lead: Lead, out: &mut Vec<Output>) -> Result<(), DiskError> {
        match &mut self.leader {
            Some(leader) if lead.partition_epoch < leader.partition_epoch => return Ok(()),
            Some(leader) if lead.epoch == leader.epoch => leader.update(lead),
            _ => {
                self.log.begin_epoch(lead.epoch);
                self.leader = Some(Leader::new(lead));
            }
        }
        if !self.offline {
            // What a recovery has found need not be on the disk, and nobody else may come to flush it.
            self.begin_flush(out)?;
        }
        self.advance_high_watermark(out);
        Ok(())
    }

    /// How far a reader with this isolation sees.
    pub(crate) fn readable_end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable(),
        }
    }

    /// Compares the leader epoch as the asker knows it with ours (KIP-320).
    pub(crate) fn check_epoch(&self, theirs: Option<LeaderEpoch>) -> Result<(), Refusal> {
        let ours = self.leader.as_ref().map(|leader| leader.epoch);
        match (theirs, ours) {
            (Some(theirs), Some(ours)) if theirs < ours => Err(Refusal::FencedLeaderEpoch),
            (Some(theirs), Some(ours)) if theirs > ours => Err(Refusal::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// Lets go of what is too old or too much, and of producers that have been silent for too long.
    fn retain(&mut self, now: Now) -> Result<(), DiskError> {
        let expiration_ms = self.settings.log.producer_expiration_ms;
        self.log.producers_mut().expire(now.wall_ms, expiration_ms);
        self.verifications.expire(now.wall_ms, expiration_ms);
        self.log.retain(now, self.high_watermark)?.erase()
    }

    /// What cannot be done just now, for want of room or of a descriptor, is refused; the same may be asked again.
    pub(crate) fn refuse_passing<T>(
        &mut self,
        outcome: Result<Result<T, Refusal>, DiskError>,
    ) -> Result<Result<T, Refusal>, DiskError> {
        match outcome {
            Err(error) if error.is_passing() => {
                self.shortage.note(self.id, &error);
                Ok(Err(Refusal::KafkaStorageError))
            }
            outcome => outcome,
        }
    }

    /// The directory has failed, under this log or another: everybody is refused from now on.
    pub fn go_offline(&mut self, out: &mut Vec<Output>) {
        self.offline = true;
        self.refuse_waiting(Refusal::KafkaStorageError, out);
    }

    pub(crate) fn fail(&mut self, error: DiskError, out: &mut Vec<Output>) {
        self.go_offline(out);
        out.push(Output::Failed(error));
    }
}
