//! A partition that producers write to, as far as transactions are concerned: who may write, and what has ended how.
//!
//! A model, not the machine of crate `partition`: it must be plainly right. Nothing it has taken in is ever lost.

use std::collections::BTreeMap;

use ottla_coordinator::{Outcome, Producer};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal};

/// See the module.
#[derive(Debug, Default)]
pub struct Partition {
    /// What stands in it.
    pub entries: Vec<Entry>,
    producers: BTreeMap<ProducerId, State>,
}

/// One record, or the end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A producer's record, of one of its transactions.
    Data(Producer, TransactionKey),
    /// Everything of a producer from the marker before up to here has ended so.
    Marker(Producer, Outcome),
}

/// A transaction, as its client counts them: client, process, and which of its transactions.
pub type TransactionKey = (usize, u64, u64);

/// A record on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// By whom.
    pub producer: Producer,
    /// The how-manieth record of this producer and epoch for this partition, from 0.
    pub sequence: i64,
    /// In which transaction.
    pub key: TransactionKey,
}

#[derive(Clone, Debug)]
struct State {
    epoch: ProducerEpoch,
    next_sequence: i64,
    is_open: bool,
    /// Of the last marker's coordinator.
    coordinator_epoch: i32,
    /// Counts the markers: what was verified before one says nothing after it.
    markers: u64,
}

/// What a partition says to a record before it has asked the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It stands there.
    Done,
    /// The coordinator is to be asked; the number is to be brought back.
    Verify(u64),
    /// No.
    Refused(Refusal),
}

impl Partition {
    /// A record arrives.
    pub fn produce(&mut self, produced: &Produced) -> Admission {
        let Produced { producer, sequence, .. } = *produced;
        let Some(state) = self.producers.get(&producer.id) else { return Admission::Verify(0) };
        if producer.epoch < state.epoch {
            return Admission::Refused(Refusal::InvalidProducerEpoch);
        }
        if producer.epoch == state.epoch && sequence < state.next_sequence {
            return Admission::Done;
        }
        if producer.epoch == state.epoch && state.is_open {
            return match self.append(produced) {
                Ok(()) => Admission::Done,
                Err(refusal) => Admission::Refused(refusal),
            };
        }
        Admission::Verify(state.markers)
    }

    /// The coordinator has said that the partition takes part.
    ///
    /// # Errors
    /// If that is no longer so, or was said of an earlier transaction.
    pub fn verified(&mut self, produced: &Produced, guard: u64) -> Result<(), Refusal> {
        let Produced { producer, sequence, .. } = *produced;
        if let Some(state) = self.producers.get(&producer.id) {
            if producer.epoch < state.epoch {
                return Err(Refusal::InvalidProducerEpoch);
            }
            if producer.epoch == state.epoch && sequence < state.next_sequence {
                return Ok(());
            }
            if state.markers != guard {
                return Err(Refusal::InvalidTxnState);
            }
        }
        self.append(produced)
    }

    fn append(&mut self, produced: &Produced) -> Result<(), Refusal> {
        let Produced { producer, sequence, key } = *produced;
        let state = self.producers.entry(producer.id).or_insert(State {
            epoch: producer.epoch,
            next_sequence: 0,
            is_open: false,
            coordinator_epoch: 0,
            markers: 0,
        });
        if producer.epoch > state.epoch {
            (state.epoch, state.next_sequence) = (producer.epoch, 0);
        }
        if sequence != state.next_sequence {
            return Err(Refusal::OutOfOrderSequenceNumber);
        }
        state.next_sequence += 1;
        state.is_open = true;
        self.entries.push(Entry::Data(producer, key));
        Ok(())
    }

    /// A marker arrives. In transactions of KIP-890 it has a later epoch than what it ends.
    ///
    /// # Errors
    /// If it comes from a coordinator or to a producer of the past.
    pub fn mark(
        &mut self,
        producer: Producer,
        outcome: Outcome,
        coordinator_epoch: i32,
        bumps_epoch: BumpsEpoch,
    ) -> Result<(), Refusal> {
        let state = self.producers.entry(producer.id).or_insert(State {
            epoch: producer.epoch,
            next_sequence: 0,
            is_open: false,
            coordinator_epoch: 0,
            markers: 0,
        });
        let too_old = match bumps_epoch {
            BumpsEpoch::Yes if state.is_open => producer.epoch <= state.epoch,
            _ => producer.epoch < state.epoch,
        };
        if too_old {
            return Err(Refusal::InvalidProducerEpoch);
        }
        if coordinator_epoch < state.coordinator_epoch {
            return Err(Refusal::TransactionCoordinatorFenced);
        }
        if producer.epoch > state.epoch {
            (state.epoch, state.next_sequence) = (producer.epoch, 0);
        }
        state.coordinator_epoch = coordinator_epoch;
        state.is_open = false;
        state.markers += 1;
        self.entries.push(Entry::Marker(producer, outcome));
        Ok(())
    }

    /// Producers whose transactions are open here.
    pub fn open(&self) -> impl Iterator<Item = ProducerId> {
        self.producers.iter().filter(|(_, state)| state.is_open).map(|(id, _)| *id)
    }
}

/// Whether the end of a transaction brings a new epoch (KIP-890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BumpsEpoch {
    /// `transaction.version` 2.
    Yes,
    /// Before.
    No,
}
