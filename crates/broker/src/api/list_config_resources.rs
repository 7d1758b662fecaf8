//! ListConfigResources (74), versions 0–1: what has a configuration of its own (KIP-1142).
//!
//! Version 0 asks for subscriptions of client metrics only.

use std::collections::BTreeSet;

use ottla_metadata::ResourceKind;
use ottla_protocol::Refusal;
use ottla_protocol::messages::list_config_resources::ConfigResource;
use ottla_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use crate::answer::Answer;
use crate::context::Context;

/// All kinds, in the order in which they are listed.
const KINDS: [ResourceKind; 5] = [
    ResourceKind::Group,
    ResourceKind::ClientMetrics,
    ResourceKind::BrokerLogger,
    ResourceKind::Broker,
    ResourceKind::Topic,
];

/// Reads it off the image.
pub fn answer(
    request: ListConfigResourcesRequest,
    context: &mut Context<'_>,
) -> Answer<ListConfigResourcesResponse> {
    let asked: Vec<i8> = match context.version {
        0 => vec![ResourceKind::ClientMetrics.code()],
        _ => request.resource_types,
    };
    if asked.iter().any(|&code| ResourceKind::from_code(code).is_none()) {
        let error_code = Refusal::UnsupportedVersion.code();
        return Answer::reply(ListConfigResourcesResponse { error_code, ..Default::default() });
    }
    let wanted = |kind: &ResourceKind| asked.is_empty() || asked.contains(&kind.code());
    let config_resources = KINDS.into_iter().filter(wanted).flat_map(|kind| {
        let row = move |name: String| ConfigResource { resource_name: name, resource_type: kind.code() };
        names(kind, context).into_iter().map(row)
    });
    Answer::reply(ListConfigResourcesResponse {
        config_resources: config_resources.collect(),
        ..Default::default()
    })
}

/// Topics and brokers are listed whether anything is set on them or not.
fn names(kind: ResourceKind, context: &Context<'_>) -> BTreeSet<String> {
    let image = context.image;
    match kind {
        ResourceKind::Topic => image.topics.names().map(|(name, _)| name.into()).collect(),
        ResourceKind::Broker | ResourceKind::BrokerLogger => {
            image.brokers.keys().map(ToString::to_string).collect()
        }
        ResourceKind::ClientMetrics | ResourceKind::Group => {
            let set = image.configs.iter().filter(|(resource, _)| resource.kind == kind);
            set.map(|(resource, _)| resource.name.clone()).collect()
        }
    }
}
