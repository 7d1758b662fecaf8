//! OffsetFetch (9), for one group.

use ottla_protocol::Refusal;
use ottla_protocol::messages::offset_fetch::{
    OffsetFetchRequestTopics, OffsetFetchResponseGroup, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
};

use super::{Committed, CommittingGroup, Offsets, Place};
use crate::group::command::FetchOffsets;
use crate::mutant::Mutant;

impl Offsets {
    /// Answers an OffsetFetch. Of a group that does not exist nothing is committed; that is no error.
    ///
    /// # Errors
    /// Why the group refuses.
    pub fn fetch(
        &self,
        request: FetchOffsets,
        group: Option<&dyn CommittingGroup>,
    ) -> Result<OffsetFetchResponseGroup, Refusal> {
        let FetchOffsets { group: asked, require_stable } = request;
        let require_stable = require_stable && !self.planted.has(Mutant::UnstableOffsetsGiven);
        let exists = match group.map(|group| group.may_fetch(asked.member_id.as_deref(), asked.member_epoch))
        {
            None | Some(Err(Refusal::GroupIdNotFound)) => false,
            Some(Ok(())) => true,
            Some(Err(refusal)) => return Err(refusal),
        };
        let number = self.groups.find(&asked.group_id).filter(|_| exists);
        let topics = match asked.topics {
            Some(topics) => {
                topics.into_iter().map(|topic| self.fetch_topic(number, topic, require_stable)).collect()
            }
            None => number.map(|group| self.fetch_all(group, require_stable)).unwrap_or_default(),
        };
        Ok(OffsetFetchResponseGroup { group_id: asked.group_id, topics, error_code: 0 })
    }

    fn fetch_topic(
        &self,
        group: Option<u32>,
        asked: OffsetFetchRequestTopics,
        require_stable: bool,
    ) -> OffsetFetchResponseTopics {
        let numbers = group.and_then(|group| Some((group, self.topics.find(&asked.name)?)));
        let answer = |index: &i32| {
            let place = numbers.map(|(group, topic)| Place { group, topic, partition: *index });
            if let Some(place) = place
                && require_stable
                && self.is_open(place)
            {
                return unstable(*index);
            }
            match place.and_then(|place| self.committed.get(&place)) {
                Some(committed) if committed.is_for(asked.topic_id) => found(*index, committed),
                _ => missing(*index),
            }
        };
        let partitions = asked.partition_indexes.iter().map(answer).collect();
        OffsetFetchResponseTopics { name: asked.name, topic_id: asked.topic_id, partitions }
    }

    fn fetch_all(&self, group: u32, require_stable: bool) -> Vec<OffsetFetchResponseTopics> {
        let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
        let mut current = None;
        for (place, committed) in self.of_group(group) {
            if current != Some(place.topic) {
                current = Some(place.topic);
                let name = self.topics.name(place.topic).to_owned();
                topics.push(OffsetFetchResponseTopics { name, ..Default::default() });
            }
            let answer = if require_stable && self.is_open(*place) {
                unstable(place.partition)
            } else {
                found(place.partition, committed)
            };
            topics.last_mut().expect("just begun").partitions.push(answer);
        }
        topics
    }
}

fn found(partition_index: i32, committed: &Committed) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: committed.offset.0,
        committed_leader_epoch: committed.leader_epoch,
        metadata: Some(committed.metadata().to_owned()),
        error_code: 0,
    }
}

fn missing(partition_index: i32) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code: 0,
    }
}

fn unstable(partition_index: i32) -> OffsetFetchResponsePartitions {
    let error_code = Refusal::UnstableOffsetCommit.code();
    OffsetFetchResponsePartitions { error_code, ..missing(partition_index) }
}
