//! AlterPartition: a leader proposes who is in sync.

use ottla_metadata::image::topics::{NO_LEADER_CHANGE, numbers};
use ottla_metadata::{Partition, Recovery};
use ottla_protocol::messages::alter_partition::{
    BrokerState, RequestPartitionData, ResponsePartitionData, ResponseTopicData,
};
use ottla_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_protocol::{NodeId, PartitionId, Refusal};

use super::change::{Change, Election, Surroundings};
use crate::view::View;

pub(crate) fn alter(
    view: &View,
    (request, version): (&AlterPartitionRequest, i16),
    records: &mut Vec<MetadataRecord>,
) -> AlterPartitionResponse {
    if let Err(rejected) = view.broker_of_epoch(request.broker_id, request.broker_epoch) {
        return AlterPartitionResponse { error_code: rejected.refusal.code(), ..Default::default() };
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let rows = topic.partitions.iter().map(|proposal| {
            let id = PartitionId { topic: topic.topic_id, index: proposal.partition_index };
            let sender = NodeId(request.broker_id);
            decide(view, (id, sender), (proposal, version), records).unwrap_or_else(|refusal| {
                ResponsePartitionData {
                    partition_index: proposal.partition_index,
                    error_code: refusal.code(),
                    ..Default::default()
                }
            })
        });
        let partitions = rows.collect();
        topics.push(ResponseTopicData { topic_id: topic.topic_id, partitions, ..Default::default() });
    }
    AlterPartitionResponse { topics, ..Default::default() }
}

fn decide(
    view: &View,
    (id, sender): (PartitionId, NodeId),
    (proposal, version): (&RequestPartitionData, i16),
    records: &mut Vec<MetadataRecord>,
) -> Result<ResponsePartitionData, Refusal> {
    let topic = view.image.topics.get(id.topic).ok_or(Refusal::UnknownTopicId)?;
    let partition = view.image.topics.partition(id).ok_or(Refusal::UnknownTopicOrPartition)?;
    let isr: Vec<BrokerState> = if version >= 3 {
        proposal.new_isr_with_epochs.clone()
    } else {
        proposal.new_isr.iter().map(|id| BrokerState { broker_id: *id, broker_epoch: -1 }).collect()
    };
    let recovery = check(view, (partition, sender), proposal, &isr)?;
    let acceptable = |broker: NodeId| view.is_active(broker) && view.has_online_replica(broker, partition);
    let around = Surroundings {
        view,
        min_isr: view.min_isr(&topic.name, partition.replicas.len()),
        acceptable: &acceptable,
        default_directory: &|broker| view.default_directory(broker),
    };
    let mut change = Change::new(id, partition, &around);
    if view.allows_unclean(&topic.name) {
        change.election = Election::Unclean;
    }
    change.isr = isr.iter().map(|state| NodeId(state.broker_id)).collect();
    change.recovery = recovery;
    let Some(record) = change.build() else {
        return Ok(row(id, partition));
    };
    let leader = record.leader;
    let next = partition.merge(&record).map_err(|_| Refusal::UnknownServerError)?;
    records.push(record.into());
    if leader != sender.0 && leader != NO_LEADER_CHANGE {
        // The proposal completed a reassignment that takes the lead away from its sender: both a record and an error.
        return Err(if version >= 2 { Refusal::NewLeaderElected } else { Refusal::FencedLeaderEpoch });
    }
    Ok(row(id, &next))
}

fn row(id: PartitionId, partition: &Partition) -> ResponsePartitionData {
    ResponsePartitionData {
        partition_index: id.index,
        error_code: 0,
        leader_id: partition.leader.map_or(-1, |leader| leader.0),
        leader_epoch: partition.leader_epoch.0,
        isr: numbers(&partition.isr),
        leader_recovery_state: partition.recovery.code(),
        partition_epoch: partition.partition_epoch,
    }
}

/// A sender that knows more than we do makes us an old controller; one that knows less is an old leader.
fn check(
    view: &View,
    (partition, sender): (&Partition, NodeId),
    proposal: &RequestPartitionData,
    isr: &[BrokerState],
) -> Result<Recovery, Refusal> {
    let leader_epoch = partition.leader_epoch.0;
    if proposal.leader_epoch > leader_epoch || proposal.partition_epoch > partition.partition_epoch {
        return Err(Refusal::NotController);
    }
    if proposal.leader_epoch < leader_epoch {
        return Err(Refusal::FencedLeaderEpoch);
    }
    if partition.leader != Some(sender) {
        return Err(Refusal::InvalidRequest);
    }
    if proposal.partition_epoch < partition.partition_epoch {
        return Err(Refusal::InvalidUpdateVersion);
    }
    let mut seen = Vec::with_capacity(isr.len());
    for state in isr {
        let broker = NodeId(state.broker_id);
        if !partition.replicas.contains(&broker) || seen.contains(&broker) {
            return Err(Refusal::InvalidRequest);
        }
        seen.push(broker);
    }
    if !seen.contains(&sender) {
        return Err(Refusal::InvalidRequest);
    }
    let recovery = Recovery::from_code(proposal.leader_recovery_state).ok_or(Refusal::InvalidRequest)?;
    let recovering = recovery == Recovery::Recovering;
    if recovering && (isr.len() > 1 || partition.recovery == Recovery::Recovered) {
        return Err(Refusal::InvalidRequest);
    }
    // A broker that is fenced, stops, or was registered anew since the proposal must not enter (KIP-841, KIP-903).
    let eligible = |state: &BrokerState| {
        let broker = view.broker(NodeId(state.broker_id));
        broker.is_some_and(|broker| {
            broker.is_active() && (state.broker_epoch == -1 || state.broker_epoch == broker.epoch)
        })
    };
    if isr.iter().all(eligible) { Ok(recovery) } else { Err(Refusal::IneligibleReplica) }
}
