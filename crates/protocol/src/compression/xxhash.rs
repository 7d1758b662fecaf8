//! XXH32 with seed 0, the checksum of LZ4 frames.

const PRIME: [u32; 5] = [2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263, 374_761_393];

pub(super) fn xxhash32(bytes: &[u8]) -> u32 {
    let mut hash = PRIME[4];
    let (stripes, mut tail) = bytes.as_chunks::<16>();
    let lanes_of_4 = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    if !stripes.is_empty() {
        let mut lanes = [PRIME[0].wrapping_add(PRIME[1]), PRIME[1], 0, 0u32.wrapping_sub(PRIME[0])];
        for stripe in stripes {
            for (lane, word) in lanes.iter_mut().zip(stripe.chunks_exact(4)) {
                let mixed = lane.wrapping_add(lanes_of_4(word).wrapping_mul(PRIME[1]));
                *lane = mixed.rotate_left(13).wrapping_mul(PRIME[0]);
            }
        }
        let turned = |lane: usize, by: u32| lanes[lane].rotate_left(by);
        hash =
            turned(0, 1).wrapping_add(turned(1, 7)).wrapping_add(turned(2, 12)).wrapping_add(turned(3, 18));
    }
    hash = hash.wrapping_add(bytes.len() as u32);
    while let Some((word, rest)) = tail.split_first_chunk::<4>() {
        hash = hash.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(PRIME[2]));
        hash = hash.rotate_left(17).wrapping_mul(PRIME[3]);
        tail = rest;
    }
    for &byte in tail {
        hash =
            hash.wrapping_add(u32::from(byte).wrapping_mul(PRIME[4])).rotate_left(11).wrapping_mul(PRIME[0]);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(PRIME[1]);
    hash = (hash ^ (hash >> 13)).wrapping_mul(PRIME[2]);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::xxhash32;

    #[test]
    fn known_answers() {
        assert_eq!(xxhash32(b""), 0x02cc_5d05);
        assert_eq!(xxhash32(b"a"), 0x550d_7456);
        assert_eq!(xxhash32(b"abc"), 0x32d1_53ff);
        assert_eq!(xxhash32(b"Nobody inspects the spammish repetition"), 0xe229_3b2f);
    }
}
