//! Scripts of commands to consumer groups with expected traces: `tests/scripts/consumer*.txt`. `UPDATE=1` rewrites the
//! traces.
//!
//! A line `> …` is a command; the lines up to the next blank one are what came of it. What is decided is committed at
//! once, unless the command begins with `lose`.

mod consumer;
mod traces;

use consumer::world::World;

impl traces::Runs for World {
    fn run(&mut self, command: &str) -> Vec<String> {
        Self::run(self, command)
    }
}

#[test]
fn every_script_has_its_trace() {
    traces::compare::<World>("consumer", 8);
}
