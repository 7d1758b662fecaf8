//! Deadlines of a consumer group: which member is given up when, and when the patterns are to be looked at again.
//!
//! A deadline that moves back, as a session's does with every heartbeat, costs one look-up: it stays in the queue where
//! it was and is put in its right place when it comes to the front.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::Now;
use ottla_protocol::time::Deadline;

/// What a deadline is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    /// The member; empty for what concerns the whole group.
    pub member: String,
    /// What happens then.
    pub what: What,
}

/// What happens at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// The member has been silent for too long.
    Session,
    /// The member was to give partitions back while it is in one epoch.
    Rebalance,
    /// A classic member was to join again.
    Join,
    /// A classic member was to ask for its assignment.
    Sync,
    /// The group's patterns are to be matched with the topics.
    Patterns,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    entries: BTreeMap<Timer, Entry>,
    /// By the deadline at which the entry is looked at; never later than the one that counts.
    queue: BTreeSet<(Deadline, Timer)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: Deadline,
    queued: Deadline,
    /// The member's epoch that [`What::Rebalance`] is about.
    epoch: i32,
}

impl What {
    /// What the member has not done in time.
    pub(super) fn missed(self) -> &'static str {
        match self {
            Self::Session => "it was silent for too long",
            Self::Rebalance => "it did not give partitions back in time",
            Self::Join => "it did not rejoin in time",
            Self::Sync => "it did not sync in time",
            Self::Patterns => "the group's patterns are to be matched",
        }
    }
}

impl Timer {
    /// A member's.
    pub(super) fn of(member: &str, what: What) -> Self {
        Self { member: member.to_owned(), what }
    }

    /// The group's.
    pub(super) fn patterns() -> Self {
        Self::of("", What::Patterns)
    }
}

impl Timers {
    /// Sets a deadline anew, whether there is one or not.
    pub(super) fn set(&mut self, timer: Timer, deadline: Deadline) {
        self.set_for_epoch(timer, deadline, 0);
    }

    /// The same, for a member in one epoch.
    pub(super) fn set_for_epoch(&mut self, timer: Timer, deadline: Deadline, epoch: i32) {
        if let Some(entry) = self.entries.get_mut(&timer) {
            entry.deadline = deadline;
            entry.epoch = epoch;
            if entry.queued <= deadline {
                return;
            }
            let queued = std::mem::replace(&mut entry.queued, deadline);
            self.queue.remove(&(queued, timer.clone()));
        } else {
            self.entries.insert(timer.clone(), Entry { deadline, queued: deadline, epoch });
        }
        self.queue.insert((deadline, timer));
    }

    /// Sets a deadline if there is none.
    pub(super) fn set_if_absent(&mut self, timer: Timer, deadline: Deadline) {
        if !self.is_set(&timer) {
            self.set(timer, deadline);
        }
    }

    /// Whether there is such a deadline.
    pub(super) fn is_set(&self, timer: &Timer) -> bool {
        self.entries.contains_key(timer)
    }

    /// Gives a deadline up.
    pub(super) fn cancel(&mut self, timer: &Timer) {
        if let Some(entry) = self.entries.remove(timer) {
            self.queue.remove(&(entry.queued, timer.clone()));
        }
    }

    /// Gives up all that concerns a member.
    pub(super) fn cancel_member(&mut self, member: &str) {
        for what in [What::Session, What::Rebalance, What::Join, What::Sync] {
            self.cancel(&Timer::of(member, what));
        }
    }

    /// When to look again; it may be that nothing is due then.
    pub(super) fn next(&self) -> Option<Deadline> {
        self.queue.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out what is due, with the epoch it was set for.
    pub(super) fn pop(&mut self, now: Now) -> Option<(Timer, i32)> {
        loop {
            let (queued, _) = self.queue.first()?;
            if !now.reached(*queued) {
                return None;
            }
            let (_, timer) = self.queue.pop_first()?;
            let Some(entry) = self.entries.get_mut(&timer) else { continue };
            if now.reached(entry.deadline) {
                let epoch = entry.epoch;
                self.entries.remove(&timer);
                return Some((timer, epoch));
            }
            entry.queued = entry.deadline;
            self.queue.insert((entry.deadline, timer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { monotonic_us: ms * 1000, wall_ms: 0 }
    }

    fn deadline(ms: u64) -> Deadline {
        Deadline(ms * 1000)
    }

    #[test]
    fn deadlines_come_in_their_order_and_once() {
        let mut timers = Timers::default();
        let [a, b] = ["a", "b"].map(|member| Timer::of(member, What::Session));
        timers.set(a.clone(), deadline(20));
        timers.set_for_epoch(b.clone(), deadline(10), 7);
        assert_eq!(timers.next(), Some(deadline(10)));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.pop(at(30)), Some((b, 7)));
        assert_eq!(timers.pop(at(30)), Some((a, 0)));
        assert_eq!((timers.pop(at(30)), timers.next()), (None, None));
    }

    #[test]
    fn a_deadline_moves_back_and_forth() {
        let mut timers = Timers::default();
        let timer = Timer::of("a", What::Session);
        timers.set(timer.clone(), deadline(10));
        timers.set(timer.clone(), deadline(30));
        assert_eq!(timers.pop(at(15)), None, "it has moved back");
        assert_eq!(timers.next(), Some(deadline(30)));
        timers.set(timer.clone(), deadline(20));
        assert_eq!(timers.next(), Some(deadline(20)), "it has moved forth");
        timers.set_if_absent(timer.clone(), deadline(5));
        assert_eq!(timers.pop(at(19)), None);
        assert_eq!(timers.pop(at(20)), Some((timer, 0)));
        assert_eq!(timers.pop(at(50)), None);
    }

    #[test]
    fn what_is_given_up_does_not_come() {
        let mut timers = Timers::default();
        for what in [What::Session, What::Rebalance, What::Join, What::Sync] {
            timers.set(Timer::of("a", what), deadline(10));
        }
        timers.set(Timer::patterns(), deadline(10));
        timers.cancel_member("a");
        assert_eq!(timers.pop(at(10)), Some((Timer::patterns(), 0)));
        assert_eq!(timers.pop(at(10)), None);
    }
}
