//! What the disk refuses for a while: there is no room, or no descriptor.
//!
//! Invariant: however many requests are refused, the operator reads one line when it begins and one when it is over.

use ottla_log::DiskError;
use ottla_protocol::PartitionId;

/// Whether something is missing under a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// Nothing.
    #[default]
    None,
    /// Something was refused since somebody last looked.
    Fresh,
    /// Nothing was refused since.
    Fading,
}

impl Shortage {
    /// Takes note of a refusal that [is passing](DiskError::is_passing).
    pub fn note(&mut self, partition: PartitionId, error: &DiskError) {
        if *self == Self::None {
            tracing::warn!(%partition, %error, "requests are refused for a while");
        }
        *self = Self::Fresh;
    }

    /// Somebody looks after the partition: from one look to the next without a refusal, and it is over.
    pub fn look(&mut self, partition: PartitionId) {
        *self = match *self {
            Self::Fresh => Self::Fading,
            Self::Fading => {
                tracing::info!(%partition, "nothing is refused any more");
                Self::None
            }
            Self::None => Self::None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::Uuid;
    use std::path::Path;

    #[test]
    fn it_is_over_when_nothing_was_refused_between_two_looks() {
        let partition = PartitionId { topic: Uuid::ZERO, index: 0 };
        let error = DiskError::without_descriptor("open", Path::new("a.log"));
        let mut shortage = Shortage::default();
        shortage.look(partition);
        assert_eq!(shortage, Shortage::None);
        shortage.note(partition, &error);
        shortage.look(partition);
        assert_eq!(shortage, Shortage::Fading);
        shortage.note(partition, &error);
        assert_eq!(shortage, Shortage::Fresh, "it is still the same one");
        shortage.look(partition);
        shortage.look(partition);
        assert_eq!(shortage, Shortage::None);
    }
}
