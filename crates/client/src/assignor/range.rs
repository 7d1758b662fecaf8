//! Each topic by itself: a run of neighbouring partitions for each member, the first members one more.
//!
//! Where members are in racks and not every partition is in every rack, partitions go to members in their racks first
//! (KIP-881); topics with the same members and as many partitions stay aligned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Assignment, Member, Topics};
use crate::consumer::TopicPartition;

/// A topic that is being divided.
struct Share<'a> {
    topic: &'a Arc<str>,
    racks: &'a [BTreeSet<String>],
    members: Vec<&'a Member>,
    left: BTreeSet<usize>,
    /// How many each member has got.
    got: Vec<usize>,
    /// What each gets, and how many may still get one more.
    quota: usize,
    extra: usize,
    by_rack: bool,
}

/// Divides the topics among members, which are in order.
pub(super) fn assign(topics: &Topics, members: &[&Member]) -> Assignment {
    let mut assignment: Assignment = members.iter().map(|member| (member.id.clone(), Vec::new())).collect();
    let mut shares: Vec<Share<'_>> = topics
        .iter()
        .filter(|(_, racks)| !racks.is_empty())
        .map(|(topic, racks)| Share::new(topic, racks, members))
        .collect();
    let by_rack = shares.iter().any(|share| share.by_rack);
    if by_rack {
        match_racks(&mut shares, &mut assignment);
    }
    for share in &mut shares {
        share.run(&mut assignment, |_, _| true);
    }
    if by_rack {
        for partitions in assignment.values_mut() {
            partitions.sort();
        }
    }
    assignment
}

impl<'a> Share<'a> {
    fn new(topic: &'a Arc<str>, racks: &'a [BTreeSet<String>], members: &[&'a Member]) -> Self {
        let wants = |member: &&&Member| member.topics.contains(topic);
        let members: Vec<&Member> = members.iter().filter(wants).copied().collect();
        let of_members: BTreeSet<&String> = members.iter().filter_map(|m| m.rack.as_ref()).collect();
        let of_partitions: BTreeSet<&String> = racks.iter().flatten().collect();
        let uneven = racks.iter().any(|racks| racks.len() != of_partitions.len());
        let by_rack = uneven && !of_members.is_disjoint(&of_partitions);
        let count = members.len();
        Self {
            topic,
            racks,
            left: (0..racks.len()).collect(),
            got: vec![0; count],
            quota: racks.len().checked_div(count).unwrap_or(0),
            extra: racks.len().checked_rem(count).unwrap_or(0),
            members,
            by_rack,
        }
    }

    fn room(&self, member: usize) -> usize {
        (self.quota + usize::from(self.extra > 0)).saturating_sub(self.got[member])
    }

    fn is_near(&self, member: usize, partition: usize) -> bool {
        let rack = self.members[member].rack.as_ref();
        rack.is_none_or(|rack| self.racks[partition].contains(rack))
    }

    fn give(&mut self, member: usize, partitions: &[usize], assignment: &mut Assignment) {
        let Some(list) = assignment.get_mut(&self.members[member].id) else { return };
        for partition in partitions {
            list.push(TopicPartition { topic: self.topic.clone(), partition: *partition as i32 });
            self.left.remove(partition);
        }
        self.got[member] += partitions.len();
        if self.got[member] > self.quota {
            self.extra = self.extra.saturating_sub(1);
        }
    }

    /// Gives each member in turn the first partitions that it may have.
    fn run(&mut self, assignment: &mut Assignment, may: impl Fn(&Self, (usize, usize)) -> bool) {
        for member in 0..self.members.len() {
            let fit = self.left.iter().copied().filter(|partition| may(self, (member, *partition)));
            let fit: Vec<usize> = fit.take(self.room(member)).collect();
            if !fit.is_empty() {
                self.give(member, &fit, assignment);
            }
        }
    }
}

/// Topics with the same members and as many partitions are divided together.
fn match_racks(shares: &mut [Share<'_>], assignment: &mut Assignment) {
    let mut alike: BTreeMap<(Vec<&str>, usize), Vec<usize>> = BTreeMap::new();
    for (place, share) in shares.iter().enumerate() {
        let members = share.members.iter().map(|member| member.id.as_str()).collect();
        let in_racks = share.members.iter().any(|member| member.rack.is_some());
        let partitions = if in_racks { share.racks.len() } else { 0 };
        alike.entry((members, partitions)).or_default().push(place);
    }
    for ((members, partitions), places) in alike {
        match places.as_slice() {
            [place] if shares[*place].by_rack => {
                shares[*place].run(assignment, |share, (member, partition)| share.is_near(member, partition));
            }
            [_] => {}
            places => together(shares, (places, members.len(), partitions), assignment),
        }
    }
}

fn together(
    shares: &mut [Share<'_>],
    (places, members, partitions): (&[usize], usize, usize),
    assignment: &mut Assignment,
) {
    let mut open: Vec<usize> = (0..members).collect();
    for partition in 0..partitions {
        let fits = |member: &usize| {
            places
                .iter()
                .all(|&place| shares[place].is_near(*member, partition) && shares[place].room(*member) > 0)
        };
        let Some(member) = open.iter().copied().find(fits) else { continue };
        for &place in places {
            shares[place].give(member, &[partition], assignment);
        }
        if places.iter().all(|&place| shares[place].room(member) == 0) {
            open.retain(|other| *other != member);
        }
    }
}
