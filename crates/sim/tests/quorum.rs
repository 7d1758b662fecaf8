//! Three voters of the metadata quorum through elections under lost and late messages, crashes and cuts.

use ottla_raft::mutant::Mutant;
use ottla_raft::random::Random;
use ottla_sim::faults::Faults;
use ottla_sim::{Figures, Shape, Trace, Violation, World};

const QUORUM: Shape = Shape { voters: 3, observers: 1 };
const BAD_MS: u64 = 10_000;
/// A mutant has so many seeds to be caught in.
const SEEDS_PER_MUTANT: u64 = 300;

fn run(seed: u64, mutant: Option<Mutant>) -> (Result<(), Violation>, World) {
    let mut world = World::new(seed, QUORUM, mutant, Trace::new());
    let outcome = world.run(BAD_MS);
    (outcome, world)
}

#[test]
fn nothing_breaks_and_all_heals() {
    let mut figures = Figures::default();
    for seed in 1..=16 {
        let (outcome, world) = run(seed, None);
        assert_eq!(outcome, Ok(()), "seed {seed}, {:?}", world.faults);
        figures.add(&world.figures);
    }
    // A run in which nothing went wrong would prove nothing.
    assert!(figures.lost > 1_000 && figures.ambushes > 20, "{figures:?}");
    assert!(figures.duplicated > 100, "{figures:?}");
    assert!(figures.cuts > 10, "{figures:?}");
    assert!(figures.crashes > 50 && figures.power_losses > 10, "{figures:?}");
    assert!(figures.elections > 50, "{figures:?}");
    assert!(figures.truncations > 0, "{figures:?}");
    assert!(figures.snapshots > 10 && figures.snapshots_fetched > 0, "{figures:?}");
    assert!(figures.acknowledged > 1_000, "{figures:?}");
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

#[test]
fn one_voter_alone_works_too() {
    for seed in 1..=5 {
        let mut world = World::new(seed, Shape { voters: 1, observers: 2 }, None, Trace::new());
        assert_eq!(world.run(BAD_MS), Ok(()), "seed {seed}, {:?}", world.faults);
        assert!(world.figures.acknowledged > 0);
    }
}

#[test]
fn five_voters_work_too() {
    for seed in 1..=3 {
        let mut world = World::new(seed, Shape { voters: 5, observers: 0 }, None, Trace::new());
        assert_eq!(world.run(BAD_MS), Ok(()), "seed {seed}, {:?}", world.faults);
    }
}

/// Every planted bug is seen. Which invariant sees it may differ from seed to seed.
#[test]
fn every_mutant_is_caught() {
    let mut alive = Vec::new();
    for mutant in Mutant::ALL {
        match (1..=SEEDS_PER_MUTANT).find_map(|seed| hunt(seed, *mutant).err().map(|v| (seed, v))) {
            Some((seed, violation)) => println!("{mutant:?}: seed {seed}: {}", violation.invariant),
            None => alive.push(mutant),
        }
    }
    assert!(alive.is_empty(), "these lived through {SEEDS_PER_MUTANT} seeds: {alive:?}");
}

/// Runs a mutant where it is most likely to show.
fn hunt(seed: u64, mutant: Mutant) -> Result<(), Violation> {
    if mutant == Mutant::TruncationIgnored {
        // It does no harm but that the follower never gets on: only the healed world shows it.
        return run(seed, Some(mutant)).0;
    }
    let mut random = Random::new(seed);
    let faults = Faults::contested(&mut random);
    World::with_faults((random, faults), Shape { voters: 3, observers: 0 }, Some(mutant), Trace::new())
        .suffer(BAD_MS)
}

#[test]
fn a_contested_world_holds_too() {
    let mut figures = Figures::default();
    for seed in 1..=8 {
        let mut random = Random::new(seed);
        let faults = Faults::contested(&mut random);
        let mut world = World::with_faults((random, faults), QUORUM, None, Trace::new());
        assert_eq!(world.run(BAD_MS), Ok(()), "seed {seed}, {:?}", world.faults);
        figures.add(&world.figures);
    }
    assert!(figures.elections > 50 && figures.ambushes > 50, "{figures:?}");
}
