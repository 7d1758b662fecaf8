//! Replies of the controller that may not leave yet: first their records must be committed, then every core of this
//! node must have taken them in, so that whoever hears "done" finds it done everywhere.

use std::collections::{BTreeMap, VecDeque};

use ottla_controller::Reply;
use ottla_partition::Ticket;
use ottla_protocol::Offset;

use crate::core::CoreId;

/// Who waits for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A session of a core.
    Session(CoreId, Ticket),
    /// This node's own registration.
    Registration,
    /// This node's block of producer ids.
    ProducerIds,
    /// This node's word on where its partitions lie.
    Places,
    /// The controller itself.
    Nobody,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Pending {
    /// By rising offset: the end of what has to be committed, and to whom what is said.
    uncommitted: VecDeque<(Offset, Asker, Reply)>,
    /// Committed, waiting for the cores.
    unapplied: VecDeque<(Offset, Asker, Reply)>,
    /// What each core has taken in.
    applied: BTreeMap<CoreId, Offset>,
}

impl Pending {
    /// Waits for cores 0 to `cores` − 1.
    #[must_use]
    pub fn new(cores: u16) -> Self {
        let applied = (0..cores).map(|core| (CoreId(core), Offset(-1))).collect();
        Self { applied, ..Default::default() }
    }

    /// Holds a reply until everything below `end` is committed and applied.
    pub fn hold(&mut self, end: Offset, asker: Asker, reply: Reply) {
        debug_assert!(self.uncommitted.back().is_none_or(|(last, ..)| *last <= end));
        self.uncommitted.push_back((end, asker, reply));
    }

    /// Everything below `end` is committed.
    pub fn commit(&mut self, end: Offset) {
        while self.uncommitted.front().is_some_and(|(last, ..)| *last <= end) {
            self.unapplied.extend(self.uncommitted.pop_front());
        }
    }

    /// A core has taken in everything up to `offset`.
    pub fn apply(&mut self, core: CoreId, offset: Offset) {
        self.applied.insert(core, offset);
    }

    /// What every core has taken in.
    #[must_use]
    pub fn applied(&self) -> Offset {
        self.applied.values().copied().min().unwrap_or(Offset(-1))
    }

    /// Takes a reply that may leave. This node's own questions do not wait for its cores.
    pub fn next(&mut self) -> Option<(Asker, Reply)> {
        let applied = self.applied();
        let may_leave = |(offset, asker, _): &(Offset, Asker, Reply)| {
            offset.0 <= applied.0 + 1 || !matches!(asker, Asker::Session(..))
        };
        let place = self.unapplied.iter().position(may_leave)?;
        self.unapplied.remove(place).map(|(_, asker, reply)| (asker, reply))
    }

    /// Takes everything that will never be committed: this node no longer leads.
    pub fn take_uncommitted(&mut self) -> impl Iterator<Item = Asker> {
        std::mem::take(&mut self.uncommitted).into_iter().map(|(_, asker, _)| asker)
    }
}
