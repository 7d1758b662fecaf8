//! Which partitions are in somebody's hands, and in which epoch of his: what one member has, no other may get.

use std::collections::BTreeMap;

use ottla_protocol::TopicId;

use super::member::{Member, Owned};

/// See the module. A partition counts as owned until its owner has given it back.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Owners(BTreeMap<TopicId, BTreeMap<i32, i32>>);

impl Owners {
    /// Whether somebody has the partition.
    pub(super) fn has(&self, topic: TopicId, partition: i32) -> bool {
        self.0.get(&topic).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// A member has become another.
    pub(super) fn replace(&mut self, old: Option<&Member>, new: Option<&Member>) {
        if let (Some(old), Some(new)) = (old, new)
            && (old.epoch, &old.assigned, &old.revoking) == (new.epoch, &new.assigned, &new.revoking)
        {
            return;
        }
        if let Some(old) = old {
            self.remove(&old.assigned, old.epoch);
            self.remove(&old.revoking, old.epoch);
        }
        if let Some(new) = new {
            self.add(&new.assigned, new.epoch);
            self.add(&new.revoking, new.epoch);
        }
    }

    fn remove(&mut self, owned: &Owned, epoch: i32) {
        for (topic, partitions) in owned {
            let Some(owners) = self.0.get_mut(topic) else { continue };
            for partition in partitions.keys() {
                // In another epoch it is another member's.
                if owners.get(partition) == Some(&epoch) {
                    owners.remove(partition);
                }
            }
            if owners.is_empty() {
                self.0.remove(topic);
            }
        }
    }

    fn add(&mut self, owned: &Owned, epoch: i32) {
        for (topic, partitions) in owned {
            let owners = self.0.entry(*topic).or_default();
            for partition in partitions.keys() {
                let owner = owners.entry(*partition).or_insert(epoch);
                if *owner > epoch {
                    tracing::error!(%topic, partition, epoch, owner, "a partition has two owners");
                }
                *owner = epoch.max(*owner);
            }
        }
    }
}
