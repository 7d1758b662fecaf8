//! DescribeConfigs (32), versions 0–4: the effective configuration of topics, brokers and groups.
//!
//! v1 synonyms and sources (KIP-226), v3 types and documentation (KIP-569).

use ottla_metadata::config::describe::{self, Row};
use ottla_metadata::config::{Settings, Source};
use ottla_metadata::{Resource, ResourceKind, topic_name};
use ottla_protocol::Refusal;
use ottla_protocol::messages::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use crate::answer::Answer;
use crate::context::Context;

/// Why a resource is not described, with a sentence for people.
type NotDescribed = (Refusal, String);

/// Reads it off the image and the configuration table.
pub fn answer(request: DescribeConfigsRequest, context: &mut Context<'_>) -> Answer<DescribeConfigsResponse> {
    let shown = Shown {
        defaults: context.version == 0,
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    if let Some(kind) = request.resources.iter().map(|resource| resource.resource_type).find(is_unknown) {
        // One that is not known spoils the whole request.
        let results = request.resources.into_iter().map(|resource| refused(resource, kind)).collect();
        return Answer::reply(DescribeConfigsResponse { results, ..Default::default() });
    }
    let results = request.resources.into_iter().map(|resource| result(resource, shown, context)).collect();
    Answer::reply(DescribeConfigsResponse { results, ..Default::default() })
}

fn is_unknown(kind: &i8) -> bool {
    ResourceKind::from_code(*kind).is_none()
}

fn refused(resource: DescribeConfigsResource, unknown: i8) -> DescribeConfigsResult {
    DescribeConfigsResult {
        error_code: Refusal::InvalidRequest.code(),
        error_message: Some(format!("Unexpected resource type {unknown}")),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        ..Default::default()
    }
}

/// What the client wants to see besides names and values.
#[derive(Clone, Copy)]
struct Shown {
    /// Version 0 says only whether a value is the default.
    defaults: bool,
    synonyms: bool,
    documentation: bool,
}

fn result(resource: DescribeConfigsResource, shown: Shown, context: &Context<'_>) -> DescribeConfigsResult {
    let mut result = DescribeConfigsResult {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        // Kafka says the empty string where there is nothing to say.
        error_message: Some(String::new()),
        ..Default::default()
    };
    match rows(result.resource_type, &result.resource_name, context) {
        Ok(rows) => {
            // An empty list asks for all, as null does.
            let keys = resource.configuration_keys.unwrap_or_default();
            let wanted = |row: &Row| keys.is_empty() || keys.contains(&row.name);
            result.configs = rows.into_iter().filter(wanted).map(|row| config(row, shown)).collect();
        }
        Err((refusal, message)) => {
            result.error_code = refusal.code();
            result.error_message = Some(message);
        }
    }
    result
}

fn rows(kind: i8, name: &str, context: &Context<'_>) -> Result<Vec<Row>, NotDescribed> {
    let configs = &context.image.configs;
    let settings = configs.settings(&context.node.settings, context.node.id);
    let Some(kind) = ResourceKind::from_code(kind) else {
        return Err((Refusal::InvalidRequest, format!("Unsupported resource type: {kind}")));
    };
    let own = configs.get(&Resource::new(kind, name));
    match kind {
        ResourceKind::Topic => {
            topic_name::check(name).map_err(|message| (Refusal::InvalidTopicException, message))?;
            if context.image.topics.named(name).is_none() {
                return Err((Refusal::UnknownTopicOrPartition, String::new()));
            }
            Ok(describe::topic(&settings, own))
        }
        ResourceKind::Group if name.is_empty() => {
            Err((Refusal::InvalidRequest, "Group name must not be empty".into()))
        }
        ResourceKind::ClientMetrics if name.is_empty() => {
            Err((Refusal::InvalidRequest, "Client metrics subscription name must not be empty".into()))
        }
        ResourceKind::Group => Ok(describe::group(&settings, own)),
        ResourceKind::ClientMetrics => Ok(describe::client_metrics(&settings, own)),
        ResourceKind::BrokerLogger => {
            Err((Refusal::InvalidRequest, "The levels of loggers cannot be described on this node".into()))
        }
        ResourceKind::Broker => broker(name, &settings, context),
    }
}

fn broker(name: &str, settings: &Settings, context: &Context<'_>) -> Result<Vec<Row>, NotDescribed> {
    if name.is_empty() {
        return Ok(describe::cluster_default(settings));
    }
    match name.parse::<i32>() {
        Ok(id) if id == context.node.id.0 => Ok(describe::broker(settings)),
        Ok(id) => Err((
            Refusal::InvalidRequest,
            format!("Unexpected broker id, expected {} or empty string, but received {id}", context.node.id),
        )),
        Err(_) => Err((Refusal::InvalidRequest, format!("Broker id must be an integer, but it is: {name}"))),
    }
}

fn config(row: Row, shown: Shown) -> DescribeConfigsResourceResult {
    let synonyms = row.synonyms.into_iter().filter(|_| shown.synonyms).map(|synonym| {
        DescribeConfigsSynonym { name: synonym.name, value: synonym.value, source: synonym.source as i8 }
    });
    DescribeConfigsResourceResult {
        is_default: shown.defaults && row.source == Source::Default,
        config_source: row.source as i8,
        read_only: row.read_only,
        is_sensitive: row.sensitive,
        synonyms: synonyms.collect(),
        config_type: row.kind,
        documentation: row.documentation.filter(|_| shown.documentation).map(Into::into),
        name: row.name,
        value: row.value,
    }
}
