//! What introductions to Kafka have their readers type, with Apache Kafka's tools and with ours.

use super::Stage;
use super::script::Script;
use crate::report::Report;

/// One node as a reader starts it, one script.
pub fn run(stage: &Stage, report: &mut Report) {
    let file = "tests/tools/walkthrough.txt";
    Script { suite: "walkthrough", file, stage, properties: &[] }.run(report);
}
