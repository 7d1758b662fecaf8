//! Ranges: each topic by itself is cut into as many pieces as it has subscribers, and they take them by their order.
//!
//! Sticky only so far as the order stays: static members come first, by their names, then the others by their ids.

use std::collections::BTreeMap;

use ottla_protocol::TopicId;

use super::{MemberSpec, Partitions, Spec, if_new, number};

/// A topic while it is handed out.
struct Topic {
    partitions: usize,
    subscribers: usize,
    served: usize,
    next: usize,
}

pub(super) fn assign(spec: &Spec<'_>) -> Vec<Option<Partitions>> {
    let mut order: Vec<usize> = (0..spec.members.len()).collect();
    order.sort_by_key(|index| rank(&spec.members[*index]));
    let mut topics = topics(spec);
    let mut result = vec![None; spec.members.len()];
    for index in order {
        let member = &spec.members[index];
        let mut assigned = Partitions::new();
        for topic in &*member.topics {
            let range = topics.get_mut(topic).map_or(0..0, Topic::next_range);
            if !range.is_empty() {
                assigned.insert(*topic, range.map(number).collect());
            }
        }
        result[index] = if_new(member, assigned);
    }
    result
}

/// Static members first.
fn rank<'a>(member: &MemberSpec<'a>) -> (bool, &'a str) {
    (member.instance.is_none(), member.instance.unwrap_or(member.id))
}

fn topics(spec: &Spec<'_>) -> BTreeMap<TopicId, Topic> {
    let mut topics: BTreeMap<TopicId, Topic> = BTreeMap::new();
    for topic in spec.members.iter().flat_map(|member| &*member.topics) {
        let entry = topics.entry(*topic).or_insert_with(|| Topic {
            partitions: spec.partition_count(*topic),
            subscribers: 0,
            served: 0,
            next: 0,
        });
        entry.subscribers += 1;
    }
    topics
}

impl Topic {
    /// The first subscribers get one more, as long as the rest lasts.
    fn next_range(&mut self) -> std::ops::Range<usize> {
        let extra = usize::from(self.served < self.partitions % self.subscribers);
        let start = self.next;
        self.next = start + self.partitions / self.subscribers + extra;
        self.served += 1;
        start..self.next
    }
}
