//! One connection to one broker, as a value: versions agreed, requests numbered, answers matched, time watched.
//!
//! It holds no socket. Whoever does calls `opened`, `frame` and `step`, writes what `outgoing` yields, and hears of
//! finished calls from `finished`. Answers come in the order of the requests: any other order is a broken peer.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::api_key::ApiKey;
use ottla_protocol::codec::Reader;
use ottla_protocol::header::ResponseHeader;
use ottla_protocol::message::Message;
use ottla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Refusal};

use crate::call::{Answer, Call, Header, Reply, Ticket};
use crate::error::{ApiError, ClientError};

/// Our name in ApiVersions, for the broker's metrics.
const SOFTWARE_NAME: &str = "ottla";

/// The end of one call.
#[derive(Debug)]
pub struct Finished {
    /// Which call.
    pub ticket: Ticket,
    /// What came of it.
    pub outcome: Result<Reply, ClientError>,
}

/// What a broker said about itself in ApiVersions.
pub type BrokerVersions = ApiVersionsResponse;

/// A connection to a broker, from the moment somebody began to open it.
#[derive(Debug)]
pub struct Connection {
    client_id: String,
    request_timeout: Duration,
    in_flight_max: usize,
    state: State,
    correlation: i32,
    queued: VecDeque<(Ticket, Call)>,
    in_flight: VecDeque<InFlight>,
    outgoing: VecDeque<Bytes>,
    finished: VecDeque<Finished>,
}

#[derive(Debug)]
enum State {
    /// The socket is not connected yet.
    Opening,
    /// ApiVersions is under way.
    Negotiating,
    /// Versions are known.
    Ready(Box<Versions>),
}

#[derive(Debug)]
struct Versions {
    ranges: BTreeMap<i16, (i16, i16)>,
    response: BrokerVersions,
}

#[derive(Debug)]
struct InFlight {
    correlation: i32,
    version: i16,
    header_version: i16,
    key: ApiKey,
    due: Deadline,
    /// `None` for the connection's own ApiVersions.
    ticket: Option<Ticket>,
}

/// Why a connection must be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A request was under way for longer than its timeout.
    #[error("{0} was not answered in time")]
    TimedOut(&'static str),
    /// An answer to a question that was not asked.
    #[error("response {found} came where {expected} was due")]
    OutOfOrder {
        /// The correlation id that was due.
        expected: i32,
        /// The one that came.
        found: i32,
    },
    /// Bytes that are no response.
    #[error("unreadable response: {0}")]
    Malformed(String),
    /// The broker and we have no version of ApiVersions in common.
    #[error("the broker refuses ApiVersions: {0}")]
    NoVersions(Refusal),
}

impl Connection {
    /// A connection that is being opened.
    #[must_use]
    pub fn new(client_id: String, request_timeout: Duration, in_flight_max: usize) -> Self {
        Self {
            client_id,
            request_timeout,
            in_flight_max,
            state: State::Opening,
            correlation: 0,
            queued: VecDeque::new(),
            in_flight: VecDeque::new(),
            outgoing: VecDeque::new(),
            finished: VecDeque::new(),
        }
    }

    /// The socket is connected: the first thing said is which versions we speak.
    pub fn opened(&mut self, now: Now) {
        self.ask_versions(now, ApiVersionsRequest::MAX);
    }

    /// Sends a call, now or when the connection can take it.
    pub fn submit(&mut self, now: Now, ticket: Ticket, call: Call) {
        self.queued.push_back((ticket, call));
        self.pump(now);
    }

    /// Takes one response, without the length that stood before it.
    ///
    /// # Errors
    /// The peer is not one to talk to: the connection must be closed.
    pub fn frame(&mut self, now: Now, frame: Bytes) -> Result<(), Broken> {
        let Some(asked) = self.in_flight.pop_front() else {
            return Err(Broken::Malformed("a response where none was due".to_owned()));
        };
        let body = match asked.body(frame) {
            Ok(body) => body,
            Err(broken) => {
                // It is still under way: `close` tells its caller that there is no answer.
                self.in_flight.push_front(asked);
                return Err(broken);
            }
        };
        match asked.ticket {
            None => self.versions(now, &body, asked.version)?,
            Some(ticket) => {
                let reply = Reply { key: asked.key, version: asked.version, body };
                self.finished.push_back(Finished { ticket, outcome: Ok(reply) });
            }
        }
        self.pump(now);
        Ok(())
    }

    /// Looks at the clock.
    ///
    /// # Errors
    /// A request is overdue: the connection must be closed.
    pub fn step(&self, now: Now) -> Result<(), Broken> {
        match self.in_flight.iter().find(|asked| now.reached(asked.due)) {
            Some(asked) => Err(Broken::TimedOut(asked.key.name())),
            None => Ok(()),
        }
    }

    /// When `step` has something to say.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.in_flight.iter().map(|asked| asked.due).min()
    }

    /// The next bytes for the socket, length included.
    pub fn outgoing(&mut self) -> Option<Bytes> {
        self.outgoing.pop_front()
    }

    /// The next call that has come to its end.
    pub fn finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    /// The connection is gone: what was sent fails, what was not is handed back.
    #[must_use]
    pub fn close(self, reason: &ClientError) -> (Vec<Finished>, Vec<(Ticket, Call)>) {
        let lost = self.in_flight.into_iter().filter_map(|asked| asked.ticket);
        let lost = lost.map(|ticket| Finished { ticket, outcome: Err(reason.clone()) });
        (self.finished.into_iter().chain(lost).collect(), self.queued.into())
    }

    /// How many calls wait or are under way.
    #[must_use]
    pub fn load(&self) -> usize {
        self.queued.len() + self.in_flight.len()
    }

    /// Whether versions are agreed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    /// What the broker said about its versions, once it has.
    #[must_use]
    pub fn broker_versions(&self) -> Option<&BrokerVersions> {
        match &self.state {
            State::Ready(versions) => Some(&versions.response),
            _ => None,
        }
    }

    fn ask_versions(&mut self, now: Now, version: i16) {
        let request = ApiVersionsRequest {
            client_software_name: SOFTWARE_NAME.to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..ApiVersionsRequest::default()
        };
        self.state = State::Negotiating;
        let call = Call::new(request).within(version, version);
        // Our own ApiVersions can always be written; were it not so, the deadline would close the connection.
        let _ = self.write(now, None, &call, version);
    }

    /// ApiVersions has been answered: in a version we asked for, or, refused, always in version 0.
    fn versions(&mut self, now: Now, body: &Bytes, version: i16) -> Result<(), Broken> {
        let code = body.get(..2).map_or(0, |code| i16::from_be_bytes([code[0], code[1]]));
        let refused = code == Refusal::UnsupportedVersion.code();
        let response = decode::<ApiVersionsResponse>(body, if refused { 0 } else { version })?;
        if refused && version > 0 {
            let key = ApiKey::ApiVersions.code();
            let most =
                response.api_keys.iter().find(|row| row.api_key == key).map_or(0, |row| row.max_version);
            self.ask_versions(now, most.clamp(0, version - 1));
            return Ok(());
        }
        if let Some(refusal) = ApiError::from_code(response.error_code, None) {
            return Err(Broken::NoVersions(refusal.refusal));
        }
        let ranges = response.api_keys.iter().map(|row| (row.api_key, (row.min_version, row.max_version)));
        self.state = State::Ready(Box::new(Versions { ranges: ranges.collect(), response }));
        Ok(())
    }

    /// Writes what may be written.
    fn pump(&mut self, now: Now) {
        while self.is_ready() && self.in_flight.len() < self.in_flight_max {
            let Some((ticket, call)) = self.queued.pop_front() else { return };
            let written =
                self.version_for(&call).and_then(|version| self.write(now, Some(ticket), &call, version));
            match (written, call.answer) {
                (Err(error), _) => self.finished.push_back(Finished { ticket, outcome: Err(error) }),
                (Ok(version), Answer::None) => {
                    let reply = Reply { key: call.key(), version, body: Bytes::new() };
                    self.finished.push_back(Finished { ticket, outcome: Ok(reply) });
                }
                (Ok(_), Answer::Expected) => {}
            }
        }
    }

    /// The highest version that the caller and the broker share.
    fn version_for(&self, call: &Call) -> Result<i16, ClientError> {
        let State::Ready(versions) = &self.state else { return Ok(call.versions.1) };
        let name = call.key().name();
        let Some(&(least, most)) = versions.ranges.get(&call.key().code()) else {
            return Err(ClientError::UnsupportedVersion(format!("The node does not support {name}")));
        };
        let version = most.min(call.versions.1);
        if version < least.max(call.versions.0) {
            return Err(ClientError::UnsupportedVersion(format!(
                "The node does not support {name} with version in range [{},{}]. The supported range is [{least},{most}].",
                call.versions.0, call.versions.1
            )));
        }
        Ok(version)
    }

    fn write(
        &mut self,
        now: Now,
        ticket: Option<Ticket>,
        call: &Call,
        version: i16,
    ) -> Result<i16, ClientError> {
        let correlation = self.correlation;
        let bytes = call
            .encode(Header { version, correlation, client_id: &self.client_id })
            .map_err(|error| ClientError::Unsendable(format!("{} v{version}: {error}", call.key().name())))?;
        self.correlation = self.correlation.wrapping_add(1);
        self.outgoing.push_back(bytes);
        if call.answer == Answer::Expected {
            let due = now.after(call.timeout.unwrap_or(self.request_timeout));
            let header_version = call.response_header_version(version);
            let key = call.key();
            self.in_flight.push_back(InFlight { correlation, version, header_version, key, due, ticket });
        }
        Ok(version)
    }
}

impl InFlight {
    /// What stands behind the header of the response, if it is the response to this request.
    fn body(&self, frame: Bytes) -> Result<Bytes, Broken> {
        let mut reader = Reader::new(frame);
        let header = ResponseHeader::decode(&mut reader, self.header_version)
            .map_err(|error| Broken::Malformed(error.to_string()))?;
        if header.correlation_id != self.correlation {
            return Err(Broken::OutOfOrder { expected: self.correlation, found: header.correlation_id });
        }
        Ok(reader.rest())
    }
}

fn decode<M: Message>(body: &Bytes, version: i16) -> Result<M, Broken> {
    M::decode(&mut Reader::new(body.clone()), version).map_err(|error| Broken::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests;
