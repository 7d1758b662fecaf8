//! What may be set on a topic.
//!
//! Rows of the one configuration table; the columns are explained at `key::Key`.

use super::key::*;

keys! {
    /// What may be set on a topic.
    Topic:
    "segment.bytes": Int = Preset::Text("1073741824"), Valid::AtLeast(1048576), Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.segment.bytes")],
        "The size at which a segment file is closed and a new one begun.";
    "internal.segment.bytes": Int = Preset::Null, Valid::Any, Medium ClusterWide NotYet internal,
        "The same size for tests, without a lower bound.";
    "segment.ms": Long = Preset::Text("604800000"), Valid::AtLeast(1), Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.roll.ms"), Synonym::hours("log.roll.hours")],
        "The age at which a segment is closed though it is not full.";
    "segment.jitter.ms": Long = Preset::Text("0"), Valid::AtLeast(0), Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.roll.jitter.ms"), Synonym::hours("log.roll.jitter.hours")],
        "A random part taken off that age, so that not all segments close at once.";
    "segment.index.bytes": Int = Preset::Text("10485760"), Valid::AtLeast(4), Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.index.size.max.bytes")],
        "The largest size of an index file.";
    "flush.messages": Long = Preset::Text("9223372036854775807"), Valid::AtLeast(1), Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.flush.interval.messages")],
        "How many records may be written before the partition is synced to disk; 1 syncs before every acknowledgement.";
    "flush.ms": Long = Preset::Text("9223372036854775807"), Valid::AtLeast(0), Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.flush.interval.ms"), Synonym::same("log.flush.scheduler.interval.ms")],
        "How long records may stay unsynced.";
    "retention.bytes": Long = Preset::Text("-1"), Valid::Any, Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.retention.bytes")],
        "How many bytes of each partition are kept; -1 is no limit.";
    "retention.ms": Long = Preset::Text("604800000"), Valid::AtLeast(-1), Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.retention.ms"), Synonym::minutes("log.retention.minutes"), Synonym::hours("log.retention.hours")],
        "How long records are kept; -1 is for ever.";
    "max.message.bytes": Int = Preset::Text("1048588"), Valid::AtLeast(0), Medium ClusterWide InEffect,
        synonyms [Synonym::same("message.max.bytes")],
        "The largest record batch the topic accepts, after compression.";
    "max.decompressed.message.bytes": Int = Preset::Text("2147483639"), Valid::Between(1, 2147483639), Medium ClusterWide NotYet,
        synonyms [Synonym::same("max.decompressed.message.bytes")],
        "The largest size a record batch may grow to when it is decompressed.";
    "index.interval.bytes": Int = Preset::Text("4096"), Valid::AtLeast(0), Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.index.interval.bytes")],
        "How many bytes of records lie between two index entries.";
    "delete.retention.ms": Long = Preset::Text("86400000"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        synonyms [Synonym::same("log.cleaner.delete.retention.ms")],
        "How long the markers of deleted keys are kept when the topic is compacted.";
    "min.compaction.lag.ms": Long = Preset::Text("0"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        synonyms [Synonym::same("log.cleaner.min.compaction.lag.ms")],
        "The least age of a record before it may be compacted away.";
    "max.compaction.lag.ms": Long = Preset::Text("9223372036854775807"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        synonyms [Synonym::same("log.cleaner.max.compaction.lag.ms")],
        "The age at which a record must become eligible for compaction.";
    "file.delete.delay.ms": Long = Preset::Text("60000"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        synonyms [Synonym::same("log.segment.delete.delay.ms")],
        "How long a deleted file stays on disk.";
    "min.cleanable.dirty.ratio": Double = Preset::Text("0.5"), Valid::Fraction(0.0, 1.0), Medium ClusterWide NotYet,
        synonyms [Synonym::same("log.cleaner.min.cleanable.ratio")],
        "The share of a log that must be uncompacted before it is compacted.";
    "cleanup.policy": List = Preset::Text("delete"), Valid::ListOf(&["compact", "delete"], Empty::Allowed), Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.cleanup.policy")],
        "Whether old records are deleted, compacted by key, or both; empty keeps everything. Records without a key are refused where it has compact, but nothing is compacted yet.";
    "unclean.leader.election.enable": Boolean = Preset::Text("false"), Valid::Any, Medium ClusterWide InEffect,
        synonyms [Synonym::same("unclean.leader.election.enable")],
        "Whether a replica that was not in sync may lead, at the price of lost records.";
    "min.insync.replicas": Int = Preset::Text("1"), Valid::AtLeast(1), Medium ClusterWide InEffect,
        synonyms [Synonym::same("min.insync.replicas")],
        "How many replicas must be in sync for writes with acks=all.";
    "compression.type": String = Preset::Text("producer"), Valid::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), Medium ClusterWide InEffect,
        synonyms [Synonym::same("compression.type")],
        "The compression of stored batches; producer keeps whatever came in.";
    "compression.gzip.level": Int = Preset::Text("-1"), Valid::GzipLevel, Medium ClusterWide InEffect,
        synonyms [Synonym::same("compression.gzip.level")],
        "The gzip level where the broker compresses with gzip.";
    "compression.lz4.level": Int = Preset::Text("9"), Valid::Between(1, 17), Medium ClusterWide NotYet,
        synonyms [Synonym::same("compression.lz4.level")],
        "The lz4 level where the broker compresses with lz4.";
    "compression.zstd.level": Int = Preset::Text("3"), Valid::Between(-131072, 22), Medium ClusterWide InEffect,
        synonyms [Synonym::same("compression.zstd.level")],
        "The zstd level where the broker compresses with zstd.";
    "preallocate": Boolean = Preset::Text("false"), Valid::Any, Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.preallocate")],
        "Whether a new segment takes its full size on disk at once.";
    "message.timestamp.type": String = Preset::Text("CreateTime"), Valid::OneOf(&["CreateTime", "LogAppendTime"]), Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.message.timestamp.type")],
        "Whether records bear the producer's time or the broker's.";
    "message.timestamp.before.max.ms": Long = Preset::Text("9223372036854775807"), Valid::AtLeast(0), Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.message.timestamp.before.max.ms")],
        "How far in the past a record's timestamp may lie.";
    "message.timestamp.after.max.ms": Long = Preset::Text("3600000"), Valid::AtLeast(0), Medium ClusterWide InEffect,
        synonyms [Synonym::same("log.message.timestamp.after.max.ms")],
        "How far in the future a record's timestamp may lie.";
    "leader.replication.throttled.replicas": List = Preset::Text(""), Valid::ThrottledReplicas, Medium ClusterWide NotYet,
        "The replicas whose leaders send at a throttled rate, as partition:broker, or * for all.";
    "follower.replication.throttled.replicas": List = Preset::Text(""), Valid::ThrottledReplicas, Medium ClusterWide NotYet,
        "The replicas that fetch at a throttled rate, as partition:broker, or * for all.";
    "remote.storage.enable": Boolean = Preset::Text("false"), Valid::Any, Medium ClusterWide NotYet,
        "Whether the topic's segments are stored remotely.";
    "remote.log.copy.disable": Boolean = Preset::Text("false"), Valid::Any, Medium ClusterWide NotYet,
        "Whether no more segments are copied to the remote store.";
    "remote.log.delete.on.disable": Boolean = Preset::Text("false"), Valid::Any, Medium ClusterWide NotYet,
        "Whether remote segments are deleted when remote storage is switched off.";
    "local.retention.ms": Long = Preset::Text("-2"), Valid::AtLeast(-2), Medium ClusterWide NotYet,
        synonyms [Synonym::same("log.local.retention.ms")],
        "How long remotely stored segments stay on local disk; -2 follows retention.ms.";
    "local.retention.bytes": Long = Preset::Text("-2"), Valid::AtLeast(-2), Medium ClusterWide NotYet,
        synonyms [Synonym::same("log.local.retention.bytes")],
        "How many bytes of a remotely stored partition stay on local disk; -2 follows retention.bytes.";
    "remote.copy.lag.ms": Long = Preset::Text("0"), Valid::AtLeast(-1), Medium ClusterWide NotYet,
        synonyms [Synonym::same("log.remote.copy.lag.ms")],
        "How old a closed segment must be before it is copied; -1 follows the local retention.";
    "remote.copy.lag.bytes": Long = Preset::Text("-1"), Valid::AtLeast(-1), Medium ClusterWide NotYet,
        synonyms [Synonym::same("log.remote.copy.lag.bytes")],
        "How many bytes must lie behind a closed segment before it is copied; -1 follows the local retention.";
    "errors.deadletterqueue.group.enable": Boolean = Preset::Text("false"), Valid::Any, Medium ClusterWide NotYet,
        "Whether share groups may use the topic as their dead-letter queue.";
}
