//! The log of a coordinator's partition: in memory, with a high watermark that others move.

use bytes::Bytes;
use ottla_coordinator::{Decider, Journal as Appending};
use ottla_protocol::batch::{BatchBuilder, BatchFields, RecordParts, StampedBatch};
use ottla_protocol::compression::{Codecs, Effort};
use ottla_protocol::{LeaderEpoch, Offset, Refusal};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    batches: Vec<StampedBatch>,
    /// Everything below is committed: no crash takes it.
    pub high_watermark: Offset,
    /// What is answered to appends, while they fail.
    pub refuses: Option<Refusal>,
    /// How many batches have been looked at.
    seen: usize,
}

impl Journal {
    /// Behind the last record.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, |batch| batch.header().next_offset())
    }

    /// Where batches end at or behind the high watermark: where a crash may cut.
    #[must_use]
    pub fn cuts(&self) -> Vec<Offset> {
        let ends = self.batches.iter().map(|batch| batch.header().next_offset());
        [self.high_watermark].into_iter().chain(ends.filter(|end| *end > self.high_watermark)).collect()
    }

    /// Forgets everything from an offset on.
    pub fn truncate(&mut self, end: Offset) {
        assert!(end >= self.high_watermark, "what is committed stays");
        self.batches.retain(|batch| batch.header().next_offset() <= end);
        self.seen = self.seen.min(self.batches.len());
    }

    /// All batches between two offsets, in one piece.
    #[must_use]
    pub fn bytes(&self, from: Offset, end: Offset) -> Bytes {
        let between = self.batches.iter().filter(|batch| {
            let header = batch.header();
            header.base_offset >= from && header.next_offset() <= end
        });
        between.map(StampedBatch::to_bytes).collect::<Vec<_>>().concat().into()
    }

    /// Appends what does not come from the coordinator: a transaction marker.
    pub fn append_foreign(&mut self, batch: StampedBatch) -> Offset {
        let base = self.end();
        self.batches.push(batch.at(base, LeaderEpoch(1)));
        base
    }

    /// Appends records that were there before the world began.
    ///
    /// # Panics
    /// If they are larger than a batch can be.
    pub fn begin_with<D: Decider>(&mut self, records: &[D::Record]) {
        let mut builder = BatchBuilder::new();
        for record in records {
            let (key, value) = D::encode(record);
            let parts = RecordParts { key: Some(&key), value: value.as_deref(), ..RecordParts::default() };
            builder.append(&parts).expect("few records are a small batch");
        }
        let fields = BatchFields { effort: Effort::default(), ..BatchFields::default() };
        self.append_foreign(builder.finish(&fields, &mut Codecs::new()));
        self.high_watermark = self.end();
    }

    /// The batches that have not been looked at yet.
    pub fn take_new(&mut self) -> Vec<StampedBatch> {
        let new = self.batches[self.seen..].to_vec();
        self.seen = self.batches.len();
        new
    }

    /// All batches are new again.
    pub fn look_again(&mut self) {
        self.seen = 0;
    }
}

impl Appending for Journal {
    fn append(&mut self, batch: StampedBatch) -> Result<Offset, Refusal> {
        match self.refuses {
            Some(refusal) => Err(refusal),
            None => Ok(self.append_foreign(batch)),
        }
    }

    fn name(&self) -> String {
        "made-up-0".to_owned()
    }
}
