//! Whom was asked what, and who may be asked again: at most one request in flight per peer.
//!
//! A response counts only if it answers the request in flight: what comes late, twice, or out of another role is dropped.

use std::collections::BTreeMap;

use ottla_protocol::time::{Deadline, Now};

use crate::message::Peer;

/// The links to all peers.
#[derive(Clone, Debug)]
pub struct Links {
    next: u64,
    timeout_us: u64,
    links: BTreeMap<Peer, Link>,
}

/// What a request was about, to be remembered until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A pre-vote.
    PreVote,
    /// A vote.
    Vote,
    /// The beginning of an epoch.
    Begin,
    /// The end of an epoch.
    End,
    /// A fetch.
    Fetch,
    /// A piece of a snapshot.
    Snapshot,
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    waiting: Option<Waiting>,
    resting_until_us: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    correlation: u64,
    about: About,
    until_us: u64,
}

impl Links {
    /// No requests yet; one that is not answered within `timeout_us` counts as lost.
    #[must_use]
    pub fn new(timeout_us: u64) -> Self {
        Self { next: 0, timeout_us, links: BTreeMap::new() }
    }

    /// When `peer` may be asked.
    #[must_use]
    pub fn free_at(&self, peer: Peer) -> Deadline {
        let link = self.links.get(&peer).copied().unwrap_or_default();
        Deadline(link.waiting.map_or(link.resting_until_us, |waiting| waiting.until_us))
    }

    /// When all requests in flight are answered or lost.
    #[must_use]
    pub fn all_free_at(&self) -> Deadline {
        Deadline(self.links.values().filter_map(|link| link.waiting).map(|w| w.until_us).max().unwrap_or(0))
    }

    /// Whether a request to `peer` was lost, or it failed and rests.
    #[must_use]
    pub fn is_doubtful(&self, peer: Peer, now: Now) -> bool {
        self.links.get(&peer).is_some_and(|link| match link.waiting {
            Some(waiting) => now.reached(Deadline(waiting.until_us)),
            None => !now.reached(Deadline(link.resting_until_us)),
        })
    }

    /// Puts a request to `peer` in flight and gives it its number.
    pub fn ask(&mut self, peer: Peer, about: About, now: Now) -> u64 {
        self.next += 1;
        let waiting = Waiting { correlation: self.next, about, until_us: now.monotonic_us + self.timeout_us };
        self.links.insert(peer, Link { waiting: Some(waiting), resting_until_us: 0 });
        self.next
    }

    /// Takes the request with this number out of flight; `None` if it is not there any more.
    pub fn answered(&mut self, peer: Peer, correlation: u64) -> Option<About> {
        let link = self.links.get_mut(&peer)?;
        let waiting = link.waiting.filter(|waiting| waiting.correlation == correlation)?;
        link.waiting = None;
        Some(waiting.about)
    }

    /// Leaves `peer` in peace until then.
    pub fn rest(&mut self, peer: Peer, until: Deadline) {
        let link = self.links.entry(peer).or_default();
        link.waiting = None;
        link.resting_until_us = until.0;
    }

    /// Forgets a lost request to `peer`, so that it may be asked again.
    pub fn forget(&mut self, peer: Peer) {
        self.links.remove(&peer);
    }

    /// Forgets everything: in a new role, old answers mean nothing.
    pub fn reset(&mut self) {
        self.links.clear();
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::NodeId;

    use super::*;

    #[test]
    fn only_the_request_in_flight_can_be_answered() {
        let now = Now::default();
        let peer = Peer::Node(NodeId(2));
        let mut links = Links::new(100);
        let first = links.ask(peer, About::PreVote, now);
        assert_eq!(links.free_at(peer), Deadline(100));
        links.reset();
        assert_eq!(links.answered(peer, first), None, "it belonged to another role");
        let second = links.ask(peer, About::Vote, now);
        assert_eq!(links.answered(peer, second), Some(About::Vote));
        assert_eq!(links.answered(peer, second), None, "it came twice");
    }

    #[test]
    fn a_peer_is_doubtful_when_it_was_silent_or_failed() {
        let peer = Peer::Bootstrap(0);
        let mut links = Links::new(100);
        links.ask(peer, About::Fetch, Now::default());
        assert!(!links.is_doubtful(peer, Now { monotonic_us: 99, wall_ms: 0 }));
        assert!(links.is_doubtful(peer, Now { monotonic_us: 100, wall_ms: 0 }));
        links.rest(peer, Deadline(300));
        assert!(links.is_doubtful(peer, Now { monotonic_us: 299, wall_ms: 0 }));
        assert!(!links.is_doubtful(peer, Now { monotonic_us: 300, wall_ms: 0 }));
    }
}
