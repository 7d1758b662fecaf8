//! Members want different topics: what nobody has goes to those who have least, then each topic is evened out among
//! its subscribers, round after round, until a whole round moves nothing (or sixteen have gone by).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use ottla_protocol::TopicId;

use super::super::{MemberSpec, Partitions, Spec, if_new, number, place};

mod balance;

use balance::Balancer;

/// How often all topics are evened out at most.
const ROUNDS: usize = 16;

/// Nobody owns the partition yet.
const NOBODY: usize = usize::MAX;

/// Who has what, while it is found out. Topics and members are places in lists.
struct Distribution {
    topics: Vec<Topic>,
    /// How many partitions each member has.
    sizes: Vec<usize>,
}

struct Topic {
    id: TopicId,
    subscribers: Vec<usize>,
    /// The owner of each partition.
    owners: Vec<usize>,
}

pub(in crate::assign) fn assign(spec: &Spec<'_>) -> Vec<Option<Partitions>> {
    let mut distribution = Distribution::new(spec);
    for (index, member) in spec.members.iter().enumerate() {
        distribution.keep(index, member);
    }
    let order = distribution.order();
    distribution.hand_out_the_rest(&order);
    distribution.even_out(&order);
    distribution.into_result(spec)
}

impl Distribution {
    fn new(spec: &Spec<'_>) -> Self {
        let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
        for (index, member) in spec.members.iter().enumerate() {
            for topic in &*member.topics {
                subscribers.entry(*topic).or_default().push(index);
            }
        }
        let topic = |(id, subscribers)| {
            let owners = vec![NOBODY; spec.partition_count(id)];
            Topic { id, subscribers, owners }
        };
        Self { topics: subscribers.into_iter().map(topic).collect(), sizes: vec![0; spec.members.len()] }
    }

    /// A member keeps what it had and still wants.
    fn keep(&mut self, index: usize, member: &MemberSpec<'_>) {
        for (topic, partitions) in member.had {
            if member.topics.binary_search(topic).is_err() {
                continue;
            }
            let Ok(at) = self.topics.binary_search_by_key(topic, |topic| topic.id) else { continue };
            for partition in partitions {
                let owner = self.topics[at].owners.get_mut(place(*partition));
                if let Some(owner) = owner.filter(|owner| **owner == NOBODY) {
                    *owner = index;
                    self.sizes[index] += 1;
                }
            }
        }
    }

    /// The topics with most partitions for each subscriber first: they leave least choice to the others.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.topics.len()).collect();
        order.sort_by(|a, b| self.topics[*a].compare(&self.topics[*b]));
        order
    }

    fn hand_out_the_rest(&mut self, order: &[usize]) {
        for topic in order {
            let free: Vec<usize> = self.topics[*topic].owned_by(NOBODY).collect();
            if free.is_empty() {
                continue;
            }
            let mut balancer = Balancer::new(&self.topics[*topic].subscribers, &self.sizes);
            for partition in free {
                let member = balancer.least_loaded(&self.sizes);
                self.give(*topic, partition, member);
            }
        }
    }

    fn even_out(&mut self, order: &[usize]) {
        let shared: Vec<usize> =
            order.iter().copied().filter(|topic| self.topics[*topic].subscribers.len() >= 2).collect();
        let mut last_moved = None;
        for _ in 0..ROUNDS {
            for (at, topic) in shared.iter().enumerate() {
                if last_moved == Some(at) {
                    return;
                }
                let moved = self.even_out_topic(*topic);
                if moved > 0 || last_moved.is_none() {
                    last_moved = Some(at);
                }
            }
        }
    }

    /// How many partitions of the topic have moved.
    fn even_out_topic(&mut self, topic: usize) -> usize {
        let subscribers = &self.topics[topic].subscribers;
        let mut balancer = Balancer::new(subscribers, &self.sizes);
        if balancer.imbalance(&self.sizes) <= 1 {
            return 0;
        }
        let mut owned: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (partition, owner) in self.topics[topic].owners.iter().enumerate() {
            owned.entry(*owner).or_default().push(partition);
        }
        let mut moved = 0;
        while !balancer.is_balanced() {
            // Members that have nothing of this topic left cannot give.
            let partition = loop {
                let Some(most_loaded) = balancer.most_loaded(&self.sizes) else { return moved };
                if let Some(partition) = owned.get_mut(&most_loaded).and_then(Vec::pop) {
                    break partition;
                }
                balancer.exclude_most_loaded();
            };
            let least_loaded = balancer.least_loaded(&self.sizes);
            if balancer.is_balanced() {
                break;
            }
            self.give(topic, partition, least_loaded);
            moved += 1;
        }
        moved
    }

    fn give(&mut self, topic: usize, partition: usize, member: usize) {
        let owner = &mut self.topics[topic].owners[partition];
        if *owner != NOBODY {
            self.sizes[*owner] -= 1;
        }
        *owner = member;
        self.sizes[member] += 1;
    }

    fn into_result(self, spec: &Spec<'_>) -> Vec<Option<Partitions>> {
        let mut result: Vec<Partitions> = vec![Partitions::new(); spec.members.len()];
        for topic in self.topics {
            for (partition, owner) in topic.owners.into_iter().enumerate() {
                if let Some(assigned) = result.get_mut(owner) {
                    assigned.entry(topic.id).or_default().insert(number(partition));
                }
            }
        }
        spec.members.iter().zip(result).map(|(member, partitions)| if_new(member, partitions)).collect()
    }
}

impl Topic {
    fn owned_by(&self, member: usize) -> impl Iterator<Item = usize> {
        let owned = self.owners.iter().enumerate().filter(move |(_, owner)| **owner == member);
        owned.map(|(partition, _)| partition)
    }

    fn compare(&self, other: &Self) -> Ordering {
        // Fractions are compared by cross-multiplication.
        let ours = self.owners.len() * other.subscribers.len();
        let theirs = other.owners.len() * self.subscribers.len();
        theirs
            .cmp(&ours)
            .then(self.subscribers.len().cmp(&other.subscribers.len()))
            .then(self.id.cmp(&other.id))
    }
}
