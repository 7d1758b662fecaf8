//! Offsets that are told to go: OffsetDelete (47), and those of deleted groups and topics.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::messages::offset_delete::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use ottla_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use ottla_protocol::{Refusal, TopicId};

use super::{CommittingGroup, Offsets, Place, TOMBSTONES_AT_ONCE};
use crate::group::record::Record;

impl Offsets {
    /// Decides on an OffsetDelete.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, or why the group refuses.
    pub fn delete(
        &self,
        request: OffsetDeleteRequest,
        group: Option<&dyn CommittingGroup>,
    ) -> Result<(Vec<Record>, OffsetDeleteResponse), Refusal> {
        let group = group.ok_or(Refusal::GroupIdNotFound)?;
        group.may_delete_offsets()?;
        let mut gone = BTreeSet::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let refusal = group.is_subscribed_to(&topic.name).then_some(Refusal::GroupSubscribedToTopic);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let partition_index = partition.partition_index;
                if refusal.is_none() {
                    gone.extend(
                        self.find(&request.group_id, &topic.name, partition_index)
                            .filter(|place| self.committed.contains_key(place) || self.is_open(*place)),
                    );
                }
                let error_code = Refusal::code_of(refusal);
                partitions.push(OffsetDeleteResponsePartition { partition_index, error_code });
            }
            topics.push(OffsetDeleteResponseTopic { name: topic.name, partitions });
        }
        let response = OffsetDeleteResponse { error_code: 0, throttle_time_ms: 0, topics };
        Ok((self.tombstones(gone), response))
    }

    /// The tombstones of all that a group has committed, or that transactions hold back for it.
    #[must_use]
    pub fn delete_all(&self, group: &str) -> Vec<Record> {
        let Some(number) = self.groups.find(group) else { return Vec::new() };
        let mut gone: BTreeSet<Place> = self.of_group(number).map(|(place, _)| *place).collect();
        gone.extend(self.open_of_group(number));
        self.tombstones(gone)
    }

    /// The tombstones of all that was committed for topics that are gone. Where a name is used again, the offsets of
    /// the new topic stay. There are never more than [`TOMBSTONES_AT_ONCE`]: whoever has written so many asks again.
    #[must_use]
    pub fn topics_deleted(&self, deleted: &[(TopicId, String)]) -> Vec<Record> {
        let mut ids: BTreeMap<u32, Vec<TopicId>> = BTreeMap::new();
        for (id, name) in deleted {
            if let Some(topic) = self.topics.find(name) {
                ids.entry(topic).or_default().push(*id);
            }
        }
        let mut gone = BTreeSet::new();
        for group in self.groups.numbers() {
            for (&topic, ids) in &ids {
                let first = Place { group, topic, partition: i32::MIN };
                let last = Place { group, topic, partition: i32::MAX };
                let of_topic = self.committed.range(first..=last);
                let of_id = of_topic.filter(|(_, committed)| ids.iter().any(|id| committed.is_for(*id)));
                let room = TOMBSTONES_AT_ONCE - gone.len();
                gone.extend(of_id.map(|(place, _)| *place).take(room));
            }
        }
        for (place, committed) in self.pending.values().flatten() {
            if gone.len() < TOMBSTONES_AT_ONCE
                && ids.get(&place.topic).is_some_and(|ids| ids.iter().any(|id| committed.is_for(*id)))
            {
                gone.insert(*place);
            }
        }
        self.tombstones(gone)
    }

    fn tombstones(&self, places: BTreeSet<Place>) -> Vec<Record> {
        places.into_iter().map(|place| self.tombstone(place)).collect()
    }
}
