//! What a controller writes when it becomes active.

use ottla_metadata::features::{ELR_VERSION, METADATA_VERSION, MetadataVersion};
use ottla_protocol::records::metadata::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord, FeatureLevelRecord,
    MetadataRecord,
};

use ottla_protocol::Offset;

use crate::view::View;

/// The records of a take-over: an open transaction of the predecessor is aborted, and an empty log gets `bootstrap`
/// (feature levels first among them, then credentials) in a transaction. Without any bootstrap records the cluster
/// starts at the latest level that is not in development.
pub(crate) fn records(
    view: &View,
    open: Option<Offset>,
    bootstrap: Vec<MetadataRecord>,
) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    if open.is_some() {
        records.push(AbortTransactionRecord { reason: Some("Controller failover".to_owned()) }.into());
    }
    if view.image.metadata_version.is_some() {
        return records;
    }
    let bootstrap = if bootstrap.is_empty() { default_bootstrap() } else { bootstrap };
    let level = |name: &str| {
        bootstrap.iter().find_map(|record| match record {
            MetadataRecord::FeatureLevel(feature) if feature.name == name => Some(feature.feature_level),
            _ => None,
        })
    };
    let version = level(METADATA_VERSION).and_then(MetadataVersion::from_level);
    let in_transaction = version.unwrap_or(MetadataVersion::LATEST).has_transactions();
    let has_elr = level(ELR_VERSION).unwrap_or(0) > 0;
    if in_transaction {
        records.push(BeginTransactionRecord { name: Some("Bootstrap records".to_owned()) }.into());
    }
    records.extend(bootstrap);
    if has_elr {
        // With eligible leader replicas, min.insync.replicas counts cluster-wide only, so it has to be written down.
        let file = view.settings.node().int("min.insync.replicas");
        let record = ConfigRecord {
            resource_type: 4,
            resource_name: String::new(),
            name: "min.insync.replicas".to_owned(),
            value: Some(file.to_string()),
        };
        records.push(record.into());
    }
    if in_transaction {
        records.push(EndTransactionRecord::default().into());
    }
    records
}

fn default_bootstrap() -> Vec<MetadataRecord> {
    let latest = MetadataVersion::LATEST;
    let features = ottla_metadata::features::defaults_at(latest);
    std::iter::once((METADATA_VERSION, latest.level()))
        .chain(features)
        .map(|(name, level)| FeatureLevelRecord { name: name.to_owned(), feature_level: level }.into())
        .collect()
}
