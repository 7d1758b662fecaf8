//! The record at the end of a transaction, as far as the log understands it.

use ottla_protocol::ProducerEpoch;
use ottla_protocol::batch::{BatchHeader, TimestampType};

use super::ProducerEntry;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerKind {
    /// Its records are to be thrown away.
    Abort,
    /// Its records hold.
    Commit,
}

/// A transaction marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// How the transaction ended.
    pub kind: MarkerKind,
    /// Epoch of the coordinator that decided so.
    pub coordinator_epoch: i32,
    /// When, in ms.
    pub timestamp: i64,
}

/// Which epochs a marker may have, by the version of the transaction protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerRule {
    /// Versions 0 and 1: not below the producer's epoch.
    SameOrLater,
    /// Version 2 (KIP-890): above the producer's epoch, for every transaction has an epoch of its own; the same only
    /// as the repetition of a marker that is there already, or once epochs are exhausted.
    Later,
}

impl MarkerRule {
    pub(super) fn refuses(self, entry: &ProducerEntry, epoch: ProducerEpoch) -> bool {
        let same_is_right = match self {
            Self::SameOrLater => true,
            Self::Later => entry.transaction_start.is_none() || epoch.0 == i16::MAX,
        };
        epoch < entry.epoch || (epoch == entry.epoch && !same_is_right)
    }
}

impl Marker {
    /// Reads the one record of a control batch; `None` when it is no marker of a transaction.
    #[must_use]
    pub fn parse(batch: &BatchHeader, body: &[u8]) -> Option<Self> {
        let mut rest = Rest(body);
        rest.varint()?;
        rest.take(1)?;
        let delta = rest.varint()?;
        let timestamp = match batch.timestamp_type() {
            TimestampType::CreateTime => batch.base_timestamp.checked_add(delta)?,
            TimestampType::LogAppendTime => batch.max_timestamp,
        };
        rest.varint()?;
        let key = rest.sized()?;
        let value = rest.sized()?;
        let kind = match key.get(2..4)? {
            [0, 0] => MarkerKind::Abort,
            [0, 1] => MarkerKind::Commit,
            _ => return None,
        };
        let coordinator_epoch = i32::from_be_bytes(*value.get(2..)?.first_chunk()?);
        Some(Self { kind, coordinator_epoch, timestamp })
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<i64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        None
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }
}
