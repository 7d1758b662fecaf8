//! Transactions of every protocol under lost, late and repeated messages, crashes of the coordinator and of producers.
//!
//! `TRANSACTION_SEEDS=1000` runs that many.

use ottla_coordinator::mutant::Mutant;
use ottla_sim::coordinated::faults::Figures;
use ottla_sim::{Trace, TransactionsWorld, Violation};

const BAD_MS: u64 = 20_000;
/// A mutant has so many seeds to be caught in.
const SEEDS_PER_MUTANT: u64 = 100;

fn run(seed: u64, mutant: Option<Mutant>) -> (Result<(), Violation>, TransactionsWorld) {
    let mut world = TransactionsWorld::new(seed, mutant, Trace::new());
    let outcome = world.run(BAD_MS);
    (outcome, world)
}

#[test]
fn all_or_nothing_and_every_transaction_comes_to_its_end() {
    let asked_for = std::env::var_os("TRANSACTION_SEEDS").and_then(|seeds| seeds.to_str()?.parse().ok());
    let seeds: u64 = asked_for.unwrap_or(40);
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
    assert!(figures.commits > 500, "{figures:?}");
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in [3, 17] {
        let (first, second) = (run(seed, None).1, run(seed, None).1);
        assert_eq!(first.trace.hash(), second.trace.hash(), "seed {seed}");
        assert_eq!(first.figures, second.figures);
        assert!(first.trace.lines() > 500);
    }
    assert_ne!(run(3, None).1.trace.hash(), run(4, None).1.trace.hash());
}

/// Those that show in this world.
const MUTANTS: &[Mutant] = &[
    Mutant::RepliesBeforeCommitted,
    Mutant::HeldRepliesForgotten,
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

/// Every planted bug is seen. Which invariant sees it may differ from seed to seed.
#[test]
fn every_mutant_is_caught() {
    let mut alive = Vec::new();
    for mutant in MUTANTS {
        let caught = (1..=SEEDS_PER_MUTANT)
            .find_map(|seed| run(seed, Some(*mutant)).0.err().map(|violation| (seed, violation)));
        match caught {
            Some((seed, violation)) => println!("{mutant:?}: seed {seed}: {}", violation.invariant),
            None => alive.push(mutant),
        }
    }
    assert!(alive.is_empty(), "these lived through {SEEDS_PER_MUTANT} seeds: {alive:?}");
}
