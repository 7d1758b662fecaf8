//! All members want the same topics: then each has a quota, and what it had is kept up to the quota.
//!
//! Some members get one more than the others. Who has one more already keeps it, so no partition moves for that.

use ottla_protocol::TopicId;

use crate::assign::{Partitions, Spec, number, place};

/// A partition: the topic's place among the topics, and its own number's.
type At = (usize, usize);

/// How many members have how much.
struct Quota {
    /// What everybody gets.
    least: usize,
    /// How many still get one more.
    extras: usize,
    /// How many members have not had their turn.
    waiting: usize,
}

/// Which partitions somebody keeps.
struct Taken<'a> {
    topics: &'a [TopicId],
    /// By the topics' places and the partitions' numbers.
    slots: Vec<Vec<bool>>,
}

pub(in crate::assign) fn assign(spec: &Spec<'_>) -> Vec<Option<Partitions>> {
    let topics = &*spec.members[0].topics;
    let slots = topics.iter().map(|topic| vec![false; spec.partition_count(*topic)]).collect();
    let mut taken = Taken { topics, slots };
    let total: usize = taken.slots.iter().map(Vec::len).sum();
    let members = spec.members.len();
    let mut quota = Quota { least: total / members, extras: total % members, waiting: members };
    let mut result = vec![None; members];
    let mut unfilled = Vec::new();
    for (index, member) in spec.members.iter().enumerate() {
        let allowed = quota.allowed();
        let (kept, lost) = taken.keep(member.had, allowed);
        let free = quota.close(allowed - kept);
        if free > 0 {
            unfilled.push((index, free));
        }
        if !lost.is_empty() {
            result[index] = Some(without(member.had, &lost));
        }
    }
    let mut rest = taken.rest();
    for (index, free) in unfilled {
        let mut given = rest.by_ref().take(free).peekable();
        if given.peek().is_none() {
            continue;
        }
        let assigned = result[index].get_or_insert_with(|| spec.members[index].had.clone());
        for (topic, partition) in given {
            assigned.entry(topics[topic]).or_default().insert(number(partition));
        }
    }
    result
}

impl Quota {
    /// What the next member may keep.
    fn allowed(&self) -> usize {
        self.least + usize::from(self.extras > 0)
    }

    /// The member has `free` places left; says how many it may fill. One that does not need its extra leaves it to
    /// those behind it, as long as they can use all extras up.
    fn close(&mut self, free: usize) -> usize {
        let had_extra = self.extras > 0;
        let gives_back = had_extra && free > 0 && self.waiting > self.extras;
        self.waiting -= 1;
        if had_extra && !gives_back {
            self.extras -= 1;
        }
        free - usize::from(gives_back)
    }
}

impl Taken<'_> {
    /// Lets a member keep what it had, up to `allowed`; says how many it keeps, and what it loses.
    fn keep(&mut self, had: &Partitions, allowed: usize) -> (usize, Vec<(TopicId, i32)>) {
        let mut kept = 0;
        let mut lost = Vec::new();
        for (topic, partitions) in had {
            let at = self.topics.binary_search(topic).ok();
            for partition in partitions {
                let slot = at.and_then(|at| self.slots[at].get_mut(place(*partition)));
                match slot {
                    Some(slot) if !*slot && kept < allowed => {
                        *slot = true;
                        kept += 1;
                    }
                    _ => lost.push((*topic, *partition)),
                }
            }
        }
        (kept, lost)
    }

    /// What nobody keeps.
    fn rest(&self) -> impl Iterator<Item = At> {
        self.slots.iter().enumerate().flat_map(|(topic, partitions)| {
            let free = partitions.iter().enumerate().filter(|(_, taken)| !**taken);
            free.map(move |(partition, _)| (topic, partition))
        })
    }
}

fn without(had: &Partitions, lost: &[(TopicId, i32)]) -> Partitions {
    let mut left = had.clone();
    for (topic, partition) in lost {
        if let Some(partitions) = left.get_mut(topic) {
            partitions.remove(partition);
            if partitions.is_empty() {
                left.remove(topic);
            }
        }
    }
    left
}
