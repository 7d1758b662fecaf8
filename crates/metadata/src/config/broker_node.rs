//! What a node is: its roles, its id, its threads, its sockets, its figures and quotas.
//!
//! Rows of the one configuration table; the columns are explained at `key::Key`.

use super::key::*;

keys! {
    /// What a node is: its roles, its id, its threads, its sockets, its figures and quotas.
    Broker:
    "process.roles": List = Preset::Required, Valid::ListOf(&["broker", "controller"], Empty::Refused), High ReadOnly InEffect,
        "What this node is: broker, controller, or both.";
    "node.id": Int = Preset::Required, Valid::AtLeast(0), High ReadOnly InEffect,
        "The number of this node, unique in the cluster.";
    "broker.id": Int = Preset::Text("-1"), Valid::Any, High ReadOnly InEffect,
        "The older name of node.id; where both are given they must agree.";
    "broker.rack": String = Preset::Null, Valid::Any, Medium ReadOnly InEffect,
        "The rack or zone the node stands in; replicas of a partition are spread over racks.";
    "broker.heartbeat.interval.ms": Int = Preset::Text("2000"), Valid::Any, Medium ReadOnly InEffect,
        "How often the broker sends a heartbeat to the active controller.";
    "broker.session.timeout.ms": Int = Preset::Text("9000"), Valid::Any, Medium ReadOnly InEffect,
        "How long a broker may be silent before the controller fences it.";
    "initial.broker.registration.timeout.ms": Int = Preset::Text("60000"), Valid::Any, Medium ReadOnly NotYet,
        "How long a starting broker tries to register before the process gives up.";
    "server.max.startup.time.ms": Long = Preset::Text("9223372036854775807"), Valid::AtLeast(0), Medium ReadOnly NotYet internal,
        "The longest the start of the process may take before it gives up.";
    "controlled.shutdown.enable": Boolean = Preset::Text("true"), Valid::Any, Medium ReadOnly NotYet,
        "Whether a stopping broker first asks the controller to move its leaderships away.";
    "listeners": List = Preset::Text("PLAINTEXT://:9092"), NON_EMPTY_LIST, High PerBroker InEffect,
        "The addresses this node listens on, as NAME://host:port; an empty host means every interface.";
    "advertised.listeners": List = Preset::Null, NON_EMPTY_LIST_OR_NULL, High ReadOnly InEffect,
        "The addresses clients and other nodes are told to use; the listeners themselves where unset.";
    "listener.security.protocol.map": String = Preset::Text("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), Valid::Any, Low PerBroker InEffect,
        "Which security protocol each listener name speaks.";
    "inter.broker.listener.name": String = Preset::Null, Valid::Any, Medium ReadOnly InEffect,
        "The listener brokers use among themselves.";
    "security.inter.broker.protocol": String = Preset::Text("PLAINTEXT"), Valid::OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Medium ReadOnly InEffect,
        "The security protocol among brokers where inter.broker.listener.name is not set.";
    "early.start.listeners": List = Preset::Null, ANY_LIST_OR_NULL, High ReadOnly InEffect,
        "Listeners that open before the broker is fully started; the controller listeners where unset.";
    "num.network.threads": Int = Preset::Text("3"), Valid::AtLeast(1), High ClusterWide Inert,
        "Java's threads that read and write sockets; Ottla serves each core's connections on that core.";
    "num.io.threads": Int = Preset::Text("8"), Valid::AtLeast(1), High ClusterWide Inert,
        "Java's threads that carry out requests; Ottla carries them out where the partition lives.";
    "background.threads": Int = Preset::Text("10"), Valid::AtLeast(1), High ClusterWide Inert,
        "Java's threads for housekeeping such as deletion of files.";
    "queued.max.requests": Int = Preset::Text("500"), Valid::AtLeast(1), High ReadOnly NotYet,
        "How many requests may wait before reading from sockets pauses.";
    "queued.max.request.bytes": Long = Preset::Text("-1"), Valid::Any, Medium ReadOnly InEffect,
        "How many bytes of requests may wait before reading from sockets pauses; -1 is no limit.";
    "socket.send.buffer.bytes": Int = Preset::Text("102400"), Valid::Any, High ReadOnly InEffect,
        "The send buffer asked of the operating system for each connection; -1 leaves its default. Unless it is set, that default, but 128 KiB for clients on this machine.";
    "socket.receive.buffer.bytes": Int = Preset::Text("102400"), Valid::Any, High ReadOnly InEffect,
        "The receive buffer asked of the operating system for each connection; -1 leaves its default.";
    "socket.request.max.bytes": Int = Preset::Text("104857600"), Valid::AtLeast(1), High ReadOnly InEffect,
        "The largest request a connection may send.";
    "socket.listen.backlog.size": Int = Preset::Text("50"), Valid::AtLeast(1), Medium ReadOnly InEffect,
        "How many connections may wait to be accepted.";
    "socket.connection.setup.timeout.ms": Long = Preset::Text("10000"), Valid::Any, Medium ReadOnly NotYet,
        "How long the node waits at first for a connection it opens itself.";
    "socket.connection.setup.timeout.max.ms": Long = Preset::Text("30000"), Valid::Any, Medium ReadOnly NotYet,
        "The longest it waits for such a connection after repeated failures.";
    "request.timeout.ms": Int = Preset::Text("30000"), Valid::Any, High ReadOnly InEffect,
        "How long the node waits for the answer to a request it sends.";
    "connections.max.idle.ms": Long = Preset::Text("600000"), Valid::Any, Medium ReadOnly InEffect,
        "A connection without traffic for this long is closed.";
    "connection.failed.authentication.delay.ms": Int = Preset::Text("100"), Valid::AtLeast(0), Low ReadOnly NotYet,
        "How long the closing of a connection is put off after failed authentication.";
    "max.connections": Int = Preset::Text("2147483647"), Valid::AtLeast(0), Medium ClusterWide InEffect,
        "How many connections the node accepts in all.";
    "max.connections.per.ip": Int = Preset::Text("2147483647"), Valid::AtLeast(0), Medium ClusterWide InEffect,
        "How many connections one address may hold.";
    "max.connections.per.ip.overrides": String = Preset::Text(""), Valid::Any, Medium ClusterWide InEffect,
        "Limits for single addresses or hosts, as host:count.";
    "max.connection.creation.rate": Int = Preset::Text("2147483647"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        "How many connections a second the node accepts.";
    "message.max.bytes": Int = Preset::Text("1048588"), Valid::AtLeast(0), High ClusterWide InEffect,
        "The largest record batch a topic accepts, after compression.";
    "max.decompressed.message.bytes": Int = Preset::Text("2147483639"), Valid::Between(1, 2147483639), Medium ClusterWide NotYet,
        "The largest size a record batch may grow to when it is decompressed.";
    "max.request.partition.size.limit": Int = Preset::Text("2000"), Valid::AtLeast(1), Medium ReadOnly InEffect,
        "How many partitions one request of describing topics may return.";
    "fetch.max.bytes": Int = Preset::Text("57671680"), Valid::AtLeast(1024), Medium ReadOnly InEffect,
        "The most bytes one fetch response carries.";
    "max.incremental.fetch.session.cache.slots": Int = Preset::Text("1000"), Valid::AtLeast(0), Medium ReadOnly NotYet,
        "How many incremental fetch sessions the broker keeps.";
    "delete.topic.enable": Boolean = Preset::Text("true"), Valid::Any, High ReadOnly InEffect,
        "Whether topics may be deleted.";
    "compression.type": String = Preset::Text("producer"), Valid::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), High ClusterWide InEffect,
        "The compression of stored batches; producer keeps whatever came in.";
    "compression.gzip.level": Int = Preset::Text("-1"), Valid::GzipLevel, Medium ClusterWide InEffect,
        "The gzip level where the broker compresses with gzip.";
    "compression.lz4.level": Int = Preset::Text("9"), Valid::Between(1, 17), Medium ClusterWide InEffect,
        "The lz4 level where the broker compresses with lz4.";
    "compression.zstd.level": Int = Preset::Text("3"), Valid::Between(-131072, 22), Medium ClusterWide InEffect,
        "The zstd level where the broker compresses with zstd.";
    "config.providers": List = Preset::Text(""), ANY_LIST, Low ClusterWide Inert,
        "Names of the classes that fetch values from elsewhere.";
    "authorizer.class.name": String = Preset::Text(""), Valid::NonNull, Low ReadOnly NotYet,
        "The authorizer; Kafka's StandardAuthorizer switches access control on.";
    "client.quota.callback.class": Class = Preset::Null, Valid::Any, Low ReadOnly Inert,
        "A class that computes quotas.";
    "create.topic.policy.class.name": Class = Preset::Null, Valid::Any, Low ReadOnly Inert,
        "A class that may refuse new topics.";
    "alter.config.policy.class.name": Class = Preset::Null, Valid::Any, Low ReadOnly Inert,
        "A class that may refuse changes of configuration.";
    "num.replica.alter.log.dirs.threads": Int = Preset::Null, Valid::Any, High ReadOnly Inert,
        "Java's threads that move replicas between log directories.";
    "unstable.api.versions.enable": Boolean = Preset::Text("false"), Valid::Any, High ReadOnly NotYet internal,
        "Whether versions of requests still in development are offered.";
    "unstable.feature.versions.enable": Boolean = Preset::Text("false"), Valid::Any, High ReadOnly NotYet internal,
        "Whether feature levels still in development may be used.";
    "quota.window.num": Int = Preset::Text("11"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "How many windows the client quotas look back over.";
    "quota.window.size.seconds": Int = Preset::Text("1"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "The length of one window of the client quotas.";
    "replication.quota.window.num": Int = Preset::Text("11"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "How many windows the replication quotas look back over.";
    "replication.quota.window.size.seconds": Int = Preset::Text("1"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "The length of one window of the replication quotas.";
    "alter.log.dirs.replication.quota.window.num": Int = Preset::Text("11"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "How many windows the quota of moves between log directories looks back over.";
    "alter.log.dirs.replication.quota.window.size.seconds": Int = Preset::Text("1"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "The length of one window of the quota of moves between log directories.";
    "controller.quota.window.num": Int = Preset::Text("11"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "How many windows the quota of topic changes looks back over.";
    "controller.quota.window.size.seconds": Int = Preset::Text("1"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "The length of one window of the quota of topic changes.";
    "leader.replication.throttled.rate": Long = Preset::Text("9223372036854775807"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        "The bytes a second at which throttled leaders send to followers.";
    "follower.replication.throttled.rate": Long = Preset::Text("9223372036854775807"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        "The bytes a second at which throttled followers fetch.";
    "replica.alter.log.dirs.io.max.bytes.per.second": Long = Preset::Text("9223372036854775807"), Valid::AtLeast(0), Medium ClusterWide NotYet,
        "The bytes a second at which replicas move between log directories.";
    "metric.reporters": List = Preset::Text("org.apache.kafka.common.metrics.JmxReporter"), ANY_LIST, Low ClusterWide Inert,
        "Classes that publish Java's metrics.";
    "metrics.num.samples": Int = Preset::Text("2"), Valid::AtLeast(1), Low ReadOnly Inert,
        "How many samples a Java metric is computed from.";
    "metrics.sample.window.ms": Long = Preset::Text("30000"), Valid::AtLeast(1), Low ReadOnly Inert,
        "The length of one sample of a Java metric.";
    "metrics.recording.level": String = Preset::Text("INFO"), Valid::Any, Low ReadOnly Inert,
        "Which Java metrics are recorded.";
    "kafka.metrics.reporters": List = Preset::Text(""), ANY_LIST, Low ReadOnly Inert,
        "Classes that publish the older Java metrics.";
    "kafka.metrics.polling.interval.secs": Int = Preset::Text("10"), Valid::AtLeast(1), Low ReadOnly Inert,
        "How often the older Java metrics are published.";
    "telemetry.max.bytes": Int = Preset::Text("1048576"), Valid::AtLeast(1), Low ReadOnly NotYet,
        "The largest push of client metrics that is accepted.";
}
