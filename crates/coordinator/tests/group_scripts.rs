//! Scripts of commands to the group coordinator with expected traces: `tests/scripts/classic*.txt`. `UPDATE=1`
//! rewrites them.
//!
//! A line `> …` is a command; the lines up to the next blank one are what came of it. What is decided is committed at
//! once, unless the command begins with `lose`.

mod group;
mod traces;

use group::world::World;

impl traces::Runs for World {
    fn run(&mut self, command: &str) -> Vec<String> {
        Self::run(self, command)
    }
}

#[test]
fn every_script_has_its_trace() {
    traces::compare::<World>("classic", 8);
}
