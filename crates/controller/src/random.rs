//! Chance out of a seed: the same seed, the same decisions.

use ottla_protocol::Uuid;

/// A small generator (SplitMix64). Not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u128::try_from(bound).unwrap_or(0);
        usize::try_from((u128::from(self.next()) * bound) >> 64).unwrap_or(0)
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// An id for a topic: not one of Kafka's own, and not one that a command line would take for an option.
    pub fn topic_id(&mut self) -> Uuid {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&self.next().to_be_bytes());
            bytes[8..].copy_from_slice(&self.next().to_be_bytes());
            let id = Uuid::from_random(bytes);
            if !id.is_reserved() && !id.to_string().starts_with('-') {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_within_the_bound() {
        let (mut one, mut other) = (Random::new(7), Random::new(7));
        for bound in 1..100 {
            let number = one.below(bound);
            assert!(number < bound && number == other.below(bound));
        }
        assert_eq!(one.below(0), 0);
        assert_ne!(Random::new(7).next(), Random::new(8).next());
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<i32> = (0..50).collect();
        Random::new(1).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn ids_of_topics_are_safe_on_a_command_line() {
        let mut random = Random::new(3);
        for _ in 0..1000 {
            assert!(!random.topic_id().to_string().starts_with('-'));
        }
    }
}
