//! DescribeCluster (60), versions 0–2: the cluster's id, its nodes and its controller (KIP-700).
//!
//! v1 asks for brokers or controllers (KIP-919), v2 for fenced brokers too (KIP-1073).

use ottla_metadata::image::brokers::RegisteredEndpoint;
use ottla_protocol::Refusal;
use ottla_protocol::messages::describe_cluster::DescribeClusterBroker;
use ottla_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use crate::answer::Answer;
use crate::context::Context;
use crate::node::{Listener, ListenerKind};

/// The endpoint type of brokers.
const BROKERS: i8 = 1;
/// The endpoint type of controllers.
const CONTROLLERS: i8 = 2;

/// Reads it off the image.
pub fn answer(request: DescribeClusterRequest, context: &mut Context<'_>) -> Answer<DescribeClusterResponse> {
    let listener = &context.node.listeners[context.listener];
    let here = match listener.kind {
        ListenerKind::Broker => BROKERS,
        ListenerKind::Controller => CONTROLLERS,
    };
    if request.endpoint_type != here {
        return Answer::reply(refused(request.endpoint_type, here, context.version));
    }
    let mut response = DescribeClusterResponse { endpoint_type: here, ..Default::default() };
    response.cluster_id = context.node.cluster_id.clone();
    response.controller_id = super::metadata::controller(context);
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = super::metadata::CLUSTER_OPERATIONS;
    }
    if here == CONTROLLERS {
        controllers(&mut response, listener, context);
        return Answer::reply(response);
    }
    for broker in context.image.brokers.values() {
        if !super::metadata::is_named(broker, context) && !request.include_fenced_brokers {
            continue;
        }
        let Some(endpoint) = broker.endpoint(&listener.name) else { continue };
        response.brokers.push(DescribeClusterBroker {
            broker_id: broker.id.0,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: broker.rack.clone(),
            // Whoever has not asked for fenced brokers is told of none, and could not read it before v2.
            is_fenced: broker.fenced && request.include_fenced_brokers,
        });
    }
    Answer::reply(response)
}

/// The controllers as they registered; one that is alone need not have.
fn controllers(response: &mut DescribeClusterResponse, listener: &Listener, context: &Context<'_>) {
    for controller in context.image.controllers.values() {
        let here = |endpoint: &&RegisteredEndpoint| endpoint.listener == listener.name;
        let Some(endpoint) = controller.endpoints.iter().find(here) else { continue };
        response.brokers.push(DescribeClusterBroker {
            broker_id: controller.id.0,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            ..Default::default()
        });
    }
    if response.brokers.is_empty() {
        response.brokers.push(DescribeClusterBroker {
            broker_id: context.node.id.0,
            host: listener.advertised_host.clone(),
            port: i32::from(listener.advertised_port),
            ..Default::default()
        });
    }
    response.controller_id = context.node.id.0;
}

fn refused(asked: i8, here: i8, version: i16) -> DescribeClusterResponse {
    let name = |kind| if kind == BROKERS { "BROKER" } else { "CONTROLLER" };
    let (refusal, message) = if [BROKERS, CONTROLLERS].contains(&asked) {
        let text = format!(
            "The request was sent to an endpoint of type {}, but we wanted an endpoint of type {}",
            name(here),
            name(asked)
        );
        (Refusal::MismatchedEndpointType, text)
    } else {
        (Refusal::UnsupportedEndpointType, format!("Unsupported endpoint type {asked}"))
    };
    // Version 0 knows nothing of endpoint types.
    let refusal = if version == 0 { Refusal::InvalidRequest } else { refusal };
    DescribeClusterResponse { error_code: refusal.code(), error_message: Some(message), ..Default::default() }
}
