//! OffsetCommit (8) and TxnOffsetCommit (28): whether a group allows it, and the records.

use ottla_protocol::messages::offset_commit::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use ottla_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use ottla_protocol::records::coordinator::{OffsetCommitKey, OffsetCommitValue};
use ottla_protocol::{Now, Refusal};

use super::{Claim, CommittingGroup, Offsets, Permission};
use crate::group::record::Record;

/// Whether a commit is part of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitsAs {
    /// It counts at once.
    Itself,
    /// It counts when the transaction is committed.
    PartOfTransaction,
}

/// The retention time that means: the broker's.
const NO_RETENTION: i64 = -1;
/// From this version of OffsetCommit on, clients know that a group may not exist.
const COMMIT_KNOWS_GROUP_ID_NOT_FOUND: i16 = 9;
/// From this version of TxnOffsetCommit on, clients know that and stale epochs of members (KIP-1319).
const TXN_KNOWS_NEW_ERRORS: i16 = 6;

impl Offsets {
    /// Decides on an OffsetCommit. A `group` of `None` is one that does not exist; whoever uses no membership may
    /// commit to it, and the first record brings it into being. Metadata may have up to `metadata_max` characters, as
    /// Java counts them.
    ///
    /// # Errors
    /// Why the whole request is refused.
    pub fn commit(
        now: Now,
        version: i16,
        request: OffsetCommitRequest,
        group: Option<&dyn CommittingGroup>,
        metadata_max: usize,
    ) -> Result<(Vec<Record>, OffsetCommitResponse), Refusal> {
        let claim = Claim {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            epoch: request.generation_id_or_member_epoch,
            commits_as: CommitsAs::Itself,
            version,
        };
        let expire_timestamp = match request.retention_time_ms {
            NO_RETENTION => -1,
            retention_ms => now.wall_ms.saturating_add(retention_ms),
        };
        let mut batch =
            Batch::open(claim, (&request.group_id, group), version >= COMMIT_KNOWS_GROUP_ID_NOT_FOUND)?;
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let partition_index = partition.partition_index;
                let value = OffsetCommitValue {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.unwrap_or_default(),
                    commit_timestamp: now.wall_ms,
                    expire_timestamp,
                    topic_id: topic.topic_id,
                };
                let error_code =
                    Refusal::code_of(batch.add(&topic.name, partition_index, value, metadata_max)?);
                partitions.push(OffsetCommitResponsePartition { partition_index, error_code });
            }
            topics.push(OffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions });
        }
        Ok((batch.records, OffsetCommitResponse { throttle_time_ms: 0, topics }))
    }

    /// Decides on a TxnOffsetCommit, in the same way. The records belong into a batch of the producer's transaction.
    ///
    /// # Errors
    /// Why the whole request is refused.
    pub fn commit_in_transaction(
        now: Now,
        version: i16,
        request: TxnOffsetCommitRequest,
        group: Option<&dyn CommittingGroup>,
        metadata_max: usize,
    ) -> Result<(Vec<Record>, TxnOffsetCommitResponse), Refusal> {
        let claim = Claim {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            epoch: request.generation_id_or_member_epoch,
            commits_as: CommitsAs::PartOfTransaction,
            version,
        };
        let mut batch = Batch::open(claim, (&request.group_id, group), version >= TXN_KNOWS_NEW_ERRORS)?;
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let partition_index = partition.partition_index;
                let value = OffsetCommitValue {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.unwrap_or_default(),
                    commit_timestamp: now.wall_ms,
                    expire_timestamp: -1,
                    topic_id: topic.topic_id,
                };
                let error_code =
                    Refusal::code_of(batch.add(&topic.name, partition_index, value, metadata_max)?);
                partitions.push(TxnOffsetCommitResponsePartition { partition_index, error_code });
            }
            topics.push(TxnOffsetCommitResponseTopic {
                name: topic.name,
                topic_id: topic.topic_id,
                partitions,
            });
        }
        Ok((batch.records, TxnOffsetCommitResponse { throttle_time_ms: 0, topics }))
    }
}

/// The records of one request. Nothing gets in that the group does not allow.
struct Batch<'a> {
    claim: Claim<'a>,
    group: &'a str,
    /// Whom to ask for each partition.
    asked: Option<&'a dyn CommittingGroup>,
    records: Vec<Record>,
}

impl<'a> Batch<'a> {
    fn open(
        claim: Claim<'a>,
        (name, group): (&'a str, Option<&'a dyn CommittingGroup>),
        knows_group_id_not_found: bool,
    ) -> Result<Self, Refusal> {
        let asked = match group {
            Some(group) => {
                let permission = group.may_commit(&claim).map_err(|refusal| claim.in_its_words(refusal))?;
                (permission == Permission::PartitionByPartition).then_some(group)
            }
            None if claim.epoch < 0 => None,
            None if knows_group_id_not_found => return Err(Refusal::GroupIdNotFound),
            None => return Err(Refusal::IllegalGeneration),
        };
        Ok(Self { claim, group: name, asked, records: Vec::new() })
    }

    /// A partition may be refused by itself, or the whole request because of it.
    fn add(
        &mut self,
        topic: &str,
        partition: i32,
        value: OffsetCommitValue,
        metadata_max: usize,
    ) -> Result<Option<Refusal>, Refusal> {
        if is_too_large(&value.metadata, metadata_max) {
            return Ok(Some(Refusal::OffsetMetadataTooLarge));
        }
        if let Some(group) = self.asked {
            group
                .may_commit_partition(&self.claim, value.topic_id, partition)
                .map_err(|refusal| self.claim.in_its_words(refusal))?;
        }
        let key = OffsetCommitKey { group: self.group.to_owned(), topic: topic.to_owned(), partition };
        self.records.push(Record::OffsetCommit(key, Some(value)));
        Ok(None)
    }
}

impl Claim<'_> {
    /// Old producers do not know of epochs of members.
    fn in_its_words(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::StaleMemberEpoch
                if self.commits_as == CommitsAs::PartOfTransaction && self.version < TXN_KNOWS_NEW_ERRORS =>
            {
                Refusal::IllegalGeneration
            }
            other => other,
        }
    }
}

/// Java counts UTF-16 units, of which there are never more than bytes.
fn is_too_large(metadata: &str, max: usize) -> bool {
    metadata.len() > max && metadata.encode_utf16().count() > max
}
