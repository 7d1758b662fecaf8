//! Tiered storage.
//!
//! Rows of the one configuration table; the columns are explained at `key::Key`.

use super::key::*;

keys! {
    /// Tiered storage.
    Broker:
    "remote.log.storage.system.enable": Boolean = Preset::Text("false"), Valid::Any, Medium ReadOnly NotYet,
        "Whether segments may be stored remotely at all.";
    "remote.log.storage.manager.impl.prefix": String = Preset::Text("rsm.config."), Valid::NonEmpty, Medium ReadOnly NotYet,
        "What the keys of the remote store begin with.";
    "remote.log.metadata.manager.impl.prefix": String = Preset::Text("rlmm.config."), Valid::NonEmpty, Medium ReadOnly NotYet,
        "What the keys of the store of remote metadata begin with.";
    "remote.log.storage.manager.class.name": String = Preset::Null, Valid::NonEmpty, Medium ReadOnly NotYet,
        "The remote store.";
    "remote.log.storage.manager.class.path": String = Preset::Null, Valid::Any, Medium ReadOnly Inert,
        "Where Java finds the class of the remote store.";
    "remote.log.metadata.manager.class.name": String = Preset::Text("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"), Valid::NonEmpty, Medium ReadOnly NotYet,
        "The store of remote metadata.";
    "remote.log.metadata.manager.class.path": String = Preset::Null, Valid::Any, Medium ReadOnly Inert,
        "Where Java finds the class of the store of remote metadata.";
    "remote.log.metadata.manager.listener.name": String = Preset::Null, Valid::NonEmpty, Medium ReadOnly NotYet,
        "The listener through which remote metadata is reached.";
    "remote.log.metadata.custom.metadata.max.bytes": Int = Preset::Text("128"), Valid::AtLeast(0), Low ReadOnly NotYet,
        "The most bytes of its own that a remote store may keep per segment.";
    "remote.log.index.file.cache.total.size.bytes": Long = Preset::Text("1073741824"), Valid::AtLeast(1), Low ClusterWide NotYet,
        "How many bytes of remote indexes are kept locally.";
    "remote.log.index.file.cache.ttl.ms": Long = Preset::Text("900000"), Valid::AtLeast(-1), Low ReadOnly NotYet internal,
        "How long a remote index is kept locally.";
    "remote.log.manager.thread.pool.size": Int = Preset::Text("2"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "The older number of threads that copy and delete remote segments.";
    "remote.log.manager.copier.thread.pool.size": Int = Preset::Text("10"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        "How many threads copy segments.";
    "remote.log.manager.expiration.thread.pool.size": Int = Preset::Text("10"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        "How many threads delete expired remote segments.";
    "remote.log.manager.follower.thread.pool.size": Int = Preset::Text("2"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        "How many threads follow what leaders have copied.";
    "remote.log.manager.task.interval.ms": Long = Preset::Text("30000"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "How often remote copying and deletion run.";
    "remote.log.manager.task.retry.backoff.ms": Long = Preset::Text("500"), Valid::AtLeast(1), Low ReadOnly NotYet internal,
        "The first pause after a failure of remote work.";
    "remote.log.manager.task.retry.backoff.max.ms": Long = Preset::Text("30000"), Valid::AtLeast(1), Low ReadOnly NotYet internal,
        "The longest pause after failures of remote work.";
    "remote.log.manager.task.retry.jitter": Double = Preset::Text("0.2"), Valid::Fraction(0.0, 0.5), Low ReadOnly NotYet internal,
        "The random share of those pauses.";
    "remote.log.reader.threads": Int = Preset::Text("10"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        "How many threads read remote segments.";
    "remote.log.reader.max.pending.tasks": Int = Preset::Text("100"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "How many remote reads may wait.";
    "remote.log.manager.copy.max.bytes.per.second": Long = Preset::Text("9223372036854775807"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        "The bytes a second that are copied.";
    "remote.log.manager.copy.quota.window.num": Int = Preset::Text("11"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "How many windows the copy quota looks back over.";
    "remote.log.manager.copy.quota.window.size.seconds": Int = Preset::Text("1"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "The length of one window of the copy quota.";
    "remote.log.manager.fetch.max.bytes.per.second": Long = Preset::Text("9223372036854775807"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        "The bytes a second that are read from the remote store.";
    "remote.log.manager.fetch.quota.window.num": Int = Preset::Text("11"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "How many windows the read quota looks back over.";
    "remote.log.manager.fetch.quota.window.size.seconds": Int = Preset::Text("1"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "The length of one window of the read quota.";
    "remote.fetch.max.wait.ms": Int = Preset::Text("500"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        "How long a fetch waits for the remote store.";
    "remote.list.offsets.request.timeout.ms": Long = Preset::Text("30000"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        "How long a lookup of offsets waits for the remote store.";
    "log.local.retention.ms": Long = Preset::Text("-2"), Valid::AtLeast(-2), Medium ClusterWide NotYet,
        "How long remotely stored segments stay on local disk; -2 follows the retention.";
    "log.local.retention.bytes": Long = Preset::Text("-2"), Valid::AtLeast(-2), Medium ClusterWide NotYet,
        "How many bytes of a remotely stored partition stay on local disk; -2 follows the retention.";
    "log.remote.copy.lag.ms": Long = Preset::Text("0"), Valid::AtLeast(-1), Medium ClusterWide NotYet,
        "How old a closed segment must be before it is copied; -1 follows the local retention.";
    "log.remote.copy.lag.bytes": Long = Preset::Text("-1"), Valid::AtLeast(-1), Medium ClusterWide NotYet,
        "How many bytes must lie behind a closed segment before it is copied; -1 follows the local retention.";
}
