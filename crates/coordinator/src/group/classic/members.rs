//! The members of a classic group, and the sums that are kept about them.
//!
//! `joining` is how many members wait to join, `speakers` how many speak a protocol, `by_instance` who bears a static
//! name, `ledger` what they cost that is in no record: always as the members themselves say.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::Now;
use ottla_protocol::messages::join_group::JoinGroupRequestProtocol;
use ottla_protocol::records::coordinator::group_metadata::MemberMetadata;
use ottla_protocol::time::Deadline;

use super::member::{JoinWait, Member, names, owned};
use super::pending::{self, Pending};
use crate::group::unsettled::Ledger;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// In boxes: a node of the map has room for eleven, and most groups are small.
    by_id: BTreeMap<String, Box<Member>>,
    by_instance: BTreeMap<String, String>,
    speakers: BTreeMap<String, usize>,
    joining: usize,
    ledger: Ledger,
    leader: Option<String>,
    /// Who has been given an id and has not come back with it yet.
    pending_join: Pending,
    /// Who has not yet asked for the assignment of this generation.
    pub(super) pending_sync: BTreeSet<String>,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Member> {
        self.by_id.get(id).map(Box::as_ref)
    }

    /// To change what no sum is kept about.
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.by_id.get_mut(id).map(Box::as_mut)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.by_id.values().map(Box::as_ref)
    }

    /// To change what no sum is kept about.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.by_id.values_mut().map(Box::as_mut)
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.by_id.keys().cloned().collect()
    }

    pub(super) fn leader(&self) -> Option<&str> {
        self.leader.as_deref()
    }

    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader() == Some(id)
    }

    pub(super) fn set_leader(&mut self, id: Option<String>) {
        self.leader = id;
    }

    /// Who bears a static name.
    pub(super) fn static_id(&self, instance_id: &str) -> Option<&str> {
        self.by_instance.get(instance_id).map(String::as_str)
    }

    /// What is known of them that is in no record; with the ids that have been given out.
    pub(super) fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Whether an id has been given out, and nobody has come back with it yet.
    pub(super) fn is_pending(&self, id: &str) -> bool {
        self.pending_join.contains(id)
    }

    /// An id is given out to somebody on this host, who is to come back with it until `ends`.
    pub(super) fn await_join(&mut self, id: String, host: String, ends: Deadline) {
        self.ledger.charge(&host, pending::cost(&id));
        if let Some((host, bytes)) = self.pending_join.insert(id, host, ends) {
            self.ledger.release(&host, bytes);
        }
    }

    /// An id that was given out is not awaited any longer; whether it was.
    pub(super) fn forget_pending(&mut self, id: &str) -> bool {
        let forgotten = self.pending_join.remove(id);
        if let Some((host, bytes)) = &forgotten {
            self.ledger.release(host, *bytes);
        }
        forgotten.is_some()
    }

    /// Forgets who has not come back with his id in time; whether there was anybody.
    pub(super) fn expire_pending(&mut self, now: Now) -> bool {
        let forgotten = self.pending_join.expire(now);
        forgotten.iter().for_each(|(host, bytes)| self.ledger.release(host, *bytes));
        !forgotten.is_empty()
    }

    /// When the patience with each id that was given out is at its end.
    pub(super) fn pending_deadlines(&self) -> impl Iterator<Item = Deadline> {
        self.pending_join.deadlines()
    }

    /// How many wait to join.
    pub(super) fn joining(&self) -> usize {
        self.joining
    }

    /// Whether everybody waits to join, and nobody is still to come.
    pub(super) fn have_all_joined(&self) -> bool {
        self.joining == self.by_id.len() && self.pending_join.is_empty()
    }

    /// The longest that a rebalance waits.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.iter().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0).max(0)
    }

    /// Whether all of them speak one of these protocols.
    pub(super) fn all_speak_one_of(&self, protocols: &[JoinGroupRequestProtocol]) -> bool {
        names(protocols).any(|name| self.all_speak(name))
    }

    fn all_speak(&self, protocol: &str) -> bool {
        self.speakers.get(protocol).copied().unwrap_or(0) == self.by_id.len()
    }

    /// Adds a member; the first one leads.
    pub(super) fn add(&mut self, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            let other = self.by_instance.insert(instance_id.clone(), member.id.clone());
            assert!(other.is_none(), "a static name is borne by one member");
        }
        self.forget_pending(&member.id);
        self.leader.get_or_insert_with(|| member.id.clone());
        self.joining += usize::from(member.is_joining());
        self.ledger.charge(&member.client_host, member.unsettled_bytes());
        self.count(&member.protocols, 1);
        let other = self.by_id.insert(member.id.clone(), Box::new(member));
        assert!(other.is_none(), "an id is given once");
    }

    /// Takes a member out, or somebody who was to become one. Another one leads if need be.
    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        self.forget_pending(id);
        self.pending_sync.remove(id);
        let member = *self.by_id.remove(id)?;
        self.joining -= usize::from(member.is_joining());
        self.ledger.release(&member.client_host, member.unsettled_bytes());
        self.count(&member.protocols, -1);
        if let Some(instance_id) = &member.instance_id {
            self.by_instance.remove(instance_id);
        }
        if self.is_leader(id) {
            self.leader = self.by_id.keys().next().cloned();
        }
        Some(member)
    }

    /// A member has another id from now on, in all that it was.
    pub(super) fn rename(&mut self, id: &str, new_id: &str) {
        let (led, was_to_sync) = (self.is_leader(id), self.pending_sync.contains(id));
        let Some(mut member) = self.remove(id) else { return };
        new_id.clone_into(&mut member.id);
        self.add(member);
        if led {
            self.leader = Some(new_id.to_owned());
        }
        if was_to_sync {
            self.pending_sync.insert(new_id.to_owned());
        }
    }

    /// A member speaks these protocols from now on.
    pub(super) fn set_protocols(&mut self, id: &str, protocols: Vec<JoinGroupRequestProtocol>) {
        let Some(member) = self.by_id.get_mut(id) else { return };
        let protocols = owned(protocols);
        self.ledger.release(&member.client_host, member.unsettled_bytes());
        let old = std::mem::replace(&mut member.protocols, protocols.clone());
        self.ledger.charge(&member.client_host, member.unsettled_bytes());
        self.count(&old, -1);
        self.count(&protocols, 1);
    }

    /// A record has a member, with what that says in the words of `protocol`.
    pub(super) fn settle(&mut self, written: &MemberMetadata, protocol: &str) {
        let Some(member) = self.by_id.get_mut(&written.member_id) else { return };
        self.ledger.release(&member.client_host, member.unsettled_bytes());
        member.settle(protocol);
        self.ledger.charge(&member.client_host, member.unsettled_bytes());
    }

    /// A member waits to join; the wait that this one takes the place of comes back.
    pub(super) fn set_join(&mut self, id: &str, wait: JoinWait) -> Option<JoinWait> {
        let member = self.by_id.get_mut(id)?;
        let old = member.join.replace(wait);
        self.joining += usize::from(old.is_none());
        old
    }

    /// A member does not wait to join any longer.
    pub(super) fn take_join(&mut self, id: &str) -> Option<JoinWait> {
        let wait = self.by_id.get_mut(id)?.join.take();
        self.joining -= usize::from(wait.is_some());
        wait
    }

    /// The protocol that most members like best of those that all of them speak. Of equals the leader's dearest.
    pub(super) fn elect_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.iter() {
            let vote = member.protocol_names().find(|name| self.all_speak(name))?;
            *votes.entry(vote).or_default() += 1;
        }
        let most = votes.values().max().copied()?;
        let leader = self.leader.as_deref().and_then(|id| self.get(id)).or(self.iter().next())?;
        leader.protocol_names().find(|name| votes.get(name) == Some(&most)).map(str::to_owned)
    }

    fn count(&mut self, protocols: &[JoinGroupRequestProtocol], by: isize) {
        for name in names(protocols) {
            let speakers = self.speakers.entry(name.to_owned()).or_default();
            *speakers = speakers.saturating_add_signed(by);
            if *speakers == 0 {
                self.speakers.remove(name);
            }
        }
    }

    /// Whether the sums are what they should be; what is in no record, in bytes. For tests.
    #[cfg(test)]
    pub(super) fn check(&self) -> usize {
        assert_eq!(self.joining, self.iter().filter(|member| member.is_joining()).count());
        let unsettled: usize = self.iter().map(Member::unsettled_bytes).sum();
        let mut speakers: BTreeMap<String, usize> = BTreeMap::new();
        for name in self.iter().flat_map(Member::protocol_names) {
            *speakers.entry(name.to_owned()).or_default() += 1;
        }
        assert_eq!(speakers, self.speakers);
        let instances: BTreeMap<String, String> =
            self.iter().filter_map(|member| Some((member.instance_id.clone()?, member.id.clone()))).collect();
        assert_eq!(instances, self.by_instance);
        assert_eq!(self.leader.is_some(), !self.is_empty());
        assert!(self.leader().is_none_or(|leader| self.contains(leader)));
        assert!(self.pending_sync.iter().all(|id| self.contains(id)));
        self.pending_join.check(|id| self.contains(id));
        unsettled + self.pending_join.bytes()
    }
}
