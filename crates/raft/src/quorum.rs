//! The arithmetic of a quorum: what a majority has, has said, or has been heard to say.
//!
//! Small pure functions, each checked against a naive count. What a majority is stands here and nowhere else:
//! any two majorities of one voter set share a voter.

use std::collections::BTreeSet;

use ottla_protocol::{NodeId, Offset};

/// How many of `voters` make a majority. A set of none has a majority of one: nobody can win there.
#[must_use]
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The greatest of `values` that a majority has reached: at least that many are as great or greater.
///
/// One value per voter; `None` (nothing known of that voter) counts as less than everything.
#[must_use]
pub fn reached_by_majority<T: Ord + Copy>(values: &[Option<T>]) -> Option<T> {
    let mut descending = values.to_vec();
    descending.sort_unstable_by(|a, b| b.cmp(a));
    descending.get(majority(values.len()) - 1).copied().flatten()
}

/// The high watermark that the voters' end offsets allow in an epoch that began at `epoch_start`.
///
/// A majority must hold the first record of the leader's own epoch: entries of older epochs on a majority prove
/// nothing, since a voter with a later epoch's entries could still overwrite them.
#[must_use]
pub fn high_watermark(ends: &[Option<Offset>], epoch_start: Offset) -> Option<Offset> {
    reached_by_majority(ends).filter(|end| *end > epoch_start)
}

/// How an election stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// Voters that have not spoken can still decide it.
    Open,
    /// A majority has said yes.
    Won,
    /// So many have said no that a majority cannot say yes any more.
    Lost,
}

/// The votes of one election (or of one round of pre-votes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Votes {
    unheard: BTreeSet<NodeId>,
    granted: BTreeSet<NodeId>,
    rejected: BTreeSet<NodeId>,
}

impl Votes {
    /// A new election among `voters`, none of whom has been heard.
    #[must_use]
    pub fn among(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { unheard: voters.into_iter().collect(), granted: BTreeSet::new(), rejected: BTreeSet::new() }
    }

    /// Counts a yes. Nodes that are no voters of this election are not counted.
    pub fn grant(&mut self, voter: NodeId) {
        if self.unheard.remove(&voter) || self.rejected.remove(&voter) {
            self.granted.insert(voter);
        }
    }

    /// Counts a no. A yes that was given cannot be taken back.
    pub fn reject(&mut self, voter: NodeId) {
        if self.unheard.remove(&voter) {
            self.rejected.insert(voter);
        }
    }

    /// How the election stands.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let needed = majority(self.unheard.len() + self.granted.len() + self.rejected.len());
        if self.granted.len() >= needed {
            Tally::Won
        } else if self.granted.len() + self.unheard.len() < needed {
            Tally::Lost
        } else {
            Tally::Open
        }
    }

    /// The voters that have not answered, in the order of their ids.
    pub fn unheard(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.unheard.iter().copied()
    }

    /// The voters that said yes, in the order of their ids.
    pub fn granted(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.granted.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_majority_is_more_than_half() {
        assert_eq!([1, 2, 3, 4, 5].map(majority), [1, 2, 2, 3, 3]);
    }

    #[test]
    fn the_high_watermark_waits_for_the_epochs_first_record() {
        let ends = [Some(Offset(9)), Some(Offset(7)), None];
        assert_eq!(high_watermark(&ends, Offset(6)), Some(Offset(7)));
        assert_eq!(high_watermark(&ends, Offset(7)), None, "the first record of the epoch has offset 7");
    }

    #[test]
    fn an_election_of_nobody_is_lost() {
        assert_eq!(Votes::among([]).tally(), Tally::Lost);
    }

    proptest! {
        /// Naive: the greatest value for which a plain count of the voters finds more than half.
        #[test]
        fn reached_by_majority_agrees_with_counting(values in prop::collection::vec(prop::option::of(0u8..20), 0..8)) {
            let naive = (0u8..20)
                .filter(|v| values.iter().flatten().filter(|have| *have >= v).count() * 2 > values.len())
                .filter(|v| values.contains(&Some(*v)))
                .max();
            prop_assert_eq!(reached_by_majority(&values), naive);
        }

        /// Whatever is said, in whatever order and however often, the tally is what counting the last words gives.
        #[test]
        fn a_tally_agrees_with_counting(size in 1i32..8, words in prop::collection::vec((0i32..10, any::<bool>()), 0..20)) {
            let mut votes = Votes::among((0..size).map(NodeId));
            let mut said: Vec<Option<bool>> = vec![None; usize::try_from(size).unwrap_or(0)];
            for (voter, yes) in words {
                if yes { votes.grant(NodeId(voter)) } else { votes.reject(NodeId(voter)) }
                if let Some(word) = usize::try_from(voter).ok().and_then(|at| said.get_mut(at)) {
                    *word = Some(*word == Some(true) || yes);
                }
            }
            let yes = said.iter().filter(|word| **word == Some(true)).count();
            let no = said.iter().filter(|word| **word == Some(false)).count();
            let naive = if yes * 2 > said.len() { Tally::Won } else if (said.len() - no) * 2 <= said.len() { Tally::Lost } else { Tally::Open };
            prop_assert_eq!(votes.tally(), naive);
        }

        /// Two elections over the same voters, each voter saying yes at most once, are never both won.
        #[test]
        fn two_candidates_cannot_both_win(size in 1i32..8, choices in prop::collection::vec(0u8..3, 8)) {
            let (mut left, mut right) = (Votes::among((0..size).map(NodeId)), Votes::among((0..size).map(NodeId)));
            for (voter, choice) in (0..size).zip(choices) {
                match choice {
                    0 => left.grant(NodeId(voter)),
                    1 => right.grant(NodeId(voter)),
                    _ => {}
                }
            }
            prop_assert!(left.tally() != Tally::Won || right.tally() != Tally::Won);
        }
    }
}
