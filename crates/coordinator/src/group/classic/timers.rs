//! When a classic group does something by itself. The ends of sessions are kept by the members.

use ottla_protocol::time::Deadline;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Timers {
    join: Option<JoinPhase>,
    /// When those who have not asked for their assignment are taken out.
    sync: Option<Deadline>,
    /// Nothing happens before this, neither here nor in the members.
    soonest: Option<Deadline>,
}

/// How long members are awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinPhase {
    /// A group begins: whoever comes while it waits makes it wait again, until nothing remains.
    Initial { until: Deadline, delay_ms: i64, remaining_ms: i64, more_came: bool },
    /// Every other time.
    Rebalance { until: Deadline },
}

impl JoinPhase {
    pub(super) fn until(self) -> Deadline {
        match self {
            Self::Initial { until, .. } | Self::Rebalance { until } => until,
        }
    }
}

impl Timers {
    pub(super) fn join(&self) -> Option<JoinPhase> {
        self.join
    }

    pub(super) fn sync(&self) -> Option<Deadline> {
        self.sync
    }

    pub(super) fn soonest(&self) -> Option<Deadline> {
        self.soonest
    }

    pub(super) fn set_join(&mut self, phase: Option<JoinPhase>) {
        self.join = phase;
        if let Some(phase) = phase {
            self.note(phase.until());
        }
    }

    /// Somebody came while a group begins.
    pub(super) fn more_came(&mut self) {
        if let Some(JoinPhase::Initial { more_came, .. }) = &mut self.join {
            *more_came = true;
        }
    }

    pub(super) fn set_sync(&mut self, until: Option<Deadline>) {
        self.sync = until;
        if let Some(until) = until {
            self.note(until);
        }
    }

    /// Something happens at this time, here or in a member.
    pub(super) fn note(&mut self, deadline: Deadline) {
        self.soonest = Some(self.soonest.map_or(deadline, |soonest| soonest.min(deadline)));
    }

    /// These are the deadlines of all members; those that were noted and came to nothing are forgotten.
    pub(super) fn settle(&mut self, members: impl Iterator<Item = Deadline>) {
        let own = [self.join.map(JoinPhase::until), self.sync];
        self.soonest = members.chain(own.into_iter().flatten()).min();
    }
}
