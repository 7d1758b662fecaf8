//! Requests and their records, then a model: what counts is the last record that no transaction holds back or took back.

use std::collections::BTreeMap;
use std::ops::Bound;

use ottla_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_protocol::messages::offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, TxnOffsetCommitRequest,
};
use ottla_protocol::{Now, Offset, ProducerEpoch, Refusal, TopicId, Uuid};
use proptest::prelude::*;

use super::*;
use crate::decider::Producer;
use crate::group::command::FetchOffsets;

const MAX: usize = 10;
const NOON: Now = Now { monotonic_us: 7_000_000, wall_ms: 1_000_000 };

/// A group that answers what it is told to.
#[derive(Clone, Debug)]
struct Puppet {
    commit: Result<Permission, Refusal>,
    partition: Result<(), Refusal>,
    fetch: Result<(), Refusal>,
    delete: Result<(), Refusal>,
    subscribed: &'static [&'static str],
    expiry: Expiry,
}

const WILLING: Puppet = Puppet {
    commit: Ok(Permission::Everything),
    partition: Ok(()),
    fetch: Ok(()),
    delete: Ok(()),
    subscribed: &[],
    expiry: Expiry::SinceCommit,
};

impl CommittingGroup for Puppet {
    fn may_commit(&self, _: &Claim<'_>) -> Result<Permission, Refusal> {
        self.commit
    }

    fn may_commit_partition(&self, _: &Claim<'_>, _: TopicId, partition: i32) -> Result<(), Refusal> {
        if partition == 0 { Ok(()) } else { self.partition }
    }

    fn may_fetch(&self, _: Option<&str>, _: i32) -> Result<(), Refusal> {
        self.fetch
    }

    fn may_delete_offsets(&self) -> Result<(), Refusal> {
        self.delete
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed.contains(&topic)
    }

    fn expiry(&self) -> Expiry {
        self.expiry
    }
}

fn id(number: u8) -> TopicId {
    Uuid([number; 16])
}

fn request(epoch: i32, partitions: &[(i32, i64, &str)]) -> OffsetCommitRequest {
    let partitions =
        partitions.iter().map(|(partition_index, committed_offset, metadata)| OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: *committed_offset,
            committed_leader_epoch: 3,
            committed_metadata: Some((*metadata).to_owned()),
            ..Default::default()
        });
    let topic =
        OffsetCommitRequestTopic { name: "t".into(), topic_id: id(1), partitions: partitions.collect() };
    OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: epoch,
        topics: vec![topic],
        ..Default::default()
    }
}

fn in_transaction(epoch: i32) -> TxnOffsetCommitRequest {
    let partitions = [0, 1].map(|partition_index| TxnOffsetCommitRequestPartition {
        partition_index,
        committed_offset: 50,
        ..Default::default()
    });
    let topic =
        TxnOffsetCommitRequestTopic { name: "t".into(), topic_id: id(1), partitions: partitions.into() };
    TxnOffsetCommitRequest {
        transactional_id: "x".into(),
        group_id: "g".into(),
        producer_id: 9,
        generation_id_or_member_epoch: epoch,
        topics: vec![topic],
        ..Default::default()
    }
}

fn codes(response: &OffsetCommitResponse) -> Vec<(i32, i16)> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| (partition.partition_index, partition.error_code)).collect()
}

/// Takes records in at consecutive offsets, as a host does.
fn take(offsets: &mut Offsets, first: i64, producer: Option<i64>, records: Vec<Record>) {
    let transaction = producer.map(|id| Producer { id: ProducerId(id), epoch: ProducerEpoch(0) });
    for (offset, record) in (first..).zip(records) {
        let Record::OffsetCommit(key, value) = record else { panic!("{record:?}") };
        offsets.apply(Written { offset: Offset(offset), timestamp_ms: 0, transaction }, &key, value);
    }
}

fn commit(offsets: &mut Offsets, partitions: &[(i32, i64, &str)]) {
    let (records, _) = Offsets::commit(NOON, 10, request(-1, partitions), Some(&WILLING), MAX).unwrap();
    take(offsets, 100, None, records);
}

fn fetch(offsets: &Offsets, topic_id: TopicId, require_stable: bool) -> Vec<(i32, i64, i16)> {
    let topics = vec![OffsetFetchRequestTopics { name: "t".into(), topic_id, partition_indexes: vec![0, 1] }];
    let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(topics), ..Default::default() };
    let response = offsets.fetch(FetchOffsets { group, require_stable }, Some(&WILLING)).unwrap();
    let partitions = response.topics[0].partitions.iter();
    partitions.map(|answer| (answer.partition_index, answer.committed_offset, answer.error_code)).collect()
}

#[test]
fn what_is_committed_is_fetched() {
    let mut offsets = Offsets::new();
    commit(&mut offsets, &[(0, 5, "why"), (1, 6, "")]);
    let everything = OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
    let all = FetchOffsets { group: everything, require_stable: false };
    let response = offsets.fetch(all.clone(), Some(&WILLING)).unwrap();
    assert_eq!((response.topics[0].name.as_str(), response.topics[0].topic_id), ("t", Uuid::ZERO));
    let first = &response.topics[0].partitions[0];
    assert_eq!((first.committed_offset, first.committed_leader_epoch), (5, 3));
    assert_eq!(first.metadata.as_deref(), Some("why"));
    assert_eq!(fetch(&offsets, Uuid::ZERO, false), [(0, 5, 0), (1, 6, 0)]);
    assert_eq!(fetch(&offsets, id(1), false), [(0, 5, 0), (1, 6, 0)]);
    assert_eq!(fetch(&offsets, id(2), false), [(0, -1, 0), (1, -1, 0)], "another topic of this name");
    assert_eq!(offsets.fetch(all.clone(), None).unwrap().topics, [], "a group that does not exist");
    let stale = Puppet { fetch: Err(Refusal::StaleMemberEpoch), ..WILLING };
    assert_eq!(offsets.fetch(all.clone(), Some(&stale)), Err(Refusal::StaleMemberEpoch));
    let dead = Puppet { fetch: Err(Refusal::GroupIdNotFound), ..WILLING };
    assert_eq!(offsets.fetch(all, Some(&dead)).unwrap().topics, []);
}

#[test]
fn an_unknown_group_answers_minus_one_for_each_partition() {
    let topics =
        vec![OffsetFetchRequestTopics { name: "t".into(), topic_id: Uuid::ZERO, partition_indexes: vec![4] }];
    let group = OffsetFetchRequestGroup { group_id: "no".into(), topics: Some(topics), ..Default::default() };
    let response = Offsets::new().fetch(FetchOffsets { group, require_stable: true }, None).unwrap();
    assert_eq!(response.error_code, 0);
    let answer = &response.topics[0].partitions[0];
    assert_eq!((answer.partition_index, answer.committed_offset, answer.error_code), (4, -1, 0));
    assert_eq!((answer.committed_leader_epoch, answer.metadata.as_deref()), (-1, Some("")));
}

#[test]
fn metadata_is_measured_as_java_does() {
    let ask = request(-1, &[(0, 1, "0123456789"), (1, 1, "0123456789a"), (2, 1, "üüüüüüüüüü")]);
    let (records, response) = Offsets::commit(NOON, 10, ask, None, MAX).unwrap();
    assert_eq!(codes(&response), [(0, 0), (1, 12), (2, 0)]);
    assert_eq!(records.len(), 2, "the others are committed all the same");
}

#[test]
fn a_commit_to_no_group_needs_no_membership() {
    let go = |version, epoch| Offsets::commit(NOON, version, request(epoch, &[(0, 1, "")]), None, MAX).err();
    assert_eq!(go(10, -1), None);
    assert_eq!(go(9, 0), Some(Refusal::GroupIdNotFound));
    assert_eq!(go(8, 0), Some(Refusal::IllegalGeneration));
    let go = |version, epoch| {
        Offsets::commit_in_transaction(NOON, version, in_transaction(epoch), None, MAX).err()
    };
    assert_eq!(go(6, -1), None);
    assert_eq!(go(6, 4), Some(Refusal::GroupIdNotFound));
    assert_eq!(go(5, 4), Some(Refusal::IllegalGeneration));
}

#[test]
fn a_group_may_refuse_the_whole_or_a_partition() {
    let never = Puppet { commit: Err(Refusal::StaleMemberEpoch), ..WILLING };
    let behind = Puppet {
        commit: Ok(Permission::PartitionByPartition),
        partition: Err(Refusal::StaleMemberEpoch),
        ..WILLING
    };
    let go = |group: &Puppet, partitions: &[(i32, i64, &str)]| {
        Offsets::commit(NOON, 9, request(1, partitions), Some(group), MAX).err()
    };
    assert_eq!(go(&never, &[(0, 1, "")]), Some(Refusal::StaleMemberEpoch));
    assert_eq!(go(&behind, &[(0, 1, "")]), None);
    assert_eq!(go(&behind, &[(0, 1, ""), (1, 1, "")]), Some(Refusal::StaleMemberEpoch));
    assert_eq!(go(&behind, &[(0, 1, ""), (1, 1, "much too large")]), None, "it is refused by itself");
    let go = |group: &Puppet, version| {
        Offsets::commit_in_transaction(NOON, version, in_transaction(1), Some(group), MAX).err()
    };
    for group in [&never, &behind] {
        assert_eq!(go(group, 5), Some(Refusal::IllegalGeneration), "old producers do not know epochs");
        assert_eq!(go(group, 6), Some(Refusal::StaleMemberEpoch));
    }
}

#[test]
fn a_retention_time_of_old_clients_is_kept_as_an_end() {
    for (retention_time_ms, expire_timestamp) in
        [(-1, -1), (0, 1_000_000), (500, 1_000_500), (i64::MAX, i64::MAX)]
    {
        let ask = OffsetCommitRequest { retention_time_ms, ..request(-1, &[(0, 1, "")]) };
        let (records, _) = Offsets::commit(NOON, 4, ask, None, MAX).unwrap();
        let Record::OffsetCommit(_, Some(value)) = &records[0] else { panic!("{records:?}") };
        assert_eq!((value.expire_timestamp, value.commit_timestamp), (expire_timestamp, 1_000_000));
    }
}

#[test]
fn a_transaction_holds_back_until_its_end() {
    for outcome in [Outcome::Committed, Outcome::Aborted] {
        let mut offsets = Offsets::new();
        commit(&mut offsets, &[(0, 5, "")]);
        let (records, response) =
            Offsets::commit_in_transaction(NOON, 6, in_transaction(-1), Some(&WILLING), MAX).unwrap();
        assert!(response.topics[0].partitions.iter().all(|partition| partition.error_code == 0));
        take(&mut offsets, 200, Some(9), records);
        assert_eq!(fetch(&offsets, Uuid::ZERO, false), [(0, 5, 0), (1, -1, 0)]);
        assert_eq!(fetch(&offsets, Uuid::ZERO, true), [(0, -1, 88), (1, -1, 88)]);
        assert!(offsets.is_unstable("g", "t", 1) && !offsets.is_unstable("g", "t", 2));
        assert_eq!(offsets.open_transactions().collect::<Vec<_>>(), [ProducerId(9)]);
        offsets.apply_marker(ProducerId(8), outcome);
        assert!(offsets.is_unstable("g", "t", 0), "another producer's end");
        offsets.apply_marker(ProducerId(9), outcome);
        let now = if outcome == Outcome::Committed { [50, 50] } else { [5, -1] };
        assert_eq!(fetch(&offsets, Uuid::ZERO, true), [(0, now[0], 0), (1, now[1], 0)]);
        assert_eq!(offsets.open_transactions().count(), 0);
    }
}

#[test]
fn the_commit_that_was_written_last_counts() {
    let mut offsets = Offsets::new();
    let (records, _) = Offsets::commit_in_transaction(NOON, 6, in_transaction(-1), None, MAX).unwrap();
    take(&mut offsets, 90, Some(9), records);
    commit(&mut offsets, &[(0, 5, "")]);
    offsets.apply_marker(ProducerId(9), Outcome::Committed);
    assert_eq!(fetch(&offsets, Uuid::ZERO, true), [(0, 5, 0), (1, 50, 0)]);
}

#[test]
fn single_offsets_are_deleted_if_the_group_does_not_read_the_topic() {
    let ask = OffsetDeleteRequest {
        group_id: "g".into(),
        topics: vec![OffsetDeleteRequestTopic {
            name: "t".into(),
            partitions: [0, 7, 0]
                .map(|partition_index| OffsetDeleteRequestPartition { partition_index })
                .into(),
        }],
    };
    let mut offsets = Offsets::new();
    commit(&mut offsets, &[(0, 5, ""), (1, 6, "")]);
    assert_eq!(offsets.delete(ask.clone(), None).err(), Some(Refusal::GroupIdNotFound));
    let busy = Puppet { delete: Err(Refusal::NonEmptyGroup), ..WILLING };
    assert_eq!(offsets.delete(ask.clone(), Some(&busy)).err(), Some(Refusal::NonEmptyGroup));
    let reading = Puppet { subscribed: &["t"], ..WILLING };
    let (records, response) = offsets.delete(ask.clone(), Some(&reading)).unwrap();
    assert_eq!(records, []);
    assert!(response.topics[0].partitions.iter().all(|partition| partition.error_code == 86));
    let (records, response) = offsets.delete(ask, Some(&WILLING)).unwrap();
    assert!(response.topics[0].partitions.iter().all(|partition| partition.error_code == 0));
    assert_eq!(records.len(), 1, "one for the offset that is there");
    take(&mut offsets, 200, None, records);
    assert_eq!(fetch(&offsets, Uuid::ZERO, true), [(0, -1, 0), (1, 6, 0)]);
}

#[test]
fn a_deleted_group_takes_with_it_what_transactions_hold_back() {
    let mut offsets = Offsets::new();
    commit(&mut offsets, &[(0, 5, "")]);
    let (records, _) = Offsets::commit_in_transaction(NOON, 6, in_transaction(-1), None, MAX).unwrap();
    take(&mut offsets, 200, Some(9), records);
    assert_eq!(offsets.delete_all("other"), []);
    let records = offsets.delete_all("g");
    assert_eq!(records.len(), 2, "one for each partition");
    take(&mut offsets, 300, None, records);
    assert!(offsets.has_none_of("g"));
    offsets.apply_marker(ProducerId(9), Outcome::Committed);
    assert!(offsets.has_none_of("g"), "what is deleted does not come back");
}

#[test]
fn offsets_go_with_their_topic_but_not_with_its_namesake() {
    let mut offsets = Offsets::new();
    commit(&mut offsets, &[(0, 5, "")]);
    let (records, _) = Offsets::commit_in_transaction(NOON, 6, in_transaction(-1), None, MAX).unwrap();
    take(&mut offsets, 200, Some(9), records);
    assert_eq!(offsets.topics_deleted(&[(id(2), "t".into()), (id(1), "u".into())]), []);
    let records = offsets.topics_deleted(&[(id(1), "t".into())]);
    assert_eq!(records.len(), 2);
    take(&mut offsets, 300, None, records);
    assert!(offsets.has_none_of("g") && offsets.topics.find("t").is_none());
    // Committed by name alone, before topics had ids in here.
    let ask = request(-1, &[(0, 5, "")]);
    let (mut records, _) = Offsets::commit(NOON, 9, ask, None, MAX).unwrap();
    for record in &mut records {
        let Record::OffsetCommit(_, Some(value)) = record else { panic!("{record:?}") };
        value.topic_id = Uuid::ZERO;
    }
    take(&mut offsets, 400, None, records);
    assert_eq!(offsets.topics_deleted(&[(id(2), "t".into())]).len(), 1);
}

#[test]
fn offsets_expire_by_the_rule_of_their_group() {
    let mut offsets = Offsets::new();
    commit(&mut offsets, &[(0, 5, "")]);
    let (records, _) = Offsets::commit(
        NOON,
        4,
        OffsetCommitRequest { retention_time_ms: 50, ..request(-1, &[(1, 6, "")]) },
        None,
        MAX,
    )
    .unwrap();
    take(&mut offsets, 200, None, records);
    let look = |group: &Puppet, after_ms: i64| {
        let mut records = Vec::new();
        let now = Now { wall_ms: NOON.wall_ms + after_ms, ..NOON };
        let rest = offsets.expire(now, 1_000, ("g", group), &mut records);
        let of = |record: &Record| match record {
            Record::OffsetCommit(key, None) => key.partition,
            other => panic!("{other:?}"),
        };
        (rest, records.iter().map(of).collect::<Vec<_>>())
    };
    assert_eq!(look(&WILLING, 49), (Rest::Something, vec![]));
    assert_eq!(look(&WILLING, 50), (Rest::Something, vec![1]), "its own end");
    assert_eq!(look(&WILLING, 999), (Rest::Something, vec![1]));
    assert_eq!(look(&WILLING, 1_000), (Rest::Nothing, vec![0, 1]));
    let reading = Puppet { subscribed: &["t"], ..WILLING };
    assert_eq!(look(&reading, 9_999), (Rest::Something, vec![]));
    let never = Puppet { expiry: Expiry::Never, ..WILLING };
    assert_eq!(look(&never, 9_999), (Rest::Something, vec![]));
    let emptied = Puppet { expiry: Expiry::SinceEmpty(NOON.wall_ms + 300), ..WILLING };
    assert_eq!(look(&emptied, 1_299), (Rest::Something, vec![1]));
    assert_eq!(look(&emptied, 1_300), (Rest::Nothing, vec![0, 1]));
    let mut records = Vec::new();
    assert_eq!(offsets.expire(NOON, 1_000, ("other", &WILLING), &mut records), Rest::Nothing);
}

#[test]
fn an_open_transaction_keeps_an_offset_from_expiring() {
    let mut offsets = Offsets::new();
    commit(&mut offsets, &[(0, 5, ""), (2, 5, "")]);
    let (records, _) = Offsets::commit_in_transaction(NOON, 6, in_transaction(-1), None, MAX).unwrap();
    take(&mut offsets, 200, Some(9), records);
    let mut records = Vec::new();
    let late = Now { wall_ms: NOON.wall_ms + 5_000, ..NOON };
    assert_eq!(offsets.expire(late, 1_000, ("g", &WILLING), &mut records), Rest::Something);
    assert_eq!(records.len(), 1, "partition 2 alone");
}

#[test]
fn a_sweep_comes_again_and_goes_on_where_it_paused() {
    let mut sweep = Sweep::new(600_000);
    assert_eq!((sweep.deadline(), sweep.due(NOON)), (None, None), "nothing before the log is loaded");
    sweep.begin(NOON);
    let later = Now { monotonic_us: NOON.monotonic_us + 600_000_000, ..NOON };
    assert_eq!(sweep.due(NOON), None);
    assert_eq!(sweep.due(later), Some(Bound::Unbounded));
    sweep.pause(Bound::Excluded("m".into()));
    assert_eq!(sweep.due(later), Some(Bound::Excluded("m".into())));
    sweep.done(later);
    assert_eq!(sweep.due(later), None);
    assert_eq!(sweep.deadline(), Some(later.after_ms(600_000)));
}

#[test]
fn no_more_tombstones_are_written_at_once_than_fit() {
    let mut offsets = Offsets::new();
    let many: Vec<(i32, i64, &str)> = (0..2_500).map(|partition| (partition, 1, "")).collect();
    commit(&mut offsets, &many);
    let late = Now { wall_ms: NOON.wall_ms + 5_000, ..NOON };
    for (rest, count) in [(Rest::More, 1_000), (Rest::More, 1_000), (Rest::Nothing, 500)] {
        let mut records = Vec::new();
        assert_eq!(offsets.expire(late, 1_000, ("g", &WILLING), &mut records), rest);
        assert_eq!(records.len(), count);
        take(&mut offsets, 9_000, None, records);
    }
    commit(&mut offsets, &many);
    for count in [1_000, 1_000, 500, 0] {
        let records = offsets.topics_deleted(&[(id(1), "t".into())]);
        assert_eq!(records.len(), count);
        take(&mut offsets, 9_000, None, records);
    }
}

#[test]
fn an_offset_takes_little_room() {
    assert!(size_of::<Committed>() <= 56, "{}", size_of::<Committed>());
    assert_eq!(size_of::<Place>(), 12);
}

/// What stands in a log, one for each offset.
#[derive(Clone, Debug)]
enum Entry {
    Commit { producer: Option<i64>, place: (u8, u8, i32), offset: i64 },
    Tombstone { place: (u8, u8, i32) },
    Marker { producer: i64, outcome: Outcome },
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let place = || (0..2u8, 0..2u8, 0..2i32);
    let entry = prop_oneof![
        4 => (proptest::option::of(0..3i64), place(), 0..100i64)
            .prop_map(|(producer, place, offset)| Entry::Commit { producer, place, offset }),
        1 => place().prop_map(|place| Entry::Tombstone { place }),
        2 => (0..3i64, prop_oneof![Just(Outcome::Committed), Just(Outcome::Aborted)])
            .prop_map(|(producer, outcome)| Entry::Marker { producer, outcome }),
    ];
    proptest::collection::vec(entry, 0..60)
}

fn names((group, topic, partition): (u8, u8, i32)) -> (String, String, i32) {
    (format!("g{group}"), format!("t{topic}"), partition)
}

fn replay(log: &[(i64, Entry)]) -> Offsets {
    let mut offsets = Offsets::new();
    for (at, entry) in log {
        let key = |place| {
            let (group, topic, partition) = names(place);
            OffsetCommitKey { group, topic, partition }
        };
        match entry {
            Entry::Commit { producer, place, offset } => {
                let value = OffsetCommitValue { offset: *offset, ..Default::default() };
                take(&mut offsets, *at, *producer, vec![Record::OffsetCommit(key(*place), Some(value))]);
            }
            Entry::Tombstone { place } => {
                take(&mut offsets, *at, None, vec![Record::OffsetCommit(key(*place), None)]);
            }
            Entry::Marker { producer, outcome } => offsets.apply_marker(ProducerId(*producer), *outcome),
        }
    }
    offsets
}

/// How the transaction of an entry ends, as far as the log goes.
fn end_of(log: &[(i64, Entry)], index: usize) -> Option<Outcome> {
    match &log[index].1 {
        Entry::Commit { producer: Some(producer), .. } => {
            log[index..].iter().find_map(|(_, entry)| match entry {
                Entry::Marker { producer: ended, outcome } if ended == producer => Some(*outcome),
                _ => None,
            })
        }
        _ => Some(Outcome::Committed),
    }
}

fn place_of(entry: &Entry) -> Option<(u8, u8, i32)> {
    match entry {
        Entry::Commit { place, .. } | Entry::Tombstone { place } => Some(*place),
        Entry::Marker { .. } => None,
    }
}

proptest! {
    /// What counts for a partition is the last record about it that no transaction holds back or has taken back.
    #[test]
    fn it_is_what_the_log_says(entries in entries()) {
        let log: Vec<(i64, Entry)> = (0..).zip(entries).collect();
        let offsets = replay(&log);
        let mut kept = 0;
        for place in (0..8u8).map(|bits| (bits & 1, bits >> 1 & 1, i32::from(bits >> 2))) {
            let about: Vec<usize> = (0..log.len()).filter(|i| place_of(&log[*i].1) == Some(place)).collect();
            let last = about.iter().rev().find(|i| end_of(&log, **i) == Some(Outcome::Committed));
            let expected = last.and_then(|i| match &log[*i].1 {
                Entry::Commit { offset, .. } => Some(*offset),
                _ => None,
            });
            let after_tombstone =
                about.iter().rev().take_while(|i| !matches!(log[**i].1, Entry::Tombstone { .. }));
            let unstable = after_tombstone.clone().any(|i| end_of(&log, *i).is_none());
            let (group, topic, partition) = names(place);
            let found = offsets.get(&group, &topic, partition).map(|committed| committed.offset.0);
            prop_assert_eq!(found, expected, "{:?}", place);
            prop_assert_eq!(offsets.is_unstable(&group, &topic, partition), unstable, "{:?}", place);
            kept += usize::from(found.is_some());
        }
        prop_assert_eq!(offsets.len(), kept);
    }

    /// Compaction leaves the last record of each key, and drops what was aborted: it says the same.
    #[test]
    fn a_compacted_log_says_the_same(entries in entries()) {
        let mut log: Vec<(i64, Entry)> = (0..).zip(entries).collect();
        for producer in 0..3 {
            // Only what is decided is compacted.
            log.push((log.len() as i64, Entry::Marker { producer, outcome: Outcome::Aborted }));
        }
        let mut last: BTreeMap<(u8, u8, i32), i64> = BTreeMap::new();
        for (index, (at, entry)) in log.iter().enumerate() {
            if let Some(place) = place_of(entry) && end_of(&log, index) == Some(Outcome::Committed) {
                last.insert(place, *at);
            }
        }
        let compacted: Vec<(i64, Entry)> = log
            .iter()
            .filter(|(at, entry)| place_of(entry).is_none_or(|place| last.get(&place) == Some(at)))
            .cloned()
            .collect();
        let (whole, less) = (replay(&log), replay(&compacted));
        for place in (0..8u8).map(|bits| (bits & 1, bits >> 1 & 1, i32::from(bits >> 2))) {
            let (group, topic, partition) = names(place);
            prop_assert_eq!(whole.get(&group, &topic, partition), less.get(&group, &topic, partition));
        }
    }

    /// Whatever has happened, deleting everything leaves nothing, not even names.
    #[test]
    fn nothing_is_left_of_what_is_deleted(entries in entries()) {
        let log: Vec<(i64, Entry)> = (0..).zip(entries).collect();
        let mut offsets = replay(&log);
        for group in ["g0", "g1"] {
            let records = offsets.delete_all(group);
            take(&mut offsets, 1_000, None, records);
            prop_assert!(offsets.has_none_of(group));
        }
        prop_assert_eq!(offsets.len(), 0);
        prop_assert_eq!(offsets.open_transactions().count(), 0);
        prop_assert_eq!(offsets.groups.numbers().count() + offsets.topics.numbers().count(), 0);
    }
}
