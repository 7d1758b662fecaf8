//! A classic group as a record: GroupMetadata (type 2). And what the metadata of consumers say.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_protocol::codec::Reader;
use ottla_protocol::records::consumer_protocol::ConsumerProtocolSubscription;
use ottla_protocol::records::coordinator::group_metadata::MemberMetadata;
use ottla_protocol::records::coordinator::{GroupMetadataKey, GroupMetadataValue};
use ottla_protocol::{Message, Now, Ticket};

use super::{ClassicGroup, Member, State};
use crate::group::any::{Group, GroupMap};
use crate::group::command::Reply;
use crate::group::record::Record;
use crate::group::scene::{Decided, Scene};

/// Takes in a record: one of ours, just written, or an old one while the log is read (then there is no time). A group
/// that comes out of the log alone, be it now, is as the record says, and its members' sessions begin.
pub fn apply(groups: &mut GroupMap, now: Option<Now>, name: &str, value: Option<GroupMetadataValue>) {
    let Some(value) = value else {
        if let Some(Group::Classic(_)) = groups.get(name) {
            groups.remove(name);
        }
        return;
    };
    let downgrade = match (groups.get_mut(name), now) {
        (Some(Group::Classic(group)), Some(now)) => return group.written(now, value),
        (Some(Group::Consumer(group)), Some(_)) => group.take_downgrade(),
        _ => None,
    };
    let mut group = ClassicGroup::restored(name, value);
    if let Some(downgrade) = downgrade {
        tracing::info!(group = name, "a consumer group has become a classic group");
        for (id, protocols) in downgrade.protocols {
            group.members.set_protocols(&id, protocols);
        }
        group.owes_rebalance = downgrade.rebalance.or(group.owes_rebalance);
    }
    if let Some(now) = now {
        group.begin_sessions(now);
        if group.owes_rebalance.is_some() {
            group.timers.note(now.after_ms(0));
        }
    }
    groups.insert(name.to_owned(), Group::Classic(group));
}

impl ClassicGroup {
    /// The group as it is.
    #[must_use]
    pub fn record(&self) -> Record {
        self.record_with(&|id| {
            self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default()
        })
    }

    /// The group as it is, but for the assignments.
    pub(super) fn record_with(&self, assignment: &dyn Fn(&str) -> Bytes) -> Record {
        let protocol = self.protocol().unwrap_or_default();
        let of = |member: &Member| MemberMetadata {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(protocol).cloned().unwrap_or_default(),
            assignment: assignment(&member.id),
        };
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader().map(str::to_owned),
            current_state_timestamp: self.since_ms.unwrap_or(-1),
            members: self.members.iter().map(of).collect(),
        };
        (GroupMetadataKey { group: self.id.clone() }, Some(value)).into()
    }

    /// A group out of the log.
    fn restored(name: &str, value: GroupMetadataValue) -> Self {
        let mut group = Self::simple(name, 0);
        let stable = !value.members.is_empty();
        // A consumer group has become a classic one, and its members have not shared what others left (KIP-848).
        group.owes_rebalance = (stable && value.leader.is_none()).then_some("nobody leads it");
        group.state = if stable { State::Stable } else { State::Empty };
        group.since_ms = (value.current_state_timestamp != -1).then_some(value.current_state_timestamp);
        group.generation = value.generation;
        group.protocol_type = Some(value.protocol_type).filter(|protocol_type| !protocol_type.is_empty());
        let protocol = value.protocol.clone().unwrap_or_default();
        group.protocol = if stable { Some(protocol.clone()) } else { value.protocol };
        for member in value.members {
            // A record with the same member twice is none of ours; the first one counts.
            let is_double = group.members.contains(&member.member_id)
                || member
                    .group_instance_id
                    .as_deref()
                    .is_some_and(|id| group.members.static_id(id).is_some());
            if !is_double {
                group.members.add(Member::restored(&protocol, member));
            }
        }
        if let Some(leader) = value.leader.filter(|leader| group.members.contains(leader)) {
            group.members.set_leader(Some(leader));
        }
        group.subscribed = group.read_subscriptions();
        group
    }

    /// One of our records has been written: what it assigns is assigned.
    fn written(&mut self, now: Now, value: GroupMetadataValue) {
        self.replaced = None;
        let protocol = value.protocol.as_deref().unwrap_or_default();
        for written in &value.members {
            self.members.settle(written, protocol);
        }
        if self.state != State::CompletingRebalance || value.generation != self.generation {
            return;
        }
        let assigned = value.members.iter().filter(|written| !written.assignment.is_empty()).count();
        for written in value.members {
            if let Some(member) = self.members.get_mut(&written.member_id) {
                member.assignment = Bytes::copy_from_slice(&written.assignment);
            }
        }
        tracing::info!(
            group = self.id,
            generation = self.generation,
            members = self.members.len(),
            assigned,
            "a group has rebalanced: its leader's assignment is written"
        );
        self.enter(State::Stable, now);
    }

    /// One of our records could not be written. Those who waited for it are told by the host, others here.
    pub fn unwritten(&mut self, scene: &Scene<'_>, value: &GroupMetadataValue) -> Vec<(Ticket, Reply)> {
        let mut decided = Decided::nothing();
        if let Some((old, new_id)) = self.replaced.take() {
            tracing::warn!(
                group = self.id,
                member = old.id,
                "a static member could not be replaced: its group's record was not written"
            );
            let old_id = old.id.clone();
            self.members.rename(&new_id, &old_id);
            self.members.set_protocols(&old_id, old.protocols.clone());
            if let Some(member) = self.members.get_mut(&old_id) {
                *member = *old;
            }
            self.keep_alive(&old_id, scene.now);
        }
        if self.state == State::CompletingRebalance && value.generation == self.generation {
            self.prepare_rebalance(scene, "the assignment could not be written", &mut decided);
        }
        decided.replies
    }

    /// What the members read, as far as they are consumers and can be understood.
    pub(super) fn read_subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.is_of_consumers() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.iter() {
            topics.extend(topics_of(member.metadata(self.protocol()?)?)?);
        }
        Some(topics)
    }
}

/// The topics in the metadata of a consumer. All versions begin as version 0 does.
fn topics_of(metadata: &Bytes) -> Option<Vec<String>> {
    let mut reader = Reader::new(metadata.clone());
    let _version = reader.i16();
    ConsumerProtocolSubscription::decode(&mut reader, 0).ok().map(|subscription| subscription.topics)
}
