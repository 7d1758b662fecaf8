//! Commits on their way: one at a time and in order, so that an older position never replaces a newer one.

use std::collections::{BTreeMap, VecDeque};

use ottla_protocol::messages::OffsetCommitRequest;
use ottla_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Refusal, Uuid};

use crate::admin::CommittedOffset;
use crate::call::{Call, Reply};
use crate::consumer::TopicPartition;
use crate::consumer::group::Identity;
use crate::error::{ApiError, ClientError};
use crate::metadata::Metadata;

/// Names a commit until its end has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// The last version in which topics have names.
const VERSION_MAX_NAMES: i16 = 9;
/// The first version with instance ids.
const VERSION_MIN_INSTANCE: i16 = 7;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Commits {
    next: u64,
    queue: VecDeque<Commit>,
    /// The first of the queue is under way.
    pub asked: bool,
    pub failures: u32,
    pub not_before: Option<Deadline>,
    /// Ends that the owner wants to hear of.
    pub ended: VecDeque<(CommitId, Result<(), ClientError>)>,
    /// What was committed last, by partition.
    pub last: BTreeMap<TopicPartition, i64>,
}

#[derive(Debug)]
pub(super) struct Commit {
    pub id: CommitId,
    pub offsets: BTreeMap<TopicPartition, CommittedOffset>,
    pub give_up: Deadline,
    pub by: By,
}

/// Whose idea a commit was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The owner's, who is told of its end.
    Owner,
    /// Ours, since positions are committed automatically.
    Itself,
}

/// What an answer means for a commit.
pub(super) enum Verdict {
    Done,
    /// The same again, perhaps elsewhere, perhaps under a newer epoch.
    Again(ApiError),
    Failed(ClientError),
}

impl Commits {
    pub(super) fn push(
        &mut self,
        offsets: BTreeMap<TopicPartition, CommittedOffset>,
        give_up: Deadline,
        by: By,
    ) -> CommitId {
        let id = CommitId(self.next);
        self.next += 1;
        self.queue.push_back(Commit { id, offsets, give_up, by });
        id
    }

    /// Whether this one has come to its end.
    pub(super) fn is_over(&self, id: CommitId) -> bool {
        self.queue.iter().all(|commit| commit.id != id)
    }

    /// The last of those that have not ended.
    pub(super) fn last_id(&self) -> Option<CommitId> {
        self.queue.back().map(|commit| commit.id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn first(&self) -> Option<&Commit> {
        self.queue.front()
    }

    /// When something is due that only time brings.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let give_up = self.queue.front().filter(|_| !self.asked).map(|commit| commit.give_up);
        [give_up, self.not_before].into_iter().flatten().min()
    }

    /// The first of the queue has come to its end.
    pub(super) fn end(&mut self, result: Result<(), ClientError>) {
        let Some(commit) = self.queue.pop_front() else { return };
        (self.failures, self.not_before) = (0, None);
        match &result {
            Ok(()) => {
                let offsets = commit.offsets.into_iter().map(|(key, committed)| (key, committed.offset));
                self.last.extend(offsets);
            }
            Err(error) if commit.by == By::Itself => {
                tracing::warn!("positions could not be committed: {error}");
            }
            Err(_) => {}
        }
        if commit.by == By::Owner {
            self.ended.push_back((commit.id, result));
        }
    }

    /// Ends everything whose time is over.
    pub(super) fn expire(&mut self, now: Now) {
        while !self.asked && self.queue.front().is_some_and(|commit| now.reached(commit.give_up)) {
            let why = "Timeout expired before the offsets could be committed".to_owned();
            self.end(Err(ClientError::TimedOut(why)));
        }
    }
}

/// The request for a commit.
pub(super) fn call(group: &str, who: &Identity, commit: &Commit, metadata: &Metadata) -> Call {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    let mut named = false;
    for (partition, committed) in &commit.offsets {
        if topics.last().is_none_or(|topic| *topic.name != *partition.topic) {
            let topic_id = metadata.topics.get(&*partition.topic).map_or(Uuid::ZERO, |topic| topic.id);
            named |= topic_id.is_zero();
            let name = partition.topic.to_string();
            topics.push(OffsetCommitRequestTopic { name, topic_id, partitions: Vec::new() });
        }
        let Some(topic) = topics.last_mut() else { continue };
        topic.partitions.push(OffsetCommitRequestPartition {
            partition_index: partition.partition,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch.unwrap_or(-1),
            committed_metadata: Some(committed.metadata.clone()),
            ..OffsetCommitRequestPartition::default()
        });
    }
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: who.generation,
        member_id: who.member_id.clone(),
        group_instance_id: who.instance_id.clone(),
        topics,
        ..OffsetCommitRequest::default()
    };
    let least = if who.instance_id.is_some() { VERSION_MIN_INSTANCE } else { 2 };
    Call::new(request).within(least, if named { VERSION_MAX_NAMES } else { i16::MAX })
}

/// What the answer says of the commit as a whole: the worst of what it says of its partitions.
pub(super) fn read(reply: &Reply) -> Result<Verdict, ClientError> {
    let response = reply.decode::<OffsetCommitRequest>()?;
    let codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|row| row.error_code);
    let mut worst = Verdict::Done;
    for error in codes.filter_map(|code| ApiError::from_code(code, None)) {
        match error.refusal {
            Refusal::CoordinatorNotAvailable
            | Refusal::NotCoordinator
            | Refusal::RequestTimedOut
            | Refusal::CoordinatorLoadInProgress
            | Refusal::UnknownTopicOrPartition
            | Refusal::UnknownTopicId
            | Refusal::StaleMemberEpoch => worst = Verdict::Again(error),
            Refusal::RebalanceInProgress
            | Refusal::UnknownMemberId
            | Refusal::IllegalGeneration
            | Refusal::FencedInstanceId
            | Refusal::FencedMemberEpoch => return Ok(Verdict::Failed(moved_on(error.refusal))),
            _ => return Ok(Verdict::Failed(error.into())),
        }
    }
    Ok(worst)
}

/// The group does not count this member among its own any more, or not for the present.
pub(super) fn moved_on(refusal: Refusal) -> ClientError {
    let why = match refusal {
        Refusal::RebalanceInProgress => {
            "Offset commit cannot be completed since the consumer is undergoing a rebalance: poll, and commit again"
        }
        _ => {
            "Offset commit cannot be completed since the consumer is not part of an active group any more: \
             its partitions belong to other members"
        }
    };
    ApiError { refusal, message: Some(why.to_owned()) }.into()
}
