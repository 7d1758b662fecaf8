//! The quorum as DescribeQuorum tells it.

use ottla_protocol::messages::describe_quorum::{
    Listener, Node, ReplicaState, RequestTopicData, ResponsePartitionData, ResponseTopicData,
};
use ottla_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_protocol::{NodeId, Now, Refusal};
use ottla_raft::Raft;

/// The one topic that has a quorum, and its one partition.
const TOPIC: &str = "__cluster_metadata";

/// Describes the quorum as this replica knows it; only the leader knows how far the others are.
#[must_use]
pub fn describe(request: &DescribeQuorumRequest, raft: &Raft, now: Now) -> DescribeQuorumResponse {
    if !is_about_the_metadata(&request.topics) {
        return DescribeQuorumResponse {
            error_code: Refusal::InvalidRequest.code(),
            error_message: Some(format!("there is one quorum, that of {TOPIC} partition 0")),
            ..Default::default()
        };
    }
    let leader = raft.leader_and_epoch();
    let replica = |id: NodeId, directory| {
        let is_leader = leader.leader == Some(id);
        ReplicaState {
            replica_id: id.0,
            replica_directory_id: directory,
            log_end_offset: if is_leader { raft.log_end().offset.0 } else { -1 },
            last_fetch_timestamp: if is_leader { now.wall_ms } else { -1 },
            last_caught_up_timestamp: if is_leader { now.wall_ms } else { -1 },
        }
    };
    let partition = ResponsePartitionData {
        leader_id: leader.leader.map_or(-1, |id| id.0),
        leader_epoch: leader.epoch.0,
        high_watermark: raft.high_watermark().map_or(-1, |offset| offset.0),
        current_voters: raft.voters().iter().map(|(id, voter)| replica(id, voter.directory)).collect(),
        ..Default::default()
    };
    let nodes = raft.voters().iter().map(|(id, _)| Node {
        node_id: id.0,
        listeners: raft
            .endpoints(id)
            .iter()
            .map(|endpoint| Listener {
                name: endpoint.listener.clone(),
                host: endpoint.host.clone(),
                port: endpoint.port,
            })
            .collect(),
    });
    DescribeQuorumResponse {
        topics: vec![ResponseTopicData { topic_name: TOPIC.into(), partitions: vec![partition] }],
        nodes: nodes.collect(),
        ..Default::default()
    }
}

fn is_about_the_metadata(topics: &[RequestTopicData]) -> bool {
    matches!(topics, [topic] if topic.topic_name == TOPIC
        && matches!(&topic.partitions[..], [partition] if partition.partition_index == 0))
}
