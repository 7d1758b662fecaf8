//! ApiVersions (18), versions 0–5: what this listener serves, and the cluster's features.
//!
//! v3 client software (KIP-511), v5 the cluster and node that the client believes it talks to (KIP-1242). The header of
//! the response is of version 0 always, since the client cannot know better yet.

use ottla_metadata::features::{METADATA_VERSION, SUPPORTED};
use ottla_protocol::messages::api_versions::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use ottla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_protocol::{ApiKey, Refusal};

use crate::answer::Answer;
use crate::api::table::rows;
use crate::context::Context;

/// The first version whose response may carry a supported feature that begins at 0.
const ZERO_FEATURES_SINCE: i16 = 4;

/// Lists the rows of the API table that this listener serves.
pub fn answer(request: ApiVersionsRequest, context: &mut Context<'_>) -> Answer<ApiVersionsResponse> {
    if context.version >= 3
        && !(is_name(&request.client_software_name) && is_name(&request.client_software_version))
    {
        return refuse(Refusal::InvalidRequest);
    }
    if context.version >= 5 {
        match (&request.cluster_id, request.node_id) {
            (None, -1) => {}
            (Some(cluster), node) if node >= 0 => {
                if *cluster != context.node.cluster_id || node != context.node.id.0 {
                    return refuse(Refusal::RebootstrapRequired);
                }
            }
            _ => return refuse(Refusal::InvalidRequest),
        }
    }
    let kind = context.node.listeners[context.listener].kind;
    let api_keys = rows().iter().filter(|row| row.listeners.include(kind)).map(|row| ApiVersion {
        api_key: row.key.code(),
        min_version: row.min,
        max_version: row.max,
    });
    let mut response = ApiVersionsResponse { api_keys: api_keys.collect(), ..Default::default() };
    if context.version >= 3 {
        features(&mut response, context);
    }
    Answer::reply(response)
}

/// The answer to a version that is not known here: only the range of this very API, in version 0.
pub fn unsupported(refusal: Refusal) -> Answer<ApiVersionsResponse> {
    let own = rows().iter().find(|row| row.key == ApiKey::ApiVersions);
    let api_keys =
        own.map(|row| ApiVersion { api_key: row.key.code(), min_version: row.min, max_version: row.max });
    Answer::reply(ApiVersionsResponse {
        error_code: refusal.code(),
        api_keys: api_keys.into_iter().collect(),
        ..Default::default()
    })
}

fn refuse(refusal: Refusal) -> Answer<ApiVersionsResponse> {
    Answer::reply(ApiVersionsResponse { error_code: refusal.code(), ..Default::default() })
}

fn features(response: &mut ApiVersionsResponse, context: &Context<'_>) {
    response.supported_features = SUPPORTED
        .iter()
        .filter(|(_, range)| range.min > 0 || context.version >= ZERO_FEATURES_SINCE)
        .map(|&(name, range)| SupportedFeatureKey {
            name: name.into(),
            min_version: range.min,
            max_version: range.max,
        })
        .collect();
    let image = context.image;
    let version = image.metadata_version.map(|version| (METADATA_VERSION, version.level()));
    let others = image.features.iter().map(|(name, &level)| (name.as_str(), level));
    response.finalized_features = version
        .into_iter()
        .chain(others)
        .map(|(name, level)| FinalizedFeatureKey {
            name: name.into(),
            max_version_level: level,
            min_version_level: level,
        })
        .collect();
    // Librdkafka reads a tagged −1 as a number; an epoch is only told once there is one.
    response.finalized_features_epoch = (image.end_offset.0 - 1).max(0);
}

/// Names and versions of client software: letters, digits, `.` and `-`, beginning and ending with a letter or digit.
fn is_name(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn software_names_follow_kip_511() {
        for good in ["librdkafka", "2.0.2", "apache-kafka-java", "a"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-x", "x-", "a b", "a\n", "ü"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
