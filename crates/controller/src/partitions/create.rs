//! New topics, and more partitions for topics there are.

use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::config::Overrides;
use ottla_metadata::config::describe;
use ottla_metadata::config::validate::Rejected;
use ottla_metadata::{Partition, Recovery, Resource, topic_name};
use ottla_protocol::messages::create_partitions::{CreatePartitionsTopic, CreatePartitionsTopicResult};
use ottla_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfigs, CreatableTopicResult};
use ottla_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
};
use ottla_protocol::records::metadata::{MetadataRecord, TopicRecord};
use ottla_protocol::{LeaderEpoch, NodeId, PartitionId, Refusal, TopicId};

use crate::configs::{Existence, changed, clear_elr};
use crate::placement::Placer;
use crate::random::Random;
use crate::refused::{outcome, plain, refused, too_much};
use crate::view::{RECORDS_PER_COMMAND_MAX, View};
use crate::{Describable, Origin};

/// The most partitions one request may make.
const PARTITIONS_MAX: i64 = 10_000;

/// The topic of the metadata log; it is nobody's to make.
const METADATA_TOPIC: &str = "__cluster_metadata";

pub(crate) fn topics(
    view: &View,
    (request, describable): (&CreateTopicsRequest, &Describable),
    random: &mut Random,
    records: &mut Vec<MetadataRecord>,
) -> CreateTopicsResponse {
    let start = records.len();
    let too_many = check_total(view, request);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *counts.entry(&topic.name).or_default() += 1;
    }
    let mut seen = BTreeSet::new();
    let mut results = Vec::new();
    let mut plain_topics = PlainTopics::default();
    for topic in request.topics.iter().filter(|topic| seen.insert(topic.name.as_str())) {
        let result = too_many.clone().and_then(|()| {
            if counts.get(topic.name.as_str()).is_some_and(|count| *count > 1) {
                return Err(refused(Refusal::InvalidRequest, "Duplicate topic name."));
            }
            if !request.validate_only && records.len() - start > RECORDS_PER_COMMAND_MAX {
                return Err(too_much());
            }
            check_name(view, &topic.name)?;
            create(view, (topic, describable), &mut plain_topics, random, records)
        });
        results.push(result.unwrap_or_else(|rejected| failure(&topic.name, &rejected)));
    }
    if request.validate_only {
        records.truncate(start);
    } else if records.len() - start > RECORDS_PER_COMMAND_MAX {
        records.truncate(start);
        for result in &mut results {
            *result = failure(&result.name, &too_much());
        }
    }
    CreateTopicsResponse { topics: results, ..Default::default() }
}

fn failure(name: &str, rejected: &Rejected) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.to_owned(),
        error_code: rejected.refusal.code(),
        error_message: Some(rejected.message.clone()),
        configs: Some(Vec::new()),
        num_partitions: -1,
        replication_factor: -1,
        ..Default::default()
    }
}

fn check_total(view: &View, request: &CreateTopicsRequest) -> Result<(), Rejected> {
    let default = view.settings.node().long("num.partitions");
    let mut total: i64 = 0;
    for topic in &request.topics {
        let count = match (topic.assignments.len(), i64::from(topic.num_partitions)) {
            (0, -1) => default,
            (0, count) => count.max(0),
            (assigned, _) => i64::try_from(assigned).unwrap_or(i64::MAX),
        };
        total = total.saturating_add(count);
    }
    if total > PARTITIONS_MAX {
        let text = "Excessively large number of partitions per request.";
        return Err(refused(Refusal::PolicyViolation, text));
    }
    Ok(())
}

fn check_name(view: &View, name: &str) -> Result<(), Rejected> {
    if name == METADATA_TOPIC {
        return Err(plain(Refusal::TopicAuthorizationFailed));
    }
    topic_name::check(name).map_err(|text| refused(Refusal::InvalidTopicException, text))?;
    if view.image.topics.named(name).is_some() {
        return Err(refused(Refusal::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
    }
    let metric = topic_name::metric_name(name);
    if !metric.contains('_') {
        return Ok(());
    }
    if let Some(other) = colliding(view, &metric) {
        let text = format!("Topic '{name}' collides with existing topic: {other}");
        return Err(refused(Refusal::InvalidTopicException, text));
    }
    Ok(())
}

/// A topic that metrics would show under the same name. Names that agree so agree up to their first dot or
/// underscore, which bounds the search.
fn colliding(view: &View, metric: &str) -> Option<String> {
    let prefix = &metric[..metric.find('_').unwrap_or(metric.len())];
    let near = view.image.topics.names_from(prefix).take_while(|(name, _)| name.starts_with(prefix));
    near.map(|(name, _)| name).find(|name| topic_name::metric_name(name) == metric).map(str::to_owned)
}

/// What is the same for all topics of a request that have no configuration of their own, as nearly all have none.
#[derive(Default)]
struct PlainTopics {
    /// Their configuration has been found good.
    checked: bool,
    rows: Option<Vec<CreatableTopicConfigs>>,
}

fn create(
    view: &View,
    (topic, describable): (&CreatableTopic, &Describable),
    plain_topics: &mut PlainTopics,
    random: &mut Random,
    records: &mut Vec<MetadataRecord>,
) -> Result<CreatableTopicResult, Rejected> {
    let nulls: Vec<&str> =
        topic.configs.iter().filter(|c| c.value.is_none()).map(|c| c.name.as_str()).collect();
    if !nulls.is_empty() {
        let text = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(refused(Refusal::InvalidConfig, text));
    }
    let own: Overrides =
        topic.configs.iter().filter_map(|c| Some((c.name.clone(), c.value.clone()?))).collect();
    let changes = own.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
    let resource = Resource::topic(&topic.name);
    let mut configs = if own.is_empty() && plain_topics.checked {
        Vec::new()
    } else {
        changed(view, &resource, changes, (Origin::Direct, Existence::BeingCreated))?
    };
    plain_topics.checked |= own.is_empty();
    clear_elr(view, 0, &mut configs);
    let assignments =
        if topic.assignments.is_empty() { placed(view, topic, random)? } else { assigned(view, topic)? };
    let mut partitions = Vec::with_capacity(assignments.len());
    for replicas in assignments {
        partitions.push(partition(view, replicas));
    }
    let id = random.topic_id();
    let mut result = success(topic, (id, describable), &partitions);
    if describable.has(&topic.name) {
        result.configs = Some(match own.is_empty() {
            true => plain_topics.rows.get_or_insert_with(|| describe_new(view, &own)).clone(),
            false => describe_new(view, &own),
        });
    }
    records.push(TopicRecord { name: topic.name.clone(), topic_id: id }.into());
    records.extend(configs);
    records.extend(partition_records(view, id, 0, &partitions));
    Ok(result)
}

fn success(
    topic: &CreatableTopic,
    (id, describable): (TopicId, &Describable),
    partitions: &[Partition],
) -> CreatableTopicResult {
    let mut result = CreatableTopicResult {
        name: topic.name.clone(),
        topic_id: id,
        error_message: None,
        configs: Some(Vec::new()),
        ..Default::default()
    };
    if !describable.has(&topic.name) {
        result.topic_config_error_code = Refusal::TopicAuthorizationFailed.code();
        result.num_partitions = -1;
        result.replication_factor = -1;
        return result;
    }
    let replicas = partitions.first().map_or(0, |partition| partition.replicas.len());
    result.num_partitions = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
    result.replication_factor = i16::try_from(replicas).unwrap_or(i16::MAX);
    result
}

/// The configuration of a topic that has just been made.
fn describe_new(view: &View, own: &Overrides) -> Vec<CreatableTopicConfigs> {
    let values = view.settings.topic(own);
    let row = |row: describe::Row| CreatableTopicConfigs {
        config_source: values.source(&row.name) as i8,
        name: row.name,
        value: row.value,
        read_only: row.read_only,
        is_sensitive: row.sensitive,
    };
    describe::topic(&view.settings, own).into_iter().map(row).collect()
}

fn partition(view: &View, replicas: Vec<NodeId>) -> Partition {
    let isr: Box<[NodeId]> = replicas.iter().copied().filter(|broker| view.is_active(*broker)).collect();
    Partition {
        directories: replicas.iter().map(|broker| view.default_directory(*broker)).collect(),
        leader: isr.first().copied(),
        isr,
        replicas: replicas.into(),
        removing: Box::default(),
        adding: Box::default(),
        elr: Box::default(),
        last_known_elr: Box::default(),
        recovery: Recovery::Recovered,
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
    }
}

fn partition_records<'a>(
    view: &'a View,
    topic: TopicId,
    first: i32,
    partitions: &'a [Partition],
) -> impl Iterator<Item = MetadataRecord> + 'a {
    (first..).zip(partitions).map(move |(index, partition)| {
        let mut record = partition.to_record(PartitionId { topic, index });
        if !view.version().has_directories() {
            record.directories.clear();
        }
        record.into()
    })
}

/// The replicas of each partition as the request says.
fn assigned(view: &View, topic: &CreatableTopic) -> Result<Vec<Vec<NodeId>>, Rejected> {
    let invalid = |text: &str| Err(refused(Refusal::InvalidRequest, text));
    if topic.replication_factor != -1 {
        return invalid(
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        );
    }
    if topic.num_partitions != -1 {
        return invalid("A manual partition assignment was specified, but numPartitions was not set to -1.");
    }
    let refuse = |text: String| Err(refused(Refusal::InvalidReplicaAssignment, text));
    let mut assignments: BTreeMap<i32, Vec<NodeId>> = BTreeMap::new();
    let mut factor = None;
    for assignment in &topic.assignments {
        let index = assignment.partition_index;
        if assignments.contains_key(&index) {
            return refuse(format!("Found multiple manual partition assignments for partition {index}"));
        }
        let replicas: Vec<NodeId> = assignment.broker_ids.iter().map(|id| NodeId(*id)).collect();
        check_assignment(view, &replicas, factor)?;
        factor = Some(replicas.len());
        check_active(view, &replicas, index)?;
        assignments.insert(index, replicas);
    }
    if !assignments.keys().copied().eq(0..i32::try_from(assignments.len()).unwrap_or(i32::MAX)) {
        return refuse("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    Ok(assignments.into_values().collect())
}

fn check_active(view: &View, replicas: &[NodeId], index: i32) -> Result<(), Rejected> {
    if replicas.iter().any(|broker| view.is_active(*broker)) {
        return Ok(());
    }
    let text = format!(
        "All brokers specified in the manual partition assignment for partition {index} are fenced or in controlled \
         shutdown."
    );
    Err(refused(Refusal::InvalidReplicaAssignment, text))
}

/// Checks replicas that somebody chose by hand; `factor` is how many the other partitions have.
pub(crate) fn check_assignment(
    view: &View,
    replicas: &[NodeId],
    factor: Option<usize>,
) -> Result<(), Rejected> {
    let refuse = |text: String| Err(refused(Refusal::InvalidReplicaAssignment, text));
    if replicas.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    for (at, id) in sorted.iter().enumerate() {
        let Some(broker) = view.broker(*id) else {
            return refuse(format!(
                "The manual partition assignment includes broker {id}, but no such broker is registered."
            ));
        };
        if !broker.has_uncordoned() {
            return refuse(format!(
                "The manual partition assignment includes broker {id}, but all its log directories are cordoned."
            ));
        }
        if sorted[..at].last() == Some(id) {
            return refuse(format!(
                "The manual partition assignment includes the broker {id} more than once."
            ));
        }
    }
    match factor {
        Some(factor) if factor != replicas.len() => refuse(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
             with previous partitions, which have {factor} replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}

/// The replicas of each partition as the placer finds best.
fn placed(view: &View, topic: &CreatableTopic, random: &mut Random) -> Result<Vec<Vec<NodeId>>, Rejected> {
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        return Err(refused(
            Refusal::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ));
    }
    if topic.num_partitions < -1 || topic.num_partitions == 0 {
        let text = "Number of partitions was set to an invalid non-positive value.";
        return Err(refused(Refusal::InvalidPartitions, text));
    }
    let or_default = |number: i64, key: &str| match number {
        -1 => view.settings.node().size(key),
        number => usize::try_from(number).unwrap_or(0),
    };
    let count = or_default(i64::from(topic.num_partitions), "num.partitions");
    let factor = or_default(i64::from(topic.replication_factor), "default.replication.factor");
    place_all(view, count, factor, random).map_err(|rejected| {
        let text = format!("Unable to replicate the partition {factor} time(s): {}", rejected.message);
        refused(rejected.refusal, text)
    })
}

fn place_all(
    view: &View,
    count: usize,
    factor: usize,
    random: &mut Random,
) -> Result<Vec<Vec<NodeId>>, Rejected> {
    let mut placer = Placer::new(view, random);
    (0..count).map(|_| placer.place(factor, random)).collect()
}

pub(crate) fn partitions(
    view: &View,
    request: &CreatePartitionsRequest,
    random: &mut Random,
    records: &mut Vec<MetadataRecord>,
) -> CreatePartitionsResponse {
    let start = records.len();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *counts.entry(&topic.name).or_default() += 1;
    }
    let mut results = Vec::new();
    let mut seen = BTreeSet::new();
    for topic in request.topics.iter().filter(|topic| seen.insert(topic.name.as_str())) {
        let result = if counts.get(topic.name.as_str()).is_some_and(|count| *count > 1) {
            Err(refused(Refusal::InvalidRequest, "Duplicate topic name."))
        } else {
            grow(view, topic, random, records)
        };
        let (error_code, error_message) = outcome(&result);
        results.push(CreatePartitionsTopicResult { name: topic.name.clone(), error_code, error_message });
    }
    if request.validate_only {
        records.truncate(start);
    } else if records.len() - start > RECORDS_PER_COMMAND_MAX {
        records.truncate(start);
        for result in &mut results {
            (result.error_code, result.error_message) = outcome::<()>(&Err(too_much()));
        }
    }
    CreatePartitionsResponse { results, ..Default::default() }
}

fn grow(
    view: &View,
    topic: &CreatePartitionsTopic,
    random: &mut Random,
    records: &mut Vec<MetadataRecord>,
) -> Result<(), Rejected> {
    let known =
        view.image.topics.named(&topic.name).ok_or_else(|| plain(Refusal::UnknownTopicOrPartition))?;
    let count = known.partition_count;
    let refuse = |text: String| Err(refused(Refusal::InvalidPartitions, text));
    if topic.count == count {
        return refuse(format!("Topic already has {count} partition(s)."));
    }
    if topic.count < count {
        return refuse(format!(
            "The topic {} currently has {count} partition(s); {} would not be an increase.",
            topic.name, topic.count
        ));
    }
    let additional = usize::try_from(topic.count - count).unwrap_or(0);
    let first = view.image.topics.partitions(known.id).next();
    let factor = first.map_or(0, |(_, partition)| partition.replicas.len());
    let assignments = match &topic.assignments {
        Some(assignments) if assignments.len() != additional => {
            let text = format!(
                "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err(refused(Refusal::InvalidReplicaAssignment, text));
        }
        Some(assignments) => {
            let mut all = Vec::with_capacity(additional);
            for (index, assignment) in (count..).zip(assignments) {
                let replicas: Vec<NodeId> = assignment.broker_ids.iter().map(|id| NodeId(*id)).collect();
                check_assignment(view, &replicas, Some(factor))?;
                check_active(view, &replicas, index)?;
                all.push(replicas);
            }
            all
        }
        // More would be refused as too large anyway; the bound comes before any work is done.
        None if additional > RECORDS_PER_COMMAND_MAX => return Err(too_much()),
        None => place_all(view, additional, factor, random)?,
    };
    let new: Vec<Partition> = assignments.into_iter().map(|replicas| partition(view, replicas)).collect();
    records.extend(partition_records(view, known.id, count, &new));
    Ok(())
}
