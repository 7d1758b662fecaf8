//! What is set at run time on topics, brokers, groups and client-metrics subscriptions.
//!
//! A resource's changes stand or fall together, resources do not. Values of brokers are written even when they are
//! not new: brokers take the record as a sign to reload files (KAFKA-14136).

use std::collections::BTreeMap;

use ottla_metadata::config::alter::{Operation, altered};
use ottla_metadata::config::parse::split_list;
use ottla_metadata::config::validate::{self, Rejected, Target};
use ottla_metadata::config::{Overrides, Scope, find};
use ottla_metadata::{Resource, ResourceKind, topic_name};
use ottla_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use ottla_protocol::messages::{alter_configs, incremental_alter_configs};
use ottla_protocol::records::metadata::{ClearElrRecord, ConfigRecord, MetadataRecord};
use ottla_protocol::{NodeId, Refusal};

use crate::Origin;
use crate::refused::{outcome, refused, too_much};
use crate::view::{RECORDS_PER_COMMAND_MAX, View};

const MIN_ISR: &str = "min.insync.replicas";
const CORDONED: &str = "cordoned.log.dirs";
const VALUE_LENGTH_MAX: usize = 32_767;

/// Whether the resource is being made by the same command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existence {
    Checked,
    BeingCreated,
}

/// One key's new value; `None` unsets it.
type Change = (String, Option<String>);

pub(crate) fn alter(
    view: &View,
    (request, origin): (&AlterConfigsRequest, Origin),
    records: &mut Vec<MetadataRecord>,
) -> AlterConfigsResponse {
    let start = records.len();
    let names = request.resources.iter().map(|r| (r.resource_type, r.resource_name.as_str()));
    let duplicates = duplicates(names);
    let mut responses = Vec::new();
    for resource in &request.resources {
        let id = (resource.resource_type, resource.resource_name.as_str());
        let result = check_resource(id, &duplicates).and_then(|target| {
            let mut wanted = Overrides::new();
            for config in &resource.configs {
                let value = config.value.clone().ok_or_else(|| null_values([config.name.as_str()]))?;
                wanted.insert(config.name.clone(), value);
            }
            let implicit = view.image.configs.get(&target).keys().filter(|name| !wanted.contains_key(*name));
            let unset: Vec<Change> = implicit.map(|name| (name.clone(), None)).collect();
            let mut changes: Vec<Change> =
                wanted.into_iter().map(|(name, value)| (name, Some(value))).collect();
            changes.extend(unset);
            records.extend(changed(view, &target, changes, (origin, Existence::Checked))?);
            Ok(())
        });
        let (error_code, error_message) = outcome(&result);
        responses.push(alter_configs::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        });
    }
    finish(view, request.validate_only, start, records);
    if records.len() - start > RECORDS_PER_COMMAND_MAX {
        records.truncate(start);
        for response in &mut responses {
            (response.error_code, response.error_message) = outcome::<()>(&Err(too_much()));
        }
    }
    AlterConfigsResponse { responses, ..Default::default() }
}

pub(crate) fn alter_incrementally(
    view: &View,
    (request, origin): (&IncrementalAlterConfigsRequest, Origin),
    records: &mut Vec<MetadataRecord>,
) -> IncrementalAlterConfigsResponse {
    let start = records.len();
    let names = request.resources.iter().map(|r| (r.resource_type, r.resource_name.as_str()));
    let duplicates = duplicates(names);
    let mut responses = Vec::new();
    for resource in &request.resources {
        let id = (resource.resource_type, resource.resource_name.as_str());
        let result = check_resource(id, &duplicates).and_then(|target| {
            let changes = operations(view, &target, &resource.configs)?;
            records.extend(changed(view, &target, changes, (origin, Existence::Checked))?);
            Ok(())
        });
        let (error_code, error_message) = outcome(&result);
        responses.push(incremental_alter_configs::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        });
    }
    finish(view, request.validate_only, start, records);
    if records.len() - start > RECORDS_PER_COMMAND_MAX {
        records.truncate(start);
        for response in &mut responses {
            (response.error_code, response.error_message) = outcome::<()>(&Err(too_much()));
        }
    }
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

fn finish(view: &View, validate_only: bool, start: usize, records: &mut Vec<MetadataRecord>) {
    if validate_only {
        records.truncate(start);
    }
    clear_elr(view, start, records);
}

/// With eligible leader replicas, another `min.insync.replicas` makes the old sets meaningless.
pub(crate) fn clear_elr(view: &View, start: usize, records: &mut Vec<MetadataRecord>) {
    if !view.has_elr() {
        return;
    }
    let clear = |record: &MetadataRecord| match record {
        MetadataRecord::Config(config) if config.name == MIN_ISR => {
            let is_topic = config.resource_type == ResourceKind::Topic.code();
            let topic_name = if is_topic { config.resource_name.clone() } else { String::new() };
            Some(MetadataRecord::from(ClearElrRecord { topic_name }))
        }
        _ => None,
    };
    let cleared: Vec<MetadataRecord> = records[start..].iter().filter_map(clear).collect();
    records.extend(cleared);
}

type ResourceId<'a> = (i8, &'a str);

fn duplicates<'a>(names: impl Iterator<Item = ResourceId<'a>>) -> BTreeMap<ResourceId<'a>, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn check_resource(
    id: ResourceId<'_>,
    counts: &BTreeMap<ResourceId<'_>, usize>,
) -> Result<Resource, Rejected> {
    let Some(kind) = ResourceKind::from_code(id.0) else {
        return Err(refused(Refusal::UnsupportedVersion, format!("Unknown resource type {}.", id.0)));
    };
    if kind == ResourceKind::BrokerLogger {
        return Err(refused(Refusal::InvalidRequest, "Unknown resource type BROKER_LOGGER"));
    }
    if counts.get(&id).is_some_and(|count| *count > 1) {
        return Err(refused(Refusal::InvalidRequest, "Duplicate resource."));
    }
    Ok(Resource::new(kind, id.1))
}

fn null_values<'a>(names: impl IntoIterator<Item = &'a str>) -> Rejected {
    let names: Vec<&str> = names.into_iter().collect();
    refused(Refusal::InvalidRequest, format!("Null value not supported for : {}", names.join(", ")))
}

fn scope(kind: ResourceKind) -> Scope {
    match kind {
        ResourceKind::Topic => Scope::Topic,
        ResourceKind::Broker | ResourceKind::BrokerLogger => Scope::Broker,
        ResourceKind::ClientMetrics => Scope::ClientMetrics,
        ResourceKind::Group => Scope::Group,
    }
}

fn operations(
    view: &View,
    resource: &Resource,
    configs: &[incremental_alter_configs::AlterableConfig],
) -> Result<Vec<Change>, Rejected> {
    let current = view.image.configs.get(resource);
    let mut changes: Vec<Change> = Vec::with_capacity(configs.len());
    for config in configs {
        if changes.iter().any(|(name, _)| *name == config.name) {
            return Err(refused(Refusal::InvalidRequest, "Error due to duplicate config keys"));
        }
        let operation = Operation::from_code(config.config_operation).ok_or_else(|| {
            refused(Refusal::InvalidRequest, format!("Unknown operation {}", config.config_operation))
        })?;
        if operation != Operation::Delete && config.value.is_none() {
            return Err(null_values([config.name.as_str()]));
        }
        let value = altered(
            scope(resource.kind),
            &config.name,
            operation,
            current.get(&config.name).map(String::as_str),
            config.value.as_deref(),
        )?;
        changes.push((config.name.clone(), value));
    }
    Ok(changes)
}

/// The records of a resource's changes, once all of its values have been checked together.
pub(crate) fn changed(
    view: &View,
    resource: &Resource,
    changes: Vec<Change>,
    (origin, existence): (Origin, Existence),
) -> Result<Vec<MetadataRecord>, Rejected> {
    let current = view.image.configs.get(resource);
    let scope = scope(resource.kind);
    // A key that an older release wrote and this one does not know must not stand in the way of the others.
    let known = |name: &str| scope == Scope::Broker || find(scope, name).is_some();
    let mut after: Overrides = current.clone();
    after.retain(|name, _| known(name));
    for (name, value) in &changes {
        check_change(view, resource, (name, value.as_deref()), origin)?;
        match value {
            Some(value) => after.insert(name.clone(), value.clone()),
            None => after.remove(name),
        };
    }
    check_resource_values(view, resource, &after, &changes)?;
    if existence == Existence::Checked {
        check_exists(view, resource)?;
    }
    let is_news =
        |(name, value): &Change| resource.kind == ResourceKind::Broker || current.get(name) != value.as_ref();
    let record = |(name, value): Change| {
        MetadataRecord::from(ConfigRecord {
            resource_type: resource.kind.code(),
            resource_name: resource.name.clone(),
            name,
            value,
        })
    };
    Ok(changes.into_iter().filter(is_news).map(record).collect())
}

fn check_change(
    view: &View,
    resource: &Resource,
    (name, value): (&str, Option<&str>),
    origin: Origin,
) -> Result<(), Rejected> {
    let refuse = |text: &str| Err(refused(Refusal::InvalidConfig, text));
    if value.is_some_and(|value| value.encode_utf16().count() > VALUE_LENGTH_MAX) {
        return refuse(
            "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.",
        );
    }
    if resource.kind != ResourceKind::Broker {
        return Ok(());
    }
    if name == MIN_ISR && view.has_elr() {
        if !resource.name.is_empty() {
            return refuse("Broker-level min.insync.replicas cannot be altered while ELR is enabled.");
        }
        if value.is_none() {
            return refuse("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
        }
    }
    if name == CORDONED {
        if !view.version().has_cordoned_directories() {
            return refuse(
                "The cordoned.log.dirs configuration value cannot be set because it requires metadata.version >= \
                 4.3-IV0",
            );
        }
        let current = view.image.configs.get(resource).get(name).map_or("", String::as_str);
        let current = split_list(current);
        let grows = split_list(value.unwrap_or("")).iter().any(|entry| !current.contains(entry));
        if origin == Origin::Direct && grows {
            return refuse(
                "When updating cordoned.log.dirs via controllers,  the new value must be a subset of the current \
                 configuration value.",
            );
        }
    }
    Ok(())
}

fn check_resource_values(
    view: &View,
    resource: &Resource,
    after: &Overrides,
    changes: &[Change],
) -> Result<(), Rejected> {
    let name = &resource.name;
    match resource.kind {
        ResourceKind::Topic => {
            check_topic_name(name)?;
            validate::topic(&view.settings, view.image.configs.get(resource), after)
        }
        ResourceKind::Broker => {
            check_broker_name(name)?;
            // What is stored already may be older than today's rules; what is new has to keep them.
            let new =
                changes.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
            validate::broker(&new, if name.is_empty() { Target::AllBrokers } else { Target::OneBroker })
        }
        ResourceKind::ClientMetrics => validate::client_metrics(name, after),
        ResourceKind::Group if name.is_empty() => {
            Err(refused(Refusal::InvalidRequest, "Default group resources are not allowed."))
        }
        ResourceKind::Group => validate::group(&view.settings, after),
        ResourceKind::BrokerLogger => {
            Err(refused(Refusal::InvalidRequest, "Unknown resource type BROKER_LOGGER"))
        }
    }
}

fn check_topic_name(name: &str) -> Result<(), Rejected> {
    if name.is_empty() {
        return Err(refused(Refusal::InvalidRequest, "Default topic resources are not allowed."));
    }
    topic_name::check(name).map_err(|text| refused(Refusal::InvalidTopicException, text))
}

fn check_broker_name(name: &str) -> Result<(), Rejected> {
    let refuse = |text: &str| Err(refused(Refusal::InvalidRequest, text));
    match name.parse::<i32>() {
        _ if name.is_empty() => Ok(()),
        Ok(id) if id < 0 => refuse("Invalid negative broker ID."),
        Ok(_) => Ok(()),
        Err(_) => refuse("Unable to parse broker name as a base 10 number."),
    }
}

fn check_exists(view: &View, resource: &Resource) -> Result<(), Rejected> {
    match resource.kind {
        ResourceKind::Topic if view.image.topics.named(&resource.name).is_none() => {
            let text = format!("The topic '{}' does not exist.", resource.name);
            Err(refused(Refusal::UnknownTopicOrPartition, text))
        }
        ResourceKind::Broker if !resource.name.is_empty() => {
            let id = NodeId(resource.name.parse().unwrap_or(-1));
            let known = view.image.brokers.contains_key(&id) || view.image.controllers.contains_key(&id);
            if known {
                return Ok(());
            }
            let text = format!("No node with id {id} found.");
            Err(refused(Refusal::BrokerIdNotRegistered, text))
        }
        _ => Ok(()),
    }
}
