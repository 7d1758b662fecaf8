//! Members that all want the same topics: everybody gets the lower quota, as many as must get one more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Topics;
use super::sticky::{Claim, Moving, Owned, Racks};
use crate::consumer::TopicPartition;

struct Even<'a> {
    racks: &'a Racks<'a>,
    given: Vec<Vec<TopicPartition>>,
    low: usize,
    high: usize,
    /// How many members get more than the lower quota, and how many do so far.
    above_expected: usize,
    above: usize,
    /// Members with less than the lower quota.
    hungry: Vec<usize>,
    /// Members with exactly that, who may get one more.
    content: VecDeque<usize>,
    /// What was taken from whom.
    taken: BTreeMap<TopicPartition, usize>,
    disputed: BTreeSet<TopicPartition>,
    moving: BTreeMap<TopicPartition, usize>,
}

/// Divides the topics; members are in the order of their ids.
pub(super) fn assign(
    topics: &Topics,
    claims: &[Claim<'_>],
    owned: Owned,
    racks: &Racks<'_>,
) -> (Vec<Vec<TopicPartition>>, Moving) {
    let members = claims.len();
    let partitions: usize = topics.values().map(Vec::len).sum();
    if members == 0 {
        return (Vec::new(), Moving::new());
    }
    let mut even = Even {
        racks,
        given: vec![Vec::new(); members],
        low: partitions / members,
        high: partitions.div_ceil(members),
        above_expected: partitions % members,
        above: 0,
        hungry: Vec::new(),
        content: VecDeque::new(),
        taken: BTreeMap::new(),
        disputed: owned.disputed,
        moving: BTreeMap::new(),
    };
    for (member, partitions) in owned.by_member.into_iter().enumerate() {
        even.keep(member, partitions);
    }
    let mut left = even.left(topics);
    racks.sort(&mut left);
    if racks.are_on() {
        left = even.by_rack(left);
    }
    even.in_turn(left);
    let moving = even.moving.into_iter().map(|(partition, to)| (partition, claims[to].member.id.clone()));
    (even.given, moving.collect())
}

impl Even<'_> {
    /// Lets a member keep what it owned, up to its quota.
    fn keep(&mut self, member: usize, mut owned: Vec<TopicPartition>) {
        owned.retain(|partition| {
            let far = self.racks.mismatch(member, partition);
            if far {
                self.taken.insert(partition.clone(), member);
            }
            !far && !self.disputed.contains(partition)
        });
        owned.sort_by(|a, b| (a.partition, &a.topic).cmp(&(b.partition, &b.topic)));
        let kept = if owned.len() < self.low {
            self.hungry.push(member);
            owned.len()
        } else if owned.len() >= self.high && self.above < self.above_expected {
            self.above += 1;
            if self.above == self.above_expected {
                self.content.clear();
            }
            self.high
        } else {
            if self.above < self.above_expected {
                self.content.push_back(member);
            }
            self.low
        };
        for partition in owned.split_off(kept) {
            self.taken.insert(partition, member);
        }
        self.given[member] = owned;
    }

    fn left(&self, topics: &Topics) -> Vec<TopicPartition> {
        let given: BTreeSet<&TopicPartition> = self.given.iter().flatten().collect();
        let all = topics.iter().flat_map(|(topic, racks)| {
            (0..racks.len()).map(|index| TopicPartition { topic: topic.clone(), partition: index as i32 })
        });
        all.filter(|partition| !given.contains(partition)).collect()
    }

    fn give(&mut self, member: usize, partition: TopicPartition) -> usize {
        let from_other = self.taken.get(&partition).is_some_and(|owner| *owner != member);
        if from_other || self.disputed.contains(&partition) {
            self.moving.insert(partition.clone(), member);
        }
        self.given[member].push(partition);
        self.given[member].len()
    }

    /// Gives partitions to members near them; the others are handed back.
    fn by_rack(&mut self, partitions: Vec<TopicPartition>) -> Vec<TopicPartition> {
        let mut far = Vec::new();
        let mut next = 0;
        for partition in partitions {
            let count = self.hungry.len();
            let near = (0..count)
                .map(|step| (next + step) % count)
                .find(|at| self.racks.matches(self.hungry[*at], &partition));
            if let Some(at) = near {
                let member = self.hungry[at];
                let reached = self.given[member].len() + 1;
                let mut after = at + 1;
                if reached >= self.low {
                    self.hungry.remove(at);
                    after = at;
                    if reached < self.high && self.above < self.above_expected {
                        self.content.push_back(member);
                    }
                }
                next = after.checked_rem(self.hungry.len()).unwrap_or(0);
                self.give(member, partition);
                continue;
            }
            let near = self.content.iter().position(|member| self.racks.matches(*member, &partition));
            let Some(at) = near else {
                far.push(partition);
                continue;
            };
            let member = self.content[at];
            if self.given[member].len() + 1 == self.high {
                self.content.remove(at);
                self.above += 1;
                if self.above == self.above_expected {
                    self.content.clear();
                }
            }
            self.give(member, partition);
        }
        far
    }

    /// Gives what is left to the hungry in turn, then to the content.
    fn in_turn(&mut self, partitions: Vec<TopicPartition>) {
        let mut next = 0;
        for partition in partitions {
            if next >= self.hungry.len() {
                next = 0;
            }
            let (member, hungry) = match self.hungry.get(next) {
                Some(member) => (*member, true),
                None => {
                    let member = self.content.pop_front();
                    (member.expect("the quotas have room for every partition"), false)
                }
            };
            let reached = self.give(member, partition);
            if hungry && reached == self.low {
                self.hungry.remove(next);
                self.content.push_back(member);
            } else {
                next += usize::from(hungry);
            }
        }
    }
}
