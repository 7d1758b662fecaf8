//! The wire alone: one connection, one request under way, in the version that the caller names.
//!
//! A client library of our own would measure itself; this sends to both servers the same bytes and does nothing else.

use anyhow::{Context, ensure};
use bytes::BytesMut;
use ottla_protocol::codec::{Reader, Writer};
use ottla_protocol::header::{RequestHeader, ResponseHeader};
use ottla_protocol::messages::create_topics::CreatableTopic;
use ottla_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest,
};
use ottla_protocol::{ApiKey, Message, Refusal, Request, TopicId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep};

/// How long to wait before asking a coordinator again that is not there yet.
const AGAIN: Duration = Duration::from_millis(20);

/// A connection to the node.
pub struct Wire {
    stream: TcpStream,
    unread: BytesMut,
    correlation: i32,
}

impl Wire {
    /// Connects, and asks for the versions as every client does.
    pub async fn open(address: &str) -> anyhow::Result<Wire> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let mut wire = Wire { stream, unread: BytesMut::new(), correlation: 0 };
        let request = ApiVersionsRequest {
            client_software_name: "ottla-bench".to_owned(),
            client_software_version: "1".to_owned(),
            ..ApiVersionsRequest::default()
        };
        let response = wire.ask(&request, 4).await?;
        ensure!(response.error_code == 0, "ApiVersions: {}", response.error_code);
        Ok(wire)
    }

    /// Sends a request and waits for its answer.
    pub async fn ask<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<R::Response> {
        self.send(request, version).await?;
        self.answer::<R>(version).await
    }

    /// The same, again and again while a coordinator is being made or moved; `code` finds the error in an answer.
    pub async fn ask_until_there<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        code: impl Fn(&R::Response) -> i16,
    ) -> anyhow::Result<R::Response> {
        let early = [
            Refusal::CoordinatorLoadInProgress.code(),
            Refusal::CoordinatorNotAvailable.code(),
            Refusal::NotCoordinator.code(),
        ];
        loop {
            let response = self.ask(request, version).await?;
            if !early.contains(&code(&response)) {
                return Ok(response);
            }
            sleep(AGAIN).await;
        }
    }

    /// Sends a request.
    pub async fn send<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<()> {
        let mut writer = Writer::onto(BytesMut::zeroed(4));
        self.correlation = self.correlation.wrapping_add(1);
        let header = RequestHeader {
            api_key: R::KEY.code(),
            api_version: version,
            correlation_id: self.correlation,
            client_id: Some("bench".to_owned()),
        };
        header.encode(&mut writer, if R::flexible(version) { 2 } else { 1 })?;
        request.encode(&mut writer, version)?;
        let mut frame = writer.into_bytes();
        let length = u32::try_from(frame.len() - 4)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame).await.context("writing")
    }

    /// Waits for the answer to what was sent.
    pub async fn answer<R: Request>(&mut self, version: i16) -> anyhow::Result<R::Response> {
        let frame = loop {
            if let Some(head) = self.unread.first_chunk::<4>() {
                let length = u32::from_be_bytes(*head) as usize;
                if self.unread.len() >= 4 + length {
                    break self.unread.split_to(4 + length).freeze().slice(4..);
                }
            }
            let read = self.stream.read_buf(&mut self.unread).await.context("reading")?;
            ensure!(read > 0, "the node closed the connection");
        };
        let mut reader = Reader::new(frame);
        // A broker answers ApiVersions before it knows what the client can read.
        let flexible = R::flexible(version) && R::KEY != ApiKey::ApiVersions;
        let header = ResponseHeader::decode(&mut reader, i16::from(flexible))?;
        ensure!(header.correlation_id == self.correlation, "an answer to another request");
        Ok(R::Response::decode(&mut reader, version)?)
    }

    /// Creates a topic and waits until it is known.
    pub async fn create_topic(&mut self, name: &str, partitions: i32) -> anyhow::Result<TopicId> {
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, validate_only: false };
        let response = self.ask(&request, 7).await?;
        let created = response.topics.first().context("a topic")?;
        ensure!(created.error_code == 0, "creating {name}: {}", created.error_code);
        let every = MetadataRequest { topics: None, ..MetadataRequest::default() };
        loop {
            let known = self.ask(&every, 12).await?.topics;
            let known = known.iter().find(|topic| topic.topic_id == created.topic_id);
            if known.is_some_and(|topic| topic.partitions.iter().all(|one| one.leader_id >= 0)) {
                return Ok(created.topic_id);
            }
            sleep(AGAIN).await;
        }
    }

    /// Has the node make the internal topic of the coordinators, and waits for it.
    pub async fn find_coordinator(&mut self, key: &str, kind: CoordinatorKind) -> anyhow::Result<()> {
        let request = FindCoordinatorRequest {
            key_type: kind as i8,
            coordinator_keys: vec![key.to_owned()],
            ..FindCoordinatorRequest::default()
        };
        let first = |response: &FindCoordinatorResponse| {
            response.coordinators.first().map_or(-1, |one| one.error_code)
        };
        let response = self.ask_until_there(&request, 6, first).await?;
        ensure!(first(&response) == 0, "FindCoordinator: {}", first(&response));
        Ok(())
    }
}

/// Whose coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoordinatorKind {
    Group = 0,
    Transaction = 1,
}
