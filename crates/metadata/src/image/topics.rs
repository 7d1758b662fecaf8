//! Topics by name and id, and their partitions.
//!
//! All partitions of all topics are in one ordered map: a topic with one partition costs no map of its own.

use std::sync::Arc;

use imbl::OrdMap;
use ottla_protocol::records::metadata::{PartitionChangeRecord, PartitionRecord};
use ottla_protocol::{LeaderEpoch, NodeId, PartitionId, TopicId, Uuid};

use crate::directory;

mod changes;

pub use changes::Changes;

/// Whether a leader has caught up with the world after an unclean election (KIP-704).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// It has, or never had to.
    Recovered,
    /// It leads though it was not in sync, and has not yet said that it is done.
    Recovering,
}

impl Recovery {
    /// The number in records and requests.
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            Self::Recovered => 0,
            Self::Recovering => 1,
        }
    }

    /// The state of this number.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its replicas, the preferred leader first.
    pub replicas: Box<[NodeId]>,
    /// The directory of each replica, in the order of the replicas.
    pub directories: Box<[Uuid]>,
    /// The replicas in sync.
    pub isr: Box<[NodeId]>,
    /// Replicas a reassignment takes away when it completes.
    pub removing: Box<[NodeId]>,
    /// Replicas a reassignment adds.
    pub adding: Box<[NodeId]>,
    /// Eligible leader replicas: not in sync, yet they have every committed record (KIP-966).
    pub elr: Box<[NodeId]>,
    /// While there is no leader, the last one.
    pub last_known_elr: Box<[NodeId]>,
    /// The leader.
    pub leader: Option<NodeId>,
    /// Whether the leader has recovered from an unclean election.
    pub recovery: Recovery,
    /// Counts leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts changes.
    pub partition_epoch: i32,
}

/// Ids of nodes out of numbers.
#[must_use]
pub fn nodes(ids: &[i32]) -> Box<[NodeId]> {
    ids.iter().map(|id| NodeId(*id)).collect()
}

/// Numbers out of ids of nodes.
#[must_use]
pub fn numbers(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

/// The leader of a number; −1 is none.
fn leader(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(NodeId(id))
}

impl Partition {
    /// Whether the preferred replica leads.
    #[must_use]
    pub fn has_preferred_leader(&self) -> bool {
        self.leader.is_some() && self.leader == self.replicas.first().copied()
    }

    /// Whether replicas are being exchanged.
    #[must_use]
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The directory of a replica; "unassigned" where the broker has none.
    #[must_use]
    pub fn directory(&self, broker: NodeId) -> Uuid {
        let at = self.replicas.iter().position(|replica| *replica == broker);
        at.and_then(|at| self.directories.get(at)).copied().unwrap_or(directory::UNASSIGNED)
    }

    /// The partition of a record.
    ///
    /// # Errors
    /// If the record contradicts itself.
    pub fn from_record(record: &PartitionRecord) -> Result<Self, &'static str> {
        let recovery =
            Recovery::from_code(record.leader_recovery_state).ok_or("unknown leader recovery state")?;
        let directories = match record.directories.len() {
            0 => vec![directory::MIGRATING; record.replicas.len()],
            count if count == record.replicas.len() => record.directories.clone(),
            _ => return Err("as many directories as replicas are needed"),
        };
        Ok(Self {
            replicas: nodes(&record.replicas),
            directories: directories.into(),
            isr: nodes(&record.isr),
            removing: nodes(&record.removing_replicas),
            adding: nodes(&record.adding_replicas),
            elr: nodes(record.eligible_leader_replicas.as_deref().unwrap_or(&[])),
            last_known_elr: nodes(record.last_known_elr.as_deref().unwrap_or(&[])),
            leader: leader(record.leader),
            recovery,
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: record.partition_epoch,
        })
    }

    /// The record that makes this partition.
    #[must_use]
    pub fn to_record(&self, id: PartitionId) -> PartitionRecord {
        let some = |nodes: &[NodeId]| (!nodes.is_empty()).then(|| numbers(nodes));
        PartitionRecord {
            partition_id: id.index,
            topic_id: id.topic,
            replicas: numbers(&self.replicas),
            isr: numbers(&self.isr),
            removing_replicas: numbers(&self.removing),
            adding_replicas: numbers(&self.adding),
            leader: self.leader.map_or(-1, |node| node.0),
            leader_recovery_state: self.recovery.code(),
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch,
            directories: self.directories.to_vec(),
            eligible_leader_replicas: some(&self.elr),
            last_known_elr: some(&self.last_known_elr),
        }
    }

    /// The partition after a change. A leader in the change, even the same one, begins a new leader epoch.
    ///
    /// # Errors
    /// If the change contradicts itself.
    pub fn merge(&self, change: &PartitionChangeRecord) -> Result<Self, &'static str> {
        let mut next = self.clone();
        let or = |new: &Option<Vec<i32>>, old: &[NodeId]| new.as_deref().map_or_else(|| old.into(), nodes);
        next.replicas = or(&change.replicas, &self.replicas);
        next.directories = match &change.directories {
            Some(directories) if directories.len() == next.replicas.len() => directories.as_slice().into(),
            Some(directories) if directories.is_empty() => {
                vec![directory::MIGRATING; next.replicas.len()].into()
            }
            Some(_) => return Err("as many directories as replicas are needed"),
            // KAFKA-16583: replicas without directories keep the ones that are known.
            None => next.replicas.iter().map(|replica| self.directory(*replica)).collect(),
        };
        next.isr = or(&change.isr, &self.isr);
        next.removing = or(&change.removing_replicas, &self.removing);
        next.adding = or(&change.adding_replicas, &self.adding);
        next.elr = or(&change.eligible_leader_replicas, &self.elr);
        next.last_known_elr = or(&change.last_known_elr, &self.last_known_elr);
        if change.leader != NO_LEADER_CHANGE {
            next.leader = leader(change.leader);
            next.leader_epoch =
                LeaderEpoch(self.leader_epoch.0.checked_add(1).ok_or("leader epochs are used up")?);
        }
        if change.leader_recovery_state != -1 {
            next.recovery =
                Recovery::from_code(change.leader_recovery_state).ok_or("unknown leader recovery state")?;
        }
        next.partition_epoch = self.partition_epoch.checked_add(1).ok_or("partition epochs are used up")?;
        Ok(next)
    }
}

/// "The leader does not change", in the leader field of a change.
pub const NO_LEADER_CHANGE: i32 = -2;

/// A topic, without its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions it has.
    pub partition_count: i32,
}

/// All topics. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topics {
    by_id: OrdMap<TopicId, Arc<Topic>>,
    by_name: OrdMap<Arc<str>, TopicId>,
    partitions: OrdMap<PartitionId, Arc<Partition>>,
}

impl Topics {
    /// The topic of this id.
    #[must_use]
    pub fn get(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// The topic of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name).and_then(|id| self.by_id.get(id))
    }

    /// A partition.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Arc<Partition>> {
        self.partitions.get(&id)
    }

    /// A topic's partitions, by number.
    pub fn partitions(&self, topic: TopicId) -> impl Iterator<Item = (PartitionId, &Arc<Partition>)> {
        let first = PartitionId { topic, index: i32::MIN };
        let last = PartitionId { topic, index: i32::MAX };
        self.partitions.range(first..=last).map(|(id, partition)| (*id, partition))
    }

    /// Every partition, by topic id and number.
    pub fn all_partitions(&self) -> impl Iterator<Item = (PartitionId, &Arc<Partition>)> {
        self.partitions.iter().map(|(id, partition)| (*id, partition))
    }

    /// Every topic, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_id.iter().map(|(_, topic)| topic)
    }

    /// Every topic's name and id, by name.
    pub fn names(&self) -> impl Iterator<Item = (&str, TopicId)> {
        self.by_name.iter().map(|(name, id)| (&**name, *id))
    }

    /// Names after `name` (or from the first), with ids, by name: what DescribeTopicPartitions pages through.
    pub fn names_from<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, TopicId)> {
        let start: Arc<str> = name.into();
        self.by_name.range(start..).map(|(name, id)| (&**name, *id))
    }

    /// How many topics there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    pub(super) fn insert(&mut self, id: TopicId, name: &str) {
        let name: Arc<str> = name.into();
        self.by_name.insert(name.clone(), id);
        self.by_id.insert(id, Arc::new(Topic { id, name, partition_count: 0 }));
    }

    pub(super) fn remove(&mut self, id: TopicId) -> Option<Arc<Topic>> {
        let topic = self.by_id.remove(&id)?;
        self.by_name.remove(&topic.name);
        let partitions: Vec<PartitionId> = self.partitions(id).map(|(id, _)| id).collect();
        for partition in partitions {
            self.partitions.remove(&partition);
        }
        Some(topic)
    }

    pub(super) fn put(&mut self, id: PartitionId, partition: Partition) {
        let was_there = self.partitions.insert(id, Arc::new(partition)).is_some();
        if !was_there && let Some(topic) = self.by_id.get(&id.topic) {
            let mut topic = Topic::clone(topic);
            topic.partition_count += 1;
            self.by_id.insert(id.topic, Arc::new(topic));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        Partition::from_record(&PartitionRecord {
            replicas: vec![1, 2, 3],
            isr: vec![1, 2],
            leader: 1,
            leader_epoch: 4,
            partition_epoch: 7,
            directories: vec![Uuid([1; 16]), Uuid([2; 16]), Uuid([3; 16])],
            ..Default::default()
        })
        .unwrap()
    }

    fn change() -> PartitionChangeRecord {
        PartitionChangeRecord::default()
    }

    #[test]
    fn a_leader_in_a_change_begins_an_epoch_even_if_it_is_the_same() {
        let same = partition().merge(&PartitionChangeRecord { leader: 1, ..change() }).unwrap();
        assert_eq!((same.leader, same.leader_epoch.0, same.partition_epoch), (Some(NodeId(1)), 5, 8));
        let none = partition().merge(&PartitionChangeRecord { leader: -1, ..change() }).unwrap();
        assert_eq!((none.leader, none.leader_epoch.0), (None, 5));
        let isr = partition().merge(&PartitionChangeRecord { isr: Some(vec![1]), ..change() }).unwrap();
        assert_eq!((isr.leader_epoch.0, isr.partition_epoch, isr.isr), (4, 8, nodes(&[1])));
    }

    #[test]
    fn replicas_without_directories_keep_what_is_known() {
        let change = PartitionChangeRecord { replicas: Some(vec![3, 4, 1]), ..change() };
        let directories = partition().merge(&change).unwrap().directories;
        assert_eq!(*directories, [Uuid([3; 16]), directory::UNASSIGNED, Uuid([1; 16])]);
    }

    #[test]
    fn contradictions_are_refused() {
        let wrong = PartitionChangeRecord { directories: Some(vec![Uuid([1; 16])]), ..change() };
        assert!(partition().merge(&wrong).is_err());
        assert!(partition().merge(&PartitionChangeRecord { leader_recovery_state: 5, ..change() }).is_err());
        let mut last = partition();
        last.partition_epoch = i32::MAX;
        assert!(last.merge(&change()).is_err());
    }

    #[test]
    fn a_partition_survives_its_record() {
        let id = PartitionId { topic: Uuid([9; 16]), index: 3 };
        let mut partition = partition();
        partition.elr = nodes(&[3]);
        assert_eq!(Partition::from_record(&partition.to_record(id)).unwrap(), partition);
    }
}
