//! Groups: members, committed offsets, and what of them outlives a crash.

use bytes::Bytes;
use ottla_broker::core::{CoreId, SessionId};
use ottla_log::MemoryDisk;
use ottla_log::disk::Crash;
use ottla_protocol::messages::join_group::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group::MemberIdentity;
use ottla_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_protocol::messages::offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::sync_group::SyncGroupRequestAssignment;
use ottla_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest,
    DeleteTopicsRequest, DescribeGroupsRequest, EndTxnRequest, FindCoordinatorRequest, HeartbeatRequest,
    InitProducerIdRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest, TxnOffsetCommitRequest,
};
use ottla_protocol::{Refusal, Uuid};

use super::requests::*;
use super::support::*;

/// No waiting for more members.
const AT_ONCE: &[(&str, &str)] = &[("group.initial.rebalance.delay.ms", "0")];

/// A second client, on the other core.
const OTHER: SessionId = SessionId(2);

/// A node with a topic `t` of three partitions, and coordinators.
fn coordinating(memory: &MemoryDisk) -> World {
    let mut world = World::start(memory, AT_ONCE);
    world.create("t", 3);
    assert_eq!(find(&mut world, "g"), 0);
    world
}

/// The error of a search for a group's coordinator.
fn find(world: &mut World, group: &str) -> i16 {
    let keys = vec![group.to_owned()];
    let request = FindCoordinatorRequest { coordinator_keys: keys, ..Default::default() };
    world.call(&request, 6).coordinators[0].error_code
}

fn commit(group: &str, partition_index: i32, committed_offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index,
                committed_offset,
                committed_leader_epoch: -1,
                commit_timestamp: -1,
                committed_metadata: Some("note".into()),
            }],
            ..Default::default()
        }],
        retention_time_ms: -1,
        ..Default::default()
    }
}

/// Commits and gives the error.
fn committed(world: &mut World, group: &str, partition: i32, offset: i64) -> i16 {
    world.call(&commit(group, partition, offset), 8).topics[0].partitions[0].error_code
}

fn all_offsets(group: &str) -> OffsetFetchRequest {
    let group = OffsetFetchRequestGroup {
        group_id: group.into(),
        member_epoch: -1,
        topics: None,
        ..Default::default()
    };
    OffsetFetchRequest { groups: vec![group], ..Default::default() }
}

/// Everything that a group has committed for `t`: partitions and offsets.
fn offsets(world: &mut World, group: &str) -> Vec<(i32, i64)> {
    let response = world.call(&all_offsets(group), 9);
    let group = &response.groups[0];
    assert_eq!(group.error_code, 0, "{response:?}");
    let rows = group.topics.iter().flat_map(|topic| &topic.partitions);
    let mut rows: Vec<(i32, i64)> = rows.map(|row| (row.partition_index, row.committed_offset)).collect();
    rows.sort_unstable();
    rows
}

fn join(group: &str, member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"t"),
        }],
        ..Default::default()
    }
}

/// A member comes into an empty group and takes the assignment that it makes for itself.
fn form(world: &mut World, group: &str) -> (String, i32) {
    let first = world.call(&join(group, ""), 9);
    assert_eq!(first.error_code, Refusal::MemberIdRequired.code());
    let joined = rejoin(world, group, &first.member_id);
    assert_eq!((joined.error_code, &joined.leader), (0, &first.member_id), "{joined:?}");
    let synced = world.call(&sync(group, &joined, b"all"), 5);
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all"[..]));
    (joined.member_id, joined.generation_id)
}

fn rejoin(world: &mut World, group: &str, member: &str) -> JoinGroupResponse {
    world.send(&join(group, member), 9);
    for _ in 0..100 {
        if let Some(response) = world.receive::<JoinGroupRequest>(9) {
            return response;
        }
        world.pass(100);
    }
    panic!("the group does not form");
}

fn sync(group: &str, joined: &JoinGroupResponse, assignment: &'static [u8]) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: Bytes::from_static(assignment),
        }],
        ..Default::default()
    }
}

fn heartbeat(world: &mut World, group: &str, member: &str, generation_id: i32) -> i16 {
    let request = HeartbeatRequest {
        group_id: group.into(),
        generation_id,
        member_id: member.into(),
        ..Default::default()
    };
    world.call(&request, 4).error_code
}

fn state(world: &mut World, group: &str) -> (i16, String, usize) {
    let request = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
    let row = world.call(&request, 6).groups.remove(0);
    (row.error_code, row.group_state, row.members.len())
}

#[test]
fn a_group_forms_and_outlives_a_crash_with_its_offsets() {
    let memory = MemoryDisk::new();
    let mut world = coordinating(&memory);
    let (member, generation) = form(&mut world, "g");
    assert_eq!(heartbeat(&mut world, "g", &member, generation), 0);
    let mut request = commit("g", 1, 42);
    request.member_id.clone_from(&member);
    request.generation_id_or_member_epoch = generation;
    assert_eq!(world.call(&request, 8).topics[0].partitions[0].error_code, 0);
    assert_eq!(state(&mut world, "g"), (0, "Stable".into(), 1));
    drop(world);
    memory.reboot(Crash::Power);

    let mut world = World::start(&memory, AT_ONCE);
    assert_eq!(find(&mut world, "g"), 0);
    assert_eq!(offsets(&mut world, "g"), [(1, 42)]);
    assert_eq!(state(&mut world, "g"), (0, "Stable".into(), 1));
    assert_eq!(heartbeat(&mut world, "g", &member, generation), 0, "the member need not join again");
    // It is silent for longer than its session.
    for _ in 0..30 {
        world.pass(1000);
    }
    assert_eq!(state(&mut world, "g"), (0, "Empty".into(), 0));
    assert_eq!(heartbeat(&mut world, "g", &member, generation), Refusal::UnknownMemberId.code());
    assert_eq!(offsets(&mut world, "g"), [(1, 42)], "offsets do not leave with the members");
}

#[test]
fn nobody_hears_of_what_is_not_on_the_disk() {
    let memory = MemoryDisk::new();
    let mut world = coordinating(&memory);
    world.connect(OTHER, CoreId(1), 0);
    assert_eq!(committed(&mut world, "g", 0, 1), 0);
    world.held = Some(Vec::new());
    assert!(world.try_call(&commit("g", 0, 2), 8).is_none(), "not before the disk has it");
    world.send_from(OTHER, CoreId(1), &all_offsets("g"), 9);
    assert!(world.receive_at::<OffsetFetchRequest>(OTHER, 9).is_none(), "and others do not read it either");
    drop(world);
    memory.reboot(Crash::Power);
    let mut world = World::start(&memory, AT_ONCE);
    world.connect(OTHER, CoreId(1), 0);
    assert_eq!(offsets(&mut world, "g"), [(0, 1)]);

    world.held = Some(Vec::new());
    assert!(world.try_call(&commit("g", 0, 3), 8).is_none());
    world.send_from(OTHER, CoreId(1), &all_offsets("g"), 9);
    while world.run_held() > 0 {}
    assert_eq!(world.receive::<OffsetCommitRequest>(8).unwrap().topics[0].partitions[0].error_code, 0);
    let read = world.receive_at::<OffsetFetchRequest>(OTHER, 9).unwrap();
    assert_eq!(read.groups[0].topics[0].partitions[0].committed_offset, 3);
}

#[test]
fn a_commit_that_cannot_be_made_durable_in_time_is_refused_and_may_be_tried_again() {
    let mut world = coordinating(&MemoryDisk::new());
    world.held = Some(Vec::new());
    assert!(world.try_call(&commit("g", 0, 5), 8).is_none());
    world.pass(5_001);
    let late = world.receive::<OffsetCommitRequest>(8).unwrap();
    assert_eq!(late.topics[0].partitions[0].error_code, Refusal::CoordinatorNotAvailable.code());
    while world.run_held() > 0 {}
    world.held = None;
    assert_eq!(committed(&mut world, "g", 0, 5), 0);
    assert_eq!(offsets(&mut world, "g"), [(0, 5)]);
}

#[test]
fn a_full_disk_refuses_commits_and_loses_none() {
    let memory = MemoryDisk::new();
    let mut world = coordinating(&memory);
    assert_eq!(committed(&mut world, "g", 0, 1), 0);
    memory.set_capacity(Some(0));
    for partition in 0..3 {
        let refusal = Refusal::from_code(committed(&mut world, "g", partition, 9)).expect("there is no room");
        assert!(refusal.is_retriable(), "{refusal:?}");
    }
    assert_eq!(offsets(&mut world, "g"), [(0, 1)], "what is refused has changed nothing");
    memory.set_capacity(None);
    assert_eq!(committed(&mut world, "g", 2, 7), 0, "it recovers by itself");
    drop(world);
    memory.reboot(Crash::Power);
    let mut world = World::start(&memory, AT_ONCE);
    assert_eq!(offsets(&mut world, "g"), [(0, 1), (2, 7)]);
}

#[test]
fn commits_wait_for_descriptors_and_are_not_lost() {
    let memory = MemoryDisk::new();
    let mut world = coordinating(&memory);
    memory.use_up_descriptors();
    // The batch is written, but its flush has names to sync and cannot open their folder.
    world.post(CLIENT, CoreId(0), &commit("g", 0, 4), 8);
    world.settle();
    world.pass(1_100);
    assert!(world.receive::<OffsetCommitRequest>(8).is_none(), "it is not on the disk");
    memory.free_descriptors();
    world.pass(1_100);
    let answered = world.receive::<OffsetCommitRequest>(8).expect("the flush has been made up for");
    assert_eq!(answered.topics[0].partitions[0].error_code, 0);
    assert_eq!(committed(&mut world, "g", 1, 5), 0);
    assert_eq!(offsets(&mut world, "g"), [(0, 4), (1, 5)]);
    drop(world);
    memory.reboot(Crash::Power);
    let mut world = World::start(&memory, AT_ONCE);
    assert_eq!(offsets(&mut world, "g"), [(0, 4), (1, 5)]);
}

#[test]
fn a_disk_that_fails_takes_the_coordinators_with_it() {
    let memory = MemoryDisk::new();
    let mut world = coordinating(&memory);
    world.connect(OTHER, CoreId(1), 0);
    assert_eq!(committed(&mut world, "g", 0, 1), 0);
    memory.die_at(1);
    let gone = Refusal::NotCoordinator.code();
    world.post(CLIENT, CoreId(0), &commit("g", 0, 2), 8);
    world.post(OTHER, CoreId(1), &all_offsets("g"), 9);
    world.settle();
    let refused = world.receive::<OffsetCommitRequest>(8).expect("an answer at once");
    assert_eq!(refused.topics[0].partitions[0].error_code, gone);
    let read = world.receive_at::<OffsetFetchRequest>(OTHER, 9).expect("an answer at once");
    assert!([0, gone].contains(&read.groups[0].error_code), "{read:?}");
    assert_eq!(world.call(&all_offsets("g"), 9).groups[0].error_code, gone);
    assert!(world.fatal.take().is_some(), "it was the only directory");
    drop(world);
    memory.reboot(Crash::Power);
    let mut world = World::start(&memory, AT_ONCE);
    assert_eq!(offsets(&mut world, "g"), [(0, 1)]);
}

#[test]
fn offsets_are_committed_and_fetched_in_every_version() {
    let memory = MemoryDisk::new();
    let mut world = coordinating(&memory);
    let id = world.topic_id("t");
    for version in 0..=10 {
        let offset = 100 + i64::from(version);
        let mut request = commit("g", 0, offset);
        let topic = &mut request.topics[0];
        let unknown = topic.partitions[0].clone();
        topic.partitions.insert(0, OffsetCommitRequestPartition { partition_index: 9, ..unknown });
        if version >= 10 {
            topic.topic_id = id;
        }
        let response = world.call(&request, version);
        let row = &response.topics[0];
        assert_eq!(
            (row.topic_id, row.name.as_str()),
            if version >= 10 { (id, "") } else { (Uuid::ZERO, "t") }
        );
        let rows: Vec<(i32, i16)> =
            row.partitions.iter().map(|row| (row.partition_index, row.error_code)).collect();
        assert_eq!(rows, [(9, Refusal::UnknownTopicOrPartition.code()), (0, 0)], "version {version}");
    }
    for version in 0..=7 {
        let topic = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0, 1] };
        let request =
            OffsetFetchRequest { group_id: "g".into(), topics: Some(vec![topic]), ..Default::default() };
        let response = world.call(&request, version);
        assert_eq!(response.error_code, 0);
        let rows = response.topics[0].partitions.iter();
        let rows: Vec<(i64, Option<&str>, i16)> =
            rows.map(|row| (row.committed_offset, row.metadata.as_deref(), row.error_code)).collect();
        let nothing = if version == 0 { Refusal::UnknownTopicOrPartition.code() } else { 0 };
        assert_eq!(rows, [(110, Some("note"), 0), (-1, Some(""), nothing)], "version {version}");
    }
    for version in 8..=10 {
        let topic = |topic_id| OffsetFetchRequestTopics {
            name: if version < 10 { "t".into() } else { String::new() },
            topic_id: if version < 10 { Uuid::ZERO } else { topic_id },
            partition_indexes: vec![0],
        };
        let asked = |name: &str, topics| OffsetFetchRequestGroup {
            group_id: name.into(),
            member_epoch: -1,
            topics,
            ..Default::default()
        };
        let groups =
            vec![asked("g", Some(vec![topic(id)])), asked("nobody", Some(vec![topic(id)])), asked("g", None)];
        let response = world.call(&OffsetFetchRequest { groups, ..Default::default() }, version);
        let found: Vec<(&str, i64)> = response
            .groups
            .iter()
            .map(|group| (group.group_id.as_str(), group.topics[0].partitions[0].committed_offset))
            .collect();
        assert_eq!(found, [("g", 110), ("nobody", -1), ("g", 110)], "version {version}");
        assert!(response.groups.iter().all(|group| group.error_code == 0));
    }
}

#[test]
fn an_id_that_no_topic_has_is_told_so() {
    let mut world = coordinating(&MemoryDisk::new());
    let id = Uuid([7; 16]);
    let mut request = commit("g", 0, 1);
    request.topics[0].topic_id = id;
    let row = &world.call(&request, 10).topics[0];
    assert_eq!((row.topic_id, row.partitions[0].error_code), (id, Refusal::UnknownTopicId.code()));
    let topic = OffsetFetchRequestTopics { topic_id: id, partition_indexes: vec![3], ..Default::default() };
    let group = OffsetFetchRequestGroup {
        group_id: "g".into(),
        member_epoch: -1,
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let response = world.call(&OffsetFetchRequest { groups: vec![group], ..Default::default() }, 10);
    let row = &response.groups[0].topics[0];
    assert_eq!((row.topic_id, row.partitions[0].partition_index), (id, 3));
    assert_eq!(row.partitions[0].error_code, Refusal::UnknownTopicId.code());
}

#[test]
fn members_come_and_go_in_every_version() {
    let mut world = coordinating(&MemoryDisk::new());
    for version in 0..=9 {
        let group = format!("g{version}");
        world.send(&join(&group, ""), version);
        let joined = loop {
            match world.receive::<JoinGroupRequest>(version) {
                Some(response) if response.error_code == Refusal::MemberIdRequired.code() => {
                    assert!(version >= 4);
                    world.send(&join(&group, &response.member_id), version);
                }
                Some(response) => break response,
                None => world.pass(100),
            }
        };
        assert_eq!(joined.error_code, 0, "version {version}: {joined:?}");
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
        assert_eq!(joined.members.len(), 1);
        let sync_version = version.min(5);
        let synced = world.call(&sync(&group, &joined, b"mine"), sync_version);
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"mine"[..]), "version {version}");
        let alive = HeartbeatRequest {
            group_id: group.clone(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            ..Default::default()
        };
        assert_eq!(world.call(&alive, version.min(4)).error_code, 0);
        let leave_version = version.min(5);
        let leave = |member_id: &str| match leave_version {
            ..3 => LeaveGroupRequest {
                group_id: group.clone(),
                member_id: member_id.into(),
                ..Default::default()
            },
            _ => LeaveGroupRequest {
                group_id: group.clone(),
                members: vec![MemberIdentity { member_id: member_id.into(), ..Default::default() }],
                ..Default::default()
            },
        };
        let outcome = |world: &mut World, member_id: &str| {
            let response = world.call(&leave(member_id), leave_version);
            match leave_version {
                ..3 => response.error_code,
                _ => response.members[0].error_code,
            }
        };
        assert_eq!(outcome(&mut world, "a stranger"), Refusal::UnknownMemberId.code());
        assert_eq!(outcome(&mut world, &joined.member_id), 0);
        assert_eq!(state(&mut world, &group), (0, "Empty".into(), 0));
    }
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let memory = MemoryDisk::new();
    let mut world = coordinating(&memory);
    form(&mut world, "g");
    assert_eq!(committed(&mut world, "simple", 0, 1), 0);
    for version in 0..=5 {
        let response = world.call(&ListGroupsRequest::default(), version);
        assert_eq!(response.error_code, 0);
        let mut names: Vec<&str> = response.groups.iter().map(|row| row.group_id.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["g", "simple"], "version {version}");
    }
    let stable = ListGroupsRequest { states_filter: vec!["Stable".into()], ..Default::default() };
    assert_eq!(world.call(&stable, 5).groups.len(), 1);
    for version in 0..=6 {
        let groups = vec!["g".into(), "nobody".into()];
        let request = DescribeGroupsRequest { groups, include_authorized_operations: version >= 3 };
        let response = world.call(&request, version);
        let (found, missing) = (&response.groups[0], &response.groups[1]);
        assert_eq!((found.error_code, found.group_state.as_str(), found.members.len()), (0, "Stable", 1));
        assert_eq!(found.members[0].client_host, "/127.0.0.1");
        assert_eq!(missing.group_state, "Dead");
        let code = if version >= 6 { Refusal::GroupIdNotFound.code() } else { 0 };
        assert_eq!(missing.error_code, code, "version {version}");
        let operations = if version >= 3 { 0b1101_0100_1000 } else { i32::MIN };
        assert_eq!(found.authorized_operations, operations);
    }
    for version in 0..=3 {
        let names = ["g", "nobody", "g"].map(String::from);
        let response = world.call(&DeleteGroupsRequest { groups_names: names.into() }, version);
        let rows = response.results.iter().map(|row| (row.group_id.as_str(), row.error_code));
        let expected = [("g", Refusal::NonEmptyGroup.code()), ("nobody", Refusal::GroupIdNotFound.code())];
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }
    let response = world.call(&DeleteGroupsRequest { groups_names: vec!["simple".into()] }, 3);
    assert_eq!(response.results[0].error_code, 0);
    assert_eq!(offsets(&mut world, "simple"), []);
    drop(world);
    memory.reboot(Crash::Power);
    let mut world = World::start(&memory, AT_ONCE);
    assert_eq!(world.call(&ListGroupsRequest::default(), 5).groups.len(), 1, "what is deleted stays deleted");
}

#[test]
fn offsets_are_deleted_one_by_one_or_with_their_topic() {
    let memory = MemoryDisk::new();
    let mut world = coordinating(&memory);
    for partition in 0..3 {
        assert_eq!(committed(&mut world, "g", partition, 5), 0);
    }
    let partitions = [0, 7].map(|partition_index| OffsetDeleteRequestPartition { partition_index });
    let request = OffsetDeleteRequest {
        group_id: "g".into(),
        topics: vec![OffsetDeleteRequestTopic { name: "t".into(), partitions: partitions.into() }],
    };
    let response = world.call(&request, 0);
    assert_eq!(response.error_code, 0);
    let mut rows: Vec<(i32, i16)> =
        response.topics[0].partitions.iter().map(|row| (row.partition_index, row.error_code)).collect();
    rows.sort_unstable();
    assert_eq!(rows, [(0, 0), (7, Refusal::UnknownTopicOrPartition.code())]);
    assert_eq!(offsets(&mut world, "g"), [(1, 5), (2, 5)]);
    let response = world.call(&delete(&["t"], 6), 6);
    assert_eq!(response.responses[0].error_code, 0);
    assert_eq!(offsets(&mut world, "g"), []);
    drop(world);
    memory.reboot(Crash::Power);
    let mut world = World::start(&memory, AT_ONCE);
    assert_eq!(offsets(&mut world, "g"), [], "they do not come back with the log");
}

#[test]
fn without_a_coordinator_everybody_is_sent_to_look_for_one() {
    let mut world = World::start(&MemoryDisk::new(), AT_ONCE);
    world.create("t", 3);
    let none = Refusal::NotCoordinator.code();
    assert_eq!(committed(&mut world, "g", 0, 1), none);
    assert_eq!(world.call(&all_offsets("g"), 9).groups[0].error_code, none);
    assert_eq!(world.call(&join("g", ""), 9).error_code, none);
    assert_eq!(heartbeat(&mut world, "g", "m", 1), none);
    assert_eq!(state(&mut world, "g").0, none);
    assert_eq!(world.call(&ListGroupsRequest::default(), 5).error_code, 0);
    let response = world.call(&DeleteGroupsRequest { groups_names: vec!["g".into()] }, 3);
    assert_eq!(response.results[0].error_code, none);
}

#[test]
fn whoever_waits_for_a_coordinator_that_goes_is_sent_to_look_for_another() {
    let memory = MemoryDisk::new();
    // Somebody who joins waits for others.
    let mut world = World::start(&memory, &[]);
    world.create("t", 3);
    assert_eq!(find(&mut world, "g"), 0);
    assert_eq!(committed(&mut world, "simple", 0, 1), 0);
    world.connect(OTHER, CoreId(1), 0);
    let first = world.call(&join("g", ""), 9);
    world.send(&join("g", &first.member_id), 9);
    assert!(world.receive::<JoinGroupRequest>(9).is_none());
    world.send_from(OTHER, CoreId(1), &delete(&["__consumer_offsets"], 6), 6);
    let response = world.receive_at::<DeleteTopicsRequest>(OTHER, 6).unwrap();
    assert_eq!(response.responses[0].error_code, 0);
    let joined = world.receive::<JoinGroupRequest>(9).expect("the group has nobody any more");
    assert_eq!(joined.error_code, Refusal::NotCoordinator.code());
    assert_eq!(committed(&mut world, "simple", 0, 2), Refusal::NotCoordinator.code());
    assert_eq!(find(&mut world, "g"), 0, "the topic is made again");
    assert_eq!(offsets(&mut world, "simple"), [], "and knows nothing");
    form(&mut world, "g");
}

#[test]
fn a_group_without_a_name_is_refused_where_kafka_does() {
    let mut world = coordinating(&MemoryDisk::new());
    let refused = Refusal::InvalidGroupId.code();
    assert_eq!(world.call(&join("", ""), 9).error_code, refused);
    assert_eq!(heartbeat(&mut world, "", "m", 1), refused);
    assert_eq!(world.call(&LeaveGroupRequest::default(), 5).error_code, refused);
    let named = |protocol: Option<&str>| SyncGroupRequest {
        protocol_type: protocol.map(Into::into),
        protocol_name: protocol.map(Into::into),
        ..Default::default()
    };
    assert_eq!(world.call(&named(Some("p")), 5).error_code, refused);
    assert_eq!(world.call(&named(None), 5).error_code, Refusal::InconsistentGroupProtocol.code());
    assert_eq!(world.call(&OffsetDeleteRequest::default(), 0).error_code, refused);
    // For the sake of old clients, offsets may be committed to it.
    assert_eq!(committed(&mut world, "", 0, 3), 0);
    assert_eq!(offsets(&mut world, ""), [(0, 3)]);
}

#[test]
fn the_topic_of_the_groups_is_made_when_it_is_asked_for_and_can_be() {
    let properties = [("offsets.topic.replication.factor", "3")];
    let mut world = World::start(&MemoryDisk::new(), &properties);
    assert_eq!(find(&mut world, "g"), Refusal::CoordinatorNotAvailable.code());
    let properties = [("offsets.topic.num.partitions", "3")];
    let mut world = World::start(&MemoryDisk::new(), &properties);
    let search = |key_type, version: i16| {
        let key = String::from("g");
        let (key, coordinator_keys) =
            if version < 4 { (key, Vec::new()) } else { (String::new(), vec![key]) };
        FindCoordinatorRequest { key, key_type, coordinator_keys }
    };
    let response = world.call(&search(0, 6), 6);
    let row = &response.coordinators[0];
    assert_eq!((row.error_code, row.node_id, row.host.as_str(), row.port), (0, 1, "localhost", 9092));
    for version in 0..=3 {
        let response = world.call(&search(0, version), version);
        assert_eq!((response.error_code, response.node_id, response.port), (0, 1, 9092), "version {version}");
    }
    for (key_type, version, refusal) in [
        (2, 5, Refusal::InvalidRequest),
        (2, 6, Refusal::CoordinatorNotAvailable),
        (3, 6, Refusal::InvalidRequest),
    ] {
        let response = world.call(&search(key_type, version), version);
        assert_eq!(response.coordinators[0].error_code, refusal.code());
    }
    let topics =
        world.call(&ottla_protocol::messages::MetadataRequest { topics: None, ..Default::default() }, 12);
    let row = topics.topics.iter().find(|row| row.name.as_deref() == Some("__consumer_offsets")).unwrap();
    assert_eq!((row.is_internal, row.partitions.len()), (true, 3));
}

#[test]
fn a_log_larger_than_any_step_is_loaded_whole() {
    let memory = MemoryDisk::new();
    let mut world = coordinating(&memory);
    let groups: Vec<String> = (0..40).map(|number| format!("group {number}")).collect();
    let note = "x".repeat(4000);
    for round in 0..20 {
        for group in &groups {
            let mut request = commit(group, 0, round);
            request.topics[0].partitions[0].committed_metadata = Some(note.clone());
            assert_eq!(world.call(&request, 8).topics[0].partitions[0].error_code, 0);
        }
    }
    drop(world);
    memory.reboot(Crash::Power);
    let mut world = World::start(&memory, AT_ONCE);
    for group in &groups {
        assert_eq!(offsets(&mut world, group), [(0, 19)]);
    }
}

#[test]
fn a_consumer_group_is_served_by_heartbeats_alone() {
    let memory = MemoryDisk::new();
    let mut world = coordinating(&memory);
    let topic = world.topic_id("t");
    let member = "a member of its own making";
    let beat = |member_epoch: i32, owned: Option<Vec<i32>>| {
        use ottla_protocol::messages::consumer_group_heartbeat::RequestTopicPartitions;
        let joins = member_epoch == 0;
        ConsumerGroupHeartbeatRequest {
            group_id: "c".into(),
            member_id: member.into(),
            member_epoch,
            rebalance_timeout_ms: if joins { 30_000 } else { -1 },
            subscribed_topic_names: joins.then(|| vec!["t".into()]),
            topic_partitions: owned.map(|partitions| {
                if partitions.is_empty() {
                    Vec::new()
                } else {
                    vec![RequestTopicPartitions { topic_id: topic, partitions }]
                }
            }),
            ..Default::default()
        }
    };
    let mut response = world.call(&beat(0, Some(Vec::new())), 1);
    let mut assigned = None;
    for _ in 0..50 {
        assert_eq!(response.error_code, 0, "{response:?}");
        if let Some(assignment) = response.assignment.filter(|assigned| !assigned.topic_partitions.is_empty())
        {
            assigned = Some(assignment);
            break;
        }
        world.pass(500);
        response = world.call(&beat(response.member_epoch, Some(Vec::new())), 1);
    }
    let assigned = assigned.expect("an assignment within some heartbeats");
    assert_eq!(assigned.topic_partitions[0].topic_id, topic);
    assert_eq!(assigned.topic_partitions[0].partitions, [0, 1, 2]);
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec!["c".into(), String::new()],
        include_authorized_operations: true,
    };
    let described = world.call(&request, 1).groups;
    assert_eq!(described[0].error_code, Refusal::InvalidGroupId.code());
    assert_eq!((described[1].group_id.as_str(), described[1].members.len()), ("c", 1));
    assert_eq!(described[1].authorized_operations, 0b1101_0100_1000);
    drop(world);
    memory.reboot(Crash::Power);
    let mut world = World::start(&memory, AT_ONCE);
    let request = ConsumerGroupDescribeRequest { group_ids: vec!["c".into()], ..Default::default() };
    let described = world.call(&request, 1).groups.remove(0);
    assert_eq!((described.error_code, described.members.len()), (0, 1));
    assert_eq!(described.members[0].assignment.topic_partitions[0].partitions, [0, 1, 2]);
}

/// A transactional producer: its id and its epoch.
fn begin(world: &mut World) -> (i64, i16) {
    let search =
        FindCoordinatorRequest { key_type: 1, coordinator_keys: vec!["tx".into()], ..Default::default() };
    assert_eq!(world.call(&search, 6).coordinators[0].error_code, 0);
    let request = InitProducerIdRequest {
        transactional_id: Some("tx".into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let response = world.call(&request, 5);
    assert_eq!(response.error_code, 0, "{response:?}");
    (response.producer_id, response.producer_epoch)
}

fn commit_in_transaction(producer: (i64, i16), offset: i64) -> TxnOffsetCommitRequest {
    let rows = [0, 9].map(|partition_index| TxnOffsetCommitRequestPartition {
        partition_index,
        committed_offset: offset,
        committed_leader_epoch: -1,
        committed_metadata: None,
    });
    TxnOffsetCommitRequest {
        transactional_id: "tx".into(),
        group_id: "g".into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        generation_id_or_member_epoch: -1,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "t".into(),
            partitions: rows.into(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn end(producer: (i64, i16), committed: bool) -> EndTxnRequest {
    EndTxnRequest {
        transactional_id: "tx".into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        committed,
    }
}

/// The error of the first partition of a fetch that accepts only what is final.
fn stable(world: &mut World, group: &str) -> Vec<i16> {
    let request = OffsetFetchRequest { require_stable: true, ..all_offsets(group) };
    let response = world.call(&request, 9);
    let rows = response.groups[0].topics.iter().flat_map(|topic| &topic.partitions);
    rows.map(|row| row.error_code).collect()
}

#[test]
fn offsets_of_a_transaction_count_when_it_is_committed() {
    for (version, end_version) in [(6, 5), (5, 5), (4, 4), (3, 3), (0, 0)] {
        let memory = MemoryDisk::new();
        let mut world = coordinating(&memory);
        let topic = world.topic_id("t");
        assert_eq!(committed(&mut world, "g", 0, 1), 0);
        let mut producer = begin(&mut world);
        for (offset, commits) in [(10, false), (20, true), (30, true)] {
            let before = offsets(&mut world, "g");
            let mut request = commit_in_transaction(producer, offset);
            if version >= 6 {
                request.topics[0].topic_id = topic;
            }
            if version < 5 {
                let response = world.call(&request, version);
                let refused = Refusal::from_code(response.topics[0].partitions[0].error_code);
                let abortable =
                    if version >= 4 { Refusal::TransactionAbortable } else { Refusal::InvalidTxnState };
                assert_eq!(refused, Some(abortable), "nobody knows of the partition yet");
                let request = AddOffsetsToTxnRequest {
                    transactional_id: "tx".into(),
                    producer_id: producer.0,
                    producer_epoch: producer.1,
                    group_id: "g".into(),
                };
                assert_eq!(world.call(&request, 3).error_code, 0);
            }
            let response = world.call(&request, version);
            let rows: Vec<i16> = response.topics[0].partitions.iter().map(|row| row.error_code).collect();
            assert_eq!(rows, [0, Refusal::UnknownTopicOrPartition.code()], "version {version}");
            assert_eq!(offsets(&mut world, "g"), before, "not yet");
            assert_eq!(stable(&mut world, "g"), [Refusal::UnstableOffsetCommit.code()]);
            drop(world);
            memory.reboot(Crash::Power);
            world = World::start(&memory, AT_ONCE);
            assert_eq!(offsets(&mut world, "g"), before, "still not");
            assert_eq!(stable(&mut world, "g"), [Refusal::UnstableOffsetCommit.code()]);
            let ended = world.call(&end(producer, commits), end_version);
            assert_eq!(ended.error_code, 0, "{ended:?}");
            if ended.producer_id >= 0 {
                producer = (ended.producer_id, ended.producer_epoch);
            }
            world.pass(100);
            let after = if commits { vec![(0, offset)] } else { before };
            assert_eq!(offsets(&mut world, "g"), after, "version {version}");
            assert_eq!(stable(&mut world, "g"), [0]);
            drop(world);
            memory.reboot(Crash::Power);
            world = World::start(&memory, AT_ONCE);
            assert_eq!(offsets(&mut world, "g"), after, "version {version}, after a crash");
        }
    }
}

#[test]
fn offsets_of_a_transaction_that_nobody_knows_are_refused() {
    let mut world = coordinating(&MemoryDisk::new());
    for version in 0..=5 {
        let response = world.call(&commit_in_transaction((4711, 0), 1), version);
        let refusal = Refusal::from_code(response.topics[0].partitions[0].error_code);
        assert_eq!(refusal, Some(Refusal::CoordinatorNotAvailable), "there is none of transactions yet");
    }
    begin(&mut world);
    for version in 0..=5 {
        let response = world.call(&commit_in_transaction((4711, 0), 1), version);
        let refusal = Refusal::from_code(response.topics[0].partitions[0].error_code);
        assert_eq!(refusal, Some(Refusal::InvalidProducerIdMapping), "version {version}");
    }
    assert_eq!(offsets(&mut world, "g"), []);
}
