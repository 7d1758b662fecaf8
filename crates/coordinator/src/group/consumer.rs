//! A consumer group (KIP-848): its members, what they want, what each shall have and what each has.
//!
//! What is written in the log is the [`Roster`] and changes by [`ConsumerGroup::apply`] alone; deadlines and what is
//! remembered of the topics are soft. Everything is decided upon a heartbeat, a request of a classic member, or a
//! deadline. No partition is ever given to a member before the one that had it has given it back.

use ottla_metadata::Image;
use ottla_protocol::messages::consumer_group_describe::DescribedGroup;
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Refusal, Ticket};

mod classic;
mod commit;
mod convert;
mod describe;
mod hash;
mod heartbeat;
mod leave;
pub(crate) mod member;
mod owners;
mod patterns;
mod reconcile;
mod request;
mod roster;
mod subscriptions;
mod target;
mod timers;
mod topics;

use timers::{Timer, Timers, What};
use topics::KnownTopics;

use super::any::{Group, GroupMap};
use super::command::Reply;
use super::migration::Downgrade;
use super::record::Record;
use super::scene::{Decided, Scene};
use super::settings::GroupSettings;
use crate::mutant::Mutant;
pub(crate) use request::heartbeat;
use roster::Roster;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerGroup {
    roster: Roster,
    timers: Timers,
    topics: KnownTopics,
    refresh: Refresh,
    /// Members that have come into being and may not have a session yet.
    unwatched: Vec<String>,
    /// It has been decided that the group ends as a classic one; that group takes this over when it is written.
    downgrade: Option<Downgrade>,
}

/// When the topics are looked at again though none has changed.
#[derive(Clone, Copy, Debug)]
struct Refresh {
    deadline: Deadline,
    /// The group's epoch after the last look; if it is still lower, that look was never written.
    epoch: i32,
}

impl Refresh {
    /// At once.
    const DUE: Self = Self { deadline: Deadline(0), epoch: 0 };
}

/// What has been decided: records, an answer, and whether the group ends as a classic one.
#[derive(Debug)]
pub(crate) struct Step<Answer> {
    pub records: Vec<Record>,
    pub answer: Answer,
    /// What the classic group that comes of the records has to know besides.
    pub downgrade: Option<Downgrade>,
}

/// No, and why, in words for the client's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub refusal: Refusal,
    pub message: String,
}

impl Denied {
    pub fn new(refusal: Refusal, message: impl Into<String>) -> Self {
        Self { refusal, message: message.into() }
    }
}

impl<Answer> Step<Answer> {
    /// Only records and an answer.
    pub fn write(records: Vec<Record>, answer: Answer) -> Self {
        Self { records, answer, downgrade: None }
    }
}

impl ConsumerGroup {
    /// A group without members.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            roster: Roster::new(id),
            timers: Timers::default(),
            topics: KnownTopics::default(),
            refresh: Refresh::DUE,
            unwatched: Vec::new(),
            downgrade: None,
        }
    }

    /// Takes in a record of this group, other than the tombstone of the group itself: with that the group is gone.
    /// Without a time it is an old record.
    fn apply(&mut self, now: Option<Now>, record: Record) {
        if let Record::ConsumerGroupMemberMetadata(key, value) = &record {
            if value.is_none() {
                self.timers.cancel_member(&key.member_id);
            } else if now.is_some() && !self.timers.is_set(&Timer::of(&key.member_id, What::Session)) {
                self.unwatched.push(key.member_id.clone());
            }
        }
        if let (Record::ConsumerGroupTargetAssignmentMetadata(_, Some(value)), Some(_)) = (&record, now) {
            tracing::info!(
                group = self.roster.id,
                epoch = value.assignment_epoch,
                members = self.roster.members.len(),
                "a consumer group has a new assignment"
            );
        }
        self.roster.apply(record);
        if self.roster.members.is_empty() {
            self.topics = KnownTopics::default();
        }
    }

    /// The log has been read: sessions begin.
    pub fn loaded(&mut self, scene: &Scene<'_>) {
        let session_timeout = self.session_timeout(scene);
        for member in self.roster.members.values() {
            self.timers.set(Timer::of(&member.id, What::Session), session_timeout);
            if member.state == member::MemberState::UnrevokedPartitions && member.classic().is_none() {
                let deadline = scene.now.after_ms(member.metadata.rebalance_timeout_ms.into());
                let timer = Timer::of(&member.id, What::Rebalance);
                self.timers.set_for_epoch(timer, deadline, member.epoch);
            }
        }
    }

    /// When [`ConsumerGroup::tick`] is to be asked.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        if self.unwatched.is_empty() { self.timers.next() } else { Some(Deadline(0)) }
    }

    /// Decides what time has brought; afterwards its deadline lies ahead, unless there is more to say.
    pub fn tick(&mut self, scene: &mut Scene<'_>) -> Decided {
        self.downgrade = None;
        self.watch(scene);
        while let Some((timer, epoch)) = self.timers.pop(scene.now) {
            let silent = timer.what == What::Session && scene.settings.planted.has(Mutant::SilentMembersStay);
            let step = match timer.what {
                _ if silent => None,
                What::Patterns => self.match_patterns(scene),
                what => self.give_up(scene, &timer.member, what, epoch),
            };
            if let Some(step) = step {
                return self.conclude(step, |()| Vec::new());
            }
        }
        Decided::nothing()
    }

    /// Members that came by another way than their own heartbeat get their sessions.
    fn watch(&mut self, scene: &Scene<'_>) {
        for id in std::mem::take(&mut self.unwatched) {
            let Some(member) = self.roster.members.get(&id) else { continue };
            let subscriptions = &self.roster.subscriptions;
            if member.pattern().is_some_and(|pattern| !subscriptions.matches.contains_key(pattern)) {
                self.timers.set_if_absent(Timer::patterns(), scene.now.after_ms(0));
            }
            let session = match member.classic() {
                Some(classic) => scene.now.after_ms(classic.session_timeout_ms.into()),
                None => self.session_timeout(scene),
            };
            self.timers.set_if_absent(Timer::of(&id, What::Session), session);
        }
    }

    fn session_timeout(&self, scene: &Scene<'_>) -> Deadline {
        let times = scene.settings.consumer_times(scene.image, &self.roster.id);
        scene.now.after_ms(times.session_timeout_ms.into())
    }

    /// Whether it has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roster.members.is_empty()
    }

    /// What it is at, as clients call it.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        self.roster.state().name()
    }

    /// What the classic group that takes this one's place has to know.
    #[must_use]
    pub fn take_downgrade(&mut self) -> Option<Downgrade> {
        self.downgrade.take()
    }

    /// The records that end the group.
    #[must_use]
    pub fn tombstones(&self) -> Vec<Record> {
        let mut records = Vec::new();
        self.roster.end(|id| id, &mut records);
        records
    }

    /// What is written in a step, with the answers; what is soft stays here until then.
    fn conclude<Answer>(
        &mut self,
        step: Step<Answer>,
        replies: impl FnOnce(Answer) -> Vec<(Ticket, Reply)>,
    ) -> Decided {
        self.downgrade = step.downgrade;
        Decided { records: step.records, replies: replies(step.answer), ..Decided::nothing() }
    }
}

/// Takes in a record of a consumer group; an old one while the log is read (then there is no time).
pub(crate) fn apply(groups: &mut GroupMap, now: Option<Now>, record: Record) {
    let name = record.group();
    let is_there = matches!(groups.get(name), Some(Group::Consumer(_)));
    if let Record::ConsumerGroupMetadata(_, None) = &record {
        // A group that ends as a classic one stays until that one comes, with the next record.
        if is_there && !matches!(groups.get(name), Some(Group::Consumer(group)) if group.downgrade.is_some())
        {
            groups.remove(name);
        }
        return;
    }
    if !is_there {
        if record.is_tombstone() {
            return;
        }
        // What was known by its offsets alone makes way.
        groups.insert(name.to_owned(), Group::Consumer(ConsumerGroup::new(name)));
    }
    if let Some(Group::Consumer(group)) = groups.get_mut(name) {
        group.apply(now, record);
    }
}

/// ConsumerGroupDescribe of one group.
pub(crate) fn describe(
    groups: &GroupMap,
    settings: &GroupSettings,
    image: &Image,
    name: String,
) -> DescribedGroup {
    let why = match groups.get(&name) {
        Some(Group::Consumer(group)) => return group.describe(settings, image),
        Some(Group::Classic(_)) => format!("Group {name} is not a consumer group."),
        None => format!("Group {name} not found."),
    };
    let error_code = Refusal::GroupIdNotFound.code();
    DescribedGroup { error_code, error_message: Some(why), group_id: name, ..Default::default() }
}
