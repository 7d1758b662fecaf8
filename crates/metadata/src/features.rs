//! What `metadata.version` and the other features allow: levels, what depends on what, versions of records.
//!
//! Apache Kafka 4.4.0 as released finalizes level 33 (4.4-IV2) and share.version 2 in a new cluster.

use std::collections::BTreeMap;

use ottla_protocol::records::metadata::MetadataRecord;

/// The feature that says how the metadata log is written.
pub const METADATA_VERSION: &str = "metadata.version";
/// The feature of the quorum; it is kept in control records, never in a feature record.
pub const KRAFT_VERSION: &str = "kraft.version";
/// The feature of transactions (KIP-890).
pub const TRANSACTION_VERSION: &str = "transaction.version";
/// The feature of consumer groups (KIP-848).
pub const GROUP_VERSION: &str = "group.version";
/// The feature of eligible leader replicas (KIP-966).
pub const ELR_VERSION: &str = "eligible.leader.replicas.version";
/// The feature of share groups (KIP-932).
pub const SHARE_VERSION: &str = "share.version";
/// The feature of streams groups (KIP-1071).
pub const STREAMS_VERSION: &str = "streams.version";

/// Whether going below a level could lose what is written in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// The level brought new records or fields.
    Changed,
    /// It did not.
    Unchanged,
}

/// One level of `metadata.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The number.
    pub level: i16,
    /// The release it was made for.
    pub release: &'static str,
    /// The step within the release.
    pub step: &'static str,
    /// Whether it changed the records.
    pub metadata: Metadata,
}

const fn level(level: i16, release: &'static str, step: &'static str, metadata: Metadata) -> Level {
    Level { level, release, step, metadata }
}

use Metadata::{Changed, Unchanged};

/// Every level since the least that Kafka 4 accepts.
pub const LEVELS: &[Level] = &[
    level(7, "3.3", "IV3", Changed),
    level(8, "3.4", "IV0", Changed),
    level(9, "3.5", "IV0", Unchanged),
    level(10, "3.5", "IV1", Unchanged),
    level(11, "3.5", "IV2", Changed),
    level(12, "3.6", "IV0", Unchanged),
    level(13, "3.6", "IV1", Changed),
    level(14, "3.6", "IV2", Changed),
    level(15, "3.7", "IV0", Changed),
    level(16, "3.7", "IV1", Unchanged),
    level(17, "3.7", "IV2", Changed),
    level(18, "3.7", "IV3", Unchanged),
    level(19, "3.7", "IV4", Unchanged),
    level(20, "3.8", "IV0", Unchanged),
    level(21, "3.9", "IV0", Unchanged),
    level(22, "4.0", "IV0", Unchanged),
    level(23, "4.0", "IV1", Changed),
    level(24, "4.0", "IV2", Unchanged),
    level(25, "4.0", "IV3", Unchanged),
    level(26, "4.1", "IV0", Unchanged),
    level(27, "4.1", "IV1", Unchanged),
    level(28, "4.2", "IV0", Unchanged),
    level(29, "4.2", "IV1", Unchanged),
    level(30, "4.3", "IV0", Changed),
    level(31, "4.4", "IV0", Unchanged),
    level(32, "4.4", "IV1", Changed),
    level(33, "4.4", "IV2", Changed),
];

/// A finalized level of `metadata.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataVersion(i16);

impl MetadataVersion {
    /// The least level.
    pub const MINIMUM: Self = Self(7);
    /// The highest level that is not in development: what new clusters get.
    pub const LATEST: Self = Self(33);

    /// The level of this number, if there is one.
    #[must_use]
    pub fn from_level(level: i16) -> Option<Self> {
        LEVELS.iter().any(|row| row.level == level).then_some(Self(level))
    }

    /// The level of this name: `4.3-IV0`, or `4.3` for the release's last step.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let matches = |row: &&Level| name == row.release || name == format!("{}-{}", row.release, row.step);
        LEVELS.iter().rev().find(matches).map(|row| Self(row.level))
    }

    /// The number.
    #[must_use]
    pub fn level(self) -> i16 {
        self.0
    }

    /// Its name, such as `4.3-IV0`.
    #[must_use]
    pub fn name(self) -> String {
        let row = LEVELS.iter().find(|row| row.level == self.0);
        row.map_or_else(String::new, |row| format!("{}-{}", row.release, row.step))
    }

    /// Whether a level between this and the lower `target` changed the records, so that going down could lose some.
    #[must_use]
    pub fn loses_metadata_at(self, target: Self) -> bool {
        let between = |row: &&Level| row.level > target.0 && row.level <= self.0;
        LEVELS.iter().filter(between).any(|row| row.metadata == Changed)
    }

    /// KAFKA-15021: below 3.6 a shrinking ISR needs a new leader epoch.
    #[must_use]
    pub fn bumps_leader_epoch_on_isr_shrink(self) -> bool {
        self.0 < 12
    }

    /// Whether several batches may form one change (KIP-868).
    #[must_use]
    pub fn has_transactions(self) -> bool {
        self.0 >= 13
    }

    /// Whether controllers register.
    #[must_use]
    pub fn has_controller_registration(self) -> bool {
        self.0 >= 15
    }

    /// Whether replicas have directories (KIP-858).
    #[must_use]
    pub fn has_directories(self) -> bool {
        self.0 >= 17
    }

    /// Whether partitions may have eligible leader replicas (KIP-966).
    #[must_use]
    pub fn has_elr(self) -> bool {
        self.0 >= 23
    }

    /// Whether directories can be cordoned.
    #[must_use]
    pub fn has_cordoned_directories(self) -> bool {
        self.0 >= 30
    }

    /// Whether controllers can be unregistered.
    #[must_use]
    pub fn has_controller_unregistration(self) -> bool {
        self.0 >= 33
    }

    /// The version in which `record` is written at this level.
    #[must_use]
    pub fn record_version(self, record: &MetadataRecord) -> i16 {
        match record {
            MetadataRecord::RegisterBroker(_) => match self.0 {
                30.. => 4,
                17.. => 3,
                8.. => 2,
                _ => 1,
            },
            MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => match self.0 {
                23.. => 2,
                17.. => 1,
                _ => 0,
            },
            MetadataRecord::BrokerRegistrationChange(change) => {
                if change.cordoned_log_dirs.is_some() {
                    3
                } else if !change.log_dirs.is_empty() {
                    2
                } else {
                    i16::from(change.in_controlled_shutdown != 0)
                }
            }
            _ => 0,
        }
    }
}

/// The levels of a feature this code can run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The least level.
    pub min: i16,
    /// The highest level.
    pub max: i16,
}

impl Range {
    /// Whether the level lies within.
    #[must_use]
    pub fn contains(self, level: i16) -> bool {
        (self.min..=self.max).contains(&level)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{}-{}", self.min, self.max) }
    }
}

/// What this code claims when it registers: every feature with a level above 0 that is not in development.
pub const SUPPORTED: &[(&str, Range)] = &[
    (METADATA_VERSION, Range { min: 7, max: 33 }),
    (KRAFT_VERSION, Range { min: 0, max: 1 }),
    (TRANSACTION_VERSION, Range { min: 0, max: 2 }),
    (GROUP_VERSION, Range { min: 0, max: 1 }),
    (ELR_VERSION, Range { min: 0, max: 1 }),
    (SHARE_VERSION, Range { min: 0, max: 2 }),
    (STREAMS_VERSION, Range { min: 0, max: 1 }),
];

/// The levels of `feature` this code can run with; only 0 for a feature it does not know.
#[must_use]
pub fn supported(feature: &str) -> Range {
    SUPPORTED.iter().find(|(name, _)| *name == feature).map_or(Range { min: 0, max: 0 }, |(_, range)| *range)
}

/// What must be finalized before a feature can be raised to a level: feature, level, other feature, its level.
const DEPENDENCIES: &[(&str, i16, &str, i16)] =
    &[(ELR_VERSION, 1, METADATA_VERSION, 23), (SHARE_VERSION, 2, METADATA_VERSION, 31)];

/// What `feature` at `level` depends on: other features, each with its least level.
#[must_use]
pub fn dependencies(feature: &str, level: i16) -> Vec<(&'static str, i16)> {
    let rows = DEPENDENCIES.iter().filter(|(name, from, ..)| *name == feature && level >= *from);
    rows.map(|(_, _, other, least)| (*other, *least)).collect()
}

/// The first thing that stands in the way of `feature` at `level`, given all proposed levels.
#[must_use]
pub fn missing_dependency(feature: &str, level: i16, proposed: &BTreeMap<String, i16>) -> Option<String> {
    let get = |name: &str| proposed.get(name).copied().unwrap_or(0);
    if level >= 1 && get(METADATA_VERSION) < MetadataVersion::MINIMUM.level() {
        return Some(format!(
            "{feature} could not be set to {level} because it depends on metadata.version={} ({})",
            MetadataVersion::MINIMUM.level(),
            MetadataVersion::MINIMUM.name()
        ));
    }
    let missing = DEPENDENCIES
        .iter()
        .find(|(name, from, other, least)| *name == feature && level >= *from && get(other) < *least);
    missing.map(|(_, _, other, least)| {
        format!("{feature} could not be set to {level} because it depends on {other} level {least}")
    })
}

/// The levels a new cluster gets at a `metadata.version`, beside that feature and `kraft.version`.
#[must_use]
pub fn defaults_at(version: MetadataVersion) -> Vec<(&'static str, i16)> {
    let share = if version.level() >= 31 { 2 } else { 1 };
    let rows = [
        (ELR_VERSION, 26, 1),
        (GROUP_VERSION, 22, 1),
        (SHARE_VERSION, 28, share),
        (STREAMS_VERSION, 29, 1),
        (TRANSACTION_VERSION, 24, 2),
    ];
    rows.into_iter()
        .filter(|(_, from, _)| version.level() >= *from)
        .map(|(name, _, level)| (name, level))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::records::metadata::{
        BrokerRegistrationChangeRecord, PartitionRecord, RegisterBrokerRecord,
    };

    #[test]
    fn levels_rise_and_have_names() {
        assert!(LEVELS.windows(2).all(|pair| pair[0].level + 1 == pair[1].level));
        assert_eq!(MetadataVersion::LATEST.name(), "4.4-IV2");
        assert_eq!(MetadataVersion::from_name("3.7"), MetadataVersion::from_level(19));
        assert_eq!(MetadataVersion::from_name("3.7-IV2"), MetadataVersion::from_level(17));
        assert_eq!(MetadataVersion::from_level(6), None);
        assert_eq!(MetadataVersion::from_name("9.9"), None);
    }

    #[test]
    fn going_down_loses_metadata_where_records_changed() {
        let level = |level| MetadataVersion::from_level(level).unwrap();
        assert!(!level(29).loses_metadata_at(level(23)));
        assert!(level(30).loses_metadata_at(level(29)));
        assert!(level(25).loses_metadata_at(level(22)));
        assert!(!level(30).loses_metadata_at(level(30)));
    }

    #[test]
    fn record_versions_follow_the_level() {
        let versions = |record: MetadataRecord| -> Vec<i16> {
            [7, 8, 17, 23, 30].map(|level| MetadataVersion(level).record_version(&record)).to_vec()
        };
        assert_eq!(versions(RegisterBrokerRecord::default().into()), [1, 2, 3, 3, 4]);
        assert_eq!(versions(PartitionRecord::default().into()), [0, 0, 1, 2, 2]);
        let change = BrokerRegistrationChangeRecord { in_controlled_shutdown: 1, ..Default::default() };
        assert_eq!(versions(change.into()), [1; 5]);
    }

    #[test]
    fn features_depend_on_each_other() {
        let at = |level: i16| BTreeMap::from([(METADATA_VERSION.to_owned(), level)]);
        assert_eq!(missing_dependency(ELR_VERSION, 1, &at(23)), None);
        assert_eq!(
            missing_dependency(ELR_VERSION, 1, &at(22)).unwrap(),
            "eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23"
        );
        assert!(missing_dependency(GROUP_VERSION, 1, &BTreeMap::new()).is_some());
        assert_eq!(defaults_at(MetadataVersion::LATEST).len(), 5);
        for (name, level) in defaults_at(MetadataVersion::LATEST) {
            assert!(supported(name).contains(level), "{name}");
        }
    }
}
