//! Even and sticky: the numbers of partitions that two members have differ as little as their subscriptions allow.

pub(super) mod alike;
pub(super) mod mixed;
