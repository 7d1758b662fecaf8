//! One log kept alike on a quorum: KRaft.
