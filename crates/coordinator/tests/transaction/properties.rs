//! Whatever is lost, repeated or cut off: a transaction is all or nothing, none stays open for ever, and a fenced
//! producer succeeds in nothing.

use ottla_coordinator::transaction::TransactionVersion;
use proptest::prelude::*;

use crate::clients::{Choices, Clients};

fn run(cluster: TransactionVersion, version: TransactionVersion, choices: &[u16]) -> u32 {
    let mut clients = Clients::new(cluster, version);
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
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

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

#[test]
fn runs_commit_something() {
    for (cluster, version) in [(V0, V0), (V2, V2), (V2, V0)] {
        // A generator good enough to give choices.
        let mut state = 7_u32;
        let choices: Vec<u16> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as u16
        })
        .take(20_000)
        .collect();
        let commits = run(cluster, version, &choices);
        assert!(commits > 20, "{version:?}: only {commits}");
    }
}
