//! Replicas are distinct, spread over racks, and led by unfenced brokers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_metadata::config::Settings;
use ottla_metadata::{Broker, Image};
use ottla_protocol::records::metadata::RegisterBrokerRecord;
use proptest::prelude::*;

use super::*;

/// Brokers 0…n−1, each with a rack and whether it is fenced.
fn view(brokers: &[(u8, bool)]) -> View {
    let mut image = Image::default();
    for (id, (rack, fenced)) in (0..).zip(brokers) {
        let record = RegisterBrokerRecord {
            broker_id: id,
            rack: (*rack > 0).then(|| format!("rack-{rack}")),
            fenced: *fenced,
            ..Default::default()
        };
        image.brokers.insert(NodeId(id), Arc::new(Broker::from_record(&record)));
    }
    View { image, settings: Settings::default() }
}

fn place(view: &View, count: usize, factor: usize, seed: u64) -> Result<Vec<Vec<NodeId>>, Rejected> {
    let mut random = Random::new(seed);
    let mut placer = Placer::new(view, &mut random);
    (0..count).map(|_| placer.place(factor, &mut random)).collect()
}

#[test]
fn leaderships_are_even() {
    let view = view(&[(1, false), (1, false), (2, false), (2, false), (3, false), (3, false)]);
    let mut leads: BTreeMap<NodeId, usize> = BTreeMap::new();
    for replicas in place(&view, 600, 3, 1).unwrap() {
        *leads.entry(replicas[0]).or_default() += 1;
    }
    assert!(leads.len() == 6 && leads.values().all(|count| (90..=110).contains(count)), "{leads:?}");
}

#[test]
fn a_single_unfenced_broker_leads_everything() {
    let view = view(&[(0, false), (0, true), (0, true)]);
    for replicas in place(&view, 20, 3, 5).unwrap() {
        assert_eq!(replicas[0], NodeId(0));
    }
}

#[test]
fn impossible_factors_are_refused() {
    let text = |brokers: &[(u8, bool)], factor| place(&view(brokers), 1, factor, 0).unwrap_err().message;
    assert!(text(&[], 1).starts_with("All brokers are currently fenced"));
    assert!(text(&[(0, true)], 1).starts_with("All brokers are currently fenced"));
    assert!(text(&[(0, false)], 2).contains("only 1 broker(s) are registered"));
    assert!(text(&[(0, false)], 0).contains("must be positive"));
}

proptest! {
    #[test]
    fn replicas_are_distinct_spread_and_well_led(
        brokers in prop::collection::vec((0u8..5, any::<bool>()), 1..20),
        factor in 1usize..8,
        count in 1usize..60,
        seed in any::<u64>(),
    ) {
        let view = view(&brokers);
        let possible = brokers.iter().any(|(_, fenced)| !fenced) && factor <= brokers.len();
        let placed = place(&view, count, factor, seed);
        prop_assert_eq!(placed.is_ok(), possible);
        let rack = |broker: &NodeId| brokers[usize::try_from(broker.0).unwrap()].0;
        let racks: BTreeSet<u8> = brokers.iter().map(|(rack, _)| *rack).collect();
        for replicas in placed.unwrap_or_default() {
            prop_assert_eq!(replicas.len(), factor);
            let distinct: BTreeSet<NodeId> = replicas.iter().copied().collect();
            prop_assert_eq!(distinct.len(), factor, "a broker has the partition twice");
            prop_assert!(!view.image.brokers[&replicas[0]].fenced, "a fenced broker leads");
            let used: BTreeSet<u8> = replicas.iter().map(rack).collect();
            prop_assert!(used.len() >= racks.len().min(factor), "racks stay empty: {:?}", replicas);
        }
    }
}
