//! Levels of features go up, and sometimes down, when every registered node can follow.

use std::collections::BTreeMap;

use ottla_metadata::MetadataVersion;
use ottla_metadata::config::validate::Rejected;
use ottla_metadata::features::{
    ELR_VERSION, KRAFT_VERSION, METADATA_VERSION, Range, missing_dependency, supported,
};
use ottla_protocol::messages::update_features::{FeatureUpdateKey, UpdatableFeatureResult};
use ottla_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ottla_protocol::records::metadata::{ConfigRecord, FeatureLevelRecord, MetadataRecord};
use ottla_protocol::{NodeId, Refusal};

use crate::refused::{outcome, refused};
use crate::view::View;

/// What an update needs to know beside the cluster.
pub(crate) struct Updater<'a> {
    pub node_id: NodeId,
    /// All voters; each must have registered.
    pub voters: &'a [NodeId],
    pub kraft_version: i16,
}

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

impl Updater<'_> {
    pub fn update(
        &self,
        view: &View,
        (request, version): (&UpdateFeaturesRequest, i16),
        records: &mut Vec<MetadataRecord>,
    ) -> UpdateFeaturesResponse {
        let start = records.len();
        let mut proposed: BTreeMap<String, i16> = BTreeMap::clone(&view.image.features);
        proposed.insert(METADATA_VERSION.to_owned(), view.version().level());
        for update in &request.feature_updates {
            proposed.insert(update.feature.clone(), update.max_version_level);
        }
        let all = request
            .feature_updates
            .iter()
            .try_for_each(|update| self.update_one(view, (update, version), &proposed, records));
        if all.is_err() || request.validate_only {
            records.truncate(start);
        }
        let (error_code, error_message) = outcome(&all);
        // Version 2 dropped the rows: all updates stand or fall together.
        let row = |update: &FeatureUpdateKey| UpdatableFeatureResult {
            feature: update.feature.clone(),
            error_code,
            error_message: error_message.clone(),
        };
        let results =
            if version < 2 { request.feature_updates.iter().map(row).collect() } else { Vec::new() };
        UpdateFeaturesResponse { error_code, error_message, results, ..Default::default() }
    }

    fn update_one(
        &self,
        view: &View,
        (update, version): (&FeatureUpdateKey, i16),
        proposed: &BTreeMap<String, i16>,
        records: &mut Vec<MetadataRecord>,
    ) -> Result<(), Rejected> {
        let (name, level) = (update.feature.as_str(), update.max_version_level);
        let refuse = |reason: &str| {
            let text = format!("Invalid update version {level} for feature {name}. {reason}");
            Err(refused(Refusal::InvalidUpdateVersion, text))
        };
        let kind = match version {
            0 if update.allow_downgrade => SAFE_DOWNGRADE,
            0 => UPGRADE,
            _ => update.upgrade_type,
        };
        if ![UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE].contains(&kind) {
            return refuse("The controller does not support the given upgrade type.");
        }
        let current = match name {
            METADATA_VERSION => view.version().level(),
            KRAFT_VERSION => self.kraft_version,
            _ => view.image.feature(name),
        };
        if level < 0 {
            return refuse("A feature version cannot be less than 0.");
        }
        if let Some(reason) = self.unsupported(view, name, level) {
            return refuse(&reason);
        }
        if level < current && kind == UPGRADE {
            return refuse(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or \
                 unsafe downgrade.",
            );
        }
        if level > current && kind != UPGRADE {
            return refuse("Can't downgrade to a newer version.");
        }
        match name {
            METADATA_VERSION => self.metadata_version(view, level, kind)?,
            KRAFT_VERSION if level == current => return Ok(()),
            KRAFT_VERSION if level < current => {
                return refuse("Can't downgrade the version of this feature.");
            }
            // The quorum writes it as control records; who runs the quorum has to take it from here.
            KRAFT_VERSION => return refuse("Upgrading this feature is not supported by this node yet."),
            _ => {
                if let Some(reason) = missing_dependency(name, level, proposed) {
                    return refuse(&reason);
                }
            }
        }
        if name == ELR_VERSION && level > 0 && current == 0 {
            elr_safety(view, records);
        }
        records.push(FeatureLevelRecord { name: name.to_owned(), feature_level: level }.into());
        Ok(())
    }

    fn metadata_version(&self, view: &View, level: i16, kind: i8) -> Result<(), Rejected> {
        let current = view.version();
        let Some(next) = MetadataVersion::from_level(level) else {
            let text = format!(
                "Invalid metadata.version {level}. Valid versions are from {} to {}.",
                MetadataVersion::MINIMUM.level(),
                supported(METADATA_VERSION).max
            );
            return Err(refused(Refusal::InvalidUpdateVersion, text));
        };
        if next >= current || !current.loses_metadata_at(next) {
            return Ok(());
        }
        let reason = if kind == UNSAFE_DOWNGRADE {
            "Unsafe metadata downgrade is not supported in this version."
        } else {
            "Refusing to perform the requested downgrade because it might delete metadata information."
        };
        let text =
            format!("Unsupported metadata.version downgrade from {} to {level}. {reason}", current.level());
        Err(refused(Refusal::InvalidUpdateVersion, text))
    }

    /// Who cannot follow to this level, and why.
    fn unsupported(&self, view: &View, name: &str, level: i16) -> Option<String> {
        let off = Range { min: 0, max: 0 };
        let reason = |who: String, range: Range| {
            if range.contains(level) {
                return None;
            }
            Some(if range.max == 0 {
                format!("{who} does not support this feature.")
            } else {
                format!("{who} only supports versions {range}")
            })
        };
        let own = reason(format!("Local controller {}", self.node_id), supported(name));
        let brokers = || {
            view.image.brokers.values().find_map(|broker| {
                let range = broker.features.get(name).copied().unwrap_or(off);
                reason(format!("Broker {}", broker.id), range)
            })
        };
        let controllers = || {
            view.image.controllers.values().filter(|other| other.id != self.node_id).find_map(|other| {
                let range = other.features.get(name).copied().unwrap_or(off);
                reason(format!("Controller {}", other.id), range)
            })
        };
        let missing = || {
            let known = |id: &&NodeId| **id == self.node_id || view.image.controllers.contains_key(*id);
            let missing = self.voters.iter().find(|id| !known(id))?;
            Some(format!("controller {missing} has not registered, and may not support this feature"))
        };
        let own = own.or_else(brokers);
        if !view.version().has_controller_registration() {
            return own;
        }
        own.or_else(controllers).or_else(missing)
    }
}

/// Before eligible leader replicas are switched on: `min.insync.replicas` is written down for the cluster, and taken
/// from single brokers, since only the cluster's counts from then on.
fn elr_safety(view: &View, records: &mut Vec<MetadataRecord>) {
    let key = "min.insync.replicas";
    let record = |broker: &str, value: Option<String>| ConfigRecord {
        resource_type: 4,
        resource_name: broker.to_owned(),
        name: key.to_owned(),
        value,
    };
    if !view.settings.cluster_dynamic().contains_key(key) {
        let file = view.settings.file().get(key).cloned().unwrap_or_else(|| "1".to_owned());
        records.push(record("", Some(file)).into());
    }
    for (resource, overrides) in view.image.configs.iter() {
        let is_broker = resource.kind == ottla_metadata::ResourceKind::Broker && !resource.name.is_empty();
        if is_broker && overrides.contains_key(key) {
            records.push(record(&resource.name, None).into());
        }
    }
}
