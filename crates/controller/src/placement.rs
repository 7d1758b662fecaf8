//! Where the replicas of new partitions go: in stripes over racks and brokers, leaders on unfenced brokers.
//!
//! The first replica comes from the next rack that has an unfenced broker left, the others from the following racks in
//! turn, unfenced brokers first. Each partition begins one rack and one broker further on; after as many partitions as
//! there are unfenced brokers everything is shuffled, so that the pattern does not repeat.

use std::collections::BTreeMap;

use ottla_metadata::config::validate::Rejected;
use ottla_protocol::{NodeId, Refusal};

use crate::random::Random;
use crate::refused::refused;
use crate::view::View;

/// Brokers of one kind in one rack.
#[derive(Debug, Default)]
struct BrokerList {
    brokers: Vec<NodeId>,
    taken: usize,
    offset: usize,
    round: usize,
}

impl BrokerList {
    fn start(&mut self, random: &mut Random) {
        self.brokers.sort_unstable();
        self.offset = random.below(self.brokers.len());
    }

    /// The next broker that this round (one partition) has not used.
    fn next(&mut self, round: usize) -> Option<NodeId> {
        let count = self.brokers.len();
        if count == 0 {
            return None;
        }
        if self.round != round {
            self.round = round;
            self.taken = 0;
            self.offset = (self.offset + 1) % count;
        }
        if self.taken >= count {
            return None;
        }
        let broker = self.brokers[(self.taken + self.offset) % count];
        self.taken += 1;
        Some(broker)
    }
}

#[derive(Debug, Default)]
struct Rack {
    unfenced: BrokerList,
    fenced: BrokerList,
}

/// Places the partitions of one request.
#[derive(Debug)]
pub(crate) struct Placer {
    racks: Vec<Rack>,
    brokers: usize,
    unfenced: usize,
    round: usize,
    offset: usize,
}

impl Placer {
    /// A placer over the brokers that may get replicas: those not on their way out and not full.
    pub fn new(view: &View, random: &mut Random) -> Self {
        let mut racks: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        let (mut brokers, mut unfenced) = (0, 0);
        for broker in view.image.brokers.values() {
            if broker.in_controlled_shutdown || !broker.has_uncordoned() {
                continue;
            }
            let rack = racks.entry(broker.rack.as_deref()).or_default();
            brokers += 1;
            if broker.fenced {
                rack.fenced.brokers.push(broker.id);
            } else {
                unfenced += 1;
                rack.unfenced.brokers.push(broker.id);
            }
        }
        let mut racks: Vec<Rack> = racks.into_values().collect();
        for rack in &mut racks {
            rack.fenced.start(random);
            rack.unfenced.start(random);
        }
        let offset = random.below(racks.len());
        Self { racks, brokers, unfenced, round: 0, offset }
    }

    /// The replicas of the next partition, the leader first.
    pub fn place(&mut self, factor: usize, random: &mut Random) -> Result<Vec<NodeId>, Rejected> {
        self.check(factor)?;
        // With one unfenced broker a shuffle changes nothing, and going back to round 0 would give that broker twice.
        if self.round == self.unfenced && self.unfenced > 1 {
            self.shuffle(random);
            self.round = 0;
        }
        let count = self.racks.len();
        self.offset %= count;
        let mut replicas = Vec::with_capacity(factor);
        let mut leader_rack = None;
        for rack in (self.offset..self.offset + count).map(|at| at % count) {
            if let Some(broker) = self.racks[rack].unfenced.next(self.round) {
                replicas.push(broker);
                leader_rack = Some(rack);
                break;
            }
        }
        let mut rack = self.offset;
        while replicas.len() < factor {
            if leader_rack == Some(rack) {
                leader_rack = None;
            } else {
                let Rack { unfenced, fenced } = &mut self.racks[rack];
                replicas.extend(unfenced.next(self.round).or_else(|| fenced.next(self.round)));
            }
            rack = (rack + 1) % count;
        }
        self.round += 1;
        self.offset += 1;
        Ok(replicas)
    }

    fn check(&self, factor: usize) -> Result<(), Rejected> {
        let refuse = |text: String| Err(refused(Refusal::InvalidReplicationFactor, text));
        if factor == 0 {
            return refuse(format!(
                "Invalid replication factor {factor}: the replication factor must be positive."
            ));
        }
        if self.unfenced == 0 {
            return refuse(
                "All brokers are currently fenced, or have all their log directories cordoned.".to_owned(),
            );
        }
        if factor > self.brokers {
            return refuse(format!(
                "The target replication factor of {factor} cannot be reached because only {} broker(s) are \
                 registered or some brokers have all their log directories cordoned.",
                self.brokers
            ));
        }
        Ok(())
    }

    fn shuffle(&mut self, random: &mut Random) {
        random.shuffle(&mut self.racks);
        for rack in &mut self.racks {
            for list in [&mut rack.fenced, &mut rack.unfenced] {
                random.shuffle(&mut list.brokers);
                // A list last used in round 0 must not take the new round 0 for the old one.
                list.round = usize::MAX;
            }
        }
    }
}

#[cfg(test)]
mod tests;
