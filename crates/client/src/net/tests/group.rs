//! A made-up coordinator on a real socket: what the consumer's task does between polls, and what its owner is told.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_protocol::codec::{Reader, Writer};
use ottla_protocol::header::{RequestHeader, ResponseHeader};
use ottla_protocol::messages::fetch::{FetchableTopicResponse, PartitionData};
use ottla_protocol::messages::list_offsets::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use ottla_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::messages::offset_commit::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use ottla_protocol::messages::offset_fetch::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use ottla_protocol::messages::{
    FetchResponse, FindCoordinatorResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse,
    ListOffsetsResponse, MetadataResponse, OffsetCommitResponse, OffsetFetchResponse, SyncGroupResponse,
};
use ottla_protocol::{ApiKey, Message, Refusal, Uuid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::admin::CommittedOffset;
use crate::assignor;
use crate::consumer::TopicPartition;
use crate::net::{Consumer, RebalanceListener, Seat};
use crate::settings::Properties;

/// The heartbeat that is told of a rebalance.
const REBALANCE_AT: u32 = 5;

/// A broker with topic `t` of one partition; tells of every request but Fetch.
async fn broker() -> (String, mpsc::UnboundedReceiver<ApiKey>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, i32::from(address.port()), sender.clone()));
        }
    });
    (address.to_string(), heard)
}

async fn converse(mut stream: TcpStream, port: i32, heard: mpsc::UnboundedSender<ApiKey>) {
    let mut beats = 0;
    while let Ok(length) = stream.read_u32().await {
        let mut frame = BytesMut::zeroed(length as usize);
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let frame = frame.freeze();
        let (code, version) = RequestHeader::peek(&frame).unwrap();
        let key = ApiKey::from_code(code).unwrap();
        beats += u32::from(key == ApiKey::Heartbeat);
        if key == ApiKey::Fetch {
            // As a broker without records does.
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else {
            let _ = heard.send(key);
        }
        let header =
            RequestHeader::decode(&mut Reader::new(frame), key.request_header_version(version)).unwrap();
        let mut writer = Writer::new();
        let head = ResponseHeader { correlation_id: header.correlation_id };
        head.encode(&mut writer, key.response_header_version(version)).unwrap();
        writer.raw(&answer(key, version, port, beats));
        let answer = writer.into_bytes();
        let mut bytes = (answer.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&answer);
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn answer(key: ApiKey, version: i16, port: i32, beats: u32) -> Bytes {
    let host = "127.0.0.1".to_owned();
    let topic_id = Uuid([7; 16]);
    let encoded = match key {
        ApiKey::ApiVersions => super::api_versions().to_bytes(version),
        ApiKey::Metadata => {
            let partition = MetadataResponsePartition { leader_id: 1, leader_epoch: 1, ..Default::default() };
            let topic = MetadataResponseTopic {
                name: Some("t".into()),
                topic_id,
                partitions: vec![partition],
                ..Default::default()
            };
            let broker = MetadataResponseBroker { node_id: 1, host, port, rack: None };
            MetadataResponse {
                brokers: vec![broker],
                controller_id: 1,
                topics: vec![topic],
                ..Default::default()
            }
            .to_bytes(version)
        }
        ApiKey::FindCoordinator => {
            FindCoordinatorResponse { node_id: 1, host, port, ..Default::default() }.to_bytes(version)
        }
        ApiKey::JoinGroup => JoinGroupResponse {
            generation_id: 1,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            leader: "other".into(),
            member_id: "me".into(),
            ..Default::default()
        }
        .to_bytes(version),
        ApiKey::SyncGroup => {
            let assignment = assignor::encode(&[TopicPartition::new("t", 0)]);
            SyncGroupResponse { assignment, ..Default::default() }.to_bytes(version)
        }
        ApiKey::Heartbeat => {
            let refusal = Refusal::RebalanceInProgress.code();
            let error_code = if beats == REBALANCE_AT { refusal } else { 0 };
            HeartbeatResponse { error_code, ..Default::default() }.to_bytes(version)
        }
        ApiKey::OffsetFetch => {
            let row = OffsetFetchResponsePartition { committed_offset: -1, ..Default::default() };
            let topic = OffsetFetchResponseTopic { name: "t".into(), partitions: vec![row] };
            OffsetFetchResponse { topics: vec![topic], ..Default::default() }.to_bytes(version)
        }
        ApiKey::OffsetCommit => {
            let rows = vec![OffsetCommitResponsePartition::default()];
            let topic = OffsetCommitResponseTopic { name: "t".into(), topic_id, partitions: rows };
            OffsetCommitResponse { topics: vec![topic], ..Default::default() }.to_bytes(version)
        }
        ApiKey::ListOffsets => {
            let row = ListOffsetsPartitionResponse { offset: 0, leader_epoch: 1, ..Default::default() };
            let topic = ListOffsetsTopicResponse { name: "t".into(), partitions: vec![row] };
            ListOffsetsResponse { topics: vec![topic], ..Default::default() }.to_bytes(version)
        }
        ApiKey::Fetch => {
            let records = Some(ottla_protocol::codec::Records::Bytes(Bytes::new()));
            let row = PartitionData { preferred_read_replica: -1, records, ..Default::default() };
            let topic = FetchableTopicResponse { topic: "t".into(), topic_id, partitions: vec![row] };
            FetchResponse { responses: vec![topic], ..Default::default() }.to_bytes(version)
        }
        ApiKey::LeaveGroup => LeaveGroupResponse::default().to_bytes(version),
        other => panic!("{} is not expected", other.name()),
    };
    encoded.unwrap()
}

async fn consumer(address: &str) -> Consumer {
    let mut properties = Properties::default();
    for (key, value) in [
        ("bootstrap.servers", address),
        ("group.id", "g"),
        ("heartbeat.interval.ms", "30"),
        ("session.timeout.ms", "6000"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
    ] {
        properties.set(key, value);
    }
    Consumer::start(&properties).await.unwrap()
}

/// Says what happens, and commits what it loses.
struct Told(mpsc::UnboundedSender<String>);

impl RebalanceListener for Told {
    fn revoked(&mut self, seat: &mut Seat<'_>, partitions: &[TopicPartition]) {
        let committed = CommittedOffset { offset: 7, ..CommittedOffset::default() };
        seat.commit(BTreeMap::from([(partitions[0].clone(), committed)]));
        let _ = self.0.send(format!("revoked {}", partitions.len()));
    }

    fn assigned(&mut self, _: &mut Seat<'_>, partitions: &[TopicPartition]) {
        let _ = self.0.send(format!("assigned {}", partitions.len()));
    }
}

#[tokio::test]
async fn between_polls_the_member_lives_and_keeps_what_it_has() {
    let (address, mut heard) = broker().await;
    let (sender, mut told) = mpsc::unbounded_channel();
    let mut consumer = consumer(&address).await;
    consumer.listen(Told(sender));
    consumer.subscribe(["t"]).unwrap();
    while consumer.assignment().is_empty() {
        consumer.poll(Duration::from_millis(10)).await.unwrap();
    }
    assert_eq!(told.recv().await.unwrap(), "assigned 1");
    // The owner does something else; long after the rebalance was told, nothing has been taken from it.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mut keys = Vec::new();
    while let Ok(key) = heard.try_recv() {
        keys.push(key);
    }
    let beats = keys.iter().filter(|key| **key == ApiKey::Heartbeat).count();
    assert!(beats > REBALANCE_AT as usize, "{keys:?}");
    assert_eq!(keys.iter().filter(|key| **key == ApiKey::JoinGroup).count(), 1);
    assert_eq!((told.try_recv().ok(), consumer.assignment().len()), (None, 1));

    // Now it polls: what the hook commits is on its way before the next join.
    while told.is_empty() {
        consumer.poll(Duration::from_millis(10)).await.unwrap();
    }
    assert_eq!(told.recv().await.unwrap(), "revoked 1");
    while told.is_empty() {
        consumer.poll(Duration::from_millis(10)).await.unwrap();
    }
    assert_eq!(told.recv().await.unwrap(), "assigned 1");
    let mut order = Vec::new();
    while let Ok(key) = heard.try_recv() {
        order.extend(Some(key).filter(|key| matches!(key, ApiKey::OffsetCommit | ApiKey::JoinGroup)));
    }
    assert_eq!(order, [ApiKey::OffsetCommit, ApiKey::JoinGroup]);
}

#[tokio::test]
async fn commits_are_waited_for_or_not_and_closing_leaves() {
    let (address, mut heard) = broker().await;
    let mut consumer = consumer(&address).await;
    consumer.subscribe(["t"]).unwrap();
    let t = TopicPartition::new("t", 0);
    while consumer.position(&t).is_none() {
        consumer.poll(Duration::from_millis(10)).await.unwrap();
    }
    consumer.commit().await.unwrap();
    let later = consumer.commit_later(consumer.positions()).unwrap();
    // Nobody polls: the task between polls brings the answer.
    assert_eq!(later.await.unwrap(), Ok(()));
    assert_eq!(consumer.group_metadata().unwrap().member.member_id, "me");
    assert!(consumer.assign([t]).is_err(), "it has subscribed");
    consumer.close(Duration::from_secs(5)).await;
    let mut keys = Vec::new();
    while let Ok(key) = heard.try_recv() {
        keys.push(key);
    }
    assert_eq!(keys.iter().filter(|key| **key == ApiKey::OffsetCommit).count(), 2);
    assert_eq!(keys.last(), Some(&ApiKey::LeaveGroup));
}

#[tokio::test]
async fn without_a_group_there_is_nothing_to_subscribe_with() {
    let (address, _heard) = broker().await;
    let mut properties = Properties::default();
    properties.set("bootstrap.servers", address);
    let mut consumer = Consumer::start(&properties).await.unwrap();
    let error = consumer.subscribe(["t"]).unwrap_err();
    assert!(error.to_string().contains("group.id"), "{error}");
    assert!(consumer.commit().await.is_err());
    consumer.assign([TopicPartition::new("t", 0)]).unwrap();
    assert_eq!(consumer.poll(Duration::from_millis(500)).await.unwrap(), []);
    assert_eq!(consumer.position(&TopicPartition::new("t", 0)), Some(0));
}
