//! Whatever is asked in whatever order: the controller's own records always follow, and the cluster stays sound.

mod support;

use ottla_controller::{Command, Decision};
use ottla_metadata::{Image, Replay};
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_protocol::{NodeId, Offset};
use proptest::prelude::*;
use support::world::World;

/// What happens, in small numbers that fit whatever cluster there is by then.
#[derive(Clone, Debug)]
enum Step {
    Beat(u8),
    Fence(u8),
    Stop(u8),
    Restart { broker: u8, clean: bool },
    Unregister(u8),
    Create { topic: u8, partitions: u8, factor: u8 },
    Grow { topic: u8, more: u8 },
    Delete(u8),
    Isr { pick: u8, members: u8 },
    Reassign { pick: u8, first: u8, count: u8 },
    Cancel(u8),
    Elect { pick: u8, unclean: bool },
    MinIsr { topic: u8, value: u8 },
    AllowUnclean(u8),
    LoseDirectory(u8),
    Sleep(u16),
    Failover,
}

fn step() -> impl Strategy<Value = Step> {
    let broker = 1u8..6;
    prop_oneof![
        8 => broker.clone().prop_map(Step::Beat),
        1 => broker.clone().prop_map(Step::Fence),
        2 => broker.clone().prop_map(Step::Stop),
        3 => (broker.clone(), any::<bool>()).prop_map(|(broker, clean)| Step::Restart { broker, clean }),
        1 => broker.clone().prop_map(Step::Unregister),
        4 => (0u8..4, 1u8..4, 1u8..4)
            .prop_map(|(topic, partitions, factor)| Step::Create { topic, partitions, factor }),
        1 => (0u8..4, 1u8..3).prop_map(|(topic, more)| Step::Grow { topic, more }),
        1 => (0u8..4).prop_map(Step::Delete),
        8 => (any::<u8>(), any::<u8>()).prop_map(|(pick, members)| Step::Isr { pick, members }),
        4 => (any::<u8>(), broker, 1u8..4)
            .prop_map(|(pick, first, count)| Step::Reassign { pick, first, count }),
        1 => any::<u8>().prop_map(Step::Cancel),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(pick, unclean)| Step::Elect { pick, unclean }),
        1 => (0u8..4, 1u8..4).prop_map(|(topic, value)| Step::MinIsr { topic, value }),
        1 => (0u8..4).prop_map(Step::AllowUnclean),
        1 => (1u8..6).prop_map(Step::LoseDirectory),
        4 => (0u16..12_000).prop_map(Step::Sleep),
        1 => Just(Step::Failover),
    ]
}

/// The command of a step in the words of the scripts; `None` where the cluster has nothing it fits.
fn words(world: &World, step: &Step) -> Option<String> {
    let image = world.image();
    let partition = |pick: u8| {
        let count = image.topics.partition_count();
        let (id, partition) = image.topics.all_partitions().nth(usize::from(pick) % count.max(1))?;
        let name = image.topics.get(id.topic)?.name.clone();
        Some((format!("{name}-{}", id.index), partition.clone()))
    };
    Some(match step {
        Step::Beat(broker) => format!("beat {broker}"),
        Step::Fence(broker) => format!("beat {broker} fence"),
        Step::Stop(broker) => format!("beat {broker} stop"),
        Step::Restart { broker, clean } => {
            let epoch = image.brokers.get(&NodeId(i32::from(*broker))).map_or(-1, |broker| broker.epoch);
            let previous = if *clean { epoch } else { -1 };
            format!(
                "register {broker} rack=r{} previous={previous} dirs={broker},{}",
                broker % 2,
                broker + 50
            )
        }
        Step::Unregister(broker) => format!("unregister {broker}"),
        Step::Create { topic, partitions, factor } => {
            format!("create t{topic} partitions={partitions} factor={factor}")
        }
        Step::Grow { topic, more } => {
            let count = image.topics.named(&format!("t{topic}"))?.partition_count;
            format!("grow t{topic} {}", count + i32::from(*more))
        }
        Step::Delete(topic) => format!("delete t{topic}"),
        Step::Isr { pick, members } => {
            let (name, partition) = partition(*pick)?;
            let leader = partition.leader?;
            let chosen = (0..).zip(&partition.replicas).filter(|(at, _)| members & (1 << at) != 0);
            let mut isr: Vec<String> = chosen.map(|(_, replica)| replica.to_string()).collect();
            if members % 4 != 0 && !isr.contains(&leader.to_string()) {
                isr.push(leader.to_string());
            }
            format!("isr {leader} {name} isr={}", isr.join(","))
        }
        Step::Reassign { pick, first, count } => {
            let (name, _) = partition(*pick)?;
            let ids: Vec<String> = (0..*count).map(|at| ((first - 1 + at) % 5 + 1).to_string()).collect();
            format!("reassign {name} {}", ids.join(","))
        }
        Step::Cancel(pick) => format!("reassign {} cancel", partition(*pick)?.0),
        Step::Elect { pick, unclean } => {
            let kind = if *unclean { "unclean" } else { "preferred" };
            format!("elect {kind} {}", partition(*pick)?.0)
        }
        Step::MinIsr { topic, value } => format!("set topic:t{topic} min.insync.replicas={value}"),
        Step::AllowUnclean(topic) => format!("set topic:t{topic} unclean.leader.election.enable=true"),
        Step::LoseDirectory(broker) => format!("beat {broker} offline={broker}"),
        Step::Sleep(ms) => format!("wait {ms}"),
        Step::Failover => "resign".to_owned(),
    })
}

fn check(image: &Image, elr: bool) -> Result<(), TestCaseError> {
    for (id, partition) in image.topics.all_partitions() {
        let known = |node: &NodeId| partition.replicas.contains(node);
        prop_assert!(partition.isr.iter().all(known), "{id}: in sync without a replica: {partition:?}");
        prop_assert!(elr || !partition.isr.is_empty(), "{id}: nobody in sync: {partition:?}");
        prop_assert!(elr || partition.elr.is_empty());
        prop_assert!(!partition.elr.iter().any(|node| partition.isr.contains(node)), "{id}: {partition:?}");
        prop_assert_eq!(partition.directories.len(), partition.replicas.len());
        for (at, replica) in partition.replicas.iter().enumerate() {
            prop_assert!(!partition.replicas[..at].contains(replica), "{id}: twice: {partition:?}");
        }
        if let Some(leader) = partition.leader {
            prop_assert!(partition.isr.contains(&leader), "{id}: the leader is not in sync: {partition:?}");
            prop_assert!(image.is_active(leader), "{id}: led by a fenced broker: {partition:?}");
            for member in &partition.isr {
                prop_assert!(image.is_active(*member), "{id}: fenced {member} in sync: {partition:?}");
            }
        }
    }
    Ok(())
}

fn run(steps: &[Step], elr: i16) -> Result<(), TestCaseError> {
    let mut world = World::default();
    world.run(&format!("activate metadata.version=30 eligible.leader.replicas.version={elr}"));
    for broker in 1..5 {
        world.run(&format!("register {broker} rack=r{} dirs={broker},{}", broker % 2, broker + 50));
        world.run(&format!("beat {broker}"));
    }
    let mut epochs = std::collections::BTreeMap::new();
    for step in steps {
        let Some(words) = words(&world, step) else { continue };
        world.run(&words);
        if words == "resign" {
            world.run("activate");
        }
        let image = world.image();
        check(image, elr > 0).map_err(|error| TestCaseError::fail(format!("after {words:?}: {error}")))?;
        for (id, partition) in image.topics.all_partitions() {
            let now = (partition.leader_epoch, partition.partition_epoch);
            let before = epochs.insert(id, now).unwrap_or(now);
            prop_assert!(before.0 <= now.0 && before.1 <= now.1, "{id}: epochs went back");
        }
    }
    same_from_a_snapshot(world.image())
}

fn same_from_a_snapshot(image: &Image) -> Result<(), TestCaseError> {
    let bytes =
        image.snapshot().map(|record| record.encode(image.version().record_version(&record)).unwrap());
    let mut replay = Replay::default();
    replay.load(image.end_offset, bytes.map(|bytes| MetadataRecord::decode(&bytes).unwrap())).unwrap();
    prop_assert_eq!(replay.image(), image);
    Ok(())
}

proptest! {
    #[test]
    fn the_cluster_stays_sound(steps in prop::collection::vec(step(), 1..80)) {
        run(&steps, 0)?;
    }

    #[test]
    fn the_cluster_stays_sound_with_eligible_leader_replicas(steps in prop::collection::vec(step(), 1..80)) {
        run(&steps, 1)?;
    }
}

#[test]
fn the_same_seed_makes_the_same_records() {
    let decide = || -> Decision {
        let mut world = World::default();
        world.run("activate");
        for broker in 1..4 {
            world.run(&format!("register {broker}"));
            world.run(&format!("beat {broker}"));
        }
        let command = world.command("create a b c partitions=5 factor=2");
        world.decide(command)
    };
    assert_eq!(decide(), decide());
}

#[test]
fn an_answer_waits_for_what_it_may_have_seen() {
    let mut world = World::default();
    world.run("activate");
    world.run("register 1");
    world.run("beat 1");
    let create = world.command("create a factor=1");
    let first = world.decide(create.clone());
    assert_eq!(first.wait_for, first.first_offset.plus(i64::try_from(first.records.len()).unwrap()));
    // The refusal speaks of a topic that is not committed yet.
    let second = world.decide(create);
    assert!(second.records.is_empty());
    assert_eq!(second.wait_for, first.wait_for);
    world.controller.resign();
    let nothing = world.decide(Command::Tick);
    assert_eq!(nothing.wait_for, Offset(0));
}
