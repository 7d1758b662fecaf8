//! A made-up broker on a real socket.

use bytes::{Bytes, BytesMut};
use ottla_protocol::codec::{Reader, Writer};
use ottla_protocol::header::{RequestHeader, ResponseHeader};
use ottla_protocol::messages::api_versions::ApiVersion;
use ottla_protocol::messages::list_groups::ListedGroup;
use ottla_protocol::messages::metadata::MetadataResponseBroker;
use ottla_protocol::messages::{
    ApiVersionsResponse, ListGroupsRequest, ListGroupsResponse, MetadataResponse,
};
use ottla_protocol::{ApiKey, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::admin;

mod group;

/// How a made-up broker writes.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Whole,
    /// Byte by byte.
    Stammering,
    /// It hangs up instead of answering ListGroups.
    HangingUp,
    /// It claims a response of two gigabytes.
    Boasting,
}

async fn broker(manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let port = i32::from(address.port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, port, manner));
        }
    });
    address.to_string()
}

async fn converse(mut stream: TcpStream, port: i32, manner: Manner) {
    let _ = stream.set_nodelay(true);
    while let Ok(length) = stream.read_u32().await {
        let mut frame = BytesMut::zeroed(length as usize);
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let (key, answer) = answer(&frame.freeze(), port);
        let mut bytes = (answer.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&answer);
        match (manner, key) {
            (Manner::HangingUp, ApiKey::ListGroups) => return,
            (Manner::Boasting, ApiKey::ListGroups) => {
                let _ = stream.write_all(&(2u32 << 30).to_be_bytes()).await;
            }
            (Manner::Stammering, _) => {
                for byte in bytes {
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            }
            _ => {
                let _ = stream.write_all(&bytes).await;
            }
        }
    }
}

fn answer(frame: &Bytes, port: i32) -> (ApiKey, Bytes) {
    let (code, version) = RequestHeader::peek(frame).unwrap();
    let key = ApiKey::from_code(code).unwrap();
    let mut reader = Reader::new(frame.clone());
    let header = RequestHeader::decode(&mut reader, key.request_header_version(version)).unwrap();
    let mut writer = Writer::new();
    let head = ResponseHeader { correlation_id: header.correlation_id };
    head.encode(&mut writer, key.response_header_version(version)).unwrap();
    match key {
        ApiKey::ApiVersions => api_versions().encode(&mut writer, version),
        ApiKey::Metadata => {
            let host = "127.0.0.1".to_owned();
            let broker = MetadataResponseBroker { node_id: 1, host, port, rack: None };
            MetadataResponse { brokers: vec![broker], controller_id: 1, ..Default::default() }
                .encode(&mut writer, version)
        }
        _ => {
            let group = ListedGroup { group_id: "g".repeat(3_000), ..Default::default() };
            ListGroupsResponse { groups: vec![group], ..Default::default() }.encode(&mut writer, version)
        }
    }
    .unwrap();
    (key, writer.into_bytes().freeze())
}

/// Every API in every version.
fn api_versions() -> ApiVersionsResponse {
    let row = |key: &ApiKey| ApiVersion {
        api_key: key.code(),
        min_version: key.min_version(),
        max_version: key.max_version(),
    };
    ApiVersionsResponse { api_keys: ApiKey::ALL.iter().map(row).collect(), ..Default::default() }
}

async fn client(address: &str) -> Client {
    let mut properties = Properties::default();
    properties.set("bootstrap.servers", address);
    properties.set("default.api.timeout.ms", "3000");
    properties.set("request.timeout.ms", "1000");
    Client::connect(&properties).await.unwrap()
}

#[tokio::test]
async fn answers_arrive_whole_however_they_are_written() {
    for manner in [Manner::Whole, Manner::Stammering] {
        let client = client(&broker(manner).await).await;
        let (one, other) = tokio::join!(
            client.run(admin::list_groups(admin::GroupFilter::default())),
            client.call(Target::Any, ListGroupsRequest::default())
        );
        assert_eq!(one.unwrap().len(), 1);
        assert_eq!(other.unwrap().groups[0].group_id.len(), 3_000);
    }
}

#[tokio::test]
async fn a_broker_that_hangs_up_or_boasts_is_given_up_in_the_end() {
    for manner in [Manner::HangingUp, Manner::Boasting] {
        let client = client(&broker(manner).await).await;
        let error = client.call(Target::Node(1), ListGroupsRequest::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::TimedOut(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_told_at_once() {
    let mut properties = Properties::default();
    properties.set("bootstrap.servers", "no-such-host.invalid:9092");
    let error = Client::connect(&properties).await.unwrap_err();
    assert_eq!(error.to_string(), "No resolvable bootstrap urls given in bootstrap.servers");
}

#[tokio::test]
async fn nobody_listening_is_told_after_the_api_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = client(&address).await.run(admin::list_topics()).await.unwrap_err();
    assert_eq!(error.to_string(), "Timed out waiting for a node assignment. Call: listTopics");
}

#[test]
fn clients_are_named_as_java_names_them() {
    let name = |what: &str, pairs: &[(&str, &str)]| {
        let mut properties = Properties::default();
        for (key, value) in pairs {
            properties.set(key, *value);
        }
        named(&properties, what).get("client.id").unwrap().to_owned()
    };
    assert_eq!(name("producer", &[("client.id", "mine")]), "mine");
    assert_eq!(name("producer", &[("transactional.id", "t")]), "producer-t");
    assert_eq!(name("consumer", &[("group.id", "g"), ("group.instance.id", "i")]), "consumer-g-i");
    let numbered = name("consumer", &[("group.id", "g")]);
    assert!(numbered.strip_prefix("consumer-g-").is_some_and(|number| number.parse::<u32>().is_ok()));
    assert_ne!(name("producer", &[]), name("producer", &[]));
}
