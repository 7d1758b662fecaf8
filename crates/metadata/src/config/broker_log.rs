//! How partitions are stored: segments, retention, compaction, flushing.
//!
//! Rows of the one configuration table; the columns are explained at `key::Key`.

use super::key::*;

keys! {
    /// How partitions are stored: segments, retention, compaction, flushing.
    Broker:
    "num.partitions": Int = Preset::Text("1"), Valid::AtLeast(1), Medium ReadOnly InEffect,
        "How many partitions a topic gets where nobody says.";
    "auto.create.topics.enable": Boolean = Preset::Text("true"), Valid::Any, High ReadOnly InEffect,
        "Whether asking for a topic that does not exist creates it.";
    "log.dir": List = Preset::Text("/tmp/kafka-logs"), NON_EMPTY_LIST, High ReadOnly InEffect,
        "Where partitions are stored, where log.dirs is not set.";
    "log.dirs": List = Preset::Null, NON_EMPTY_LIST_OR_NULL, High ReadOnly InEffect,
        "The directories in which partitions are stored.";
    "cordoned.log.dirs": List = Preset::Text(""), ANY_LIST_OR_NULL, Medium PerBroker InEffect,
        "Directories that get no new partitions; * means all.";
    "log.dir.failure.timeout.ms": Long = Preset::Text("30000"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "How long a broker may fail to report a broken directory before it stops.";
    "log.segment.bytes": Int = Preset::Text("1073741824"), Valid::AtLeast(1048576), High ClusterWide InEffect,
        "The size at which a segment file is closed and a new one begun.";
    "log.roll.ms": Long = Preset::Null, Valid::Any, High ClusterWide InEffect,
        synonyms [Synonym::same("log.roll.ms"), Synonym::hours("log.roll.hours")],
        "The age at which a segment is closed; before log.roll.hours.";
    "log.roll.hours": Int = Preset::Text("168"), Valid::AtLeast(1), High ReadOnly InEffect,
        synonyms [Synonym::same("log.roll.ms"), Synonym::hours("log.roll.hours")],
        "The age in hours at which a segment is closed.";
    "log.roll.jitter.ms": Long = Preset::Null, Valid::Any, High ClusterWide InEffect,
        synonyms [Synonym::same("log.roll.jitter.ms"), Synonym::hours("log.roll.jitter.hours")],
        "A random part taken off the age, so that not all segments close at once.";
    "log.roll.jitter.hours": Int = Preset::Text("0"), Valid::AtLeast(0), High ReadOnly InEffect,
        synonyms [Synonym::same("log.roll.jitter.ms"), Synonym::hours("log.roll.jitter.hours")],
        "The same random part in hours.";
    "log.retention.ms": Long = Preset::Null, Valid::Any, High ClusterWide InEffect,
        synonyms [Synonym::same("log.retention.ms"), Synonym::minutes("log.retention.minutes"), Synonym::hours("log.retention.hours")],
        "How long records are kept; -1 for ever; before log.retention.minutes.";
    "log.retention.minutes": Int = Preset::Null, Valid::Any, High ReadOnly InEffect,
        synonyms [Synonym::same("log.retention.ms"), Synonym::minutes("log.retention.minutes"), Synonym::hours("log.retention.hours")],
        "How many minutes records are kept; before log.retention.hours.";
    "log.retention.hours": Int = Preset::Text("168"), Valid::Any, High ReadOnly InEffect,
        synonyms [Synonym::same("log.retention.ms"), Synonym::minutes("log.retention.minutes"), Synonym::hours("log.retention.hours")],
        "How many hours records are kept.";
    "log.retention.bytes": Long = Preset::Text("-1"), Valid::Any, High ClusterWide InEffect,
        "How many bytes of each partition are kept; -1 is no limit.";
    "log.retention.check.interval.ms": Long = Preset::Text("300000"), Valid::AtLeast(1), Medium ReadOnly InEffect,
        "How often the broker looks for segments to delete.";
    "log.cleanup.policy": List = Preset::Text("delete"), Valid::ListOf(&["compact", "delete"], Empty::Allowed), Medium ClusterWide InEffect,
        "Whether old records are deleted, compacted by key, or both.";
    "log.index.size.max.bytes": Int = Preset::Text("10485760"), Valid::AtLeast(4), Medium ClusterWide InEffect,
        "The largest size of an index file.";
    "log.index.interval.bytes": Int = Preset::Text("4096"), Valid::AtLeast(0), Medium ClusterWide InEffect,
        "How many bytes of records lie between two index entries.";
    "log.flush.interval.messages": Long = Preset::Text("9223372036854775807"), Valid::AtLeast(1), High ClusterWide InEffect,
        "How many records may be written to a partition before it is synced to disk; 1 syncs before every acknowledgement.";
    "log.flush.interval.ms": Long = Preset::Null, Valid::Any, High ClusterWide InEffect,
        synonyms [Synonym::same("log.flush.interval.ms"), Synonym::same("log.flush.scheduler.interval.ms")],
        "How long records may stay unsynced; log.flush.scheduler.interval.ms where unset.";
    "log.flush.scheduler.interval.ms": Long = Preset::Text("9223372036854775807"), Valid::Any, High ReadOnly InEffect,
        "How often the broker looks for partitions to sync.";
    "log.flush.offset.checkpoint.interval.ms": Int = Preset::Text("60000"), Valid::AtLeast(0), High ReadOnly NotYet,
        "How often the recovery points are written down.";
    "log.flush.start.offset.checkpoint.interval.ms": Int = Preset::Text("60000"), Valid::AtLeast(0), High ReadOnly NotYet,
        "How often the log start offsets are written down.";
    "log.segment.delete.delay.ms": Long = Preset::Text("60000"), Valid::AtLeast(0), High ClusterWide NotYet,
        "How long a deleted segment file stays on disk.";
    "log.preallocate": Boolean = Preset::Text("false"), Valid::Any, Medium ClusterWide InEffect,
        "Whether a new segment takes its full size on disk at once.";
    "log.initial.task.delay.ms": Long = Preset::Text("30000"), Valid::AtLeast(0), Low ReadOnly InEffect internal,
        "How long after the start the periodic work on logs begins.";
    "num.recovery.threads.per.data.dir": Int = Preset::Text("2"), Valid::AtLeast(1), High ClusterWide NotYet,
        "How many threads recover logs in each directory.";
    "log.message.timestamp.type": String = Preset::Text("CreateTime"), Valid::OneOf(&["CreateTime", "LogAppendTime"]), Medium ClusterWide InEffect,
        "Whether records bear the producer's time or the broker's.";
    "log.message.timestamp.before.max.ms": Long = Preset::Text("9223372036854775807"), Valid::AtLeast(0), Medium ClusterWide InEffect,
        "How far in the past a record's timestamp may lie.";
    "log.message.timestamp.after.max.ms": Long = Preset::Text("3600000"), Valid::AtLeast(0), Medium ClusterWide InEffect,
        "How far in the future a record's timestamp may lie.";
    "log.cleaner.enable": Boolean = Preset::Text("true"), Valid::Any, Medium ReadOnly NotYet,
        "Whether compaction runs at all.";
    "log.cleaner.threads": Int = Preset::Text("1"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        "How many threads compact.";
    "log.cleaner.io.max.bytes.per.second": Double = Preset::Text("1.7976931348623157E308"), Valid::Any, Medium ClusterWide NotYet,
        "The bytes a second that compaction reads and writes.";
    "log.cleaner.dedupe.buffer.size": Long = Preset::Text("134217728"), Valid::Any, Medium ClusterWide NotYet,
        "The memory in which compaction remembers keys.";
    "log.cleaner.io.buffer.size": Int = Preset::Text("524288"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        "The memory through which compaction reads and writes.";
    "log.cleaner.io.buffer.load.factor": Double = Preset::Text("0.9"), Valid::Any, Medium ClusterWide NotYet,
        "How full the memory of keys may get.";
    "log.cleaner.backoff.ms": Long = Preset::Text("15000"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        "How long compaction rests when there is nothing to do.";
    "log.cleaner.min.cleanable.ratio": Double = Preset::Text("0.5"), Valid::Fraction(0.0, 1.0), Medium ClusterWide NotYet,
        "The share of a log that must be uncompacted before it is compacted.";
    "log.cleaner.delete.retention.ms": Long = Preset::Text("86400000"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        "How long a compacted topic keeps the markers of deleted keys.";
    "log.cleaner.min.compaction.lag.ms": Long = Preset::Text("0"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        "The least age of a record before it may be compacted away.";
    "log.cleaner.max.compaction.lag.ms": Long = Preset::Text("9223372036854775807"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        "The age at which a record must become eligible for compaction.";
}
