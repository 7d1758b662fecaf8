//! OffsetFetch (9), versions 0–10: how far groups have come.
//!
//! v2 all topics and an error for the whole, v5 leader epochs (KIP-320), v7 only what no open transaction may still
//! change (KIP-447), v8 several groups (KIP-709), v9 members of consumer groups (KIP-848), v10 topic ids. Version 0 read
//! from ZooKeeper and was dropped by Kafka 4.0; here it reads what all others read.

use ottla_coordinator::group::command::FetchOffsets;
use ottla_coordinator::group::{Command, Reply};
use ottla_protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use ottla_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use ottla_protocol::{Refusal, Uuid};

use crate::answer::{Answer, Question};
use crate::api::coordinate;
use crate::context::Context;

/// The first version with an error for the whole, and in which all topics may be asked for.
const WHOLE_SINCE: i16 = 2;

/// The first version with several groups.
const BATCHED_SINCE: i16 = 8;

/// The first version that names topics by their ids.
const BY_ID_SINCE: i16 = 10;

/// "Nothing is committed."
const NO_OFFSET: i64 = -1;

/// Asks the coordinator of each group.
pub fn answer(request: OffsetFetchRequest, context: &mut Context<'_>) -> Answer<OffsetFetchResponse> {
    let require_stable = request.require_stable;
    let groups = groups(request, context.version);
    let mut questions = Vec::with_capacity(groups.len());
    let asked: Vec<Asked> =
        groups.into_iter().map(|group| Asked::sort(group, require_stable, context, &mut questions)).collect();
    Answer::ask_all(questions, Some(coordinate::patience(context)), move |context, mut replies| {
        let groups = asked.into_iter().map(|asked| {
            let reply = asked.question.and_then(|index| coordinate::reply(&mut replies, index));
            match reply {
                Ok(Reply::FetchOffsets(group)) => complete(group, asked.unknown, asked.wants_all, context),
                Ok(_) => refused(asked.group, Refusal::UnknownServerError, context.version),
                Err(refusal) => refused(asked.group, refusal, context.version),
            }
        });
        let groups = groups.collect();
        Answer::reply(fit(groups, context.version))
    })
}

/// The groups that are asked about, as the newest version has them.
fn groups(request: OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= BATCHED_SINCE {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        let topic = |topic: ottla_protocol::messages::offset_fetch::OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..Default::default()
            }
        };
        topics.into_iter().map(topic).collect()
    });
    vec![OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() }]
}

/// A group whose coordinator is asked.
struct Asked {
    /// As the client sent it.
    group: OffsetFetchRequestGroup,
    question: Result<usize, Refusal>,
    /// Topics that cannot be asked about.
    unknown: Vec<OffsetFetchResponseTopics>,
    wants_all: bool,
}

impl Asked {
    fn sort(
        group: OffsetFetchRequestGroup,
        require_stable: bool,
        context: &Context<'_>,
        questions: &mut Vec<Question>,
    ) -> Self {
        let mut unknown = Vec::new();
        let topics = group.topics.as_ref().map(|topics| {
            let known = |topic: &OffsetFetchRequestTopics| {
                let both = name_and_id(topic, context);
                if both.is_none() {
                    unknown.push(refused_topic(topic.clone(), Refusal::UnknownTopicId));
                }
                let (name, topic_id) = both?;
                let partition_indexes = topic.partition_indexes.clone();
                Some(OffsetFetchRequestTopics { name, topic_id, partition_indexes })
            };
            topics.iter().filter_map(known).collect()
        });
        let wants_all = topics.is_none();
        let fetch =
            FetchOffsets { group: OffsetFetchRequestGroup { topics, ..group.clone() }, require_stable };
        let command = Command::FetchOffsets(coordinate::caller(context), fetch);
        let question = coordinate::question(context, &group.group_id, command).map(|question| {
            questions.push(question);
            questions.len() - 1
        });
        Self { group, question, unknown, wants_all }
    }
}

/// Name and id of a topic; a name without a topic has no id. `None` for an id without a topic.
fn name_and_id(topic: &OffsetFetchRequestTopics, context: &Context<'_>) -> Option<(String, Uuid)> {
    let topics = &context.image.topics;
    if context.version >= BY_ID_SINCE {
        return topics.get(topic.topic_id).map(|known| (known.name.to_string(), known.id));
    }
    let id = topics.named(&topic.name).map_or(Uuid::ZERO, |known| known.id);
    Some((topic.name.clone(), id))
}

/// Adds what the coordinator was not asked about, and what it may not know: the ids of topics.
fn complete(
    mut group: OffsetFetchResponseGroup,
    unknown: Vec<OffsetFetchResponseTopics>,
    wants_all: bool,
    context: &Context<'_>,
) -> OffsetFetchResponseGroup {
    if group.error_code != 0 {
        return group;
    }
    if wants_all && context.version >= BY_ID_SINCE {
        for topic in group.topics.iter_mut().filter(|topic| topic.topic_id.is_zero()) {
            topic.topic_id = context.image.topics.named(&topic.name).map_or(Uuid::ZERO, |known| known.id);
        }
        // A topic without an id cannot be named to the client.
        group.topics.retain(|topic| !topic.topic_id.is_zero());
    }
    group.topics.extend(unknown);
    group
}

fn refused(group: OffsetFetchRequestGroup, refusal: Refusal, version: i16) -> OffsetFetchResponseGroup {
    let group_id = group.group_id;
    if version >= WHOLE_SINCE {
        return OffsetFetchResponseGroup { group_id, error_code: refusal.code(), ..Default::default() };
    }
    let topics = group.topics.unwrap_or_default().into_iter().map(|topic| refused_topic(topic, refusal));
    OffsetFetchResponseGroup { group_id, topics: topics.collect(), error_code: 0 }
}

fn refused_topic(topic: OffsetFetchRequestTopics, refusal: Refusal) -> OffsetFetchResponseTopics {
    let partitions =
        topic.partition_indexes.into_iter().map(|partition_index| OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: NO_OFFSET,
            committed_leader_epoch: -1,
            metadata: Some(String::new()),
            error_code: refusal.code(),
        });
    OffsetFetchResponseTopics { name: topic.name, topic_id: topic.topic_id, partitions: partitions.collect() }
}

/// Puts the groups into the shape of the version.
fn fit(mut groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    if version >= BATCHED_SINCE {
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let OffsetFetchResponseGroup { topics, error_code, .. } = groups.pop().unwrap_or_default();
    let partition = |row: OffsetFetchResponsePartitions| {
        // Where ZooKeeper knew nothing, there was an error.
        let unknown = version == 0 && row.error_code == 0 && row.committed_offset == NO_OFFSET;
        OffsetFetchResponsePartition {
            partition_index: row.partition_index,
            committed_offset: row.committed_offset,
            committed_leader_epoch: row.committed_leader_epoch,
            metadata: row.metadata,
            error_code: if unknown { Refusal::UnknownTopicOrPartition.code() } else { row.error_code },
        }
    };
    let topics = topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    });
    OffsetFetchResponse { topics: topics.collect(), error_code, ..Default::default() }
}
