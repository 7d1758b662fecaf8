//! Groups of both protocols under lost, late and repeated requests, crashes of the coordinator and of members.
//!
//! `GROUP_SEEDS=1000` runs that many.

use ottla_coordinator::mutant::Mutant;
use ottla_raft::random::Random;
use ottla_sim::coordinated::faults::{Faults, Figures};
use ottla_sim::{GroupsWorld, Trace, Violation};

const BAD_MS: u64 = 20_000;
/// A mutant has so many seeds to be caught in.
const SEEDS_PER_MUTANT: u64 = 80;

fn run(seed: u64, mutant: Option<Mutant>) -> (Result<(), Violation>, GroupsWorld) {
    let mut world = GroupsWorld::new(seed, mutant, Trace::new());
    let outcome = world.run(BAD_MS);
    (outcome, world)
}

#[test]
fn nothing_breaks_and_all_settles() {
    let asked_for = std::env::var_os("GROUP_SEEDS").and_then(|seeds| seeds.to_str()?.parse().ok());
    let seeds: u64 = asked_for.unwrap_or(20);
    let mut figures = Figures::default();
    for seed in 1..=seeds {
        let (outcome, world) = run(seed, None);
        assert_eq!(outcome, Ok(()), "seed {seed}, {:?}", world.faults);
        figures.add(&world.figures);
    }
    println!("{seeds} seeds: {figures:?}");
    // A run in which nothing went wrong would prove nothing.
    assert!(figures.lost > 100 && figures.repeated > 20, "{figures:?}");
    assert!(figures.crashes > 20 && figures.losses > 5 && figures.resigned > 5, "{figures:?}");
    assert!(figures.refusals > 5 && figures.deaths > 20, "{figures:?}");
    assert!(figures.commits > 1_000 && figures.moves > 100, "{figures:?}");
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in [3, 17] {
        let (first, second) = (run(seed, None).1, run(seed, None).1);
        assert_eq!(first.trace.hash(), second.trace.hash(), "seed {seed}");
        assert_eq!(first.figures, second.figures);
        assert!(first.trace.lines() > 1_000);
    }
    assert_ne!(run(3, None).1.trace.hash(), run(4, None).1.trace.hash());
}

/// Those that only show with transactions' own coordinator, see there.
const OF_TRANSACTIONS: &[Mutant] = &[
    Mutant::AnyEndIsTheEnd,
    Mutant::FencedMayEnd,
    Mutant::FencingKeepsEpoch,
    Mutant::MarkersUnawaited,
    Mutant::JoinUnwritten,
    Mutant::EverythingVerified,
    Mutant::EndingsForgotten,
    Mutant::NoTimeout,
    Mutant::InitDoesNotWait,
    Mutant::InitKeepsEpoch,
];

/// Runs a mutant where it is most likely to show.
fn hunt(seed: u64, mutant: Option<Mutant>) -> Result<(), Violation> {
    match mutant {
        Some(Mutant::UnwrittenRemovalForgotten) => in_world(seed, Faults::refusing(), mutant),
        Some(Mutant::ConversionWritesTarget) => in_world(seed, Faults::coming_and_going(), mutant),
        Some(Mutant::RevocationUnawaited) => restless(seed, mutant),
        _ => run(seed, mutant).0,
    }
}

fn in_world(seed: u64, faults: Faults, mutant: Option<Mutant>) -> Result<(), Violation> {
    GroupsWorld::with_faults((Random::new(seed), faults), mutant, Trace::new()).run(BAD_MS)
}

fn restless(seed: u64, mutant: Option<Mutant>) -> Result<(), Violation> {
    let mut random = Random::new(seed);
    let faults = Faults::restless(&mut random);
    GroupsWorld::with_faults((random, faults), mutant, Trace::new()).run(BAD_MS)
}

/// Every planted bug is seen. Which invariant sees it may differ from seed to seed.
#[test]
fn every_mutant_is_caught() {
    let mut alive = Vec::new();
    for mutant in Mutant::ALL.iter().filter(|mutant| !OF_TRANSACTIONS.contains(mutant)) {
        let caught = (1..=SEEDS_PER_MUTANT)
            .find_map(|seed| hunt(seed, Some(*mutant)).err().map(|violation| (seed, violation)));
        match caught {
            Some((seed, violation)) => println!("{mutant:?}: seed {seed}: {}", violation.invariant),
            None => alive.push(mutant),
        }
    }
    assert!(alive.is_empty(), "these lived through {SEEDS_PER_MUTANT} seeds: {alive:?}");
}

#[test]
fn other_worlds_settle_too() {
    let asked_for = std::env::var_os("GROUP_SEEDS").and_then(|seeds| seeds.to_str()?.parse().ok());
    for seed in 1..=asked_for.unwrap_or(6) {
        assert_eq!(restless(seed, None), Ok(()), "seed {seed}");
        assert_eq!(in_world(seed, Faults::coming_and_going(), None), Ok(()), "seed {seed}");
        assert_eq!(in_world(seed, Faults::refusing(), None), Ok(()), "seed {seed}");
    }
}

/// The removal of a silent member could not be written, and was never thought of again: its partitions were nobody's.
#[test]
fn a_member_is_removed_though_its_removal_could_not_be_written_at_first() {
    let seed = 1;
    assert!(in_world(seed, Faults::refusing(), Some(Mutant::UnwrittenRemovalForgotten)).is_err());
    assert_eq!(in_world(seed, Faults::refusing(), None), Ok(()));
}

/// A group became a classic one, wrote what its members should have, and became a consumer group again before they had
/// heard of it: what one of them still had was given to another.
#[test]
fn a_group_that_changes_its_protocol_to_and_fro_gives_nothing_away_twice() {
    let seed = 40;
    let mutant = Some(Mutant::ConversionWritesTarget);
    assert!(in_world(seed, Faults::coming_and_going(), mutant).is_err());
    assert_eq!(in_world(seed, Faults::coming_and_going(), None), Ok(()));
}
