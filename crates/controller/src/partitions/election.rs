//! Elections: asked for, and those the controller thinks of itself.

use ottla_metadata::Partition;
use ottla_metadata::config::validate::Rejected;
use ottla_protocol::messages::elect_leaders::{PartitionResult, ReplicaElectionResult};
use ottla_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use ottla_protocol::records::metadata::{MetadataRecord, PartitionChangeRecord};
use ottla_protocol::{NodeId, PartitionId, Refusal};

use super::change::{Change, Election, Surroundings};
use crate::refused::{outcome, plain, refused, too_much};
use crate::view::{RECORDS_PER_COMMAND_MAX, View};

/// The most elections of one round of the controller's own.
const ELECTIONS_PER_ROUND_MAX: usize = 1000;

pub(crate) fn elect_leaders(
    view: &View,
    request: &ElectLeadersRequest,
    records: &mut Vec<MetadataRecord>,
) -> ElectLeadersResponse {
    let start = records.len();
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        _ => {
            let error_code = Refusal::InvalidRequest.code();
            return ElectLeadersResponse { error_code, ..Default::default() };
        }
    };
    let mut results = Vec::new();
    match &request.topic_partitions {
        Some(topics) => {
            for topic in topics {
                let rows = topic.partitions.iter().map(|index| {
                    let result = elect(view, (&topic.topic, *index), election, records);
                    row(*index, &result)
                });
                let partition_result = rows.collect();
                results.push(ReplicaElectionResult { topic: topic.topic.clone(), partition_result });
            }
        }
        None => {
            for (name, topic) in view.image.topics.names() {
                let mut partition_result = Vec::new();
                for (id, _) in view.image.topics.partitions(topic) {
                    let result = elect(view, (name, id.index), election, records);
                    // Where nothing is to be done for all, nothing is said.
                    if !result.as_ref().is_err_and(|e| e.refusal == Refusal::ElectionNotNeeded) {
                        partition_result.push(row(id.index, &result));
                    }
                }
                results.push(ReplicaElectionResult { topic: name.to_owned(), partition_result });
            }
        }
    }
    if records.len() - start > RECORDS_PER_COMMAND_MAX {
        records.truncate(start);
        let error_code = too_much().refusal.code();
        return ElectLeadersResponse { error_code, ..Default::default() };
    }
    ElectLeadersResponse { replica_election_results: results, ..Default::default() }
}

fn row(partition_id: i32, result: &Result<(), Rejected>) -> PartitionResult {
    let (error_code, error_message) = outcome(result);
    PartitionResult { partition_id, error_code, error_message }
}

fn elect(
    view: &View,
    (name, index): (&str, i32),
    election: Election,
    records: &mut Vec<MetadataRecord>,
) -> Result<(), Rejected> {
    let unknown = |text: String| refused(Refusal::UnknownTopicOrPartition, text);
    let topic = view.image.topics.named(name).ok_or_else(|| unknown(format!("No such topic as {name}")))?;
    let id = PartitionId { topic: topic.id, index };
    let partition = view
        .image
        .topics
        .partition(id)
        .ok_or_else(|| unknown(format!("No such partition as {name}-{index}")))?;
    let settled = match election {
        Election::Preferred => partition.has_preferred_leader(),
        Election::Unclean | Election::Online => partition.leader.is_some(),
    };
    if settled {
        return Err(plain(Refusal::ElectionNotNeeded));
    }
    let Some(record) = change(view, name, (id, partition), election) else {
        return Err(plain(match election {
            Election::Preferred => Refusal::PreferredLeaderNotAvailable,
            Election::Unclean | Election::Online => Refusal::EligibleLeadersNotAvailable,
        }));
    };
    records.push(record.into());
    Ok(())
}

fn change(
    view: &View,
    topic: &str,
    (id, partition): (PartitionId, &Partition),
    election: Election,
) -> Option<PartitionChangeRecord> {
    let acceptable = |broker: NodeId| view.is_active(broker) && view.has_online_replica(broker, partition);
    let around = Surroundings {
        view,
        min_isr: view.min_isr(topic, partition.replicas.len()),
        acceptable: &acceptable,
        default_directory: &|broker| view.default_directory(broker),
    };
    let mut change = Change::new(id, partition, &around);
    change.election = election;
    change.build()
}

/// Whether a round found all there was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Complete,
    MoreToDo,
}

/// Gives leaderships back to preferred replicas.
pub(crate) fn balance(view: &View, records: &mut Vec<MetadataRecord>) -> Round {
    round(view, records, |_, partition| !partition.has_preferred_leader(), Election::Preferred)
}

/// Finds leaders for partitions without one, where their topic allows unclean ones.
pub(crate) fn elect_unclean(view: &View, records: &mut Vec<MetadataRecord>) -> Round {
    round(
        view,
        records,
        |name, partition| partition.leader.is_none() && view.allows_unclean(name),
        Election::Unclean,
    )
}

fn round(
    view: &View,
    records: &mut Vec<MetadataRecord>,
    concerns: impl Fn(&str, &Partition) -> bool,
    election: Election,
) -> Round {
    for (id, partition) in view.image.topics.all_partitions() {
        let Some(topic) = view.image.topics.get(id.topic) else { continue };
        if !concerns(&topic.name, partition) {
            continue;
        }
        if records.len() >= ELECTIONS_PER_ROUND_MAX {
            return Round::MoreToDo;
        }
        records.extend(change(view, &topic.name, (id, partition), election).map(MetadataRecord::from));
    }
    Round::Complete
}
