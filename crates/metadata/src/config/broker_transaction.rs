//! Producer ids and transactions.
//!
//! Rows of the one configuration table; the columns are explained at `key::Key`.

use super::key::*;

keys! {
    /// Producer ids and transactions.
    Broker:
    "producer.id.expiration.ms": Int = Preset::Text("86400000"), Valid::AtLeast(1), Low ClusterWide InEffect,
        "How long an idle producer's state is kept.";
    "producer.id.expiration.check.interval.ms": Int = Preset::Text("600000"), Valid::AtLeast(1), Low ReadOnly NotYet internal,
        "How often idle producers' state is looked for.";
    "add.partitions.to.txn.retry.backoff.ms": Int = Preset::Text("20"), Valid::AtLeast(1), High ReadOnly InEffect,
        "The first pause before adding partitions to a transaction is tried again.";
    "add.partitions.to.txn.retry.backoff.max.ms": Int = Preset::Text("100"), Valid::AtLeast(0), High ReadOnly InEffect,
        "The longest such pause.";
    "transactional.id.expiration.ms": Int = Preset::Text("604800000"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How long an idle transactional id is kept.";
    "transaction.max.timeout.ms": Int = Preset::Text("900000"), Valid::AtLeast(1), High ReadOnly InEffect,
        "The longest timeout a transaction may ask for.";
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": Int = Preset::Text("10000"), Valid::AtLeast(1), Low ReadOnly InEffect,
        "How often transactions past their timeout are looked for.";
    "transaction.remove.expired.transaction.cleanup.interval.ms": Int = Preset::Text("3600000"), Valid::AtLeast(1), Low ReadOnly InEffect,
        "How often expired transactional ids are looked for.";
    "transaction.two.phase.commit.enable": Boolean = Preset::Text("false"), Valid::Any, Low ReadOnly InEffect,
        "Whether transactions may be part of a two-phase commit steered from outside.";
    "transaction.partition.verification.enable": Boolean = Preset::Text("true"), Valid::Any, Low ClusterWide InEffect,
        "Whether a leader asks the coordinator that a partition belongs to the transaction before it appends.";
    "transaction.state.log.num.partitions": Int = Preset::Text("50"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How many partitions the topic of transaction states has.";
    "transaction.state.log.replication.factor": Short = Preset::Text("3"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How many replicas the topic of transaction states has.";
    "transaction.state.log.min.isr": Int = Preset::Text("2"), Valid::AtLeast(1), High ReadOnly InEffect,
        "How many replicas of that topic must be in sync for writes.";
    "transaction.state.log.segment.bytes": Int = Preset::Text("104857600"), Valid::AtLeast(1), High ReadOnly InEffect,
        "The segment size of that topic.";
    "transaction.state.log.load.buffer.size": Int = Preset::Text("5242880"), Valid::AtLeast(1), High ReadOnly NotYet,
        "How many bytes are read at once when that topic is loaded.";
}
