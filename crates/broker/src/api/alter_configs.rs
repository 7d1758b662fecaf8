//! IncrementalAlterConfigs (44), versions 0–1 (KIP-339), and the older AlterConfigs (33), versions 0–2, which replaces
//! everything and which librdkafka, kafkajs and ruby-kafka still send: the controller's decisions.

use ottla_controller::{Command, Origin, Reply};
use ottla_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use ottla_protocol::messages::{alter_configs as whole, incremental_alter_configs as incremental};

use crate::answer::Answer;
use crate::api::forward;
use crate::context::Context;

/// Neither request says how long it may take; Kafka gives a forwarded one a minute.
const TIMEOUT_MS: i64 = 60_000;

/// Changes single keys.
pub fn change(
    request: IncrementalAlterConfigsRequest,
    context: &mut Context<'_>,
) -> Answer<IncrementalAlterConfigsResponse> {
    let resources = request.resources.iter();
    let names: Vec<_> =
        resources.map(|resource| (resource.resource_type, resource.resource_name.clone())).collect();
    let refuse = move |refusal: ottla_protocol::Refusal| IncrementalAlterConfigsResponse {
        responses: names
            .into_iter()
            .map(|(resource_type, resource_name)| incremental::AlterConfigsResourceResponse {
                error_code: refusal.code(),
                error_message: None,
                resource_type,
                resource_name,
            })
            .collect(),
        ..Default::default()
    };
    let pick = |reply| match reply {
        Reply::IncrementalAlterConfigs(response) => Some(response),
        _ => None,
    };
    let deadline = Some(context.now.after_ms(TIMEOUT_MS));
    let command = Command::IncrementalAlterConfigs { request, origin: Origin::Forwarded };
    forward::ask(command, deadline, pick, refuse)
}

/// Replaces everything that was set on a resource.
pub fn replace(request: AlterConfigsRequest, context: &mut Context<'_>) -> Answer<AlterConfigsResponse> {
    let resources = request.resources.iter();
    let names: Vec<_> =
        resources.map(|resource| (resource.resource_type, resource.resource_name.clone())).collect();
    let refuse = move |refusal: ottla_protocol::Refusal| AlterConfigsResponse {
        responses: names
            .into_iter()
            .map(|(resource_type, resource_name)| whole::AlterConfigsResourceResponse {
                error_code: refusal.code(),
                error_message: None,
                resource_type,
                resource_name,
            })
            .collect(),
        ..Default::default()
    };
    let pick = |reply| match reply {
        Reply::AlterConfigs(response) => Some(response),
        _ => None,
    };
    let deadline = Some(context.now.after_ms(TIMEOUT_MS));
    let command = Command::AlterConfigs { request, origin: Origin::Forwarded };
    forward::ask(command, deadline, pick, refuse)
}
