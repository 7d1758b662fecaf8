//! Whatever is lost, repeated or cut off: a transaction is all or nothing, none stays open for ever, and a fenced
//! producer succeeds in nothing.

#[cfg(feature = "mutants")]
use ottla_coordinator::mutant::Mutant;
use ottla_coordinator::mutant::Planted;
use ottla_coordinator::transaction::TransactionVersion;
use proptest::prelude::*;

use crate::clients::{Choices, Clients};

fn run(cluster: TransactionVersion, version: TransactionVersion, choices: &[u16]) -> u32 {
    run_planted(cluster, version, choices, Planted::default())
}

fn run_planted(
    cluster: TransactionVersion,
    version: TransactionVersion,
    choices: &[u16],
    planted: Planted,
) -> u32 {
    let mut clients = Clients::new(cluster, version);
    clients.plant(planted);
    let mut choices = Choices(choices);
    while !choices.0.is_empty() {
        clients.step(&mut choices);
    }
    clients.settle();
    clients.check();
    clients.commits
}

use TransactionVersion::{V0, V2};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn transactions_of_the_original_protocol_are_whole(choices in prop::collection::vec(any::<u16>(), 50..1500)) {
        run(V0, V0, &choices);
    }

    #[test]
    fn transactions_with_epochs_of_their_own_are_whole(choices in prop::collection::vec(any::<u16>(), 50..1500)) {
        run(V2, V2, &choices);
    }

    #[test]
    fn transactions_of_old_clients_on_new_clusters_are_whole(choices in prop::collection::vec(any::<u16>(), 50..1500)) {
        run(V2, V0, &choices);
    }
}

/// A generator good enough to give choices.
fn choices(seed: u32, count: usize) -> Vec<u16> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as u16
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn runs_commit_something() {
    for (cluster, version) in [(V0, V0), (V2, V2), (V2, V0)] {
        let commits = run(cluster, version, &choices(7, 20_000));
        assert!(commits > 40, "{version:?}: only {commits}");
    }
}

#[test]
#[cfg(feature = "mutants")]
fn planted_bugs_are_found() {
    use Mutant::{
        AnyEndIsTheEnd, EndingsForgotten, EverythingVerified, FencedMayEnd, FencingKeepsEpoch,
        InitDoesNotWait, InitKeepsEpoch, JoinUnwritten, MarkersUnawaited, NoTimeout,
    };
    let mutants = [
        AnyEndIsTheEnd,
        EndingsForgotten,
        EverythingVerified,
        FencedMayEnd,
        FencingKeepsEpoch,
        InitDoesNotWait,
        InitKeepsEpoch,
        JoinUnwritten,
        MarkersUnawaited,
        NoTimeout,
    ];
    for mutant in mutants {
        let planted = Planted::new(Some(mutant));
        let is_found = |seed: u32| {
            [(V0, V0), (V2, V2), (V2, V0)].into_iter().any(|(cluster, version)| {
                let choices = choices(seed, 5_000);
                std::panic::catch_unwind(|| run_planted(cluster, version, &choices, planted)).is_err()
            })
        };
        assert!((0..20).any(is_found), "{mutant:?} is not found");
    }
}
