//! Scripts of commands to the transaction coordinator with expected traces: `tests/scripts/transaction*.txt`.
//! `UPDATE=1` rewrites the traces.
//!
//! A line `> …` is a command; the lines up to the next blank one are what came of it. The clock stands still but for
//! `wait`, and the log takes everything but for `log refuses`.

use crate::script::Script;
use crate::traces;

impl traces::Runs for Script {
    fn run(&mut self, command: &str) -> Vec<String> {
        Self::run(self, command)
    }
}

#[test]
fn every_script_has_its_trace() {
    traces::compare::<Script>("transaction", 6);
}
