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
    by_id: BTreeMap<String, Entry>,
    by_place: BTreeMap<u64, String>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    /// The end of its patience.
    ends: Deadline,
    /// Its place among those that came.
    place: u64,
    /// Who asked for it.
    host: String,
}

/// An id that has been forgotten: on which host it was asked for, and what it has cost, in bytes.
pub(super) type Forgotten = (String, usize);

/// What it costs to know an id, in bytes.
pub(super) fn cost(id: &str) -> usize {
    ENTRY_BYTES + 2 * id.len()
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Remembers an id that is new, until `ends`; another one may have to go for it.
    pub(super) fn insert(&mut self, id: String, host: String, ends: Deadline) -> Option<Forgotten> {
        let is_full = self.by_id.len() >= PENDING_MAX;
        let oldest = self.by_place.first_key_value().filter(|_| is_full).map(|(_, oldest)| oldest.clone());
        let forgotten = oldest.and_then(|oldest| self.remove(&oldest));
        self.by_place.insert(self.next, id.clone());
        let other = self.by_id.insert(id, Entry { ends, place: self.next, host });
        assert!(other.is_none(), "an id is given once");
        self.next += 1;
        forgotten
    }

    /// Forgets one, if it is there.
    pub(super) fn remove(&mut self, id: &str) -> Option<Forgotten> {
        let entry = self.by_id.remove(id)?;
        self.by_place.remove(&entry.place);
        Some((entry.host, cost(id)))
    }

    /// Forgets those whose patience is at its end.
    pub(super) fn expire(&mut self, now: Now) -> Vec<Forgotten> {
        let by_place = &mut self.by_place;
        let over = self.by_id.extract_if(.., |_, entry| now.reached(entry.ends));
        over.map(|(id, entry)| {
            by_place.remove(&entry.place);
            (entry.host, cost(&id))
        })
        .collect()
    }

    /// When each one's patience is at its end.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Deadline> {
        self.by_id.values().map(|entry| entry.ends)
    }

    /// Whether it is whole, and has none of these; for tests.
    #[cfg(test)]
    pub(super) fn check(&self, is_member: impl Fn(&str) -> bool) {
        assert!(self.by_id.keys().all(|id| !is_member(id)));
        assert_eq!(self.by_id.len(), self.by_place.len());
        assert!(self.by_id.iter().all(|(id, entry)| self.by_place.get(&entry.place) == Some(id)));
    }

    /// What all of them cost, in bytes; for tests.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.by_id.keys().map(|id| cost(id)).sum()
    }
}
