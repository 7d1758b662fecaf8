//! Random values for a `Reader` that has no bytes: a message read with dice is a random message that its version can
//! say. Only for tests and oracles, behind the feature `arbitrary`.

use bytes::Bytes;

/// Tags beyond this number do not occur in the schema.
pub(super) const TAGS: u32 = 16;

const WORDS: [&str; 7] = ["a", "topic-1", "Ottla", "ř", "日本", "\u{1f600}", "\u{0}\n\""];

/// A small generator (SplitMix64): the same seed, the same values.
#[derive(Debug)]
pub(super) struct Dice {
    state: u64,
    /// Arrays become empty when so many values have been thrown, so that deep messages end.
    elements_left: u32,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, elements_left: 60 }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number: often small or at an edge, else anything.
    pub(super) fn fixed<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        match self.below(8) {
            0 => {}
            1 => bytes = [0xff; N],
            2 => {
                bytes = [0xff; N];
                bytes[0] = 0x7f;
            }
            3 => bytes[0] = 0x80,
            4 | 5 => bytes[N - 1] = self.next() as u8,
            _ => bytes.fill_with(|| self.next() as u8),
        }
        bytes
    }

    pub(super) fn bytes(&mut self, length: usize) -> Bytes {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// A finite number, since NaN is not equal to itself.
    pub(super) fn float(&mut self) -> f64 {
        self.next() as i32 as f64 / 8.0
    }

    pub(super) fn length(&mut self, is_count: bool) -> Option<usize> {
        if !is_count {
            return match self.below(8) {
                0 => None,
                1 => Some(0),
                2 => Some(150),
                n => Some(n as usize),
            };
        }
        let count = match self.below(8) {
            0 => return None,
            1 => 0,
            n => n as u32 / 2,
        };
        let count = count.min(self.elements_left);
        self.elements_left -= count;
        Some(count as usize)
    }

    pub(super) fn string(&mut self, length: usize) -> String {
        let mut text = String::new();
        while text.len() < length {
            text.push_str(WORDS[self.below(7) as usize]);
        }
        text
    }

    pub(super) fn next_tag(&mut self, left: &mut u32) -> Option<u32> {
        while *left > 0 {
            *left -= 1;
            if self.below(2) == 0 {
                return Some(TAGS - 1 - *left);
            }
        }
        None
    }
}
