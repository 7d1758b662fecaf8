//! Scripts of commands with expected traces: `tests/scripts/*.txt`. `UPDATE=1` rewrites the traces.
//!
//! A line `> …` is a command; the lines up to the next blank one are what came of it. What is decided is committed at
//! once, unless the command begins with `lose`.

mod support;
#[path = "../../coordinator/tests/traces/mod.rs"]
mod traces;

use support::world::World;

impl traces::Runs for World {
    fn run(&mut self, command: &str) -> Vec<String> {
        World::run(self, command)
    }
}

#[test]
fn every_script_has_its_trace() {
    traces::compare::<World>("", 8);
}
