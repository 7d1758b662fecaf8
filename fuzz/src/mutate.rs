//! Seeded mutations: the same seed, the same bytes, on every machine.

/// A small generator (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.throw() % (bound.max(1) as u64)) as usize
    }
}

/// Numbers at which lengths, counts and offsets go wrong.
const EDGES: [i64; 12] = [
    0,
    1,
    -1,
    0x7f,
    0x80,
    0x7fff,
    i32::MAX as i64,
    i32::MIN as i64,
    i64::MAX,
    i64::MIN,
    u32::MAX as i64,
    1 << 40,
];

/// No input grows beyond this.
const LONGEST: usize = 16 << 10;

/// Changes `bytes` in one to four places; `other` lends pieces.
pub fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=dice.below(4) {
        change(dice, bytes, other);
    }
    bytes.truncate(LONGEST);
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(11) {
        0 | 1 => set(bytes, at, |byte| byte ^ (1 << (dice.0 >> 61))),
        2 => set(bytes, at, |_| dice.0 as u8),
        3 => set(bytes, at, |_| [0, 1, 0x7f, 0x80, 0xff][(dice.0 >> 40) as usize % 5]),
        4 => bytes.truncate(at),
        5 => {
            let end = (at + 1 + dice.below(16)).min(bytes.len());
            bytes.drain(at.min(end)..end);
        }
        6 => {
            let noise: Vec<u8> = (0..=dice.below(12)).map(|_| dice.throw() as u8).collect();
            bytes.splice(at..at, noise);
        }
        7 | 8 => edge(dice, bytes, at),
        9 => {
            let from = dice.below(other.len() + 1);
            let piece = &other[from..(from + dice.below(64)).min(other.len())];
            let end = (at + dice.below(piece.len() + 1)).min(bytes.len());
            bytes.splice(at..end, piece.iter().copied());
        }
        _ => {
            // The same piece again: repeated tags, keys, batches and files.
            let end = (at + 1 + dice.below(80)).min(bytes.len());
            let piece = bytes[at.min(end)..end].to_vec();
            bytes.splice(end..end, piece);
        }
    }
}

fn set(bytes: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = change(*byte);
    }
}

/// Overwrites 2, 4 or 8 bytes with a number at an edge, or puts one in as a varint.
fn edge(dice: &mut Dice, bytes: &mut Vec<u8>, at: usize) {
    let number = EDGES[dice.below(EDGES.len())].wrapping_add(dice.below(3) as i64 - 1);
    let width = [2, 4, 8, 0][dice.below(4)];
    if width == 0 {
        let mut varint = Vec::new();
        let mut rest = number as u64;
        while rest >= 0x80 {
            varint.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        varint.push(rest as u8);
        let end = (at + 1).min(bytes.len());
        bytes.splice(at..end, varint);
    } else if let Some(place) = bytes.get_mut(at..at + width) {
        place.copy_from_slice(&number.to_be_bytes()[8 - width..]);
    }
}
