//! Members that want different topics: partitions are moved, one by one, until no move makes it more even.
//!
//! A partition moves to the member with fewest that wants its topic. Two partitions of a topic are not swapped between
//! two members: instead of a second move, the first is undone (`Moves`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::sticky::{Claim, Owned, Racks};
use super::{NO_GENERATION, Topics};
use crate::consumer::TopicPartition;

struct Balance<'a> {
    topics: &'a Topics,
    racks: &'a Racks<'a>,
    /// Which members want each topic.
    wanted_by: BTreeMap<Arc<str>, Vec<usize>>,
    /// Which topics each member wants.
    wants: Vec<BTreeSet<Arc<str>>>,
    given: Vec<Vec<TopicPartition>>,
    owner: BTreeMap<TopicPartition, usize>,
    /// Members with how many partitions they have, fewest first; without those whose share cannot change.
    order: BTreeSet<(usize, usize)>,
    moves: Moves,
}

/// Divides the topics; members are in the order of their ids.
pub(super) fn assign(
    topics: &Topics,
    claims: &[Claim<'_>],
    owned: Owned,
    racks: &Racks<'_>,
) -> Vec<Vec<TopicPartition>> {
    if claims.is_empty() {
        return Vec::new();
    }
    let before = earlier_owners(claims, owned.generation);
    let mut balance = Balance::new(topics, claims, racks);
    let revoked = balance.keep(owned.by_member);
    let mut all = balance.in_order();
    let left: Vec<TopicPartition> =
        all.iter().filter(|partition| !balance.owner.contains_key(*partition)).cloned().collect();
    let fresh = balance.order.last().is_none_or(|(most, _)| *most == 0);
    balance.fill(&left);

    let movable = |partition: &TopicPartition| balance.wanted_by[&partition.topic].len() >= 2;
    all.retain(movable);
    let left: Vec<TopicPartition> = left.into_iter().filter(movable).collect();
    for member in 0..claims.len() {
        if !balance.is_open(member) {
            balance.order.remove(&(balance.given[member].len(), member));
        }
    }
    let (given, owner) = (balance.given.clone(), balance.owner.clone());
    if !revoked {
        balance.even_out(&left, &before);
    }
    let moved = balance.even_out(&all, &before);
    if !fresh && moved && balance.unevenness(&balance.given) >= balance.unevenness(&given) {
        (balance.given, balance.owner) = (given, owner);
    }
    balance.given
}

/// Who owned partitions in generations before the last one.
fn earlier_owners(claims: &[Claim<'_>], last: i32) -> BTreeMap<TopicPartition, usize> {
    let mut owners: BTreeMap<TopicPartition, (i32, usize)> = BTreeMap::new();
    for (member, claim) in claims.iter().enumerate() {
        let generation = claim.generation.unwrap_or(NO_GENERATION);
        let earlier = match claim.generation {
            Some(generation) => generation < last,
            None => last > NO_GENERATION,
        };
        for partition in claim.partitions.iter().filter(|_| earlier) {
            let known = owners.get(partition).map(|(generation, _)| *generation);
            if known.is_none_or(|known| generation > known) {
                owners.insert(partition.clone(), (generation, member));
            }
        }
    }
    owners.into_iter().map(|(partition, (_, member))| (partition, member)).collect()
}

impl<'a> Balance<'a> {
    fn new(topics: &'a Topics, claims: &[Claim<'_>], racks: &'a Racks<'a>) -> Self {
        let mut wanted_by: BTreeMap<Arc<str>, Vec<usize>> =
            topics.keys().map(|topic| (topic.clone(), Vec::new())).collect();
        let mut wants = Vec::new();
        for (member, claim) in claims.iter().enumerate() {
            let known: BTreeSet<Arc<str>> =
                claim.member.topics.iter().filter(|topic| topics.contains_key(*topic)).cloned().collect();
            for topic in &known {
                wanted_by.entry(topic.clone()).or_default().push(member);
            }
            wants.push(known);
        }
        Self {
            topics,
            racks,
            wanted_by,
            wants,
            given: vec![Vec::new(); claims.len()],
            owner: BTreeMap::new(),
            order: (0..claims.len()).map(|member| (0, member)).collect(),
            moves: Moves::default(),
        }
    }

    /// Lets members keep what they own and still want; true if something was taken from somebody.
    fn keep(&mut self, owned: Vec<Vec<TopicPartition>>) -> bool {
        let mut revoked = false;
        for (member, partitions) in owned.into_iter().enumerate() {
            for partition in partitions {
                let kept =
                    self.wants[member].contains(&partition.topic) && !self.racks.mismatch(member, &partition);
                revoked |= !kept;
                if kept {
                    self.give(member, partition);
                }
            }
        }
        revoked
    }

    /// Every partition: topics that fewest want first, then by name.
    fn in_order(&self) -> Vec<TopicPartition> {
        let mut topics: Vec<&Arc<str>> = self.topics.keys().collect();
        topics.sort_by_key(|topic| (self.wanted_by[*topic].len(), *topic));
        let partitions = |topic: &&Arc<str>| {
            let topic = (*topic).clone();
            (0..self.topics[&topic].len())
                .map(move |index| TopicPartition { topic: topic.clone(), partition: index as i32 })
        };
        topics.iter().flat_map(partitions).collect()
    }

    fn give(&mut self, member: usize, partition: TopicPartition) {
        let had = self.given[member].len();
        if self.order.remove(&(had, member)) {
            self.order.insert((had + 1, member));
        }
        self.owner.insert(partition.clone(), member);
        self.given[member].push(partition);
    }

    fn take(&mut self, member: usize, partition: &TopicPartition) {
        let had = self.given[member].len();
        if self.order.remove(&(had, member)) {
            self.order.insert((had - 1, member));
        }
        self.given[member].retain(|other| other != partition);
    }

    /// Gives what nobody has, to members near it first.
    fn fill(&mut self, partitions: &[TopicPartition]) {
        let mut left = partitions.to_vec();
        if self.racks.are_on() {
            left.retain(|partition| !self.give_to_least(partition, Racks::mismatch));
        }
        for partition in left {
            self.give_to_least(&partition, |_, _, _| false);
        }
    }

    fn give_to_least(
        &mut self,
        partition: &TopicPartition,
        unfit: impl Fn(&Racks<'a>, usize, &TopicPartition) -> bool,
    ) -> bool {
        let wants = |member: usize| self.wants[member].contains(&partition.topic);
        let found = self
            .order
            .iter()
            .map(|(_, member)| *member)
            .find(|member| wants(*member) && !unfit(self.racks, *member, partition));
        if let Some(member) = found {
            self.give(member, partition.clone());
        }
        found.is_some()
    }

    /// How many partitions a member could have at most.
    fn most(&self, member: usize) -> usize {
        self.wants[member].iter().map(|topic| self.topics[topic].len()).sum()
    }

    /// Whether a member's share can change at all.
    fn is_open(&self, member: usize) -> bool {
        self.given[member].len() < self.most(member)
            || self.given[member].iter().any(|partition| self.wanted_by[&partition.topic].len() >= 2)
    }

    fn is_balanced(&self) -> bool {
        let (Some((least, _)), Some((most, _))) = (self.order.first(), self.order.last()) else {
            return true;
        };
        if *least + 1 >= *most {
            return true;
        }
        // For each topic the most that an owner of one of its partitions has.
        let mut richest: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for (count, member) in &self.order {
            for partition in &self.given[*member] {
                let most = richest.entry(&partition.topic).or_default();
                *most = (*most).max(*count);
            }
        }
        let could_get = |(count, member): &(usize, usize)| {
            *count < self.most(*member)
                && self.wants[*member].iter().any(|topic| richest.get(topic).is_some_and(|m| *m > count + 1))
        };
        !self.order.iter().any(could_get)
    }

    /// Moves partitions as long as that makes it more even; whether any was moved.
    fn even_out(&mut self, partitions: &[TopicPartition], before: &BTreeMap<TopicPartition, usize>) -> bool {
        let mut moved = false;
        loop {
            let mut again = false;
            for partition in partitions {
                if self.is_balanced() {
                    break;
                }
                let Some(&member) = self.owner.get(partition) else { continue };
                let count = self.given[member].len();
                let poorer = |other: usize| count > self.given[other].len() + 1;
                let to = match before.get(partition) {
                    Some(&earlier) if self.wants[earlier].contains(&partition.topic) && poorer(earlier) => {
                        Some(earlier)
                    }
                    _ if self.wanted_by[&partition.topic].iter().any(|other| poorer(*other)) => {
                        self.least_wanting(partition)
                    }
                    _ => None,
                };
                if let Some(to) = to {
                    self.shift(partition, to);
                    again = true;
                }
            }
            moved |= again;
            if !again {
                return moved;
            }
        }
    }

    fn least_wanting(&self, partition: &TopicPartition) -> Option<usize> {
        let members = self.order.iter().map(|(_, member)| *member);
        members.into_iter().find(|member| self.wants[*member].contains(&partition.topic))
    }

    fn shift(&mut self, partition: &TopicPartition, to: usize) {
        let Some(&from) = self.owner.get(partition) else { return };
        let moved = self.moves.instead_of(partition, from, to);
        let Some(&from) = self.owner.get(&moved) else { return };
        self.moves.note(&moved, from, to);
        self.take(from, &moved);
        self.give(to, moved);
    }

    /// The sum of the differences between every two members: 0 where all have as many.
    fn unevenness(&self, given: &[Vec<TopicPartition>]) -> usize {
        let mut counts: Vec<usize> = self.order.iter().map(|(_, member)| given[*member].len()).collect();
        counts.sort_unstable();
        // In rising order each count is the greater one of as many pairs as stand before it.
        let mut sum = 0;
        let mut score = 0;
        for (place, count) in counts.into_iter().enumerate() {
            score += count * place - sum;
            sum += count;
        }
        score
    }
}

/// What has moved from whom to whom, by topic.
#[derive(Default)]
struct Moves {
    by_topic: BTreeMap<(Arc<str>, usize, usize), BTreeSet<TopicPartition>>,
    of: BTreeMap<TopicPartition, (usize, usize)>,
}

impl Moves {
    /// A partition of the same topic that went the other way before: it goes back instead.
    fn instead_of(&self, partition: &TopicPartition, from: usize, to: usize) -> TopicPartition {
        let from = self.of.get(partition).map_or(from, |(source, _)| *source);
        let back = self.by_topic.get(&(partition.topic.clone(), to, from)).and_then(BTreeSet::first);
        back.unwrap_or(partition).clone()
    }

    fn note(&mut self, partition: &TopicPartition, from: usize, to: usize) {
        let source = match self.of.remove(partition) {
            Some((source, target)) => {
                let key = (partition.topic.clone(), source, target);
                if let Some(set) = self.by_topic.get_mut(&key) {
                    set.remove(partition);
                    if set.is_empty() {
                        self.by_topic.remove(&key);
                    }
                }
                source
            }
            None => from,
        };
        if source != to {
            self.of.insert(partition.clone(), (source, to));
            self.by_topic.entry((partition.topic.clone(), source, to)).or_default().insert(partition.clone());
        }
    }
}
