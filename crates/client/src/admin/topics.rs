//! Topics: create, delete, widen, list, describe.

use std::collections::BTreeMap;

use ottla_protocol::messages::create_partitions::CreatePartitionsTopic;
use ottla_protocol::messages::create_topics::{CreatableTopic, CreatableTopicResult};
use ottla_protocol::messages::delete_topics::DeleteTopicState;
use ottla_protocol::messages::describe_topic_partitions::{
    DescribeTopicPartitionsResponseTopic, RequestCursor, TopicRequest,
};
use ottla_protocol::messages::metadata::{MetadataRequestTopic, MetadataResponseTopic};
use ottla_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeTopicPartitionsRequest,
    MetadataRequest,
};
use ottla_protocol::{Refusal, TopicId};

use super::{CHANGE_TIMEOUT_MS, ItemResult};
use crate::call::Call;
use crate::cluster::Target;
use crate::error::{ApiError, ClientError};
use crate::operation::{Ask, Operation, Outcome, Turn};

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// Its id; zero where the broker is too old.
    pub id: TopicId,
    /// Whether it is one of Kafka's own.
    pub internal: bool,
}

/// A topic in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id; zero where the broker is too old.
    pub id: TopicId,
    /// Whether it is one of Kafka's own.
    pub internal: bool,
    /// By rising index.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub index: i32,
    /// Who leads it.
    pub leader: Option<i32>,
    /// Counts its leaders.
    pub leader_epoch: i32,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
    /// Eligible leader replicas (KIP-966); `None` where the broker does not tell.
    pub elr: Option<Vec<i32>>,
    /// The last known ones, likewise.
    pub last_known_elr: Option<Vec<i32>>,
}

/// How many partitions a broker may put into one response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub i32);

impl Default for Limit {
    fn default() -> Self {
        Self(2000)
    }
}

/// Creates topics; each item tells the id, or why not.
pub fn create_topics(
    topics: Vec<CreatableTopic>,
) -> impl Operation<Answer = Vec<(String, ItemResult<CreatableTopicResult>)>> {
    let request = CreateTopicsRequest { topics, timeout_ms: CHANGE_TIMEOUT_MS, validate_only: false };
    Ask::new("createTopics", Target::Controller, request, |response| {
        retry_elsewhere(response.topics.iter().map(|topic| topic.error_code))?;
        let result = |mut topic: CreatableTopicResult| {
            let name = topic.name.clone();
            let outcome = ApiError::check(topic.error_code, topic.error_message.take());
            (name, outcome.map(|()| topic))
        };
        Ok(response.topics.into_iter().map(result).collect())
    })
}

/// Makes topics wider.
pub fn create_partitions(
    topics: Vec<CreatePartitionsTopic>,
) -> impl Operation<Answer = Vec<(String, ItemResult<()>)>> {
    let request = CreatePartitionsRequest { topics, timeout_ms: CHANGE_TIMEOUT_MS, validate_only: false };
    Ask::new("createPartitions", Target::Controller, request, |response| {
        retry_elsewhere(response.results.iter().map(|topic| topic.error_code))?;
        let result = |topic: ottla_protocol::messages::create_partitions::CreatePartitionsTopicResult| {
            (topic.name, ApiError::check(topic.error_code, topic.error_message))
        };
        Ok(response.results.into_iter().map(result).collect())
    })
}

/// Deletes topics by name.
pub fn delete_topics(names: Vec<String>) -> impl Operation<Answer = Vec<(String, ItemResult<()>)>> {
    DeleteTopics { names, by_state: true }
}

/// Every topic the caller may see, by name; whether Kafka's own are among them is the caller's choice afterwards.
pub fn list_topics() -> impl Operation<Answer = Vec<TopicListing>> {
    let request =
        MetadataRequest { topics: None, allow_auto_topic_creation: true, ..MetadataRequest::default() };
    Ask::new("listTopics", Target::Any, request, |response| {
        ApiError::check(response.error_code, None)?;
        let listing = |topic: MetadataResponseTopic| {
            let name = topic.name?;
            Some(TopicListing { name, id: topic.topic_id, internal: topic.is_internal })
        };
        let mut topics: Vec<TopicListing> = response.topics.into_iter().filter_map(listing).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    })
}

/// Topics in full, by name, in as many responses as the limit makes of them.
pub fn describe_topics(
    mut names: Vec<String>,
    limit: Limit,
) -> impl Operation<Answer = Vec<(String, ItemResult<TopicDescription>)>> {
    names.sort();
    names.dedup();
    DescribeTopics { names, limit, cursor: None, found: BTreeMap::new(), old_broker: false }
}

/// A controller that is none any more says so for each item alike; another try finds the new one.
fn retry_elsewhere(codes: impl Iterator<Item = i16>) -> Result<(), ClientError> {
    let mut codes = codes;
    let not_controller = Refusal::NotController;
    if codes.any(|code| code == not_controller.code()) {
        return Err(ApiError { refusal: not_controller, message: None }.into());
    }
    Ok(())
}

struct DeleteTopics {
    names: Vec<String>,
    /// Version 6 says it in structs, those before in names alone.
    by_state: bool,
}

impl Operation for DeleteTopics {
    type Answer = Vec<(String, ItemResult<()>)>;

    fn name(&self) -> &'static str {
        "deleteTopics"
    }

    fn calls(&mut self) -> Vec<(Target, Call)> {
        let mut request =
            DeleteTopicsRequest { timeout_ms: CHANGE_TIMEOUT_MS, ..DeleteTopicsRequest::default() };
        let call = if self.by_state {
            let state =
                |name: &String| DeleteTopicState { name: Some(name.clone()), ..DeleteTopicState::default() };
            request.topics = self.names.iter().map(state).collect();
            Call::new(request).within(6, i16::MAX)
        } else {
            request.topic_names = self.names.clone();
            Call::new(request).within(0, 5)
        };
        vec![(Target::Controller, call)]
    }

    fn round(&mut self, mut outcomes: Vec<Outcome>) -> Turn<Self::Answer> {
        let response = match outcomes.pop() {
            Some(Ok(reply)) => reply.decode::<DeleteTopicsRequest>(),
            Some(Err(ClientError::UnsupportedVersion(_))) if self.by_state => {
                self.by_state = false;
                return Turn::Next;
            }
            Some(Err(error)) => Err(error),
            None => Err(ClientError::Closed),
        };
        Turn::from_result(response.and_then(|response| {
            retry_elsewhere(response.responses.iter().map(|topic| topic.error_code))?;
            let results = response.responses.into_iter();
            Ok(results
                .map(|t| (t.name.unwrap_or_default(), ApiError::check(t.error_code, t.error_message)))
                .collect())
        }))
    }
}

struct DescribeTopics {
    names: Vec<String>,
    limit: Limit,
    cursor: Option<RequestCursor>,
    found: BTreeMap<String, ItemResult<TopicDescription>>,
    /// Brokers before 3.8 know Metadata only, which tells everything but the eligible leader replicas.
    old_broker: bool,
}

impl Operation for DescribeTopics {
    type Answer = Vec<(String, ItemResult<TopicDescription>)>;

    fn name(&self) -> &'static str {
        "describeTopics"
    }

    fn calls(&mut self) -> Vec<(Target, Call)> {
        if self.old_broker {
            let named =
                |name: &String| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
            let request = MetadataRequest {
                topics: Some(self.names.iter().map(named).collect()),
                allow_auto_topic_creation: false,
                ..MetadataRequest::default()
            };
            return vec![(Target::Any, Call::new(request))];
        }
        let from = self.cursor.as_ref().map_or("", |cursor| cursor.topic_name.as_str());
        let left = self.names.iter().filter(|name| name.as_str() >= from);
        let request = DescribeTopicPartitionsRequest {
            topics: left.map(|name| TopicRequest { name: name.clone() }).collect(),
            response_partition_limit: self.limit.0,
            cursor: self.cursor.clone(),
        };
        vec![(Target::Any, Call::new(request))]
    }

    fn round(&mut self, mut outcomes: Vec<Outcome>) -> Turn<Self::Answer> {
        let reply = match outcomes.pop() {
            Some(Ok(reply)) => reply,
            Some(Err(ClientError::UnsupportedVersion(_))) if !self.old_broker => {
                self.old_broker = true;
                return Turn::Next;
            }
            Some(Err(error)) => return Turn::from_result(Err(error)),
            None => return Turn::Done(Err(ClientError::Closed)),
        };
        if self.old_broker {
            return Turn::from_result(reply.decode::<MetadataRequest>().map(|response| {
                let described = response.topics.into_iter().map(old_description);
                described.collect()
            }));
        }
        let response = match reply.decode::<DescribeTopicPartitionsRequest>() {
            Ok(response) => response,
            Err(error) => return Turn::Done(Err(error)),
        };
        for topic in response.topics {
            self.take(topic);
        }
        // A cursor that does not go forward would ask for the same pages for ever.
        let place = |cursor: &RequestCursor| (cursor.topic_name.clone(), cursor.partition_index);
        let next = response
            .next_cursor
            .map(|next| RequestCursor { topic_name: next.topic_name, partition_index: next.partition_index });
        if next.is_some() && next.as_ref().map(place) > self.cursor.as_ref().map(place) {
            self.cursor = next;
            return Turn::Next;
        }
        Turn::Done(Ok(std::mem::take(&mut self.found).into_iter().collect()))
    }
}

impl DescribeTopics {
    /// A topic, or some more partitions of the one the page before ended in.
    fn take(&mut self, topic: DescribeTopicPartitionsResponseTopic) {
        let name = topic.name.unwrap_or_default();
        if let Some(error) = ApiError::from_code(topic.error_code, None) {
            self.found.insert(name, Err(error));
            return;
        }
        let partitions = topic.partitions.into_iter().map(|p| PartitionDescription {
            index: p.partition_index,
            leader: Some(p.leader_id).filter(|&id| id >= 0),
            leader_epoch: p.leader_epoch,
            replicas: p.replica_nodes,
            isr: p.isr_nodes,
            elr: p.eligible_leader_replicas,
            last_known_elr: p.last_known_elr,
        });
        let entry = self.found.entry(name.clone()).or_insert_with(|| {
            Ok(TopicDescription {
                name,
                id: topic.topic_id,
                internal: topic.is_internal,
                partitions: Vec::new(),
            })
        });
        if let Ok(known) = entry {
            known.partitions.extend(partitions);
            known.partitions.sort_by_key(|p| p.index);
        }
    }
}

fn old_description(topic: MetadataResponseTopic) -> (String, ItemResult<TopicDescription>) {
    let name = topic.name.unwrap_or_default();
    if let Some(error) = ApiError::from_code(topic.error_code, None) {
        return (name, Err(error));
    }
    let partitions = topic.partitions.into_iter().map(|p| PartitionDescription {
        index: p.partition_index,
        leader: Some(p.leader_id).filter(|&id| id >= 0),
        leader_epoch: p.leader_epoch,
        replicas: p.replica_nodes,
        isr: p.isr_nodes,
        elr: None,
        last_known_elr: None,
    });
    let mut partitions: Vec<PartitionDescription> = partitions.collect();
    partitions.sort_by_key(|p| p.index);
    (name.clone(), Ok(TopicDescription { name, id: topic.topic_id, internal: topic.is_internal, partitions }))
}

#[cfg(test)]
mod tests {
    use ottla_protocol::codec::Writer;
    use ottla_protocol::messages::DescribeTopicPartitionsResponse;
    use ottla_protocol::messages::describe_topic_partitions::ResponseCursor;
    use ottla_protocol::{ApiKey, Message};

    use super::*;
    use crate::call::Reply;

    /// One page without topics, and where the next one is said to begin.
    fn page(next: (&str, i32)) -> Outcome {
        let next_cursor = Some(ResponseCursor { topic_name: next.0.to_owned(), partition_index: next.1 });
        let response = DescribeTopicPartitionsResponse { next_cursor, ..Default::default() };
        let mut writer = Writer::new();
        response.encode(&mut writer, 0).unwrap();
        let body = writer.into_bytes().freeze();
        Ok(Reply { key: ApiKey::DescribeTopicPartitions, version: 0, body })
    }

    #[test]
    fn pages_are_asked_for_as_long_as_they_go_forward() {
        for (pages, turns) in [
            (vec![("a", 1), ("a", 2), ("b", 0), ("b", 0)], 3),
            (vec![("a", 1), ("b", 1), ("a", 1), ("b", 1)], 2),
            (vec![("b", 7), ("b", 3)], 1),
        ] {
            let mut operation = describe_topics(vec!["a".to_owned(), "b".to_owned()], Limit::default());
            let mut went_on = |next: (&str, i32)| {
                assert_eq!(operation.calls().len(), 1);
                matches!(operation.round(vec![page(next)]), Turn::Next)
            };
            assert_eq!(pages.iter().take_while(|next| went_on(**next)).count(), turns, "{pages:?}");
        }
    }
}
