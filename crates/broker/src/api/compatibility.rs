//! The API table as a page for people.

use std::fmt::Write as _;

use ottla_protocol::ApiKey;

use crate::api::table::{Listeners, row};

/// The page `docs/compatibility.md`: every API of Kafka 4.4, and which versions of it this node serves.
#[must_use]
pub fn page() -> String {
    let served = ApiKey::ALL.iter().filter(|key| row(**key).is_some()).count();
    let mut page = format!(
        "# Compatibility\n\nWhich of Kafka's APIs a node serves, and in which versions: {served} of {} so far. Made from the API \
         table (`crates/broker/src/api/table.rs`) by `UPDATE=1 cargo test -p ottla-broker --test pages`; ApiVersions \
         advertises exactly these rows.\n\nProduce 0–2 and ListOffsets, CreateTopics, DeleteTopics, DescribeConfigs 0 and \
         OffsetForLeaderEpoch 0–1, OffsetCommit 0–1 and OffsetFetch 0 are versions that Kafka 4.0 removed. Produce 0–2 \
         answer UNSUPPORTED_VERSION, as Kafka does. OffsetCommit and OffsetFetch 0, which once meant ZooKeeper, speak of \
         the same offsets as all others. There are no share or streams groups yet.\n\n| key | API | served | in the schema | listeners |\n|---:|---|---|---|---|\n",
        ApiKey::ALL.len()
    );
    for key in ApiKey::ALL {
        let versions =
            |min: i16, max: i16| if min == max { min.to_string() } else { format!("{min}–{max}") };
        let (served, listeners) = match row(*key) {
            None => (String::from("not yet"), ""),
            Some(row) => (
                versions(row.min, row.max),
                match row.listeners {
                    Listeners::Broker => "broker",
                    Listeners::Controller => "controller",
                    Listeners::Both => "broker, controller",
                },
            ),
        };
        let schema = versions(key.min_version(), key.max_stable_version());
        let _ = writeln!(page, "| {} | {} | {served} | {schema} | {listeners} |", key.code(), key.name());
    }
    page
}
