//! What time brings: transactions past their timeout are aborted, ids unused for long are forgotten.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use ottla_protocol::Now;
use ottla_protocol::time::Deadline;

use super::command::Effect;
use super::record::Record;
use super::settings::Settings;
use super::{Decided, Transactions};
use crate::decider::{Around, Decision};
use crate::mutant::Mutant;

/// Ids that are forgotten with one batch.
const FORGOTTEN_AT_ONCE: usize = 500;

/// When a coordinator that has just loaded looks for what has timed out meanwhile: its clients come first, but it may not
/// live as long as the interval.
const FIRST_LOOK_MS: i64 = 1_000;

/// See the module. What is due is found at an interval and then taken one by one, so that whatever cannot be written
/// waits for the next time.
#[derive(Debug)]
pub struct Upkeep {
    /// Open transactions by the moment of their timeout, on the wall clock.
    open: BTreeSet<(i64, Arc<str>)>,
    next_abort: Deadline,
    timed_out: VecDeque<Arc<str>>,
    next_expiration: Deadline,
    expired: VecDeque<Arc<str>>,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            open: BTreeSet::new(),
            next_abort: Deadline(0),
            timed_out: VecDeque::new(),
            next_expiration: Deadline(0),
            expired: VecDeque::new(),
        }
    }
}

impl Upkeep {
    /// A transaction is open, and is to be aborted then.
    pub fn opened(&mut self, id: &Arc<str>, times_out_ms: i64) {
        self.open.insert((times_out_ms, Arc::clone(id)));
    }

    /// A transaction is no longer open, or has another timeout now.
    pub fn closed(&mut self, id: &Arc<str>, times_out_ms: i64) {
        self.open.remove(&(times_out_ms, Arc::clone(id)));
    }

    /// When there is something to look at.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        if !self.timed_out.is_empty() || !self.expired.is_empty() {
            return Some(Deadline(0));
        }
        let abort = (!self.open.is_empty()).then_some(self.next_abort);
        Some(abort.map_or(self.next_expiration, |abort| abort.min(self.next_expiration)))
    }
}

impl Transactions {
    /// From now on things are looked at.
    pub(super) fn begin_upkeep(&mut self, now: Now) {
        self.upkeep.next_abort = now.after_ms(self.settings.abort_interval_ms.min(FIRST_LOOK_MS));
        self.upkeep.next_expiration = now.after_ms(self.settings.expiration_interval_ms);
    }

    pub(super) fn keep_up(&mut self, around: Around<'_>) -> Option<Decided> {
        self.look(around.now);
        if let Some(decision) = self.abort_next(around) {
            return Some(decision);
        }
        self.forget_next(around.now)
    }

    fn look(&mut self, now: Now) {
        let Settings { abort_interval_ms, expiration_interval_ms, expiration_ms, .. } = self.settings;
        let upkeep = &mut self.upkeep;
        if now.reached(upkeep.next_abort) {
            upkeep.next_abort = now.after_ms(abort_interval_ms);
            let due = upkeep.open.iter().take_while(|(times_out_ms, _)| *times_out_ms < now.wall_ms);
            upkeep.timed_out = due.map(|(_, id)| Arc::clone(id)).collect();
        }
        if now.reached(upkeep.next_expiration) {
            upkeep.next_expiration = now.after_ms(expiration_interval_ms);
            let last = now.wall_ms.saturating_sub(expiration_ms);
            let due =
                self.entries.iter().filter(|(_, entry)| entry.state.may_expire() && entry.update_ms <= last);
            upkeep.expired = due.map(|(id, _)| Arc::clone(id)).collect();
        }
    }

    fn abort_next(&mut self, around: Around<'_>) -> Option<Decided> {
        while let Some(id) = self.upkeep.timed_out.pop_front() {
            if self.planted.has(Mutant::NoTimeout) {
                continue;
            }
            let times_out_ms = self.entries.get(&id).and_then(super::entry::Entry::times_out_ms);
            if times_out_ms.is_none_or(|times_out_ms| times_out_ms >= around.now.wall_ms) {
                continue;
            }
            tracing::info!(%id, "a transaction is aborted: it has been open for too long");
            return Some(match self.fence(around, &id) {
                Some(records) => Decision { records, ..Decision::nothing() },
                // The next look finds it again.
                None => Decision { effects: vec![Effect::ProducerId], ..Decision::nothing() },
            });
        }
        None
    }

    fn forget_next(&mut self, now: Now) -> Option<Decided> {
        let last = now.wall_ms.saturating_sub(self.settings.expiration_ms);
        let mut records = Vec::new();
        while records.len() < FORGOTTEN_AT_ONCE {
            let Some(id) = self.upkeep.expired.pop_front() else { break };
            let entry = self.entries.get(&id);
            if entry.is_some_and(|entry| entry.state.may_expire() && entry.update_ms <= last) {
                records.push(Record::Gone(id));
            }
        }
        (!records.is_empty()).then(|| Decision { records, ..Decision::nothing() })
    }
}
