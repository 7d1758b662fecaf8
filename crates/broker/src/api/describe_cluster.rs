//! DescribeCluster (60), versions 0–2: the cluster's id, its nodes and its controller (KIP-700).
//!
//! v1 asks for brokers or controllers (KIP-919), v2 for fenced brokers too (KIP-1073).

use ottla_protocol::Refusal;
use ottla_protocol::messages::describe_cluster::DescribeClusterBroker;
use ottla_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use crate::answer::Answer;
use crate::context::Context;
use crate::node::ListenerKind;

/// The endpoint type of brokers; 2 would be controllers.
const BROKERS: i8 = 1;

/// Reads it off the image.
pub fn answer(request: DescribeClusterRequest, context: &mut Context<'_>) -> Answer<DescribeClusterResponse> {
    let mut response = DescribeClusterResponse { endpoint_type: request.endpoint_type, ..Default::default() };
    let listener = &context.node.listeners[context.listener];
    if request.endpoint_type != BROKERS || listener.kind != ListenerKind::Broker {
        let refusal = if (1..=2).contains(&request.endpoint_type) {
            Refusal::MismatchedEndpointType
        } else {
            Refusal::UnsupportedEndpointType
        };
        response.error_code = refusal.code();
        response.error_message = Some(format!(
            "The request was sent to an endpoint of another type than {}",
            request.endpoint_type
        ));
        return Answer::reply(response);
    }
    response.cluster_id = context.node.cluster_id.clone();
    response.controller_id = super::metadata::controller(context);
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = super::metadata::CLUSTER_OPERATIONS;
    }
    for broker in context.image.brokers.values() {
        if broker.fenced && !request.include_fenced_brokers {
            continue;
        }
        let Some(endpoint) = broker.endpoint(&listener.name) else { continue };
        response.brokers.push(DescribeClusterBroker {
            broker_id: broker.id.0,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: broker.rack.clone(),
            is_fenced: broker.fenced,
        });
    }
    Answer::reply(response)
}
