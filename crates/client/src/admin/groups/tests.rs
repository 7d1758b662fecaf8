//! The admin's questions to coordinators against scripted ones: who is asked, in which form, and again where that failed.

use ottla_protocol::messages::consumer_group_describe::{self, DescribedGroup, Member};
use ottla_protocol::messages::delete_groups::DeletableGroupResult;
use ottla_protocol::messages::describe_groups::{self, DescribedGroupMember};
use ottla_protocol::messages::describe_transactions::{TopicData, TransactionState};
use ottla_protocol::messages::find_coordinator::Coordinator as Found;
use ottla_protocol::messages::leave_group::MemberResponse;
use ottla_protocol::messages::list_groups::ListedGroup;
use ottla_protocol::messages::offset_commit::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use ottla_protocol::messages::offset_fetch::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use ottla_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DeleteGroupsResponse, DescribeGroupsRequest,
    DescribeGroupsResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse,
    LeaveGroupResponse, ListGroupsResponse, ListTransactionsRequest, ListTransactionsResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
    WriteTxnMarkersRequest, WriteTxnMarkersResponse, list_transactions, write_txn_markers,
};
use ottla_protocol::{ApiKey, Refusal};

use super::*;
use crate::admin::transactions;
use crate::assignor::{self, Assignor, Me};
use crate::consumer::TopicPartition;
use crate::operation::Running;
use crate::testing::World;

/// Runs an operation to its end, within a minute.
fn run<O: Operation>(world: &mut World, operation: O) -> Result<O::Answer, ClientError> {
    let mut running = Running::start(operation, world.now, &mut world.cluster);
    for _ in 0..7_000 {
        for done in world.carry_out() {
            if let Some(answer) = running.done(world.now, &mut world.cluster, done.ticket, done.outcome) {
                return answer;
            }
        }
        if !world.deliver() {
            world.pass(10);
        }
        if let Some(answer) = running.step(world.now, &mut world.cluster) {
            return answer;
        }
    }
    panic!("it does not end");
}

fn world() -> World {
    World::new(&[], &[("t", 3)])
}

fn group(id: &str) -> ListedGroup {
    ListedGroup { group_id: id.into(), ..ListedGroup::default() }
}

#[test]
fn every_broker_lists_its_groups_and_those_that_failed_are_asked_again() {
    let mut world = world();
    for groups in [vec![group("b")], vec![group("a"), group("b")]] {
        world.script::<ListGroupsRequest>(ListGroupsResponse { groups, ..Default::default() });
    }
    let error_code = Refusal::CoordinatorLoadInProgress.code();
    world.script::<ListGroupsRequest>(ListGroupsResponse { error_code, ..Default::default() });
    world.script::<ListGroupsRequest>(ListGroupsResponse { groups: vec![group("c")], ..Default::default() });
    let filter = GroupFilter { states: vec!["Stable".into()], types: vec!["classic".into()] };
    let listed = run(&mut world, list_groups(filter)).unwrap();
    let ids: Vec<&str> = listed.iter().map(|group| group.group_id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let asked = world.heard::<ListGroupsRequest>();
    assert_eq!(asked.len(), 4, "three brokers, and one of them twice");
    assert_eq!(
        (&asked[0].states_filter[..], &asked[0].types_filter[..]),
        (&["Stable".into()][..], &["classic".into()][..])
    );
}

fn classic(id: &str) -> describe_groups::DescribedGroup {
    let topics = ["t".into()].into();
    let me = Me { topics: &topics, owned: &[], generation: 1, rack: Some("r"), last: None };
    let member = DescribedGroupMember {
        member_id: "m".into(),
        client_host: "/1.2.3.4".into(),
        member_metadata: Assignor::Range.subscription(&me),
        member_assignment: assignor::encode(&[TopicPartition::new("t", 2), TopicPartition::new("t", 0)]),
        ..DescribedGroupMember::default()
    };
    describe_groups::DescribedGroup {
        group_id: id.into(),
        group_state: "Stable".into(),
        protocol_type: "consumer".into(),
        protocol_data: "range".into(),
        members: vec![member],
        ..describe_groups::DescribedGroup::default()
    }
}

#[test]
fn groups_of_either_protocol_are_described_alike() {
    let mut world = world();
    let assignment = |partitions: &[i32]| consumer_group_describe::Assignment {
        topic_partitions: vec![consumer_group_describe::TopicPartitions {
            topic_name: "t".into(),
            partitions: partitions.to_vec(),
            ..Default::default()
        }],
    };
    let member = Member {
        member_id: "n".into(),
        member_epoch: 4,
        assignment: assignment(&[1]),
        target_assignment: assignment(&[1, 0]),
        member_type: 1,
        ..Member::default()
    };
    let modern = DescribedGroup {
        group_id: "modern".into(),
        group_epoch: 5,
        assignment_epoch: 4,
        members: vec![member],
        ..DescribedGroup::default()
    };
    let missing = |id: &str| DescribedGroup {
        error_code: Refusal::GroupIdNotFound.code(),
        error_message: Some(format!("Group {id} is not a consumer group.")),
        group_id: id.into(),
        ..DescribedGroup::default()
    };
    let groups = vec![modern, missing("old"), missing("none"), missing("connect")];
    world.script::<ConsumerGroupDescribeRequest>(ConsumerGroupDescribeResponse {
        groups,
        ..Default::default()
    });
    let none = describe_groups::DescribedGroup {
        error_code: Refusal::GroupIdNotFound.code(),
        group_id: "none".into(),
        ..Default::default()
    };
    let connect = describe_groups::DescribedGroup { protocol_type: "connect".into(), ..classic("connect") };
    let groups = vec![connect, none, classic("old")];
    world.script::<DescribeGroupsRequest>(DescribeGroupsResponse { groups, ..Default::default() });
    let ids = ["connect", "modern", "none", "old"].map(str::to_owned).to_vec();
    let found = run(&mut world, describe_consumer_groups(ids, Describe::Plainly)).unwrap();
    let modern = found["modern"].as_ref().unwrap();
    assert_eq!((modern.kind, modern.group_epoch), (GroupKind::Consumer, Some(5)));
    assert_eq!(modern.members[0].assignment["t"], [1]);
    assert_eq!(modern.members[0].target.as_ref().unwrap()["t"], [0, 1]);
    assert_eq!((modern.members[0].epoch, modern.members[0].upgraded), (Some(4), Some(true)));
    let old = found["old"].as_ref().unwrap();
    assert_eq!((old.kind, old.assignor.as_str(), old.coordinator.node), (GroupKind::Classic, "range", 1));
    assert_eq!(
        (&old.members[0].assignment["t"][..], &old.members[0].subscribed[..]),
        (&[0, 2][..], &["t".into()][..])
    );
    assert_eq!(old.members[0].rack.as_deref(), Some("r"));
    let none = found["none"].as_ref().unwrap_err();
    assert_eq!(none.to_string(), "Group none is not a consumer group.", "the better words of the two");
    let connect = found["connect"].as_ref().unwrap_err();
    assert_eq!(connect.to_string(), "GroupId connect is not a consumer group (connect).");
    assert_eq!(
        world.asked(),
        [ApiKey::FindCoordinator, ApiKey::ConsumerGroupDescribe, ApiKey::DescribeGroups]
    );
}

#[test]
fn a_coordinator_that_moved_is_found_again_for_its_keys_alone() {
    let mut world = world();
    let row = |id: &str, refusal: Option<Refusal>| DeletableGroupResult {
        group_id: id.into(),
        error_code: refusal.map_or(0, Refusal::code),
        error_message: None,
    };
    let results =
        vec![row("a", None), row("b", Some(Refusal::NotCoordinator)), row("c", Some(Refusal::NonEmptyGroup))];
    world.script::<DeleteGroupsRequest>(DeleteGroupsResponse { results, ..Default::default() });
    let results = vec![row("b", None)];
    world.script::<DeleteGroupsRequest>(DeleteGroupsResponse { results, ..Default::default() });
    let deleted = run(&mut world, delete_groups(["a", "b", "c"].map(str::to_owned).to_vec())).unwrap();
    assert_eq!((&deleted["a"], &deleted["b"]), (&Ok(()), &Ok(())));
    assert_eq!(deleted["c"].as_ref().unwrap_err().refusal, Refusal::NonEmptyGroup);
    let searches = world.heard::<FindCoordinatorRequest>();
    assert_eq!(
        (searches[0].coordinator_keys.len(), &searches[1].coordinator_keys[..]),
        (3, &["b".to_owned()][..])
    );
}

#[test]
fn who_may_not_know_the_coordinator_is_told_so() {
    let mut world = world();
    let row =
        Found { key: "a".into(), error_code: Refusal::GroupAuthorizationFailed.code(), ..Found::default() };
    let response = FindCoordinatorResponse { coordinators: vec![row], ..Default::default() };
    world.script::<FindCoordinatorRequest>(response);
    let deleted = run(&mut world, delete_groups(vec!["a".into()])).unwrap();
    assert_eq!(deleted["a"].as_ref().unwrap_err().refusal, Refusal::GroupAuthorizationFailed);
}

#[test]
fn a_question_about_no_group_is_answered() {
    assert!(run(&mut world(), delete_groups(Vec::new())).unwrap().is_empty());
}

#[test]
fn committed_offsets_come_by_group_and_unstable_ones_are_waited_for() {
    let mut world = world();
    let row = |partition_index, committed_offset, error_code| OffsetFetchResponsePartitions {
        partition_index,
        committed_offset,
        committed_leader_epoch: -1,
        metadata: Some("note".into()),
        error_code,
    };
    let unstable = Refusal::UnstableOffsetCommit.code();
    for first in [row(0, -1, unstable), row(0, 7, 0)] {
        let topic = OffsetFetchResponseTopics {
            name: "t".into(),
            partitions: vec![first, row(1, -1, 0)],
            ..Default::default()
        };
        let group = OffsetFetchResponseGroup { group_id: "g".into(), topics: vec![topic], error_code: 0 };
        world.script::<OffsetFetchRequest>(OffsetFetchResponse { groups: vec![group], ..Default::default() });
    }
    let keys = vec![("t".to_owned(), 0), ("t".to_owned(), 1)];
    let wanted = BTreeMap::from([("g".to_owned(), OffsetsOf::Partitions(keys))]);
    let found = run(&mut world, list_group_offsets(wanted, Stability::Stable)).unwrap();
    let offsets = found["g"].as_ref().unwrap();
    let committed = CommittedOffset { offset: 7, leader_epoch: None, metadata: "note".into() };
    assert_eq!(offsets[&("t".to_owned(), 0)], Some(committed));
    assert_eq!(offsets[&("t".to_owned(), 1)], None);
    assert!(world.heard::<OffsetFetchRequest>().iter().all(|request| request.require_stable));
}

#[test]
fn offsets_are_set_when_the_rebalance_is_over() {
    let mut world = world();
    for refusal in [Some(Refusal::RebalanceInProgress), None] {
        let error_code = refusal.map_or(0, Refusal::code);
        let row = OffsetCommitResponsePartition { partition_index: 1, error_code };
        let topic =
            OffsetCommitResponseTopic { name: "t".into(), partitions: vec![row], ..Default::default() };
        world.script::<OffsetCommitRequest>(OffsetCommitResponse {
            topics: vec![topic],
            ..Default::default()
        });
    }
    let offset = CommittedOffset { offset: 4, ..CommittedOffset::default() };
    let key = ("t".to_owned(), 1);
    let altered = run(&mut world, alter_group_offsets("g".into(), [(key.clone(), offset)].into())).unwrap();
    assert_eq!(altered[&key], Ok(()));
    let asked = &world.heard::<OffsetCommitRequest>()[1];
    assert_eq!((asked.generation_id_or_member_epoch, asked.member_id.as_str()), (-1, ""));
}

#[test]
fn members_are_removed_by_either_id() {
    let mut world = world();
    let members = vec![
        MemberToRemove { member_id: "m".into(), instance_id: None },
        MemberToRemove { member_id: String::new(), instance_id: Some("i".into()) },
    ];
    let row = |member: &MemberToRemove| MemberResponse {
        member_id: member.member_id.clone(),
        group_instance_id: member.instance_id.clone(),
        error_code: if member.instance_id.is_some() { Refusal::UnknownMemberId.code() } else { 0 },
    };
    let rows = members.iter().map(row).collect();
    world.script::<LeaveGroupRequest>(LeaveGroupResponse { members: rows, ..Default::default() });
    let removed = run(&mut world, remove_members("g".into(), members, Some("too old".into()))).unwrap();
    assert_eq!(removed[0].1, Ok(()));
    assert_eq!(removed[1].1.as_ref().unwrap_err().refusal, Refusal::UnknownMemberId);
    let asked = &world.heard::<LeaveGroupRequest>()[0];
    assert_eq!(asked.members[0].reason.as_deref(), Some("member was removed by an admin: too old"));
}

#[test]
fn transactions_are_listed_by_broker_and_described_by_their_coordinators() {
    let mut world = world();
    for id in ["a", "b", "c"] {
        let row = list_transactions::TransactionState {
            transactional_id: id.into(),
            producer_id: 3,
            transaction_state: "Ongoing".into(),
        };
        let response = ListTransactionsResponse {
            transaction_states: vec![row],
            unknown_state_filters: vec!["Odd".into()],
            ..ListTransactionsResponse::default()
        };
        world.script::<ListTransactionsRequest>(response);
    }
    let filter = transactions::TransactionFilter { longer_than_ms: Some(5), ..Default::default() };
    let (listed, unknown) = run(&mut world, transactions::list_transactions(filter)).unwrap();
    let rows: Vec<_> = listed.iter().map(|row| (row.transactional_id.as_str(), row.coordinator)).collect();
    assert_eq!((rows, unknown), (vec![("a", 1), ("b", 2), ("c", 3)], vec!["Odd".to_owned()]));
    let state = TransactionState {
        transactional_id: "a".into(),
        transaction_state: "Empty".into(),
        transaction_start_time_ms: -1,
        topics: vec![TopicData { topic: "t".into(), partitions: vec![1, 0] }],
        ..TransactionState::default()
    };
    let missing = TransactionState {
        error_code: Refusal::TransactionalIdNotFound.code(),
        transactional_id: "b".into(),
        ..TransactionState::default()
    };
    let response =
        DescribeTransactionsResponse { transaction_states: vec![state, missing], ..Default::default() };
    world.script::<DescribeTransactionsRequest>(response);
    let ids = vec!["a".to_owned(), "b".to_owned()];
    let found = run(&mut world, transactions::describe_transactions(ids)).unwrap();
    let a = found["a"].as_ref().unwrap();
    assert_eq!((a.coordinator, a.started_ms), (1, None));
    assert_eq!(a.partitions, [("t".to_owned(), 0), ("t".to_owned(), 1)]);
    assert_eq!(found["b"].as_ref().unwrap_err().refusal, Refusal::TransactionalIdNotFound);
}

#[test]
fn producers_are_fenced_and_open_transactions_aborted() {
    let mut world = world();
    let busy = Refusal::ConcurrentTransactions.code();
    world.script::<InitProducerIdRequest>(InitProducerIdResponse { error_code: busy, ..Default::default() });
    world.script::<InitProducerIdRequest>(InitProducerIdResponse {
        producer_id: 9,
        producer_epoch: 4,
        ..Default::default()
    });
    assert_eq!(run(&mut world, transactions::terminate_transaction("id".into())), Ok((9, 4)));
    let row = write_txn_markers::WritableTxnMarkerPartitionResult {
        partition_index: 2,
        error_code: Refusal::TransactionCoordinatorFenced.code(),
    };
    let topic = write_txn_markers::WritableTxnMarkerTopicResult { name: "t".into(), partitions: vec![row] };
    let marker = write_txn_markers::WritableTxnMarkerResult { producer_id: 9, topics: vec![topic] };
    world.script::<WriteTxnMarkersRequest>(WriteTxnMarkersResponse { markers: vec![marker] });
    let abort = transactions::AbortTransaction {
        partition: ("t".into(), 2),
        producer_id: 9,
        producer_epoch: 4,
        coordinator_epoch: 1,
    };
    let error = run(&mut world, transactions::abort_transaction(abort)).unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::TransactionCoordinatorFenced));
    let asked = world.requests.iter().find(|(_, key, _)| *key == ApiKey::WriteTxnMarkers).unwrap();
    assert_eq!(asked.0, 3, "partition 2 is led by broker 3");
    assert!(!world.heard::<WriteTxnMarkersRequest>()[0].markers[0].transaction_result);
}
