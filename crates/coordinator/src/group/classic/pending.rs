//! Who has been given an id and has not come back with it yet (KIP-394). Kafka knows no bound; here the oldest is
//! forgotten for the newest when there are too many, so that clients that never come back keep nobody else out.

use std::collections::BTreeMap;

use ottla_protocol::Now;
use ottla_protocol::time::Deadline;

/// So many are remembered.
pub(super) const PENDING_MAX: usize = 10_000;

/// What one costs besides its id, about.
pub(super) const ENTRY_BYTES: usize = 100;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// With the end of its patience, and its place among those that came.
    by_id: BTreeMap<String, (Deadline, u64)>,
    by_place: BTreeMap<u64, String>,
    next: u64,
    /// Of the ids.
    letters: usize,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Remembers an id that is new, until `ends`.
    pub(super) fn insert(&mut self, id: String, ends: Deadline) {
        if self.by_id.len() >= PENDING_MAX
            && let Some(oldest) = self.by_place.first_entry().map(|oldest| oldest.get().clone())
        {
            self.remove(&oldest);
        }
        self.letters += id.len();
        self.by_place.insert(self.next, id.clone());
        let other = self.by_id.insert(id, (ends, self.next));
        assert!(other.is_none(), "an id is given once");
        self.next += 1;
    }

    /// Forgets one; whether it was there.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let Some((_, place)) = self.by_id.remove(id) else { return false };
        self.by_place.remove(&place);
        self.letters -= id.len();
        true
    }

    /// Forgets those whose patience is at its end; whether there were any.
    pub(super) fn expire(&mut self, now: Now) -> bool {
        let before = self.by_id.len();
        let (by_place, letters) = (&mut self.by_place, &mut self.letters);
        self.by_id.retain(|id, (ends, place)| {
            let stays = !now.reached(*ends);
            if !stays {
                by_place.remove(place);
                *letters -= id.len();
            }
            stays
        });
        self.by_id.len() < before
    }

    /// What they cost, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.by_id.len() * ENTRY_BYTES + 2 * self.letters
    }

    /// When each one's patience is at its end.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Deadline> {
        self.by_id.values().map(|&(ends, _)| ends)
    }

    /// Whether it is whole, and has none of these; for tests.
    #[cfg(test)]
    pub(super) fn check(&self, is_member: impl Fn(&str) -> bool) {
        assert!(self.by_id.keys().all(|id| !is_member(id)));
        assert_eq!(self.by_id.len(), self.by_place.len());
        assert_eq!(self.letters, self.by_id.keys().map(String::len).sum());
        assert!(self.by_id.iter().all(|(id, (_, place))| self.by_place.get(place) == Some(id)));
    }
}
