//! A network that delays, loses, doubles and reorders, and can be cut in one direction or both.

use std::collections::BTreeSet;

use ottla_protocol::NodeId;
use ottla_raft::random::Random;

use crate::faults::{Faults, Figures};

/// The network between all nodes.
#[derive(Debug, Default)]
pub struct Network {
    cut: BTreeSet<(NodeId, NodeId)>,
}

/// What becomes of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives after each of these delays, in microseconds: once or twice.
    Arrives(Vec<u64>),
    /// It is lost; the sender may hear of it, after so many microseconds.
    Lost {
        /// When the sender hears of it.
        noticed_after_us: Option<u64>,
    },
}

impl Network {
    /// Decides what becomes of a message.
    pub fn send(
        &self,
        way: (NodeId, NodeId),
        faults: &Faults,
        random: &mut Random,
        figures: &mut Figures,
    ) -> Fate {
        let mut chance = |out_of_10_000: u64| random.below(10_000) < out_of_10_000;
        if self.cut.contains(&way) || chance(faults.loss) {
            figures.lost += 1;
            let noticed = chance(faults.loss_noticed);
            return Fate::Lost { noticed_after_us: noticed.then(|| 100 + random.below(50_000)) };
        }
        let copies = if chance(faults.duplication) { 2 } else { 1 };
        figures.duplicated += copies - 1;
        let arrivals = (0..copies).map(|_| {
            let late = random.below(10_000) < faults.lateness;
            200 + random.below(faults.latency_us) + if late { random.below(1_000_000) } else { 0 }
        });
        Fate::Arrives(arrivals.collect())
    }

    /// Cuts the network somewhere: one node off, one direction between two, or one direction of one node.
    pub fn cut(&mut self, nodes: &[NodeId], random: &mut Random) {
        let mut any = || nodes[usize::try_from(random.below(nodes.len() as u64)).unwrap_or(0)];
        let (lonely, other) = (any(), any());
        match random.below(4) {
            0 => self.cut_all(nodes, |from, to| from == lonely || to == lonely),
            1 => self.cut_all(nodes, |from, _| from == lonely),
            2 => self.cut_all(nodes, |_, to| to == lonely),
            _ => self.cut_all(nodes, |from, to| from == lonely && to == other),
        }
    }

    /// Takes one node off.
    pub fn isolate(&mut self, lonely: NodeId, nodes: &[NodeId]) {
        self.cut_all(nodes, |from, to| from == lonely || to == lonely);
    }

    /// Makes everything whole.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    fn cut_all(&mut self, nodes: &[NodeId], is_cut: impl Fn(NodeId, NodeId) -> bool) {
        for &from in nodes {
            self.cut.extend(nodes.iter().map(|&to| (from, to)).filter(|(from, to)| is_cut(*from, *to)));
        }
    }
}
