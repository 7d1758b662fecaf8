//! What may be set on a group.
//!
//! Rows of the one configuration table; the columns are explained at `key::Key`.

use super::key::*;

keys! {
    /// What may be set on a group.
    Group:
    "consumer.session.timeout.ms": Int = Preset::Text("45000"), Valid::AtLeast(1), Medium ClusterWide InEffect,
        synonyms [Synonym::same("group.consumer.session.timeout.ms")],
        "How long a member of the consumer group may be silent.";
    "consumer.heartbeat.interval.ms": Int = Preset::Text("5000"), Valid::AtLeast(1), Medium ClusterWide InEffect,
        synonyms [Synonym::same("group.consumer.heartbeat.interval.ms")],
        "How often members of the consumer group send heartbeats.";
    "consumer.assignment.interval.ms": Int = Preset::Text("1000"), Valid::AtLeast(0), Medium ClusterWide InEffect,
        synonyms [Synonym::same("group.consumer.assignment.interval.ms")],
        "The least time between two assignments of the consumer group.";
    "consumer.assignor.offload.enable": Boolean = Preset::Text("true"), Valid::Any, Medium ClusterWide Inert internal,
        synonyms [Synonym::same("group.consumer.assignor.offload.enable")],
        "Whether assignments of the consumer group are computed on another thread.";
    "share.session.timeout.ms": Int = Preset::Text("45000"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        synonyms [Synonym::same("group.share.session.timeout.ms")],
        "How long a member of the share group may be silent.";
    "share.heartbeat.interval.ms": Int = Preset::Text("5000"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        synonyms [Synonym::same("group.share.heartbeat.interval.ms")],
        "How often members of the share group send heartbeats.";
    "share.record.lock.duration.ms": Int = Preset::Text("30000"), Valid::AtLeast(1000), Medium ClusterWide NotYet,
        synonyms [Synonym::same("group.share.record.lock.duration.ms")],
        "How long a delivered record is locked for its consumer.";
    "share.delivery.count.limit": Int = Preset::Text("5"), Valid::AtLeast(2), Medium ClusterWide NotYet,
        synonyms [Synonym::same("group.share.delivery.count.limit")],
        "How often a record is delivered before it is given up.";
    "share.partition.max.record.locks": Int = Preset::Text("2000"), Valid::AtLeast(100), Medium ClusterWide NotYet,
        synonyms [Synonym::same("group.share.partition.max.record.locks")],
        "How many records of one share partition may be locked.";
    "share.auto.offset.reset": String = Preset::Text("latest"), Valid::OffsetReset, Medium ClusterWide NotYet,
        "Where a share group begins to read: latest, earliest, or a duration back in time.";
    "share.isolation.level": String = Preset::Text("read_uncommitted"), Valid::OneOf(&["read_committed", "read_uncommitted"]), Medium ClusterWide NotYet,
        "Whether the share group sees records of open transactions.";
    "share.renew.acknowledge.enable": Boolean = Preset::Text("true"), Valid::Any, Medium ClusterWide NotYet,
        "Whether consumers may prolong the lock of a record.";
    "share.assignment.interval.ms": Int = Preset::Text("1000"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        synonyms [Synonym::same("group.share.assignment.interval.ms")],
        "The least time between two assignments of the share group.";
    "share.assignor.offload.enable": Boolean = Preset::Text("true"), Valid::Any, Medium ClusterWide Inert internal,
        synonyms [Synonym::same("group.share.assignor.offload.enable")],
        "Whether assignments of the share group are computed on another thread.";
    "streams.session.timeout.ms": Int = Preset::Text("45000"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        synonyms [Synonym::same("group.streams.session.timeout.ms")],
        "How long a member of the streams group may be silent.";
    "streams.heartbeat.interval.ms": Int = Preset::Text("5000"), Valid::AtLeast(1), Medium ClusterWide NotYet,
        synonyms [Synonym::same("group.streams.heartbeat.interval.ms")],
        "How often members of the streams group send heartbeats.";
    "streams.num.standby.replicas": Int = Preset::Text("0"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        synonyms [Synonym::same("group.streams.num.standby.replicas")],
        "How many standby copies each task has.";
    "streams.num.warmup.replicas": Int = Preset::Text("2"), Valid::AtLeast(0), Medium ClusterWide NotYet internal,
        synonyms [Synonym::same("group.streams.num.warmup.replicas")],
        "How many copies may warm up at a time.";
    "streams.acceptable.recovery.lag": Long = Preset::Text("10000"), Valid::AtLeast(0), Medium ClusterWide NotYet internal,
        synonyms [Synonym::same("group.streams.acceptable.recovery.lag")],
        "How far a copy may lag and still count as caught up.";
    "streams.initial.rebalance.delay.ms": Int = Preset::Text("3000"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        synonyms [Synonym::same("group.streams.initial.rebalance.delay.ms")],
        "How long the new streams group waits for more members.";
    "streams.assignment.interval.ms": Int = Preset::Text("1000"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        synonyms [Synonym::same("group.streams.assignment.interval.ms")],
        "The least time between two assignments of the streams group.";
    "streams.assignor.offload.enable": Boolean = Preset::Text("true"), Valid::Any, Medium ClusterWide Inert internal,
        synonyms [Synonym::same("group.streams.assignor.offload.enable")],
        "Whether assignments of the streams group are computed on another thread.";
    "streams.assignor.name": String = Preset::Null, Valid::Any, Medium ClusterWide NotYet,
        synonyms [Synonym::same("group.streams.assignors")],
        "The assignor of the streams group; the first of the broker's where unset.";
    "streams.rack.aware.assignment.tags": List = Preset::Text(""), ANY_LIST, Low ClusterWide NotYet,
        synonyms [Synonym::same("group.streams.rack.aware.assignment.tags")],
        "The tags by which standby copies are kept apart.";
    "streams.task.offset.interval.ms": Int = Preset::Text("60000"), Valid::AtLeast(1), Medium ClusterWide NotYet internal,
        synonyms [Synonym::same("group.streams.task.offset.interval.ms")],
        "How often members report the offsets of their tasks.";
    "errors.deadletterqueue.topic.name": String = Preset::Text(""), Valid::Any, Medium ClusterWide NotYet,
        "The topic that takes the records the share group gives up; empty is none.";
    "errors.deadletterqueue.copy.record.enable": Boolean = Preset::Text("false"), Valid::Any, Medium ClusterWide NotYet,
        "Whether such a record is copied whole, or only its coordinates.";
}
