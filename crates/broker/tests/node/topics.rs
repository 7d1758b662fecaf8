//! Topics made, shown, grown and deleted: CreateTopics, CreatePartitions, DeleteTopics, Metadata and
//! DescribeTopicPartitions.

use ottla_log::MemoryDisk;
use ottla_protocol::messages::create_partitions::{CreatePartitionsAssignment, CreatePartitionsTopic};
use ottla_protocol::messages::create_topics::{CreatableReplicaAssignment, CreatableTopic};
use ottla_protocol::messages::describe_topic_partitions::{
    DescribeTopicPartitionsResponseTopic, RequestCursor as Cursor, TopicRequest,
};
use ottla_protocol::messages::metadata::{MetadataRequestTopic, MetadataResponseTopic};
use ottla_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, FetchRequest, MetadataRequest, MetadataResponse,
};
use ottla_protocol::{Refusal, Uuid};

use super::requests::*;
use super::support::*;

const NO_OPERATIONS: i32 = i32::MIN;
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// Asks for topics; from version 4 on without wanting them made.
fn by_name(names: &[&str], version: i16) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
    MetadataRequest {
        topics: Some(names.iter().map(topic).collect()),
        allow_auto_topic_creation: version < 4,
        ..Default::default()
    }
}

fn summary(response: &MetadataResponse) -> Vec<(Option<&str>, i16)> {
    response.topics.iter().map(|topic| (topic.name.as_deref(), topic.error_code)).collect()
}

fn sorted(response: &MetadataResponse) -> Vec<(Option<&str>, i16)> {
    let mut rows = summary(response);
    rows.sort_unstable();
    rows
}

#[test]
fn topics_are_shown_in_every_version() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 2);
    world.create("__consumer_offsets", 1);
    for version in 0..=13 {
        let response = world.call(&by_name(&["t"], version), version);
        assert_eq!(response.brokers.len(), 1, "version {version}");
        let broker = &response.brokers[0];
        assert_eq!((broker.node_id, broker.host.as_str(), broker.port), (1, "localhost", 9092));
        let topic = &response.topics[0];
        assert_eq!((topic.error_code, topic.name.as_deref(), topic.is_internal), (0, Some("t"), false));
        assert_eq!(topic.topic_authorized_operations, NO_OPERATIONS);
        assert_eq!(topic.partitions.len(), 2);
        for (index, partition) in topic.partitions.iter().enumerate() {
            assert_eq!((partition.partition_index, partition.error_code), (index as i32, 0));
            assert_eq!(
                (partition.leader_id, &partition.replica_nodes, &partition.isr_nodes),
                (1, &vec![1], &vec![1])
            );
            assert!(partition.offline_replicas.is_empty());
        }
        if version >= 1 {
            assert_eq!(response.controller_id, 1);
        }
        assert_eq!(response.cluster_id.is_some(), version >= 2);
        assert_eq!(topic.topic_id.is_zero(), version < 10);
    }
    // None, "all", and an empty list, which meant all before null could be said.
    let all = MetadataRequest { topics: None, ..Default::default() };
    for version in 1..=13 {
        let response = world.call(&all, version);
        assert_eq!(sorted(&response), [(Some("__consumer_offsets"), 0), (Some("t"), 0)]);
        let internal = response.topics.iter().find(|topic| topic.name.as_deref() != Some("t")).unwrap();
        assert!(internal.is_internal);
        let none = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
        assert!(world.call(&none, version).topics.is_empty());
    }
    let empty = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    assert_eq!(world.call(&empty, 0).topics.len(), 2);
}

#[test]
fn what_is_not_there_or_cannot_be_is_said_row_by_row() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    for version in 8..=13 {
        let request = MetadataRequest {
            include_topic_authorized_operations: true,
            include_cluster_authorized_operations: version <= 10,
            ..by_name(&["t", "u", "t", "no/topic", "__share_group_state"], version)
        };
        let response = world.call(&request, version);
        let expected =
            [(Some("t"), 0), (Some("u"), 3), (Some("no/topic"), 17), (Some("__share_group_state"), 3)];
        assert_eq!(summary(&response), expected);
        assert!(response.topics.iter().all(|topic| topic.topic_authorized_operations == TOPIC_OPERATIONS));
        assert!(response.topics[1..].iter().all(|topic| topic.topic_id.is_zero()));
        assert!(response.topics[3].is_internal);
        let cluster = if version <= 10 { 0b1_1111_1010_0000 } else { NO_OPERATIONS };
        assert_eq!(response.cluster_authorized_operations, cluster);
    }
}

#[test]
fn topics_are_asked_for_by_their_ids_from_version_12_on() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    let (known, unknown) = (world.topic_id("t"), Uuid::from_random([3; 16]));
    let by_id = |topic_id| MetadataRequestTopic { name: None, topic_id };
    let named = MetadataRequestTopic { name: Some("t".into()), ..Default::default() };
    let request = |topics| MetadataRequest { topics: Some(topics), ..Default::default() };
    for version in 12..=13 {
        let response = world.call(&request(vec![by_id(known), by_id(unknown), by_id(known)]), version);
        let row = |topic: &MetadataResponseTopic| (topic.name.clone(), topic.topic_id, topic.error_code);
        let rows: Vec<_> = response.topics.iter().map(row).collect();
        assert_eq!(rows, [(Some("t".into()), known, 0), (None, unknown, Refusal::UnknownTopicId.code())]);
        // Whoever names one id names ids.
        let response = world.call(&request(vec![by_id(unknown), named.clone()]), version);
        assert_eq!(response.topics.len(), 1);
    }
    // The field is there in versions 10 and 11, and means nothing yet.
    for version in 10..=11 {
        let asked = MetadataRequestTopic { name: Some("t".into()), topic_id: known };
        assert_eq!(summary(&world.call(&request(vec![asked]), version)), [(Some("t"), 42)]);
        assert_eq!(summary(&world.call(&request(vec![by_id(Uuid::ZERO)]), version)), [(Some(""), 42)]);
    }
}

#[test]
fn as_many_topics_are_made_at_once_as_one_batch_of_the_metadata_log_holds() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    for (count, made) in [(1_000, true), (10_000, false)] {
        let names: Vec<String> = (0..count).map(|n| format!("of-{count}-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let wants = MetadataRequest { allow_auto_topic_creation: true, ..by_name(&names, 9) };
        world.send(&wants, 9);
        world.receive::<MetadataRequest>(9).unwrap();
        let found = world.call(&by_name(&names, 9), 9);
        assert!(found.topics.iter().all(|topic| (topic.error_code == 0) == made), "{count}");
    }
}

#[test]
fn asking_for_a_topic_makes_it_where_that_is_allowed() {
    let mut world = World::start(&MemoryDisk::new(), &[("num.partitions", "3")]);
    assert_eq!(summary(&world.call(&by_name(&["t"], 9), 9)), [(Some("t"), 3)], "the client does not want it");
    let wants = MetadataRequest { allow_auto_topic_creation: true, ..by_name(&["t", "no/topic"], 9) };
    // Whoever asks first is told that it is not there, and finds it when he asks again.
    assert_eq!(summary(&world.call(&wants, 9)), [(Some("t"), 3), (Some("no/topic"), 17)]);
    let response = world.call(&by_name(&["t"], 9), 9);
    assert_eq!(summary(&response), [(Some("t"), 0)]);
    assert_eq!(response.topics[0].partitions.len(), 3);
    // Before version 4 everybody wants it.
    for error_code in [3, 0] {
        let before_4 = summary(&world.call(&by_name(&["old"], 3), 3)) == [(Some("old"), error_code)];
        assert!(before_4, "{error_code}");
    }
    drop(world);
    let mut world = World::start(&MemoryDisk::new(), &[("auto.create.topics.enable", "false")]);
    let wants = MetadataRequest { allow_auto_topic_creation: true, ..by_name(&["t"], 9) };
    assert_eq!(summary(&world.call(&wants, 9)), [(Some("t"), 3)], "the node does not");
}

#[test]
fn each_listener_shows_its_own_addresses() {
    let properties = [
        ("listeners", "CONTROLLER://localhost:9093,IN://localhost:9092,OUT://0.0.0.0:9094"),
        ("advertised.listeners", "IN://inside:1092,OUT://outside.example:1094"),
        ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,IN:PLAINTEXT,OUT:PLAINTEXT"),
        ("inter.broker.listener.name", "IN"),
        ("controller.listener.names", "CONTROLLER"),
        ("broker.rack", "r1"),
    ];
    let mut world = World::start(&MemoryDisk::new(), &properties);
    for (number, expected) in [(1, ("inside", 1092)), (2, ("outside.example", 1094))] {
        let (session, core) = (ottla_broker::core::SessionId(10 + number), ottla_broker::core::CoreId(0));
        world.connect(session, core, number as usize);
        world.send_from(session, core, &by_name(&[], 9), 9);
        let response = world.receive_at::<MetadataRequest>(session, 9).unwrap();
        let broker = &response.brokers[0];
        assert_eq!(
            (broker.host.as_str(), broker.port, broker.rack.as_deref()),
            (expected.0, expected.1, Some("r1"))
        );
    }
}

fn creation(world: &mut World, request: &CreateTopicsRequest, version: i16) -> (i16, Option<String>) {
    let response = world.call(request, version);
    let row = response.topics.into_iter().next().unwrap();
    (row.error_code, row.error_message)
}

#[test]
fn topics_are_made_in_every_version() {
    let mut world = World::start(&MemoryDisk::new(), &[("num.partitions", "2")]);
    for version in 0..=7 {
        let name = format!("t{version}");
        let response = world.call(&create(&name, 3, &[("retention.ms", "1000")]), version);
        let row = &response.topics[0];
        assert_eq!((row.name.as_str(), row.error_code), (name.as_str(), 0));
        if version >= 5 {
            assert_eq!((row.num_partitions, row.replication_factor), (3, 1));
            let configs = row.configs.as_ref().expect("never null, or Java's admin client crashes");
            let set = configs.iter().find(|config| config.name == "retention.ms").unwrap();
            assert_eq!((set.value.as_deref(), set.config_source), (Some("1000"), 1));
        }
        assert_eq!(row.topic_id.is_zero(), version < 7);
        assert_eq!(creation(&mut world, &create(&name, 3, &[]), version).0, 36, "it is there already");
    }
    // From 4 on the cluster's defaults may be asked for.
    let mut defaults = create("defaults", -1, &[]);
    defaults.topics[0].replication_factor = -1;
    assert_eq!(creation(&mut world, &defaults, 4).0, 0);
    let shown = world.call(&by_name(&["defaults"], 9), 9);
    assert_eq!(shown.topics[0].partitions.len(), 2);
}

#[test]
fn topics_that_cannot_be_are_refused() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    let factor = |replication_factor| {
        let mut request = create("t", 1, &[]);
        request.topics[0].replication_factor = replication_factor;
        request
    };
    let assigned = |brokers: &[i32]| {
        let mut request = create("t", -1, &[]);
        request.topics[0].replication_factor = -1;
        request.topics[0].assignments =
            vec![CreatableReplicaAssignment { partition_index: 0, broker_ids: brokers.to_vec() }];
        request
    };
    let cases = [
        ("a bad name", create("no/topic", 1, &[]), Refusal::InvalidTopicException),
        ("no name", create("", 1, &[]), Refusal::InvalidTopicException),
        ("no partitions", create("t", 0, &[]), Refusal::InvalidPartitions),
        ("too many replicas", factor(2), Refusal::InvalidReplicationFactor),
        ("no replicas", factor(0), Refusal::InvalidReplicationFactor),
        ("an unknown key", create("t", 1, &[("no.such.key", "1")]), Refusal::InvalidConfig),
        ("a bad value", create("t", 1, &[("retention.ms", "x")]), Refusal::InvalidConfig),
        ("segments too small", create("t", 1, &[("segment.bytes", "200")]), Refusal::InvalidConfig),
        ("an unknown broker", assigned(&[7]), Refusal::InvalidReplicaAssignment),
        ("nobody", assigned(&[]), Refusal::InvalidReplicaAssignment),
    ];
    for (what, request, expected) in cases {
        let (code, message) = creation(&mut world, &request, 7);
        assert_eq!(Refusal::from_code(code), Some(expected), "{what}");
        assert!(message.is_some_and(|message| !message.is_empty()), "{what}");
    }
    let dry = CreateTopicsRequest { validate_only: true, ..create("t", 1, &[]) };
    assert_eq!(creation(&mut world, &dry, 7).0, 0);
    assert_eq!(summary(&world.call(&by_name(&["t"], 9), 9)), [(Some("t"), 3)], "it was only validated");
    let mut twice = create("t", 1, &[]);
    twice.topics.push(CreatableTopic { name: "t".into(), ..twice.topics[0].clone() });
    assert!(world.call(&twice, 7).topics.iter().all(|topic| topic.error_code == 42));
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    for version in 0..=6 {
        world.create("t", 1);
        base_offset(&world.call(&produce("t", 0, &["a"]), 9));
        let response = world.call(&delete(&["t", "unknown"], version), version);
        let mut rows: Vec<_> =
            response.responses.iter().map(|row| (row.name.as_deref(), row.error_code)).collect();
        rows.sort_unstable();
        assert_eq!(rows, [(Some("t"), 0), (Some("unknown"), 3)]);
        assert_eq!(error(&world.call(&produce("t", 0, &["a"]), 9)), 3);
    }
    world.create("t", 1);
    assert!(
        values(&world.call(&FetchRequest { max_wait_ms: 0, ..fetch("t", 0, 0) }, 12)).is_empty(),
        "the new one is empty"
    );
    let topic_id = world.topic_id("t");
    let mut request = delete(&["x"], 6);
    request.topics[0].name = None;
    request.topics[0].topic_id = topic_id;
    let response = world.call(&request, 6);
    assert_eq!(response.responses[0].error_code, 0);
    let response = world.call(&request, 6);
    assert_eq!(response.responses[0].error_code, Refusal::UnknownTopicId.code());
    drop(world);
    let mut world = World::start(&MemoryDisk::new(), &[("delete.topic.enable", "false")]);
    world.create("t", 1);
    for (version, expected) in [(0, 42), (2, 42), (3, 73), (6, 73)] {
        let response = world.call(&delete(&["t"], version), version);
        assert_eq!(response.responses[0].error_code, expected, "version {version}");
    }
}

#[test]
fn topics_grow_and_never_shrink() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    let grow = |name: &str, count, assignments: Option<Vec<Vec<i32>>>| CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: name.into(),
            count,
            assignments: assignments.map(|lists| {
                lists.into_iter().map(|broker_ids| CreatePartitionsAssignment { broker_ids }).collect()
            }),
        }],
        timeout_ms: 1000,
        ..Default::default()
    };
    let mut grown = |request: &CreatePartitionsRequest, version| {
        Refusal::from_code(world.call(request, version).results[0].error_code)
    };
    for (version, count) in (0..=3).zip(2..) {
        assert_eq!(grown(&grow("t", count, None), version), None, "version {version}");
    }
    assert_eq!(grown(&grow("t", 5, None), 3), Some(Refusal::InvalidPartitions));
    assert_eq!(grown(&grow("t", 1, None), 3), Some(Refusal::InvalidPartitions));
    assert_eq!(grown(&grow("u", 5, None), 3), Some(Refusal::UnknownTopicOrPartition));
    assert_eq!(grown(&grow("t", 6, Some(vec![vec![7]])), 3), Some(Refusal::InvalidReplicaAssignment));
    assert_eq!(grown(&grow("t", 6, Some(vec![vec![1]])), 3), None);
    assert_eq!(base_offset(&world.call(&produce("t", 5, &["a"]), 9)), 0);
}

fn pages(
    world: &mut World,
    topics: &[&str],
    limit: i32,
    cursor: Option<(&str, i32)>,
) -> DescribeTopicPartitionsResponse {
    let request = DescribeTopicPartitionsRequest {
        topics: topics.iter().map(|name| TopicRequest { name: (*name).into() }).collect(),
        response_partition_limit: limit,
        cursor: cursor
            .map(|(topic_name, partition_index)| Cursor { topic_name: topic_name.into(), partition_index }),
    };
    world.call(&request, 0)
}

/// Topic, error and partitions of each row, and the cursor.
type Page<'a> = (Vec<(&'a str, i16, Vec<i32>)>, Option<(&'a str, i32)>);

fn page(response: &DescribeTopicPartitionsResponse) -> Page<'_> {
    let row = |topic: &DescribeTopicPartitionsResponseTopic| {
        topic.partitions.iter().map(|partition| partition.partition_index).collect::<Vec<i32>>()
    };
    let rows = response.topics.iter();
    let rows = rows.map(|topic| (topic.name.as_deref().unwrap(), topic.error_code, row(topic))).collect();
    let cursor = response.next_cursor.as_ref();
    (rows, cursor.map(|cursor| (cursor.topic_name.as_str(), cursor.partition_index)))
}

#[test]
fn topics_are_described_page_by_page() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("a", 2);
    world.create("b", 3);
    world.create("c", 1);
    let response = pages(&mut world, &[], 4, None);
    let (rows, cursor) = page(&response);
    assert_eq!(rows, [("a", 0, vec![0, 1]), ("b", 0, vec![0, 1])]);
    assert_eq!(cursor, Some(("b", 2)));
    assert!(response.topics.iter().all(|topic| topic.topic_authorized_operations == TOPIC_OPERATIONS));
    let partition = &response.topics[0].partitions[0];
    assert_eq!(partition.eligible_leader_replicas, Some(Vec::new()), "Java's admin client cannot read null");
    assert_eq!(partition.last_known_elr, Some(Vec::new()));
    let response = pages(&mut world, &[], 4, cursor);
    assert_eq!(page(&response), (vec![("b", 0, vec![2]), ("c", 0, vec![0])], None));
    // A page that is full just at a topic's end begins the next one at 0.
    let response = pages(&mut world, &["b", "a"], 2, None);
    assert_eq!(page(&response), (vec![("a", 0, vec![0, 1])], Some(("b", 0))));
    // Topics that are not there take no room.
    let response = pages(&mut world, &["a", "aa", "no/topic"], 2, None);
    assert_eq!(page(&response).0, [("a", 0, vec![0, 1])]);
    let response = pages(&mut world, &["aa", "c", "no/topic"], 2, None);
    assert_eq!(page(&response).0, [("aa", 3, vec![]), ("c", 0, vec![0]), ("no/topic", 17, vec![])]);
    // A cursor that stands nowhere.
    let response = pages(&mut world, &["a", "b"], 2, Some(("b", -1)));
    assert_eq!(page(&response).0, [("a", 42, vec![]), ("b", 42, vec![])]);
    let response = pages(&mut world, &["a"], 2, Some(("b", 0)));
    assert_eq!(page(&response).0, [("a", 42, vec![])]);
    let response = pages(&mut world, &[], 100, Some(("bb", 1)));
    assert_eq!(page(&response), (vec![("c", 0, vec![0])], None));
    assert_eq!(page(&pages(&mut world, &[], 0, None)).0.len(), 1, "at least one partition");
}
