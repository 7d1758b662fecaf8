//! Assignors: who of a group shall read what (KIP-848, server side).
//!
//! An assignor is a function of the members, what they want and what they had. It moves no more than it must: what a
//! member had and may keep, it keeps. Racks play no part, as in Kafka 4.4. It never fails: topics that do not exist
//! are not in a [`Spec`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::TopicId;

mod range;
mod uniform;

/// Partitions by topic; no topic is without any.
pub type Partitions = BTreeMap<TopicId, BTreeSet<i32>>;

/// One of the assignors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// As even as can be over all topics, and sticky.
    Uniform,
    /// Each topic in ranges, by the order of the members: topics with equally many partitions are assigned alike.
    Range,
}

/// What an assignor is told.
#[derive(Debug)]
pub struct Spec<'a> {
    /// The members, in the order of their ids.
    pub members: Vec<MemberSpec<'a>>,
    /// Whether they all want the same.
    pub subscriptions: Subscriptions,
    /// How many partitions the wanted topics have; every topic that a member wants is here.
    pub partition_counts: BTreeMap<TopicId, i32>,
}

/// A member, as an assignor sees it.
#[derive(Clone, Debug)]
pub struct MemberSpec<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its static name (KIP-345).
    pub instance: Option<&'a str>,
    /// The topics it wants, sorted.
    pub topics: Arc<[TopicId]>,
    /// What it was to have until now.
    pub had: &'a Partitions,
}

/// Whether all members want the same topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscriptions {
    /// They do.
    Alike,
    /// Each for itself.
    Mixed,
}

impl Assignor {
    /// All of them; the first is the one that is taken by default.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// What clients call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The assignor of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// What each member shall have, in the order of the members; `None` for one that keeps what it had.
    #[must_use]
    pub fn assign(self, spec: &Spec<'_>) -> Vec<Option<Partitions>> {
        if spec.members.is_empty() {
            return Vec::new();
        }
        match (self, spec.subscriptions) {
            (Self::Uniform, Subscriptions::Alike) => uniform::alike::assign(spec),
            (Self::Uniform, Subscriptions::Mixed) => uniform::mixed::assign(spec),
            (Self::Range, _) => range::assign(spec),
        }
    }
}

impl Spec<'_> {
    fn partition_count(&self, topic: TopicId) -> usize {
        let count = self.partition_counts.get(&topic).copied().unwrap_or(0);
        usize::try_from(count).unwrap_or(0)
    }
}

/// `Some` where it differs from what the member had.
fn if_new(member: &MemberSpec<'_>, partitions: Partitions) -> Option<Partitions> {
    (*member.had != partitions).then_some(partitions)
}

/// The place of a partition in a table; numbers out of old records may be anything.
fn place(partition: i32) -> usize {
    usize::try_from(partition).unwrap_or(usize::MAX)
}

/// The partition at a place of a table.
fn number(place: usize) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
