//! What must hold of groups, whatever goes wrong: one file for each invariant.
//!
//! A checker reads the coordinator's log as any other reader would, and hears what is answered. None changes anything.

mod answers;
mod committed;
mod owners;
mod settled;

use ottla_coordinator::group::{Command, Record};
use ottla_coordinator::{Outcome, Producer, Written};
use ottla_protocol::Offset;
use ottla_protocol::batch::{ControlType, RecordsIter, StampedBatch};
use ottla_protocol::compression::{Codecs, Limit};

pub use answers::Answers;
pub use committed::CommittedOffsets;
pub use owners::Owners;
pub use settled::settled;

use crate::check::Violation;

/// A request that has reached the coordinator.
#[derive(Clone, Debug)]
pub struct Asked {
    /// By which client.
    pub client: usize,
    /// The connection and the number by which the client knows it.
    pub address: (u64, u64),
    /// When, in the world's time.
    pub at_us: u64,
    /// What was committed then.
    pub high_watermark: Offset,
    /// What it is.
    pub command: Command,
}

/// All invariants that hold at any time.
#[derive(Debug, Default)]
pub struct Checks {
    /// One owner for each partition.
    pub owners: Owners,
    /// Committed offsets do not go back, and are not lost.
    pub committed: CommittedOffsets,
    /// Whoever asks is answered once.
    pub answers: Answers,
    codecs: Codecs,
}

/// What stands at one offset of the log.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A record.
    Record(Written, Box<Record>),
    /// The end of a transaction.
    Marker(Producer, Outcome),
}

/// What stands in a batch, and behind which offset each stands.
///
/// # Errors
/// If it cannot be read.
fn entries(batch: &StampedBatch, codecs: &mut Codecs) -> Result<Vec<(Offset, Entry)>, Violation> {
    let unreadable = |error: &dyn std::fmt::Display| Violation {
        invariant: "the log can be read",
        what: error.to_string(),
    };
    let header = batch.header();
    let producer = Producer { id: header.producer_id, epoch: header.producer_epoch };
    let transaction = header.is_transactional().then_some(producer);
    let records = RecordsIter::of_body(header, batch.body.clone(), Limit::default(), codecs)
        .map_err(|error| unreadable(&error))?;
    let mut entries = Vec::new();
    for view in records.views() {
        let view = view.map_err(|error| unreadable(&error))?;
        let offset = records.offset_of(&view);
        if header.is_control() {
            match ControlType::from_key(view.key).map_err(|error| unreadable(&error))? {
                Some(ControlType::Commit) => {
                    entries.push((offset, Entry::Marker(producer, Outcome::Committed)))
                }
                Some(ControlType::Abort) => entries.push((offset, Entry::Marker(producer, Outcome::Aborted))),
                _ => {}
            }
            continue;
        }
        let record = Record::decode(view.key.unwrap_or_default(), view.value)
            .ok_or_else(|| unreadable(&"a record of no known type"))?;
        let written = Written { offset, timestamp_ms: records.timestamp_of(&view), transaction };
        entries.push((offset, Entry::Record(written, Box::new(record))));
    }
    Ok(entries)
}

impl Checks {
    /// A batch has been appended, or is read again after a crash.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn appended(&mut self, batch: &StampedBatch, fresh: Freshness) -> Result<(), Violation> {
        for (offset, entry) in entries(batch, &mut self.codecs)? {
            if let Entry::Record(_, record) = &entry {
                self.owners.read(record);
            }
            self.committed.read(offset, entry, fresh)?;
        }
        self.owners.after_batch()
    }

    /// The log has been cut: everything will be read again.
    pub fn forget_log(&mut self) {
        self.owners.forget_log();
        self.committed.forget_log();
    }
}

/// Whether a batch is read for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Just appended, because somebody has asked for something.
    Asked,
    /// Just appended, because it was time.
    Due,
    /// Read again, because what followed it is lost.
    Again,
}

fn violation(invariant: &'static str, what: String) -> Result<(), Violation> {
    Err(Violation { invariant, what })
}
