//! What has become of the topics between two images: for those who remember something about topics and do not want to
//! look at all of them again.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use ottla_protocol::TopicId;

use super::{Topic, Topics};

/// What has become of the topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that came.
    pub created: Vec<Arc<Topic>>,
    /// Those that went.
    pub deleted: Vec<Arc<Topic>>,
    /// Those of which a partition came or changed, the new ones among them.
    pub changed: BTreeSet<TopicId>,
}

impl Topics {
    /// What has become of the topics since an older image. What both have in common costs nothing.
    #[must_use]
    pub fn changes_since(&self, older: &Self) -> Changes {
        let mut changes = Changes::default();
        for difference in older.by_id.diff(&self.by_id) {
            match difference {
                DiffItem::Add(_, topic) => changes.created.push(topic.clone()),
                DiffItem::Remove(_, topic) => changes.deleted.push(topic.clone()),
                DiffItem::Update { .. } => {}
            }
        }
        for difference in older.partitions.diff(&self.partitions) {
            match difference {
                DiffItem::Add(id, _) | DiffItem::Update { new: (id, _), .. } => {
                    changes.changed.insert(id.topic);
                }
                DiffItem::Remove(..) => {}
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::records::metadata::PartitionRecord;
    use ottla_protocol::{PartitionId, Uuid};

    use super::super::Partition;
    use super::*;

    fn partition(leader: i32) -> Partition {
        Partition::from_record(&PartitionRecord {
            replicas: vec![1, 2],
            isr: vec![1],
            leader,
            ..Default::default()
        })
        .unwrap()
    }

    #[test]
    fn what_came_what_went_and_what_changed() {
        let [kept, gone, new, other] = [1, 2, 3, 4].map(|number| Uuid([number; 16]));
        let mut before = Topics::default();
        for id in [kept, gone, other] {
            before.insert(id, &format!("topic-{id}"));
            before.put(PartitionId { topic: id, index: 0 }, partition(1));
        }
        assert_eq!(before.changes_since(&before), Changes::default());
        let mut after = before.clone();
        after.remove(gone);
        after.insert(new, "new");
        after.put(PartitionId { topic: new, index: 0 }, partition(1));
        after.put(PartitionId { topic: kept, index: 0 }, partition(2));
        let changes = after.changes_since(&before);
        assert_eq!(changes.created.iter().map(|topic| topic.id).collect::<Vec<_>>(), [new]);
        assert_eq!(changes.deleted.iter().map(|topic| topic.id).collect::<Vec<_>>(), [gone]);
        assert_eq!(changes.changed, BTreeSet::from([kept, new]));
    }
}
