//! From configuration values to the settings of a log.

use ottla_log::Cleanup;
use ottla_log::LogConfig;
use ottla_metadata::config::settings::Resolved;

/// What a topic's values, and a few of the node's, mean to its logs. The jitter's seed is set for each log as it is opened.
#[must_use]
pub fn resolve(node: &Resolved<'_>, topic: &Resolved<'_>) -> LogConfig {
    let policy = topic.list("cleanup.policy");
    let has = |name: &str| policy.iter().any(|word| word == name);
    let segment_bytes = u32::try_from(topic.int("segment.bytes")).unwrap_or(u32::MAX);
    LogConfig {
        segment_bytes,
        segment_ms: topic.long("segment.ms"),
        segment_jitter_ms: topic.long("segment.jitter.ms"),
        jitter_seed: 0,
        index_bytes: u32::try_from(topic.int("segment.index.bytes")).unwrap_or(0),
        index_interval_bytes: u32::try_from(topic.int("index.interval.bytes")).unwrap_or(0),
        preallocate_bytes: if topic.boolean("preallocate") { segment_bytes } else { 0 },
        // Negative values mean "no limit".
        retention_ms: Some(topic.long("retention.ms")).filter(|&ms| ms >= 0),
        retention_bytes: u64::try_from(topic.long("retention.bytes")).ok(),
        cleanup: match (has("compact"), has("delete")) {
            (true, true) => Cleanup::CompactAndDelete,
            (true, false) => Cleanup::Compact,
            (false, true) => Cleanup::Delete,
            (false, false) => Cleanup::Keep,
        },
        producer_expiration_ms: i64::from(node.int("producer.id.expiration.ms")),
    }
}
