//! The cluster itself: nodes, versions, what is being moved, what is configured.

use std::collections::BTreeMap;

use ottla_protocol::messages::list_config_resources::ConfigResource;
use ottla_protocol::messages::list_partition_reassignments::OngoingPartitionReassignment;
use ottla_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest, DescribeClusterResponse,
    ListConfigResourcesRequest, ListPartitionReassignmentsRequest,
};

use super::CHANGE_TIMEOUT_MS;
use crate::cluster::Target;
use crate::error::ApiError;
use crate::operation::{Ask, Operation};

/// Which brokers are alive, and where.
pub fn describe_cluster() -> impl Operation<Answer = DescribeClusterResponse> {
    Ask::new("describeCluster", Target::Any, DescribeClusterRequest::default(), |mut response| {
        ApiError::check(response.error_code, response.error_message.take())?;
        response.brokers.sort_by_key(|broker| broker.broker_id);
        Ok(response)
    })
}

/// What one node answers to ApiVersions.
pub fn api_versions(node: i32) -> impl Operation<Answer = ApiVersionsResponse> {
    let request = ApiVersionsRequest {
        client_software_name: "ottla".to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..ApiVersionsRequest::default()
    };
    Ask::new("apiVersions", Target::Node(node), request, |response| {
        ApiError::check(response.error_code, None)?;
        Ok(response)
    })
}

/// The partitions that are being moved, by topic and number.
pub fn list_reassignments() -> impl Operation<Answer = BTreeMap<(String, i32), OngoingPartitionReassignment>>
{
    let request = ListPartitionReassignmentsRequest { timeout_ms: CHANGE_TIMEOUT_MS, topics: None };
    Ask::new("listPartitionReassignments", Target::Controller, request, |response| {
        ApiError::check(response.error_code, response.error_message)?;
        let moving = response.topics.into_iter().flat_map(|topic| {
            let name = topic.name;
            topic.partitions.into_iter().map(move |p| ((name.clone(), p.partition_index), p))
        });
        Ok(moving.collect())
    })
}

/// The resources of a kind that have configuration of their own.
pub fn list_config_resources(kind: super::ResourceType) -> impl Operation<Answer = Vec<ConfigResource>> {
    let request = ListConfigResourcesRequest { resource_types: vec![kind as i8] };
    Ask::new("listConfigResources", Target::Any, request, |response| {
        ApiError::check(response.error_code, None)?;
        Ok(response.config_resources)
    })
}
