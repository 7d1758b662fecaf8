//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs and ListConfigResources.

use ottla_log::MemoryDisk;
use ottla_protocol::Refusal;
use ottla_protocol::messages::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
};
use ottla_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    alter_configs, incremental_alter_configs,
};

use super::requests::*;
use super::support::*;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn describe(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).into()).collect()),
    };
    DescribeConfigsRequest { resources: vec![resource], ..Default::default() }
}

fn described(world: &mut World, request: &DescribeConfigsRequest, version: i16) -> DescribeConfigsResult {
    world.call(request, version).results.into_iter().next().unwrap()
}

/// One key of a resource.
fn key(world: &mut World, kind: i8, name: &str, key: &str) -> DescribeConfigsResourceResult {
    let request = DescribeConfigsRequest { include_synonyms: true, ..describe(kind, name, Some(&[key])) };
    let result = described(world, &request, 4);
    assert_eq!((result.error_code, result.error_message.as_deref()), (0, Some("")));
    assert_eq!(result.configs.len(), 1, "{key}");
    result.configs.into_iter().next().unwrap()
}

fn value(world: &mut World, kind: i8, name: &str, wanted: &str) -> Option<String> {
    key(world, kind, name, wanted).value
}

fn change(kind: i8, name: &str, operations: &[(i8, &str, Option<&str>)]) -> IncrementalAlterConfigsRequest {
    let config = |&(config_operation, name, value): &(i8, &str, Option<&str>)| {
        incremental_alter_configs::AlterableConfig {
            name: name.into(),
            config_operation,
            value: value.map(Into::into),
        }
    };
    let resource = incremental_alter_configs::AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: operations.iter().map(config).collect(),
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

fn changed(world: &mut World, request: &IncrementalAlterConfigsRequest) -> Option<Refusal> {
    let response = world.call(request, 1);
    assert_eq!(response.responses.len(), request.resources.len());
    Refusal::from_code(response.responses[0].error_code)
}

#[test]
fn a_topic_is_described_whole_or_in_parts_in_every_version() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create_with("t", 1, &[("retention.ms", "1000")]);
    for version in 0..=4 {
        let whole = described(&mut world, &describe(TOPIC, "t", None), version);
        assert_eq!((whole.error_code, whole.error_message.as_deref()), (0, Some("")));
        assert!(whole.configs.len() > 30, "all of them, not what is set alone");
        let all = described(&mut world, &describe(TOPIC, "t", Some(&[])), version);
        assert_eq!(all.configs.len(), whole.configs.len(), "an empty list asks for all");
        let part = described(&mut world, &describe(TOPIC, "t", Some(&["retention.ms", "no.such"])), version);
        let [config] = &part.configs[..] else { panic!("{part:?}") };
        assert_eq!((config.name.as_str(), config.value.as_deref()), ("retention.ms", Some("1000")));
        assert!(!config.read_only && !config.is_sensitive);
        if version >= 1 {
            assert_eq!(config.config_source, 1);
        }
        assert!(config.synonyms.is_empty(), "nobody asked for them");
        assert!(version < 3 || config.documentation.is_none(), "nor for this");
    }
    let verbose = DescribeConfigsRequest {
        include_synonyms: true,
        include_documentation: true,
        ..describe(TOPIC, "t", Some(&["retention.ms"]))
    };
    let config = described(&mut world, &verbose, 4).configs.remove(0);
    assert!(config.documentation.is_some_and(|text| !text.is_empty()));
    assert_eq!(config.synonyms[0].name, "retention.ms");
    assert_ne!(config.config_type, 0);
}

#[test]
fn a_broker_is_described_by_itself() {
    let properties = [("num.io.threads", "3"), ("advertised.listeners", "PLAINTEXT://here:1092")];
    let mut world = World::start(&MemoryDisk::new(), &properties);
    let row = key(&mut world, BROKER, "1", "num.io.threads");
    assert_eq!((row.value.as_deref(), row.config_source, row.read_only), (Some("3"), 4, false));
    let row = key(&mut world, BROKER, "1", "advertised.listeners");
    assert_eq!(row.value.as_deref(), Some("PLAINTEXT://here:1092"));
    assert!(key(&mut world, BROKER, "1", "node.id").read_only);
    let default = described(&mut world, &describe(BROKER, "", None), 4);
    let set: Vec<_> = default.configs.iter().map(|row| (row.name.as_str(), row.value.as_deref())).collect();
    // Set when the cluster is made, so that eligible leader replicas mean the same everywhere (KIP-966).
    assert_eq!((default.error_code, set), (0, vec![("min.insync.replicas", Some("1"))]));
    for (kind, name, expected) in [
        (BROKER, "2", "Unexpected broker id"),
        (BROKER, "x", "must be an integer"),
        (BROKER_LOGGER, "", ""),
        (GROUP, "", "must not be empty"),
        (CLIENT_METRICS, "", "must not be empty"),
    ] {
        let refused = described(&mut world, &describe(kind, name, None), 4);
        assert_eq!(refused.error_code, Refusal::InvalidRequest.code(), "{kind} {name}");
        assert!(refused.error_message.unwrap().contains(expected), "{kind} {name}");
        assert_eq!((refused.resource_type, refused.resource_name.as_str()), (kind, name));
    }
}

#[test]
fn what_cannot_be_described_is_refused() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    let unknown = described(&mut world, &describe(TOPIC, "u", None), 4);
    assert_eq!((unknown.error_code, unknown.error_message.as_deref()), (3, Some("")));
    assert_eq!(described(&mut world, &describe(TOPIC, "no/topic", None), 4).error_code, 17);
    // A kind that does not exist spoils the whole request.
    let mut request = describe(BROKER, "1", None);
    request.resources.extend(describe(77, "x", None).resources);
    let codes: Vec<i16> = world.call(&request, 4).results.iter().map(|row| row.error_code).collect();
    assert_eq!(codes, [42, 42]);
    // Groups and subscriptions need not exist.
    for kind in [GROUP, CLIENT_METRICS] {
        let described = described(&mut world, &describe(kind, "new", None), 4);
        assert_eq!(described.error_code, 0);
        assert!(!described.configs.is_empty());
    }
}

#[test]
fn single_keys_are_changed() {
    let memory = MemoryDisk::new();
    let mut world = World::start(&memory, &[]);
    world.create("t", 1);
    let operations = [
        (SET, "retention.ms", Some("1000")),
        (SET, "cleanup.policy", Some("compact")),
        (APPEND, "cleanup.policy", Some("delete")),
    ];
    assert_eq!(
        changed(&mut world, &change(TOPIC, "t", &operations)),
        Some(Refusal::InvalidRequest),
        "a key twice"
    );
    assert_eq!(changed(&mut world, &change(TOPIC, "t", &operations[..2])), None);
    assert_eq!(changed(&mut world, &change(TOPIC, "t", &operations[2..])), None);
    assert_eq!(value(&mut world, TOPIC, "t", "cleanup.policy").as_deref(), Some("compact,delete"));
    let less = [(SUBTRACT, "cleanup.policy", Some("compact")), (DELETE, "retention.ms", None)];
    assert_eq!(changed(&mut world, &change(TOPIC, "t", &less)), None);
    assert_eq!(value(&mut world, TOPIC, "t", "cleanup.policy").as_deref(), Some("delete"));
    assert_eq!(value(&mut world, TOPIC, "t", "retention.ms").as_deref(), Some("604800000"));
    let dry = IncrementalAlterConfigsRequest {
        validate_only: true,
        ..change(TOPIC, "t", &[(SET, "retention.ms", Some("5"))])
    };
    assert_eq!(changed(&mut world, &dry), None);
    assert_eq!(value(&mut world, TOPIC, "t", "retention.ms").as_deref(), Some("604800000"));
    world.stop();
    drop(world);
    let mut world = World::start(&memory, &[]);
    assert_eq!(key(&mut world, TOPIC, "t", "cleanup.policy").config_source, 1, "it is remembered");
}

#[test]
fn changes_that_make_no_sense_are_refused() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    let cases = [
        (change(TOPIC, "u", &[(SET, "retention.ms", Some("1"))]), Refusal::UnknownTopicOrPartition),
        (change(TOPIC, "t", &[(SET, "no.such.key", Some("1"))]), Refusal::InvalidConfig),
        (change(TOPIC, "t", &[(SET, "retention.ms", Some("x"))]), Refusal::InvalidConfig),
        (change(TOPIC, "t", &[(SET, "retention.ms", None)]), Refusal::InvalidRequest),
        (change(TOPIC, "t", &[(9, "retention.ms", Some("1"))]), Refusal::InvalidRequest),
        (change(TOPIC, "t", &[(APPEND, "retention.ms", Some("1"))]), Refusal::InvalidConfig),
        (change(BROKER, "7", &[(SET, "num.io.threads", Some("2"))]), Refusal::InvalidRequest),
        (change(BROKER, "x", &[(SET, "num.io.threads", Some("2"))]), Refusal::InvalidRequest),
        (change(BROKER, "1", &[(SET, "node.id", Some("2"))]), Refusal::InvalidRequest),
        (change(77, "x", &[(SET, "a", Some("2"))]), Refusal::InvalidRequest),
    ];
    for (request, expected) in cases {
        let resource = &request.resources[0];
        let what = (resource.resource_type, resource.resource_name.clone(), resource.configs[0].name.clone());
        assert_eq!(changed(&mut world, &request), Some(expected), "{what:?}");
    }
    let mut twice = change(TOPIC, "t", &[(SET, "retention.ms", Some("1"))]);
    twice.resources.push(twice.resources[0].clone());
    let codes: Vec<i16> = world.call(&twice, 1).responses.iter().map(|row| row.error_code).collect();
    assert_eq!(codes, [42, 42]);
}

#[test]
fn what_is_changed_holds_at_once() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    assert_eq!(changed(&mut world, &change(TOPIC, "t", &[(SET, "max.message.bytes", Some("100"))])), None);
    let large = "x".repeat(200);
    assert_eq!(error(&world.call(&produce("t", 0, &[large.as_str()]), 9)), Refusal::MessageTooLarge.code());
    assert_eq!(changed(&mut world, &change(TOPIC, "t", &[(DELETE, "max.message.bytes", None)])), None);
    base_offset(&world.call(&produce("t", 0, &[large.as_str()]), 9));
    // What is set for all brokers holds for topics that say nothing.
    assert_eq!(changed(&mut world, &change(BROKER, "", &[(SET, "message.max.bytes", Some("100"))])), None);
    assert_eq!(error(&world.call(&produce("t", 0, &[large.as_str()]), 9)), Refusal::MessageTooLarge.code());
    assert_eq!(key(&mut world, TOPIC, "t", "max.message.bytes").config_source, 3);
    assert_eq!(value(&mut world, BROKER, "", "message.max.bytes").as_deref(), Some("100"));
    // And what is set for this one goes before.
    assert_eq!(changed(&mut world, &change(BROKER, "1", &[(SET, "message.max.bytes", Some("5000"))])), None);
    base_offset(&world.call(&produce("t", 0, &[large.as_str()]), 9));
    assert_eq!(key(&mut world, BROKER, "1", "message.max.bytes").config_source, 2);
}

#[test]
fn everything_of_a_resource_is_replaced() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create_with("t", 1, &[("retention.ms", "1000"), ("segment.ms", "2000")]);
    let replace = |name: &str, configs: &[(&str, Option<&str>)]| AlterConfigsRequest {
        resources: vec![alter_configs::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: name.into(),
            configs: configs
                .iter()
                .map(|(name, value)| alter_configs::AlterableConfig {
                    name: (*name).into(),
                    value: value.map(Into::into),
                })
                .collect(),
        }],
        validate_only: false,
    };
    let mut replaced = |request: &AlterConfigsRequest, version| {
        Refusal::from_code(world.call(request, version).responses[0].error_code)
    };
    for version in 0..=2 {
        assert_eq!(replaced(&replace("t", &[("retention.ms", Some("5000"))]), version), None);
    }
    assert_eq!(replaced(&replace("t", &[("retention.ms", None)]), 2), Some(Refusal::InvalidRequest));
    assert_eq!(replaced(&replace("u", &[]), 2), Some(Refusal::UnknownTopicOrPartition));
    assert_eq!(replaced(&replace("t", &[("no.such.key", Some("1"))]), 2), Some(Refusal::InvalidConfig));
    assert_eq!(value(&mut world, TOPIC, "t", "retention.ms").as_deref(), Some("5000"));
    assert_eq!(
        value(&mut world, TOPIC, "t", "segment.ms").as_deref(),
        Some("604800000"),
        "not said, so unset"
    );
}

#[test]
fn resources_are_listed_by_kind() {
    let mut world = World::start(&MemoryDisk::new(), &[]);
    world.create("t", 1);
    let subscription = change(CLIENT_METRICS, "sub", &[(SET, "interval.ms", Some("1000"))]);
    assert_eq!(changed(&mut world, &subscription), None);
    let group = change(GROUP, "g", &[(SET, "consumer.session.timeout.ms", Some("50000"))]);
    assert_eq!(changed(&mut world, &group), None);
    let mut listed = |kinds: &[i8], version| {
        let request = ListConfigResourcesRequest { resource_types: kinds.to_vec() };
        let response = world.call(&request, version);
        let rows = response.config_resources.into_iter();
        (response.error_code, rows.map(|row| (row.resource_type, row.resource_name)).collect::<Vec<_>>())
    };
    let row = |kind: i8, name: &str| (kind, name.to_owned());
    let everything = [
        row(GROUP, "g"),
        row(CLIENT_METRICS, "sub"),
        row(BROKER_LOGGER, "1"),
        row(BROKER, "1"),
        row(TOPIC, "t"),
    ];
    assert_eq!(listed(&[], 1), (0, everything.to_vec()));
    assert_eq!(listed(&[BROKER, TOPIC], 1), (0, vec![row(BROKER, "1"), row(TOPIC, "t")]));
    assert_eq!(listed(&[77], 1), (Refusal::UnsupportedVersion.code(), vec![]));
    // Version 0 speaks of subscriptions alone, and its rows have no kind.
    let (code, rows) = listed(&[], 0);
    assert_eq!((code, rows.len(), rows[0].1.as_str()), (0, 1, "sub"));
}
