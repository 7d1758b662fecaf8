//! Ids are types, never bare integers, so that they cannot be swapped.

use std::fmt;

use crate::uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// A node of the cluster: broker, controller or both. −1 is "none" on the wire and `Option::None` in our code.
    NodeId(i32)
}
id! {
    /// The place of a record in its partition.
    Offset(i64)
}
id! {
    /// Counts the leaders of a partition (or, in raft, the elections of the quorum).
    LeaderEpoch(i32)
}
id! {
    /// An idempotent or transactional producer.
    ProducerId(i64)
}
id! {
    /// Fences older instances of one producer.
    ProducerEpoch(i16)
}

/// A topic for life: names can be used again, ids never are.
pub type TopicId = Uuid;

/// One partition of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// The topic.
    pub topic: TopicId,
    /// The partition's number, from 0.
    pub index: i32,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

impl Offset {
    /// The first offset of every log.
    pub const ZERO: Self = Self(0);

    /// The offset `count` records further on.
    #[must_use]
    pub fn plus(self, count: i64) -> Self {
        Self(self.0 + count)
    }
}

impl ProducerId {
    /// "Not an idempotent producer."
    pub const NONE: Self = Self(-1);
}
