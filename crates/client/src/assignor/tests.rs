//! The assignors against what Java's made of the same groups (`tests/assignors`), and against their promises.

use proptest::prelude::*;

use super::*;

/// A group, and what Java's assignors gave it.
struct Case {
    topics: Topics,
    members: Vec<Member>,
    results: BTreeMap<String, Assignment>,
}

fn partitions(text: &str) -> Vec<TopicPartition> {
    let one = |word: &str| {
        let (topic, index) = word.split_once(':').unwrap();
        TopicPartition::new(topic, index.parse().unwrap())
    };
    text.split(',').filter(|word| !word.is_empty() && *word != "-").map(one).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|word| !word.is_empty() && *word != "-")
}

fn cases() -> Vec<Case> {
    let text = include_str!("../../../../tests/assignors/cases.txt");
    let case = |block: &str| {
        let mut case = Case { topics: Topics::new(), members: Vec::new(), results: BTreeMap::new() };
        for line in block.lines() {
            let parts: Vec<&str> = line.split(' ').collect();
            match parts.as_slice() {
                ["T", name, racks @ ..] => {
                    let racks = racks.iter().map(|racks| words(racks).map(str::to_owned).collect());
                    case.topics.insert((*name).into(), racks.collect());
                }
                ["M", id, instance, rack, generation, topics, owned] => {
                    let some = |text: &str| Some(text.to_owned()).filter(|text| text != "-");
                    let generation: i32 = generation.parse().unwrap();
                    case.members.push(Member {
                        id: (*id).to_owned(),
                        instance_id: some(instance),
                        topics: words(topics).map(Arc::from).collect(),
                        owned: partitions(owned),
                        generation: Some(generation).filter(|generation| *generation >= 0),
                        rack: some(rack),
                        user_data: None,
                    });
                }
                ["R", name, got @ ..] => {
                    let one = |text: &&str| {
                        let (id, list) = text.split_once('=').unwrap();
                        (id.to_owned(), partitions(list))
                    };
                    case.results.insert((*name).to_owned(), got.iter().map(one).collect());
                }
                other => panic!("{other:?}"),
            }
        }
        case
    };
    let cases: Vec<Case> = text.split("\n\n").filter(|block| !block.trim().is_empty()).map(case).collect();
    assert!(cases.len() > 200);
    cases
}

impl Case {
    fn ours(&self, assignor: Assignor) -> Assignment {
        let mut members = self.members.clone();
        if assignor == Assignor::Sticky {
            for member in &mut members {
                // Members of an eager group own nothing; their assignor remembers.
                let owned = std::mem::take(&mut member.owned);
                member.user_data = member.generation.map(|generation| remembered::sticky(&owned, generation));
            }
        }
        let mut assignment = assignor.assign(&self.topics, &members);
        assignment.values_mut().for_each(|got| got.sort());
        assignment
    }

    /// How many partitions stay with their owners.
    fn kept(&self, assignment: &Assignment) -> usize {
        let kept = |member: &Member| {
            let got = &assignment[&member.id];
            member.owned.iter().filter(|partition| got.contains(partition)).count()
        };
        self.members.iter().map(kept).sum()
    }

    /// Java's sticky assignors overlook a first member that wants nothing, and give it partitions all the same.
    fn is_sound(&self) -> bool {
        self.members.iter().all(|member| !member.topics.is_empty())
    }

    fn is_fresh(&self) -> bool {
        self.members.iter().all(|member| member.owned.is_empty())
    }

    fn has_racks(&self) -> bool {
        self.topics.values().flatten().any(|racks| !racks.is_empty())
    }
}

fn sizes(assignment: &Assignment) -> Vec<usize> {
    let mut sizes: Vec<usize> = assignment.values().map(Vec::len).collect();
    sizes.sort_unstable();
    sizes
}

#[test]
fn range_and_round_robin_give_what_java_gives() {
    for (n, case) in cases().iter().enumerate() {
        for assignor in [Assignor::Range, Assignor::RoundRobin] {
            assert_eq!(case.ours(assignor), case.results[assignor.name()], "case {n} {}", assignor.name());
        }
    }
}

#[test]
fn sticky_gives_what_java_gives_where_nobody_owned_anything() {
    let mut compared = 0;
    for (n, case) in cases().iter().enumerate().filter(|(_, case)| case.is_sound() && case.is_fresh()) {
        for assignor in [Assignor::Sticky, Assignor::CooperativeSticky] {
            compared += 1;
            assert_eq!(case.ours(assignor), case.results[assignor.name()], "case {n} {}", assignor.name());
        }
    }
    assert!(compared > 100);
}

#[test]
fn sticky_is_as_even_as_javas_and_keeps_as_much() {
    let (mut same, mut all) = (0, 0);
    for (n, case) in cases().iter().enumerate().filter(|(_, case)| case.is_sound() && !case.is_fresh()) {
        let (ours, java) = (case.ours(Assignor::Sticky), &case.results["sticky"]);
        assert_eq!(sizes(&ours), sizes(java), "case {n}");
        // With racks Java lets go of what is far away, and who gets it hangs on the order of a hash table.
        if !case.has_racks() {
            assert!(case.kept(&ours) >= case.kept(java), "case {n}: {ours:?} {java:?}");
        }
        all += 1;
        same += usize::from(&ours == java);
    }
    assert!(all > 100 && same * 10 >= all * 8, "{same} of {all} are the same");
}

#[test]
fn nothing_changes_hands_within_one_cooperative_rebalance() {
    for (n, case) in cases().iter().enumerate() {
        let ours = case.ours(Assignor::CooperativeSticky);
        for member in &case.members {
            for partition in &ours[&member.id] {
                let owner = case.members.iter().find(|other| other.owned.contains(partition));
                let free = owner.is_none_or(|owner| owner.id == member.id);
                let given_up = owner.is_some_and(|owner| !ours[&owner.id].contains(partition));
                assert!(free || !given_up, "case {n}: {partition} goes to {} while it is owned", member.id);
            }
        }
    }
}

#[test]
fn what_java_writes_is_read_and_written() {
    let owned = [TopicPartition::new("t", 1), TopicPartition::new("t", 0), TopicPartition::new("a", 2)];
    let bytes = remembered::sticky(&owned, 7);
    let expected = [
        0, 0, 0, 2, 0, 1, b'a', 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0,
        0, 7,
    ];
    assert_eq!(bytes[..], expected);
    let (read, generation) = remembered::read_sticky(&bytes).unwrap();
    assert_eq!((read.len(), generation), (3, Some(7)));
    let (_, generation) = remembered::read_sticky(&bytes.slice(..bytes.len() - 4)).unwrap();
    assert_eq!(generation, None);
    assert_eq!(remembered::read_sticky(&bytes.slice(..9)), None);
    assert_eq!(remembered::read_cooperative(&remembered::cooperative(5)), Some(5));
}

#[test]
fn assignments_of_newer_versions_are_read_and_nonsense_is_not() {
    let owned = [TopicPartition::new("t", 1), TopicPartition::new("t", 0)];
    let bytes = encode(&owned);
    assert_eq!(decode(&bytes).unwrap().len(), 2);
    let mut newer = bytes.to_vec();
    newer[1] = 9;
    assert_eq!(decode(&newer.into()).unwrap().len(), 2);
    assert_eq!(decode(&Bytes::new()), Some(Vec::new()));
    assert_eq!(decode(&bytes.slice(..5)), None);
    assert_eq!(decode(&Bytes::from_static(&[0xff, 0xff, 0, 0])), None);
}

/// Members that want some of a few topics, by number.
fn any_group() -> impl Strategy<Value = (Vec<u8>, Vec<(u8, Vec<u16>)>)> {
    let topics = proptest::collection::vec(0u8..8, 1..5);
    let members = proptest::collection::vec((1u8..32, proptest::collection::vec(any::<u16>(), 0..6)), 1..6);
    (topics, members)
}

fn group(counts: &[u8], wants: &[(u8, Vec<u16>)]) -> (Topics, Vec<Member>) {
    let name = |n: usize| -> Arc<str> { format!("t{n}").into() };
    let racks = |count: &u8| vec![BTreeSet::new(); usize::from(*count)];
    let topics: Topics = counts.iter().enumerate().map(|(n, count)| (name(n), racks(count))).collect();
    let member = |(n, (bits, owned)): (usize, &(u8, Vec<u16>))| Member {
        id: format!("m{n}"),
        topics: (0..counts.len()).filter(|t| bits & (1 << t) != 0).map(name).collect(),
        // Whatever members claim, even what is not there or belongs to others.
        owned: owned
            .iter()
            .map(|n| TopicPartition { topic: name(usize::from(n % 7)), partition: i32::from(n / 7 % 9) })
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        generation: Some(i32::from(*bits) % 3),
        ..Member::default()
    };
    (topics, wants.iter().enumerate().map(member).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_wanted_partition_goes_to_one_member_that_wants_it((counts, wants) in any_group()) {
        let (topics, members) = group(&counts, &wants);
        for assignor in Assignor::ALL {
            let assignment = assignor.assign(&topics, &members);
            let mut seen = BTreeSet::new();
            for member in &members {
                for partition in &assignment[&member.id] {
                    prop_assert!(member.topics.contains(&partition.topic), "{assignor:?}");
                    prop_assert!((partition.partition as usize) < topics[&partition.topic].len());
                    prop_assert!(seen.insert(partition.clone()), "{assignor:?}: {partition} twice");
                }
            }
            let wanted: usize = topics
                .iter()
                .filter(|(topic, _)| members.iter().any(|member| member.topics.contains(*topic)))
                .map(|(_, racks)| racks.len())
                .sum();
            // What changes hands in a cooperative group is nobody's until the next rebalance.
            prop_assert!(seen.len() == wanted || assignor.is_cooperative() && seen.len() < wanted, "{assignor:?}");
        }
    }

    #[test]
    fn sticky_members_that_want_the_same_differ_by_one_at_most(
        (counts, wants) in any_group(),
        bits in 1u8..32,
    ) {
        let alike: Vec<_> = wants.iter().map(|(_, owned)| (bits, owned.clone())).collect();
        let (topics, members) = group(&counts, &alike);
        let sizes = sizes(&sticky::assign(&topics, &sticky::claims(Assignor::CooperativeSticky, &members)).0);
        prop_assert!(sizes.last().unwrap() - sizes.first().unwrap() <= 1, "{sizes:?}");
    }

    #[test]
    fn an_even_assignment_stays_as_it_is((counts, wants) in any_group()) {
        let (topics, mut members) = group(&counts, &wants);
        for member in &mut members {
            member.owned.clear();
        }
        for assignor in [Assignor::Sticky, Assignor::CooperativeSticky] {
            let first = assignor.assign(&topics, &members);
            for member in &mut members {
                member.owned.clone_from(&first[&member.id]);
                member.generation = Some(1);
                member.user_data = Some(remembered::sticky(&member.owned, 1));
            }
            let mut second = assignor.assign(&topics, &members);
            let mut first = first;
            first.values_mut().chain(second.values_mut()).for_each(|got| got.sort());
            prop_assert_eq!(first, second);
        }
    }
}
