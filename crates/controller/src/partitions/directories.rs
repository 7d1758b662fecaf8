//! AssignReplicasToDirs: a broker says in which of its directories replicas are.

use ottla_protocol::messages::assign_replicas_to_dirs::{
    ResponseDirectoryData, ResponsePartitionData, ResponseTopicData,
};
use ottla_protocol::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse};
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_protocol::{NodeId, PartitionId, Refusal, Uuid};

use super::change::{Change, Surroundings};
use super::updates;
use crate::view::View;

pub(crate) fn assign(
    view: &View,
    request: &AssignReplicasToDirsRequest,
    records: &mut Vec<MetadataRecord>,
) -> AssignReplicasToDirsResponse {
    let fail =
        |refusal: Refusal| AssignReplicasToDirsResponse { error_code: refusal.code(), ..Default::default() };
    if !view.version().has_directories() {
        return fail(Refusal::UnsupportedVersion);
    }
    let broker = match view.broker_of_epoch(request.broker_id, request.broker_epoch) {
        Ok(broker) => broker,
        Err(rejected) => return fail(rejected.refusal),
    };
    let mut lost: Vec<PartitionId> = Vec::new();
    let mut directories = Vec::with_capacity(request.directories.len());
    for directory in &request.directories {
        let mut topics = Vec::with_capacity(directory.topics.len());
        for topic in &directory.topics {
            let rows = topic.partitions.iter().map(|partition| {
                let id = PartitionId { topic: topic.topic_id, index: partition.partition_index };
                let result = assign_one(view, broker.id, (id, directory.id), records);
                if result.is_ok() && !broker.has_online(directory.id) && !lost.contains(&id) {
                    lost.push(id);
                }
                ResponsePartitionData {
                    partition_index: id.index,
                    error_code: Refusal::code_of(result.err()),
                }
            });
            let partitions = rows.collect();
            topics.push(ResponseTopicData { topic_id: topic.topic_id, partitions });
        }
        directories.push(ResponseDirectoryData { id: directory.id, topics });
    }
    updates::replicas_lost(view, broker.id, &lost, records);
    AssignReplicasToDirsResponse { directories, ..Default::default() }
}

fn assign_one(
    view: &View,
    broker: NodeId,
    (id, directory): (PartitionId, Uuid),
    records: &mut Vec<MetadataRecord>,
) -> Result<(), Refusal> {
    let topic = view.image.topics.get(id.topic).ok_or(Refusal::UnknownTopicId)?;
    let partition = view.image.topics.partition(id).ok_or(Refusal::UnknownTopicOrPartition)?;
    if !partition.replicas.contains(&broker) {
        return Err(Refusal::NotLeaderOrFollower);
    }
    let acceptable = |broker: NodeId| view.is_active(broker) && view.has_online_replica(broker, partition);
    let around = Surroundings {
        view,
        min_isr: view.min_isr(&topic.name, partition.replicas.len()),
        acceptable: &acceptable,
        default_directory: &|broker| view.default_directory(broker),
    };
    let mut change = Change::new(id, partition, &around);
    change.assign(broker, directory);
    records.extend(change.build().map(MetadataRecord::from));
    Ok(())
}
