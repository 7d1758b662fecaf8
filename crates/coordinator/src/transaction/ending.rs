//! Transactions whose end is decided: which partitions lack their marker, and when it is sent to them next.
//!
//! Soft state: after a change of leader all markers are sent again, and partitions take them twice without harm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_metadata::Image;
use ottla_protocol::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic};
use ottla_protocol::time::Deadline;
use ottla_protocol::{LeaderEpoch, NodeId, PartitionId, Refusal};

use super::command::{Effect, Markers, MarkersWritten};
use super::entry::{Entry, Partitions};
use super::record;
use super::state::State;
use super::{Decided, Transactions};
use crate::decider::{Around, Decision, Outcome, Producer};
use crate::mutant::Mutant;

/// How long after a partition could not take its marker it is asked again; twice as long after each time that markers were
/// sent, for a partition may be away for long.
const RETRY_MS: i64 = 100;

/// How often the pause between two attempts is doubled.
const DOUBLINGS_MAX: u32 = 5;

/// How long after a partition has refused this coordinator: either it is about to be deposed, or it never gets there.
const FENCED_MS: i64 = 5_000;

/// How long until the last record of a transaction is written again that could not be written.
const REWRITE_MS: i64 = 500;

/// At once.
const NOW: Deadline = Deadline(0);

/// See the module.
#[derive(Debug)]
pub struct Endings {
    by_id: BTreeMap<Arc<str>, Ending>,
    due: BTreeSet<(Deadline, Arc<str>)>,
    /// The number of the next ending: no coordinator of this partition has used it.
    next: u64,
}

#[derive(Debug)]
struct Ending {
    number: u64,
    /// Partitions without a marker, and when to send it.
    unmarked: BTreeMap<(String, i32), Deadline>,
    /// How often markers were sent.
    attempts: u32,
    /// When to look at this ending: no later than anything in it.
    due: Deadline,
}

impl Ending {
    /// How long until a marker is sent again that could not be written.
    fn pause_ms(&self) -> i64 {
        RETRY_MS << self.attempts.saturating_sub(1).min(DOUBLINGS_MAX)
    }
}

impl Endings {
    /// The endings of a coordinator of this epoch.
    #[must_use]
    pub fn new(epoch: LeaderEpoch) -> Self {
        let next = u64::try_from(epoch.0).unwrap_or(0) << 32;
        Self { by_id: BTreeMap::new(), due: BTreeSet::new(), next }
    }

    /// Markers are to be sent to these partitions.
    pub fn begin(&mut self, id: &Arc<str>, partitions: &Partitions) {
        self.finish(id);
        let unmarked = partitions.iter().map(|partition| (partition.clone(), NOW)).collect();
        let number = self.next;
        self.next += 1;
        self.by_id.insert(Arc::clone(id), Ending { number, unmarked, attempts: 0, due: NOW });
        self.due.insert((NOW, Arc::clone(id)));
    }

    /// The transaction has ended, or its end no longer matters.
    pub fn finish(&mut self, id: &Arc<str>) {
        if let Some(ending) = self.by_id.remove(id) {
            self.due.remove(&(ending.due, Arc::clone(id)));
        }
    }

    /// When there is something to send.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.due.first().map(|(deadline, _)| *deadline)
    }

    /// The partitions of an ending that lack their marker.
    #[must_use]
    pub fn unmarked(&self, id: &str) -> Option<Partitions> {
        self.by_id.get(id).map(|ending| ending.unmarked.keys().cloned().collect())
    }

    fn reschedule(&mut self, id: &Arc<str>, due: Deadline) {
        if let Some(ending) = self.by_id.get_mut(id) {
            self.due.remove(&(ending.due, Arc::clone(id)));
            ending.due = due;
            self.due.insert((due, Arc::clone(id)));
        }
    }
}

impl Transactions {
    /// Sends markers that are due, or writes the end of a transaction down that lacks none.
    pub(super) fn go_on_ending(&mut self, around: Around<'_>) -> Option<Decided> {
        loop {
            let (due, id) = self.endings.due.first()?;
            if !around.now.reached(*due) {
                return None;
            }
            let id = Arc::clone(id);
            let effects = self.send(around, &id);
            if let Some(records) = self.complete(around, &id) {
                return Some(Decision { records, ..Decision::nothing() });
            }
            if !effects.is_empty() {
                return Some(Decision { effects, ..Decision::nothing() });
            }
        }
    }

    /// Takes in what leaders have said to markers.
    pub(super) fn marked(&mut self, around: Around<'_>, written: MarkersWritten) -> Decided {
        let id: Arc<str> = Arc::from(written.transactional_id);
        let ending = self.endings.by_id.get_mut(&id).filter(|ending| ending.number == written.ending);
        let Some(ending) = ending else { return Decision::nothing() };
        let pause_ms = ending.pause_ms();
        for (topic, index, refusal) in written.partitions {
            let partition = (topic, index);
            if is_settled(&id, &partition, refusal) {
                ending.unmarked.remove(&partition);
            } else if let Some(due) = ending.unmarked.get_mut(&partition) {
                let fenced = refusal == Some(Refusal::TransactionCoordinatorFenced);
                *due = around.now.after_ms(if fenced { FENCED_MS } else { pause_ms });
            }
        }
        let due = ending.unmarked.values().copied().min().unwrap_or(NOW);
        self.endings.reschedule(&id, due);
        match self.complete(around, &id) {
            Some(records) => Decision { records, ..Decision::nothing() },
            None => Decision::nothing(),
        }
    }

    /// The last record could not be written: it is tried again.
    pub(super) fn rewrite(&mut self, around: Around<'_>, id: &Arc<str>) {
        self.endings.reschedule(id, around.now.after_ms(REWRITE_MS));
    }

    /// The end of a transaction, when no partition lacks its marker.
    fn complete(&mut self, around: Around<'_>, id: &Arc<str>) -> Option<Vec<record::Record>> {
        let ending = self.endings.by_id.get(id)?;
        let entry = self.entries.get(id)?;
        let State::Prepare(outcome) = entry.state else { return None };
        if !ending.unmarked.is_empty() && !self.planted.has(Mutant::MarkersUnawaited) {
            return None;
        }
        let completed = entry.completed(outcome, around.now.wall_ms);
        self.endings.reschedule(id, around.now.after_ms(REWRITE_MS));
        Some(vec![super::changed(around, id, completed)])
    }

    /// The markers of an ending that are due, grouped by leader. Partitions that are gone need none.
    fn send(&mut self, around: Around<'_>, id: &Arc<str>) -> Vec<Effect> {
        let (Some(ending), Some(entry)) = (self.endings.by_id.get_mut(id), self.entries.get(id)) else {
            return Vec::new();
        };
        let State::Prepare(outcome) = entry.state else { return Vec::new() };
        let number = ending.number;
        ending.attempts = ending.attempts.saturating_add(1);
        let pause_ms = ending.pause_ms();
        ending.unmarked.retain(|(topic, index), _| leader(around.image, topic, *index).is_some());
        let mut by_leader: BTreeMap<NodeId, Partitions> = BTreeMap::new();
        for ((topic, index), due) in &mut ending.unmarked {
            if !around.now.reached(*due) {
                continue;
            }
            let wait_ms = match leader(around.image, topic, *index).flatten() {
                Some(node) => {
                    by_leader.entry(node).or_default().insert((topic.clone(), *index));
                    self.settings.request_timeout_ms
                }
                None => pause_ms,
            };
            *due = around.now.after_ms(wait_ms);
        }
        let due = ending.unmarked.values().copied().min().unwrap_or(NOW);
        let coordinator_epoch = self.epoch.0;
        let markers = by_leader.into_iter().map(|(leader, partitions)| {
            let marker = marker(entry, outcome, coordinator_epoch, &partitions);
            let transactional_id = id.to_string();
            Effect::WriteMarkers(Markers { leader, transactional_id, ending: number, marker })
        });
        let effects = markers.collect();
        self.endings.reschedule(id, due);
        effects
    }
}

fn marker(
    entry: &Entry,
    outcome: Outcome,
    coordinator_epoch: i32,
    partitions: &Partitions,
) -> WritableTxnMarker {
    let Producer { id, epoch } = entry.producer;
    let topics = record::by_topic(partitions)
        .into_iter()
        .map(|topic| WritableTxnMarkerTopic { name: topic.topic, partition_indexes: topic.partition_ids });
    WritableTxnMarker {
        producer_id: id.0,
        producer_epoch: epoch.0,
        transaction_result: outcome == Outcome::Committed,
        topics: topics.collect(),
        coordinator_epoch,
        transaction_version: i8::try_from(entry.version.level()).unwrap_or(i8::MAX),
    }
}

/// The leader of a partition: outer `None` where there is no such partition, inner `None` where it has no leader.
#[expect(clippy::option_option, reason = "no partition and no leader are two things")]
pub(super) fn leader(image: &Image, topic: &str, index: i32) -> Option<Option<NodeId>> {
    let topic = image.topics.named(topic)?.id;
    Some(image.topics.partition(PartitionId { topic, index })?.leader)
}

/// Whether a partition needs no marker any more.
fn is_settled(id: &str, (topic, index): &(String, i32), refusal: Option<Refusal>) -> bool {
    match refusal {
        None => true,
        // No transactional data can be there.
        Some(Refusal::UnsupportedForMessageFormat | Refusal::UnsupportedVersion) => true,
        // A later epoch of the producer has been there: its coming has ended this transaction. Apache Kafka would
        // leave the transaction prepared until its coordinator moves.
        Some(Refusal::InvalidProducerEpoch) => {
            tracing::warn!(%id, %topic, index, "a partition knows a later epoch than the transaction that ends");
            true
        }
        Some(refusal) => {
            let refusal = refusal.name();
            tracing::debug!(%id, %topic, index, refusal, "a marker could not be written and is sent again");
            false
        }
    }
}
