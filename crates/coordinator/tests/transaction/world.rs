//! A transaction coordinator with a log that keeps bytes, a clock, and a cluster of made-up topics.

use bytes::Bytes;
use ottla_coordinator::mutant::Planted;
use ottla_coordinator::transaction::{Command, Effect, Entry, Record, Reply, Settings, Transactions};
use ottla_coordinator::{Around, Decider, Decision, Written};
use ottla_metadata::Image;
use ottla_metadata::features::TRANSACTION_VERSION;
use ottla_protocol::records::metadata::{
    FeatureLevelRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord, RemoveTopicRecord,
    TopicRecord,
};
use ottla_protocol::{LeaderEpoch, Now, Offset, Refusal, Ticket, Uuid};

type Decided = Decision<Record, Reply, Effect>;

/// What came of a step, in order.
#[derive(Clone, Debug)]
pub enum Happened {
    /// A record was appended.
    Wrote(Record),
    /// Records could not be appended.
    NotWritten(Vec<Record>),
    /// Somebody was answered.
    Replied(Ticket, Reply),
    /// Something is to be done.
    Wants(Effect),
}

/// Whether the log takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    Takes,
    Refuses,
}

/// See the module. What is appended is committed at once; who wants it otherwise cuts the log.
pub struct World {
    pub transactions: Transactions,
    pub image: Image,
    pub now: Now,
    pub settings: Settings,
    pub epoch: i32,
    pub log: Vec<(Bytes, Option<Bytes>)>,
    pub takes: Log,
    /// A bug that every coordinator of this world has.
    pub planted: Planted,
    next_ticket: u64,
    topics: u8,
}

impl Default for World {
    fn default() -> Self {
        let settings = Settings::default();
        let mut world = Self {
            transactions: Transactions::new(LeaderEpoch(5), settings),
            image: Image::default(),
            now: Now { monotonic_us: 1_000_000, wall_ms: 1_000 },
            settings,
            epoch: 5,
            log: Vec::new(),
            takes: Log::Takes,
            planted: Planted::default(),
            next_ticket: 0,
            topics: 0,
        };
        world.feature(2);
        let around = Around { now: world.now, image: &world.image };
        world.transactions.loaded(around);
        world
    }
}

impl World {
    pub fn command(&mut self, command: Command) -> (Ticket, Vec<Happened>) {
        self.next_ticket += 1;
        let ticket = Ticket { asker: 1, question: self.next_ticket };
        let around = Around { now: self.now, image: &self.image };
        let decision = self.transactions.decide(around, ticket, command);
        let mut happened = Vec::new();
        self.carry_out(decision, &mut happened);
        (ticket, happened)
    }

    /// Asks the coordinator what it wants by itself, until it has nothing more to say.
    pub fn tick(&mut self) -> Vec<Happened> {
        let mut happened = Vec::new();
        for _ in 0..10_000 {
            let around = Around { now: self.now, image: &self.image };
            let Some(decision) = self.transactions.tick(around) else {
                let deadline = self.transactions.deadline();
                assert!(
                    deadline.is_none_or(|deadline| !self.now.reached(deadline)),
                    "it would be asked at once"
                );
                return happened;
            };
            self.carry_out(decision, &mut happened);
        }
        panic!("it never comes to rest");
    }

    fn carry_out(&mut self, decision: Decided, happened: &mut Vec<Happened>) {
        let Decision { records, transaction, replies, effects } = decision;
        assert_eq!(transaction, None, "this log has no transactions");
        if self.takes == Log::Refuses && !records.is_empty() {
            happened.push(Happened::NotWritten(records.clone()));
            let around = Around { now: self.now, image: &self.image };
            let others = self.transactions.unwritten(around, records, Refusal::CoordinatorNotAvailable);
            assert!(others.is_empty());
            let refused = Reply::from(Refusal::CoordinatorNotAvailable);
            happened
                .extend(replies.into_iter().map(|(ticket, _)| Happened::Replied(ticket, refused.clone())));
            return;
        }
        for record in records {
            self.append(&record);
            happened.push(Happened::Wrote(record));
        }
        happened.extend(replies.into_iter().map(|(ticket, reply)| Happened::Replied(ticket, reply)));
        happened.extend(effects.into_iter().map(Happened::Wants));
    }

    fn append(&mut self, record: &Record) {
        let (key, value) = Transactions::encode(record);
        let read = Transactions::decode(&key, value.as_deref()).expect("what is written can be read");
        assert_eq!(read, as_read(record), "a record says the same when it is read again");
        self.transactions.apply(self.written(), record.clone());
        self.log.push((key, value));
    }

    fn written(&self) -> Written {
        Written {
            offset: Offset(i64::try_from(self.log.len()).unwrap()),
            timestamp_ms: self.now.wall_ms,
            transaction: None,
        }
    }

    /// Plants a bug in this coordinator and all that come.
    pub fn plant(&mut self, planted: Planted) {
        self.planted = planted;
        self.transactions.plant(planted);
    }

    /// Another coordinator takes over, from the first `kept` records of the log.
    pub fn reload(&mut self, kept: usize) -> Vec<Happened> {
        self.epoch += 1;
        self.log.truncate(kept);
        self.transactions = Transactions::new(LeaderEpoch(self.epoch), self.settings);
        self.transactions.plant(self.planted);
        for (key, value) in self.log.clone() {
            let record = Transactions::decode(&key, value.as_deref()).unwrap();
            self.transactions.apply(self.written(), record);
        }
        self.transactions.loaded(Around { now: self.now, image: &self.image });
        self.tick()
    }

    pub fn wait(&mut self, ms: i64) -> Vec<Happened> {
        self.now.monotonic_us += u64::try_from(ms).unwrap() * 1000;
        self.now.wall_ms += ms;
        self.tick()
    }

    /// Writes a record that no command leads to quickly.
    pub fn alter(&mut self, id: &str, change: impl FnOnce(&mut Entry)) -> Vec<Happened> {
        let mut entry = self.entry(id).unwrap().clone();
        change(&mut entry);
        let record = Record::Changed { id: id.into(), entry: Box::new(entry), version: 1 };
        self.append(&record);
        vec![Happened::Wrote(record)]
    }

    pub fn entry(&self, id: &str) -> Option<&Entry> {
        self.transactions.entries().find(|(known, _)| &***known == id).map(|(_, entry)| entry)
    }

    fn metadata(&mut self, records: &[MetadataRecord]) {
        self.image = self.image.apply(self.image.end_offset, records).unwrap().0;
    }

    pub fn feature(&mut self, level: i16) {
        let name = TRANSACTION_VERSION.to_owned();
        self.metadata(&[FeatureLevelRecord { name, feature_level: level }.into()]);
    }

    pub fn topic(&mut self, name: &str, partitions: i32, leader: i32) {
        self.topics += 1;
        let topic_id = Uuid([self.topics; 16]);
        self.metadata(&[TopicRecord { name: name.to_owned(), topic_id }.into()]);
        for partition_id in 0..partitions {
            let record = PartitionRecord {
                partition_id,
                topic_id,
                replicas: vec![1, 2],
                isr: vec![1, 2],
                leader,
                leader_epoch: 0,
                partition_epoch: 0,
                directories: vec![Uuid([1; 16]); 2],
                ..PartitionRecord::default()
            };
            self.metadata(&[record.into()]);
        }
    }

    pub fn drop_topic(&mut self, name: &str) {
        let topic_id = self.image.topics.named(name).unwrap().id;
        self.metadata(&[RemoveTopicRecord { topic_id }.into()]);
    }

    pub fn lead(&mut self, topic: &str, partition_id: i32, leader: i32) {
        let topic_id = self.image.topics.named(topic).unwrap().id;
        self.metadata(&[
            PartitionChangeRecord { partition_id, topic_id, leader, ..Default::default() }.into()
        ]);
    }
}

/// What a record says once it has been in the log: what its version has no field for is lost.
fn as_read(record: &Record) -> Record {
    let mut read = record.clone();
    if let Record::Changed { entry, version, .. } = &mut read {
        entry.last_epoch = ottla_protocol::ProducerEpoch(-1);
        if *version == 0 {
            entry.previous_id = ottla_protocol::ProducerId::NONE;
            entry.next_id = ottla_protocol::ProducerId::NONE;
            entry.version = ottla_coordinator::transaction::TransactionVersion::V0;
        }
    }
    read
}
