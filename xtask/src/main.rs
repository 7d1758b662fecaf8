//! The developer's commands: tidy, generate, test, bench.

fn main() {}
