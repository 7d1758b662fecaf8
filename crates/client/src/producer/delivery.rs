//! What becomes of records: told batch by batch, since a broker takes or refuses whole batches.

use std::sync::Arc;

use crate::error::{ApiError, ClientError};
use ottla_protocol::Refusal;

/// Names a batch within its producer; later batches have greater ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// Where a record was put to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its batch.
    pub batch: BatchId,
    /// Its place in the batch, from 0.
    pub index: i32,
    /// The partition that was chosen.
    pub partition: i32,
    /// Whether `step` should run soon: a batch has been begun or completed.
    pub stir: Stir,
}

/// Whether a send changed what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stir {
    /// Nothing but one more record.
    Calm,
    /// There is something to send now, or a new time to wait for.
    Due,
}

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// It can be taken later.
    Later(Lack),
    /// It never will be.
    Never(ClientError),
}

/// What a send has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The topic's partitions are not known yet.
    Metadata,
    /// `buffer.memory` is used up.
    Memory,
}

/// The end of some records of a batch: all of them, or a part if the batch had to be divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The batch they were put into.
    pub batch: BatchId,
    /// The place in that batch of the first of them.
    pub first_index: i32,
    /// How many they are.
    pub count: i32,
    /// Their topic.
    pub topic: Arc<str>,
    /// Their partition.
    pub partition: i32,
    /// What became of them.
    pub outcome: Result<Placed, Lost>,
}

/// Where records have come to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Offset of the first; −1 where the broker does not say (acks=0, or a repeat that it had forgotten).
    pub base_offset: i64,
    /// The time that the leader gave all of them, in ms, if the topic is one where it does.
    pub log_append_time: Option<i64>,
}

/// Why records were lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// For the batch.
    pub error: ClientError,
    /// The records that made the batch unacceptable, by their index in what was sent, with the broker's words (KIP-467).
    pub culprits: Vec<(i32, String)>,
}

impl Delivered {
    /// The offset of the record at `index` of the batch, or its error. `None` if these are other records.
    #[must_use]
    pub fn of(&self, index: i32) -> Option<Result<i64, ClientError>> {
        let place = index.checked_sub(self.first_index).filter(|place| (0..self.count).contains(place))?;
        Some(match &self.outcome {
            Ok(placed) if placed.base_offset < 0 => Ok(-1),
            Ok(placed) => Ok(placed.base_offset.saturating_add(i64::from(place))),
            Err(lost) => Err(lost.of(index)),
        })
    }
}

impl Lost {
    fn of(&self, index: i32) -> ClientError {
        if self.culprits.is_empty() {
            return self.error.clone();
        }
        let refusal = self.error.refusal().unwrap_or(Refusal::InvalidRecord);
        match self.culprits.iter().find(|(culprit, _)| *culprit == index) {
            // With several culprits the batch's code may be that of another record.
            Some((_, why)) => ClientError::Refused(ApiError {
                refusal: if self.culprits.len() == 1 { refusal } else { Refusal::InvalidRecord },
                message: Some(why.clone()),
            }),
            None => ClientError::Invalid(
                "Failed to append record because it was part of a batch which had one more more invalid records"
                    .to_owned(),
            ),
        }
    }
}
