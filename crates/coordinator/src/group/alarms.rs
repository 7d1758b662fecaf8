//! When each group wants to be asked again. A group without a deadline costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::Now;
use ottla_protocol::time::Deadline;

/// See the module. At most one alarm for each group.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    by_time: BTreeSet<(Deadline, Arc<str>)>,
    by_group: BTreeMap<Arc<str>, Deadline>,
}

impl Alarms {
    /// The group's alarm from now on; `None` for none.
    pub(super) fn set(&mut self, group: &str, deadline: Option<Deadline>) {
        let existing = self.by_group.get_key_value(group);
        if existing.map(|(_, deadline)| *deadline) == deadline {
            return;
        }
        let name = existing.map_or_else(|| Arc::from(group), |(name, _)| Arc::clone(name));
        if let Some(old) = self.by_group.remove(group) {
            self.by_time.remove(&(old, Arc::clone(&name)));
        }
        if let Some(deadline) = deadline {
            self.by_time.insert((deadline, Arc::clone(&name)));
            self.by_group.insert(name, deadline);
        }
    }

    /// The first alarm.
    pub(super) fn first(&self) -> Option<Deadline> {
        self.by_time.first().map(|(deadline, _)| *deadline)
    }

    /// Takes the first alarm away, if its time has come.
    pub(super) fn take_due(&mut self, now: Now) -> Option<Arc<str>> {
        let (_, group) = self.by_time.first().filter(|(deadline, _)| now.reached(*deadline))?.clone();
        self.set(&group, None);
        Some(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_goes_off_first_and_once() {
        let mut alarms = Alarms::default();
        alarms.set("a", Some(Deadline(30)));
        alarms.set("b", Some(Deadline(20)));
        alarms.set("a", Some(Deadline(10)));
        assert_eq!(alarms.first(), Some(Deadline(10)));
        let at = |monotonic_us| Now { monotonic_us, wall_ms: 0 };
        assert!(alarms.take_due(at(9)).is_none());
        assert_eq!(alarms.take_due(at(40)).as_deref(), Some("a"));
        assert_eq!(alarms.take_due(at(40)).as_deref(), Some("b"));
        assert!(alarms.take_due(at(40)).is_none());
        alarms.set("c", Some(Deadline(1)));
        alarms.set("c", None);
        assert_eq!(alarms.first(), None);
    }
}
