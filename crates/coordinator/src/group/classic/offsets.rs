//! What committed offsets ask of a classic group.

use ottla_protocol::{Now, Refusal};

use super::{ClassicGroup, State};
use crate::group::offsets::{Claim, CommitsAs, CommittingGroup, Expiry, Permission};

impl CommittingGroup for ClassicGroup {
    fn may_commit(&self, claim: &Claim<'_>) -> Result<Permission, Refusal> {
        if claim.epoch < 0 && self.state == State::Empty {
            // An operator, or a consumer that assigns to itself.
            return Ok(Permission::Everything);
        }
        let by_itself = claim.commits_as == CommitsAs::Itself;
        if claim.epoch >= 0 || !claim.member_id.is_empty() || claim.instance_id.is_some() {
            self.check_member(claim.member_id, claim.instance_id)?;
            if claim.epoch != self.generation {
                return Err(Refusal::IllegalGeneration);
            }
        } else if by_itself && self.state != State::Empty {
            // Transactions of old say nothing of members.
            return Err(Refusal::UnknownMemberId);
        }
        if by_itself && self.state == State::CompletingRebalance {
            return Err(Refusal::RebalanceInProgress);
        }
        Ok(Permission::Everything)
    }

    fn may_fetch(&self, _member_id: Option<&str>, _epoch: i32) -> Result<(), Refusal> {
        Ok(())
    }

    fn may_delete_offsets(&self) -> Result<(), Refusal> {
        if self.state == State::Empty || self.is_of_consumers() {
            Ok(())
        } else {
            Err(Refusal::NonEmptyGroup)
        }
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed.as_ref().map_or(self.is_of_consumers(), |topics| topics.contains(topic))
    }

    fn expiry(&self) -> Expiry {
        match (self.protocol_type(), self.state) {
            (None, _) => Expiry::SinceCommit,
            (Some(_), State::Empty) => self.since_ms.map_or(Expiry::SinceCommit, Expiry::SinceEmpty),
            (Some(_), State::Stable) if self.is_of_consumers() && self.subscribed.is_some() => {
                Expiry::SinceCommit
            }
            _ => Expiry::Never,
        }
    }
}

impl ClassicGroup {
    /// A member has committed, so it lives.
    pub fn keep_alive_by_commit(&mut self, member_id: &str, now: Now) {
        if matches!(self.state, State::Stable | State::PreparingRebalance) {
            self.keep_alive(member_id, now);
        }
    }
}
