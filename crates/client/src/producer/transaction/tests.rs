//! Transactions against scripted coordinators, in both versions of the protocol: what is asked, in which order, and what
//! becomes of errors.

use ottla_protocol::ApiKey;
use ottla_protocol::batch::BatchHeader;
use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use ottla_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};

use super::*;
use crate::consumer::Identity as Member;
use crate::producer::{Lack, NewRecord, ProducerSettings, Unsent};
use crate::testing::{Fault, World, properties};

struct Bench {
    world: World,
    producer: Producer,
    delivered: Vec<Result<i64, ClientError>>,
}

impl Bench {
    /// A producer before a coordinator that speaks this version of the protocol.
    fn new(version: i16) -> Self {
        let pairs = [("transactional.id", "id"), ("linger.ms", "0")];
        let settings = ProducerSettings::from_properties(&properties(&pairs)).unwrap();
        let mut world = World::new(&pairs, &[("t", 2)]);
        world.transaction_version = version;
        Self { world, producer: Producer::new(settings, 7), delivered: Vec::new() }
    }

    /// The same, initialized as producer 5 in epoch 1, with a transaction begun.
    fn begun(version: i16) -> Self {
        let mut bench = Self::new(version);
        bench.identified(5, 1);
        assert_eq!(bench.transact(Transact::Init), Some(Ok(())));
        bench.producer.begin().unwrap();
        bench
    }

    fn identified(&mut self, producer_id: i64, producer_epoch: i16) {
        self.world.script::<InitProducerIdRequest>(InitProducerIdResponse {
            producer_id,
            producer_epoch,
            ..InitProducerIdResponse::default()
        });
    }

    fn ended(&mut self, refusal: Option<Refusal>, producer: Option<(i64, i16)>) {
        let (producer_id, producer_epoch) = producer.unwrap_or((-1, -1));
        self.world.script::<EndTxnRequest>(EndTxnResponse {
            error_code: refusal.map_or(0, Refusal::code),
            producer_id,
            producer_epoch,
            ..EndTxnResponse::default()
        });
    }

    fn announced(&mut self, partitions: &[i32], refusal: Option<Refusal>) {
        let row = |index: &i32| AddPartitionsToTxnPartitionResult {
            partition_index: *index,
            partition_error_code: refusal.map_or(0, Refusal::code),
        };
        let results_by_partition = partitions.iter().map(row).collect();
        let topic = AddPartitionsToTxnTopicResult { name: "t".into(), results_by_partition };
        self.world.script::<AddPartitionsToTxnRequest>(AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: vec![topic],
            ..AddPartitionsToTxnResponse::default()
        });
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            for done in self.world.carry_out() {
                self.producer.done(self.world.now, &mut self.world.cluster, done.ticket, done.outcome);
            }
            self.producer.step(self.world.now, &mut self.world.cluster);
            self.world.deliver();
        }
        while let Some(delivered) = self.producer.delivered() {
            let all = delivered.first_index..delivered.first_index + delivered.count;
            self.delivered.extend(all.map(|index| delivered.of(index).unwrap()));
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.world.pass(10);
            self.settle();
        }
    }

    fn transact(&mut self, act: Transact) -> Option<Result<(), TransactionError>> {
        if let Err(error) = self.producer.transact(self.world.now, &mut self.world.cluster, act) {
            return Some(Err(error));
        }
        self.settle();
        self.producer.transacted()
    }

    fn try_put(&mut self, partition: i32) -> Result<(), Unsent> {
        let record =
            NewRecord { topic: "t", partition: Some(partition), value: Some(b"v"), ..NewRecord::default() };
        for _ in 0..100 {
            match self.producer.send(self.world.now, self.world.cluster.metadata(), &record) {
                Err(Unsent::Later(Lack::Metadata)) => self.pass(10),
                other => return other.map(drop),
            }
        }
        panic!("no metadata");
    }

    fn put(&mut self, partition: i32) {
        self.try_put(partition).unwrap();
    }

    fn header(&mut self, partition: i32, batch: usize) -> BatchHeader {
        BatchHeader::parse(&self.world.log("t", partition).batches[batch]).unwrap()
    }

    fn produce_versions(&self) -> Vec<i16> {
        let all = self.world.requests.iter().filter(|(_, key, _)| *key == ApiKey::Produce);
        all.map(|(_, _, version)| *version).collect()
    }
}

#[test]
fn by_the_first_version_partitions_are_announced_before_they_are_written_to() {
    let mut bench = Bench::begun(0);
    bench.put(0);
    bench.put(1);
    bench.settle();
    assert!(bench.delivered.is_empty(), "nobody has answered yet");
    bench.announced(&[0, 1], None);
    // The unanswered question holds up its connection: the next attempt is on another one.
    bench.world.pass(31_000);
    bench.pass(500);
    assert_eq!(bench.delivered, [Ok(0), Ok(0)]);
    let header = bench.header(0, 0);
    assert!(header.is_transactional());
    assert_eq!((header.producer_id.0, header.producer_epoch.0), (5, 1));
    assert!(bench.produce_versions().iter().all(|version| *version <= 11));
    bench.ended(None, None);
    assert_eq!(bench.transact(Transact::Commit), Some(Ok(())));
    let end = bench.world.heard::<EndTxnRequest>().pop().unwrap();
    assert_eq!((end.transactional_id.as_str(), end.producer_id, end.committed), ("id", 5, true));
    // The next transaction goes on with the numbers.
    bench.producer.begin().unwrap();
    bench.announced(&[0], None);
    bench.put(0);
    bench.pass(50);
    assert_eq!((bench.header(0, 1).producer_epoch.0, bench.header(0, 1).base_sequence), (1, 1));
}

#[test]
fn by_the_second_version_writing_announces_and_each_transaction_has_its_epoch() {
    let mut bench = Bench::begun(2);
    bench.put(0);
    bench.pass(50);
    assert!(bench.world.heard::<AddPartitionsToTxnRequest>().is_empty());
    assert!(bench.produce_versions().iter().all(|version| *version >= 12));
    bench.ended(None, Some((5, 2)));
    assert_eq!(bench.transact(Transact::Commit), Some(Ok(())));
    bench.producer.begin().unwrap();
    bench.put(0);
    bench.pass(50);
    assert_eq!((bench.header(0, 1).producer_epoch.0, bench.header(0, 1).base_sequence), (2, 0));
    bench.ended(None, Some((6, 0)));
    assert_eq!(bench.transact(Transact::Abort), Some(Ok(())));
    assert!(!bench.world.heard::<EndTxnRequest>().pop().unwrap().committed);
    bench.producer.begin().unwrap();
    bench.put(1);
    bench.pass(50);
    assert_eq!((bench.header(1, 0).producer_id.0, bench.header(1, 0).producer_epoch.0), (6, 0));
}

#[test]
fn a_commit_waits_until_everything_is_written() {
    let mut bench = Bench::begun(2);
    bench.world.faults.extend([Fault::Refuse(Refusal::NotEnoughReplicas); 3]);
    bench.put(0);
    bench.ended(None, Some((5, 2)));
    assert_eq!(bench.transact(Transact::Commit), None);
    assert!(bench.world.heard::<EndTxnRequest>().is_empty());
    bench.pass(2000);
    assert_eq!(bench.producer.transacted(), Some(Ok(())));
    assert_eq!(bench.delivered, [Ok(0)]);
}

#[test]
fn transactions_of_nothing_ask_nobody() {
    for act in [Transact::Commit, Transact::Abort] {
        let mut bench = Bench::begun(2);
        assert_eq!(bench.transact(act), Some(Ok(())));
        assert!(bench.world.heard::<EndTxnRequest>().is_empty());
        bench.producer.begin().unwrap();
    }
}

#[test]
fn a_lost_batch_spoils_the_transaction_until_it_is_aborted() {
    for version in [0, 2] {
        let mut bench = Bench::begun(version);
        bench.announced(&[0], None);
        bench.world.faults.push_back(Fault::Refuse(Refusal::InvalidRecord));
        bench.put(0);
        bench.pass(100);
        assert!(matches!(bench.delivered.as_slice(), [Err(_)]));
        assert!(matches!(bench.try_put(0), Err(Unsent::Never(_))));
        assert!(matches!(bench.transact(Transact::Commit), Some(Err(TransactionError::Abortable(_)))));
        // By the first version the epoch has to be bumped afterwards (KIP-360).
        bench.ended(None, Some((5, 2)).filter(|_| version == 2));
        bench.identified(5, 2);
        assert_eq!(bench.transact(Transact::Abort), Some(Ok(())));
        let inits = bench.world.heard::<InitProducerIdRequest>();
        match version {
            0 => assert_eq!((inits[1].producer_id, inits[1].producer_epoch), (5, 1)),
            _ => assert_eq!(inits.len(), 1),
        }
        bench.producer.begin().unwrap();
        bench.announced(&[0], None);
        bench.put(0);
        bench.pass(100);
        assert_eq!((bench.header(0, 0).producer_epoch.0, bench.header(0, 0).base_sequence), (2, 0));
    }
}

#[test]
fn an_abort_gives_up_what_was_not_sent() {
    let mut bench = Bench::begun(0);
    bench.put(0);
    bench.announced(&[0], Some(Refusal::TopicAuthorizationFailed));
    bench.pass(100);
    assert!(matches!(bench.delivered.as_slice(), [Err(_)]), "{:?}", bench.delivered);
    assert_eq!(bench.transact(Transact::Abort), Some(Ok(())));
    assert!(bench.world.log("t", 0).batches.is_empty());
    assert!(bench.producer.is_idle());
}

#[test]
fn whoever_is_fenced_can_do_nothing_more() {
    for refusal in [Refusal::ProducerFenced, Refusal::InvalidProducerEpoch] {
        let mut bench = Bench::begun(2);
        bench.put(0);
        bench.pass(50);
        bench.ended(Some(refusal), None);
        assert_eq!(bench.transact(Transact::Commit), Some(Err(TransactionError::Fenced)));
        assert_eq!(bench.transact(Transact::Abort), Some(Err(TransactionError::Fenced)));
        assert_eq!(bench.producer.begin(), Err(TransactionError::Fenced));
        assert!(matches!(bench.try_put(0), Err(Unsent::Never(_))));
    }
}

#[test]
fn what_passes_is_tried_again_and_a_moved_coordinator_is_found() {
    let mut bench = Bench::begun(2);
    bench.put(0);
    bench.pass(50);
    for refusal in
        [Refusal::ConcurrentTransactions, Refusal::NotCoordinator, Refusal::CoordinatorLoadInProgress]
    {
        bench.ended(Some(refusal), None);
    }
    bench.ended(None, Some((5, 2)));
    assert_eq!(bench.transact(Transact::Commit), None);
    bench.pass(3000);
    assert_eq!(bench.producer.transacted(), Some(Ok(())));
    assert_eq!(bench.world.heard::<EndTxnRequest>().len(), 4);
    let asked = bench.world.asked();
    assert_eq!(asked.iter().filter(|key| **key == ApiKey::FindCoordinator).count(), 2);
}

#[test]
fn an_abortable_refusal_of_a_commit_can_be_aborted_and_of_an_abort_not() {
    let mut bench = Bench::begun(2);
    bench.put(0);
    bench.pass(50);
    bench.ended(Some(Refusal::TransactionAbortable), None);
    assert!(matches!(bench.transact(Transact::Commit), Some(Err(TransactionError::Abortable(_)))));
    bench.ended(Some(Refusal::TransactionAbortable), None);
    assert!(matches!(bench.transact(Transact::Abort), Some(Err(TransactionError::Fatal(_)))));
}

fn group() -> (GroupMetadata, BTreeMap<TopicPartition, CommittedOffset>) {
    let member = Member { generation: 3, member_id: "m".into(), instance_id: None };
    let offset = CommittedOffset { offset: 9, ..CommittedOffset::default() };
    let metadata = GroupMetadata { group_id: "g".into(), member };
    (metadata, [(TopicPartition::new("t", 0), offset)].into())
}

impl Bench {
    fn offsets_taken(&mut self, refusal: Option<Refusal>) {
        let row = TxnOffsetCommitResponsePartition {
            partition_index: 0,
            error_code: refusal.map_or(0, Refusal::code),
        };
        let topic =
            TxnOffsetCommitResponseTopic { name: "t".into(), partitions: vec![row], ..Default::default() };
        let response = TxnOffsetCommitResponse { topics: vec![topic], ..TxnOffsetCommitResponse::default() };
        self.world.script::<TxnOffsetCommitRequest>(response);
    }
}

#[test]
fn offsets_go_to_the_groups_coordinator_as_the_members() {
    for version in [0, 2] {
        let mut bench = Bench::begun(version);
        bench.world.script::<AddOffsetsToTxnRequest>(AddOffsetsToTxnResponse::default());
        bench.offsets_taken(None);
        let (metadata, offsets) = group();
        assert_eq!(bench.transact(Transact::Offsets(metadata, offsets)), Some(Ok(())));
        assert_eq!(bench.world.heard::<AddOffsetsToTxnRequest>().len(), usize::from(version == 0));
        let commit = bench.world.heard::<TxnOffsetCommitRequest>().pop().unwrap();
        assert_eq!((commit.group_id.as_str(), commit.member_id.as_str()), ("g", "m"));
        assert_eq!((commit.generation_id_or_member_epoch, commit.producer_epoch), (3, 1));
        assert_eq!(commit.topics[0].partitions[0].committed_offset, 9);
        bench.ended(None, None);
        assert_eq!(bench.transact(Transact::Commit), Some(Ok(())), "there is something to commit");
        assert_eq!(bench.world.heard::<EndTxnRequest>().len(), 1);
    }
}

#[test]
fn offsets_of_a_member_that_is_none_any_more_spoil_the_transaction() {
    let mut bench = Bench::begun(2);
    bench.offsets_taken(Some(Refusal::IllegalGeneration));
    let (metadata, offsets) = group();
    let result = bench.transact(Transact::Offsets(metadata, offsets));
    assert!(matches!(result, Some(Err(TransactionError::Abortable(_)))), "{result:?}");
    assert!(matches!(bench.transact(Transact::Commit), Some(Err(TransactionError::Abortable(_)))));
    bench.ended(None, Some((5, 2)));
    assert_eq!(bench.transact(Transact::Abort), Some(Ok(())));
}

#[test]
fn calls_out_of_order_are_refused_and_change_nothing() {
    let mut bench = Bench::new(2);
    assert!(matches!(bench.producer.begin(), Err(TransactionError::Misused(_))));
    assert!(matches!(bench.try_put(0), Err(Unsent::Never(_))));
    bench.identified(5, 1);
    assert_eq!(bench.transact(Transact::Init), Some(Ok(())));
    for act in [Transact::Init, Transact::Commit, Transact::Abort] {
        assert!(matches!(bench.transact(act), Some(Err(TransactionError::Misused(_)))));
    }
    bench.producer.begin().unwrap();
    assert!(matches!(bench.producer.begin(), Err(TransactionError::Misused(_))));
    bench.put(0);
    bench.pass(50);
    assert_eq!(bench.delivered, [Ok(0)]);
}

#[test]
fn closing_aborts_what_is_open() {
    let mut bench = Bench::begun(2);
    bench.put(0);
    bench.ended(None, Some((5, 2)));
    bench.producer.close();
    bench.pass(100);
    assert_eq!(bench.delivered, [Ok(0)]);
    assert!(!bench.producer.has_transaction());
    assert!(!bench.world.heard::<EndTxnRequest>()[0].committed);
}

#[test]
fn offsets_that_cannot_be_committed_can_be_aborted() {
    let mut bench = Bench::begun(2);
    bench.offsets_taken(Some(Refusal::UnknownTopicOrPartition));
    let (metadata, offsets) = group();
    assert_eq!(bench.transact(Transact::Offsets(metadata, offsets)), None);
    bench.pass(50);
    bench.ended(None, Some((5, 2)));
    assert_eq!(bench.transact(Transact::Abort), None);
    bench.pass(300);
    assert_eq!(bench.producer.transacted(), Some(Ok(())));
    bench.producer.begin().unwrap();
}
