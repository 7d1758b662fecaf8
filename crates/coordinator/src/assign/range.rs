//! Ranges: each topic by itself is cut into as many pieces as it has subscribers, and they take them by their order.
//!
//! Sticky only so far as the order stays: static members come first, by their names, then the others by their ids.

use std::ops::Range;

use ottla_protocol::TopicId;

use super::{MemberSpec, Partitions, Spec, if_new, number};

/// A topic while it is handed out.
struct Topic {
    id: TopicId,
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
        for_each_wanted(&mut topics, member, |topic| {
            let range = topic.next_range();
            if !range.is_empty() {
                assigned.insert(topic.id, range.map(number).collect());
            }
        });
        result[index] = if_new(member, assigned);
    }
    result
}

/// Static members first.
fn rank<'a>(member: &MemberSpec<'a>) -> (bool, &'a str) {
    (member.instance.is_none(), member.instance.unwrap_or(member.id))
}

/// All topics that somebody wants, by id.
fn topics(spec: &Spec<'_>) -> Vec<Topic> {
    let topic = |id: &TopicId| Topic {
        id: *id,
        partitions: spec.partition_count(*id),
        subscribers: 0,
        served: 0,
        next: 0,
    };
    let mut topics: Vec<Topic> = spec.partition_counts.keys().map(topic).collect();
    for member in &spec.members {
        for_each_wanted(&mut topics, member, |topic| topic.subscribers += 1);
    }
    topics
}

/// Both lists are sorted, so one walk through them is enough.
fn for_each_wanted(topics: &mut [Topic], member: &MemberSpec<'_>, mut act: impl FnMut(&mut Topic)) {
    let mut rest = topics.iter_mut().peekable();
    for wanted in &*member.topics {
        while rest.next_if(|topic| topic.id < *wanted).is_some() {}
        if let Some(topic) = rest.next_if(|topic| topic.id == *wanted) {
            act(topic);
        }
    }
}

impl Topic {
    /// The first subscribers get one more, as long as the rest lasts.
    fn next_range(&mut self) -> Range<usize> {
        let extra = usize::from(self.served < self.partitions % self.subscribers);
        let start = self.next;
        self.next = start + self.partitions / self.subscribers + extra;
        self.served += 1;
        start..self.next
    }
}
