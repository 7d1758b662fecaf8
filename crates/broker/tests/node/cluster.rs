//! What concerns the cluster and the connection: ApiVersions, DescribeCluster, the quorum, features, leaders,
//! reassignments, frames that cannot be read.

use bytes::Bytes;
use ottla_broker::core::{CoreId, SessionId};
use ottla_log::MemoryDisk;
use ottla_protocol::messages::alter_partition_reassignments::{ReassignablePartition, ReassignableTopic};
use ottla_protocol::messages::describe_quorum::{RequestPartitionData, RequestTopicData};
use ottla_protocol::messages::elect_leaders::TopicPartitions;
use ottla_protocol::messages::list_partition_reassignments::ListPartitionReassignmentsTopics;
use ottla_protocol::messages::update_features::FeatureUpdateKey;
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, ApiVersionsRequest, DescribeClusterRequest, DescribeQuorumRequest,
    ElectLeadersRequest, FindCoordinatorRequest, ListPartitionReassignmentsRequest, UnregisterBrokerRequest,
    UpdateFeaturesRequest,
};
use ottla_protocol::{ApiKey, Refusal};

use super::support::*;

const CONTROLLER_LISTENER: usize = 1;

fn versions() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    }
}

#[test]
fn versions_are_told_as_they_are_served() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    for version in 0..=5 {
        let request = if version < 3 { ApiVersionsRequest::default() } else { versions() };
        let response = world.call(&request, version);
        assert_eq!((response.error_code, response.throttle_time_ms), (0, 0));
        let rows = ottla_broker::api::rows();
        assert_eq!(response.api_keys.len(), rows.len());
        for (told, row) in response.api_keys.iter().zip(rows) {
            assert_eq!(
                (told.api_key, told.min_version, told.max_version),
                (row.key.code(), row.min, row.max)
            );
        }
        let produce = response.api_keys.iter().find(|row| row.api_key == 0).unwrap();
        assert_eq!(produce.min_version, 0, "librdkafka switches features by it");
        if version >= 3 {
            assert!(response.finalized_features_epoch >= 0);
            assert!(response.finalized_features.iter().any(|row| row.name == "metadata.version"));
        }
        let from_zero = response.supported_features.iter().any(|row| row.min_version == 0);
        assert!(version >= 4 || !from_zero, "clients of version 3 cannot read a range that begins at 0");
    }
}

#[test]
fn who_names_his_software_badly_or_takes_us_for_another_is_told() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    let nameless = ApiVersionsRequest { client_software_name: "-".into(), ..versions() };
    assert_eq!(world.call(&nameless, 3).error_code, Refusal::InvalidRequest.code());
    let cluster =
        world.call(&DescribeClusterRequest { endpoint_type: 1, ..Default::default() }, 1).cluster_id;
    let believing = |cluster: Option<&str>, node_id| ApiVersionsRequest {
        cluster_id: cluster.map(Into::into),
        node_id,
        ..versions()
    };
    let cases = [
        (believing(Some(&cluster), 1), None),
        (believing(None, -1), None),
        (believing(Some(&cluster), 2), Some(Refusal::RebootstrapRequired)),
        (believing(Some("another"), 1), Some(Refusal::RebootstrapRequired)),
        (believing(Some(&cluster), -1), Some(Refusal::InvalidRequest)),
        (believing(None, 1), Some(Refusal::InvalidRequest)),
    ];
    for (request, expected) in cases {
        assert_eq!(Refusal::from_code(world.call(&request, 5).error_code), expected, "{request:?}");
    }
}

#[test]
fn frames_that_cannot_be_read_end_the_connection() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    let frames: [&[u8]; 9] = [
        &[],
        &[0],
        &[0, 3, 0],
        // Keys that nobody has, one that is another's, one that controllers speak among themselves.
        &[0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        &[0xff, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        &[0, 4, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        &[0, 52, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0],
        // A version below and above the range.
        &[0, 1, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        &[0, 3, 0x7f, 0xff, 0, 0, 0, 1, 0xff, 0xff],
    ];
    for (number, frame) in frames.iter().enumerate() {
        let session = SessionId(100 + number as u32);
        world.connect(session, CoreId(0), 0);
        world.send_frame(session, CoreId(0), Bytes::copy_from_slice(frame));
        assert_eq!(world.closed.last(), Some(&session), "{frame:?}");
        assert!(!world.sent.contains_key(&session));
    }
    // The others do not suffer.
    assert_eq!(world.call(&versions(), 3).error_code, 0);
}

#[test]
fn bytes_after_a_request_are_no_part_of_it() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    let session = SessionId(2);
    world.connect(session, CoreId(0), 0);
    // ApiVersions 0 has no body.
    world.send_frame(session, CoreId(0), Bytes::from_static(&[0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 1, 2, 3]));
    assert!(world.sent.contains_key(&session) || world.closed.contains(&session), "one or the other");
}

#[test]
fn controllers_and_brokers_are_told_apart() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    for version in 0..=2 {
        let response =
            world.call(&DescribeClusterRequest { endpoint_type: 1, ..Default::default() }, version);
        assert_eq!((response.error_code, response.controller_id, response.brokers.len()), (0, 1, 1));
        let broker = &response.brokers[0];
        assert_eq!((broker.broker_id, broker.host.as_str(), broker.port), (1, "localhost", 9092));
        assert_eq!(response.cluster_authorized_operations, i32::MIN);
    }
    let nosy = DescribeClusterRequest {
        endpoint_type: 1,
        include_cluster_authorized_operations: true,
        ..Default::default()
    };
    assert_eq!(world.call(&nosy, 1).cluster_authorized_operations, 0b1_1111_1010_0000);
    let controllers = DescribeClusterRequest { endpoint_type: 2, ..Default::default() };
    assert_eq!(world.call(&controllers, 1).error_code, Refusal::MismatchedEndpointType.code());
    let nobody = DescribeClusterRequest { endpoint_type: 3, ..Default::default() };
    assert_eq!(world.call(&nobody, 1).error_code, Refusal::UnsupportedEndpointType.code());

    let session = SessionId(2);
    world.connect(session, CoreId(0), CONTROLLER_LISTENER);
    world.send_from(session, CoreId(0), &controllers, 1);
    let response = world.receive_at::<DescribeClusterRequest>(session, 1).unwrap();
    assert_eq!((response.error_code, response.controller_id, response.endpoint_type), (0, 1, 2));
    assert_eq!((response.brokers[0].broker_id, response.brokers[0].port), (1, 9093));
    // What is not for controllers is not served by them, and not advertised.
    world.send_from(session, CoreId(0), &versions(), 3);
    let told = world.receive_at::<ApiVersionsRequest>(session, 3).unwrap();
    assert!(told.api_keys.iter().all(|row| row.api_key != ApiKey::Produce.code()));
    world.send_from(session, CoreId(0), &super::requests::produce("t", 0, &["a"]), 9);
    assert_eq!(world.closed, [session]);
}

#[test]
fn the_quorum_is_described() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    let about = |topic: &str, partition_index| DescribeQuorumRequest {
        topics: vec![RequestTopicData {
            topic_name: topic.into(),
            partitions: vec![RequestPartitionData { partition_index }],
        }],
    };
    for version in 0..=2 {
        let response = world.call(&about("__cluster_metadata", 0), version);
        assert_eq!(response.error_code, 0);
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.leader_id), (0, 1));
        assert!(partition.high_watermark > 0);
        assert_eq!(partition.current_voters.len(), 1);
        assert_eq!(partition.current_voters[0].log_end_offset, partition.high_watermark);
        assert_eq!(response.nodes.len(), usize::from(version >= 2));
    }
    assert_ne!(world.call(&about("t", 0), 2).error_code, 0);
}

#[test]
fn features_are_changed_within_their_ranges() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    let update = |feature: &str, max_version_level, upgrade_type| UpdateFeaturesRequest {
        timeout_ms: 1000,
        feature_updates: vec![FeatureUpdateKey {
            feature: feature.into(),
            max_version_level,
            upgrade_type,
            ..Default::default()
        }],
        validate_only: false,
    };
    let mut outcome = |request: &UpdateFeaturesRequest| {
        let response = world.call(request, 2);
        Refusal::from_code(response.error_code)
    };
    assert!(outcome(&update("no.such.feature", 1, 1)).is_some());
    assert!(outcome(&update("metadata.version", 10_000, 1)).is_some());
    assert!(outcome(&update("metadata.version", 1, 1)).is_some(), "that would be a step down");
}

#[test]
fn leaders_that_are_right_already_are_not_elected() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 2);
    let elect = |topic: &str, partition| ElectLeadersRequest {
        election_type: 0,
        topic_partitions: Some(vec![TopicPartitions { topic: topic.into(), partitions: vec![partition] }]),
        timeout_ms: 1000,
    };
    let mut outcome = |request: &ElectLeadersRequest, version| {
        let response = world.call(request, version);
        assert_eq!(response.error_code, 0);
        let topic = &response.replica_election_results[0];
        Refusal::from_code(topic.partition_result[0].error_code)
    };
    for version in 0..=2 {
        assert_eq!(outcome(&elect("t", 0), version), Some(Refusal::ElectionNotNeeded), "version {version}");
        assert_eq!(outcome(&elect("u", 0), version), Some(Refusal::UnknownTopicOrPartition));
        assert_eq!(outcome(&elect("t", 7), version), Some(Refusal::UnknownTopicOrPartition));
    }
    let all = ElectLeadersRequest { topic_partitions: None, ..elect("t", 0) };
    let response = world.call(&all, 2);
    assert_eq!(response.error_code, 0);
    let done = response.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
    assert_eq!(done.count(), 0, "nothing was done");
}

#[test]
fn replicas_move_only_to_brokers_that_are_there() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    let reassign = |topic: &str, replicas: Option<Vec<i32>>| AlterPartitionReassignmentsRequest {
        timeout_ms: 1000,
        topics: vec![ReassignableTopic {
            name: topic.into(),
            partitions: vec![ReassignablePartition { partition_index: 0, replicas }],
        }],
        ..Default::default()
    };
    for (topic, replicas, expected) in [
        ("t", Some(vec![7]), Some(Refusal::InvalidReplicaAssignment)),
        ("t", Some(vec![]), Some(Refusal::InvalidReplicaAssignment)),
        ("t", None, Some(Refusal::NoReassignmentInProgress)),
        ("u", Some(vec![1]), Some(Refusal::UnknownTopicOrPartition)),
        ("t", Some(vec![1]), None),
    ] {
        let response = world.call(&reassign(topic, replicas.clone()), 1);
        assert_eq!(response.error_code, 0);
        let row = &response.responses[0].partitions[0];
        assert_eq!(Refusal::from_code(row.error_code), expected, "{topic} {replicas:?}");
    }
    let topics = vec![ListPartitionReassignmentsTopics { name: "t".into(), partition_indexes: vec![0] }];
    for topics in [None, Some(topics)] {
        let request = ListPartitionReassignmentsRequest { timeout_ms: 1000, topics };
        let response = world.call(&request, 0);
        assert_eq!((response.error_code, response.topics.len()), (0, 0), "none is under way");
    }
}

#[test]
fn a_broker_that_is_not_there_cannot_be_unregistered() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    let response = world.call(&UnregisterBrokerRequest { broker_id: 7 }, 0);
    assert_eq!(response.error_code, Refusal::BrokerIdNotRegistered.code());
}

#[test]
fn a_coordinator_is_found_or_not_with_a_row_for_each_key() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    for version in 0..=3 {
        let response = world.call(&FindCoordinatorRequest { key: "g".into(), ..Default::default() }, version);
        let there = response.error_code == 0;
        assert_eq!(response.node_id >= 0, there, "{response:?}");
    }
    for version in 4..=6 {
        let keys = vec!["g".to_owned(), "h".to_owned()];
        let request = FindCoordinatorRequest { coordinator_keys: keys, ..Default::default() };
        let response = world.call(&request, version);
        let keys: Vec<&str> = response.coordinators.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, ["g", "h"]);
        assert!(response.coordinators.iter().all(|row| (row.node_id >= 0) == (row.error_code == 0)));
    }
}
