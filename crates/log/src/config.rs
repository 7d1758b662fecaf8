//! The topic settings that a log obeys, already in numbers.

/// Settings of one log; may change while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before it grows beyond.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is rolled when a record is that much later than its first.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: how much earlier than that a segment may be rolled, so that not all are at once.
    pub segment_jitter_ms: i64,
    /// Decides how much earlier; another for every log.
    pub jitter_seed: u64,
    /// `segment.index.bytes`: a segment is rolled when one of its indexes has grown to this.
    pub index_bytes: u32,
    /// `index.interval.bytes`: how much is appended between two index entries.
    pub index_interval_bytes: u32,
    /// How far ahead room is reserved, in bytes; 0 for not at all. `preallocate=true` is `segment_bytes`.
    pub preallocate_bytes: u32,
    /// `retention.ms`; `None` for ever.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; `None` for no limit.
    pub retention_bytes: Option<u64>,
    /// `cleanup.policy`.
    pub cleanup: Cleanup,
    /// `producer.id.expiration.ms`: when a silent producer is forgotten.
    pub producer_expiration_ms: i64,
}

/// `cleanup.policy`: what may become of old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Nothing, but for DeleteRecords.
    Keep,
    /// Old segments go.
    Delete,
    /// Earlier values of a key go.
    Compact,
    /// Both.
    CompactAndDelete,
}

impl Cleanup {
    /// Whether old segments go.
    #[must_use]
    pub fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::CompactAndDelete)
    }

    /// Whether offsets may be missing in the middle.
    #[must_use]
    pub fn compacts(self) -> bool {
        matches!(self, Self::Compact | Self::CompactAndDelete)
    }
}

impl Default for LogConfig {
    /// Kafka's defaults for a topic.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            segment_jitter_ms: 0,
            jitter_seed: 0,
            index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            preallocate_bytes: 0,
            retention_ms: Some(7 * 24 * 60 * 60 * 1000),
            retention_bytes: None,
            cleanup: Cleanup::Delete,
            producer_expiration_ms: 24 * 60 * 60 * 1000,
        }
    }
}

impl LogConfig {
    /// How much earlier than `segment_ms` the segment that begins at `base` is rolled, in ms.
    pub(crate) fn jitter_ms(&self, base: i64) -> i64 {
        let limit = self.segment_jitter_ms.min(self.segment_ms);
        if limit <= 0 {
            return 0;
        }
        // A multiplicative hash is random enough to spread segments over time.
        let mixed = (self.jitter_seed ^ base as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        mixed as i64 % limit
    }
}
