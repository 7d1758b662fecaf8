//! Every target over its corpus, its seeds and a fixed number of mutations: the same inputs at every run.
//!
//! The allocator counts for the whole process, so all targets are tried in one test.

use std::alloc::System;
use std::time::{Duration, Instant};

use ottla_fuzz::{Dice, TARGETS, Target, corpus, mutate};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// An input that takes longer does more than read its bytes; far above what a slow machine needs.
const LONGEST: Duration = Duration::from_secs(20);

/// Tells which input it was when a target panics.
struct Trying<'a>(&'static str, &'a str, &'a [u8]);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.2.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("target {}, {}: {hex}", self.0, self.1);
        }
    }
}

fn run(target: &Target, which: &str, bytes: &[u8]) {
    let trying = Trying(target.name, which, bytes);
    let region = Region::new(ALLOCATOR);
    let began = Instant::now();
    (target.run)(bytes);
    let took = began.elapsed();
    let heap = region.change().bytes_allocated;
    let bound = target.heap.bound(bytes.len());
    assert!(heap <= bound, "{heap} bytes of heap for an input of {}, {bound} allowed", bytes.len());
    assert!(took < LONGEST, "it took {took:?}");
    drop(trying);
}

#[test]
fn no_bytes_break_a_promise() {
    for target in TARGETS {
        let began = Instant::now();
        let committed =
            corpus(target.name).unwrap_or_else(|error| panic!("corpus of {}: {error}", target.name));
        for (name, bytes) in &committed {
            run(target, name, bytes);
        }
        let seeds = (target.seeds)();
        for (at, bytes) in seeds.iter().enumerate() {
            run(target, &format!("seed {at}"), bytes);
        }
        let inputs: Vec<&Vec<u8>> = committed.iter().map(|(_, bytes)| bytes).chain(&seeds).collect();
        let mut dice = Dice(1);
        for n in 0..target.mutations.max(inputs.len()) {
            let mut bytes = inputs[n % inputs.len()].clone();
            let other = dice.below(inputs.len());
            mutate(&mut dice, &mut bytes, inputs[other]);
            run(target, &format!("mutation {n}"), &bytes);
        }
        println!("{}: {} inputs in {:?}", target.name, inputs.len(), began.elapsed());
    }
}
