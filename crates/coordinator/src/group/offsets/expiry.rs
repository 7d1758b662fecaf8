//! Offsets that go by themselves, because nobody has cared for them for long enough (KIP-211).
//!
//! From time to time a [`Sweep`] goes through all groups, a bounded number of offsets at a time: what has expired gets a
//! tombstone, and an empty group that has no offsets left goes with them.

use std::ops::Bound;

use ottla_protocol::Now;
use ottla_protocol::time::Deadline;

use super::{Committed, CommittingGroup, Offsets};
use crate::group::record::Record;
use crate::mutant::Mutant;

/// So many tombstones share a batch; a look at the groups pauses there. They must fit into `max.message.bytes`.
pub const TOMBSTONES_AT_ONCE: usize = 1_000;

/// From when on a group's offsets grow old. An offset whose client has said when it ends ends then, unless `Never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// They do not: somebody reads here.
    Never,
    /// Each since it was committed.
    SinceCommit,
    /// All since the group became empty, at this time in ms.
    SinceEmpty(i64),
}

/// What a group has left when the expired offsets are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Offsets, or transactions that may bring some.
    Something,
    /// Nothing: the group goes too, if it is empty.
    Nothing,
    /// More that has expired than one batch should hold.
    More,
}

impl Expiry {
    fn has_expired(self, committed: &Committed, now_ms: i64, retention_ms: i64) -> bool {
        let since_ms = match self {
            Self::Never => return false,
            Self::SinceCommit => committed.commit_ms,
            Self::SinceEmpty(empty_ms) => empty_ms,
        };
        match committed.expire_ms() {
            Some(expire_ms) => now_ms >= expire_ms,
            None => now_ms.saturating_sub(since_ms) >= retention_ms,
        }
    }
}

impl Offsets {
    /// Adds tombstones for what has expired of a group, until there are [`TOMBSTONES_AT_ONCE`].
    pub fn expire(
        &self,
        now: Now,
        retention_ms: i64,
        (name, group): (&str, &dyn CommittingGroup),
        records: &mut Vec<Record>,
    ) -> Rest {
        let retention_ms = if self.planted.has(Mutant::OffsetsExpireAtOnce) { 0 } else { retention_ms };
        let sees_open = !self.planted.has(Mutant::ExpiryIgnoresTransactions);
        let Some(number) = self.groups.find(name) else { return Rest::Nothing };
        let expiry = group.expiry();
        let mut rest =
            if self.open_of_group(number).next().is_some() { Rest::Something } else { Rest::Nothing };
        let mut subscribed = None;
        for (place, committed) in self.of_group(number) {
            if records.len() >= TOMBSTONES_AT_ONCE {
                return Rest::More;
            }
            // The same topic stands in a row: it is asked for once.
            let is_subscribed = match subscribed {
                Some((topic, is_subscribed)) if topic == place.topic => is_subscribed,
                _ => expiry != Expiry::Never && group.is_subscribed_to(self.topics.name(place.topic)),
            };
            subscribed = Some((place.topic, is_subscribed));
            if !is_subscribed
                && expiry.has_expired(committed, now.wall_ms, retention_ms)
                && !(sees_open && self.is_open(*place))
            {
                records.push(self.tombstone(*place));
            } else {
                rest = Rest::Something;
            }
        }
        rest
    }
}

/// When to look for expired offsets, and how far the present look has come.
#[derive(Clone, Debug)]
pub struct Sweep {
    every_ms: i64,
    next: Option<Deadline>,
    /// Where the present look goes on.
    from: Bound<String>,
}

impl Sweep {
    /// Looks every `offsets.retention.check.interval.ms`, for the first time after one interval.
    #[must_use]
    pub fn new(every_ms: i64) -> Self {
        Self { every_ms, next: None, from: Bound::Unbounded }
    }

    /// Begins to count; called when the log has been loaded.
    pub fn begin(&mut self, now: Now) {
        self.from = Bound::Unbounded;
        self.next = Some(now.after_ms(self.every_ms));
    }

    /// When the next look, or the next part of one, is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.next
    }

    /// Where to go on, if it is time: with the groups whose names come behind this bound.
    #[must_use]
    pub fn due(&self, now: Now) -> Option<Bound<String>> {
        self.next.is_some_and(|next| now.reached(next)).then(|| self.from.clone())
    }

    /// This part of the look is over, and the next begins here. A group that is not finished is looked at again.
    pub fn pause(&mut self, from: Bound<String>) {
        self.from = from;
    }

    /// All groups have been looked at.
    pub fn done(&mut self, now: Now) {
        self.begin(now);
    }
}
