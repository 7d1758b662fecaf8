//! OffsetCommit (8), versions 0–10: a group has come this far.
//!
//! v1 members and generations, v2–4 a retention time of the group's own, v6 leader epochs (KIP-320), v7 static members,
//! v9 members of consumer groups (KIP-848), v10 topic ids. In version 0 offsets were kept in ZooKeeper; here they are
//! kept with all others. Versions 0 and 1 were dropped by Kafka 4.0; old sarama sends 1.

use ottla_coordinator::group::{Command, Reply};
use ottla_protocol::messages::offset_commit::{
    OffsetCommitRequestTopic, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use ottla_protocol::{Refusal, TopicId};

use crate::answer::Answer;
use crate::api::coordinate;
use crate::context::Context;
use crate::topics::Key;

/// The first version that names topics by their ids.
const BY_ID_SINCE: i16 = 10;

/// Asks the group's coordinator about the partitions that there are.
pub fn answer(mut request: OffsetCommitRequest, context: &mut Context<'_>) -> Answer<OffsetCommitResponse> {
    let mut commit = Commit::default();
    let by = Key::since(context.version, BY_ID_SINCE);
    let topics = std::mem::take(&mut request.topics);
    request.topics = topics.into_iter().filter_map(|topic| commit.sort(topic, by, context)).collect();
    if request.topics.is_empty() {
        return Answer::reply(commit.response);
    }
    let group = request.group_id.clone();
    let command = Command::CommitOffsets(coordinate::caller(context), request);
    let question = match coordinate::question(context, &group, command) {
        Ok(question) => question,
        Err(refusal) => return Answer::reply(commit.refused(refusal)),
    };
    Answer::ask_all(vec![question], Some(coordinate::patience(context)), |_, mut replies| {
        Answer::reply(match coordinate::reply(&mut replies, 0) {
            Ok(Reply::CommitOffsets(reply)) => commit.merged(reply),
            Ok(_) => commit.refused(Refusal::UnknownServerError),
            Err(refusal) => commit.refused(refusal),
        })
    })
}

/// The response, and which of its rows the coordinator is asked about, in the order in which it is asked.
#[derive(Default)]
struct Commit {
    response: OffsetCommitResponse,
    /// Index of the topic, index of the partition.
    asked: Vec<(usize, usize)>,
}

impl Commit {
    /// Makes the rows of a topic; what is left is to be asked about.
    fn sort(
        &mut self,
        topic: OffsetCommitRequestTopic,
        by: Key,
        context: &mut Context<'_>,
    ) -> Option<OffsetCommitRequestTopic> {
        let found = context.topics.resolve(context.image, &topic.name, topic.topic_id, by);
        let mut rows = Vec::with_capacity(topic.partitions.len());
        let mut left = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let partition_index = partition.partition_index;
            let refusal = match &found {
                Ok(found) if found.has_partition(partition_index) => None,
                Ok(_) => Some(Refusal::UnknownTopicOrPartition),
                Err(refusal) => Some(*refusal),
            };
            if refusal.is_none() {
                self.asked.push((self.response.topics.len(), rows.len()));
                left.push(partition);
            }
            let error_code = Refusal::code_of(refusal);
            rows.push(OffsetCommitResponsePartition { partition_index, error_code });
        }
        let topic_id = found.as_ref().map_or(topic.topic_id, |found| found.id);
        let name = name(topic_id, topic.name, context);
        self.response.topics.push(OffsetCommitResponseTopic {
            name: name.clone(),
            topic_id,
            partitions: rows,
        });
        (!left.is_empty()).then_some(OffsetCommitRequestTopic { name, topic_id, partitions: left })
    }

    fn merged(mut self, reply: OffsetCommitResponse) -> OffsetCommitResponse {
        let codes = reply.topics.into_iter().flat_map(|topic| topic.partitions).map(|row| row.error_code);
        for (&(topic, partition), code) in self.asked.iter().zip(codes) {
            self.response.topics[topic].partitions[partition].error_code = code;
        }
        self.response
    }

    fn refused(mut self, refusal: Refusal) -> OffsetCommitResponse {
        for (topic, partition) in self.asked {
            self.response.topics[topic].partitions[partition].error_code = refusal.code();
        }
        self.response
    }
}

/// The name of a topic that there is; else what it was called.
fn name(id: TopicId, called: String, context: &Context<'_>) -> String {
    context.image.topics.get(id).map_or(called, |topic| topic.name.to_string())
}
