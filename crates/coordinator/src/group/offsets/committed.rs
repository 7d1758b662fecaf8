//! One committed offset, in few bytes: what is seldom given stands apart.

use ottla_protocol::records::coordinator::OffsetCommitValue;
use ottla_protocol::{Offset, TopicId};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next record to read.
    pub offset: Offset,
    /// Where the commit stands in `__consumer_offsets`.
    pub record_offset: Offset,
    /// When it was committed, by the wall clock of the coordinator.
    pub commit_ms: i64,
    /// The topic that was meant; zero where only its name was given (before Kafka 4.1).
    pub topic_id: TopicId,
    /// The epoch of the partition's leader when the last record was read (KIP-320), as the client gave it; −1 if unknown.
    pub leader_epoch: i32,
    seldom: Option<Box<Seldom>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seldom {
    metadata: Box<str>,
    expire_ms: Option<i64>,
}

impl Committed {
    pub(super) fn new(record_offset: Offset, value: OffsetCommitValue) -> Self {
        let expire_ms = (value.expire_timestamp != -1).then_some(value.expire_timestamp);
        let seldom = (!value.metadata.is_empty() || expire_ms.is_some())
            .then(|| Box::new(Seldom { metadata: value.metadata.into(), expire_ms }));
        Self {
            offset: Offset(value.offset),
            record_offset,
            commit_ms: value.commit_timestamp,
            topic_id: value.topic_id,
            leader_epoch: value.leader_epoch,
            seldom,
        }
    }

    /// What the client wanted to be kept beside it.
    #[must_use]
    pub fn metadata(&self) -> &str {
        self.seldom.as_ref().map_or("", |seldom| &seldom.metadata)
    }

    /// When it ends, if the client has said so: it could from version 2 to 4 of OffsetCommit.
    #[must_use]
    pub fn expire_ms(&self) -> Option<i64> {
        self.seldom.as_ref().and_then(|seldom| seldom.expire_ms)
    }

    /// Whether it was committed for this topic, as far as both sides name one.
    pub(super) fn is_for(&self, topic: TopicId) -> bool {
        self.topic_id.is_zero() || topic.is_zero() || self.topic_id == topic
    }
}
