//! What a broker's or a directory's fate means for the partitions on it.

use std::collections::BTreeMap;

use ottla_metadata::Partition;
use ottla_protocol::records::metadata::{MetadataRecord, PartitionChangeRecord};
use ottla_protocol::{NodeId, PartitionId, TopicId, Uuid};

use super::change::{Change, Election, Surroundings};
use crate::view::View;

/// Whose fate changed. The image still shows the broker as it was.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// It may not lead and is not in sync any more.
    removed: Option<NodeId>,
    /// It may lead from now on.
    added: Option<NodeId>,
    /// It may have lost records: it is neither in sync nor eligible.
    unclean: Option<NodeId>,
}

/// The broker is fenced, stops in order, or is unregistered: it leaves every in-sync set.
pub(crate) fn broker_leaves(view: &View, broker: NodeId, records: &mut Vec<MetadataRecord>) {
    let fate = Fate { removed: Some(broker), ..Fate::default() };
    update(view, fate, |partition| partition.isr.contains(&broker), records);
}

/// The broker is unregistered: nobody may wait for it any more.
pub(crate) fn broker_leaves_elr(view: &View, broker: NodeId, records: &mut Vec<MetadataRecord>) {
    let fate = Fate { removed: Some(broker), ..Fate::default() };
    update(view, fate, |partition| partition.elr.contains(&broker), records);
}

/// The broker is unfenced: partitions without a leader may have one again.
pub(crate) fn broker_unfenced(view: &View, broker: NodeId, records: &mut Vec<MetadataRecord>) {
    let fate = Fate { added: Some(broker), ..Fate::default() };
    update(view, fate, |partition| partition.leader.is_none(), records);
}

/// How a broker's last process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// Everything it acknowledged is on its disk.
    Clean,
    /// Nobody knows.
    Unclean,
}

/// The broker has come back as another process. If it did not stop cleanly, it may have lost what was not on disk.
pub(crate) fn broker_shut_down(
    view: &View,
    broker: NodeId,
    shutdown: Shutdown,
    records: &mut Vec<MetadataRecord>,
) {
    if !view.has_elr() || shutdown == Shutdown::Clean {
        return broker_leaves(view, broker, records);
    }
    let fate = Fate { unclean: Some(broker), ..Fate::default() };
    update(view, fate, |partition| partition.isr.contains(&broker), records);
    update(view, fate, |partition| partition.elr.contains(&broker), records);
}

/// A directory of the broker failed.
pub(crate) fn directory_failed(
    view: &View,
    broker: NodeId,
    directory: Uuid,
    records: &mut Vec<MetadataRecord>,
) {
    let fate = Fate { removed: Some(broker), ..Fate::default() };
    update(view, fate, |partition| partition.directories.contains(&directory), records);
}

/// The broker put replicas into a directory that does not work.
pub(crate) fn replicas_lost(
    view: &View,
    broker: NodeId,
    partitions: &[PartitionId],
    records: &mut Vec<MetadataRecord>,
) {
    let fate = Fate { removed: Some(broker), ..Fate::default() };
    let mut topics = Topics::new(view);
    for id in partitions {
        if let Some(partition) = view.image.topics.partition(*id) {
            records.extend(follow(&mut topics, fate, *id, partition).map(MetadataRecord::from));
        }
    }
}

fn update(view: &View, fate: Fate, concerns: impl Fn(&Partition) -> bool, records: &mut Vec<MetadataRecord>) {
    let mut topics = Topics::new(view);
    for (id, partition) in view.image.topics.all_partitions() {
        if concerns(partition) {
            records.extend(follow(&mut topics, fate, id, partition).map(MetadataRecord::from));
        }
    }
}

/// What topics say of themselves, looked up once.
struct Topics<'a> {
    view: &'a View,
    known: BTreeMap<TopicId, (usize, bool)>,
}

impl<'a> Topics<'a> {
    fn new(view: &'a View) -> Self {
        Self { view, known: BTreeMap::new() }
    }

    /// How many replicas must be in sync, and whether unclean leaders are allowed.
    fn rules(&mut self, id: TopicId) -> (usize, bool) {
        let view = self.view;
        *self.known.entry(id).or_insert_with(|| {
            let name = view.image.topics.get(id).map_or("", |topic| &topic.name);
            (view.min_isr(name, usize::MAX), view.allows_unclean(name))
        })
    }
}

fn follow(
    topics: &mut Topics<'_>,
    fate: Fate,
    id: PartitionId,
    partition: &Partition,
) -> Option<PartitionChangeRecord> {
    let view = topics.view;
    let (min_isr, allows_unclean) = topics.rules(id.topic);
    let acceptable = |broker: NodeId| {
        let out = fate.removed == Some(broker) || fate.unclean == Some(broker);
        let fit = fate.added == Some(broker) || view.is_active(broker);
        !out && fit && view.has_online_replica(broker, partition)
    };
    let around = Surroundings {
        view,
        min_isr: min_isr.min(partition.replicas.len()),
        acceptable: &acceptable,
        default_directory: &|broker| view.default_directory(broker),
    };
    let mut change = Change::new(id, partition, &around);
    if allows_unclean {
        change.election = Election::Unclean;
    }
    change.unclean_shutdown = fate.unclean;
    change.isr.retain(|replica| fate.removed != Some(*replica) && fate.unclean != Some(*replica));
    change.build()
}
