//! What a topic's configuration means to its partitions, resolved and typed.

use ottla_protocol::batch::TimestampType;
use ottla_protocol::compression::Effort;

/// The topic settings that a partition and the API functions around it act upon.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicSettings {
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `max.message.bytes`: the largest batch, as sent.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `compression.type`; `None` keeps the producer's codec.
    pub compression: Option<Effort>,
    /// `cleanup.policy` contains `compact`: records without keys are refused.
    pub compacted: bool,
    /// `cleanup.policy` contains `delete`: records may be deleted on demand.
    pub deletes: bool,
    /// `flush.messages`: of what is acknowledged, fewer records than this are not on the disk.
    pub flush_messages: i64,
    /// `flush.ms`: how long a record may be in memory only.
    pub flush_ms: i64,
    /// `transaction.partition.verification.enable`: a transaction begins here only with the coordinator's word for it.
    pub verifies_transactions: bool,
    /// What the log itself needs: segment sizes, retention, flushing.
    pub log: ottla_log::LogConfig,
}
