//! A member of a classic group.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_protocol::Ticket;
use ottla_protocol::messages::JoinGroupRequest;
use ottla_protocol::messages::join_group::JoinGroupRequestProtocol;
use ottla_protocol::records::coordinator::group_metadata::MemberMetadata;
use ottla_protocol::time::Deadline;

use crate::group::Caller;

/// See the module.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Its static name (KIP-345).
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Its client's address.
    pub client_host: String,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// The protocols it speaks, dearest first.
    pub protocols: Vec<JoinGroupRequestProtocol>,
    /// What the leader has given it, once that is written.
    pub assignment: Bytes,
    /// When its session ends; `None` while it waits for others, who may keep it waiting longer than that.
    pub session_ends: Option<Deadline>,
    /// It has not yet been told its id: nothing is heard of it but its request.
    pub is_new: bool,
    pub(super) join: Option<JoinWait>,
    pub(super) sync: Option<Ticket>,
    /// What it costs to know what the last record has of it, in bytes.
    settled_bytes: usize,
}

/// A JoinGroup that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinWait {
    /// Whom to answer.
    pub ticket: Ticket,
    /// In which version it was asked.
    pub version: i16,
}

impl Member {
    /// A member as it comes with its request.
    pub(super) fn new(id: String, caller: &Caller, request: JoinGroupRequest) -> Self {
        Self {
            id,
            instance_id: request.group_instance_id,
            client_id: caller.client_id.clone(),
            client_host: caller.client_host.clone(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: owned(request.protocols),
            assignment: Bytes::new(),
            session_ends: None,
            is_new: true,
            join: None,
            sync: None,
            settled_bytes: 0,
        }
    }

    /// A member as a record has it, which says what it said in the words of `protocol`.
    pub(super) fn restored(protocol: &str, member: MemberMetadata) -> Self {
        let metadata = Bytes::copy_from_slice(&member.subscription);
        let mut restored = Self {
            id: member.member_id,
            instance_id: member.group_instance_id,
            client_id: member.client_id,
            client_host: member.client_host,
            rebalance_timeout_ms: match member.rebalance_timeout {
                -1 => member.session_timeout,
                timeout_ms => timeout_ms,
            },
            session_timeout_ms: member.session_timeout,
            protocols: vec![JoinGroupRequestProtocol { name: protocol.to_owned(), metadata }],
            assignment: Bytes::copy_from_slice(&member.assignment),
            session_ends: None,
            is_new: false,
            join: None,
            sync: None,
            settled_bytes: 0,
        };
        restored.settle(protocol);
        restored
    }

    /// A record has it, with what it says in the words of `protocol`.
    pub(super) fn settle(&mut self, protocol: &str) {
        let chosen = self.protocols.iter().find(|spoken| spoken.name == protocol);
        self.settled_bytes = self.bytes() - bytes_of(&self.protocols) + chosen.map_or(0, cost);
    }

    /// What it costs to know of it what no record has, in bytes.
    pub(super) fn unsettled_bytes(&self) -> usize {
        self.bytes().saturating_sub(self.settled_bytes)
    }

    /// What it costs to know it, in bytes; without the assignment, which comes with a record.
    fn bytes(&self) -> usize {
        let static_name = self.instance_id.as_ref().map_or(0, String::len);
        let names = 2 * self.id.len() + static_name + self.client_id.len() + self.client_host.len();
        size_of::<Self>() + names + bytes_of(&self.protocols)
    }

    /// Whether it waits for the others to join.
    #[must_use]
    pub fn is_joining(&self) -> bool {
        self.join.is_some()
    }

    /// Whether it waits for the assignment.
    #[must_use]
    pub fn is_syncing(&self) -> bool {
        self.sync.is_some()
    }

    /// Whether its silence is right: it waits for an answer of ours. Who is new may wait only so long.
    pub(super) fn may_be_silent(&self) -> bool {
        !self.is_new && (self.is_joining() || self.is_syncing())
    }

    /// What it says in the words of a protocol.
    #[must_use]
    pub fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|spoken| spoken.name == protocol).map(|spoken| &spoken.metadata)
    }

    /// Each protocol once.
    pub(super) fn protocol_names(&self) -> impl Iterator<Item = &str> {
        names(&self.protocols)
    }
}

/// The names of protocols, each once.
pub(super) fn names(protocols: &[JoinGroupRequestProtocol]) -> impl Iterator<Item = &str> {
    let mut seen = BTreeSet::new();
    protocols.iter().map(|protocol| &*protocol.name).filter(move |name| seen.insert(*name))
}

/// What it costs to keep these protocols, in bytes.
pub(super) fn bytes_of(protocols: &[JoinGroupRequestProtocol]) -> usize {
    protocols.iter().map(cost).sum()
}

fn cost(protocol: &JoinGroupRequestProtocol) -> usize {
    size_of::<JoinGroupRequestProtocol>() + protocol.name.len() + protocol.metadata.len()
}

/// The same in memory of its own: what came in a frame holds fast all that came with it.
pub(super) fn owned(mut protocols: Vec<JoinGroupRequestProtocol>) -> Vec<JoinGroupRequestProtocol> {
    for protocol in &mut protocols {
        protocol.metadata = Bytes::copy_from_slice(&protocol.metadata);
    }
    protocols
}
