//! Configuration: describe, change key by key, replace as a whole.

use ottla_protocol::messages::alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig,
};
use ottla_protocol::messages::describe_configs::{DescribeConfigsResource, DescribeConfigsResult};
use ottla_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, incremental_alter_configs,
};

use super::ItemResult;
use crate::call::Call;
use crate::cluster::Target;
use crate::error::{ApiError, ClientError};
use crate::operation::{Ask, Operation, Outcome, Turn};

/// What a configuration belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ResourceType {
    /// A topic, by name.
    Topic = 2,
    /// A broker, by id; all brokers where the name is empty.
    Broker = 4,
    /// A broker's log levels, by id.
    BrokerLogger = 8,
    /// A subscription for client metrics.
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigSource {
    /// Set for the topic.
    DynamicTopic,
    /// Set for the broker while it runs.
    DynamicBroker,
    /// Set for all brokers while they run.
    DynamicDefaultBroker,
    /// In the broker's file.
    StaticBroker,
    /// Kafka's default.
    Default,
    /// A log level set while the broker runs.
    DynamicBrokerLogger,
    /// Set for a client metrics subscription.
    DynamicClientMetrics,
    /// Set for the group.
    DynamicGroup,
    /// A number we do not know.
    Unknown,
}

impl ConfigSource {
    /// The source behind a number on the wire.
    #[must_use]
    pub fn from_code(code: i8) -> Self {
        match code {
            1 => Self::DynamicTopic,
            2 => Self::DynamicBroker,
            3 => Self::DynamicDefaultBroker,
            4 => Self::StaticBroker,
            5 => Self::Default,
            6 => Self::DynamicBrokerLogger,
            7 => Self::DynamicClientMetrics,
            8 => Self::DynamicGroup,
            _ => Self::Unknown,
        }
    }

    /// As Kafka's tools print it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DynamicTopic => "DYNAMIC_TOPIC_CONFIG",
            Self::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            Self::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::StaticBroker => "STATIC_BROKER_CONFIG",
            Self::Default => "DEFAULT_CONFIG",
            Self::DynamicBrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Self::DynamicClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
            Self::DynamicGroup => "DYNAMIC_GROUP_CONFIG",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// A change of one key (KIP-339).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// To this value.
    Set(String, String),
    /// Back to what holds without it.
    Delete(String),
    /// One more element of a list.
    Append(String, String),
    /// One less.
    Subtract(String, String),
}

/// A resource with its entries, or why there are none.
pub type Described = ((i8, String), ItemResult<DescribeConfigsResult>);

/// What is configured for these resources, with every place a value could come from.
pub fn describe_configs(resources: Vec<(ResourceType, String)>) -> impl Operation<Answer = Vec<Described>> {
    let mut rounds: Vec<(Target, Vec<DescribeConfigsResource>)> = Vec::new();
    for (kind, name) in resources {
        let target = target_of(kind, &name);
        let resource = DescribeConfigsResource {
            resource_type: kind as i8,
            resource_name: name,
            configuration_keys: None,
        };
        match rounds.iter_mut().find(|(known, _)| *known == target) {
            Some((_, resources)) => resources.push(resource),
            None => rounds.push((target, vec![resource])),
        }
    }
    if rounds.is_empty() {
        // Nothing is asked about, but an answer there must be.
        rounds.push((Target::Any, Vec::new()));
    }
    DescribeConfigs { rounds }
}

/// Changes keys of one resource and leaves the others as they are.
pub fn incremental_alter_configs(
    kind: ResourceType,
    name: String,
    changes: Vec<Change>,
) -> impl Operation<Answer = ()> {
    let target = target_of(kind, &name);
    let config = |change: Change| {
        let (config_operation, name, value) = match change {
            Change::Set(name, value) => (0, name, Some(value)),
            Change::Delete(name) => (1, name, Some(String::new())),
            Change::Append(name, value) => (2, name, Some(value)),
            Change::Subtract(name, value) => (3, name, Some(value)),
        };
        incremental_alter_configs::AlterableConfig { name, config_operation, value }
    };
    let resource = incremental_alter_configs::AlterConfigsResource {
        resource_type: kind as i8,
        resource_name: name,
        configs: changes.into_iter().map(config).collect(),
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    Ask::new("incrementalAlterConfigs", target, request, |response| {
        response.responses.into_iter().try_for_each(|r| check(r.error_code, r.error_message))
    })
}

/// Replaces all of a resource's own configuration (the API of before KIP-339, which old clients still use).
pub fn alter_configs(
    kind: ResourceType,
    name: String,
    configs: Vec<(String, String)>,
) -> impl Operation<Answer = ()> {
    let target = target_of(kind, &name);
    let config = |(name, value)| AlterableConfig { name, value: Some(value) };
    let resource = AlterConfigsResource {
        resource_type: kind as i8,
        resource_name: name,
        configs: configs.into_iter().map(config).collect(),
    };
    let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
    Ask::new("alterConfigs", target, request, |response| {
        let each = |r: AlterConfigsResourceResponse| check(r.error_code, r.error_message);
        response.responses.into_iter().try_for_each(each)
    })
}

fn check(code: i16, message: Option<String>) -> Result<(), ClientError> {
    Ok(ApiError::check(code, message)?)
}

/// What belongs to one broker is asked of that broker; the rest of any.
fn target_of(kind: ResourceType, name: &str) -> Target {
    match (kind, name.parse()) {
        (ResourceType::Broker | ResourceType::BrokerLogger, Ok(id)) => Target::Node(id),
        _ => Target::Any,
    }
}

struct DescribeConfigs {
    rounds: Vec<(Target, Vec<DescribeConfigsResource>)>,
}

impl Operation for DescribeConfigs {
    type Answer = Vec<Described>;

    fn name(&self) -> &'static str {
        "describeConfigs"
    }

    fn calls(&mut self) -> Vec<(Target, Call)> {
        let call = |(target, resources): &(Target, Vec<DescribeConfigsResource>)| {
            let request = DescribeConfigsRequest {
                resources: resources.clone(),
                include_synonyms: true,
                include_documentation: false,
            };
            (*target, Call::new(request))
        };
        self.rounds.iter().map(call).collect()
    }

    fn round(&mut self, outcomes: Vec<Outcome>) -> Turn<Self::Answer> {
        let decoded =
            outcomes.into_iter().map(|outcome| outcome.and_then(|r| r.decode::<DescribeConfigsRequest>()));
        let responses: Result<Vec<_>, ClientError> = decoded.collect();
        Turn::from_result(responses.map(|responses| {
            let results = responses.into_iter().flat_map(|response| response.results);
            let item = |mut result: DescribeConfigsResult| {
                let key = (result.resource_type, result.resource_name.clone());
                let checked = ApiError::check(result.error_code, result.error_message.take());
                (key, checked.map(|()| result))
            };
            results.map(item).collect()
        }))
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::codec::Writer;
    use ottla_protocol::messages::DescribeConfigsResponse;
    use ottla_protocol::{ApiKey, Message};

    use super::*;
    use crate::call::Reply;

    #[test]
    fn a_question_about_nothing_is_answered() {
        let mut operation = describe_configs(Vec::new());
        let calls = operation.calls();
        let mut writer = Writer::new();
        DescribeConfigsResponse::default().encode(&mut writer, 4).unwrap();
        let body = writer.into_bytes().freeze();
        let replies =
            calls.iter().map(|_| Ok(Reply { key: ApiKey::DescribeConfigs, version: 4, body: body.clone() }));
        // Without a call there is no answer to come, and whoever asks waits for ever.
        assert_eq!(calls.len(), 1);
        assert!(
            matches!(operation.round(replies.collect()), Turn::Done(Ok(described)) if described.is_empty())
        );
    }
}
