//! When a log goes to the disk, and what is acknowledged before it is there.
//!
//! Invariant: of what is acknowledged, fewer than `flush.messages` records are not on the disk. With 1 that means: on
//! the disk before the acknowledgement. One flush runs at a time; what comes meanwhile goes with the next, so the price
//! of a sync is shared by all who wait for it.

use ottla_log::{DiskError, Flushed};
use ottla_protocol::{Now, Offset, Refusal};

use crate::output::Output;
use crate::partition::Partition;

/// So often a close is tried again for which there is no descriptor: each attempt comes behind the flushes of other logs
/// that were ahead of it, and those give theirs back.
const CLOSE_ATTEMPTS: u32 = 20_000;

/// What is known of the flushes of a partition.
#[derive(Debug, Default)]
pub struct Flushing {
    /// One is under way.
    running: bool,
    /// A segment has been sealed since the last one began: a recovery should not have to read it.
    sealed: bool,
    /// The last one found no room or no descriptor: the next does not begin before somebody looks after the partition.
    held: bool,
    /// One is due that goes to the log's own files, where a redo file would do: to free that one, or since the last has
    /// come to nothing.
    settle: bool,
    /// Since when there has been something that is not on the disk.
    since: Option<Now>,
    end: End,
    /// How often a close has found no descriptor.
    late_closes: u32,
}

/// How far the end of a log has come. Once it has begun nothing is appended any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// Nobody wants it.
    #[default]
    Far,
    /// It comes after the flush that is running.
    Next,
    /// The last flush is running.
    Near,
    /// The log is closed.
    Here,
}

impl Flushing {
    /// Takes note of an append.
    pub fn note(&mut self, now: Now, rolled: bool) {
        self.sealed |= rolled;
        self.since.get_or_insert(now);
    }

    /// What was missing for a flush may be there again.
    pub fn look_again(&mut self) {
        self.held = false;
    }

    /// Whether the log is being closed, or is closed.
    pub fn is_ending(&self) -> bool {
        self.end != End::Far
    }

    /// Whether something has been in memory only for `flush_ms`.
    pub fn is_late(&self, now: Now, flush_ms: i64) -> bool {
        self.since.is_some_and(|since| now.reached(since.after_ms(flush_ms)))
    }
}

impl Partition {
    /// Whether a flush found no room or no descriptor: [`Input::Look`](crate::Input::Look) is wanted before long.
    #[must_use]
    pub fn wants_look(&self) -> bool {
        self.flushing.held && !self.offline
    }

    /// Whether acknowledgements wait for the disk.
    pub(crate) fn acknowledges_flushed(&self) -> bool {
        self.settings.flush_messages < i64::MAX
    }

    /// The end of what may be acknowledged as far as this node's disk is concerned.
    pub(crate) fn durable_end(&self) -> Offset {
        if self.unflushed() < self.settings.flush_messages {
            self.log.end_offset()
        } else {
            self.log.durable_end().max(self.high_watermark)
        }
    }

    fn unflushed(&self) -> i64 {
        self.log.end_offset().0 - self.log.durable_end().0
    }

    /// Begins a flush where one is due and none is running.
    pub(crate) fn begin_flush(&mut self, out: &mut Vec<Output>) -> Result<(), DiskError> {
        let Flushing { sealed, settle, .. } = self.flushing;
        let due = sealed || settle || self.unflushed() >= self.settings.flush_messages;
        if due && !self.flushing.held {
            self.flush(out)?;
        }
        Ok(())
    }

    /// Brings what stands in a redo file into the log's own files.
    pub(crate) fn settle(&mut self, out: &mut Vec<Output>) -> Result<(), DiskError> {
        self.flushing.settle = true;
        self.begin_flush(out)
    }

    /// Begins a flush of everything that is not on the disk, unless one is running.
    pub(crate) fn flush(&mut self, out: &mut Vec<Output>) -> Result<(), DiskError> {
        if self.flushing.running || self.flushing.is_ending() {
            return Ok(());
        }
        self.flushing.sealed = false;
        self.flushing.since = None;
        match self.log.prepare_flush() {
            Ok(Some(pending)) => {
                self.flushing.running = true;
                // Who follows may be truncated, and what is in a redo file cannot be taken back.
                let to_log = std::mem::take(&mut self.flushing.settle) || self.leader.is_none();
                out.push(Output::Flush(if to_log { pending.into_log() } else { pending }));
            }
            Ok(None) => self.flushing.settle = false,
            Err(error) if error.is_passing() => self.hold_flushes(&error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What has been written stays as it is, and is flushed later.
    fn hold_flushes(&mut self, error: &DiskError) {
        self.shortage.note(self.id, error);
        self.flushing.settle = true;
        self.flushing.held = true;
    }

    /// Closes the log: the last flush leaves it as the next start wants it.
    pub(crate) fn close(&mut self, out: &mut Vec<Output>) -> Result<(), DiskError> {
        self.leader = None;
        self.refuse_waiting(Refusal::NotLeaderOrFollower, out);
        if self.flushing.running {
            self.flushing.end = End::Next;
            return Ok(());
        }
        self.flushing.end = End::Near;
        match self.log.prepare_close() {
            Ok(Some(pending)) => {
                self.flushing.running = true;
                out.push(Output::Flush(pending));
            }
            Ok(None) => self.closed(out),
            Err(error) => return self.close_later(error, out),
        }
        Ok(())
    }

    /// Closes the log behind the flushes of others, where only a descriptor is missing.
    fn close_later(&mut self, error: DiskError, out: &mut Vec<Output>) -> Result<(), DiskError> {
        if !error.lacks_descriptors() || self.flushing.late_closes >= CLOSE_ATTEMPTS {
            return Err(error);
        }
        if self.flushing.late_closes == 0 {
            tracing::warn!(partition = %self.id, %error, "the log is closed a little later");
        }
        self.flushing.late_closes += 1;
        self.flushing.end = End::Next;
        self.flushing.running = true;
        out.push(Output::Flush(self.log.empty_flush()));
        Ok(())
    }

    fn closed(&mut self, out: &mut Vec<Output>) {
        self.flushing.end = End::Here;
        out.push(Output::Closed);
    }

    /// Takes in the end of a flush, acknowledges what waited for it, and begins the next where one is due.
    pub(crate) fn flushed(&mut self, flushed: Flushed, out: &mut Vec<Output>) -> Result<(), DiskError> {
        self.flushing.running = false;
        match self.log.finish_flush(flushed) {
            // A disk without room for the checkpoint keeps what it has.
            Err(error) if error.is_passing() && self.flushing.end != End::Near => {
                self.hold_flushes(&error);
            }
            Err(error) if self.flushing.end == End::Near => return self.close_later(error, out),
            outcome => outcome?,
        }
        match self.flushing.end {
            End::Near => self.closed(out),
            End::Next => return self.close(out),
            End::Far | End::Here => {}
        }
        self.advance_high_watermark(out);
        self.begin_flush(out)
    }
}
