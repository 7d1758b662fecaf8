//! From configuration values to the typed settings of a topic.

use ottla_metadata::config::{Overrides, Settings};
use ottla_partition::TopicSettings;
use ottla_protocol::batch::TimestampType;
use ottla_protocol::compression::{Compression, Effort};

/// What a topic's own overrides, the cluster's and the broker's come to.
#[must_use]
pub fn resolve(settings: &Settings, own: &Overrides) -> TopicSettings {
    let topic = settings.topic(own);
    let policy = topic.list("cleanup.policy");
    let has = |name: &str| policy.iter().any(|word| word == name);
    let timestamp_type = match topic.text("message.timestamp.type").as_deref() {
        Some("LogAppendTime") => TimestampType::LogAppendTime,
        _ => TimestampType::CreateTime,
    };
    TopicSettings {
        min_insync_replicas: usize::try_from(topic.int("min.insync.replicas")).unwrap_or(1),
        max_message_bytes: u32::try_from(topic.int("max.message.bytes")).unwrap_or(0),
        timestamp_type,
        timestamp_before_max_ms: topic.long("message.timestamp.before.max.ms"),
        timestamp_after_max_ms: topic.long("message.timestamp.after.max.ms"),
        compression: effort(&topic),
        compacted: has("compact"),
        deletes: has("delete"),
        flush_messages: topic.long("flush.messages").max(1),
        flush_ms: topic.long("flush.ms"),
        verifies_transactions: settings.node().boolean("transaction.partition.verification.enable"),
        log: crate::log_config::resolve(&settings.node(), &topic),
    }
}

/// `compression.type` and the level that goes with it; `None` keeps what the producer chose.
fn effort(topic: &ottla_metadata::config::settings::Resolved<'_>) -> Option<Effort> {
    let name = topic.text("compression.type")?;
    let compression = match name.as_str() {
        "producer" => return None,
        "uncompressed" => Compression::None,
        name => Compression::from_name(name)?,
    };
    let level = match compression {
        Compression::Gzip => Some(topic.int("compression.gzip.level")),
        Compression::Zstd => Some(topic.int("compression.zstd.level")),
        Compression::Lz4 => Some(topic.int("compression.lz4.level")),
        Compression::None | Compression::Snappy => None,
    };
    Some(Effort { compression, level })
}
