//! Which partition a record goes to: by its key with Java's hash, or, without a key, to one partition until a batch's worth
//! has gone there (KIP-794).
//!
//! A key's partition must be the one that every other Kafka client finds, or records of one key lose their order.

use crate::random::Random;

/// Java's murmur2, with the seed Kafka uses.
#[must_use]
pub fn murmur2(bytes: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ bytes.len() as u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let word = tail.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
        hash = (hash ^ word).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

/// The partition of a key among `count` partitions.
///
/// # Panics
/// When there are no partitions.
#[must_use]
pub fn partition_of_key(key: &[u8], count: usize) -> usize {
    (murmur2(key) & i32::MAX) as usize % count
}

/// How much waits in one partition that can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The partition.
    pub partition: usize,
    /// Batches in its queue.
    pub queued: u32,
}

/// The partition that records without a key stick to for now, one per topic.
#[derive(Clone, Debug)]
pub struct Sticky {
    /// Bytes after which another partition is chosen.
    batch_size: usize,
    current: Option<(usize, usize)>,
}

impl Sticky {
    /// Changes partition after about `batch_size` bytes.
    #[must_use]
    pub fn new(batch_size: usize) -> Self {
        Self { batch_size: batch_size.max(1), current: None }
    }

    /// The partition to append to. `loads` are those with a leader, and with `count` partitions in all; it is asked for
    /// only when a choice is due. Fuller queues are chosen less often.
    pub fn partition(
        &mut self,
        count: usize,
        random: &mut Random,
        loads: impl FnOnce() -> Vec<Load>,
    ) -> usize {
        if let Some((partition, _)) = self.current.filter(|(partition, _)| *partition < count) {
            return partition;
        }
        let chosen = choose(count, random, &loads());
        self.current = Some((chosen, 0));
        chosen
    }

    /// Notes that `bytes` went to the partition. It is left once it has its share and `batch_done` (so that no batch goes
    /// out half full), at the latest after twice its share.
    pub fn appended(&mut self, partition: usize, bytes: usize, batch_done: bool) {
        let Some((current, produced)) = &mut self.current else { return };
        if *current != partition {
            return;
        }
        *produced = produced.saturating_add(bytes);
        if *produced >= self.batch_size && batch_done || *produced >= self.batch_size.saturating_mul(2) {
            self.current = None;
        }
    }
}

fn choose(count: usize, random: &mut Random, loads: &[Load]) -> usize {
    let longest = loads.iter().map(|load| u64::from(load.queued)).max().unwrap_or(0);
    let weight = |load: &Load| longest + 1 - u64::from(load.queued);
    let total: u64 = loads.iter().map(weight).sum();
    if total == 0 {
        return (random.next() % count.max(1) as u64) as usize;
    }
    let mut ticket = random.next() % total;
    for load in loads {
        match ticket.checked_sub(weight(load)) {
            Some(rest) => ticket = rest,
            None => return load.partition,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        // The values that Kafka's own tests pin down.
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text}");
        }
        assert_eq!(partition_of_key(b"foobar", 10), ((-790_332_482i32) & i32::MAX) as usize % 10);
    }

    fn even(count: usize) -> Vec<Load> {
        (0..count).map(|partition| Load { partition, queued: 0 }).collect()
    }

    #[test]
    fn a_partition_is_kept_until_it_has_its_share() {
        let mut sticky = Sticky::new(1000);
        let mut random = Random::new(1);
        let first = sticky.partition(64, &mut random, || even(64));
        sticky.appended(first, 999, true);
        assert_eq!(sticky.partition(64, &mut random, || unreachable!()), first);
        // Its share is there, but its batch is not done.
        sticky.appended(first, 1, false);
        assert_eq!(sticky.partition(64, &mut random, || unreachable!()), first);
        sticky.appended(first, 1000, false);
        let mut asked = false;
        sticky.partition(64, &mut random, || {
            asked = true;
            even(64)
        });
        assert!(asked);
    }

    #[test]
    fn long_queues_are_chosen_less_often_and_leaderless_partitions_never() {
        let mut random = Random::new(7);
        let loads = [Load { partition: 0, queued: 9 }, Load { partition: 2, queued: 0 }];
        let mut hits = [0; 3];
        for _ in 0..1100 {
            hits[choose(3, &mut random, &loads)] += 1;
        }
        assert_eq!(hits[1], 0);
        assert!(hits[0] > 50 && hits[0] < 160, "1 in 11 expected, got {hits:?}");
        // Without any leader, any partition will do: it may get one.
        assert!((0..100).map(|_| choose(3, &mut random, &[])).any(|p| p == 1));
    }
}
