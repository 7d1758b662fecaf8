//! Apache Kafka's command line tools and ours, call by call, with the same answers expected of both.

use super::Stage;
use super::script::Script;
use crate::report::Report;

/// The first metadata request must not create what a call asks about.
const PROPERTIES: &[(&str, &str)] = &[("auto.create.topics.enable", "false")];

/// Topics, configurations, records and offsets, then groups and transactions.
pub fn run(stage: &Stage, report: &mut Report) {
    for file in ["tests/tools/calls.txt", "tests/tools/groups.txt"] {
        Script { suite: "tools", file, stage, properties: PROPERTIES }.run(report);
    }
}
