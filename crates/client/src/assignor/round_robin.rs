//! One partition after the other to one member after the other, past those that do not want its topic.

use super::{Assignment, Member, Topics};
use crate::consumer::TopicPartition;

/// Divides the topics among members, which are in order.
pub(super) fn assign(topics: &Topics, members: &[&Member]) -> Assignment {
    let mut assignment: Assignment = members.iter().map(|member| (member.id.clone(), Vec::new())).collect();
    let mut turns = members.iter().cycle().peekable();
    for (topic, partitions) in topics {
        if !members.iter().any(|member| member.topics.contains(topic)) {
            continue;
        }
        for partition in 0..partitions.len() {
            let next = turns.by_ref().find(|member| member.topics.contains(topic));
            if let Some(got) = next.and_then(|member| assignment.get_mut(&member.id)) {
                got.push(TopicPartition { topic: topic.clone(), partition: partition as i32 });
            }
        }
    }
    assignment
}
