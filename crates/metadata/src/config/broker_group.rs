//! Consumer, share and streams groups and their coordinators.
//!
//! Rows of the one configuration table; the columns are explained at `key::Key`.

use super::key::*;

keys! {
    /// Consumer, share and streams groups and their coordinators.
    Broker:
    "offset.metadata.max.bytes": Int = Preset::Text("4096"), Valid::Any, High ReadOnly InEffect,
        "The longest note a consumer may commit with an offset.";
    "offsets.commit.timeout.ms": Int = Preset::Text("5000"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How long a commit of offsets waits for its replicas.";
    "offsets.load.buffer.size": Int = Preset::Text("5242880"), Valid::AtLeast(1), High ReadOnly NotYet,
        "How many bytes are read at once when the offsets topic is loaded.";
    "offsets.retention.check.interval.ms": Long = Preset::Text("600000"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How often expired offsets are looked for.";
    "offsets.retention.minutes": Int = Preset::Text("10080"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How long the offsets of an empty group are kept.";
    "offsets.topic.compression.codec": Int = Preset::Text("0"), Valid::Any, High ReadOnly InEffect,
        "The compression of the offsets topic, by number.";
    "offsets.topic.num.partitions": Int = Preset::Text("50"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How many partitions the offsets topic has.";
    "offsets.topic.replication.factor": Short = Preset::Text("3"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How many replicas the offsets topic has.";
    "offsets.topic.segment.bytes": Int = Preset::Text("104857600"), Valid::AtLeast(1), High ReadOnly InEffect,
        "The segment size of the offsets topic.";
    "group.coordinator.rebalance.protocols": List = Preset::Text("classic,consumer,streams"), Valid::ListOf(&["consumer", "classic", "share", "streams"], Empty::Refused), Medium ReadOnly InEffect,
        "Which kinds of group the coordinator serves.";
    "group.coordinator.threads": Int = Preset::Text("4"), Valid::AtLeast(1), High ReadOnly Inert,
        "Java's threads of the group coordinator.";
    "group.coordinator.background.threads": Int = Preset::Text("2"), Valid::AtLeast(1), High ReadOnly Inert,
        "Java's threads for the coordinator's longer computations.";
    "group.coordinator.append.linger.ms": Int = Preset::Text("-1"), Valid::AtLeast(-1), Medium ReadOnly NotYet,
        "How long the coordinator gathers records before it writes them; -1 lets it decide.";
    "group.coordinator.cached.buffer.max.bytes": Int = Preset::Text("1048588"), Valid::AtLeast(524288), Medium ClusterWide NotYet,
        "The largest write buffer the coordinator keeps for reuse.";
    "group.initial.rebalance.delay.ms": Int = Preset::Text("3000"), Valid::Any, Medium ReadOnly InEffect,
        "How long a new group waits for more members before its first rebalance.";
    "group.min.session.timeout.ms": Int = Preset::Text("6000"), Valid::Any, Medium ReadOnly InEffect,
        "The shortest session timeout a classic member may ask for.";
    "group.max.session.timeout.ms": Int = Preset::Text("1800000"), Valid::Any, Medium ReadOnly InEffect,
        "The longest session timeout a classic member may ask for.";
    "group.max.size": Int = Preset::Text("2147483647"), Valid::AtLeast(1), Medium ReadOnly InEffect,
        "How many members a classic group may have.";
    "group.consumer.session.timeout.ms": Int = Preset::Text("45000"), Valid::AtLeast(1), Medium ReadOnly InEffect,
        "How long a consumer group member may be silent.";
    "group.consumer.min.session.timeout.ms": Int = Preset::Text("45000"), Valid::AtLeast(1), Medium ReadOnly InEffect,
        "The shortest session timeout a consumer group may be given.";
    "group.consumer.max.session.timeout.ms": Int = Preset::Text("60000"), Valid::AtLeast(1), Medium ReadOnly InEffect,
        "The longest session timeout a consumer group may be given.";
    "group.consumer.heartbeat.interval.ms": Int = Preset::Text("5000"), Valid::AtLeast(1), Medium ReadOnly InEffect,
        "How often consumer group members send heartbeats.";
    "group.consumer.min.heartbeat.interval.ms": Int = Preset::Text("5000"), Valid::AtLeast(1), Medium ReadOnly InEffect,
        "The shortest heartbeat interval a consumer group may be given.";
    "group.consumer.max.heartbeat.interval.ms": Int = Preset::Text("15000"), Valid::AtLeast(1), Medium ReadOnly InEffect,
        "The longest heartbeat interval a consumer group may be given.";
    "group.consumer.max.size": Int = Preset::Text("2147483647"), Valid::AtLeast(1), Medium ReadOnly InEffect,
        "How many members a consumer group may have.";
    "group.consumer.assignors": List = Preset::Text("uniform,range"), NON_EMPTY_LIST, Medium ReadOnly InEffect,
        "The server-side assignors of consumer groups; the first is the default.";
    "group.consumer.migration.policy": String = Preset::Text("bidirectional"), Valid::OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), Medium ReadOnly InEffect,
        "Which way groups may change between the classic and the consumer protocol.";
    "group.consumer.assignment.interval.ms": Int = Preset::Text("1000"), Valid::AtLeast(0), Medium ClusterWide InEffect,
        "The least time between two assignments of a consumer group.";
    "group.consumer.min.assignment.interval.ms": Int = Preset::Text("0"), Valid::AtLeast(0), Medium ReadOnly InEffect,
        "The least assignment interval a consumer group may be given.";
    "group.consumer.max.assignment.interval.ms": Int = Preset::Text("15000"), Valid::AtLeast(0), Medium ReadOnly InEffect,
        "The greatest assignment interval a consumer group may be given.";
    "group.consumer.assignor.offload.enable": Boolean = Preset::Text("true"), Valid::Any, Medium ClusterWide Inert internal,
        "Whether assignments of consumer groups are computed on another thread.";
    "group.consumer.regex.refresh.interval.ms": Int = Preset::Text("600000"), Valid::AtLeast(10000), Medium ReadOnly InEffect internal,
        "How often regular expressions of subscriptions are evaluated anew.";
    "group.share.session.timeout.ms": Int = Preset::Text("45000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "How long a share group member may be silent.";
    "group.share.min.session.timeout.ms": Int = Preset::Text("45000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "The shortest session timeout a share group may be given.";
    "group.share.max.session.timeout.ms": Int = Preset::Text("60000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "The longest session timeout a share group may be given.";
    "group.share.heartbeat.interval.ms": Int = Preset::Text("5000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "How often share group members send heartbeats.";
    "group.share.min.heartbeat.interval.ms": Int = Preset::Text("5000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "The shortest heartbeat interval a share group may be given.";
    "group.share.max.heartbeat.interval.ms": Int = Preset::Text("15000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "The longest heartbeat interval a share group may be given.";
    "group.share.max.size": Int = Preset::Text("200"), Valid::Between(1, 1000), Medium ReadOnly NotYet,
        "How many members a share group may have.";
    "group.share.assignors": List = Preset::Text("simple"), NON_EMPTY_LIST, Medium ReadOnly NotYet,
        "The server-side assignors of share groups.";
    "group.share.assignment.interval.ms": Int = Preset::Text("1000"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        "The least time between two assignments of a share group.";
    "group.share.min.assignment.interval.ms": Int = Preset::Text("0"), Valid::AtLeast(0), Medium ReadOnly NotYet,
        "The least assignment interval a share group may be given.";
    "group.share.max.assignment.interval.ms": Int = Preset::Text("15000"), Valid::AtLeast(0), Medium ReadOnly NotYet,
        "The greatest assignment interval a share group may be given.";
    "group.share.assignor.offload.enable": Boolean = Preset::Text("true"), Valid::Any, Medium ClusterWide Inert internal,
        "Whether assignments of share groups are computed on another thread.";
    "group.share.initialize.retry.interval.ms": Int = Preset::Text("30000"), Valid::AtLeast(1), Low ReadOnly NotYet internal,
        "How often the state of a share partition is tried to be set up again.";
    "group.share.delivery.count.limit": Int = Preset::Text("5"), Valid::Between(2, 10), Medium ReadOnly NotYet,
        "How often a record is delivered before it is given up.";
    "group.share.min.delivery.count.limit": Int = Preset::Text("2"), Valid::Between(2, 5), Medium ReadOnly NotYet,
        "The least delivery limit a share group may be given.";
    "group.share.max.delivery.count.limit": Int = Preset::Text("10"), Valid::Between(5, 25), Medium ReadOnly NotYet,
        "The greatest delivery limit a share group may be given.";
    "group.share.record.lock.duration.ms": Int = Preset::Text("30000"), Valid::Between(1000, 3600000), Medium ReadOnly NotYet,
        "How long a delivered record is locked for its consumer.";
    "group.share.min.record.lock.duration.ms": Int = Preset::Text("15000"), Valid::Between(1000, 30000), Medium ReadOnly NotYet,
        "The shortest lock a share group may be given.";
    "group.share.max.record.lock.duration.ms": Int = Preset::Text("60000"), Valid::Between(30000, 3600000), Medium ReadOnly NotYet,
        "The longest lock a share group may be given.";
    "group.share.partition.max.record.locks": Int = Preset::Text("2000"), Valid::Between(100, 10000), Medium ReadOnly NotYet,
        "How many records of one share partition may be locked.";
    "group.share.min.partition.max.record.locks": Int = Preset::Text("100"), Valid::Between(100, 2000), Medium ReadOnly NotYet,
        "The least such number a share group may be given.";
    "group.share.max.partition.max.record.locks": Int = Preset::Text("4000"), Valid::Between(2000, 10000), Medium ReadOnly NotYet,
        "The greatest such number a share group may be given.";
    "group.share.max.share.sessions": Int = Preset::Text("2000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "How many share sessions a broker keeps.";
    "group.share.persister.class.name": String = Preset::Text("org.apache.kafka.server.share.persister.DefaultStatePersister"), Valid::Any, Medium ReadOnly Inert internal,
        "The class that stores the state of share groups.";
    "group.share.dlq.manager.class.name": String = Preset::Text("org.apache.kafka.server.share.dlq.DefaultShareGroupDLQManager"), Valid::Any, Medium ReadOnly Inert internal,
        "The class that writes to dead-letter queues.";
    "share.fetch.purgatory.purge.interval.requests": Int = Preset::Text("1000"), Valid::Any, Medium ReadOnly Inert,
        "How often Java clears share fetches that no longer wait.";
    "errors.deadletterqueue.auto.create.topics.enable": Boolean = Preset::Text("false"), Valid::Any, Medium ClusterWide NotYet,
        "Whether the topics of dead-letter queues are created by themselves.";
    "errors.deadletterqueue.topic.name.prefix": String = Preset::Text("dlq."), Valid::Any, Medium ClusterWide NotYet,
        "What the names of dead-letter topics begin with.";
    "group.streams.session.timeout.ms": Int = Preset::Text("45000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "How long a streams group member may be silent.";
    "group.streams.min.session.timeout.ms": Int = Preset::Text("45000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "The shortest session timeout a streams group may be given.";
    "group.streams.max.session.timeout.ms": Int = Preset::Text("60000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "The longest session timeout a streams group may be given.";
    "group.streams.heartbeat.interval.ms": Int = Preset::Text("5000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "How often streams group members send heartbeats.";
    "group.streams.min.heartbeat.interval.ms": Int = Preset::Text("5000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "The shortest heartbeat interval a streams group may be given.";
    "group.streams.max.heartbeat.interval.ms": Int = Preset::Text("15000"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "The longest heartbeat interval a streams group may be given.";
    "group.streams.max.size": Int = Preset::Text("2147483647"), Valid::AtLeast(1), Medium ReadOnly NotYet,
        "How many members a streams group may have.";
    "group.streams.num.standby.replicas": Int = Preset::Text("0"), Valid::AtLeast(0), Medium ReadOnly NotYet,
        "How many standby copies each task has.";
    "group.streams.max.standby.replicas": Int = Preset::Text("2"), Valid::AtLeast(0), Medium ReadOnly NotYet,
        "The most standby copies a streams group may be given.";
    "group.streams.num.warmup.replicas": Int = Preset::Text("2"), Valid::AtLeast(0), Medium ReadOnly NotYet internal,
        "How many copies may warm up at a time.";
    "group.streams.max.warmup.replicas": Int = Preset::Text("20"), Valid::AtLeast(0), Medium ReadOnly NotYet internal,
        "The most warming copies a streams group may be given.";
    "group.streams.acceptable.recovery.lag": Long = Preset::Text("10000"), Valid::AtLeast(0), Medium ReadOnly NotYet internal,
        "How far a copy may lag and still count as caught up.";
    "group.streams.initial.rebalance.delay.ms": Int = Preset::Text("3000"), Valid::AtLeast(0), Medium ReadOnly NotYet,
        "How long a new streams group waits for more members.";
    "group.streams.assignment.interval.ms": Int = Preset::Text("1000"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        "The least time between two assignments of a streams group.";
    "group.streams.min.assignment.interval.ms": Int = Preset::Text("0"), Valid::AtLeast(0), Medium ReadOnly NotYet,
        "The least assignment interval a streams group may be given.";
    "group.streams.max.assignment.interval.ms": Int = Preset::Text("15000"), Valid::AtLeast(0), Medium ReadOnly NotYet,
        "The greatest assignment interval a streams group may be given.";
    "group.streams.assignor.offload.enable": Boolean = Preset::Text("true"), Valid::Any, Medium ClusterWide Inert internal,
        "Whether assignments of streams groups are computed on another thread.";
    "group.streams.assignors": List = Preset::Text("sticky"), NON_EMPTY_LIST, Medium ReadOnly NotYet,
        "The server-side assignors of streams groups.";
    "group.streams.rack.aware.assignment.tags": List = Preset::Text(""), ANY_LIST, Low ReadOnly NotYet,
        "The tags by which standby copies are kept apart.";
    "group.streams.task.offset.interval.ms": Int = Preset::Text("60000"), Valid::AtLeast(1), Medium ReadOnly NotYet internal,
        "How often members report the offsets of their tasks.";
    "group.streams.min.task.offset.interval.ms": Int = Preset::Text("15000"), Valid::AtLeast(1), Medium ReadOnly NotYet internal,
        "The shortest such interval a streams group may be given.";
    "group.streams.topology.description.plugin.class": Class = Preset::Null, Valid::Any, Medium ReadOnly Inert,
        "A class that receives descriptions of topologies.";
    "share.coordinator.state.topic.num.partitions": Int = Preset::Text("50"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How many partitions the topic of share states has.";
    "share.coordinator.state.topic.replication.factor": Short = Preset::Text("3"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How many replicas the topic of share states has.";
    "share.coordinator.state.topic.min.isr": Short = Preset::Text("2"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How many replicas of that topic must be in sync for writes.";
    "share.coordinator.state.topic.segment.bytes": Int = Preset::Text("104857600"), Valid::AtLeast(1), High ReadOnly InEffect,
        "The segment size of that topic.";
    "share.coordinator.state.topic.compression.codec": Int = Preset::Text("0"), Valid::Any, High ReadOnly NotYet,
        "The compression of that topic, by number.";
    "share.coordinator.state.topic.prune.interval.ms": Int = Preset::Text("300000"), Valid::AtLeast(1), Low ReadOnly NotYet internal,
        "How often records of that topic that are no longer needed are deleted.";
    "share.coordinator.threads": Int = Preset::Text("1"), Valid::AtLeast(1), Medium ReadOnly Inert,
        "Java's threads of the share coordinator.";
    "share.coordinator.snapshot.update.records.per.snapshot": Int = Preset::Text("500"), Valid::Between(0, 500), Medium ReadOnly NotYet,
        "How many updates of a share state lie between two snapshots of it.";
    "share.coordinator.cold.partition.snapshot.interval.ms": Int = Preset::Text("300000"), Valid::AtLeast(1), Low ReadOnly NotYet internal,
        "How often the state of a quiet share partition is written anew.";
    "share.coordinator.load.buffer.size": Int = Preset::Text("5242880"), Valid::AtLeast(1), High ReadOnly NotYet,
        "How many bytes are read at once when that topic is loaded.";
    "share.coordinator.append.linger.ms": Int = Preset::Text("-1"), Valid::AtLeast(-1), Medium ReadOnly NotYet,
        "How long the share coordinator gathers records before it writes them; -1 lets it decide.";
    "share.coordinator.write.timeout.ms": Int = Preset::Text("5000"), Valid::AtLeast(1), High ReadOnly NotYet,
        "How long a write of the share coordinator waits for its replicas.";
    "share.coordinator.cached.buffer.max.bytes": Int = Preset::Text("1048588"), Valid::AtLeast(524288), Medium ClusterWide NotYet,
        "The largest write buffer the share coordinator keeps for reuse.";
}
