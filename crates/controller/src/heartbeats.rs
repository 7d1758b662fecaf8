//! Who is alive: when each broker was last heard of, how far it has read, and what it may do next.
//!
//! Soft state of the active controller alone. A new one counts every unfenced broker as just heard of.

use std::collections::BTreeMap;

use ottla_metadata::{Broker, Image};
use ottla_protocol::messages::BrokerHeartbeatRequest;
use ottla_protocol::time::{Deadline, Now};
use ottla_protocol::{NodeId, Offset};

/// What a broker is in, or asks to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Fenced,
    Unfenced,
    /// Its leaderships are being moved away.
    LeavingInOrder,
    /// It may end now.
    MayStop,
}

impl Standing {
    pub fn is_fenced(self) -> bool {
        matches!(self, Self::Fenced | Self::MayStop)
    }
}

#[derive(Clone, Debug)]
struct Session {
    /// The registration the contact belongs to; heartbeats of older ones do not count.
    epoch: i64,
    last_contact_us: Option<u64>,
    metadata_offset: i64,
    /// Since when it is leaving: brokers must have read up to here before it may stop.
    leaving_since: Option<Offset>,
}

/// The sessions of all brokers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heartbeats {
    sessions: BTreeMap<NodeId, Session>,
    timeout_us: u64,
}

impl Heartbeats {
    /// Sessions of the brokers of an image, the unfenced ones heard of at `now`.
    pub fn new(image: &Image, timeout_ms: i64, now: Now) -> Self {
        let timeout_us = u64::try_from(timeout_ms).unwrap_or(0).saturating_mul(1000);
        let session = |broker: &Broker| Session {
            epoch: broker.epoch,
            last_contact_us: (!broker.fenced).then_some(now.monotonic_us),
            metadata_offset: -1,
            leaving_since: None,
        };
        let sessions = image.brokers.values().map(|broker| (broker.id, session(broker))).collect();
        Self { sessions, timeout_us }
    }

    /// Notes a heartbeat, before anything is decided about it.
    pub fn heard(&mut self, broker: NodeId, epoch: i64, now: Now) {
        if let Some(session) = self.sessions.get_mut(&broker).filter(|session| session.epoch == epoch) {
            session.last_contact_us = Some(now.monotonic_us);
        }
    }

    /// Whether this registration of the broker was heard of lately.
    pub fn is_alive(&self, broker: NodeId, epoch: i64, now: Now) -> bool {
        let session = self.sessions.get(&broker).filter(|session| session.epoch == epoch);
        session.and_then(|session| session.last_contact_us).is_some_and(|at| !self.is_over(at, now))
    }

    fn is_over(&self, contact_us: u64, now: Now) -> bool {
        now.monotonic_us > contact_us.saturating_add(self.timeout_us)
    }

    /// Begins a session for a registration; the same epoch keeps what is known.
    pub fn register(&mut self, broker: NodeId, epoch: i64) {
        if self.sessions.get(&broker).is_none_or(|session| session.epoch != epoch) {
            let session = Session { epoch, last_contact_us: None, metadata_offset: -1, leaving_since: None };
            self.sessions.insert(broker, session);
        }
    }

    pub fn forget(&mut self, broker: NodeId) {
        self.sessions.remove(&broker);
    }

    /// A broker whose time is up; it is not named again until it is heard of.
    pub fn take_expired(&mut self, now: Now) -> Option<(NodeId, i64)> {
        let over = |session: &Session| session.last_contact_us.is_some_and(|at| self.is_over(at, now));
        let id = self.sessions.iter().find(|(_, session)| over(session)).map(|(id, _)| *id)?;
        let session = self.sessions.get_mut(&id)?;
        session.last_contact_us = None;
        session.leaving_since = None;
        Some((id, session.epoch))
    }

    /// When the next broker's time is up.
    pub fn deadline(&self) -> Option<Deadline> {
        let contacts = self.sessions.values().filter_map(|session| session.last_contact_us);
        contacts.min().map(|at| Deadline(at.saturating_add(self.timeout_us).saturating_add(1)))
    }

    /// Where the broker stands now.
    pub fn standing(&self, broker: &Broker) -> Standing {
        let leaving = self.sessions.get(&broker.id).is_some_and(|session| session.leaving_since.is_some());
        match (leaving, broker.fenced) {
            (true, false) => Standing::LeavingInOrder,
            (_, true) => Standing::Fenced,
            (false, false) => Standing::Unfenced,
        }
    }

    /// Where the broker goes with this heartbeat. `registered_at` is the offset of its registration, which it must
    /// have read before it is unfenced; `leads` says whether it leads anything.
    pub fn next(
        &self,
        image: &Image,
        broker: &Broker,
        request: &BrokerHeartbeatRequest,
        registered_at: Offset,
        leads: impl Fn() -> bool,
    ) -> Standing {
        let current = self.standing(broker);
        // Who once began to leave comes back only with a new registration.
        let may_serve = !request.want_fence && !broker.in_controlled_shutdown;
        let caught_up = request.current_metadata_offset >= registered_at.0;
        match current {
            Standing::Fenced if request.want_shut_down => Standing::MayStop,
            Standing::Fenced if may_serve && caught_up => Standing::Unfenced,
            Standing::Fenced => Standing::Fenced,
            Standing::Unfenced if request.want_fence && !request.want_shut_down => Standing::Fenced,
            Standing::Unfenced if request.want_fence => Standing::MayStop,
            Standing::Unfenced if !request.want_shut_down => Standing::Unfenced,
            Standing::Unfenced if leads() => Standing::LeavingInOrder,
            Standing::Unfenced => Standing::MayStop,
            Standing::LeavingInOrder if leads() => Standing::LeavingInOrder,
            Standing::LeavingInOrder if self.everybody_knows(image, broker.id) => Standing::MayStop,
            Standing::LeavingInOrder | Standing::MayStop => current,
        }
    }

    /// Whether all brokers that stay have read what moved the leaderships away.
    fn everybody_knows(&self, image: &Image, leaving: NodeId) -> bool {
        let Some(since) = self.sessions.get(&leaving).and_then(|session| session.leaving_since) else {
            return false;
        };
        let stays =
            |(id, session): &(&NodeId, &Session)| session.leaving_since.is_none() && image.is_active(**id);
        self.sessions.iter().filter(stays).all(|(_, session)| session.metadata_offset >= since.0)
    }

    /// Notes what a heartbeat came to.
    pub fn settle(&mut self, broker: NodeId, standing: Standing, metadata_offset: i64, last_written: Offset) {
        let Some(session) = self.sessions.get_mut(&broker) else { return };
        session.metadata_offset = metadata_offset;
        match standing {
            Standing::Fenced | Standing::MayStop => {
                session.leaving_since = None;
                if standing == Standing::MayStop {
                    // KAFKA-19047: who may stop is gone, and its successor need not wait for the session to end.
                    session.last_contact_us = None;
                }
            }
            Standing::Unfenced => {}
            Standing::LeavingInOrder => {
                session.leaving_since.get_or_insert(last_written);
            }
        }
    }
}
