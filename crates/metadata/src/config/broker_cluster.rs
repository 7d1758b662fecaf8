//! How a cluster agrees: the quorum, the metadata log, the controller, replication.
//!
//! Rows of the one configuration table; the columns are explained at `key::Key`.

use super::key::*;

keys! {
    /// How a cluster agrees: the quorum, the metadata log, the controller, replication.
    Broker:
    "controller.quorum.voters": List = Preset::Text(""), Valid::Voters, High ReadOnly InEffect,
        "The voters of a fixed quorum, as id@host:port.";
    "controller.quorum.bootstrap.servers": List = Preset::Text(""), Valid::Servers, High ReadOnly InEffect,
        "Where to find controllers of a quorum whose voters are kept in the log.";
    "controller.listener.names": List = Preset::Required, NON_EMPTY_LIST, High ReadOnly InEffect,
        "The names of the listeners on which controllers are reached; the first is used by brokers.";
    "controller.quorum.election.timeout.ms": Int = Preset::Text("1000"), Valid::AtLeast(0), High ReadOnly InEffect,
        "How long a voter waits for a leader before it stands for election.";
    "controller.quorum.election.backoff.max.ms": Int = Preset::Text("1000"), Valid::AtLeast(0), High ReadOnly InEffect,
        "The longest random pause between two elections.";
    "controller.quorum.fetch.timeout.ms": Int = Preset::Text("2000"), Valid::AtLeast(0), High ReadOnly InEffect,
        "How long a voter goes without a successful fetch before it doubts the leader.";
    "controller.quorum.request.timeout.ms": Int = Preset::Text("2000"), Valid::AtLeast(0), Medium ReadOnly InEffect,
        "How long a node waits for the answer to a request within the quorum.";
    "controller.quorum.retry.backoff.ms": Int = Preset::Text("20"), Valid::AtLeast(0), Low ReadOnly InEffect,
        "The pause before a request within the quorum is sent again.";
    "controller.quorum.append.linger.ms": Int = Preset::Text("25"), Valid::AtLeast(0), Medium ReadOnly NotYet,
        "How long the leader gathers records before it writes them.";
    "controller.quorum.auto.join.enable": Boolean = Preset::Text("false"), Valid::Any, Low ReadOnly NotYet,
        "Whether a controller joins the quorum as a voter by itself.";
    "controller.quorum.fetch.max.bytes": Int = Preset::Text("1048576"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "The most bytes one fetch of the metadata log returns.";
    "controller.quorum.fetch.snapshot.max.bytes": Int = Preset::Text("1048576"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "The most bytes one fetch of a metadata snapshot returns.";
    "sasl.mechanism.controller.protocol": String = Preset::Text("GSSAPI"), Valid::Any, High ReadOnly NotYet,
        "The SASL mechanism used towards controllers.";
    "controller.socket.timeout.ms": Int = Preset::Text("30000"), Valid::Any, Medium ReadOnly NotYet,
        "How long a broker waits for the controller's answer.";
    "controller.performance.sample.period.ms": Long = Preset::Text("60000"), Valid::AtLeast(100), Medium ReadOnly NotYet internal,
        "How often the controller reports on the speed of its events.";
    "controller.performance.always.log.threshold.ms": Long = Preset::Text("2000"), Valid::AtLeast(0), Medium ReadOnly NotYet internal,
        "A controller event slower than this is always logged.";
    "metadata.log.dir": String = Preset::Null, Valid::Any, High ReadOnly InEffect,
        "The directory of the metadata log; the first of log.dirs where unset.";
    "metadata.log.segment.bytes": Int = Preset::Text("1073741824"), Valid::AtLeast(8388608), High ReadOnly InEffect,
        "The size at which a segment of the metadata log is closed.";
    "internal.metadata.log.segment.bytes": Int = Preset::Null, Valid::Any, Low ReadOnly NotYet internal,
        "The same size for tests, without a lower bound.";
    "metadata.log.segment.ms": Long = Preset::Text("604800000"), Valid::Any, High ReadOnly InEffect,
        "The age at which a segment of the metadata log is closed.";
    "metadata.log.max.record.bytes.between.snapshots": Long = Preset::Text("20971520"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How many bytes of new metadata records bring about a snapshot.";
    "metadata.log.max.snapshot.interval.ms": Long = Preset::Text("3600000"), Valid::AtLeast(0), High ReadOnly InEffect,
        "The longest time between two snapshots while there is something new; 0 is no such limit.";
    "metadata.max.retention.bytes": Long = Preset::Text("104857600"), Valid::Any, High ReadOnly InEffect,
        "How many bytes of metadata log and snapshots are kept.";
    "metadata.max.retention.ms": Long = Preset::Text("604800000"), Valid::Any, High ReadOnly InEffect,
        "How long metadata log and snapshots are kept.";
    "metadata.max.idle.interval.ms": Int = Preset::Text("500"), Valid::AtLeast(0), Low ReadOnly InEffect,
        "How often the active controller writes a record that says nothing, to show that it is alive; 0 is never.";
    "internal.metadata.max.batch.size.in.bytes": Int = Preset::Text("8388608"), Valid::Any, Low ReadOnly NotYet internal,
        "The largest batch of the metadata log.";
    "internal.metadata.delete.delay.millis": Long = Preset::Text("60000"), Valid::Any, Low ReadOnly NotYet internal,
        "How long deleted files of the metadata log stay on disk.";
    "default.replication.factor": Int = Preset::Text("1"), Valid::Any, Medium ReadOnly InEffect,
        "How many replicas a partition gets where nobody says.";
    "min.insync.replicas": Int = Preset::Text("1"), Valid::AtLeast(1), High ClusterWide InEffect,
        "How many replicas must be in sync for writes with acks=all.";
    "unclean.leader.election.enable": Boolean = Preset::Text("false"), Valid::Any, High ClusterWide InEffect,
        "Whether a replica that was not in sync may lead, at the price of lost records.";
    "unclean.leader.election.interval.ms": Long = Preset::Text("300000"), Valid::AtLeast(1), Medium ReadOnly InEffect internal,
        "How often the controller looks for partitions that an unclean election would help.";
    "auto.leader.rebalance.enable": Boolean = Preset::Text("true"), Valid::Any, High ReadOnly InEffect,
        "Whether the controller gives leadership back to preferred replicas by itself.";
    "leader.imbalance.check.interval.seconds": Long = Preset::Text("300"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How often the controller looks for partitions not led by their preferred replica.";
    "replica.lag.time.max.ms": Long = Preset::Text("30000"), Valid::Any, High ReadOnly NotYet,
        "How long a follower may lag before it leaves the in-sync replicas.";
    "replica.socket.timeout.ms": Int = Preset::Text("30000"), Valid::Any, High ReadOnly NotYet,
        "How long a follower waits for the answer to a fetch.";
    "replica.socket.receive.buffer.bytes": Int = Preset::Text("65536"), Valid::Any, High ReadOnly NotYet,
        "The receive buffer of a follower's connections.";
    "replica.fetch.max.bytes": Int = Preset::Text("1048576"), Valid::AtLeast(0), Medium ReadOnly NotYet,
        "The most bytes a follower asks of one partition.";
    "replica.fetch.response.max.bytes": Int = Preset::Text("10485760"), Valid::AtLeast(0), Medium ReadOnly NotYet,
        "The most bytes a follower asks for in one fetch.";
    "replica.fetch.min.bytes": Int = Preset::Text("1"), Valid::Any, High ReadOnly NotYet,
        "How many bytes a leader waits for before it answers a follower.";
    "replica.fetch.wait.max.ms": Int = Preset::Text("500"), Valid::Any, High ReadOnly NotYet,
        "How long a leader lets a follower's fetch wait.";
    "replica.fetch.backoff.ms": Int = Preset::Text("1000"), Valid::AtLeast(0), Medium ReadOnly NotYet,
        "How long a follower rests a partition after an error.";
    "replica.high.watermark.checkpoint.interval.ms": Long = Preset::Text("5000"), Valid::Any, High ReadOnly InEffect,
        "How often high watermarks are written down.";
    "replica.selector.class": String = Preset::Null, Valid::Any, Medium ReadOnly NotYet,
        "Which replica consumers read from; the rack-aware selector sends them to their own rack.";
    "num.replica.fetchers": Int = Preset::Text("1"), Valid::AtLeast(1), High ClusterWide NotYet,
        "How many connections a broker opens to each leader it follows.";
    "fetch.purgatory.purge.interval.requests": Int = Preset::Text("1000"), Valid::Any, Medium ReadOnly Inert,
        "How often Java clears fetches that no longer wait.";
    "producer.purgatory.purge.interval.requests": Int = Preset::Text("1000"), Valid::Any, Medium ReadOnly Inert,
        "How often Java clears produce requests that no longer wait.";
    "delete.records.purgatory.purge.interval.requests": Int = Preset::Text("1"), Valid::Any, Medium ReadOnly Inert,
        "How often Java clears deletions of records that no longer wait.";
    "follower.fetch.last.tiered.offset.enable": Boolean = Preset::Text("false"), Valid::Any, Medium ClusterWide NotYet,
        "Whether a new follower starts at the first offset that is not in remote storage.";
}
