//! Who coordinates: FindCoordinator for groups and transactional ids, in the form for many keys and in the old one.

use ottla_protocol::messages::FindCoordinatorRequest;

use crate::call::{Call, Reply};
use crate::error::{ApiError, ClientError};
use crate::settings::Address;

/// What a coordinator is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CoordinatorKind {
    /// A group, by its id.
    Group,
    /// A transactional producer, by its transactional id.
    Transaction,
}

/// A broker that coordinates something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Coordinator {
    /// Its id.
    pub node: i32,
    /// Where it listens for us.
    pub address: Address,
}

impl CoordinatorKind {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            Self::Group => 0,
            Self::Transaction => 1,
        }
    }

    /// Asks for one coordinator, in a form that every broker understands.
    pub(crate) fn find(self, key: &str) -> Call {
        let request = FindCoordinatorRequest {
            key: key.to_owned(),
            key_type: self.code(),
            ..FindCoordinatorRequest::default()
        };
        // Version 0 knows groups alone.
        Call::new(request).within(i16::from(self.code()), 3)
    }

    /// Asks for many at once (KIP-699).
    pub(crate) fn find_all(self, keys: &[String]) -> Call {
        let request = FindCoordinatorRequest {
            key_type: self.code(),
            coordinator_keys: keys.to_vec(),
            ..FindCoordinatorRequest::default()
        };
        Call::new(request).within(4, i16::MAX)
    }
}

impl Coordinator {
    /// The answer for one key, whichever form the question had.
    pub(crate) fn read(reply: &Reply) -> Result<Self, ClientError> {
        let found = Self::read_all(reply)?.into_iter().next();
        Ok(found.ok_or(ClientError::Malformed {
            api: "FindCoordinator",
            why: "the answer names no coordinator".to_owned(),
        })??)
    }

    /// The answers, in the order of the keys.
    pub(crate) fn read_all(reply: &Reply) -> Result<Vec<Result<Self, ApiError>>, ClientError> {
        let response = reply.decode::<FindCoordinatorRequest>()?;
        if reply.version < 4 {
            let checked = ApiError::check(response.error_code, response.error_message);
            let found = checked.map(|()| Self::new(response.node_id, response.host, response.port));
            return Ok(vec![found]);
        }
        let each = response.coordinators.into_iter().map(|found| {
            ApiError::check(found.error_code, found.error_message)?;
            Ok(Self::new(found.node_id, found.host, found.port))
        });
        Ok(each.collect())
    }

    fn new(node: i32, host: String, port: i32) -> Self {
        Self { node, address: Address { host, port: u16::try_from(port).unwrap_or(0) } }
    }
}
