//! A group of the classic protocol: members agree on a leader, and the leader assigns (KIP-62, KIP-345, KIP-394).
//!
//! Who is a member is soft until the leader has sent the assignment: then all of it is written in one record, and only
//! from there on a restart knows it. So members, generation and timers change in `decide`, as in Kafka; assignments and
//! the state `Stable` come with the record alone.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_protocol::messages::JoinGroupRequest;
use ottla_protocol::records::coordinator::GroupMetadataKey;
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Refusal, Ticket};

mod join;
mod leave;
mod member;
mod members;
mod offsets;
mod pending;
mod rebalance;
mod record;
mod sync;
mod timers;

pub use join::{growth, join, refuse_join};
pub use leave::leave_by_nobody;
pub use member::Member;
use member::bytes_of;
use members::Members;
use pending::ENTRY_BYTES;
pub use record::apply;
pub use sync::{heartbeat_of_nobody, sync_with_nobody};
use timers::Timers;

use super::command::Caller;
use super::record::Record;
use super::unsettled::Ledger;

/// The protocol type of consumers; groups of other types are none of the coordinator's business.
pub const CONSUMER: &str = "consumer";

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No members; there may be offsets.
    Empty,
    /// Members are awaited.
    PreparingRebalance,
    /// The members know their generation; the leader's assignment is awaited.
    CompletingRebalance,
    /// The assignment is written.
    Stable,
}

/// See the module.
#[derive(Debug)]
pub struct ClassicGroup {
    id: String,
    state: State,
    previous: State,
    /// When the state was entered; `None` in groups of brokers of old.
    since_ms: Option<i64>,
    protocol_type: Option<String>,
    protocol: Option<String>,
    generation: i32,
    members: Members,
    timers: Timers,
    /// What the members of a group of consumers read; `None` where that is not known.
    subscribed: Option<BTreeSet<String>>,
    /// A static member that was replaced by a record which is not yet written, and the id of the newcomer.
    replaced: Option<(Box<Member>, String)>,
    /// Why it has to rebalance as soon as it is asked: it has been a consumer group until now.
    owes_rebalance: Option<&'static str>,
}

impl State {
    /// Kafka's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

impl ClassicGroup {
    /// A group that is known by its offsets only, since this time.
    #[must_use]
    pub fn simple(id: &str, since_ms: i64) -> Self {
        Self {
            id: id.to_owned(),
            state: State::Empty,
            previous: State::Empty,
            since_ms: Some(since_ms),
            protocol_type: None,
            protocol: None,
            generation: 0,
            members: Members::default(),
            timers: Timers::default(),
            subscribed: None,
            replaced: None,
            owes_rebalance: None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The type of its protocol: `consumer`, `connect`, …; `None` before it ever had a member.
    #[must_use]
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// The protocol that its members have agreed upon.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// The generation.
    #[must_use]
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// The leader's id.
    #[must_use]
    pub fn leader(&self) -> Option<&str> {
        self.members.leader()
    }

    /// The members, by id.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.iter()
    }

    /// Whether it is in the state `Empty`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    /// Whether its members are consumers.
    #[must_use]
    pub fn is_of_consumers(&self) -> bool {
        self.protocol_type() == Some(CONSUMER)
    }

    /// What makes it forgotten.
    #[must_use]
    pub fn tombstone(&self) -> Record {
        (GroupMetadataKey { group: self.id.clone() }, None).into()
    }

    /// When it wants to be asked again; perhaps too early.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.timers.soonest()
    }

    /// What is known of it that is in no record.
    pub(in crate::group) fn ledger(&mut self) -> &mut Ledger {
        self.members.ledger()
    }

    /// What a JoinGroup would add to what is known of its sender, in bytes, and on whose host.
    #[must_use]
    pub fn growth<'a>(&'a self, caller: &'a Caller, request: &JoinGroupRequest) -> (usize, &'a str) {
        let static_id = request.group_instance_id.as_deref().and_then(|id| self.members.static_id(id));
        let (id, new_id) = match static_id {
            _ if !request.member_id.is_empty() => (&*request.member_id, 0),
            Some(id) => (id, 0),
            None => ("", ENTRY_BYTES + 2 * caller.client_id.len()),
        };
        let member = self.members.get(id);
        let known = member.map_or(0, |member| bytes_of(&member.protocols));
        let host = member.map_or(&caller.client_host, |member| &member.client_host);
        (bytes_of(&request.protocols).saturating_sub(known) + new_id, host)
    }

    /// Everybody who waits.
    pub fn take_tickets(&mut self) -> Vec<Ticket> {
        let mut tickets = Vec::new();
        for id in self.members.ids() {
            tickets.extend(self.members.take_join(&id).map(|wait| wait.ticket));
            tickets.extend(self.members.get_mut(&id).and_then(|member| member.sync.take()));
        }
        tickets
    }

    /// Whether somebody is who the request says (KIP-345).
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, or `FENCED_INSTANCE_ID` where the static name belongs to another member by now.
    pub fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), Refusal> {
        if let Some(instance_id) = instance_id {
            match self.members.static_id(instance_id) {
                None => return Err(Refusal::UnknownMemberId),
                Some(existing) if existing != member_id => return Err(Refusal::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains(member_id) { Ok(()) } else { Err(Refusal::UnknownMemberId) }
    }

    fn enter(&mut self, state: State, now: Now) {
        self.previous = self.state;
        self.state = state;
        self.since_ms = Some(now.wall_ms);
    }

    /// A member has been heard of.
    fn keep_alive(&mut self, member_id: &str, now: Now) {
        if let Some(member) = self.members.get_mut(member_id) {
            let ends = now.after_ms(i64::from(member.session_timeout_ms));
            member.session_ends = Some(ends);
            self.timers.note(ends);
        }
    }

    /// An assignment of nothing at all.
    fn reset_assignments(&mut self) {
        for member in self.members.iter_mut() {
            member.assignment = Bytes::new();
        }
    }
}

#[cfg(test)]
mod tests;
