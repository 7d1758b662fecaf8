//! What committed offsets ask of a group. Each kind of group answers for itself.

use ottla_protocol::{Refusal, TopicId};

use super::Expiry;
use super::commit::CommitsAs;

/// Who commits, as the request says.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The member; empty for none.
    pub member_id: &'a str,
    /// Its static name (KIP-345).
    pub instance_id: Option<&'a str>,
    /// The generation, or the member's epoch (KIP-848); negative for those that use no membership.
    pub epoch: i32,
    /// Whether it is part of a transaction.
    pub commits_as: CommitsAs,
    /// The version of the request.
    pub version: i16,
}

/// What a group allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Everything.
    Everything,
    /// Only what [`CommittingGroup::may_commit_partition`] allows: the member is a little behind (KIP-1251).
    PartitionByPartition,
}

/// A group, as far as its offsets are concerned.
pub trait CommittingGroup {
    /// Whether somebody may commit.
    ///
    /// # Errors
    /// Why not, for the whole request.
    fn may_commit(&self, claim: &Claim<'_>) -> Result<Permission, Refusal>;

    /// Whether somebody who has [`Permission::PartitionByPartition`] may commit for this one.
    ///
    /// # Errors
    /// Why not; it is an answer to the whole request.
    fn may_commit_partition(&self, claim: &Claim<'_>, topic: TopicId, partition: i32) -> Result<(), Refusal> {
        let _ = (claim, topic, partition);
        Ok(())
    }

    /// Whether somebody may ask for offsets, in the name of this member and epoch.
    ///
    /// # Errors
    /// Why not. `GROUP_ID_NOT_FOUND` is no answer to the client: then there are no offsets.
    fn may_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), Refusal>;

    /// Whether single offsets may be deleted; those of subscribed topics may not in any case.
    ///
    /// # Errors
    /// Why not.
    fn may_delete_offsets(&self) -> Result<(), Refusal>;

    /// Whether the group reads this topic, as far as it knows.
    fn is_subscribed_to(&self, topic: &str) -> bool;

    /// When its offsets end.
    fn expiry(&self) -> Expiry;
}
