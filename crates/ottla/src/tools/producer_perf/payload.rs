//! What is sent: values and keys.

use std::fs;
use std::path::Path;

use crate::tools::Out;
use crate::tools::failure::Failure;

/// Random numbers that are the same for the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not zero.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Where values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payloads {
    /// So many capital letters.
    Random(usize),
    /// One of these.
    OneOf(Vec<Vec<u8>>),
    /// 0, 1, 2 …
    Growing,
}

impl Payloads {
    /// Reads values from a file.
    pub fn read(path: &str, delimiter: &str, out: Out<'_>) -> Result<Self, Failure> {
        let whole = std::path::absolute(Path::new(path)).unwrap_or_else(|_| path.into());
        writeln!(out, "Reading payloads from: {}", whole.display())?;
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.is_empty() {
            return Err(Failure::Error("File does not exist or empty file provided.".to_owned()));
        }
        let delimiter = if delimiter == "\\n" { "\n" } else { delimiter };
        let text = text.strip_suffix(delimiter).unwrap_or(&text);
        let values: Vec<Vec<u8>> = text.split(delimiter).map(|value| value.as_bytes().to_vec()).collect();
        writeln!(out, "Number of records read: {}", values.len())?;
        Ok(Self::OneOf(values))
    }

    /// Makes the value of a record.
    pub fn next(&self, at: u64, random: &mut Random, value: &mut Vec<u8>) {
        value.clear();
        match self {
            Self::Random(size) => {
                while value.len() < *size {
                    let letters =
                        random.next().to_le_bytes().map(|byte| b'A' + ((u16::from(byte) * 26) >> 8) as u8);
                    let most = letters.len().min(size - value.len());
                    value.extend_from_slice(&letters[..most]);
                }
            }
            Self::OneOf(values) => {
                let chosen = random.below(values.len() as u64);
                value.extend_from_slice(&values[chosen as usize]);
            }
            Self::Growing => value.extend_from_slice(at.to_string().as_bytes()),
        }
    }
}

/// Where keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// There are none.
    None,
    /// 0, 1, 2 … below a limit, again and again.
    Range(u64),
    /// Any number below a limit.
    Random(u64),
}

impl Keys {
    /// As the options say.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(distribution: Option<&str>, range: Option<u64>) -> Result<Self, String> {
        match (distribution.unwrap_or("none"), range) {
            ("none", None) => Ok(Self::None),
            ("range", Some(range)) => Ok(Self::Range(range)),
            ("random", Some(range)) => Ok(Self::Random(range)),
            ("none", Some(_)) => {
                Err("--key-distribution must be 'range' or 'random' when --record-key-range is specified."
                    .to_owned())
            }
            ("range" | "random", None) => {
                Err("--record-key-range is required when --key-distribution is 'range' or 'random'."
                    .to_owned())
            }
            (other, _) => Err(format!(
                "argument --key-distribution: invalid choice: '{other}' (choose from {{none,range,random}})"
            )),
        }
    }

    /// Makes the key of a record.
    pub fn next(self, at: u64, random: &mut Random) -> Option<String> {
        match self {
            Self::None => None,
            Self::Range(range) => Some((at % range).to_string()),
            Self::Random(range) => Some(random.below(range).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_letters_numbers_or_lines_of_a_file() {
        let mut random = Random::new(0);
        let mut value = Vec::new();
        Payloads::Random(19).next(0, &mut random, &mut value);
        assert!(value.len() == 19 && value.iter().all(u8::is_ascii_uppercase));
        Payloads::Growing.next(12, &mut random, &mut value);
        assert_eq!(value, b"12");
        let path = std::env::temp_dir().join(format!("ottla-payloads-{}", std::process::id()));
        fs::write(&path, "one,two,").unwrap();
        let mut out = Vec::new();
        let read = Payloads::read(path.to_str().unwrap(), ",", &mut out).unwrap();
        assert_eq!(read, Payloads::OneOf(vec![b"one".to_vec(), b"two".to_vec()]));
        assert!(String::from_utf8(out).unwrap().ends_with("Number of records read: 2\n"));
        fs::remove_file(&path).unwrap();
        assert!(Payloads::read(path.to_str().unwrap(), ",", &mut Vec::new()).is_err());
    }

    #[test]
    fn keys_go_round_or_jump() {
        let mut random = Random::new(7);
        let range: Vec<_> = (0..4).filter_map(|at| Keys::Range(3).next(at, &mut random)).collect();
        assert_eq!(range, ["0", "1", "2", "0"]);
        let seen: std::collections::BTreeSet<_> =
            (0..100).filter_map(|at| Keys::Random(4).next(at, &mut random)).collect();
        assert_eq!(seen.len(), 4);
        assert!(Keys::new(Some("none"), Some(1)).is_err() && Keys::new(Some("x"), None).is_err());
    }
}
