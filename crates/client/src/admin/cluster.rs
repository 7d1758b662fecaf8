//! The cluster itself: nodes, versions, what is being moved, what is configured, which groups there are.

use std::collections::BTreeMap;

use ottla_protocol::messages::list_config_resources::ConfigResource;
use ottla_protocol::messages::list_groups::ListedGroup;
use ottla_protocol::messages::list_partition_reassignments::OngoingPartitionReassignment;
use ottla_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest, DescribeClusterResponse,
    ListConfigResourcesRequest, ListGroupsRequest, ListPartitionReassignmentsRequest, MetadataRequest,
};

use super::CHANGE_TIMEOUT_MS;
use crate::call::Call;
use crate::cluster::Target;
use crate::error::{ApiError, ClientError};
use crate::operation::{Ask, Operation, Outcome, Turn};

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

/// Every group on every broker: each broker knows those it coordinates.
pub fn list_groups() -> impl Operation<Answer = Vec<ListedGroup>> {
    ListGroups { brokers: None }
}

struct ListGroups {
    brokers: Option<Vec<i32>>,
}

impl Operation for ListGroups {
    type Answer = Vec<ListedGroup>;

    fn name(&self) -> &'static str {
        "listGroups"
    }

    fn calls(&mut self) -> Vec<(Target, Call)> {
        match &self.brokers {
            None => {
                let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
                vec![(Target::Any, Call::new(request))]
            }
            Some(brokers) => {
                let call = |id: &i32| (Target::Node(*id), Call::new(ListGroupsRequest::default()));
                brokers.iter().map(call).collect()
            }
        }
    }

    fn round(&mut self, mut outcomes: Vec<Outcome>) -> Turn<Self::Answer> {
        if self.brokers.is_none() {
            let reply = outcomes.pop().unwrap_or(Err(ClientError::Closed));
            return match reply.and_then(|reply| reply.decode::<MetadataRequest>()) {
                Ok(response) if response.brokers.is_empty() => {
                    Turn::Retry(ClientError::TimedOut(String::new()))
                }
                Ok(response) => {
                    self.brokers = Some(response.brokers.into_iter().map(|broker| broker.node_id).collect());
                    Turn::Next
                }
                Err(error) => Turn::from_result(Err(error)),
            };
        }
        let answers = outcomes.into_iter().map(|outcome| {
            let response = outcome.and_then(|reply| reply.decode::<ListGroupsRequest>())?;
            ApiError::check(response.error_code, None)?;
            Ok(response.groups)
        });
        let groups: Result<Vec<Vec<ListedGroup>>, ClientError> = answers.collect();
        if groups.is_err() {
            self.brokers = None;
        }
        Turn::from_result(groups.map(|groups| {
            let mut groups: Vec<ListedGroup> = groups.into_iter().flatten().collect();
            groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
            groups.dedup_by(|a, b| a.group_id == b.group_id);
            groups
        }))
    }
}
