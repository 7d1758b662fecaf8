//! One request without its type, on its way to a version; and its reply, on the way back to a type.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_protocol::ApiKey;
use ottla_protocol::codec::{EncodeError, Reader, Writer};
use ottla_protocol::header::RequestHeader;
use ottla_protocol::message::{Message, Request};

use crate::error::ClientError;

/// Names a call until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A request and how it wants to be sent.
pub struct Call {
    request: Box<dyn AnyRequest>,
    /// The versions the caller can live with; both ends included.
    pub versions: (i16, i16),
    /// Whether the broker answers it. A Produce with acks=0 is not answered.
    pub answer: Answer,
    /// How long it may be under way, where that is not `request.timeout.ms`.
    pub timeout: Option<Duration>,
}

/// Whether a request has an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One response with the same correlation id.
    Expected,
    /// None: the call is done when it is written.
    None,
}

trait AnyRequest: Send {
    fn key(&self) -> ApiKey;
    fn response_header_version(&self, version: i16) -> i16;
    fn encode(&self, header: Header<'_>) -> Result<Bytes, EncodeError>;
}

/// What stands before every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    pub version: i16,
    pub correlation: i32,
    pub client_id: &'a str,
}

impl<R: Request + Send + 'static> AnyRequest for R {
    fn key(&self) -> ApiKey {
        R::KEY
    }

    fn response_header_version(&self, version: i16) -> i16 {
        // A broker answers ApiVersions before it knows what the client can read.
        i16::from(R::flexible(version) && R::KEY != ApiKey::ApiVersions)
    }

    fn encode(&self, header: Header<'_>) -> Result<Bytes, EncodeError> {
        let mut writer = Writer::onto(BytesMut::zeroed(4));
        let head = RequestHeader {
            api_key: R::KEY.code(),
            api_version: header.version,
            correlation_id: header.correlation,
            client_id: Some(header.client_id.to_owned()),
        };
        head.encode(&mut writer, if R::flexible(header.version) { 2 } else { 1 })?;
        Message::encode(self, &mut writer, header.version)?;
        let mut frame = writer.into_bytes();
        let length = u32::try_from(frame.len() - 4).map_err(|_| EncodeError::TooLong)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok(frame.freeze())
    }
}

impl Call {
    /// A call that may go out in any version both ends know.
    pub fn new<R: Request + Send + 'static>(request: R) -> Self {
        Self {
            request: Box::new(request),
            versions: (R::MIN, R::MAX),
            answer: Answer::Expected,
            timeout: None,
        }
    }

    /// The same, within these versions.
    #[must_use]
    pub fn within(self, least: i16, most: i16) -> Self {
        Self { versions: (self.versions.0.max(least), self.versions.1.min(most)), ..self }
    }

    /// The same, with its own time under way.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// The same, unanswered.
    #[must_use]
    pub fn unanswered(self) -> Self {
        Self { answer: Answer::None, ..self }
    }

    /// Which API it calls.
    #[must_use]
    pub fn key(&self) -> ApiKey {
        self.request.key()
    }

    pub(crate) fn response_header_version(&self, version: i16) -> i16 {
        self.request.response_header_version(version)
    }

    /// The frame, length included.
    pub(crate) fn encode(&self, header: Header<'_>) -> Result<Bytes, EncodeError> {
        self.request.encode(header)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({} {:?})", self.key().name(), self.versions)
    }
}

/// What a broker answered, not decoded yet.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The API that was called.
    pub key: ApiKey,
    /// The version of the request, and so of this body.
    pub version: i16,
    /// Everything behind the response header.
    pub body: Bytes,
}

impl Reply {
    /// The answer as the type that belongs to the request.
    ///
    /// # Errors
    /// The bytes are no such message.
    pub fn decode<R: Request>(&self) -> Result<R::Response, ClientError> {
        R::Response::decode(&mut Reader::new(self.body.clone()), self.version)
            .map_err(|error| ClientError::Malformed { api: self.key.name(), why: error.to_string() })
    }
}
