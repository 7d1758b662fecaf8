//! ConsumerGroupDescribe: the group as it is told to administrators.

use std::collections::BTreeMap;

use ottla_metadata::Image;
use ottla_protocol::TopicId;
use ottla_protocol::messages::consumer_group_describe::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};

use super::ConsumerGroup;
use super::member::Member;
use crate::group::settings::GroupSettings;

/// A member of the classic protocol (KIP-1099).
const CLASSIC: i8 = 0;
/// A member of the consumer protocol.
const CONSUMER: i8 = 1;

impl ConsumerGroup {
    /// The group with all its members.
    #[must_use]
    pub fn describe(&self, settings: &GroupSettings, image: &Image) -> DescribedGroup {
        let roster = &self.roster;
        let default = || settings.consumer.assignors.first().cloned().unwrap_or_default();
        DescribedGroup {
            group_id: roster.id.clone(),
            group_state: roster.state().name().to_owned(),
            group_epoch: roster.epoch,
            assignment_epoch: roster.target.epoch,
            assignor_name: roster.preferred_assignor(None, None).unwrap_or_else(default),
            members: roster.members.values().map(|member| self.describe_member(image, member)).collect(),
            ..Default::default()
        }
    }

    fn describe_member(&self, image: &Image, member: &Member) -> DescribedMember {
        let metadata = &member.metadata;
        let mut has: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
        for (topic, partitions) in member.assigned.iter().chain(&*member.revoking) {
            has.entry(*topic).or_default().extend(partitions.keys());
        }
        let target = self.roster.target.of(&member.id);
        let shall_have =
            target.iter().map(|(topic, partitions)| (*topic, partitions.iter().copied().collect()));
        DescribedMember {
            member_id: member.id.clone(),
            instance_id: metadata.instance_id.clone(),
            rack_id: metadata.rack_id.clone(),
            member_epoch: member.epoch,
            client_id: metadata.client_id.clone(),
            client_host: metadata.client_host.clone(),
            subscribed_topic_names: metadata.subscribed_topic_names.clone(),
            subscribed_topic_regex: metadata.subscribed_topic_regex.clone(),
            assignment: assignment(image, has.into_iter()),
            target_assignment: assignment(image, shall_have),
            member_type: if member.classic().is_some() { CLASSIC } else { CONSUMER },
        }
    }
}

/// Topics that are gone have no name any more.
fn assignment(image: &Image, topics: impl Iterator<Item = (TopicId, Vec<i32>)>) -> Assignment {
    let named = topics.filter_map(|(topic_id, partitions)| {
        let topic_name = image.topics.get(topic_id)?.name.to_string();
        Some(TopicPartitions { topic_id, topic_name, partitions })
    });
    Assignment { topic_partitions: named.collect() }
}
