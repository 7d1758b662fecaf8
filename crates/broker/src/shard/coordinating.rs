//! The coordinators on a shard's partitions: made where this node comes to lead, loaded bit by bit, asked, kept abreast
//! of their log, and given up.
//!
//! Invariant: between steps, a coordinator that serves has applied its log to the end, whoever has written it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ottla_coordinator::{Around, group};
use ottla_metadata::Delta;
use ottla_partition::{Output, Partition};
use ottla_protocol::time::Deadline;
use ottla_protocol::{LeaderEpoch, Now, PartitionId, Refusal, Ticket};

use crate::coordinators::{Command, Coordinator, Effect, NOBODY, PartitionJournal, Reply};
use crate::shard::Shard;

/// How much of their logs coordinators read before the core does something else.
const LOADED_AT_ONCE: u32 = 256 * 1024;

/// See the module.
#[derive(Default)]
pub(super) struct Coordinators {
    by_partition: BTreeMap<PartitionId, Coordinator>,
    loading: BTreeSet<PartitionId>,
    /// Those whose log could not be read just now, and the epoch in which they begin anew.
    late: BTreeMap<PartitionId, LeaderEpoch>,
    /// The deadline of every coordinator that has one.
    alarms: BTreeSet<(Deadline, PartitionId)>,
    replies: VecDeque<(Ticket, Reply)>,
    effects: VecDeque<(PartitionId, Effect)>,
}

impl Coordinators {
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.alarms.first().map(|&(deadline, _)| deadline)
    }

    fn set_alarm(&mut self, id: PartitionId, from: Option<Deadline>, to: Option<Deadline>) {
        if from != to {
            if let Some(from) = from {
                self.alarms.remove(&(from, id));
            }
            self.alarms.extend(to.map(|to| (to, id)));
        }
    }
}

impl Shard {
    /// Asks the coordinator that stands on a partition; the reply comes through [`Shard::next_coordinated`].
    pub fn ask_coordinator(&mut self, around: Around<'_>, ticket: Ticket, id: PartitionId, command: Command) {
        let asked = self.with_coordinator(around.now, id, |coordinator, journal| {
            coordinator.ask(around, journal, ticket, command);
        });
        if !asked && ticket != NOBODY {
            let begins_again = self.coordinators.late.contains_key(&id);
            let refusal =
                if begins_again { Refusal::CoordinatorLoadInProgress } else { Refusal::NotCoordinator };
            self.coordinators.replies.push_back((ticket, Reply::Refused(refusal)));
        }
    }

    /// Takes a coordinator's reply that is due.
    pub fn next_coordinated(&mut self) -> Option<(Ticket, Reply)> {
        self.coordinators.replies.pop_front()
    }

    /// Takes something that a coordinator wants done, and on which partition it stands.
    pub fn next_effect(&mut self) -> Option<(PartitionId, Effect)> {
        self.coordinators.effects.pop_front()
    }

    /// Whether [`Shard::load_coordinators`] has something to do.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        !self.coordinators.loading.is_empty()
    }

    /// Reads on in the logs of coordinators that do not serve yet.
    pub fn load_coordinators(&mut self, around: Around<'_>) {
        let mut left = LOADED_AT_ONCE;
        while let Some(&id) = self.coordinators.loading.first() {
            if left == 0 {
                return;
            }
            let mut read = Reading::End;
            self.with_coordinator(around.now, id, |coordinator, journal| {
                read = read_on(coordinator, journal.partition, left, journal.out);
                if read == Reading::End {
                    coordinator.loaded(around, journal);
                }
            });
            match read {
                Reading::Some(bytes) => left = left.saturating_sub(bytes),
                Reading::End => {
                    self.coordinators.loading.remove(&id);
                }
                Reading::Later => self.begin_later(around.now, id),
                Reading::Failed => self.give_up(id),
            }
        }
    }

    /// Makes the coordinator of a partition that this node leads, unless it is there.
    pub(super) fn take_over(&mut self, id: PartitionId, epoch: LeaderEpoch) {
        if self.closing.is_some() {
            return;
        }
        // What was to begin anew in an earlier epoch does not.
        self.coordinators.late.remove(&id);
        match self.coordinators.by_partition.get(&id) {
            Some(coordinator) if coordinator.outlives(epoch) => return,
            Some(_) => self.give_up(id),
            None => {}
        }
        let Some(hosted) = self.hosted.get(&id).filter(|hosted| !hosted.partition.is_offline()) else {
            return;
        };
        let start = hosted.partition.log().start_offset();
        if let Some(coordinator) = Coordinator::on(&hosted.topic, id, epoch, &self.node, start) {
            tracing::debug!(topic = %hosted.topic, partition = id.index, "a coordinator begins to load");
            self.coordinators.by_partition.insert(id, coordinator);
            self.coordinators.loading.insert(id);
        }
    }

    /// Ends a coordinator for now: whatever is missing, it begins anew when that may be there.
    fn begin_later(&mut self, now: Now, id: PartitionId) {
        let Some(epoch) = self.coordinators.by_partition.get(&id).map(Coordinator::epoch) else { return };
        self.end(id, Refusal::CoordinatorLoadInProgress);
        self.coordinators.late.insert(id, epoch);
        self.look_later(now);
    }

    /// Begins anew with the coordinators that had to wait.
    pub(super) fn take_over_late(&mut self) {
        for (id, epoch) in std::mem::take(&mut self.coordinators.late) {
            self.take_over(id, epoch);
        }
    }

    /// Ends the coordinator of a partition, if there is one.
    pub(super) fn give_up(&mut self, id: PartitionId) {
        self.end(id, Refusal::NotCoordinator);
    }

    /// The same with what those are told who wait for it.
    fn end(&mut self, id: PartitionId, refusal: Refusal) {
        self.coordinators.late.remove(&id);
        self.coordinators.loading.remove(&id);
        let Some(coordinator) = self.coordinators.by_partition.remove(&id) else { return };
        self.coordinators.set_alarm(id, coordinator.alarm, None);
        self.coordinators.effects.retain(|&(of, _)| of != id);
        for ticket in coordinator.unload() {
            self.coordinators.replies.push_back((ticket, Reply::Refused(refusal)));
        }
    }

    /// Ends all of them: the node stops.
    pub(super) fn give_up_all(&mut self) {
        let ids: Vec<PartitionId> = self.coordinators.by_partition.keys().copied().collect();
        ids.into_iter().for_each(|id| self.give_up(id));
    }

    /// Carries out what time has brought.
    pub fn tick_coordinators(&mut self, around: Around<'_>) {
        let due = self.coordinators.alarms.iter().take_while(|&&(deadline, _)| around.now.reached(deadline));
        let due: Vec<PartitionId> = due.map(|&(_, id)| id).collect();
        for id in due {
            self.with_coordinator(around.now, id, |coordinator, journal| coordinator.tick(around, journal));
        }
    }

    /// Tells the group coordinators which topics are gone.
    pub fn forget_topics(&mut self, around: Around<'_>, delta: &Delta) {
        if delta.topics_deleted.is_empty() {
            return;
        }
        let gone = delta.topics_deleted.iter().map(|(&id, topic)| (id, String::from(&*topic.name)));
        let gone: Vec<_> = gone.collect();
        let groups: Vec<PartitionId> = self
            .coordinators
            .by_partition
            .iter()
            .filter(|(_, coordinator)| coordinator.has_groups())
            .map(|(&id, _)| id)
            .collect();
        for id in groups {
            let command = Command::Group(Box::new(group::Command::TopicsDeleted(gone.clone())), None);
            self.ask_coordinator(around, NOBODY, id, command);
        }
    }

    /// Lets a coordinator act on its partition; whether it is there.
    fn with_coordinator(
        &mut self,
        now: Now,
        id: PartitionId,
        act: impl FnOnce(&mut Coordinator, &mut PartitionJournal<'_>),
    ) -> bool {
        let Some(coordinator) = self.coordinators.by_partition.get_mut(&id) else { return false };
        let Some(hosted) = self.hosted.get_mut(&id) else { return false };
        let partition = &mut hosted.partition;
        let out = &mut self.outputs;
        let mut journal = PartitionJournal { now, topic: &hosted.topic, partition, out, guard: None };
        act(coordinator, &mut journal);
        let directory = hosted.directory;
        let ended = self.drain(id, directory);
        self.keep_abreast(now, id);
        if ended {
            self.ended(id);
        }
        true
    }

    /// Lets a coordinator know what has become of its partition, after every step of that.
    pub(super) fn keep_abreast(&mut self, now: Now, id: PartitionId) {
        if self.hosted.get(&id).is_some_and(|hosted| hosted.partition.wants_look()) {
            self.look_later(now);
        }
        let Some(coordinator) = self.coordinators.by_partition.get_mut(&id) else { return };
        let Some(hosted) = self.hosted.get_mut(&id) else { return };
        let partition = &mut hosted.partition;
        let mut read = if partition.is_offline() { Reading::Failed } else { Reading::End };
        if !coordinator.is_loading() && read == Reading::End {
            // Others write here, too: the ends of transactions.
            while coordinator.next() < partition.log().end_offset()
                && !matches!(read, Reading::Failed | Reading::Later)
            {
                read = read_on(coordinator, partition, LOADED_AT_ONCE, &mut self.outputs);
            }
            coordinator.advance(partition.high_watermark());
        }
        let mut effects = Vec::new();
        coordinator.drain(&mut self.coordinators.replies, &mut effects);
        self.coordinators.effects.extend(effects.into_iter().map(|effect| (id, effect)));
        let due = coordinator.deadline();
        let before = std::mem::replace(&mut coordinator.alarm, due);
        self.coordinators.set_alarm(id, before, due);
        let directory = hosted.directory;
        match read {
            Reading::Failed => self.give_up(id),
            Reading::Later => self.begin_later(now, id),
            Reading::Some(_) | Reading::End => {}
        }
        if self.drain(id, directory) {
            self.ended(id);
        }
    }
}

/// What a read in a coordinator's log has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// So many bytes were taken in, and there may be more.
    Some(u32),
    /// Everything is known.
    End,
    /// It cannot be read just now.
    Later,
    /// The coordinator cannot know its log.
    Failed,
}

fn read_on(
    coordinator: &mut Coordinator,
    partition: &mut Partition,
    max_bytes: u32,
    out: &mut Vec<Output>,
) -> Reading {
    let end = partition.log().end_offset();
    if coordinator.next() >= end {
        return Reading::End;
    }
    let stretch = match partition.read_for_coordinator(coordinator.next(), max_bytes, out) {
        Some(Ok(stretch)) => stretch,
        Some(Err(_)) => return Reading::Later,
        None => return Reading::Failed,
    };
    // Compaction may have taken what was last.
    let next = if stretch.batches.is_empty() { end } else { stretch.next };
    match coordinator.replay(&stretch.batches, next) {
        Ok(()) => Reading::Some(u32::try_from(stretch.batches.len()).unwrap_or(u32::MAX)),
        Err(error) => {
            tracing::error!(partition = %partition.id(), %error, "a coordinator cannot read its log");
            Reading::Failed
        }
    }
}

#[cfg(test)]
mod tests;
