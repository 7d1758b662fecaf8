//! The way of one member to its target: it gives back first, then goes on to the target's epoch, and gets what others
//! have given back, piece by piece.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::Refusal;
use ottla_protocol::TopicId;
use ottla_protocol::messages::consumer_group_heartbeat::RequestTopicPartitions;

use super::Denied;
use super::member::{Member, MemberState, Owned};
use super::owners::Owners;
use crate::assign::Partitions;

/// What the next step depends on.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub target_epoch: i32,
    /// What the member shall have.
    pub target: &'a Partitions,
    /// Whether it has just said that it wants other topics.
    pub wish: Wish,
    /// The topics that it wants, sorted; nothing else is left to it or given to it.
    pub topics: &'a [TopicId],
    pub owners: &'a Owners,
    /// What it says that it has; `None` if it says nothing.
    pub reported: Option<&'a [RequestTopicPartitions]>,
}

/// Whether a member wants other topics than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    New,
    Unchanged,
}

/// What a member shall do next.
#[derive(Default)]
struct Next {
    keeps: Owned,
    gives_back: Owned,
    gets: BTreeMap<TopicId, Vec<i32>>,
    /// Whether something is still in the hands of others.
    waits: bool,
}

impl Step<'_> {
    /// The member after its next step; the same where there is none to take.
    pub(super) fn take(&self, member: &Member) -> Result<Member, Denied> {
        match member.state {
            MemberState::Stable if member.epoch != self.target_epoch => Ok(self.advance(member)),
            MemberState::Stable if self.wish == Wish::New => Ok(self.drop_unwanted(member)),
            MemberState::Stable => Ok(member.clone()),
            MemberState::UnrevokedPartitions if !self.still_has(&member.revoking) => Ok(self.advance(member)),
            MemberState::UnrevokedPartitions if self.wish == Wish::New => Ok(self.drop_unwanted(member)),
            MemberState::UnrevokedPartitions => Ok(member.clone()),
            MemberState::UnreleasedPartitions => Ok(self.advance(member)),
            MemberState::Unknown if self.reported.is_none_or(|reported| !reported.is_empty()) => {
                Err(Denied::new(
                    Refusal::FencedMemberEpoch,
                    "The consumer group member is in a unknown state. \
                     The member must abandon all its partitions and rejoin.",
                ))
            }
            MemberState::Unknown => {
                let started = Member { epoch: self.target_epoch, ..member.clone() };
                Ok(Member { previous_epoch: member.epoch, ..self.advance(&started) })
            }
        }
    }

    /// Whether the member may still have some of these: it says so, or it says nothing.
    fn still_has(&self, owned: &Owned) -> bool {
        let Some(reported) = self.reported else { return true };
        reported.iter().any(|topic| {
            let partitions = owned.get(&topic.topic_id);
            partitions.is_some_and(|owned| topic.partitions.iter().any(|number| owned.contains_key(number)))
        })
    }

    fn wants(&self, topic: TopicId) -> bool {
        self.topics.binary_search(&topic).is_ok()
    }

    /// Takes away at once what the member does not want any more, whatever the target says.
    fn drop_unwanted(&self, member: &Member) -> Member {
        let unwanted: Vec<TopicId> =
            member.assigned.keys().copied().filter(|topic| !self.wants(*topic)).collect();
        if unwanted.is_empty() {
            return member.clone();
        }
        let mut assigned = Owned::clone(&member.assigned);
        let mut revoking = Owned::clone(&member.revoking);
        for topic in unwanted {
            revoking.entry(topic).or_default().extend(assigned.remove(&topic).unwrap_or_default());
        }
        let mut next = member.clone();
        next.advance(member.epoch);
        next.assigned = Arc::new(assigned);
        if self.still_has(&revoking) {
            next.state = MemberState::UnrevokedPartitions;
            next.revoking = Arc::new(revoking);
        }
        next
    }

    /// Goes as far towards the target as others and the member itself allow.
    fn advance(&self, member: &Member) -> Member {
        let plan = self.next(member);
        let mut next = member.clone();
        if !plan.gives_back.is_empty() && self.still_has(&plan.gives_back) {
            next.advance(member.epoch);
            next.state = MemberState::UnrevokedPartitions;
            next.assigned = Arc::new(plan.keeps);
            next.revoking = Arc::new(plan.gives_back);
            return next;
        }
        let mut assigned = plan.keeps;
        for (topic, partitions) in plan.gets {
            let got = partitions.into_iter().map(|partition| (partition, self.target_epoch));
            assigned.entry(topic).or_default().extend(got);
        }
        next.advance(self.target_epoch);
        next.state = if plan.waits { MemberState::UnreleasedPartitions } else { MemberState::Stable };
        next.assigned = Arc::new(assigned);
        next.revoking = Arc::default();
        next
    }

    fn next(&self, member: &Member) -> Next {
        static NOTHING: BTreeSet<i32> = BTreeSet::new();
        static NONE: BTreeMap<i32, i32> = BTreeMap::new();
        let mut next = Next::default();
        let topics: BTreeSet<TopicId> = self.target.keys().chain(member.assigned.keys()).copied().collect();
        for topic in topics {
            let target = self.target.get(&topic).filter(|_| self.wants(topic)).unwrap_or(&NOTHING);
            let has = member.assigned.get(&topic).unwrap_or(&NONE);
            let own = member.revoking.get(&topic).unwrap_or(&NONE);
            let (keeps, gives_back): (BTreeMap<i32, i32>, BTreeMap<i32, i32>) = has
                .iter()
                .map(|(number, epoch)| (*number, *epoch))
                .partition(|(number, _)| target.contains(number));
            let missing = target.iter().copied().filter(|number| !keeps.contains_key(number));
            // What it has just given back itself is free for it.
            let is_free = |number: &i32| own.contains_key(number) || !self.owners.has(topic, *number);
            let (gets, waits): (Vec<i32>, Vec<i32>) = missing.partition(is_free);
            next.waits |= !waits.is_empty();
            if !keeps.is_empty() {
                next.keeps.insert(topic, keeps);
            }
            if !gives_back.is_empty() {
                next.gives_back.insert(topic, gives_back);
            }
            if !gets.is_empty() {
                next.gets.insert(topic, gets);
            }
        }
        next
    }
}
