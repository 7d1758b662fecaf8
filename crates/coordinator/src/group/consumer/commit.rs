//! Whose offsets the group takes (KIP-848, KIP-1251).

use ottla_protocol::{Refusal, TopicId};

use super::ConsumerGroup;
use super::member::Member;
use crate::group::offsets::{Claim, CommitsAs, CommittingGroup, Expiry, Permission};

/// Members of the consumer protocol commit with this version or a later one: it knows member epochs.
const MEMBER_EPOCHS: i16 = 9;

impl CommittingGroup for ConsumerGroup {
    fn may_commit(&self, claim: &Claim<'_>) -> Result<Permission, Refusal> {
        // An admin client, while nobody is there.
        if claim.epoch < 0 && self.is_empty() {
            return Ok(Permission::Everything);
        }
        let in_transaction = claim.commits_as == CommitsAs::PartOfTransaction;
        if in_transaction && claim.epoch == -1 && claim.member_id.is_empty() && claim.instance_id.is_none() {
            return Ok(Permission::Everything);
        }
        let member = self.roster.members.get(claim.member_id).ok_or(Refusal::UnknownMemberId)?;
        if !in_transaction && member.classic().is_none() && claim.version < MEMBER_EPOCHS {
            return Err(Refusal::UnsupportedVersion);
        }
        match claim.epoch.cmp(&member.epoch) {
            std::cmp::Ordering::Equal => Ok(Permission::Everything),
            std::cmp::Ordering::Greater => Err(wrong_epoch(member)),
            std::cmp::Ordering::Less => Ok(Permission::PartitionByPartition),
        }
    }

    /// A member that has not heard of its new epoch may commit for what it had already.
    fn may_commit_partition(&self, claim: &Claim<'_>, topic: TopicId, partition: i32) -> Result<(), Refusal> {
        let member = self.roster.members.get(claim.member_id).ok_or(Refusal::UnknownMemberId)?;
        match member.assignment_epoch(topic, partition) {
            Some(since) if claim.epoch >= since => Ok(()),
            _ => Err(wrong_epoch(member)),
        }
    }

    fn may_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), Refusal> {
        let Some(id) = member_id else {
            return if epoch < 0 { Ok(()) } else { Err(Refusal::UnknownMemberId) };
        };
        let member = self.roster.members.get(id).ok_or(Refusal::UnknownMemberId)?;
        if member.epoch == epoch { Ok(()) } else { Err(wrong_epoch(member)) }
    }

    fn may_delete_offsets(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        self.roster.subscriptions.topics.contains(topic)
    }

    fn expiry(&self) -> Expiry {
        Expiry::SinceCommit
    }
}

fn wrong_epoch(member: &Member) -> Refusal {
    if member.classic().is_some() { Refusal::IllegalGeneration } else { Refusal::StaleMemberEpoch }
}
