//! The metadata log, replayed: images out of records, with transactions (KIP-868) and snapshots.
//!
//! While a transaction is open nothing is published; an aborted one leaves no trace.

use ottla_protocol::Offset;
use ottla_protocol::records::metadata::MetadataRecord;

use crate::delta::Delta;
use crate::image::{Image, ReplayError};

/// What stood when a transaction began.
#[derive(Clone, Debug)]
struct Open {
    since: Offset,
    image: Image,
    delta: Delta,
}

/// An image that grows, and what changed since it was last published.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    image: Image,
    delta: Delta,
    open: Option<Open>,
}

impl Replay {
    /// Goes on from an image.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self { delta: Delta::from(&image), image, open: None }
    }

    /// Applies the record at `offset`.
    ///
    /// # Errors
    /// If the record cannot follow; the node then disagrees with the log and must not go on.
    pub fn apply(&mut self, offset: Offset, record: &MetadataRecord) -> Result<(), ReplayError> {
        let refuse = |reason: &str| {
            Err(ReplayError { record: record.name(), offset: offset.0, reason: reason.to_owned() })
        };
        match (record, self.open.take()) {
            (MetadataRecord::BeginTransaction(_), None) => {
                let (image, delta) = (self.image.clone(), self.delta.clone());
                self.open = Some(Open { since: offset, image, delta });
            }
            (MetadataRecord::BeginTransaction(_), Some(open)) => {
                self.open = Some(open);
                return refuse("a transaction is open");
            }
            (MetadataRecord::EndTransaction(_), Some(_)) => {}
            (MetadataRecord::AbortTransaction(_), Some(open)) => {
                self.image = open.image;
                self.delta = open.delta;
            }
            (MetadataRecord::EndTransaction(_) | MetadataRecord::AbortTransaction(_), None) => {
                return refuse("no transaction is open");
            }
            (_, open) => self.open = open,
        }
        self.image.replay(offset, record, &mut self.delta)
    }

    /// Notes that offsets up to `end` (exclusive) hold nothing more for the image, such as control records.
    pub fn skip_to(&mut self, end: Offset) {
        self.image.end_offset = self.image.end_offset.max(end);
    }

    /// The offset at which the open transaction began.
    #[must_use]
    pub fn open_since(&self) -> Option<Offset> {
        self.open.as_ref().map(|open| open.since)
    }

    /// The image with everything applied, an open transaction included.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The image, and what changed since the last call; `None` while a transaction is open.
    pub fn publish(&mut self) -> Option<(Image, Delta)> {
        if self.open.is_some() {
            return None;
        }
        let next = Delta::from(&self.image);
        Some((self.image.clone(), std::mem::replace(&mut self.delta, next)))
    }

    /// Replaces everything by a snapshot that holds the log up to `end` (exclusive); any open transaction is gone.
    ///
    /// # Errors
    /// If the snapshot contradicts itself.
    pub fn load(
        &mut self,
        end: Offset,
        records: impl IntoIterator<Item = MetadataRecord>,
    ) -> Result<(), ReplayError> {
        let mut image = Image::default();
        let mut unused = Delta::default();
        for record in records {
            image.replay(Offset(end.0 - 1), &record, &mut unused)?;
        }
        image.end_offset = end;
        self.delta = Delta::between(&self.delta.before, &image);
        self.image = image;
        self.open = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::Uuid;
    use ottla_protocol::records::metadata::{
        AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord, TopicRecord,
    };

    fn topic(number: u8) -> MetadataRecord {
        TopicRecord { name: format!("t{number}"), topic_id: Uuid([number; 16]) }.into()
    }

    fn run(records: &[MetadataRecord]) -> Result<Replay, ReplayError> {
        let mut replay = Replay::default();
        for (offset, record) in (0..).zip(records) {
            replay.apply(Offset(offset), record)?;
        }
        Ok(replay)
    }

    fn begin() -> MetadataRecord {
        BeginTransactionRecord::default().into()
    }

    fn end() -> MetadataRecord {
        EndTransactionRecord::default().into()
    }

    fn abort() -> MetadataRecord {
        AbortTransactionRecord::default().into()
    }

    #[test]
    fn an_open_transaction_is_not_published() {
        let mut open = run(&[topic(1), begin(), topic(2)]).unwrap();
        assert_eq!(open.open_since(), Some(Offset(1)));
        assert_eq!(open.publish(), None);
        let mut ended = run(&[topic(1), begin(), topic(2), end()]).unwrap();
        let (image, delta) = ended.publish().unwrap();
        assert_eq!((image.topics.len(), delta.topics_created.len(), image.end_offset), (2, 2, Offset(4)));
        assert!(ended.publish().unwrap().1.is_empty());
    }

    #[test]
    fn an_aborted_transaction_leaves_no_trace() {
        let mut aborted = run(&[topic(1), begin(), topic(2), abort(), topic(2)]).unwrap();
        let (image, delta) = aborted.publish().unwrap();
        assert_eq!((image.topics.len(), delta.topics_created.len(), image.end_offset), (2, 2, Offset(5)));
    }

    #[test]
    fn transactions_do_not_nest_and_have_two_ends() {
        assert!(run(&[begin(), begin()]).unwrap_err().reason.contains("is open"));
        assert!(run(&[end()]).unwrap_err().reason.contains("no transaction"));
        assert!(run(&[begin(), abort(), abort()]).is_err());
    }

    #[test]
    fn a_snapshot_replaces_everything() {
        let mut replay = run(&[topic(1), topic(2), begin()]).unwrap();
        replay.load(Offset(50), [topic(2), topic(3)]).unwrap();
        let (image, delta) = replay.publish().unwrap();
        assert_eq!(image.end_offset, Offset(50));
        assert_eq!(delta.topics_created.len(), 2);
        replay.load(Offset(60), [topic(3)]).unwrap();
        let (_, delta) = replay.publish().unwrap();
        assert_eq!(delta.topics_deleted.keys().copied().collect::<Vec<_>>(), [Uuid([2; 16])]);
    }
}
