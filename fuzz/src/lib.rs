//! Everything that reads bytes from outside, as functions over arbitrary bytes.
//!
//! A [`Target`] takes any bytes and panics only if a promise is broken: nothing panics, nothing loops, what decodes
//! comes out the same after encoding and decoding again, and no input costs more heap than it may. The functions know
//! nothing of who calls them, so a coverage-guided fuzzer can drive them as they are; `cargo test -p ottla-fuzz` drives
//! them over the corpus, over random messages and over a fixed number of seeded mutations of both, the same every time.
//!
//! `cargo run --release -p ottla-fuzz -- TARGET RUNS SEED` goes on for longer.

mod batches;
mod client;
mod corpus;
mod logs;
mod messages;
mod metadata;
mod mutate;
mod text;
mod traffic;

pub use corpus::corpus;
pub use mutate::{Dice, mutate};

/// One reader of bytes under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `corpus/`.
    pub name: &'static str,
    /// Reads the bytes; panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Inputs made anew at each run, beside those in the corpus: so new messages are tried as soon as they exist.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many mutations `cargo test` tries at least: fewer where a run takes milliseconds.
    pub mutations: usize,
    /// Heap that one run may ask for in all, given back or not: for every byte of input, and besides.
    pub heap: Heap,
}

/// A bound on memory.
#[derive(Clone, Copy, Debug)]
pub struct Heap {
    /// Bytes of heap for each byte of input.
    pub per_byte: usize,
    /// Bytes of heap for any input.
    pub besides: usize,
}

impl Heap {
    /// What an input of this length may cost.
    #[must_use]
    pub fn bound(self, length: usize) -> usize {
        self.per_byte.saturating_mul(length).saturating_add(self.besides)
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({})", self.name)
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    messages::REQUEST,
    messages::RESPONSE,
    messages::RECORD,
    batches::VALIDATE,
    batches::ITERATE,
    batches::DECOMPRESS,
    logs::LOG,
    logs::SMALL_FILES,
    metadata::REPLAY,
    text::CONFIGURATION,
    client::ANSWERS,
    traffic::TRAFFIC,
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
