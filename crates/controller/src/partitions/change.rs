//! One change of one partition: who leads, who is in sync, who is eligible, which replicas there are.
//!
//! Everything that happens to a partition after its creation is built here, so the rules hold everywhere: a leader is
//! in sync (or eligible, where nobody is in sync) and its directory works; only an unclean election may lead otherwise,
//! and then the leader is alone in sync; without eligible leader replicas the in-sync set never becomes empty; replicas
//! that leave are fenced by a new leader epoch.

use std::collections::BTreeMap;

use ottla_metadata::image::topics::{NO_LEADER_CHANGE, numbers};
use ottla_metadata::{MetadataVersion, Partition, Recovery};
use ottla_protocol::records::metadata::PartitionChangeRecord;
use ottla_protocol::{NodeId, PartitionId, Uuid};

use crate::view::View;

/// Who may be elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Election {
    /// Whoever is in sync; the present leader stays if it may.
    Online,
    /// The first replica, if it is in sync.
    Preferred,
    /// Anybody who works, if nobody is in sync.
    Unclean,
}

/// A change in the making. The targets begin as the partition is.
pub(crate) struct Change<'a> {
    partition: &'a Partition,
    id: PartitionId,
    version: MetadataVersion,
    elr_enabled: bool,
    min_isr: usize,
    acceptable: &'a dyn Fn(NodeId) -> bool,
    default_directory: &'a dyn Fn(NodeId) -> Uuid,
    directories: BTreeMap<NodeId, Uuid>,
    elr: Vec<NodeId>,
    pub election: Election,
    pub isr: Vec<NodeId>,
    pub replicas: Vec<NodeId>,
    pub removing: Vec<NodeId>,
    pub adding: Vec<NodeId>,
    pub recovery: Recovery,
    /// A replica that may have lost records.
    pub unclean_shutdown: Option<NodeId>,
}

/// What a change needs to know about the cluster.
pub(crate) struct Surroundings<'a> {
    pub view: &'a View,
    pub min_isr: usize,
    /// Whether a broker may lead this partition.
    pub acceptable: &'a dyn Fn(NodeId) -> bool,
    pub default_directory: &'a dyn Fn(NodeId) -> Uuid,
}

impl<'a> Change<'a> {
    pub fn new(id: PartitionId, partition: &'a Partition, around: &Surroundings<'a>) -> Self {
        let directories =
            partition.replicas.iter().map(|replica| (*replica, partition.directory(*replica))).collect();
        Self {
            partition,
            id,
            version: around.view.version(),
            elr_enabled: around.view.has_elr(),
            min_isr: around.min_isr,
            acceptable: around.acceptable,
            default_directory: around.default_directory,
            directories,
            elr: partition.elr.to_vec(),
            election: Election::Online,
            isr: partition.isr.to_vec(),
            replicas: partition.replicas.to_vec(),
            removing: partition.removing.to_vec(),
            adding: partition.adding.to_vec(),
            recovery: partition.recovery,
            unclean_shutdown: None,
        }
    }

    /// Writes down where a broker put its replica.
    pub fn assign(&mut self, broker: NodeId, directory: Uuid) {
        self.directories.insert(broker, directory);
    }

    /// The record, unless nothing would change.
    pub fn build(mut self) -> Option<PartitionChangeRecord> {
        let mut record = PartitionChangeRecord {
            partition_id: self.id.index,
            topic_id: self.id.topic,
            leader: NO_LEADER_CHANGE,
            leader_recovery_state: -1,
            ..Default::default()
        };
        let untouched = record.clone();
        self.complete_reassignment();
        self.find_eligible();
        self.elect(&mut record);
        self.fence_leaving_replicas(&mut record);
        self.set_eligible(&mut record);
        let may_write_isr = !self.isr.is_empty() || self.elr_enabled;
        if record.isr.is_none() && may_write_isr && *self.isr != *self.partition.isr {
            record.isr = Some(numbers(&self.isr));
        }
        self.fence_shrunk_isr(&mut record);
        self.remember_last_leader(&mut record);
        self.set_assignment(&mut record);
        if self.recovery != self.partition.recovery {
            record.leader_recovery_state = self.recovery.code();
        }
        (record != untouched).then_some(record)
    }

    /// A reassignment is complete when everything that was added is in sync and enough of the rest is.
    fn complete_reassignment(&mut self) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let stays = |replica: &&NodeId| !self.removing.contains(*replica);
        let isr: Vec<NodeId> = self.isr.iter().filter(stays).copied().collect();
        let replicas: Vec<NodeId> = self.replicas.iter().filter(stays).copied().collect();
        let in_sync = |replicas: &[NodeId]| replicas.iter().all(|replica| isr.contains(replica));
        if (isr.is_empty() && !self.removing.is_empty()) || replicas.is_empty() || !in_sync(&self.adding) {
            return;
        }
        // Where the partition shrinks, all that stay have to be in sync, or the in-sync set would shrink with it.
        if self.adding.len() < self.removing.len() && !in_sync(&replicas) {
            return;
        }
        self.isr = isr;
        self.replicas = replicas;
        self.removing.clear();
        self.adding.clear();
    }

    /// Below the minimum, whoever was in sync until now stays eligible: it has every committed record (KIP-966).
    fn find_eligible(&mut self) {
        if !self.elr_enabled {
            return;
        }
        if self.isr.len() >= self.min_isr {
            self.elr.clear();
            return;
        }
        let mut eligible = self.elr.clone();
        eligible.extend(self.partition.isr.iter().filter(|replica| !self.partition.elr.contains(replica)));
        eligible.retain(|replica| !self.isr.contains(replica) && self.unclean_shutdown != Some(*replica));
        eligible.sort_unstable();
        self.elr = eligible;
    }

    fn elect(&mut self, record: &mut PartitionChangeRecord) {
        let (leader, unclean) = self.electable();
        if leader == self.partition.leader {
            return;
        }
        record.leader = leader.map_or(-1, |leader| leader.0);
        let Some(leader) = leader else { return };
        if self.elr.contains(&leader) {
            self.isr = vec![leader];
            self.elr.retain(|replica| *replica != leader);
        }
        if unclean {
            record.isr = Some(vec![leader.0]);
            if self.partition.recovery != Recovery::Recovering {
                record.leader_recovery_state = Recovery::Recovering.code();
            }
        }
    }

    /// Who leads, and whether that may lose records.
    fn electable(&self) -> (Option<NodeId>, bool) {
        let may_lead = |replica: NodeId| {
            let in_sync = self.isr.contains(&replica);
            let eligible = self.isr.is_empty() && self.elr.contains(&replica);
            (in_sync || eligible) && (self.acceptable)(replica)
        };
        let preferred = self.replicas.first().copied().filter(|_| self.election == Election::Preferred);
        let in_order = self.replicas.iter().copied();
        let mut candidates = preferred.into_iter().chain(self.partition.leader).chain(in_order.clone());
        if let Some(leader) = candidates.find(|replica| may_lead(*replica)) {
            return (Some(leader), false);
        }
        if let Some(leader) = self.last_known_leader() {
            return (Some(leader), true);
        }
        if self.election == Election::Unclean {
            let leader = in_order.into_iter().find(|replica| (self.acceptable)(*replica));
            return (leader, leader.is_some());
        }
        (None, false)
    }

    /// The last leader, where nobody is in sync or eligible and it has come back.
    fn last_known_leader(&self) -> Option<NodeId> {
        if !self.elr_enabled || !self.isr.is_empty() || !self.elr.is_empty() {
            return None;
        }
        match self.partition.last_known_elr[..] {
            [leader] => (self.acceptable)(leader).then_some(leader),
            _ => None,
        }
    }

    fn bump_epoch(&self, record: &mut PartitionChangeRecord) {
        record.leader = self.partition.leader.map_or(-1, |leader| leader.0);
    }

    fn fence_leaving_replicas(&self, record: &mut PartitionChangeRecord) {
        let leaves = |replica: &NodeId| !self.replicas.contains(replica);
        if record.leader == NO_LEADER_CHANGE && self.partition.replicas.iter().any(leaves) {
            self.bump_epoch(record);
        }
    }

    fn fence_shrunk_isr(&self, record: &mut PartitionChangeRecord) {
        if !self.version.bumps_leader_epoch_on_isr_shrink() || record.leader != NO_LEADER_CHANGE {
            return;
        }
        let leaves = |isr: &Vec<i32>| self.partition.isr.iter().any(|replica| !isr.contains(&replica.0));
        if record.isr.as_ref().is_some_and(leaves) {
            self.bump_epoch(record);
        }
    }

    fn set_eligible(&mut self, record: &mut PartitionChangeRecord) {
        // After an unclean election nobody else may claim to have every committed record.
        if record.isr.is_some() || !self.elr_enabled {
            self.elr.clear();
        }
        if *self.elr != *self.partition.elr {
            record.eligible_leader_replicas = Some(numbers(&self.elr));
        }
    }

    fn remember_last_leader(&self, record: &mut PartitionChangeRecord) {
        if !self.elr_enabled {
            return;
        }
        if record.leader == -1 && self.partition.last_known_elr.is_empty() {
            record.last_known_elr = self.partition.leader.map(|leader| vec![leader.0]);
        } else if record.leader >= 0 && !self.partition.last_known_elr.is_empty() {
            record.last_known_elr = Some(Vec::new());
        }
    }

    fn set_assignment(&self, record: &mut PartitionChangeRecord) {
        if self.version.has_directories() && !self.replicas.is_empty() {
            let directory = |replica: &NodeId| {
                let known = self.directories.get(replica).copied();
                known.unwrap_or_else(|| (self.default_directory)(*replica))
            };
            let directories: Vec<Uuid> = self.replicas.iter().map(directory).collect();
            if *directories != *self.partition.directories {
                record.directories = Some(directories);
            }
        }
        let changed = |new: &[NodeId], old: &[NodeId]| (new != old).then(|| numbers(new));
        if !self.replicas.is_empty() {
            record.replicas = changed(&self.replicas, &self.partition.replicas);
        }
        record.removing_replicas = changed(&self.removing, &self.partition.removing);
        record.adding_replicas = changed(&self.adding, &self.partition.adding);
    }
}

#[cfg(test)]
mod tests;
