//! Records that follow, and records that do not.

use ottla_protocol::records::metadata::{
    AccessControlEntryRecord, DelegationTokenRecord, RegisterControllerRecord,
    RemoveAccessControlEntryRecord, RemoveTopicRecord, UnregisterControllerRecord, UserScramCredentialRecord,
};

use super::*;

fn id(number: u8) -> Uuid {
    Uuid([number; 16])
}

fn topic(number: u8) -> MetadataRecord {
    TopicRecord { name: format!("topic-{number}"), topic_id: id(number) }.into()
}

fn partition(topic: u8, index: i32) -> MetadataRecord {
    PartitionRecord {
        partition_id: index,
        topic_id: id(topic),
        replicas: vec![1, 2],
        isr: vec![1],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![id(101), id(102)],
        eligible_leader_replicas: Some(vec![2]),
        ..Default::default()
    }
    .into()
}

fn broker(number: u8) -> MetadataRecord {
    RegisterBrokerRecord {
        broker_id: i32::from(number),
        broker_epoch: 10,
        incarnation_id: id(number),
        log_dirs: vec![id(100 + number)],
        rack: Some("r".to_owned()),
        cordoned_log_dirs: Some(vec![]),
        ..Default::default()
    }
    .into()
}

fn config(name: &str, value: Option<&str>) -> MetadataRecord {
    ConfigRecord {
        resource_type: 2,
        resource_name: "topic-1".to_owned(),
        name: name.to_owned(),
        value: value.map(str::to_owned),
    }
    .into()
}

fn feature(name: &str, level: i16) -> MetadataRecord {
    FeatureLevelRecord { name: name.to_owned(), feature_level: level }.into()
}

fn quota(value: f64, remove: bool) -> MetadataRecord {
    let entity = QuotaEntity(BTreeMap::from([("user".to_owned(), None)]));
    ClientQuotaRecord { remove, ..entity.to_record("producer_byte_rate", value) }.into()
}

fn acl(number: u8) -> MetadataRecord {
    AccessControlEntryRecord { id: id(number), principal: "User:a".to_owned(), ..Default::default() }.into()
}

fn producer_ids(next: i64) -> MetadataRecord {
    ProducerIdsRecord { broker_id: 1, broker_epoch: 10, next_producer_id: next }.into()
}

fn everything() -> Vec<MetadataRecord> {
    vec![
        feature(METADATA_VERSION, 30),
        feature("group.version", 1),
        broker(1),
        broker(2),
        RegisterControllerRecord { controller_id: 5, ..Default::default() }.into(),
        topic(1),
        config("retention.ms", Some("5")),
        partition(1, 0),
        partition(1, 1),
        topic(2),
        quota(5.0, false),
        producer_ids(1000),
        acl(1),
        UserScramCredentialRecord { name: "u".to_owned(), mechanism: 1, ..Default::default() }.into(),
        DelegationTokenRecord { token_id: "t".to_owned(), ..Default::default() }.into(),
    ]
}

fn build(records: &[MetadataRecord]) -> Image {
    Image::default().apply(Offset(0), records).unwrap().0
}

fn refused(record: MetadataRecord) -> String {
    let image = build(&everything());
    let error = image.apply(Offset(99), &[record]).unwrap_err();
    assert_eq!(error.offset, 99);
    error.reason
}

#[test]
fn a_snapshot_makes_an_equal_image() {
    let image = build(&everything());
    let records: Vec<MetadataRecord> = image.snapshot().collect();
    assert!(matches!(&records[0], MetadataRecord::FeatureLevel(f) if f.name == METADATA_VERSION));
    let mut again = build(&records);
    again.end_offset = image.end_offset;
    assert_eq!(again, image);
    for record in &records {
        let bytes = record.encode(image.version().record_version(record)).unwrap();
        assert_eq!(&MetadataRecord::decode(&bytes).unwrap(), record);
    }
}

#[test]
fn a_record_that_cannot_follow_is_refused() {
    assert!(refused(topic(1)).contains("there is a topic topic-1"));
    assert!(refused(TopicRecord { name: "x".to_owned(), topic_id: id(1) }.into()).contains("has the id"));
    assert!(refused(partition(9, 0)).contains("no topic"));
    let change = PartitionChangeRecord { topic_id: id(1), partition_id: 7, ..Default::default() };
    assert!(refused(change.into()).contains("no partition"));
    assert!(refused(RemoveTopicRecord { topic_id: id(9) }.into()).contains("no topic"));
    assert!(refused(fencing(3, 10, 1).into()).contains("not registered"));
    assert!(refused(fencing(1, 11, 1).into()).contains("has the epoch 10"));
    assert!(refused(fencing(1, 10, 3).into()).contains("no change of fencing"));
    let gone = UnregisterBrokerRecord { broker_id: 1, broker_epoch: 9 };
    assert!(refused(gone.into()).contains("has the epoch"));
    assert!(refused(RemoveAccessControlEntryRecord { id: id(9) }.into()).contains("no access control entry"));
    assert!(refused(acl(1)).contains("there is an access control entry"));
    assert!(refused(producer_ids(1000)).contains("does not lie after"));
    assert!(refused(feature(METADATA_VERSION, 34)).contains("is not among 7-33"));
    assert!(refused(feature("group.version", -1)).contains("no level"));
    assert!(refused(ClearElrRecord { topic_name: "none".to_owned() }.into()).contains("no topic"));
    assert!(refused(UnregisterControllerRecord { controller_id: 6 }.into()).contains("not registered"));
    let stolen = RegisterBrokerRecord { broker_id: 3, log_dirs: vec![id(101)], ..Default::default() };
    assert!(refused(stolen.into()).contains("belongs to broker 1"));
}

#[test]
fn a_delta_names_what_changed() {
    let before = build(&everything());
    let change = PartitionChangeRecord {
        topic_id: id(1),
        partition_id: 1,
        isr: Some(vec![1, 2]),
        ..Default::default()
    };
    let records =
        [fencing(1, 10, -1).into(), change.into(), config("retention.ms", None), topic(3), partition(3, 0)];
    let (after, delta) = before.apply(Offset(50), &records).unwrap();
    assert_eq!(delta.brokers, [NodeId(1)].into());
    assert_eq!(delta.topics_created, [id(3)].into());
    let changed = [(1, 1), (3, 0)].map(|(topic, index)| PartitionId { topic: id(topic), index });
    assert_eq!(delta.partitions, changed.into());
    assert_eq!(delta.configs, [Resource::topic("topic-1")].into());
    assert_eq!(after.configs.iter().count(), 0);
    assert_eq!(delta, Delta::between(&before, &after));
    assert!(!before.is_active(NodeId(1)) && after.is_active(NodeId(1)));
    assert_eq!(after.end_offset, Offset(55));
}

#[test]
fn a_topic_that_came_and_went_leaves_no_trace() {
    let before = build(&everything());
    let records = [topic(3), partition(3, 0), RemoveTopicRecord { topic_id: id(3) }.into()];
    let (after, delta) = before.apply(Offset(50), &records).unwrap();
    assert!(delta.is_empty());
    assert_eq!(after.topics, before.topics);
}

#[test]
fn a_removed_topic_takes_its_partitions_and_configuration_along() {
    let before = build(&everything());
    let (after, delta) = before.apply(Offset(50), &[RemoveTopicRecord { topic_id: id(1) }.into()]).unwrap();
    assert_eq!((after.topics.len(), after.topics.partition_count()), (1, 0));
    assert!(after.configs.topic("topic-1").is_empty());
    assert_eq!(delta.topics_deleted[&id(1)].partition_count, 2);
    assert_eq!(delta, Delta::between(&before, &after));
    let (again, delta) = after.apply(Offset(51), &[topic(1)]).unwrap();
    assert_eq!((again.topics.named("topic-1").unwrap().partition_count, delta.topics_created.len()), (0, 1));
}

#[test]
fn clearing_eligible_leaders() {
    let before = build(&everything());
    for name in ["", "topic-1"] {
        let clear = ClearElrRecord { topic_name: name.to_owned() };
        let (after, delta) = before.apply(Offset(50), &[clear.into()]).unwrap();
        assert_eq!(delta.partitions.len(), 2);
        assert!(after.topics.all_partitions().all(|(_, p)| p.elr.is_empty() && p.partition_epoch == 1));
    }
}

#[test]
fn small_things() {
    let before = build(&everything());
    let records = [quota(0.0, true), feature("group.version", 0), feature(KRAFT_VERSION, 1)];
    let (after, _) = before.apply(Offset(50), &records).unwrap();
    assert!(after.quotas.is_empty());
    assert!(after.features.is_empty());
    assert_eq!(before.feature("group.version"), 1);
}
