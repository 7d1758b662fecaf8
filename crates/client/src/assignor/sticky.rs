//! Even, and as before where that can be (KIP-54, KIP-341, KIP-429).
//!
//! First it is settled who owns what, whatever members claim. Where all members want the same topics, quotas say how
//! many each gets (`even`); otherwise partitions are moved until no move makes it more even (`balance`).

use std::collections::{BTreeMap, BTreeSet};

use super::{Assignment, Assignor, Member, NO_GENERATION, Topics, balance, even, remembered};
use crate::consumer::TopicPartition;

/// A member with what it claims.
pub(super) struct Claim<'a> {
    pub member: &'a Member,
    pub partitions: Vec<TopicPartition>,
    pub generation: Option<i32>,
}

/// Partitions that go from an owner to somebody else, with whom they go to.
pub(super) type Moving = BTreeMap<TopicPartition, String>;

/// What is settled before anything is given.
pub(super) struct Owned {
    /// What each member keeps if nothing speaks against it; in the order of the members' ids.
    pub by_member: Vec<Vec<TopicPartition>>,
    /// Claimed by two members in the same generation: nobody owns them.
    pub disputed: BTreeSet<TopicPartition>,
    /// The highest generation.
    pub generation: i32,
}

/// What members claim, by the way their assignor writes it; in the order of their ids.
pub(super) fn claims(assignor: Assignor, members: &[Member]) -> Vec<Claim<'_>> {
    let mut sorted: Vec<&Member> = members.iter().collect();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    let claim = |member| {
        let (partitions, generation) = match assignor {
            Assignor::Sticky => claimed_by_data(member),
            _ => claimed_by_field(member),
        };
        Claim { member, partitions, generation }
    };
    sorted.into_iter().map(claim).collect()
}

/// Members of an eager group own nothing when they join: their assignor wrote down what they had.
fn claimed_by_data(member: &Member) -> (Vec<TopicPartition>, Option<i32>) {
    match member.user_data.as_ref().filter(|bytes| !bytes.is_empty()) {
        None => (Vec::new(), None),
        Some(bytes) => remembered::read_sticky(bytes).unwrap_or((Vec::new(), Some(NO_GENERATION))),
    }
}

fn claimed_by_field(member: &Member) -> (Vec<TopicPartition>, Option<i32>) {
    let written = || {
        let bytes = member.user_data.as_ref()?;
        Some(remembered::read_cooperative(bytes).unwrap_or(NO_GENERATION))
    };
    (member.owned.clone(), member.generation.or_else(written))
}

/// Divides the topics among members, and tells which partitions change hands.
pub(super) fn assign(topics: &Topics, claims: &[Claim<'_>]) -> (Assignment, Moving) {
    let wanted = |topic: &str| claims.iter().any(|claim| claim.member.topics.contains(topic));
    let wanted = topics.iter().filter(|(topic, racks)| !racks.is_empty() && wanted(topic));
    let topics: Topics = wanted.map(|(topic, racks)| (topic.clone(), racks.clone())).collect();
    let owned = settle(&topics, claims);
    let first = claims.first().map(|claim| &claim.member.topics);
    let alike = claims.iter().all(|claim| Some(&claim.member.topics) == first);
    let racks = Racks::new(&topics, claims);
    let (by_member, moving) = match alike {
        true => even::assign(&topics, claims, owned, &racks),
        false => {
            let by_member = balance::assign(&topics, claims, owned, &racks);
            let moving = changing(claims, &by_member);
            (by_member, moving)
        }
    };
    let ids = claims.iter().map(|claim| claim.member.id.clone());
    (ids.zip(by_member).collect(), moving)
}

/// Who owns what: the claim of the higher generation holds, and of two in the same generation neither.
fn settle(topics: &Topics, claims: &[Claim<'_>]) -> Owned {
    let mut owners: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
    let mut owned = Owned {
        by_member: vec![Vec::new(); claims.len()],
        disputed: BTreeSet::new(),
        generation: NO_GENERATION,
    };
    let exists = |partition: &TopicPartition| {
        let count = topics.get(&partition.topic).map_or(0, Vec::len);
        usize::try_from(partition.partition).is_ok_and(|index| index < count)
    };
    for (at, claim) in claims.iter().enumerate() {
        let generation = claim.generation.unwrap_or(NO_GENERATION);
        owned.generation = owned.generation.max(generation);
        for partition in claim.partitions.iter().filter(|partition| exists(partition)) {
            let Some(&other) = owners.get(partition) else {
                owned.by_member[at].push(partition.clone());
                owners.insert(partition, at);
                continue;
            };
            // As Java: the other one's generation is the field's, whatever its assignor wrote.
            let others = claims[other].member.generation.unwrap_or(NO_GENERATION);
            if generation < others {
                continue;
            }
            owned.by_member[other].retain(|kept| kept != partition);
            owners.insert(partition, at);
            if generation == others {
                owned.disputed.insert(partition.clone());
            } else {
                owned.by_member[at].push(partition.clone());
            }
        }
    }
    owned
}

/// Partitions that somebody else has to let go of.
fn changing(claims: &[Claim<'_>], by_member: &[Vec<TopicPartition>]) -> Moving {
    let mut added = Moving::new();
    let mut revoked = BTreeSet::new();
    for (claim, got) in claims.iter().zip(by_member) {
        let had: BTreeSet<&TopicPartition> = claim.member.owned.iter().collect();
        let has: BTreeSet<&TopicPartition> = got.iter().collect();
        revoked.extend(had.difference(&has).map(|partition| (*partition).clone()));
        added.extend(has.difference(&had).map(|partition| ((*partition).clone(), claim.member.id.clone())));
    }
    added.retain(|partition, _| revoked.contains(partition));
    added
}

/// Which members are near which partitions, where that can make a difference (KIP-881).
pub(super) struct Racks<'a> {
    members: Vec<Option<&'a String>>,
    partitions: BTreeMap<TopicPartition, &'a BTreeSet<String>>,
    on: bool,
}

impl<'a> Racks<'a> {
    fn new(topics: &'a Topics, claims: &[Claim<'a>]) -> Self {
        let members: Vec<Option<&String>> = claims.iter().map(|claim| claim.member.rack.as_ref()).collect();
        let of_members: BTreeSet<&String> = members.iter().flatten().copied().collect();
        let of_partitions: BTreeSet<&String> = topics.values().flatten().flatten().collect();
        let uneven = topics.values().flatten().any(|racks| racks.len() != of_partitions.len());
        let on = uneven && !of_members.is_disjoint(&of_partitions);
        let mut partitions = BTreeMap::new();
        if !of_members.is_empty() {
            for (topic, racks) in topics {
                for (index, racks) in racks.iter().enumerate() {
                    partitions
                        .insert(TopicPartition { topic: topic.clone(), partition: index as i32 }, racks);
                }
            }
        }
        Self { members, partitions, on }
    }

    pub(super) fn are_on(&self) -> bool {
        self.on
    }

    /// Whether the member is in a rack without a replica of the partition.
    pub(super) fn mismatch(&self, member: usize, partition: &TopicPartition) -> bool {
        self.on
            && self.members[member]
                .is_some_and(|rack| self.partitions.get(partition).is_none_or(|racks| !racks.contains(rack)))
    }

    /// Whether the member is in a rack with a replica of the partition.
    pub(super) fn matches(&self, member: usize, partition: &TopicPartition) -> bool {
        self.on && self.members[member].is_some() && !self.mismatch(member, partition)
    }

    /// Puts partitions with fewest members near them first.
    pub(super) fn sort(&self, partitions: &mut [TopicPartition]) {
        let near = |partition: &TopicPartition| {
            let racks = self.partitions.get(partition)?;
            Some(self.members.iter().flatten().filter(|rack| racks.contains(**rack)).count())
        };
        partitions.sort_by_cached_key(|partition| near(partition).unwrap_or(0));
    }
}
