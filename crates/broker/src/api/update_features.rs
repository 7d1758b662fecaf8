//! UpdateFeatures (57), versions 0–2: the finalized levels of features (KIP-584); the controller's decision.

use ottla_controller::{Command, Reply};
use ottla_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use crate::answer::Answer;
use crate::api::forward;
use crate::context::Context;

/// Passes it on. Kafka does not look at the time limit, which some clients leave at 0.
pub fn answer(request: UpdateFeaturesRequest, context: &mut Context<'_>) -> Answer<UpdateFeaturesResponse> {
    let pick = |reply| match reply {
        Reply::UpdateFeatures(response) => Some(response),
        _ => None,
    };
    let command = Command::UpdateFeatures { request, version: context.version };
    forward::ask(command, None, pick, |refusal| UpdateFeaturesResponse {
        error_code: refusal.code(),
        ..Default::default()
    })
}
