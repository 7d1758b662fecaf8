//! Assignors under members that come and go.

use std::collections::BTreeMap;

use ottla_protocol::Uuid;
use proptest::prelude::*;

use super::*;

/// A group as tests see it: what each member wants and had.
#[derive(Clone, Debug)]
struct Group {
    /// Partitions of the topics 0, 1, …
    topics: Vec<i32>,
    members: BTreeMap<String, (BTreeSet<usize>, Partitions)>,
}

fn topic(number: usize) -> TopicId {
    let mut id = [7; 16];
    id[15] = u8::try_from(number).unwrap();
    Uuid(id)
}

impl Group {
    fn kind(&self) -> Subscriptions {
        let mut wishes = self.members.values().map(|(wish, _)| wish);
        let first = wishes.next();
        if wishes.all(|wish| Some(wish) == first) { Subscriptions::Alike } else { Subscriptions::Mixed }
    }

    /// Assigns; the members then have what they got.
    fn assign(&mut self, assignor: Assignor) {
        let kind = self.kind();
        self.assign_as(assignor, kind);
    }

    fn assign_as(&mut self, assignor: Assignor, subscriptions: Subscriptions) {
        let members = self.members.iter().map(|(id, (wish, had))| MemberSpec {
            id,
            instance: None,
            topics: wish.iter().map(|number| topic(*number)).collect(),
            had,
        });
        let counts = self.topics.iter().enumerate().map(|(number, count)| (topic(number), *count));
        let spec = Spec { members: members.collect(), subscriptions, partition_counts: counts.collect() };
        let result = assignor.assign(&spec);
        assert_eq!(result.len(), self.members.len());
        for ((_, had), new) in self.members.values_mut().zip(result) {
            if let Some(new) = new {
                assert_ne!(*had, new, "only what is new is said");
                assert!(new.values().all(|partitions| !partitions.is_empty()));
                *had = new;
            }
        }
    }

    fn sizes(&self) -> Vec<usize> {
        self.members.values().map(|(_, had)| had.values().map(BTreeSet::len).sum()).collect()
    }

    /// Who has what.
    fn owners(&self) -> BTreeMap<(TopicId, i32), &str> {
        let mut owners = BTreeMap::new();
        for (id, (_, had)) in &self.members {
            for (topic, partitions) in had {
                for partition in partitions {
                    let other = owners.insert((*topic, *partition), &**id);
                    assert_eq!(other, None, "{topic}-{partition} has two owners");
                }
            }
        }
        owners
    }

    /// Everything that somebody wants is with somebody who wants it, and nothing else is.
    fn check(&self) {
        let owners = self.owners();
        for ((topic_id, _), owner) in &owners {
            let number = (0..self.topics.len()).find(|number| topic(*number) == *topic_id).unwrap();
            assert!(self.members[*owner].0.contains(&number), "{owner} does not want it");
        }
        for (number, count) in self.topics.iter().enumerate() {
            let is_wanted = self.members.values().any(|(wish, _)| wish.contains(&number));
            for partition in 0..*count {
                assert_eq!(owners.contains_key(&(topic(number), partition)), is_wanted);
            }
        }
    }

    fn is_even(&self) -> bool {
        let sizes = self.sizes();
        sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1
    }
}

fn group(topics: &[i32], members: &[(&str, &[usize])]) -> Group {
    let member = |(id, wish): &(&str, &[usize])| {
        ((*id).to_owned(), (wish.iter().copied().collect(), Partitions::new()))
    };
    Group { topics: topics.to_vec(), members: members.iter().map(member).collect() }
}

#[test]
fn ranges_go_by_the_order_of_the_members() {
    let mut group = group(&[5, 2], &[("a", &[0, 1]), ("b", &[0, 1]), ("c", &[0])]);
    group.assign(Assignor::Range);
    let numbers = |member: &str, number: usize| -> Vec<i32> {
        group.members[member].1.get(&topic(number)).into_iter().flatten().copied().collect()
    };
    assert_eq!((numbers("a", 0), numbers("b", 0), numbers("c", 0)), (vec![0, 1], vec![2, 3], vec![4]));
    assert_eq!((numbers("a", 1), numbers("b", 1)), (vec![0], vec![1]));
    group.check();
}

#[test]
fn static_members_come_first_in_ranges() {
    let had = Partitions::new();
    let member = |id, instance| MemberSpec { id, instance, topics: [topic(0)].into(), had: &had };
    let spec = Spec {
        members: vec![member("a", None), member("b", Some("y")), member("c", Some("x"))],
        subscriptions: Subscriptions::Alike,
        partition_counts: [(topic(0), 3)].into(),
    };
    let result = Assignor::Range.assign(&spec);
    let first = |at: usize| result[at].as_ref().unwrap()[&topic(0)].first().copied();
    assert_eq!((first(0), first(1), first(2)), (Some(2), Some(1), Some(0)));
}

#[test]
fn nobody_and_nothing() {
    for assignor in Assignor::ALL {
        let nobody = Spec {
            members: Vec::new(),
            subscriptions: Subscriptions::Alike,
            partition_counts: BTreeMap::new(),
        };
        assert!(assignor.assign(&nobody).is_empty());
        let mut idle = group(&[3], &[("a", &[]), ("b", &[])]);
        idle.assign(assignor);
        assert_eq!(idle.sizes(), [0, 0]);
        assert_eq!(Assignor::named(assignor.name()), Some(assignor));
    }
    assert_eq!(Assignor::named("sticky"), None);
}

#[test]
fn one_more_partition_stays_with_those_who_have_it() {
    let mut group = group(&[8], &[("a", &[0]), ("b", &[0]), ("c", &[0])]);
    let wish = |numbers: std::ops::Range<i32>| Partitions::from([(topic(0), numbers.collect())]);
    group.members.get_mut("a").unwrap().1 = wish(0..2);
    group.members.get_mut("b").unwrap().1 = wish(2..5);
    group.members.get_mut("c").unwrap().1 = wish(5..8);
    let before = group.clone();
    group.assign(Assignor::Uniform);
    assert_eq!(group.owners(), before.owners(), "nothing moves");
}

/// What happens to a group.
#[derive(Clone, Debug)]
enum Event {
    Join(u8),
    Leave(u8),
    Grow(u8, u8),
    Wish(u8, u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => any::<u8>().prop_map(Event::Join),
        3 => any::<u8>().prop_map(Event::Leave),
        1 => (any::<u8>(), 1..6_u8).prop_map(|(topic, by)| Event::Grow(topic, by)),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(member, wish)| Event::Wish(member, wish)),
    ]
}

fn wish(bits: u8, topics: usize) -> BTreeSet<usize> {
    (0..topics).filter(|number| bits >> number & 1 == 1).collect()
}

impl Group {
    fn happen(&mut self, event: &Event, mixed: bool) {
        let topics = self.topics.len();
        let all = wish(255, topics);
        match event {
            Event::Join(number) => {
                let wanted = if mixed { wish(*number, topics) } else { all };
                self.members.entry(format!("m{:02}", number % 32)).or_insert((wanted, Partitions::new()));
            }
            Event::Leave(number) => {
                let at = usize::from(*number) % self.members.len().max(1);
                if self.members.len() > 1
                    && let Some(id) = self.members.keys().nth(at).cloned()
                {
                    self.members.remove(&id);
                }
            }
            Event::Grow(number, by) => self.topics[usize::from(*number) % topics] += i32::from(*by),
            Event::Wish(member, bits) if mixed => {
                let at = usize::from(*member) % self.members.len();
                if let Some((wanted, _)) = self.members.values_mut().nth(at) {
                    *wanted = wish(*bits, topics);
                }
            }
            Event::Wish(..) => {}
        }
    }
}

/// The least number of partitions that have to move: nobody keeps more than his share, and only so many keep one more.
fn least_moves(before: &Group, after: &Group) -> usize {
    let total: usize = after.topics.iter().map(|count| usize::try_from(*count).unwrap()).sum();
    let members = after.members.len();
    let (share, extras) = (total / members, total % members);
    let held = |id: &str| before.members.get(id).map_or(0, |(_, had)| had.values().map(BTreeSet::len).sum());
    let sizes: Vec<usize> = after.members.keys().map(|id| held(id)).collect();
    let kept: usize = sizes.iter().map(|size| (*size).min(share)).sum();
    let more = sizes.iter().filter(|size| **size > share).count().min(extras);
    sizes.iter().sum::<usize>() - kept - more
}

fn moves(before: &Group, after: &Group) -> usize {
    let now = after.owners();
    let moved = |(at, owner): (&(TopicId, i32), &&str)| {
        after.members.contains_key(*owner) && now.get(at) != Some(owner)
    };
    before.owners().iter().filter(|(at, owner)| moved((at, owner))).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn uniform_is_even_and_moves_no_more_than_it_must(
        topics in prop::collection::vec(1..12_i32, 1..4),
        events in prop::collection::vec(event(), 1..30),
    ) {
        let mut group = Group { topics, members: BTreeMap::new() };
        group.happen(&Event::Join(0), false);
        group.assign(Assignor::Uniform);
        for event in events {
            let before = group.clone();
            group.happen(&event, false);
            let changed = group.clone();
            group.assign(Assignor::Uniform);
            group.check();
            prop_assert!(group.is_even(), "{:?}", group.sizes());
            prop_assert_eq!(moves(&before, &group), least_moves(&before, &changed));
        }
    }

    #[test]
    fn a_second_look_changes_nothing(
        topics in prop::collection::vec(1..12_i32, 1..6),
        wishes in prop::collection::vec(any::<u8>(), 1..20),
        alike in any::<bool>(),
    ) {
        let mut group = Group { topics, members: BTreeMap::new() };
        for number in wishes {
            group.happen(&Event::Join(number), !alike);
        }
        for assignor in Assignor::ALL {
            group.assign(assignor);
            group.check();
            let before = group.clone();
            group.assign(assignor);
            prop_assert_eq!(before.owners(), group.owners());
        }
    }

    #[test]
    fn mixed_wishes_are_met(
        topics in prop::collection::vec(1..12_i32, 1..8),
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut group = Group { topics, members: BTreeMap::new() };
        group.happen(&Event::Join(255), true);
        for event in events {
            group.happen(&event, true);
            group.assign(Assignor::Uniform);
            group.check();
            // Whoever has two more than another has nothing that the other wants.
            let owners = group.owners();
            let sizes: BTreeMap<&str, usize> = group.members.keys().map(|id| &**id).zip(group.sizes()).collect();
            for ((topic_id, _), owner) in &owners {
                for (other, (wish, _)) in &group.members {
                    let wants = wish.iter().any(|number| topic(*number) == *topic_id);
                    prop_assert!(!wants || sizes[owner] <= sizes[&**other] + 1, "{:?}", sizes);
                }
            }
        }
    }

    #[test]
    fn alike_may_be_taken_for_mixed(
        topics in prop::collection::vec(1..12_i32, 1..4),
        events in prop::collection::vec(event(), 1..20),
    ) {
        let mut group = Group { topics, members: BTreeMap::new() };
        group.happen(&Event::Join(0), false);
        for event in events {
            group.happen(&event, false);
            group.assign_as(Assignor::Uniform, Subscriptions::Mixed);
            group.check();
            prop_assert!(group.is_even(), "{:?}", group.sizes());
        }
    }
}
