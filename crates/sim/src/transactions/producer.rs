//! A transactional producer: it gets its id, writes to some partitions, ends the transaction, and begins the next.
//!
//! It asks for one thing at a time, and asks again until it is answered. When it is fenced the process ends, and another
//! one takes its name.

use std::collections::BTreeMap;

use ottla_coordinator::transaction::{Command, Reply, TransactionVersion};
use ottla_coordinator::{Outcome, Producer};
use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::{EndTxnRequest, InitProducerIdRequest};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal};
use ottla_raft::random::Random;

use super::partition::{Produced, TransactionKey};

/// See the module.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub index: usize,
    /// Its name; another may have the same.
    name: usize,
    /// Counts its processes.
    pub process: u64,
    /// Whether the process runs.
    pub up: bool,
    /// What it may call itself, once it has been told.
    pub producer: Option<Producer>,
    /// Counts its transactions.
    pub transaction: u64,
    stage: Stage,
    /// What is still to be written in this transaction.
    left: Vec<usize>,
    /// Where this transaction takes part.
    joined: Vec<usize>,
    outcome: Outcome,
    /// It does not know what has been written: it needs another epoch when this transaction has ended (KIP-360).
    is_lost: bool,
    sequences: BTreeMap<usize, i64>,
    version: TransactionVersion,
    timeout_ms: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Initializing,
    Idle,
    /// The partition in front of `left` is to take part (before KIP-890).
    Joining,
    Writing,
    Ending,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub enum Ask {
    /// The coordinator.
    Coordinator(Command),
    /// A partition.
    Partition(usize, Produced),
}

/// What has become of it.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The coordinator's reply.
    Reply(Reply),
    /// The partition's.
    Produced(Option<Refusal>),
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Goes on after so many µs.
    After(u64),
    /// The process ends.
    Dies,
}

impl Client {
    /// A client that will start. Its transactions may be open for so long.
    #[must_use]
    pub fn new(index: usize, name: usize, version: TransactionVersion, timeout_ms: i32) -> Self {
        Self {
            index,
            name,
            process: 0,
            up: false,
            producer: None,
            transaction: 0,
            stage: Stage::Initializing,
            left: Vec::new(),
            joined: Vec::new(),
            outcome: Outcome::Committed,
            is_lost: false,
            sequences: BTreeMap::new(),
            version,
            timeout_ms,
        }
    }

    /// A process starts.
    pub fn start(&mut self) {
        self.process += 1;
        self.up = true;
        self.producer = None;
        self.stage = Stage::Initializing;
        self.is_lost = false;
        self.sequences.clear();
    }

    /// Whether it has nothing open.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// The transaction that it is in, or was in last.
    #[must_use]
    pub fn key(&self) -> TransactionKey {
        (self.index, self.process, self.transaction)
    }

    /// What it does next; nothing when it rests between two transactions.
    pub fn act(&mut self, partitions: usize, random: &mut Random) -> Option<Ask> {
        if self.stage == Stage::Idle {
            self.begin(partitions, random);
        }
        let id = format!("x{}", self.name);
        let producer = self.producer.unwrap_or(Producer { id: ProducerId::NONE, epoch: ProducerEpoch(-1) });
        Some(match self.stage {
            Stage::Initializing => Ask::Coordinator(Command::InitProducerId(InitProducerIdRequest {
                transactional_id: Some(id),
                transaction_timeout_ms: self.timeout_ms,
                producer_id: producer.id.0,
                producer_epoch: producer.epoch.0,
                ..Default::default()
            })),
            Stage::Joining => {
                let partition = *self.left.last()?;
                Ask::Coordinator(joins(self.version, id, producer, partition))
            }
            Stage::Writing => {
                let partition = *self.left.last()?;
                let sequence = self.sequences.get(&partition).copied().unwrap_or(0);
                Ask::Partition(partition, Produced { producer, sequence, key: self.key() })
            }
            Stage::Ending => Ask::Coordinator(Command::End(
                self.version,
                EndTxnRequest {
                    transactional_id: id,
                    producer_id: producer.id.0,
                    producer_epoch: producer.epoch.0,
                    committed: self.outcome == Outcome::Committed,
                },
            )),
            Stage::Idle => return None,
        })
    }

    /// The partition that it writes to.
    #[must_use]
    pub fn writes_to(&self) -> Option<usize> {
        self.left.last().copied().filter(|_| self.stage == Stage::Writing)
    }

    /// An answer has come.
    pub fn hear(&mut self, heard: Heard, random: &mut Random) -> Next {
        let refusal = match &heard {
            Heard::Reply(Reply::InitProducerId(response)) => Refusal::from_code(response.error_code),
            Heard::Reply(Reply::End(response)) => Refusal::from_code(response.error_code),
            Heard::Reply(Reply::AddPartitions(result)) => result
                .topic_results
                .iter()
                .flat_map(|topic| &topic.results_by_partition)
                .find_map(|partition| Refusal::from_code(partition.partition_error_code)),
            Heard::Reply(Reply::Refused(refusal)) => Some(*refusal),
            Heard::Produced(refusal) => *refusal,
            Heard::Reply(_) => None,
        };
        match refusal {
            None => self.granted(heard, random),
            Some(refusal) => self.refused(refusal, random),
        }
    }

    fn granted(&mut self, heard: Heard, random: &mut Random) -> Next {
        match (self.stage, heard) {
            (Stage::Initializing, Heard::Reply(Reply::InitProducerId(response))) => {
                self.become_producer(response.producer_id, response.producer_epoch);
                self.stage = Stage::Idle;
                Next::After(random.below(300_000))
            }
            (Stage::Joining, Heard::Reply(Reply::AddPartitions(_))) => {
                self.stage = Stage::Writing;
                Next::After(0)
            }
            (Stage::Writing, Heard::Produced(_)) => {
                if let Some(partition) = self.left.pop() {
                    *self.sequences.entry(partition).or_insert(0) += 1;
                    self.joined.push(partition);
                }
                self.write_on();
                Next::After(random.below(100_000))
            }
            (Stage::Ending, Heard::Reply(Reply::End(response))) => {
                if self.version.bumps_epoch() {
                    self.become_producer(response.producer_id, response.producer_epoch);
                    self.is_lost = false;
                }
                self.stage =
                    if std::mem::take(&mut self.is_lost) { Stage::Initializing } else { Stage::Idle };
                Next::After(random.below(500_000))
            }
            _ => Next::After(100_000),
        }
    }

    fn refused(&mut self, refusal: Refusal, random: &mut Random) -> Next {
        let backoff = Next::After(50_000 + random.below(150_000));
        match refusal {
            Refusal::ProducerFenced | Refusal::InvalidProducerIdMapping => Next::Dies,
            Refusal::InvalidProducerEpoch if self.stage != Stage::Writing => Next::Dies,
            Refusal::InvalidTxnState if self.stage == Stage::Ending => Next::Dies,
            Refusal::InvalidProducerEpoch
            | Refusal::InvalidTxnState
            | Refusal::TransactionAbortable
            | Refusal::OutOfOrderSequenceNumber => {
                // What has been written is to be taken back.
                self.outcome = Outcome::Aborted;
                self.is_lost = true;
                self.stage = Stage::Ending;
                backoff
            }
            _ => backoff,
        }
    }

    fn begin(&mut self, partitions: usize, random: &mut Random) {
        self.transaction += 1;
        self.joined.clear();
        let count = 1 + random.below(3);
        let any = |random: &mut Random| usize::try_from(random.below(partitions as u64)).unwrap_or(0);
        self.left = (0..count).map(|_| any(random)).collect();
        self.outcome = if random.below(4) == 0 { Outcome::Aborted } else { Outcome::Committed };
        // Some clients forget to say where they write: they must not get through with it.
        if random.below(20) == 0 {
            self.joined.clone_from(&self.left);
        }
        self.stage = Stage::Ending;
        self.write_on();
    }

    fn write_on(&mut self) {
        self.stage = match self.left.last() {
            None => Stage::Ending,
            Some(partition) if self.version.bumps_epoch() || self.joined.contains(partition) => {
                Stage::Writing
            }
            Some(_) => Stage::Joining,
        };
    }

    fn become_producer(&mut self, id: i64, epoch: i16) {
        let producer = Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch) };
        if self.producer != Some(producer) {
            self.sequences.clear();
            self.producer = Some(producer);
        }
    }
}

/// The command that makes a partition take part, or asks whether it does.
#[must_use]
pub fn verifies(version: TransactionVersion, id: String, producer: Producer, partition: usize) -> Command {
    let mut command = joins(version, id, producer, partition);
    if let Command::AddPartitions(_, transaction) = &mut command {
        transaction.verify_only = !version.bumps_epoch();
    }
    command
}

/// A partition's topic and number, as the coordinator knows it.
#[must_use]
pub fn name(partition: usize) -> (String, i32) {
    ("t0".to_owned(), i32::try_from(partition).unwrap_or(0))
}

fn joins(version: TransactionVersion, id: String, producer: Producer, partition: usize) -> Command {
    let (name, index) = name(partition);
    let transaction = AddPartitionsToTxnTransaction {
        transactional_id: id,
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        verify_only: false,
        topics: vec![AddPartitionsToTxnTopic { name, partitions: vec![index] }],
    };
    Command::AddPartitions(version, transaction)
}
