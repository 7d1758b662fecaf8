//! The command: the server and every tool.

fn main() {}
