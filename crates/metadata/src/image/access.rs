//! Who may do what, and how people prove who they are: ACLs, SCRAM credentials, delegation tokens, quotas.
//!
//! Kept as the records have them; meaning is given where they are used.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::Uuid;
use ottla_protocol::records::metadata::client_quota::EntityData;
use ottla_protocol::records::metadata::{
    AccessControlEntryRecord, ClientQuotaRecord, DelegationTokenRecord, UserScramCredentialRecord,
};

/// One access control entry. The numbers are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// Kafka's number of the resource's type.
    pub resource_type: i8,
    /// The resource's name, or what it begins with.
    pub resource_name: String,
    /// Kafka's number of the pattern's type.
    pub pattern_type: i8,
    /// Whom it concerns, such as `User:alice`.
    pub principal: String,
    /// From where, `*` for anywhere.
    pub host: String,
    /// Kafka's number of the operation.
    pub operation: i8,
    /// Kafka's number of allowing or denying.
    pub permission_type: i8,
}

impl Acl {
    pub(super) fn from_record(record: &AccessControlEntryRecord) -> Self {
        Self {
            resource_type: record.resource_type,
            resource_name: record.resource_name.clone(),
            pattern_type: record.pattern_type,
            principal: record.principal.clone(),
            host: record.host.clone(),
            operation: record.operation,
            permission_type: record.permission_type,
        }
    }

    /// The record that makes this entry.
    #[must_use]
    pub fn to_record(&self, id: Uuid) -> AccessControlEntryRecord {
        AccessControlEntryRecord {
            id,
            resource_type: self.resource_type,
            resource_name: self.resource_name.clone(),
            pattern_type: self.pattern_type,
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation: self.operation,
            permission_type: self.permission_type,
        }
    }
}

/// A user and a mechanism: 1 is SCRAM-SHA-256, 2 is SCRAM-SHA-512.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScramUser {
    /// Kafka's number of the mechanism.
    pub mechanism: i8,
    /// The user's name.
    pub name: String,
}

/// What is kept of a password (RFC 5802).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// The salt.
    pub salt: Bytes,
    /// The hash of the client's key.
    pub stored_key: Bytes,
    /// The server's key.
    pub server_key: Bytes,
    /// How often the password was hashed.
    pub iterations: i32,
}

impl std::fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramCredential").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl ScramCredential {
    pub(super) fn from_record(record: &UserScramCredentialRecord) -> Self {
        Self {
            salt: record.salt.clone(),
            stored_key: record.stored_key.clone(),
            server_key: record.server_key.clone(),
            iterations: record.iterations,
        }
    }

    /// The record that makes this credential.
    #[must_use]
    pub fn to_record(&self, user: &ScramUser) -> UserScramCredentialRecord {
        UserScramCredentialRecord {
            name: user.name.clone(),
            mechanism: user.mechanism,
            salt: self.salt.clone(),
            stored_key: self.stored_key.clone(),
            server_key: self.server_key.clone(),
            iterations: self.iterations,
        }
    }
}

/// A delegation token (KIP-48), without its secret. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationToken {
    /// Whose rights it bears.
    pub owner: String,
    /// Who asked for it.
    pub requester: String,
    /// Who may renew it.
    pub renewers: Vec<String>,
    /// When it was made.
    pub issued_ms: i64,
    /// When it ends for good.
    pub max_ms: i64,
    /// When it ends unless it is renewed.
    pub expires_ms: i64,
}

impl DelegationToken {
    pub(super) fn from_record(record: &DelegationTokenRecord) -> Self {
        Self {
            owner: record.owner.clone(),
            requester: record.requester.clone(),
            renewers: record.renewers.clone(),
            issued_ms: record.issue_timestamp,
            max_ms: record.max_timestamp,
            expires_ms: record.expiration_timestamp,
        }
    }

    /// The record that makes this token.
    #[must_use]
    pub fn to_record(&self, id: &str) -> DelegationTokenRecord {
        DelegationTokenRecord {
            owner: self.owner.clone(),
            requester: self.requester.clone(),
            renewers: self.renewers.clone(),
            issue_timestamp: self.issued_ms,
            max_timestamp: self.max_ms,
            expiration_timestamp: self.expires_ms,
            token_id: id.to_owned(),
        }
    }
}

/// Whom a quota concerns: types (`user`, `client-id`, `ip`) with a name each; no name is the default of the type.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaEntity(pub BTreeMap<String, Option<String>>);

/// Limits by key, such as `producer_byte_rate`.
pub type Quotas = BTreeMap<String, f64>;

impl QuotaEntity {
    pub(super) fn from_record(record: &ClientQuotaRecord) -> Self {
        Self(record.entity.iter().map(|e| (e.entity_type.clone(), e.entity_name.clone())).collect())
    }

    /// The record that sets a limit.
    #[must_use]
    pub fn to_record(&self, key: &str, value: f64) -> ClientQuotaRecord {
        let entity = |(kind, name): (&String, &Option<String>)| EntityData {
            entity_type: kind.clone(),
            entity_name: name.clone(),
        };
        ClientQuotaRecord {
            entity: self.0.iter().map(entity).collect(),
            key: key.to_owned(),
            value,
            remove: false,
        }
    }
}
