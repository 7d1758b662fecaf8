//! Replicas move from brokers to brokers: first the new ones are added, and when they are in sync the old ones go.

use ottla_metadata::Partition;
use ottla_metadata::config::validate::Rejected;
use ottla_metadata::image::topics::numbers;
use ottla_protocol::messages::alter_partition_reassignments::{
    ReassignablePartition, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ottla_protocol::messages::list_partition_reassignments::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use ottla_protocol::records::metadata::{MetadataRecord, PartitionChangeRecord};
use ottla_protocol::{NodeId, PartitionId, Refusal, TopicId};

use super::change::{Change, Election, Surroundings};
use super::create::check_assignment;
use crate::refused::{outcome, plain, refused, too_much};
use crate::view::{RECORDS_PER_COMMAND_MAX, View};

pub(crate) fn alter(
    view: &View,
    request: &AlterPartitionReassignmentsRequest,
    records: &mut Vec<MetadataRecord>,
) -> AlterPartitionReassignmentsResponse {
    let start = records.len();
    let mut response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        ..Default::default()
    };
    for topic in &request.topics {
        let rows = topic.partitions.iter().map(|target| {
            let result = alter_one(view, (&topic.name, target), request, records);
            let (error_code, error_message) = outcome(&result);
            ReassignablePartitionResponse {
                partition_index: target.partition_index,
                error_code,
                error_message,
            }
        });
        let partitions = rows.collect();
        response.responses.push(ReassignableTopicResponse { name: topic.name.clone(), partitions });
    }
    if records.len() - start > RECORDS_PER_COMMAND_MAX {
        records.truncate(start);
        (response.error_code, response.error_message) = outcome::<()>(&Err(too_much()));
        response.responses.clear();
    }
    response
}

fn alter_one(
    view: &View,
    (name, target): (&str, &ReassignablePartition),
    request: &AlterPartitionReassignmentsRequest,
    records: &mut Vec<MetadataRecord>,
) -> Result<(), Rejected> {
    let unknown = |text: String| refused(Refusal::UnknownTopicOrPartition, text);
    let index = target.partition_index;
    let topic = view
        .image
        .topics
        .named(name)
        .ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let id = PartitionId { topic: topic.id, index };
    let partition = view
        .image
        .topics
        .partition(id)
        .ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
    let record = match &target.replicas {
        None => cancel(view, name, (id, partition))?,
        Some(replicas) => {
            let replicas: Vec<NodeId> = replicas.iter().map(|id| NodeId(*id)).collect();
            check_assignment(view, &replicas, None)?;
            if !request.allow_replication_factor_change {
                check_factor(partition, replicas.len())?;
            }
            reassign(view, name, (id, partition), &replicas)
        }
    };
    records.extend(record.map(MetadataRecord::from));
    Ok(())
}

/// KIP-860: the number of replicas must stay what it is, or what an ongoing reassignment makes it.
fn check_factor(partition: &Partition, wanted: usize) -> Result<(), Rejected> {
    let stays = |replica: &&NodeId| !partition.removing.contains(replica);
    let current = partition.replicas.iter().filter(stays).count();
    if current == wanted {
        return Ok(());
    }
    let text = format!("The replication factor is changed from {current} to {wanted}");
    Err(refused(Refusal::InvalidReplicationFactor, text))
}

fn changing(
    view: &View,
    name: &str,
    (id, partition): (PartitionId, &Partition),
    set: impl FnOnce(&mut Change<'_>),
) -> Option<PartitionChangeRecord> {
    let acceptable = |broker: NodeId| view.is_active(broker) && view.has_online_replica(broker, partition);
    let around = Surroundings {
        view,
        min_isr: view.min_isr(name, partition.replicas.len()),
        acceptable: &acceptable,
        default_directory: &|broker| view.default_directory(broker),
    };
    let mut change = Change::new(id, partition, &around);
    set(&mut change);
    change.build()
}

/// The wanted replicas, followed by those that go when the rest is in sync.
fn reassign(
    view: &View,
    name: &str,
    (id, partition): (PartitionId, &Partition),
    wanted: &[NodeId],
) -> Option<PartitionChangeRecord> {
    let mut removing: Vec<NodeId> =
        partition.replicas.iter().filter(|replica| !wanted.contains(replica)).copied().collect();
    removing.sort_unstable();
    let mut adding: Vec<NodeId> =
        wanted.iter().filter(|replica| !partition.replicas.contains(replica)).copied().collect();
    adding.sort_unstable();
    let mut replicas = wanted.to_vec();
    replicas.extend(&removing);
    changing(view, name, (id, partition), |change| {
        change.replicas = replicas;
        // An empty list keeps what an earlier reassignment began: its leavers are among the replicas still.
        if !removing.is_empty() {
            change.removing = removing;
        }
        if !adding.is_empty() {
            change.adding = adding;
        }
    })
}

fn cancel(
    view: &View,
    name: &str,
    (id, partition): (PartitionId, &Partition),
) -> Result<Option<PartitionChangeRecord>, Rejected> {
    if !partition.is_reassigning() {
        return Err(plain(Refusal::NoReassignmentInProgress));
    }
    let was_there = |replica: &&NodeId| !partition.adding.contains(replica);
    let replicas: Vec<NodeId> = partition.replicas.iter().filter(was_there).copied().collect();
    let mut isr: Vec<NodeId> = partition.isr.iter().filter(was_there).copied().collect();
    let allows_unclean = view.allows_unclean(name);
    if isr.is_empty() {
        let Some(first) = replicas.first() else {
            let text = "Invalid replica assignment: addingReplicas contains all replicas.";
            return Err(refused(Refusal::InvalidReplicaAssignment, text));
        };
        if !allows_unclean {
            let text = format!(
                "Unable to revert partition assignment for {name}:{} because it would require an unclean leader \
                 election.",
                id.index
            );
            return Err(refused(Refusal::InvalidReplicaAssignment, text));
        }
        isr.push(*first);
    }
    Ok(changing(view, name, (id, partition), |change| {
        if allows_unclean {
            change.election = Election::Unclean;
        }
        change.isr = isr;
        change.replicas = replicas;
        change.removing.clear();
        change.adding.clear();
    }))
}

pub(crate) fn list(
    view: &View,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let topics = &view.image.topics;
    let rows = |topic: TopicId, wanted: Option<&[i32]>| -> Vec<OngoingPartitionReassignment> {
        topics
            .partitions(topic)
            .filter(|(id, partition)| {
                partition.is_reassigning() && wanted.is_none_or(|wanted| wanted.contains(&id.index))
            })
            .map(|(id, partition)| OngoingPartitionReassignment {
                partition_index: id.index,
                replicas: numbers(&partition.replicas),
                adding_replicas: numbers(&partition.adding),
                removing_replicas: numbers(&partition.removing),
            })
            .collect()
    };
    let mut response = ListPartitionReassignmentsResponse::default();
    let mut add = |name: &str, partitions: Vec<OngoingPartitionReassignment>| {
        if !partitions.is_empty() {
            response.topics.push(OngoingTopicReassignment { name: name.to_owned(), partitions });
        }
    };
    match &request.topics {
        None => topics.names().for_each(|(name, id)| add(name, rows(id, None))),
        Some(wanted) => {
            for topic in wanted {
                if let Some(known) = topics.named(&topic.name) {
                    add(&topic.name, rows(known.id, Some(&topic.partition_indexes)));
                }
            }
        }
    }
    response
}
