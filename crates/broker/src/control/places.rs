//! In which log directory each of this node's partitions lies, and what the controller has to be told of it (KIP-858).
//!
//! A partition stays where its folder was found; a new one goes where the controller says, or to the directory with the
//! fewest partitions. With a directory missing, what may lie in it is not made anew elsewhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_metadata::directory;
use ottla_protocol::messages::AssignReplicasToDirsRequest;
use ottla_protocol::messages::assign_replicas_to_dirs::{
    RequestDirectoryData, RequestPartitionData, RequestTopicData,
};
use ottla_protocol::{PartitionId, TopicId, Uuid};

use crate::control::directories::Directories;

/// Replicas in one AssignReplicasToDirs request.
const ASSIGNMENTS_MAX: usize = 2_250;

/// Where a partition lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the directory of this index.
    In(usize),
    /// In a directory that has failed, or is missing: nobody can be served.
    Offline,
}

/// See the module.
#[derive(Debug)]
pub struct Places {
    directories: Arc<Directories>,
    places: BTreeMap<PartitionId, Place>,
    /// By index of the directory: how many partitions are in it, and whether it works.
    counts: Vec<Count>,
    /// What the controller does not know yet.
    untold: BTreeMap<PartitionId, Uuid>,
    /// What it is being told.
    telling: Vec<PartitionId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    partitions: usize,
    failed: bool,
    /// It is to get no new partitions (KIP-1066).
    cordoned: bool,
}

impl Places {
    /// Nothing is placed yet.
    #[must_use]
    pub fn new(directories: Arc<Directories>) -> Self {
        let counts = vec![Count::default(); directories.all().len()];
        Self { directories, places: BTreeMap::new(), counts, untold: BTreeMap::new(), telling: Vec::new() }
    }

    /// Where a partition lies, or is to lie. `assigned` is the directory that the cluster knows it in.
    pub fn place(&mut self, topic: &str, id: PartitionId, assigned: Uuid) -> Place {
        let place = match self.places.get(&id) {
            Some(&place) => place,
            None => self.choose(topic, id, assigned),
        };
        self.places.insert(id, place);
        if let Place::In(index) = place {
            let actual = self.directories.id(index);
            if actual == assigned {
                self.untold.remove(&id);
            } else {
                self.untold.insert(id, actual);
            }
        }
        place
    }

    fn choose(&mut self, topic: &str, id: PartitionId, assigned: Uuid) -> Place {
        let known = self.directories.found_at(topic, id).or_else(|| self.directories.by_id(assigned));
        let missing = !assigned.is_reserved() && !self.directories.lost().is_empty();
        let index = match known {
            Some(index) => index,
            None if missing || assigned == directory::LOST => return Place::Offline,
            None => match self.emptiest() {
                Some(index) => index,
                None => return Place::Offline,
            },
        };
        if self.counts[index].failed {
            return Place::Offline;
        }
        self.counts[index].partitions += 1;
        Place::In(index)
    }

    fn emptiest(&self) -> Option<usize> {
        let working = || self.counts.iter().enumerate().filter(|(_, count)| !count.failed);
        let open = working().filter(|(_, count)| !count.cordoned);
        // With all of them cordoned it was for the controller to look elsewhere.
        let chosen = open.min_by_key(|(_, count)| count.partitions).or_else(|| working().next());
        chosen.map(|(index, _)| index)
    }

    /// Takes in `cordoned.log.dirs`, and gives the ids of the directories that are cordoned.
    pub fn cordon(&mut self, paths: &[String]) -> Vec<Uuid> {
        let mut cordoned = Vec::new();
        for (index, count) in self.counts.iter_mut().enumerate() {
            let directory = self.directories.path(index);
            count.cordoned = paths.iter().any(|path| path == "*" || directory == Path::new(path));
            if count.cordoned {
                cordoned.push(self.directories.id(index));
            }
        }
        cordoned
    }

    /// A partition is no longer here.
    pub fn forget(&mut self, id: PartitionId) {
        if let Some(Place::In(index)) = self.places.remove(&id) {
            self.counts[index].partitions = self.counts[index].partitions.saturating_sub(1);
        }
        self.untold.remove(&id);
    }

    /// Everything in a directory is offline from now on. Gives whether that is news.
    pub fn directory_failed(&mut self, index: usize) -> bool {
        if std::mem::replace(&mut self.counts[index].failed, true) {
            return false;
        }
        for place in self.places.values_mut().filter(|place| **place == Place::In(index)) {
            *place = Place::Offline;
        }
        true
    }

    /// How many directories work.
    #[must_use]
    pub fn working(&self) -> usize {
        self.counts.iter().filter(|count| !count.failed).count()
    }

    /// The ids of the directories that have failed.
    pub fn failed(&self) -> impl Iterator<Item = Uuid> {
        let counts = self.counts.iter().enumerate();
        counts.filter(|(_, count)| count.failed).map(|(index, _)| self.directories.id(index))
    }

    /// The next request that tells the controller where partitions are; one at a time.
    pub fn tell(&mut self, broker_id: i32, broker_epoch: i64) -> Option<AssignReplicasToDirsRequest> {
        if !self.telling.is_empty() || self.untold.is_empty() {
            return None;
        }
        let mut directories: BTreeMap<Uuid, BTreeMap<TopicId, Vec<RequestPartitionData>>> = BTreeMap::new();
        for (&id, &directory) in self.untold.iter().take(ASSIGNMENTS_MAX) {
            let row = RequestPartitionData { partition_index: id.index };
            directories.entry(directory).or_default().entry(id.topic).or_default().push(row);
            self.telling.push(id);
        }
        let topic = |(topic_id, partitions)| RequestTopicData { topic_id, partitions };
        let directory = |(id, topics): (Uuid, BTreeMap<_, _>)| RequestDirectoryData {
            id,
            topics: topics.into_iter().map(topic).collect(),
        };
        let directories = directories.into_iter().map(directory).collect();
        Some(AssignReplicasToDirsRequest { broker_id, broker_epoch, directories })
    }

    /// The controller has taken the request: what it accepted comes back in an image. What it refused is not told
    /// again until the partition changes.
    pub fn told(&mut self) {
        for id in self.telling.drain(..) {
            self.untold.remove(&id);
        }
    }

    /// The request did not come through.
    pub fn untold(&mut self) {
        self.telling.clear();
    }
}
